check_PROGRAMS += tests/fuzz/json_create
tests_fuzz_json_create_SOURCES = tests/fuzz/json_create.c
tests_fuzz_json_create_LDADD = $(engine_test_libs)
if FUZZ
tests_fuzz_json_create_LDFLAGS = -fsanitize=fuzzer
else
tests_fuzz_json_create_SOURCES += tests/fuzz/run.c
TESTS += tests/fuzz/json_create
endif
EXTRA_DIST += tests/fuzz/json_create.corpus
