DNS_FUZZ = tests/fuzz/dns_wire tests/fuzz/dns_forward
DNS_FUZZ_LIBS = libdns.a libloop.a libbase.a $(CARES_LIBS) $(EVENT_LIBS) $(JANSSON_LIBS)
check_PROGRAMS += $(DNS_FUZZ)
tests_fuzz_dns_wire_SOURCES = tests/fuzz/dns_wire.c
tests_fuzz_dns_wire_LDADD = $(DNS_FUZZ_LIBS)
tests_fuzz_dns_forward_SOURCES = tests/fuzz/dns_forward.c
tests_fuzz_dns_forward_LDADD = $(DNS_FUZZ_LIBS)
if FUZZ
tests_fuzz_dns_wire_LDFLAGS = -fsanitize=fuzzer
tests_fuzz_dns_forward_LDFLAGS = -fsanitize=fuzzer
else
tests_fuzz_dns_wire_SOURCES += tests/fuzz/run.c
tests_fuzz_dns_forward_SOURCES += tests/fuzz/run.c
TESTS += $(DNS_FUZZ)
endif
EXTRA_DIST += tests/fuzz/dns_wire.corpus tests/fuzz/dns_forward.corpus
