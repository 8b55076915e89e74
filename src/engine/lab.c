/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lab.h"

#include "engine/engine_priv.h"
#include "net/capture.h"
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
};

static void on_drop(void *user, const json_t *doc)
{
	struct engine_drops *d = user;
	json_t *mine;

	if (*d->id && !str_eq(d->id, json_str(doc, "Sandbox", "")))
		return;
	mine = json_copy((json_t *)doc);
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
