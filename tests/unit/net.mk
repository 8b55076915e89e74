if HAVE_CMOCKA
net_unit_tests = tests/unit/net_ipam tests/unit/net_maglev tests/unit/net_ports tests/unit/net_proxy tests/unit/net_sandbox
check_PROGRAMS += $(net_unit_tests)
TESTS += $(net_unit_tests)
net_unit_libs = libnet.a libdns.a libstore.a libloop.a libbase.a $(BPF_LIBS) $(CARES_LIBS) $(MNL_LIBS) $(EVENT_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS) $(CMOCKA_LIBS)
tests_unit_net_ipam_SOURCES = tests/unit/net_ipam.c
tests_unit_net_ipam_LDADD = $(net_unit_libs)
tests_unit_net_maglev_SOURCES = tests/unit/net_maglev.c
tests_unit_net_maglev_LDADD = $(net_unit_libs)
tests_unit_net_ports_SOURCES = tests/unit/net_ports.c
tests_unit_net_ports_LDADD = $(net_unit_libs)
tests_unit_net_proxy_SOURCES = tests/unit/net_proxy.c
tests_unit_net_proxy_LDADD = $(net_unit_libs)
tests_unit_net_sandbox_SOURCES = tests/unit/net_sandbox.c
tests_unit_net_sandbox_LDADD = $(net_unit_libs)
endif
