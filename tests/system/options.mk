# What containers are given and kept from.
OPTION_TESTS = \
	tests/system/volumes.sh \
	tests/system/options.sh \
	tests/system/security.sh \
	tests/system/cgroup2.sh \
	tests/system/apparmor.sh \
	tests/system/sctp_kernel.sh \
	tests/system/userns.sh \
	tests/system/runtimes.sh \
	tests/system/daemon_json.sh
TESTS += $(OPTION_TESTS)
EXTRA_DIST += $(OPTION_TESTS)
check_PROGRAMS += tests/system/evil_loader
tests_system_evil_loader_SOURCES = tests/system/evil_loader.c
tests_system_evil_loader_CFLAGS = -ffreestanding -fno-stack-protector -fno-pie
tests_system_evil_loader_LDFLAGS = -static -nostdlib -no-pie
