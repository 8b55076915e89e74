/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/publish.h"

/*
 * ExposedPorts and PortBindings of thousands of ports in few words, and back: half a kilobyte a port otherwise, for each place that keeps one. Only what
 * comes back as it was is folded: numbers in their usual form, bindings of HostIp and HostPort and nothing else.
 */
struct item {
	const char *key, *tail;		/* tail: "/tcp", or "" */
	unsigned port;
	json_t *value;
};

/* A number from 1 to 65535 without leading zeros at the beginning of s; 0: there is none. */
static unsigned number(const char *s, const char **end)
{
	size_t n = strspn(s, "0123456789");
	unsigned long v = n && n <= 5 && *s != '0' ? strtoul(s, NULL, 10) : 0;

	*end = s + n;
	return v <= 65535 ? (unsigned)v : 0;
}

static bool is_tail(const char *s)
{
	return !*s || str_eq(s, "/tcp") || str_eq(s, "/udp") || str_eq(s, "/sctp");
}

static unsigned host_port(const json_t *binding)
{
	const char *s = json_str(binding, "HostPort", ""), *end;
	unsigned n = number(s, &end);

	return *end ? 0 : n;
}

/* Is b the binding that comes n ports after a? */
static bool binding_follows(const json_t *a, const json_t *b, unsigned n)
{
	const char *key;
	json_t *v;

	if (!json_is_object(a) || !json_is_object(b) || json_object_size(a) != json_object_size(b))
		return false;
	json_object_foreach((json_t *)a, key, v) {
		if (!json_is_string(v) || !json_is_string(json_object_get(b, key)))
			return false;
		if (str_eq(key, "HostPort") && host_port(a) ? host_port(b) != host_port(a) + n : !json_equal(v, json_object_get(b, key)))
			return false;
		if (str_eq(key, "HostPort") ? !host_port(a) && json_string_length(v) : !str_eq(key, "HostIp"))
			return false;
	}
	return true;
}

static bool value_follows(const json_t *a, const json_t *b, unsigned n)
{
	if (json_is_null(a) || !json_is_array(a))
		return (json_is_null(a) && json_is_null(b)) || (json_is_object(a) && json_is_object(b) && !json_object_size(a) && !json_object_size(b));
	if (json_array_size(a) != json_array_size(b))
		return false;
	for (size_t i = 0; i < json_array_size(a); i++)
		if (!binding_follows(json_array_get(a, i), json_array_get(b, i), n))
			return false;
	return true;
}

static int order(const void *x, const void *y)
{
	const struct item *a = x, *b = y;
	int c = strcmp(a->tail, b->tail);

	return c ? c : (a->port > b->port) - (a->port < b->port);
}

/* The value of a run, n ports long, of the value of its first. */
static json_t *run_value(json_t *first, unsigned n)
{
	json_t *out, *b;
	size_t i;

	if (!json_is_array(first))
		return json_incref(first);
	out = json_array();
	json_array_foreach(first, i, b) {
		json_t *one = json_copy(b);
		unsigned from = host_port(b);
		char text[16];

		if (from) {
			(void)snprintf(text, sizeof(text), "%u-%u", from, from + n - 1);
			json_object_set_new(one, "HostPort", json_string(text));
		}
		json_array_append_new(out, one);
	}
	return out;
}

static void put_run(json_t *out, const struct item *it, unsigned n)
{
	char key[24];

	if (n < PORT_RUN_MIN) {
		for (unsigned i = 0; i < n; i++)
			json_object_set(out, it[i].key, it[i].value);
		return;
	}
	(void)snprintf(key, sizeof(key), "%u-%u%s", it->port, it->port + n - 1, it->tail);
	json_object_set_new(out, key, run_value(it->value, n));
}

json_t *net_ports_fold(const json_t *ports)
{
	size_t size = json_object_size(ports), n = 0;
	struct item *it;
	const char *key;
	json_t *out, *v;

	if (size < PORT_RUN_MIN)
		return NULL;
	it = mem_alloc(size * sizeof(*it));
	out = json_object();
	json_object_foreach((json_t *)ports, key, v) {
		it[n] = (struct item){ .key = key, .value = v };
		it[n].port = number(key, &it[n].tail);
		if (it[n].port && is_tail(it[n].tail))
			n++;
		else
			json_object_set(out, key, v);
	}
	qsort(it, n, sizeof(*it), order);
	for (size_t i = 0, len; i < n; i += len) {
		for (len = 1; i + len < n && str_eq(it[i].tail, it[i + len].tail) && it[i + len].port == it[i].port + len &&
			      value_follows(it[i].value, it[i + len].value, (unsigned)len); len++)
			;
		put_run(out, &it[i], (unsigned)len);
	}
	free(it);
	if (json_object_size(out) < size)
		return out;
	json_decref(out);
	return NULL;
}

/* "8000-8999" of the same length as n: its first port. */
static unsigned host_range(const json_t *binding, unsigned n)
{
	const char *s = json_str(binding, "HostPort", ""), *end;
	unsigned from = number(s, &end), to = from && *end == '-' ? number(end + 1, &end) : 0;

	return to && !*end && to - from + 1 == n ? from : 0;
}

static json_t *nth_value(json_t *run, unsigned i, unsigned n)
{
	json_t *out, *b;
	size_t k;

	if (!json_is_array(run))
		return json_incref(run);
	out = json_array();
	json_array_foreach(run, k, b) {
		unsigned from = host_range(b, n);
		json_t *one = from ? json_copy(b) : json_incref(b);
		char text[8];

		if (from) {
			(void)snprintf(text, sizeof(text), "%u", from + i);
			json_object_set_new(one, "HostPort", json_string(text));
		}
		json_array_append_new(out, one);
	}
	return out;
}

json_t *net_ports_unfold(const json_t *ports)
{
	json_t *out = json_object(), *v;
	const char *key, *tail;

	json_object_foreach((json_t *)ports, key, v) {
		unsigned from = number(key, &tail), to = from && *tail == '-' ? number(tail + 1, &tail) : 0;

		if (to <= from || !is_tail(tail)) {
			json_object_set(out, key, v);
			continue;
		}
		for (unsigned i = 0; i <= to - from; i++) {
			char one[16];

			(void)snprintf(one, sizeof(one), "%u%s", from + i, tail);
			json_object_set_new(out, one, nth_value(v, i, to - from + 1));
		}
	}
	return out;
}
