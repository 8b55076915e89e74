/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --network NAME, or name=NAME,alias=..,ip=..,ip6=..,mac-address=..,link-local-ip=..,driver-opt=..,gw-priority=.. for each network of a new
 * container. The first one is its mode; --ip, --network-alias and the like speak of that one.
 */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/create.h"
#include "cli/spec.h"

static json_t *sub_object(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	if (!v) {
		v = json_object();
		json_object_set_new(o, key, v);
	}
	return v;
}

static int put_text(json_t *o, const char *key, const char *value, struct err *e)
{
	json_t *v = spec_text(value, e);

	return v ? json_object_set_new(o, key, v) : -1;
}

static int add_text(json_t *o, const char *key, const char *value, struct err *e)
{
	json_t *list = json_object_get(o, key), *v = spec_text(value, e);

	if (!list) {
		list = json_array();
		json_object_set_new(o, key, list);
	}
	return v ? json_array_append_new(list, v) : -1;
}

static int set_field(json_t *ep, const char *key, const char *value, struct err *e)
{
	int64_t n;

	if (str_eq(key, "alias"))
		return add_text(ep, "Aliases", value, e);
	if (str_eq(key, "ip"))
		return put_text(sub_object(ep, "IPAMConfig"), "IPv4Address", value, e);
	if (str_eq(key, "ip6"))
		return put_text(sub_object(ep, "IPAMConfig"), "IPv6Address", value, e);
	if (str_eq(key, "link-local-ip"))
		return add_text(sub_object(ep, "IPAMConfig"), "LinkLocalIPs", value, e);
	if (str_eq(key, "mac-address"))
		return put_text(ep, "MacAddress", value, e);
	if (str_eq(key, "driver-opt"))
		return spec_label(value, sub_object(ep, "DriverOpts"), e);
	if (str_eq(key, "gw-priority")) {
		if (str_to_i64(value, INT32_MIN, INT32_MAX, &n) < 0)
			return err_set(e, ERR_INVALID, "invalid gw-priority (%.100s): invalid syntax", value);
		return json_object_set_new(ep, "GwPriority", json_integer(n));
	}
	return err_set(e, ERR_INVALID, "invalid field key %.100s", key);
}

/* NAME, or fields; *name is the caller's. */
static int parse(const char *text, char **name, json_t *ep, struct err *e)
{
	char **fields CLEANUP(strv_freep) = NULL;

	*name = NULL;
	if (!strchr(text, '=')) {
		*name = mem_strdup(text);
		return 0;
	}
	fields = spec_csv(text);
	for (size_t i = 0; fields[i]; i++) {
		char *value = strchr(fields[i], '=');

		if (!value)
			return err_set(e, ERR_INVALID, "invalid field %.100s", fields[i]);
		*value++ = '\0';
		if (str_eq(fields[i], "name")) {
			free(*name);
			*name = mem_strdup(value);
		} else if (set_field(ep, fields[i], value, e) < 0) {
			return -1;
		}
	}
	return str_empty(*name) ? err_set(e, ERR_INVALID, "network name must be specified") : 0;
}

struct flat {
	const char *flag, *key, *field, *what;
};

/* --ip and its kin, which say what the long form says for the first network. */
static int flat_flags(const struct flags *f, json_t *ep, struct err *e)
{
	static const struct flat lists[] = { { "network-alias", "Aliases", "alias", "network alias" },
						{ "net-alias", "Aliases", "alias", "network alias" }, { "link", "Links", NULL, NULL } };
	static const struct flat texts[] = { { "ip", "IPv4Address", "ip", "IPv4 address" }, { "ip6", "IPv6Address", "ip6", "IPv6 address" } };

	unsigned m[6];
	int end = 0;

	for (size_t i = 0; i < N(lists); i++) {
		if (flag_given(f, lists[i].flag) && json_object_get(ep, lists[i].key))
			return err_set(e, ERR_INVALID, "conflicting options: cannot specify both --%s and per-network %s", lists[i].flag, lists[i].field);
		for (char *const *w = flag_list(f, lists[i].flag); *w; w++)
			if (add_text(ep, lists[i].key, *w, e) < 0)
				return -1;
	}
	for (size_t i = 0; i < N(texts); i++) {
		if (!flag_given(f, texts[i].flag))
			continue;
		if (json_object_get(json_object_get(ep, "IPAMConfig"), texts[i].key))
			return err_set(e, ERR_INVALID, "conflicting options: cannot specify both --%s and per-network %s", texts[i].flag, texts[i].what);
		if (put_text(sub_object(ep, "IPAMConfig"), texts[i].key, flag_str(f, texts[i].flag), e) < 0)
			return -1;
	}
	for (char *const *w = flag_list(f, "link-local-ip"); *w; w++)
		if (add_text(sub_object(ep, "IPAMConfig"), "LinkLocalIPs", *w, e) < 0)
			return -1;
	if (!flag_given(f, "mac-address"))
		return 0;
	if (sscanf(flag_str(f, "mac-address"), "%2x:%2x:%2x:%2x:%2x:%2x%n", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5], &end) != 6 || flag_str(f, "mac-address")[end])
		return err_set(e, ERR_INVALID, "%.100s is not a valid mac address", flag_str(f, "mac-address"));
	if (json_object_get(ep, "MacAddress"))
		return err_set(e, ERR_INVALID, "conflicting options: cannot specify both --mac-address and per-network MAC address");
	return put_text(ep, "MacAddress", flag_str(f, "mac-address"), e);
}

static bool is_user_defined(const char *name)
{
	return !str_eq(name, "default") && !str_eq(name, "bridge") && !str_eq(name, "host") && !str_eq(name, "none") && !str_starts(name, "container:");
}

int create_networks(const struct flags *f, json_t *host, json_t *endpoints, struct err *e)
{
	char *const *nets = flag_list(f, "network")[0] ? flag_list(f, "network") : flag_list(f, "net");
	char *const standard[] = { "default", NULL };
	bool user = false, other = false;

	if (!nets[0])
		nets = standard;
	for (size_t i = 0; nets[i]; i++) {
		char *name CLEANUP(mem_freep) = NULL;
		json_t *ep = json_object();

		if (parse(nets[i], &name, ep, e) < 0 || (i == 0 && flat_flags(f, ep, e) < 0)) {
			json_decref(ep);
			return -1;
		}
		*(is_user_defined(name) ? &user : &other) = true;
		if (i == 0 && put_text(host, "NetworkMode", name, e) < 0) {
			json_decref(ep);
			return -1;
		}
		if (json_object_get(endpoints, name)) {
			json_decref(ep);
			return err_set(e, ERR_INVALID, "network \"%.200s\" is specified multiple times", name);
		}
		/* The mode alone says all there is to say of a network without settings. */
		if (json_object_size(ep) || nets[1])
			json_object_set_new(endpoints, name, ep);
		else
			json_decref(ep);
	}
	if (user && other)
		return err_set(e, ERR_INVALID, "conflicting options: cannot attach both user-defined and non-user-defined network-modes");
	/* On the default bridge links are the container's, not the endpoint's. */
	if (!user)
		json_object_del(json_object_get(endpoints, json_str(host, "NetworkMode", "")), "Links");
	return 0;
}
