if HAVE_CMOCKA
check_PROGRAMS += tests/unit/api_route
TESTS += tests/unit/api_route
tests_unit_api_route_SOURCES = tests/unit/api_route.c
tests_unit_api_route_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_api_route_LDADD = libapi.a libengine.a libruntime_client.a libruntime_oci.a libimage.a libnet.a libstore.a libhttp.a libloop.a libbase.a \
	$(CMOCKA_LIBS) $(ARCHIVE_LIBS) $(BPF_LIBS) $(MNL_LIBS) $(SQLITE_LIBS) $(OPENSSL_LIBS) $(EVENT_LIBS) $(HTTP_PARSER_LIBS) \
	$(SECCOMP_LIBS) $(CAP_LIBS) $(JANSSON_LIBS)
endif
