# What containers are given and kept from.
OPTION_TESTS = \
	tests/system/volumes.sh \
	tests/system/options.sh \
	tests/system/security.sh \
	tests/system/cgroup2.sh \
	tests/system/userns.sh
TESTS += $(OPTION_TESTS)
EXTRA_DIST += $(OPTION_TESTS)
