/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/spec.h"

struct range {
	uint64_t first, last;
};

static int parse_range(const char *text, struct range *r)
{
	char *copy CLEANUP(mem_freep) = mem_strdup(text), *dash = strchr(copy, '-');

	if (dash)
		*dash++ = '\0';
	if (str_to_u64(copy, 0, 65535, &r->first) < 0)
		return -1;
	r->last = r->first;
	if (dash && str_to_u64(dash, 0, 65535, &r->last) < 0)
		return -1;
	return r->last < r->first ? -1 : 0;
}

/* Cuts "/proto" off; proto of 8 bytes, lower case. */
static int cut_proto(char *port, char *proto, struct err *e)
{
	char *slash = strchr(port, '/');

	strcpy(proto, "tcp");
	if (!slash)
		return 0;
	*slash++ = '\0';
	for (size_t i = 0; slash[i]; i++)
		slash[i] = (char)(slash[i] >= 'A' && slash[i] <= 'Z' ? slash[i] - 'A' + 'a' : slash[i]);
	if (!*slash)
		return 0;
	if (!str_eq(slash, "tcp") && !str_eq(slash, "udp") && !str_eq(slash, "sctp"))
		return err_set(e, ERR_INVALID, "invalid proto: %.60s", slash);
	strcpy(proto, slash);
	return 0;
}

static void add_binding(json_t *exposed, json_t *bindings, const char *key, const char *ip, const char *host)
{
	json_t *list = json_object_get(bindings, key);

	json_object_set_new(exposed, key, json_object());
	if (!list) {
		list = json_array();
		json_object_set_new(bindings, key, list);
	}
	json_array_append_new(list, json_pack("{s:s, s:s}", "HostIp", ip, "HostPort", host));
}

static int publish(const char *ip, const char *host, const char *inner, const char *proto, json_t *exposed, json_t *bindings, struct err *e)
{
	struct range in, out = { 0 };
	char addr[16], key[32], port[32];

	if (*ip && inet_pton(AF_INET, ip, addr) != 1 && inet_pton(AF_INET6, ip, addr) != 1)
		return err_set(e, ERR_INVALID, "invalid IP address: %.100s", ip);
	if (parse_range(inner, &in) < 0)
		return err_set(e, ERR_INVALID, "invalid containerPort: %.60s", inner);
	if (*host && parse_range(host, &out) < 0)
		return err_set(e, ERR_INVALID, "invalid hostPort: %.60s", host);
	if (*host && in.first != in.last && in.last - in.first != out.last - out.first)
		return err_set(e, ERR_INVALID, "invalid ranges specified for container and host Ports: %.60s and %.60s", inner, host);
	for (uint64_t i = 0; i <= in.last - in.first; i++) {
		snprintf(key, sizeof(key), "%llu/%s", (unsigned long long)(in.first + i), proto);
		if (!*host)
			*port = '\0';
		else if (in.first == in.last && out.first != out.last)
			snprintf(port, sizeof(port), "%llu-%llu", (unsigned long long)out.first, (unsigned long long)out.last);
		else
			snprintf(port, sizeof(port), "%llu", (unsigned long long)(out.first + i));
		add_binding(exposed, bindings, key, ip, port);
	}
	return 0;
}

/* "target=80,published=8080,protocol=tcp,mode=ingress" */
static int publish_long(const char *text, json_t *exposed, json_t *bindings, struct err *e)
{
	char **words CLEANUP(strv_freep) = str_split(text, ',');
	const char *host = "", *inner = "", *proto = "tcp";

	for (size_t i = 0; words[i]; i++) {
		char *value = strchr(words[i], '=');

		if (!value)
			return err_set(e, ERR_INVALID, "invalid field: %.100s", words[i]);
		*value++ = '\0';
		if (str_eq(words[i], "target"))
			inner = value;
		else if (str_eq(words[i], "published"))
			host = value;
		else if (str_eq(words[i], "protocol") && (str_eq(value, "tcp") || str_eq(value, "udp") || str_eq(value, "sctp")))
			proto = value;
		else if (str_eq(words[i], "protocol"))
			return err_set(e, ERR_INVALID, "invalid protocol value '%.60s'", value);
		else if (!str_eq(words[i], "mode") || (!str_eq(value, "ingress") && !str_eq(value, "host")))
			return err_set(e, ERR_INVALID, "invalid field '%.60s=%.60s' of a published port", words[i], value);
	}
	if (!*inner)
		return err_set(e, ERR_INVALID, "missing mandatory field 'target' of the published port '%.100s'", text);
	return publish("", host, inner, proto, exposed, bindings, e);
}

int spec_publish(const char *text, json_t *exposed, json_t *bindings, struct err *e)
{
	char *copy CLEANUP(mem_freep) = mem_strdup(text), *inner, *host = NULL, *ip = NULL, proto[8];

	if (strchr(text, '='))
		return publish_long(text, exposed, bindings, e);
	/* From the right: container, host, and an address that may hold colons itself. */
	inner = strrchr(copy, ':');
	if (inner) {
		*inner++ = '\0';
		host = strrchr(copy, ':');
		if (host) {
			*host++ = '\0';
			ip = copy;
		} else {
			host = copy;
		}
	} else {
		inner = copy;
	}
	if (cut_proto(inner, proto, e) < 0)
		return -1;
	if (!*inner)
		return err_set(e, ERR_INVALID, "no port specified: %.100s<empty>", text);
	if (ip && *ip == '[') {
		if (!str_ends(ip, "]"))
			return err_set(e, ERR_INVALID, "invalid IP address %.100s: address %.100s:: missing ']' in address", ip, ip);
		ip++;
		ip[strlen(ip) - 1] = '\0';
	}
	return publish(ip ? ip : "", host ? host : "", inner, proto, exposed, bindings, e);
}

int spec_expose(const char *text, json_t *exposed, struct err *e)
{
	char *copy CLEANUP(mem_freep) = mem_strdup(text), proto[8], key[32];
	struct range r;

	if (strchr(text, ':'))
		return err_set(e, ERR_INVALID, "invalid port format for --expose: %.100s", text);
	if (cut_proto(copy, proto, e) < 0)
		return -1;
	if (parse_range(copy, &r) < 0)
		return err_set(e, ERR_INVALID, "invalid range format for --expose: %.100s, error: not a port number", text);
	for (uint64_t p = r.first; p <= r.last; p++) {
		snprintf(key, sizeof(key), "%llu/%s", (unsigned long long)p, proto);
		json_object_set_new(exposed, key, json_object());
	}
	return 0;
}
