TESTS += tests/system/dns.sh
EXTRA_DIST += tests/system/dns.sh
