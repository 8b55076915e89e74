# filled by its module
if HAVE_CMOCKA
runtime_tests = tests/unit/runtime_seccomp
check_PROGRAMS += $(runtime_tests)
TESTS += $(runtime_tests)
tests_unit_runtime_seccomp_SOURCES = tests/unit/runtime_seccomp.c
tests_unit_runtime_seccomp_LDADD = libruntime_oci.a libbase.a $(CMOCKA_LIBS) $(SECCOMP_LIBS) $(JANSSON_LIBS)
endif
