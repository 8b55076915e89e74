/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an evil image has in the place of the dynamic loader (CVE-2019-5736): the kernel starts it for whatever program of the host's is executed
 * in the container, and /proc/self/exe is that program. It tries to change it and tells how that ended. No library: it is the loader.
 */
#include <asm/unistd.h>
#include <fcntl.h>
#include <sys/stat.h>

static long call4(long n, long a, long b, long c, long d)
{
#if defined(__x86_64__)
	long ret;
	register long r10 __asm__("r10") = d;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
#else
#error "no system call for this processor"
#endif
}

static void say(const char *what, long r)
{
	char line[64];
	unsigned n = 0;
	long v = r < 0 ? -r : 0;

	while (*what)
		line[n++] = *what++;
	line[n++] = (char)('0' + v / 100 % 10);
	line[n++] = (char)('0' + v / 10 % 10);
	line[n++] = (char)('0' + v % 10);
	line[n++] = '\n';
	(void)call4(__NR_write, 1, (long)line, n, 0);
}

/* Errors by number; 000 is success. */
void _start(void)
{
	static const char self[] = "/proc/self/exe";

	say("write ", call4(__NR_openat, AT_FDCWD, (long)self, O_WRONLY, 0));
	say("chmod ", call4(__NR_fchmodat, AT_FDCWD, (long)self, 04777, 0));
	say("touch ", call4(__NR_utimensat, AT_FDCWD, (long)self, 0, 0));
	(void)call4(__NR_exit_group, 0, 0, 0, 0);
	__builtin_unreachable();
}
