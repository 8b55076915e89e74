/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/sandbox.h"

/*
 * Settings of a container's interface, docker's "com.docker.network.endpoint.sysctls". Only what is of one interface is taken, so that nothing of the
 * host's is within reach even if the namespace were the wrong one.
 */
static const char *const heads[] = { "net.ipv4.conf.IFNAME.", "net.ipv6.conf.IFNAME.", "net.ipv4.neigh.IFNAME.", "net.ipv6.neigh.IFNAME." };

/* docker's client writes driver options in small letters. */
static const char *head_of(const char *item)
{
	for (size_t i = 0; i < N(heads); i++)
		if (!strncasecmp(item, heads[i], strlen(heads[i])))
			return heads[i];
	return NULL;
}

int net_sysctls_check(const char *text, struct err *e)
{
	CLEANUP(strv_freep) char **items = str_split(text, ',');

	for (size_t i = 0; items[i]; i++) {
		const char *head = head_of(items[i]), *name = head ? items[i] + strlen(head) : "", *value = strchr(name, '=');
		size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");

		if (!head || !value || !n || name + n != value || !value[1] || strpbrk(value, "\n\t "))
			return err_set(e, ERR_INVALID, "'%.100s' is not a setting of the interface like net.ipv4.conf.IFNAME.log_martians=1", items[i]);
	}
	return 0;
}

static int write_all(void *arg, struct err *e)
{
	const struct endpoint *ep = arg;
	CLEANUP(strv_freep) char **items = str_split(ep->want_sysctls, ',');

	for (size_t i = 0; items[i]; i++) {
		const char *head = head_of(items[i]), *value = strchr(items[i], '=');
		CLEANUP(mem_freep) char *path = NULL;
		int rc;

		if (!head || !value)
			return err_set(e, ERR_INTERNAL, "the setting '%.100s' was not checked", items[i]);
		path = mem_printf("/proc/sys/net/%.4s/%s/%s/%.*s", head + strlen("net."), strstr(head, ".conf.") ? "conf" : "neigh", ep->ifname,
				  (int)(value - items[i] - (ptrdiff_t)strlen(head)), items[i] + strlen(head));
		rc = file_put_at(AT_FDCWD, path, value + 1);
		if (rc < 0)
			return rc == -ENOENT ? err_set(e, ERR_INVALID, "there is no setting %.100s in this kernel", items[i]) :
			       err_errno(e, -rc, "set %.100s", items[i]);
	}
	return 0;
}

int endpoint_sysctls(const struct endpoint *ep, int ns, struct err *e)
{
	return ep->want_sysctls ? netns_do(ns, write_all, (void *)ep, e) : 0;
}
