if HAVE_CMOCKA
loop_tests = tests/unit/loop_loop tests/unit/loop_work tests/unit/loop_flow
check_PROGRAMS += $(loop_tests)
TESTS += $(loop_tests)
loop_test_libs = libloop.a libbase.a $(CMOCKA_LIBS) $(EVENT_LIBS) $(JANSSON_LIBS)
tests_unit_loop_loop_SOURCES = tests/unit/loop_loop.c
tests_unit_loop_loop_LDADD = $(loop_test_libs)
tests_unit_loop_flow_SOURCES = tests/unit/loop_flow.c
tests_unit_loop_flow_LDADD = $(loop_test_libs)
tests_unit_loop_work_SOURCES = tests/unit/loop_work.c
tests_unit_loop_work_LDADD = $(loop_test_libs)
endif
