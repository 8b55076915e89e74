/* SPDX-License-Identifier: Apache-2.0 */
/* The "process" object: parsing, and the names of capabilities and limits. What is done with it is in become.c. */
#include "runtime/oci/oci_priv.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <linux/capability.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

/* By number, from the headers: a name here is one this build knows; whether the kernel does is cap_all()'s matter. */
static const char *const cap_names[] = {
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
	"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
	"PERFMON", "BPF", "CHECKPOINT_RESTORE",
};
_Static_assert(N(cap_names) == CAP_LAST_CAP + 1, "a name for each capability of the headers");

static const struct { const char *name; int what; } limits[] = {
	{ "RLIMIT_AS", RLIMIT_AS }, { "RLIMIT_CORE", RLIMIT_CORE }, { "RLIMIT_CPU", RLIMIT_CPU }, { "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE }, { "RLIMIT_LOCKS", RLIMIT_LOCKS }, { "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE }, { "RLIMIT_NICE", RLIMIT_NICE }, { "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_NPROC", RLIMIT_NPROC }, { "RLIMIT_RSS", RLIMIT_RSS }, { "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "RLIMIT_RTTIME", RLIMIT_RTTIME }, { "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING }, { "RLIMIT_STACK", RLIMIT_STACK },
};
_Static_assert(N(limits) == RLIM_NLIMITS, "every limit has its name");

enum { ARGS_MAX = 65536, GROUPS_MAX = 65536, USER_MAX = 0x7fffffff };

int cap_number(const char *name)
{
	if (!strncasecmp(name, "CAP_", 4))
		name += 4;
	for (size_t i = 0; i < N(cap_names); i++) {
		if (!strcasecmp(name, cap_names[i]))
			return (int)i;
	}
	return -1;
}

const char *cap_word(int n)
{
	static char word[32];

	if (n < 0 || (size_t)n >= N(cap_names))
		return NULL;
	strcpy(word, "CAP_");
	strcat(word, cap_names[n]);
	return word;
}

uint64_t cap_all(void)
{
	static int last = -1;
	char word[16];
	uint64_t n;

	if (last < 0) {
		last = CAP_LAST_CAP;
		if (file_read_line("/proc/sys/kernel/cap_last_cap", word, sizeof(word)) == 0 && str_to_u64(word, 0, 63, &n) == 0)
			last = (int)n;
	}
	return last >= 63 ? UINT64_MAX : (1ull << (last + 1)) - 1;
}

static int strings(const json_t *o, const char *key, char ***ret, struct err *e)
{
	const json_t *v = json_object_get(o, key);

	*ret = NULL;
	if (v && !json_is_null(v) && !json_is_array(v))
		return err_set(e, ERR_INVALID, "config.json: process.%s is not an array", key);
	if (json_array_size(v) > ARGS_MAX)
		return err_set(e, ERR_INVALID, "config.json: process.%s has more than %d entries", key, ARGS_MAX);
	for (size_t i = 0; i < json_array_size(v); i++) {
		if (!json_is_string(json_array_get(v, i)))
			return err_set(e, ERR_INVALID, "config.json: process.%s[%zu] is not a string", key, i);
	}
	*ret = json_vector(v);
	return 0;
}

static int user(const json_t *o, struct oci_process *p, struct err *e)
{
	const json_t *u = json_object_get(o, "user"), *g, *v;
	int64_t uid, gid, mask;
	size_t i;

	if (u && !json_is_null(u) && !json_is_object(u))
		return err_set(e, ERR_INVALID, "config.json: process.user is not an object");
	uid = json_i64(u, "uid", 0);
	gid = json_i64(u, "gid", 0);
	if (uid < 0 || uid > USER_MAX)
		return err_set(e, ERR_INVALID, "config.json: process.user.uid %lld is not from 0 to %d", (long long)uid, USER_MAX);
	if (gid < 0 || gid > USER_MAX)
		return err_set(e, ERR_INVALID, "config.json: process.user.gid %lld is not from 0 to %d", (long long)gid, USER_MAX);
	p->uid = (uid_t)uid;
	p->gid = (gid_t)gid;
	g = json_arr(u, "additionalGids");
	if (json_array_size(g) > GROUPS_MAX)
		return err_set(e, ERR_INVALID, "config.json: process.user.additionalGids has more than %d entries", GROUPS_MAX);
	p->gids = mem_zalloc((json_array_size(g) + 1) * sizeof(*p->gids));
	json_array_foreach(g, i, v) {
		int64_t n = json_is_integer(v) ? (int64_t)json_integer_value(v) : -1;

		if (n < 0 || n > USER_MAX)
			return err_set(e, ERR_INVALID, "config.json: process.user.additionalGids[%zu] is not from 0 to %d", i, USER_MAX);
		p->gids[p->n_gids++] = (gid_t)n;
	}
	mask = json_i64(u, "umask", -1);
	if (json_object_get(u, "umask") && (mask < 0 || mask > 0777))
		return err_set(e, ERR_INVALID, "config.json: process.user.umask %lld is not from 0 to 511", (long long)mask);
	p->has_umask = mask >= 0;
	p->umask = (mode_t)(mask & 0777);
	return 0;
}

static int capabilities(const json_t *o, struct oci_process *p, struct err *e)
{
	static const char *const sets[CAPSET_COUNT] = { "bounding", "effective", "inheritable", "permitted", "ambient" };
	const json_t *caps = json_obj(o, "capabilities"), *v;
	size_t i;

	p->has_caps = caps != NULL;
	for (int k = 0; k < CAPSET_COUNT; k++) {
		json_array_foreach(json_arr(caps, sets[k]), i, v) {
			const char *name = json_string_value(v);
			int n = name ? cap_number(name) : -1;

			if (n < 0)
				return err_set(e, ERR_INVALID, "config.json: process.capabilities.%s: '%s' is not a capability", sets[k],
					       name ? name : "");
			p->caps[k] |= 1ull << n;
		}
	}
	return 0;
}

/* Limits are unsigned 64 bits in Go: RLIM_INFINITY comes as 18446744073709551615, which our JSON reads as a real number. */
static rlim_t limit_of(const json_t *v)
{
	if (json_is_integer(v))
		return (rlim_t)json_integer_value(v);	/* -1 is infinity too */
	if (json_is_real(v) && json_real_value(v) >= 0)
		return json_real_value(v) >= 1.8446744073709550e19 ? RLIM_INFINITY : (rlim_t)json_real_value(v);
	return 0;
}

static int rlimits(const json_t *o, struct oci_process *p, struct err *e)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_arr(o, "rlimits"), i, v) {
		const char *type = json_str(v, "type", "");
		struct rlimit lim = { limit_of(json_object_get(v, "soft")), limit_of(json_object_get(v, "hard")) };
		size_t k;

		for (k = 0; k < N(limits) && !str_eq(type, limits[k].name); k++)
			;
		if (k == N(limits))
			return err_set(e, ERR_INVALID, "config.json: process.rlimits[%zu]: '%s' is not a limit", i, type);
		if (lim.rlim_cur > lim.rlim_max)
			return err_set(e, ERR_INVALID, "config.json: %s: the soft limit %llu is above the hard limit %llu", type,
				       (unsigned long long)lim.rlim_cur, (unsigned long long)lim.rlim_max);
		for (size_t j = 0; j < p->n_rlimits; j++) {
			if (p->rlimits[j].what == limits[k].what)
				return err_set(e, ERR_INVALID, "config.json: process.rlimits: '%s' is there twice", type);
		}
		p->rlimits[p->n_rlimits++] = (struct oci_rlimit){ limits[k].what, limits[k].name, lim };
	}
	return 0;
}

static int refusals(const json_t *o, struct err *e)
{
	static const char *const no[] = { "scheduler", "ioPriority", "execCPUAffinity" };
	const char *label = json_str(o, "selinuxLabel", "");

	for (size_t i = 0; i < N(no); i++) {
		if (json_object_get(o, no[i]) && !json_is_null(json_object_get(o, no[i])))
			return err_set(e, ERR_INVALID, "config.json: process.%s is not supported", no[i]);
	}
	if (*label)
		return err_set(e, ERR_INVALID, "config.json: process.selinuxLabel '%s': SELinux is not supported", label);
	return 0;
}

int process_parse(const json_t *o, struct oci_process *ret, struct err *e)
{
	struct oci_process p = { 0 };
	const json_t *size = json_obj(o, "consoleSize"), *oom = json_object_get(o, "oomScoreAdj");
	int64_t n;

	if (!json_is_object(o))
		return err_set(e, ERR_INVALID, "config.json: process is not an object");
	if (strings(o, "args", &p.argv, e) < 0 || strings(o, "env", &p.env, e) < 0)
		goto fail;
	if (!p.argv[0]) {
		err_set(e, ERR_INVALID, "config.json: process.args is empty");
		goto fail;
	}
	p.cwd = json_str(o, "cwd", "");
	if (p.cwd[0] != '/') {
		err_set(e, ERR_INVALID, "config.json: process.cwd '%s' is not an absolute path", p.cwd);
		goto fail;
	}
	p.terminal = json_flag(o, "terminal", false);
	p.rows = (unsigned)(json_i64(size, "height", 0) & 0xffff);
	p.cols = (unsigned)(json_i64(size, "width", 0) & 0xffff);
	p.no_new_privs = json_flag(o, "noNewPrivileges", false);
	p.apparmor = json_str(o, "apparmorProfile", NULL);
	if (json_is_integer(oom)) {
		n = (int64_t)json_integer_value(oom);
		if (n < -1000 || n > 1000) {
			err_set(e, ERR_INVALID, "config.json: process.oomScoreAdj %lld is not from -1000 to 1000", (long long)n);
			goto fail;
		}
		p.has_oom = true;
		p.oom = (int)n;
	}
	if (user(o, &p, e) < 0 || capabilities(o, &p, e) < 0 || rlimits(o, &p, e) < 0 || refusals(o, e) < 0)
		goto fail;
	*ret = p;
	return 0;
fail:
	process_done(&p);
	return -1;
}

void process_done(struct oci_process *p)
{
	free(p->argv);
	free(p->env);
	free(p->gids);
	*p = (struct oci_process){ 0 };
}
