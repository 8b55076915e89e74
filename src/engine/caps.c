/* SPDX-License-Identifier: Apache-2.0 */
/* Capability names: the default set, --cap-add, --cap-drop, --privileged. */
#include "engine/engine_priv.h"

#include <linux/capability.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>

/* By number (linux/capability.h). */
static const char *const names[] = {
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW",
	"CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
};

static const int defaults[] = {
	CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FSETID, CAP_FOWNER, CAP_MKNOD, CAP_NET_RAW, CAP_SETGID, CAP_SETUID, CAP_SETFCAP, CAP_SETPCAP,
	CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT, CAP_KILL, CAP_AUDIT_WRITE,
};

static int find_cap(const char *word)
{
	if (!strncasecmp(word, "CAP_", 4))
		word += 4;
	for (size_t i = 0; i < N(names); i++) {
		if (!strcasecmp(names[i] + 4, word))
			return (int)i;
	}
	return -1;
}

/* What there is to give: what this kernel knows and the engine has not been denied. */
static uint64_t available(void)
{
	static uint64_t known;
	uint64_t set = 0;

	for (int i = 0; !known && i < (int)N(names); i++)
		set |= prctl(PR_CAPBSET_READ, i) == 1 ? 1ull << i : 0;
	if (!known)
		known = set;
	return known;
}

static int apply(const json_t *list, uint64_t *set, bool add, struct err *e)
{
	const json_t *v;
	size_t i;

	/* ALL first: "--cap-drop ALL --cap-add X" means the same in any order. */
	json_array_foreach(list, i, v) {
		if (!strcasecmp(json_string_value(v), "ALL"))
			*set = add ? available() : 0;
	}
	json_array_foreach(list, i, v) {
		const char *word = json_string_value(v);
		int cap = find_cap(word);

		if (!strcasecmp(word, "ALL"))
			continue;
		if (cap < 0)
			return err_set(e, ERR_INVALID, "invalid capability: \"%s\"", word);
		if (add && !(available() >> cap & 1))
			return err_set(e, ERR_INVALID, "capability %s cannot be given: the engine itself has been denied it", names[cap]);
		*set = add ? *set | 1ull << cap : *set & ~(1ull << cap);
	}
	return 0;
}

json_t *spec_caps(const json_t *host, struct err *e)
{
	json_t *out, *add = json_arr(host, "CapAdd"), *drop = json_arr(host, "CapDrop"), *v;
	uint64_t set = 0, none = 0;
	bool drop_all = false;
	size_t i;

	if (json_flag(host, "Privileged", false)) {
		set = available();
	} else {
		for (i = 0; i < N(defaults); i++)
			set |= (1ull << defaults[i]) & available();
		json_array_foreach(drop, i, v)
			drop_all = drop_all || !strcasecmp(json_string_value(v), "ALL");
		if (drop_all)
			set = 0;
		if (apply(add, &set, true, e) < 0)
			return NULL;
		if (!drop_all && apply(drop, &set, false, e) < 0)
			return NULL;
		if (drop_all && apply(drop, &none, false, e) < 0)	/* the names are checked all the same */
			return NULL;
	}
	out = json_array();
	for (i = 0; i < N(names); i++) {
		if (set >> i & 1)
			json_array_append_new(out, json_string(names[i]));
	}
	return out;
}
