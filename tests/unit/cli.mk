if HAVE_CMOCKA
cli_tests = tests/unit/cli_flags tests/unit/cli_template
check_PROGRAMS += $(cli_tests)
TESTS += $(cli_tests)
cli_test_libs = libcli.a libbase.a $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_cli_flags_SOURCES = tests/unit/cli_flags.c
tests_unit_cli_flags_LDADD = $(cli_test_libs)
tests_unit_cli_template_SOURCES = tests/unit/cli_template.c
tests_unit_cli_template_LDADD = $(cli_test_libs)
endif
