if HAVE_CMOCKA
dns_unit_tests = tests/unit/dns_wire tests/unit/dns_zone tests/unit/dns_cache tests/unit/dns_forward tests/unit/dns_server
check_PROGRAMS += $(dns_unit_tests)
TESTS += $(dns_unit_tests)
dns_unit_libs = libdns.a libloop.a libbase.a $(CARES_LIBS) $(EVENT_LIBS) $(JANSSON_LIBS) $(CMOCKA_LIBS)
tests_unit_dns_wire_SOURCES = tests/unit/dns_wire.c
tests_unit_dns_wire_LDADD = $(dns_unit_libs)
tests_unit_dns_zone_SOURCES = tests/unit/dns_zone.c
tests_unit_dns_zone_LDADD = $(dns_unit_libs)
tests_unit_dns_cache_SOURCES = tests/unit/dns_cache.c
tests_unit_dns_cache_LDADD = $(dns_unit_libs)
tests_unit_dns_forward_SOURCES = tests/unit/dns_forward.c
tests_unit_dns_forward_LDADD = $(dns_unit_libs)
tests_unit_dns_server_SOURCES = tests/unit/dns_server.c
tests_unit_dns_server_LDADD = $(dns_unit_libs)
endif
