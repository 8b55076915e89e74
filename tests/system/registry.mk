# Pull, push and what registries can do wrong.
REGISTRY_TESTS = tests/system/registry.sh
TESTS += $(REGISTRY_TESTS)
EXTRA_DIST += $(REGISTRY_TESTS) tests/system/registry_lib.sh
