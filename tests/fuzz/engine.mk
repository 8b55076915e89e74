ENGINE_FUZZ = tests/fuzz/engine_tarin
check_PROGRAMS += $(ENGINE_FUZZ)
tests_fuzz_engine_tarin_SOURCES = tests/fuzz/engine_tarin.c
tests_fuzz_engine_tarin_LDADD = $(engine_test_libs)
if FUZZ
tests_fuzz_engine_tarin_LDFLAGS = -fsanitize=fuzzer
else
tests_fuzz_engine_tarin_SOURCES += tests/fuzz/run.c
TESTS += $(ENGINE_FUZZ)
endif
EXTRA_DIST += tests/fuzz/engine_tarin.corpus
