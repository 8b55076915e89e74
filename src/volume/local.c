/* SPDX-License-Identifier: Apache-2.0 */
/* The local driver's options: a file system (nfs, tmpfs, ext4, ...) or a directory (o=bind) mounted on the volume's directory. */
#include "volume/volume_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <arpa/inet.h>

#include "base/buf.h"
#include "base/file.h"

int local_check(const json_t *options, struct err *e)
{
	static const char *const known[] = { "type", "o", "device", "size" }, *const needed[] = { "device", "type" };
	const char *key;
	json_t *v;

	if (!json_object_size(options))
		return 0;
	json_object_foreach((json_t *)options, key, v) {
		size_t i;

		for (i = 0; i < N(known) && strcmp(known[i], key); i++)
			;
		if (i == N(known))
			return err_set(e, ERR_INVALID, "invalid option: \"%s\"", key);
		if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
			return err_set(e, ERR_INVALID, "invalid option: \"%s\" is not a string", key);
	}
	if (json_object_get(options, "size"))
		return err_set(e, ERR_INVALID, "quota size requested but no quota support");
	for (size_t i = 0; i < N(needed); i++) {
		if (!json_object_get(options, needed[i]))
			return err_set(e, ERR_INVALID, "missing required option: \"%s\"", needed[i]);
	}
	return 0;
}

static const struct { const char *word; unsigned long set, clear; } flags[] = {
	{ "ro", MS_RDONLY, 0 }, { "rw", 0, MS_RDONLY }, { "nosuid", MS_NOSUID, 0 }, { "suid", 0, MS_NOSUID }, { "nodev", MS_NODEV, 0 },
	{ "dev", 0, MS_NODEV }, { "noexec", MS_NOEXEC, 0 }, { "exec", 0, MS_NOEXEC }, { "sync", MS_SYNCHRONOUS, 0 },
	{ "async", 0, MS_SYNCHRONOUS }, { "dirsync", MS_DIRSYNC, 0 }, { "noatime", MS_NOATIME, 0 }, { "atime", 0, MS_NOATIME },
	{ "nodiratime", MS_NODIRATIME, 0 }, { "diratime", 0, MS_NODIRATIME }, { "relatime", MS_RELATIME, 0 },
	{ "norelatime", 0, MS_RELATIME }, { "strictatime", MS_STRICTATIME, 0 }, { "bind", MS_BIND, 0 }, { "rbind", MS_BIND | MS_REC, 0 },
	{ "defaults", 0, 0 },
};

/* mount(8)'s words into flags and what is the file system's own. */
static unsigned long parse(const char *o, struct buf *data)
{
	char **word = str_split(o, ',');
	unsigned long bits = 0;

	for (size_t i = 0; word && word[i]; i++) {
		size_t k;

		for (k = 0; k < N(flags) && strcmp(flags[k].word, word[i]); k++)
			;
		if (k < N(flags))
			bits = (bits | flags[k].set) & ~flags[k].clear;
		else if (*word[i])
			buf_printf(data, "%s%s", data->len ? "," : "", word[i]);
	}
	strv_free(word);
	return bits;
}

/* The kernel's NFS client takes numbers only: "addr=server" becomes "addr=192.0.2.7". */
static int resolve_addr(struct buf *data, struct err *e)
{
	char **word = str_split(data->data ? data->data : "", ',');
	struct buf out = BUF_INIT;
	int ret = 0;

	for (size_t i = 0; word[i] && ret == 0; i++) {
		struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
		char text[INET6_ADDRSTRLEN];
		int r;

		if (!str_starts(word[i], "addr=")) {
			if (*word[i])
				buf_printf(&out, "%s%s", out.len ? "," : "", word[i]);
			continue;
		}
		r = getaddrinfo(word[i] + 5, NULL, &hints, &list);
		if (r != 0) {
			ret = err_set(e, ERR_INTERNAL, "error resolving passed in network volume address: lookup %s: %s", word[i] + 5, gai_strerror(r));
			continue;
		}
		if (getnameinfo(list->ai_addr, list->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0)
			buf_printf(&out, "%saddr=%s", out.len ? "," : "", text);
		freeaddrinfo(list);
	}
	strv_free(word);
	buf_done(data);
	*data = out;
	return ret;
}

int local_mount(const json_t *options, const char *at, struct err *e)
{
	const char *type = json_str(options, "type", ""), *device = json_str(options, "device", "");
	struct buf data = BUF_INIT;
	unsigned long bits = parse(json_str(options, "o", ""), &data);
	int ret = 0;

	if (str_starts(type, "nfs") && resolve_addr(&data, e) < 0) {
		buf_done(&data);
		return -1;
	}
	if (mount(device, at, type, bits, data.data ? data.data : "") < 0)
		ret = err_errno(e, errno, "failed to mount local volume: mount %s:%s, flags: 0x%lx, data: %s", device, at, bits, data.data ? data.data : "");
	/* A bind takes flags in a second step only. */
	if (ret == 0 && (bits & MS_BIND) && (bits & ~(unsigned long)(MS_BIND | MS_REC)) &&
	    mount(NULL, at, NULL, bits | MS_REMOUNT, NULL) < 0) {
		ret = err_errno(e, errno, "failed to mount local volume: set flags 0x%lx of the bind of %s", bits, device);
		(void)umount2(at, MNT_DETACH);
	}
	buf_done(&data);
	return ret;
}

int local_umount(const char *at, struct err *e)
{
	if (umount2(at, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL)
		return 0;
	/* Somebody on the host still looks into it: it goes when they leave. */
	if (errno == EBUSY && umount2(at, UMOUNT_NOFOLLOW | MNT_DETACH) == 0)
		return 0;
	return err_errno(e, errno, "unmount %s", at);
}

bool local_is_mounted(const char *at)
{
	struct buf b = BUF_INIT;
	char *save = NULL;
	bool found = false;

	if (file_read_at(AT_FDCWD, "/proc/self/mountinfo", 64 << 20, &b) == 0 && b.data) {
		for (char *l = strtok_r(b.data, "\n", &save); l && !found; l = strtok_r(NULL, "\n", &save)) {
			char *p = l;

			for (int field = 0; p && field < 4; field++) {
				p = strchr(p, ' ');
				p = p ? p + 1 : NULL;
			}
			if (p) {
				p[strcspn(p, " ")] = '\0';
				found = !strcmp(p, at);
			}
		}
	}
	buf_done(&b);
	return found;
}
