NETWORKS_TESTS = \
	tests/system/networks.sh \
	tests/system/networks_v6.sh \
	tests/system/networks_isolation.sh \
	tests/system/networks_proxy.sh \
	tests/system/networks_docker.sh \
	tests/system/networks_kill.sh \
	tests/system/networks_links.sh \
	tests/system/networks_options.sh \
	tests/system/networks_macvlan.sh \
	tests/system/networks_ipvlan.sh \
	tests/system/networks_churn.sh
TESTS += $(NETWORKS_TESTS)
EXTRA_DIST += tests/system/networks_churn.py $(NETWORKS_TESTS)
