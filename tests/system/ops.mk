OPS_TESTS = tests/system/stats.sh tests/system/archive.sh tests/system/lists.sh tests/system/logs.sh tests/system/sdk.sh tests/system/api_containers.sh tests/system/fields.sh tests/system/compose.sh tests/system/same.sh
TESTS += $(OPS_TESTS)
EXTRA_DIST += $(OPS_TESTS) tests/system/sdk.py tests/system/fields.py
