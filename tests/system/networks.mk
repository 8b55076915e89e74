NETWORKS_TESTS = \
	tests/system/networks.sh \
	tests/system/networks_v6.sh \
	tests/system/networks_isolation.sh
TESTS += $(NETWORKS_TESTS)
EXTRA_DIST += $(NETWORKS_TESTS)
