OPS_TESTS = tests/system/stats.sh
TESTS += $(OPS_TESTS)
EXTRA_DIST += $(OPS_TESTS)
