noinst_LIBRARIES += libruntime_oci.a
libruntime_oci_a_SOURCES = \
	src/runtime/oci/oci.h \
	src/runtime/oci/exec.h \
	src/runtime/oci/self.h \
	src/runtime/oci/self.c \
	src/runtime/oci/seccomp.h \
	src/runtime/oci/oci_priv.h \
	src/runtime/oci/spec.c \
	src/runtime/oci/process.c \
	src/runtime/oci/mount_options.c \
	src/runtime/oci/mounts.c \
	src/runtime/oci/rootfs.c \
	src/runtime/oci/cgroup.c \
	src/runtime/oci/cgroup_kill.c \
	src/runtime/oci/cgroup_limits.c \
	src/runtime/oci/devices.c \
	src/runtime/oci/seccomp.c \
	src/runtime/oci/seccomp_cache.c \
	src/runtime/oci/seccomp_default.c \
	src/runtime/oci/state.c \
	src/runtime/oci/sync.c \
	src/runtime/oci/hooks.c \
	src/runtime/oci/become.c \
	src/runtime/oci/init.c \
	src/runtime/oci/reaper.c \
	src/runtime/oci/create.c \
	src/runtime/oci/exec.c \
	src/runtime/oci/ops.c
