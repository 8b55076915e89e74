check_PROGRAMS += tests/system/dns_differ
tests_system_dns_differ_SOURCES = tests/system/dns_differ.c
tests_system_dns_differ_LDADD = -lresolv
DNS_SYSTEM_TESTS = tests/system/dns.sh tests/system/dns_differ.sh
TESTS += $(DNS_SYSTEM_TESTS)
EXTRA_DIST += $(DNS_SYSTEM_TESTS)
