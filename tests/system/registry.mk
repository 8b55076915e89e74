# Pull, push and what registries can do wrong.
REGISTRY_TESTS = tests/system/registry.sh tests/system/registry_lies.sh
TESTS += $(REGISTRY_TESTS)
EXTRA_DIST += $(REGISTRY_TESTS) tests/system/registry_lib.sh tests/system/registry_liar.py
