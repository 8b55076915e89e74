if HAVE_CMOCKA
BUILD_TESTS = tests/unit/build_word tests/unit/build_plan
check_PROGRAMS += $(BUILD_TESTS)
TESTS += $(BUILD_TESTS)
BUILD_TEST_LIBS = libbuild.a libbase.a $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_build_word_SOURCES = tests/unit/build_word.c
tests_unit_build_word_LDADD = $(BUILD_TEST_LIBS)
tests_unit_build_plan_SOURCES = tests/unit/build_plan.c
tests_unit_build_plan_LDADD = $(BUILD_TEST_LIBS)
endif
