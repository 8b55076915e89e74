if HAVE_CMOCKA
check_PROGRAMS += tests/unit/store_store
TESTS += tests/unit/store_store
tests_unit_store_store_SOURCES = tests/unit/store_store.c
tests_unit_store_store_LDADD = libstore.a libloop.a libbase.a $(CMOCKA_LIBS) $(SQLITE_LIBS) $(EVENT_LIBS) $(JANSSON_LIBS)
endif
