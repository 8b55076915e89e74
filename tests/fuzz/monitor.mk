check_PROGRAMS += tests/fuzz/monitor_log
tests_fuzz_monitor_log_SOURCES = tests/fuzz/monitor_log.c
tests_fuzz_monitor_log_LDADD = libruntime_monitor.a libbase.a $(JANSSON_LIBS) $(ZLIB_LIBS)
if FUZZ
tests_fuzz_monitor_log_LDFLAGS = -fsanitize=fuzzer
else
tests_fuzz_monitor_log_SOURCES += tests/fuzz/run.c
TESTS += tests/fuzz/monitor_log
endif
EXTRA_DIST += tests/fuzz/monitor_log.corpus
