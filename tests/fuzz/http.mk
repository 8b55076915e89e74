check_PROGRAMS += tests/fuzz/http_head
tests_fuzz_http_head_SOURCES = tests/fuzz/http_head.c
tests_fuzz_http_head_LDADD = libhttp.a libloop.a libbase.a $(EVENT_LIBS) $(HTTP_PARSER_LIBS) $(JANSSON_LIBS)
if FUZZ
tests_fuzz_http_head_LDFLAGS = -fsanitize=fuzzer
else
tests_fuzz_http_head_SOURCES += tests/fuzz/run.c
TESTS += tests/fuzz/http_head
endif
EXTRA_DIST += tests/fuzz/http_head.corpus
