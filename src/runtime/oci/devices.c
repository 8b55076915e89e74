/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device filter. The spec's list of rules is reduced to a default and its exceptions first: that is what a v1 devices group stores, and
 * from the same form the eBPF program of a v2 group is generated, so both mean the same. The program:
 *
 *	r2 = type (low 16 bits of access_type), r3 = access (high 16 bits), r4 = major, r5 = minor
 *	per exception: jump on to the next one unless type, major, minor and access match; else r0 = !default, exit
 *	r0 = default, exit
 */
#include "runtime/oci/oci_priv.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/json.h"
#include "base/str.h"

_Static_assert((int)DEV_M == (int)BPF_DEVCG_ACC_MKNOD && (int)DEV_R == (int)BPF_DEVCG_ACC_READ && (int)DEV_W == (int)BPF_DEVCG_ACC_WRITE, "the kernel's bits");

/* What every container may use, whatever its rules say: the spec's default devices, terminals, and making nodes (which opens nothing). */
static const struct device_rule defaults[] = {
	{ 'c', -1, -1, DEV_M }, { 'b', -1, -1, DEV_M },
	{ 'c', 1, 3, DEV_M | DEV_R | DEV_W }, { 'c', 1, 5, DEV_M | DEV_R | DEV_W }, { 'c', 1, 7, DEV_M | DEV_R | DEV_W },
	{ 'c', 1, 8, DEV_M | DEV_R | DEV_W }, { 'c', 1, 9, DEV_M | DEV_R | DEV_W }, { 'c', 5, 0, DEV_M | DEV_R | DEV_W },
	{ 'c', 5, 2, DEV_M | DEV_R | DEV_W }, { 'c', 136, -1, DEV_M | DEV_R | DEV_W },
};

static int except(struct device_policy *p, const struct device_rule *r, bool allow, struct err *e)
{
	size_t i;

	for (i = 0; i < p->n; i++) {
		if (p->except[i].type == r->type && p->except[i].major == r->major && p->except[i].minor == r->minor)
			break;
	}
	if (allow != p->allow) {
		if (i == p->n) {
			if (p->n == DEV_RULES_MAX)
				return err_set(e, ERR_INVALID, "linux.resources.devices: more than %d rules", DEV_RULES_MAX);
			p->except[p->n++] = *r;
		} else {
			p->except[i].access |= r->access;
		}
		return 0;
	}
	/* The default says so already; an exception to it may have to go. */
	if (i < p->n) {
		p->except[i].access &= ~r->access;
		if (!p->except[i].access)
			p->except[i] = p->except[--p->n];
	}
	return 0;
}

int device_policy_of(const json_t *resources, struct device_policy *p, struct err *e)
{
	const json_t *o;
	size_t i;

	p->allow = false;
	p->n = 0;
	json_array_foreach(json_arr(resources, "devices"), i, o) {
		const char *type = json_str(o, "type", "a"), *access = json_str(o, "access", "rwm");
		struct device_rule r = { .type = type[0], .major = json_i64(o, "major", -1), .minor = json_i64(o, "minor", -1) };
		bool allow = json_flag(o, "allow", false);

		if (strlen(type) != 1 || !strchr("abc", type[0]))
			return err_set(e, ERR_INVALID, "linux.resources.devices[%zu]: '%s' is not a type (a, b or c)", i, type);
		for (const char *c = access; *c; c++) {
			if (!strchr("rwm", *c))
				return err_set(e, ERR_INVALID, "linux.resources.devices[%zu]: access '%s' is not made of r, w and m", i, access);
			r.access |= *c == 'r' ? DEV_R : *c == 'w' ? DEV_W : DEV_M;
		}
		if (r.major < -1 || r.major > 0xfffff || r.minor < -1 || r.minor > 0xfffff)
			return err_set(e, ERR_INVALID, "linux.resources.devices[%zu]: %lld:%lld is not a device number", i, (long long)r.major,
				       (long long)r.minor);
		if (r.type == 'a') {
			p->allow = allow;
			p->n = 0;
			continue;
		}
		if (r.access && except(p, &r, allow, e) < 0)
			return -1;
	}
	for (i = 0; i < N(defaults) && !p->allow; i++) {
		if (except(p, &defaults[i], true, e) < 0)
			return -1;
	}
	return 0;
}

#define LDX(dst, at) ((struct bpf_insn){ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (dst), .src_reg = 1, .off = (at) })
#define ALU_K(op, dst, k) ((struct bpf_insn){ .code = BPF_ALU | (op) | BPF_K, .dst_reg = (dst), .imm = (k) })
#define MOV_R(dst, src) ((struct bpf_insn){ .code = BPF_ALU | BPF_MOV | BPF_X, .dst_reg = (dst), .src_reg = (src) })
#define MOV_K(dst, k) ((struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (dst), .imm = (k) })
#define JNE(dst, k, by) ((struct bpf_insn){ .code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = (dst), .imm = (k), .off = (by) })
#define JEQ(dst, k, by) ((struct bpf_insn){ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = (dst), .imm = (k), .off = (by) })
#define EXIT ((struct bpf_insn){ .code = BPF_JMP | BPF_EXIT })

size_t device_program(const struct device_policy *p, struct bpf_insn *out, size_t max)
{
	size_t n = 0;

	if (max < 8 + p->n * 9)
		return 0;
	out[n++] = LDX(2, 0);
	out[n++] = MOV_R(3, 2);
	out[n++] = ALU_K(BPF_AND, 2, 0xffff);
	out[n++] = ALU_K(BPF_RSH, 3, 16);
	out[n++] = LDX(4, 4);
	out[n++] = LDX(5, 8);
	for (size_t i = 0; i < p->n; i++) {
		const struct device_rule *r = &p->except[i];
		/* In front of the verdict: those jumps count the instructions still between them and the next exception. */
		size_t len = 1 + (r->major >= 0) + (r->minor >= 0) + 3 + 2, at = 0;

		out[n++] = JNE(2, r->type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK, (short)(len - ++at));
		if (r->major >= 0)
			out[n++] = JNE(4, (int)r->major, (short)(len - ++at));
		if (r->minor >= 0)
			out[n++] = JNE(5, (int)r->minor, (short)(len - ++at));
		out[n++] = MOV_R(0, 3);
		at++;
		/* An allowed access is within the exception's bits; a denied one has any of them. */
		out[n++] = ALU_K(BPF_AND, 0, (int)(p->allow ? r->access : ~r->access & 7));
		at++;
		out[n++] = p->allow ? JEQ(0, 0, (short)(len - ++at)) : JNE(0, 0, (short)(len - ++at));
		out[n++] = MOV_K(0, !p->allow);
		out[n++] = EXIT;
	}
	out[n++] = MOV_K(0, p->allow);
	out[n++] = EXIT;
	return n;
}

int device_attach(int cgroup_fd, const struct device_policy *p, struct err *e)
{
	static const char license[] = "Apache-2.0";
	CLEANUP(mem_freep) struct bpf_insn *insns = mem_zalloc((8 + DEV_RULES_MAX * 9) * sizeof(*insns));
	CLEANUP(fd_closep) int prog = -1;
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	a.insns = (uintptr_t)insns;
	a.insn_cnt = (uint32_t)device_program(p, insns, 8 + DEV_RULES_MAX * 9);
	a.license = (uintptr_t)license;
	prog = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof(a));
	if (prog < 0)
		return err_errno(e, errno, "load the device filter");
	/* An attached program lives as long as its cgroup, whatever becomes of us. */
	memset(&a, 0, sizeof(a));
	a.target_fd = (uint32_t)cgroup_fd;
	a.attach_bpf_fd = (uint32_t)prog;
	a.attach_type = BPF_CGROUP_DEVICE;
	a.attach_flags = BPF_F_ALLOW_MULTI;
	if (syscall(SYS_bpf, BPF_PROG_ATTACH, &a, sizeof(a)) < 0)
		return err_errno(e, errno, "attach the device filter");
	return 0;
}
