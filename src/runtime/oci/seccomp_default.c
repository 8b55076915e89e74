/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default filter: what programs in containers need, and nothing that reaches around namespaces. Forbidden unless a capability says
 * otherwise: mounts, modules, kexec, clocks, tracing of the kernel, namespaces (clone3 answers ENOSYS so that C libraries fall back to
 * clone, whose flags a filter can see), keyrings, user faults, obsolete calls; AF_VSOCK reaches the hypervisor and is left out as well.
 * The set of allowed calls is the one that programs written for docker expect.
 */
#include "runtime/oci/seccomp.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/mem.h"
#include "base/str.h"

static const char *const always[] = {
	"accept", "accept4", "access", "adjtimex", "alarm", "bind", "brk", "cachestat", "capget", "capset", "chdir", "chmod", "chown", "chown32",
	"clock_adjtime", "clock_adjtime64", "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
	"clock_nanosleep_time64", "close", "close_range", "connect", "copy_file_range", "creat", "dup", "dup2", "dup3", "epoll_create",
	"epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2",
	"execve", "execveat", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate", "fanotify_mark",
	"fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl", "fcntl64", "fdatasync", "fgetxattr",
	"flistxattr", "flock", "fork", "fremovexattr", "fsetxattr", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync",
	"ftruncate", "ftruncate64", "futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake", "futimesat",
	"getcpu", "getcwd", "getdents", "getdents64", "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32", "getgroups",
	"getgroups32", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrandom", "getresgid",
	"getresgid32", "getresuid", "getresuid32", "getrlimit", "get_robust_list", "getrusage", "getsid", "getsockname", "getsockopt",
	"get_thread_area", "gettid", "gettimeofday", "getuid", "getuid32", "getxattr", "getxattrat", "inotify_add_watch", "inotify_init",
	"inotify_init1", "inotify_rm_watch", "io_cancel", "ioctl", "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64",
	"ioprio_get", "ioprio_set", "io_setup", "io_submit", "ipc", "kill", "landlock_add_rule", "landlock_create_ruleset",
	"landlock_restrict_self", "lchown", "lchown32", "lgetxattr", "link", "linkat", "listen", "listmount", "listxattr", "listxattrat",
	"llistxattr", "_llseek", "lremovexattr", "lseek", "lsetxattr", "lstat", "lstat64", "madvise", "map_shadow_stack", "membarrier",
	"memfd_create", "memfd_secret", "mincore", "mkdir", "mkdirat", "mknod", "mknodat", "mlock", "mlock2", "mlockall", "mmap", "mmap2",
	"mprotect", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend",
	"mq_timedsend_time64", "mq_unlink", "mremap", "mseal", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock", "munlockall",
	"munmap", "name_to_handle_at", "nanosleep", "newfstatat", "_newselect", "open", "openat", "openat2", "pause", "pidfd_open",
	"pidfd_send_signal", "pipe", "pipe2", "pkey_alloc", "pkey_free", "pkey_mprotect", "poll", "ppoll", "ppoll_time64", "prctl",
	"pread64", "preadv", "preadv2", "prlimit64", "process_mrelease", "pselect6", "pselect6_time64", "pwrite64", "pwritev", "pwritev2",
	"read", "readahead", "readlink", "readlinkat", "readv", "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg",
	"remap_file_pages", "removexattr", "removexattrat", "rename", "renameat", "renameat2", "restart_syscall", "rmdir", "rseq",
	"rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
	"rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_get_priority_max",
	"sched_get_priority_min", "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_setaffinity",
	"sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp", "select", "semctl", "semget", "semop",
	"semtimedop", "semtimedop_time64", "send", "sendfile", "sendfile64", "sendmmsg", "sendmsg", "sendto", "setfsgid", "setfsgid32",
	"setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32", "setitimer", "setpgid", "setpriority", "setregid",
	"setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32", "setrlimit", "set_robust_list",
	"setsid", "setsockopt", "set_thread_area", "set_tid_address", "setuid", "setuid32", "setxattr", "setxattrat", "shmat", "shmctl",
	"shmdt", "shmget", "shutdown", "sigaltstack", "signalfd", "signalfd4", "sigprocmask", "sigreturn", "socketcall", "socketpair",
	"splice", "stat", "stat64", "statfs", "statfs64", "statmount", "statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs",
	"sysinfo", "tee", "tgkill", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64",
	"timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime",
	"timerfd_settime64", "times", "tkill", "truncate", "truncate64", "ugetrlimit", "umask", "uname", "unlink", "unlinkat",
	"uretprobe", "utime", "utimensat", "utimensat_time64", "utimes", "vfork", "vmsplice", "wait4", "waitid", "waitpid", "write",
	"writev", "process_vm_readv", "process_vm_writev", "ptrace",
};

/* Calls that come with a capability. */
static const struct {
	const char *cap;
	const char *names[24];
} with[] = {
	{ "CAP_DAC_READ_SEARCH", { "open_by_handle_at" } },
	{ "CAP_SYS_ADMIN", { "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount",
			     "mount_setattr", "move_mount", "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname",
			     "sethostname", "setns", "syslog", "umount", "umount2", "unshare" } },
	{ "CAP_SYS_BOOT", { "reboot" } },
	{ "CAP_SYS_CHROOT", { "chroot" } },
	{ "CAP_SYS_MODULE", { "delete_module", "init_module", "finit_module" } },
	{ "CAP_SYS_PACCT", { "acct" } },
	{ "CAP_SYS_PTRACE", { "kcmp", "pidfd_getfd", "process_madvise" } },
	{ "CAP_SYS_RAWIO", { "iopl", "ioperm" } },
	{ "CAP_SYS_TIME", { "settimeofday", "stime", "clock_settime", "clock_settime64" } },
	{ "CAP_SYS_TTY_CONFIG", { "vhangup" } },
	{ "CAP_SYS_NICE", { "get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node" } },
	{ "CAP_SYSLOG", { "syslog" } },
	{ "CAP_BPF", { "bpf" } },
	{ "CAP_PERFMON", { "perf_event_open" } },
};

static bool has(const char *const *caps, const char *cap)
{
	for (; caps && *caps; caps++) {
		if (str_eq(*caps, cap))
			return true;
	}
	return false;
}

static void allow(json_t *rules, const char *const *names, size_t n, json_t *args)
{
	json_t *arr = json_array(), *o;

	for (size_t i = 0; i < n && names[i]; i++)
		json_array_append_new(arr, json_string(names[i]));
	o = json_pack("{s:o,s:s}", "names", arr, "action", "SCMP_ACT_ALLOW");
	if (args)
		json_object_set_new(o, "args", args);
	json_array_append_new(rules, o);
}

static json_t *arg(int index, uint64_t value, const char *op, uint64_t two)
{
	return json_pack("[{s:i,s:I,s:s,s:I}]", "index", index, "value", (json_int_t)value, "op", op, "valueTwo", (json_int_t)two);
}

static void architectures(json_t *o)
{
	struct utsname u;
	json_t *arr = json_array();

	if (uname(&u) == 0 && str_eq(u.machine, "x86_64")) {
		json_array_append_new(arr, json_string("SCMP_ARCH_X86_64"));
		json_array_append_new(arr, json_string("SCMP_ARCH_X86"));
		json_array_append_new(arr, json_string("SCMP_ARCH_X32"));
	} else if (str_eq(u.machine, "aarch64")) {
		json_array_append_new(arr, json_string("SCMP_ARCH_AARCH64"));
		json_array_append_new(arr, json_string("SCMP_ARCH_ARM"));
	}
	json_object_set_new(o, "architectures", arr);
}

json_t *oci_seccomp_default(const char *const *caps)
{
	/* personality(2): plain Linux, the 32-bit and the "short inode" variants, and asking for the present one. */
	static const uint64_t personas[] = { 0x0, 0x8, 0x20000, 0x20008, 0xffffffff };
	/* CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET,TIME is below the signal mask of clone and cannot be asked for there}. */
	static const uint64_t namespaces = 0x7e020000;
	static const char *const persona[] = { "personality" }, *const sock[] = { "socket" }, *const cl[] = { "clone" }, *const cl3[] = { "clone3" };
	static const char *const x86[] = { "arch_prctl", "modify_ldt" }, *const arm[] = { "arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2",
		"breakpoint", "cacheflush", "set_tls" };
	json_t *rules = json_array(), *o = json_pack("{s:s,s:i}", "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet", EPERM), *deny;

	architectures(o);
	allow(rules, always, N(always), NULL);
	for (size_t i = 0; i < N(personas); i++)
		allow(rules, persona, 1, arg(0, personas[i], "SCMP_CMP_EQ", 0));
	allow(rules, sock, 1, arg(0, 40 /* AF_VSOCK */, "SCMP_CMP_NE", 0));
#if defined(__x86_64__)
	allow(rules, x86, N(x86), NULL);
	(void)arm;
#else
	allow(rules, arm, N(arm), NULL);
	(void)x86;
#endif
	for (size_t i = 0; i < N(with); i++) {
		if (has(caps, with[i].cap))
			allow(rules, with[i].names, N(with[i].names), NULL);
	}
	if (!has(caps, "CAP_SYS_ADMIN")) {
		allow(rules, cl, 1, arg(0, namespaces, "SCMP_CMP_MASKED_EQ", 0));
		deny = json_pack("{s:[s],s:s,s:i}", "names", cl3[0], "action", "SCMP_ACT_ERRNO", "errnoRet", ENOSYS);
		json_array_append_new(rules, deny);
	}
	json_object_set_new(o, "syscalls", rules);
	return o;
}
