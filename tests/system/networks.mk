NETWORKS_TESTS = \
	tests/system/networks.sh \
	tests/system/networks_v6.sh \
	tests/system/networks_isolation.sh \
	tests/system/networks_docker.sh \
	tests/system/networks_kill.sh \
	tests/system/networks_macvlan.sh
TESTS += $(NETWORKS_TESTS)
EXTRA_DIST += $(NETWORKS_TESTS)
