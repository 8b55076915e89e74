/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lab.h"

#include <string.h>

#include "engine/engine_priv.h"
#include "net/addr.h"
#include "net/capture.h"
#include "net/hook.h"
#include "net/lab.h"

static void name_it(struct engine *en, json_t *doc)
{
	struct container *c = map_get(en->by_id, json_str(doc, "Sandbox", ""));

	json_object_set_new(doc, "Name", json_string(c ? container_name(c) : ""));
}

json_t *engine_net_flows(struct engine *en, const char *ref, struct err *e)
{
	struct container *c = NULL;
	json_t *list, *f;
	size_t i;

	if (!str_empty(ref)) {
		c = engine_find(en, ref, e);
		if (!c)
			return NULL;
	}
	list = net_flows(en->net, c ? c->id : NULL);
	json_array_foreach(list, i, f)
		name_it(en, f);
	return list;
}

json_t *engine_net_maps(struct engine *en, struct err *e)
{
	return net_maps(en->net, e);
}

json_t *engine_net_info(struct engine *en)
{
	return net_info(en->net);
}

struct engine_drops {
	struct engine *en;
	char id[ID_LEN + 1];		/* "": everybody's */
	struct net_drops *f;
	void (*drop)(void *user, const json_t *doc);
	void *user;
	int64_t suppressed;		/* before drops that are not this one's to see */
};

static void on_drop(void *user, const json_t *doc)
{
	struct engine_drops *d = user;
	json_t *mine;

	d->suppressed += json_i64(doc, "Suppressed", 0);
	if (*d->id && !str_eq(d->id, json_str(doc, "Sandbox", "")))
		return;
	mine = json_copy((json_t *)doc);
	json_object_set_new(mine, "Suppressed", json_integer(d->suppressed));
	d->suppressed = 0;
	name_it(d->en, mine);
	d->drop(d->user, mine);
	json_decref(mine);
}

struct engine_drops *engine_net_drops(struct engine *en, const char *ref, void (*drop)(void *user, const json_t *doc), void *user, struct err *e)
{
	struct container *c = NULL;
	struct engine_drops *d;

	if (!str_empty(ref)) {
		c = engine_find(en, ref, e);
		if (!c)
			return NULL;
	}
	d = mem_zalloc(sizeof(*d));
	*d = (struct engine_drops){ .en = en, .drop = drop, .user = user };
	if (c)
		(void)snprintf(d->id, sizeof(d->id), "%s", c->id);
	d->f = net_drops_follow(en->net, on_drop, d, e);
	if (!d->f) {
		free(d);
		return NULL;
	}
	return d;
}

void engine_net_drops_cancel(struct engine_drops *d)
{
	if (!d)
		return;
	net_drops_cancel(d->f);
	free(d);
}

struct net_capture *engine_net_capture(struct engine *en, const char *ref, uint32_t snaplen, uint64_t count, const struct net_capture_ops *ops, void *user,
				       struct err *e)
{
	struct container *c = engine_find(en, ref, e);
	struct net_capture *cap = c ? net_capture_start(en->net, c->id, snaplen, count, ops, user, e) : NULL;

	if (c && !cap)
		(void)err_wrap(e, "container %s cannot be captured", container_name(c));
	return cap;
}

/* An address, or a container's. */
static int end_of(struct engine *en, const char *word, const char **sandbox, struct in6_addr *addr, struct err *e)
{
	struct container *c;

	if (addr_parse(word, addr) == 0)
		return 0;
	c = engine_find(en, word, e);
	if (!c)
		return -1;
	*sandbox = c->id;
	return 0;
}

json_t *engine_net_trace(struct engine *en, const char *from, const char *to, const char *proto, bool v6, struct err *e)
{
	struct net_trace t = { .proto = str_eq(proto, "udp") ? IPPROTO_UDP : str_eq(proto, "sctp") ? IPPROTO_SCTP : IPPROTO_TCP, .v6 = v6 };
	const char *colon = str_empty(to) ? NULL : strrchr(to, ':');
	char *word CLEANUP(mem_freep) = NULL;
	size_t n = colon ? (size_t)(colon - to) : 0;
	uint64_t port;

	if (!n || str_to_u64(colon + 1, 1, 65535, &port) < 0) {
		err_set(e, ERR_INVALID, "'%s' is not a container or an address with a port, like web:80", to ? to : "");
		return NULL;
	}
	t.port = (uint16_t)port;
	word = to[0] == '[' && n > 2 && to[n - 1] == ']' ? mem_strndup(to + 1, n - 2) : mem_strndup(to, n);
	if (end_of(en, word, &t.to, &t.to_addr, e) < 0 || (!str_empty(from) && end_of(en, from, &t.from, &t.from_addr, e) < 0))
		return NULL;
	if (!t.to)
		t.v6 = !addr_is4(&t.to_addr);
	return net_trace(en->net, &t, e);
}

struct hook_refused {
	struct err err;
	void (*done)(void *user, const json_t *result, const char *log, const struct err *e);
	void *user;
};

static void on_hook_refused(void *user)
{
	struct hook_refused *r = user;

	r->done(r->user, NULL, "", &r->err);
	free(r);
}

void engine_net_hook(struct engine *en, const char *ref, bool ingress, const char *program, const void *object, size_t len,
		     void (*done)(void *user, const json_t *result, const char *log, const struct err *e), void *user)
{
	struct err e = { 0 };
	struct container *c = engine_find(en, ref, &e);
	struct hook_refused *r;

	if (c) {
		net_hook_set(en->net, &(struct net_hook){ .sandbox = c->id, .ingress = ingress, .program = program, .object = object, .len = len }, done, user);
		return;
	}
	r = mem_alloc(sizeof(*r));
	*r = (struct hook_refused){ .err = e, .done = done, .user = user };
	loop_defer(en->l, on_hook_refused, r);
}
