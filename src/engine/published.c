/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published and exposed ports. In the document they are folded (net_ports_fold): ten thousand of them are one key. What clients see has a key, or an entry, for
 * each, as docker has it.
 */
#include "engine/published.h"

#include <stdlib.h>
#include <string.h>

void published_fold(json_t *config, json_t *host)
{
	json_t *exposed = net_ports_fold(json_obj(config, "ExposedPorts")), *bindings = net_ports_fold(json_obj(host, "PortBindings"));

	if (exposed)
		doc_set(config, "ExposedPorts", exposed);
	if (bindings)
		doc_set(host, "PortBindings", bindings);
}

/* A copy of o with one key's ports unfolded. */
static json_t *unfolded(const json_t *o, const char *key)
{
	json_t *out = json_copy((json_t *)o), *ports = json_obj(o, key);

	if (ports)
		doc_set(out, key, net_ports_unfold(ports));
	return out;
}

json_t *published_config(const json_t *config)
{
	return unfolded(config, "ExposedPorts");
}

json_t *published_host(const json_t *host)
{
	return unfolded(host, "PortBindings");
}

json_t *published_settings(const struct container *c)
{
	json_t *ports = net_record_ports(c->net), *exposed, *v;
	const char *key;

	if (c->phase != PHASE_RUNNING)
		return ports;
	exposed = net_ports_unfold(json_obj(doc_config(c), "ExposedPorts"));
	json_object_foreach(exposed, key, v) {
		if (!json_object_get(ports, key))
			json_object_set_new(ports, key, json_null());
	}
	json_decref(exposed);
	return ports;
}

/* ---- ContainerSummary ---- */

struct listing {
	published_fn *fn;
	void *user;
	unsigned char seen[3][8192];	/* a bit a port: tcp, udp, others */
};

static unsigned char *seen_of(struct listing *l, const char *proto)
{
	return l->seen[str_eq(proto, "tcp") ? 0 : str_eq(proto, "udp") ? 1 : 2];
}

static void on_published(void *user, const struct net_published *p)
{
	struct listing *l = user;
	unsigned char *seen = seen_of(l, p->proto);

	for (unsigned i = 0; i < p->count; i++) {
		unsigned port = p->port + i;

		seen[port / 8] |= (unsigned char)(1 << port % 8);
		l->fn(l->user, p->host_ip, port, p->host_port ? p->host_port + i : 0, p->proto);
	}
}

/* "80/tcp", "8000-8999/udp" */
static void exposed(struct listing *l, const char *key)
{
	const char *slash = strchr(key, '/'), *proto = slash ? slash + 1 : "tcp", *dash = strchr(key, '-');
	unsigned char *seen = seen_of(l, proto);
	unsigned long from = strtoul(key, NULL, 10), to = dash ? strtoul(dash + 1, NULL, 10) : from;

	for (unsigned long port = from; port <= to && port <= UINT16_MAX; port++)
		if (!(seen[port / 8] & 1 << port % 8))
			l->fn(l->user, NULL, (unsigned)port, 0, proto);
}

void published_each(const struct container *c, published_fn *fn, void *user)
{
	CLEANUP(mem_freep) struct listing *l = NULL;
	const char *key;
	json_t *v;

	if (c->phase != PHASE_RUNNING || (!json_array_size(json_arr(c->net, "Binds")) && !json_array_size(json_arr(c->net, "Routed")) && !json_object_size(json_obj(doc_config(c), "ExposedPorts"))))
		return;
	l = mem_zalloc(sizeof(*l));
	l->fn = fn;
	l->user = user;
	net_record_ports_each(c->net, on_published, l);
	json_object_foreach(json_obj(doc_config(c), "ExposedPorts"), key, v)
		exposed(l, key);
}
