if HAVE_CMOCKA
base_tests = tests/unit/base_str tests/unit/base_data tests/unit/base_file tests/unit/base_ignore tests/unit/base_detach tests/unit/base_jsonw
check_PROGRAMS += $(base_tests)
TESTS += $(base_tests)
base_test_libs = libbase.a $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_base_str_SOURCES = tests/unit/base_str.c
tests_unit_base_str_LDADD = $(base_test_libs)
tests_unit_base_data_SOURCES = tests/unit/base_data.c
tests_unit_base_data_LDADD = $(base_test_libs)
tests_unit_base_file_SOURCES = tests/unit/base_file.c
tests_unit_base_file_LDADD = $(base_test_libs)
tests_unit_base_ignore_SOURCES = tests/unit/base_ignore.c
tests_unit_base_ignore_LDADD = $(base_test_libs)
tests_unit_base_detach_SOURCES = tests/unit/base_detach.c
tests_unit_base_detach_LDADD = $(base_test_libs)
tests_unit_base_jsonw_SOURCES = tests/unit/base_jsonw.c
tests_unit_base_jsonw_LDADD = $(base_test_libs)
endif
