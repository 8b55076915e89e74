# What a program over the engine links, for its tests and those of the modules above.
engine_test_libs = libengine.a libruntime_client.a libruntime_oci.a libimage.a libvolume.a libnet.a libdns.a libstore.a libloop.a libbase.a \
	$(IMAGE_LIBS) $(BPF_LIBS) $(CARES_LIBS) $(MNL_LIBS) $(SQLITE_LIBS) $(EVENT_LIBS) $(SECCOMP_LIBS) $(CAP_LIBS) $(JANSSON_LIBS)
if HAVE_CMOCKA
ENGINE_UNIT_TESTS = tests/unit/engine_cgstat tests/unit/engine_filter tests/unit/engine_create tests/unit/engine_resolv
check_PROGRAMS += $(ENGINE_UNIT_TESTS)
TESTS += $(ENGINE_UNIT_TESTS)
tests_unit_engine_cgstat_SOURCES = tests/unit/engine_cgstat.c
tests_unit_engine_cgstat_LDADD = libengine.a libbase.a $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_engine_filter_SOURCES = tests/unit/engine_filter.c
tests_unit_engine_filter_LDADD = libengine.a libbase.a $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_engine_resolv_SOURCES = tests/unit/engine_resolv.c
tests_unit_engine_resolv_LDADD = libengine.a libbase.a $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_engine_create_SOURCES = tests/unit/engine_create.c
tests_unit_engine_create_LDADD = $(engine_test_libs) $(CMOCKA_LIBS)
endif
