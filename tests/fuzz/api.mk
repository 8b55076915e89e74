API_FUZZ = tests/fuzz/http_websocket tests/fuzz/api_logs tests/fuzz/engine_seccomp tests/fuzz/daemon_json
check_PROGRAMS += $(API_FUZZ)
tests_fuzz_http_websocket_SOURCES = tests/fuzz/http_websocket.c tests/fuzz/http_rig.h
tests_fuzz_http_websocket_LDADD = libhttp.a libloop.a libbase.a $(EVENT_LIBS) $(OPENSSL_LIBS) $(HTTP_PARSER_LIBS) $(JANSSON_LIBS)
tests_fuzz_api_logs_SOURCES = tests/fuzz/api_logs.c tests/fuzz/http_rig.h
tests_fuzz_api_logs_LDADD = libapi.a libbuild.a $(engine_test_libs) libhttp.a libloop.a libbase.a \
	$(OPENSSL_LIBS) $(EVENT_LIBS) $(HTTP_PARSER_LIBS) $(JANSSON_LIBS)
tests_fuzz_engine_seccomp_SOURCES = tests/fuzz/engine_seccomp.c
tests_fuzz_engine_seccomp_LDADD = $(engine_test_libs)
tests_fuzz_daemon_json_SOURCES = tests/fuzz/daemon_json.c src/daemon/options.c src/daemon/defaults.c
tests_fuzz_daemon_json_CPPFLAGS = $(AM_CPPFLAGS)
tests_fuzz_daemon_json_LDADD = $(engine_test_libs)
if FUZZ
tests_fuzz_http_websocket_LDFLAGS = -fsanitize=fuzzer
tests_fuzz_api_logs_LDFLAGS = -fsanitize=fuzzer
tests_fuzz_engine_seccomp_LDFLAGS = -fsanitize=fuzzer
tests_fuzz_daemon_json_LDFLAGS = -fsanitize=fuzzer
else
tests_fuzz_http_websocket_SOURCES += tests/fuzz/run.c
tests_fuzz_api_logs_SOURCES += tests/fuzz/run.c
tests_fuzz_engine_seccomp_SOURCES += tests/fuzz/run.c
tests_fuzz_daemon_json_SOURCES += tests/fuzz/run.c
TESTS += $(API_FUZZ)
endif
EXTRA_DIST += tests/fuzz/http_websocket.corpus tests/fuzz/api_logs.corpus tests/fuzz/engine_seccomp.corpus tests/fuzz/daemon_json.corpus
