/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

static int action_of(const char *name, int64_t errnum, uint32_t *ret)
{
	if (str_eq(name, "SCMP_ACT_KILL") || str_eq(name, "SCMP_ACT_KILL_THREAD"))
		*ret = SCMP_ACT_KILL_THREAD;
	else if (str_eq(name, "SCMP_ACT_KILL_PROCESS"))
		*ret = SCMP_ACT_KILL_PROCESS;
	else if (str_eq(name, "SCMP_ACT_TRAP"))
		*ret = SCMP_ACT_TRAP;
	else if (str_eq(name, "SCMP_ACT_ERRNO"))
		*ret = SCMP_ACT_ERRNO((uint32_t)errnum);
	else if (str_eq(name, "SCMP_ACT_TRACE"))
		*ret = SCMP_ACT_TRACE((uint32_t)errnum);
	else if (str_eq(name, "SCMP_ACT_ALLOW"))
		*ret = SCMP_ACT_ALLOW;
	else if (str_eq(name, "SCMP_ACT_LOG"))
		*ret = SCMP_ACT_LOG;
	else
		return -EINVAL;
	return 0;
}

static int op_of(const char *name, enum scmp_compare *ret)
{
	static const struct { const char *name; enum scmp_compare op; } ops[] = {
		{ "SCMP_CMP_NE", SCMP_CMP_NE }, { "SCMP_CMP_LT", SCMP_CMP_LT }, { "SCMP_CMP_LE", SCMP_CMP_LE }, { "SCMP_CMP_EQ", SCMP_CMP_EQ },
		{ "SCMP_CMP_GE", SCMP_CMP_GE }, { "SCMP_CMP_GT", SCMP_CMP_GT }, { "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
	};

	for (size_t i = 0; i < N(ops); i++) {
		if (str_eq(name, ops[i].name)) {
			*ret = ops[i].op;
			return 0;
		}
	}
	return -EINVAL;
}

static int arches(scmp_filter_ctx ctx, const json_t *seccomp, struct err *e)
{
	const json_t *arr = json_arr(seccomp, "architectures");

	for (size_t i = 0; i < json_array_size(arr); i++) {
		const char *name = json_at(arr, i);
		char word[32] = "";
		uint32_t arch;
		int r;

		if (!name || !str_starts(name, "SCMP_ARCH_") || strlen(name) > 40)
			return err_set(e, ERR_INVALID, "linux.seccomp.architectures[%zu]: '%s' is not an architecture", i, name ? name : "");
		for (size_t k = 0; name[10 + k]; k++)
			word[k] = name[10 + k] >= 'A' && name[10 + k] <= 'Z' ? (char)(name[10 + k] + 32) : name[10 + k];
		arch = seccomp_arch_resolve_name(word);
		if (!arch)
			return err_set(e, ERR_INVALID, "linux.seccomp.architectures[%zu]: '%s' is not an architecture", i, name);
		r = seccomp_arch_add(ctx, arch);
		if (r < 0 && r != -EEXIST)
			return err_errno(e, -r, "linux.seccomp.architectures: add '%s'", name);
	}
	return 0;
}

static int add(scmp_filter_ctx ctx, uint32_t action, int nr, const struct scmp_arg_cmp *cmp, unsigned n)
{
	int r = seccomp_rule_add_array(ctx, action, nr, n, cmp);

	return r == -EACCES || r == -EEXIST || r == -EFAULT ? 0 : r;	/* says what the default says; twice; not on this architecture */
}

static int rule(scmp_filter_ctx ctx, const json_t *o, uint32_t def, size_t at, struct err *e)
{
	const json_t *names = json_arr(o, "names"), *args = json_arr(o, "args");
	struct scmp_arg_cmp cmp[6];
	bool seen[6] = { false }, twice = false;
	uint32_t action;
	size_t n = json_array_size(args);

	if (action_of(json_str(o, "action", ""), json_i64(o, "errnoRet", EPERM), &action) < 0)
		return err_set(e, ERR_INVALID, "linux.seccomp.syscalls[%zu]: action '%s' is not supported", at, json_str(o, "action", ""));
	if (action == def)
		return 0;
	if (n > N(cmp))
		return err_set(e, ERR_INVALID, "linux.seccomp.syscalls[%zu]: a call has no %zu arguments", at, n);
	for (size_t i = 0; i < n; i++) {
		const json_t *a = json_array_get(args, i);
		int64_t index = json_i64(a, "index", -1);
		enum scmp_compare op;

		if (index < 0 || index > 5 || op_of(json_str(a, "op", ""), &op) < 0)
			return err_set(e, ERR_INVALID, "linux.seccomp.syscalls[%zu].args[%zu] is not a comparison of an argument", at, i);
		twice = twice || seen[index];
		seen[index] = true;
		cmp[i] = (struct scmp_arg_cmp){ (unsigned)index, op, (uint64_t)json_i64(a, "value", 0), (uint64_t)json_i64(a, "valueTwo", 0) };
	}
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_at(names, i);
		int nr = name ? seccomp_syscall_resolve_name(name) : __NR_SCMP_ERROR, r = 0;

		if (nr == __NR_SCMP_ERROR)
			continue;	/* a call this build does not know is not allowed, and forbidding it is moot */
		/* Comparisons of one argument with several values are alternatives, as runc reads them; libseccomp takes one a rule. */
		if (!twice) {
			r = add(ctx, action, nr, cmp, (unsigned)n);
		} else {
			for (size_t k = 0; k < n && r == 0; k++)
				r = add(ctx, action, nr, &cmp[k], 1);
		}
		if (r < 0)
			return err_errno(e, -r, "linux.seccomp.syscalls[%zu]: '%s'", at, name);
	}
	return 0;
}

static int flags_of(const json_t *seccomp, unsigned *flags, struct err *e)
{
	const json_t *arr = json_arr(seccomp, "flags");

	*flags = 0;
	for (size_t i = 0; i < json_array_size(arr); i++) {
		const char *f = json_at(arr, i);

		if (str_eq(f, "SECCOMP_FILTER_FLAG_LOG"))
			*flags |= SECCOMP_FILTER_FLAG_LOG;
		else if (str_eq(f, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"))
			*flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
		else if (!str_eq(f, "SECCOMP_FILTER_FLAG_TSYNC"))	/* there is one thread */
			return err_set(e, ERR_INVALID, "linux.seccomp.flags: '%s' is not supported", f ? f : "");
	}
	return 0;
}

static int export(scmp_filter_ctx ctx, struct seccomp_prog *ret, struct err *e)
{
	CLEANUP(fd_closep) int fd = memfd_create("seccomp", MFD_CLOEXEC);
	off_t size;
	int r;

	if (fd < 0)
		return err_errno(e, errno, "make room for a seccomp filter");
	r = seccomp_export_bpf(ctx, fd);
	size = lseek(fd, 0, SEEK_END);
	if (r < 0 || size < (off_t)sizeof(struct sock_filter) || size / (off_t)sizeof(struct sock_filter) > BPF_MAXINSNS)
		return err_set(e, ERR_INVALID, "linux.seccomp: the filter has %lld instructions (%d allowed): %s",
			       (long long)size / (long long)sizeof(struct sock_filter), BPF_MAXINSNS, strerror(-r));
	ret->insns = mem_alloc((size_t)size);
	ret->len = (unsigned short)(size / (off_t)sizeof(struct sock_filter));
	if (pread(fd, ret->insns, (size_t)size, 0) != size) {
		seccomp_done(ret);
		return err_set(e, ERR_INTERNAL, "read a seccomp filter back");
	}
	return 0;
}

int seccomp_compile(const json_t *seccomp, struct seccomp_prog *ret, struct err *e)
{
	const char *name = json_str(seccomp, "defaultAction", "");
	scmp_filter_ctx ctx;
	const json_t *o;
	uint32_t def;
	size_t i;
	int r = 0;

	*ret = (struct seccomp_prog){ 0 };
	if (!seccomp)
		return 0;
	if (action_of(name, json_i64(seccomp, "defaultErrnoRet", EPERM), &def) < 0)
		return err_set(e, ERR_INVALID, "linux.seccomp.defaultAction '%s' is not supported", name);
	if (*json_str(seccomp, "listenerPath", ""))
		return err_set(e, ERR_INVALID, "linux.seccomp.listenerPath is not supported");
	if (flags_of(seccomp, &ret->flags, e) < 0)
		return -1;
	ctx = seccomp_init(def);
	if (!ctx)
		return err_set(e, ERR_INTERNAL, "make a seccomp filter");
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);	/* a tree instead of a list, where the library can */
	r = arches(ctx, seccomp, e);
	json_array_foreach(json_arr(seccomp, "syscalls"), i, o) {
		if (r == 0)
			r = rule(ctx, o, def, i, e);
	}
	if (r == 0)
		r = export(ctx, ret, e);
	seccomp_release(ctx);
	return r;
}

void seccomp_done(struct seccomp_prog *p)
{
	free(p->insns);
	*p = (struct seccomp_prog){ 0 };
}

int seccomp_apply(const struct seccomp_prog *p, struct err *e)
{
	struct sock_fprog prog = { .len = p->len, .filter = p->insns };

	if (!p->len)
		return 0;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, p->flags, &prog) < 0)
		return err_errno(e, errno, "load the seccomp filter");
	return 0;
}

bool seccomp_allows(const struct seccomp_prog *p, int nr)
{
	uint32_t a = 0;

	for (unsigned at = 0; at < p->len; at++) {
		const struct sock_filter *i = &p->insns[at];
		bool yes = false;

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (i->k == offsetof(struct seccomp_data, nr))
				a = (uint32_t)nr;
			else if (i->k == offsetof(struct seccomp_data, arch))
				a = seccomp_arch_native();	/* libseccomp's words for architectures are the kernel's */
			else
				return false;			/* an argument */
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			continue;
		case BPF_JMP | BPF_JA:
			at += i->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			yes = a == i->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			yes = a > i->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			yes = a >= i->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			yes = (a & i->k) != 0;
			break;
		case BPF_RET | BPF_K:
			return i->k == SECCOMP_RET_ALLOW;
		default:
			return false;
		}
		at += yes ? i->jt : i->jf;
	}
	return !p->len;		/* jumps lead forwards only: the kernel takes no other program */
}
