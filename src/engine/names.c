/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/names.h"

#include "engine/engine_priv.h"

int engine_dns_query(struct engine *en, const char *container, const char *network, const char *name, const char *type,
		     void (*done)(void *user, json_t *result, const struct err *e), void *user, struct err *e)
{
	struct container *c = NULL;

	if (!str_empty(container)) {
		c = engine_find(en, container, e);
		if (!c)
			return -1;
	}
	return net_dns_query(en->net, c ? c->id : NULL, network, name, type, done, user, e);
}

json_t *engine_dns_stats(struct engine *en)
{
	return net_dns_stats(en->net);
}

struct engine_dns_log {
	struct net_dns_log *log;
	char *name;			/* NULL: everybody's */
	void (*fn)(void *user, const json_t *line);
	void *user;
};

static void on_line(void *user, const json_t *line)
{
	struct engine_dns_log *l = user;

	if (!l->name || str_eq(l->name, json_str(line, "Container", "")))
		l->fn(l->user, line);
}

struct engine_dns_log *engine_dns_log(struct engine *en, const char *container, void (*fn)(void *user, const json_t *line), void *user, struct err *e)
{
	struct container *c = NULL;
	struct engine_dns_log *l;

	if (!str_empty(container)) {
		c = engine_find(en, container, e);
		if (!c)
			return NULL;
	}
	l = mem_zalloc(sizeof(*l));
	l->fn = fn;
	l->user = user;
	l->name = c ? mem_strdup(container_name(c)) : NULL;
	l->log = net_dns_log(en->net, on_line, l);
	if (!l->log) {
		err_set(e, ERR_UNAVAILABLE, "this engine answers no names");
		engine_dns_log_cancel(l);
		return NULL;
	}
	return l;
}

void engine_dns_log_cancel(struct engine_dns_log *l)
{
	if (!l)
		return;
	net_dns_log_free(l->log);
	free(l->name);
	free(l);
}
