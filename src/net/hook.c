/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/hook.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/sandbox.h"

/* Loading may take the verifier a while: a worker does it, inside the namespace. */
struct hooking {
	struct work w;
	struct net *n;
	char *path, *program, *log, ifname[16];
	void *object;
	struct dp_hook h;
	json_t *result;
	struct err err;
	void (*done)(void *user, const json_t *result, const char *log, const struct err *e);
	void *user;
};

static int attach(void *user, struct err *e)
{
	struct hooking *k = user;

	return k->n->ops->hook_set(&k->h, &k->result, &k->log, e);
}

static void hook_run(struct work *w)
{
	struct hooking *k = CONTAINER_OF(w, struct hooking, w);

	(void)netns_visit(k->path, attach, k, &k->err);
}

static void finish(void *user)
{
	struct hooking *k = user;

	if (!k->n->stopping)
		k->done(k->user, k->result, k->log ? k->log : "", k->err.kind != ERR_NONE ? &k->err : NULL);
	json_decref(k->result);
	free(k->path);
	free(k->program);
	free(k->log);
	free(k->object);
	free(k);
}

static void hook_done(struct work *w)
{
	finish(CONTAINER_OF(w, struct hooking, w));
}

void net_hook_set(struct net *n, const struct net_hook *h, void (*done)(void *user, const json_t *result, const char *log, const struct err *e), void *user)
{
	struct hooking *k = mem_zalloc(sizeof(*k));
	struct sandbox *s = map_get(n->sandboxes, h->sandbox);
	const struct endpoint *ep = s ? sandbox_main(s) : NULL;

	*k = (struct hooking){ .n = n, .program = mem_strdup(h->program), .done = done, .user = user };
	if (!n->ops->hook_set)
		err_set(&k->err, ERR_NOT_IMPLEMENTED, "programs can be attached with the eBPF data path only, not with '%s'", n->ops->name);
	else if (!ep || !*ep->ifname || !s->path)
		err_set(&k->err, ERR_CONFLICT, "it has no interface of its own: it does not run, or shares the network of another");
	if (k->err.kind != ERR_NONE) {
		loop_defer(n->loop, finish, k);
		return;
	}
	k->path = mem_strdup(s->path);
	if (h->object) {
		k->object = mem_alloc(h->len ? h->len : 1);
		memcpy(k->object, h->object, h->len);
	}
	memcpy(k->ifname, ep->ifname, sizeof(k->ifname));
	k->h = (struct dp_hook){ .interface = k->ifname, .ingress = h->ingress, .program = k->program, .object = k->object, .len = h->len };
	k->w = (struct work){ .run = hook_run, .done = hook_done };
	work_start(n->pool, &k->w);
}
