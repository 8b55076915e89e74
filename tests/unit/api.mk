if HAVE_CMOCKA
check_PROGRAMS += tests/unit/api_route
TESTS += tests/unit/api_route
tests_unit_api_route_SOURCES = tests/unit/api_route.c
tests_unit_api_route_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_api_route_LDADD = libapi.a libbuild.a $(engine_test_libs) libhttp.a libloop.a libbase.a $(CMOCKA_LIBS) \
	$(EVENT_LIBS) $(HTTP_PARSER_LIBS) $(JANSSON_LIBS)
endif
