if HAVE_CMOCKA
ENGINE_UNIT_TESTS = tests/unit/engine_cgstat
check_PROGRAMS += $(ENGINE_UNIT_TESTS)
TESTS += $(ENGINE_UNIT_TESTS)
tests_unit_engine_cgstat_SOURCES = tests/unit/engine_cgstat.c
tests_unit_engine_cgstat_LDADD = libengine.a libbase.a $(CMOCKA_LIBS) $(JANSSON_LIBS)
endif
