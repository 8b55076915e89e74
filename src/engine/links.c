/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/links.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/endpoints.h"

/*
 * The variables are those of dockerd: of each port the target exposes four, of three and more in a row where they begin and end, of the lowest one the
 * target's address as ALIAS_PORT; then the link's name and the target's own variables.
 */
struct link link_of(const struct container *c, const char *text)
{
	const char *colon = strchr(text, ':'), *bridge;
	struct link l = { .ip = "" };

	while (*text == '/')
		text++;
	(void)snprintf(l.name, sizeof(l.name), "%.*s", (int)strcspn(text, ":"), text);
	l.alias = colon ? colon + 1 : text;
	l.alias += *l.alias == '/';
	l.target = engine_find(c->en, l.name, NULL);
	bridge = l.target ? json_str(json_obj(json_obj(l.target->doc, "Networks"), "bridge"), "NetworkID", "") : "";
	if (*bridge)
		l.ip = json_str(endpoint_record(l.target, bridge), "IPAddress", "");
	return l;
}

int link_check(const struct container *c, const struct link *l, struct err *e)
{
	if (*l->ip)
		return 0;
	if (l->target && l->target->phase == PHASE_RUNNING)
		return err_set(e, ERR_CONFLICT, "Cannot link to /%s, as it does not belong to the default network", container_name(l->target));
	return err_set(e, ERR_CONFLICT, "Cannot link to a non running container: /%s AS /%s/%s", l->target ? container_name(l->target) : l->name, container_name(c),
		       l->alias);
}

json_t *links_shown(const struct container *c)
{
	json_t *out = json_array(), *v;
	size_t i;

	json_array_foreach(json_arr(doc_host(c), "Links"), i, v) {
		struct link l = link_of(c, json_string_value(v));

		if (l.target)
			json_array_append_new(out, json_sprintf("/%s:/%s/%s", container_name(l.target), container_name(c), l.alias));
	}
	return out;
}

/* ---- variables ---- */

struct port {
	unsigned number;
	char proto[8];
	bool begins;			/* three or more in a row */
};

/* By number; of one number TCP first. */
static int by_number(const void *a, const void *b)
{
	const struct port *p = a, *q = b;

	if (p->number != q->number)
		return p->number < q->number ? -1 : 1;
	return str_eq(q->proto, "tcp") - str_eq(p->proto, "tcp");
}

static struct port *ports_of(const struct container *t, size_t *n)
{
	struct port *list = NULL;
	const char *key;
	size_t cap = 0;
	json_t *v;

	*n = 0;
	/* "80/tcp", "8000-8999/udp" */
	json_object_foreach(json_obj(doc_config(t), "ExposedPorts"), key, v) {
		const char *slash = strchr(key, '/'), *dash = strchr(key, '-');
		unsigned long from = strtoul(key, NULL, 10), to = dash ? strtoul(dash + 1, NULL, 10) : from;

		for (unsigned long p = from; p >= 1 && p <= to && p <= UINT16_MAX; p++) {
			if (*n == cap) {
				cap = cap ? 2 * cap : 16;
				list = mem_realloc(list, cap * sizeof(*list));
			}
			list[*n] = (struct port){ .number = (unsigned)p };
			(void)snprintf(list[*n].proto, sizeof(list->proto), "%s", slash ? slash + 1 : "tcp");
			(*n)++;
		}
	}
	if (*n)
		qsort(list, *n, sizeof(*list), by_number);
	return list;
}

/* The alias or a protocol as part of a variable's name. */
static void upper(const char *s, char *out, size_t size)
{
	size_t i = 0;

	for (; s[i] && i + 1 < size; i++)
		out[i] = s[i] == '-' ? '_' : (char)toupper((unsigned char)s[i]);
	out[i] = '\0';
}

/* The last of those in a row from i on, as dockerd counts. */
static size_t row_end(const struct port *p, size_t n, size_t i)
{
	size_t k = i + 1;

	while (k < n && p[k].number <= p[i].number + (k - i))
		k++;
	return k - 1;
}

static void add_ports(json_t *env, const char *alias, const char *ip, const struct container *t)
{
	size_t n;
	CLEANUP(mem_freep) struct port *list = ports_of(t, &n);
	char proto[8];

	if (n)
		json_array_append_new(env, json_sprintf("%s_PORT=%s://%s:%u", alias, list[0].proto, ip, list[0].number));
	for (size_t i = 0; i < n; i++) {
		const struct port *p = &list[i], *q = &list[row_end(list, n, i)];
		CLEANUP(mem_freep) char *head = NULL;

		if (q - p < 2)
			continue;
		upper(p->proto, proto, sizeof(proto));
		head = mem_printf("%s_PORT_%u_%s", alias, p->number, proto);
		list[i].begins = true;
		json_array_append_new(env, json_sprintf("%s_START=%s://%s:%u", head, p->proto, ip, p->number));
		json_array_append_new(env, json_sprintf("%s_ADDR=%s", head, ip));
		json_array_append_new(env, json_sprintf("%s_PROTO=%s", head, p->proto));
		json_array_append_new(env, json_sprintf("%s_PORT_START=%u", head, p->number));
		json_array_append_new(env, json_sprintf("%s_END=%s://%s:%u", head, q->proto, ip, q->number));
		json_array_append_new(env, json_sprintf("%s_PORT_END=%u", head, q->number));
		i += (size_t)(q - p);
	}
	for (size_t i = 0; i < n; i++) {
		const struct port *p = &list[i];
		CLEANUP(mem_freep) char *head = NULL;

		upper(p->proto, proto, sizeof(proto));
		head = mem_printf("%s_PORT_%u_%s", alias, p->number, proto);
		json_array_append_new(env, json_sprintf("%s=%s://%s:%u", head, p->proto, ip, p->number));
		if (!p->begins)
			json_array_append_new(env, json_sprintf("%s_ADDR=%s", head, ip));
		json_array_append_new(env, json_sprintf("%s_PORT=%u", head, p->number));
		if (!p->begins)
			json_array_append_new(env, json_sprintf("%s_PROTO=%s", head, p->proto));
	}
}

/* Not those that every container has. */
static void add_variables(json_t *env, const char *alias, const struct container *t)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_arr(doc_config(t), "Env"), i, v) {
		const char *text = json_string_value(v);

		if (text && strchr(text, '=') && !str_starts(text, "HOME=") && !str_starts(text, "PATH="))
			json_array_append_new(env, json_sprintf("%s_ENV_%s", alias, text));
	}
}

json_t *links_env(const struct container *c)
{
	json_t *env = json_array(), *v;
	size_t i;

	if (!str_eq(doc_network(c), "bridge"))
		return env;
	json_array_foreach(json_arr(doc_host(c), "Links"), i, v) {
		struct link l = link_of(c, json_string_value(v));
		char alias[256];

		if (!*l.ip)
			continue;
		upper(l.alias, alias, sizeof(alias));
		add_ports(env, alias, l.ip, l.target);
		json_array_append_new(env, json_sprintf("%s_NAME=/%s/%s", alias, container_name(c), l.alias));
		add_variables(env, alias, l.target);
	}
	return env;
}
