/* SPDX-License-Identifier: Apache-2.0 */
/* New limits for the running container. Cgroup files can block (memory is pushed out to fit a smaller limit), so a helper writes them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "runtime/monitor/monitor_priv.h"
#include "runtime/oci/exec.h"

#define UPDATE_LIMIT (18 * 1000000000ll)	/* the engine gives up after 20 s */

/* What the helper that is being forked is to do: it has a copy of it all. */
static struct { const char *text; size_t n; uint32_t tag; } wanted;

static void helper_update(struct report *r)
{
	json_t *resources;
	char name[64], path[1200];
	int n;

	if (mon.a.runtime) {
		snprintf(name, sizeof(name), "update-%u.json", wanted.tag);
		snprintf(path, sizeof(path), "%s/%s", mon.a.run_dir, name);
		n = mon_put_file(name, wanted.text, wanted.n);
		if (n < 0)
			err_errno(&r->err, -n, "write '%s'", path);
		else
			(void)extern_update(path, &r->err);
		(void)unlinkat(mon.run_fd, name, 0);
		return;
	}
	resources = json_parse(wanted.text, wanted.n, "linux.resources", &r->err);
	if (resources)
		(void)oci_update(mon.root, mon.a.id, resources, &r->err);
	json_decref(resources);
}

int update_request(uint32_t tag, const char *p, size_t n, struct err *e)
{
	struct helper *h;

	wanted.text = p;
	wanted.n = n;
	wanted.tag = tag;
	h = helper_run(HELPER_UPDATE, tag, UPDATE_LIMIT, helper_update, e);
	wanted.text = NULL;
	wanted.n = 0;
	return h ? 0 : -1;
}
