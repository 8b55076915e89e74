/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a mount's "options", as mount(8) and the runtime spec know them. */
#include "runtime/oci/oci_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/json.h"
#include "base/str.h"

enum what { SET, CLR, ATIME, RSET, RCLR, RATIME, PROP, RPROP, BIND, RBIND, IGNORE, REFUSE };

static const struct {
	const char *word;
	enum what what;
	uint64_t bits;
} words[] = {
	{ "ro", SET, MOUNT_ATTR_RDONLY }, { "rw", CLR, MOUNT_ATTR_RDONLY },
	{ "nosuid", SET, MOUNT_ATTR_NOSUID }, { "suid", CLR, MOUNT_ATTR_NOSUID },
	{ "nodev", SET, MOUNT_ATTR_NODEV }, { "dev", CLR, MOUNT_ATTR_NODEV },
	{ "noexec", SET, MOUNT_ATTR_NOEXEC }, { "exec", CLR, MOUNT_ATTR_NOEXEC },
	{ "nodiratime", SET, MOUNT_ATTR_NODIRATIME }, { "diratime", CLR, MOUNT_ATTR_NODIRATIME },
	{ "nosymfollow", SET, MOUNT_ATTR_NOSYMFOLLOW }, { "symfollow", CLR, MOUNT_ATTR_NOSYMFOLLOW },
	{ "noatime", ATIME, MOUNT_ATTR_NOATIME }, { "strictatime", ATIME, MOUNT_ATTR_STRICTATIME },
	{ "relatime", ATIME, MOUNT_ATTR_RELATIME }, { "atime", ATIME, MOUNT_ATTR_RELATIME },
	{ "norelatime", ATIME, MOUNT_ATTR_STRICTATIME }, { "nostrictatime", ATIME, MOUNT_ATTR_RELATIME },
	{ "rro", RSET, MOUNT_ATTR_RDONLY }, { "rrw", RCLR, MOUNT_ATTR_RDONLY },
	{ "rnosuid", RSET, MOUNT_ATTR_NOSUID }, { "rsuid", RCLR, MOUNT_ATTR_NOSUID },
	{ "rnodev", RSET, MOUNT_ATTR_NODEV }, { "rdev", RCLR, MOUNT_ATTR_NODEV },
	{ "rnoexec", RSET, MOUNT_ATTR_NOEXEC }, { "rexec", RCLR, MOUNT_ATTR_NOEXEC },
	{ "rnodiratime", RSET, MOUNT_ATTR_NODIRATIME }, { "rdiratime", RCLR, MOUNT_ATTR_NODIRATIME },
	{ "rnosymfollow", RSET, MOUNT_ATTR_NOSYMFOLLOW }, { "rsymfollow", RCLR, MOUNT_ATTR_NOSYMFOLLOW },
	{ "rnoatime", RATIME, MOUNT_ATTR_NOATIME }, { "rstrictatime", RATIME, MOUNT_ATTR_STRICTATIME },
	{ "rrelatime", RATIME, MOUNT_ATTR_RELATIME }, { "ratime", RATIME, MOUNT_ATTR_RELATIME },
	{ "private", PROP, MS_PRIVATE }, { "rprivate", RPROP, MS_PRIVATE }, { "slave", PROP, MS_SLAVE }, { "rslave", RPROP, MS_SLAVE },
	{ "shared", PROP, MS_SHARED }, { "rshared", RPROP, MS_SHARED },
	{ "unbindable", PROP, MS_UNBINDABLE }, { "runbindable", RPROP, MS_UNBINDABLE },
	{ "bind", BIND, 0 }, { "rbind", RBIND, 0 },
	{ "defaults", IGNORE, 0 }, { "async", IGNORE, 0 }, { "silent", IGNORE, 0 }, { "loud", IGNORE, 0 }, { "nomand", IGNORE, 0 },
	{ "noiversion", IGNORE, 0 }, { "nolazytime", IGNORE, 0 },
	{ "remount", REFUSE, 0 }, { "idmap", REFUSE, 0 }, { "ridmap", REFUSE, 0 }, { "mand", REFUSE, 0 }, { "copy-symlink", REFUSE, 0 },
	{ "src-nofollow", REFUSE, 0 }, { "tmpcopyup", REFUSE, 0 },
};

json_t *mount_words(void)
{
	json_t *arr = json_array();

	for (size_t i = 0; i < N(words); i++) {
		if (words[i].what != REFUSE)
			json_array_append_new(arr, json_string(words[i].word));
	}
	return arr;
}

/* 0: understood; 1: for the file system; -1: refused. */
int mount_option(struct oci_mount *m, const char *word)
{
	size_t i;

	for (i = 0; i < N(words) && strcmp(word, words[i].word) != 0; i++)
		;
	if (i == N(words))
		return 1;
	switch (words[i].what) {
	case SET:
		m->set |= words[i].bits;
		m->clr &= ~words[i].bits;
		break;
	case CLR:
		m->clr |= words[i].bits;
		m->set &= ~words[i].bits;
		break;
	case ATIME:
		m->set = (m->set & ~(uint64_t)MOUNT_ATTR__ATIME) | words[i].bits;
		m->clr |= MOUNT_ATTR__ATIME;
		break;
	case RSET:
		m->rset |= words[i].bits;
		m->rclr &= ~words[i].bits;
		break;
	case RCLR:
		m->rclr |= words[i].bits;
		m->rset &= ~words[i].bits;
		break;
	case RATIME:
		m->rset = (m->rset & ~(uint64_t)MOUNT_ATTR__ATIME) | words[i].bits;
		m->rclr |= MOUNT_ATTR__ATIME;
		break;
	case PROP:
	case RPROP:
		m->propagation = words[i].bits;
		m->prop_recursive = words[i].what == RPROP;
		break;
	case RBIND:
		m->recursive = true;
		m->bind = true;
		break;
	case BIND:
		m->bind = true;
		break;
	case IGNORE:
		break;
	case REFUSE:
		return -1;
	}
	return 0;
}

int mount_parse(const json_t *o, struct oci_mount *m, struct err *e)
{
	const json_t *options = json_object_get(o, "options"), *v;
	size_t i, n = 0;

	m->fd = -1;
	m->dest = json_str(o, "destination", "");
	m->type = json_str(o, "type", "");
	m->source = json_str(o, "source", "");
	m->options = options;
	if (m->dest[0] != '/')
		return err_set(e, ERR_INVALID, "config.json: mount destination '%s' is not an absolute path", m->dest);
	if (options && !json_is_null(options) && !json_is_array(options))
		return err_set(e, ERR_INVALID, "config.json: mount '%s': options is not an array", m->dest);
	if (json_array_size(json_arr(o, "uidMappings")) || json_array_size(json_arr(o, "gidMappings")))
		return err_set(e, ERR_INVALID, "config.json: mount '%s': mappings of a mount are not supported", m->dest);
	m->data = mem_zalloc((json_array_size(options) + 1) * sizeof(*m->data));
	json_array_foreach(options, i, v) {
		const char *word = json_string_value(v);
		int r = word ? mount_option(m, word) : -1;

		if (r < 0)
			return err_set(e, ERR_INVALID, "config.json: mount '%s': option '%s' is not supported", m->dest, word ? word : "");
		if (r > 0)
			m->data[n++] = (char *)word;
	}
	if (str_eq(m->type, "bind"))
		m->bind = true;
	if (m->bind && str_empty(m->source))
		return err_set(e, ERR_INVALID, "config.json: mount '%s': a bind mount without a source", m->dest);
	if (!m->bind && str_empty(m->type))
		return err_set(e, ERR_INVALID, "config.json: mount '%s' has no type", m->dest);
	if (m->bind && n)
		return err_set(e, ERR_INVALID, "config.json: mount '%s': option '%s' means nothing for a bind mount", m->dest, m->data[0]);
	return 0;
}

void mount_done(struct oci_mount *m)
{
	free(m->data);
	if (m->fd >= 0)
		(void)close(m->fd);
	*m = (struct oci_mount){ .fd = -1 };
}
