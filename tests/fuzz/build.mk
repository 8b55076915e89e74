BUILD_FUZZ = tests/fuzz/build_dockerfile
check_PROGRAMS += $(BUILD_FUZZ)
tests_fuzz_build_dockerfile_SOURCES = tests/fuzz/build_dockerfile.c
tests_fuzz_build_dockerfile_LDADD = libbuild.a libbase.a $(JANSSON_LIBS)
if FUZZ
tests_fuzz_build_dockerfile_LDFLAGS = -fsanitize=fuzzer
else
tests_fuzz_build_dockerfile_SOURCES += tests/fuzz/run.c
TESTS += $(BUILD_FUZZ)
endif
EXTRA_DIST += tests/fuzz/build_dockerfile.corpus
