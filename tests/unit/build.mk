if HAVE_CMOCKA
BUILD_TESTS = tests/unit/build_word tests/unit/build_plan tests/unit/build_state
check_PROGRAMS += $(BUILD_TESTS)
TESTS += $(BUILD_TESTS)
BUILD_TEST_LIBS = libbuild.a libimage.a libstore.a libloop.a libbase.a $(CMOCKA_LIBS) $(ARCHIVE_LIBS) $(SQLITE_LIBS) \
	$(EVENT_LIBS) $(JANSSON_LIBS)
tests_unit_build_word_SOURCES = tests/unit/build_word.c
tests_unit_build_word_LDADD = $(BUILD_TEST_LIBS)
tests_unit_build_plan_SOURCES = tests/unit/build_plan.c
tests_unit_build_plan_LDADD = $(BUILD_TEST_LIBS)
tests_unit_build_state_SOURCES = tests/unit/build_state.c
tests_unit_build_state_LDADD = $(BUILD_TEST_LIBS)
endif
