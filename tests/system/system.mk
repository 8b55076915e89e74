# Whole programs in namespaces. Each script says what it skips and why.
SYSTEM_TESTS = \
	tests/system/main_job.sh \
	tests/system/api_shapes.sh \
	tests/system/bad_input.sh \
	tests/system/isolation.sh \
	tests/system/kill_points.sh \
	tests/system/manuals.sh \
	tests/system/exec.sh \
	tests/system/lifecycle.sh \
	tests/system/health.sh \
	tests/system/attach.sh
TESTS += $(SYSTEM_TESTS)
EXTRA_DIST += tests/system/lib.sh tests/system/api_shapes.py tests/system/pty_talk.py tests/system/attach_talk.py $(SYSTEM_TESTS)
AM_TESTS_ENVIRONMENT = KEDGE_BUILD='$(abs_builddir)'; export KEDGE_BUILD;
TEST_EXTENSIONS = .sh
SH_LOG_COMPILER = bash
include tests/system/oci.mk
include tests/system/monitor.mk
include tests/system/net.mk
include tests/system/dns.mk
include tests/system/networks.mk
include tests/system/ops.mk
include tests/system/options.mk
include tests/system/build.mk
include tests/system/registry.mk
EXTRA_DIST += tests/api-table.txt
