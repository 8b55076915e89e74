/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's networks. doc "Networks" says where it wants to be, {"name": {NetworkID, IPAMConfig, Links, Aliases, MacAddress, DriverOpts,
 * GwPriority}}, and changes by create, connect and disconnect only; c->net "Endpoints" says where it is while it runs.
 */
#include "engine/endpoints.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

bool network_mode_is_own(const char *mode)
{
	return !str_eq(mode, "host") && !str_eq(mode, "none") && !str_starts(mode, "container:");
}

static bool user_defined(const char *name)
{
	return network_mode_is_own(name) && !str_eq(name, "bridge");
}

/* ---- what a client asks for ---- */

/* what: the sentence, or its beginning. */
static int bad(struct err *e, const char *network, const char *what, const char *arg)
{
	return err_set(e, ERR_INVALID, "invalid config for network %s: invalid endpoint settings:\n%s%s%.300s", network, what, *arg ? " " : "", arg);
}

static int check_list(const json_t *o, const char *key, struct err *e)
{
	json_t *list = json_object_get(o, key), *v;
	size_t i;

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return err_set(e, ERR_INVALID, "invalid endpoint settings: %s is not a list", key);
	json_array_foreach(list, i, v)
		if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v) || strpbrk(json_string_value(v), " \t\n\"\\"))
			return err_set(e, ERR_INVALID, "invalid endpoint settings: element %zu of %s is not a word", i, key);
	return 0;
}

static int check_type(const json_t *o, const char *key, bool ok, struct err *e)
{
	json_t *v = json_object_get(o, key);

	return !v || json_is_null(v) || ok ? 0 : err_set(e, ERR_INVALID, "invalid endpoint settings: %s has the wrong type", key);
}

static bool has_subnet(const json_t *nw, bool v6)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_path(nw, "IPAM.Config"), i, v)
		if ((strchr(json_str(v, "Subnet", ""), ':') != NULL) == v6)
			return true;
	return false;
}

static int check_address(const json_t *nw, const char *text, bool v6, struct err *e)
{
	const char *name = json_str(nw, "Name", "");
	struct in6_addr a;

	if (!*text)
		return 0;
	if (inet_pton(v6 ? AF_INET6 : AF_INET, text, &a) != 1)
		return bad(e, name, v6 ? "invalid IPv6 address:" : "invalid IPv4 address:", text);
	if (!user_defined(name))
		return bad(e, name, "user specified IP address is supported on user defined networks only", "");
	if (!has_subnet(nw, v6))
		return bad(e, name, "no configured subnet or ip-range contain the IP address", text);
	return 0;
}

static const char ifname_key[] = "com.docker.network.endpoint.ifname", sysctls_key[] = "com.docker.network.endpoint.sysctls";

static int check_driver_opts(const json_t *nw, const json_t *opts, struct err *e)
{
	struct err why = { 0 };
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)opts, key, v) {
		if (!json_is_string(v))
			return bad(e, json_str(nw, "Name", ""), "not a string: the driver option", key);
		if (str_eq(key, sysctls_key) && net_sysctls_check(json_string_value(v), &why) < 0)
			return bad(e, json_str(nw, "Name", ""), why.msg, "");
		if (!str_eq(key, ifname_key) && !str_eq(key, sysctls_key))
			return bad(e, json_str(nw, "Name", ""), "not supported: the driver option", key);
	}
	return 0;
}

static int check_link_local(const char *network, const json_t *ipam, struct err *e)
{
	json_t *v;
	size_t i;

	if (check_list(ipam, "LinkLocalIPs", e) < 0)
		return -1;
	json_array_foreach(json_arr(ipam, "LinkLocalIPs"), i, v) {
		struct err why = { 0 };

		if (net_link_local_check(json_string_value(v), &why) < 0)
			return bad(e, network, why.msg, "");
	}
	return 0;
}

int endpoint_settings(const json_t *nw, const json_t *in, json_t **ret, struct err *e)
{
	const json_t *ipam = json_obj(in, "IPAMConfig"), *opts = json_obj(in, "DriverOpts");
	const char *mac = json_str(in, "MacAddress", ""), *name = json_str(nw, "Name", "");
	static const char *const addresses[] = { "IPv4Address", "IPv6Address" };
	static const char *const keys[] = { "IPAMConfig", "Links", "Aliases", "DriverOpts" };
	unsigned m[6];
	int end = 0;
	json_t *out;

	if (in && !json_is_null(in) && !json_is_object(in))
		return err_set(e, ERR_INVALID, "invalid endpoint settings: not an object");
	if (check_list(in, "Links", e) < 0 || check_list(in, "Aliases", e) < 0 || check_type(in, "IPAMConfig", ipam != NULL, e) < 0 ||
	    check_type(in, "DriverOpts", opts != NULL, e) < 0 || check_type(in, "MacAddress", json_is_string(json_object_get(in, "MacAddress")), e) < 0 ||
	    check_type(in, "GwPriority", json_is_integer(json_object_get(in, "GwPriority")), e) < 0)
		return -1;
	for (size_t i = 0; i < N(addresses); i++)
		if (check_type(ipam, addresses[i], json_is_string(json_object_get(ipam, addresses[i])), e) < 0)
			return -1;
	if (check_link_local(name, ipam, e) < 0)
		return -1;
	if (check_address(nw, json_str(ipam, "IPv4Address", ""), false, e) < 0 || check_address(nw, json_str(ipam, "IPv6Address", ""), true, e) < 0)
		return -1;
	if (json_array_size(json_arr(in, "Aliases")) && !user_defined(name))
		return bad(e, name, "network-scoped alias is supported only for containers in user defined networks", "");
	if (*mac && (sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x%n", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5], &end) != 6 || mac[end] || m[0] & 1))
		return bad(e, name, "invalid MAC address", mac);
	if (json_i64(in, "GwPriority", 0) < INT32_MIN || json_i64(in, "GwPriority", 0) > INT32_MAX)
		return bad(e, name, "the gateway priority is out of range", "");
	if (check_driver_opts(nw, opts, e) < 0)
		return -1;
	if (json_flag(nw, "ConfigOnly", false))
		return err_set(e, ERR_FORBIDDEN, "cannot create container endpoint on configuration-only network %s", name);
	out = json_pack("{s:s}", "NetworkID", json_str(nw, "Id", ""));
	for (size_t i = 0; i < N(keys); i++) {
		json_t *v = json_object_get(in, keys[i]);

		json_object_set_new(out, keys[i], v && (json_object_size(v) || json_array_size(v)) ? json_deep_copy(v) : json_null());
	}
	json_object_set_new(out, "MacAddress", json_string(mac));
	json_object_set_new(out, "GwPriority", json_integer(json_i64(in, "GwPriority", 0)));
	*ret = out;
	return 0;
}

/* ---- create ---- */

static int check_container_mode(struct engine *en, json_t *doc, const char *ref, struct err *e)
{
	json_t *host = json_object_get(doc, "HostConfig"), *config = json_object_get(doc, "Config");
	struct container *target;

	if (!*ref)
		return err_set(e, ERR_INVALID, "Invalid network mode: invalid container format container:<name|id>");
	if (json_array_size(json_arr(host, "Links")))
		return err_set(e, ERR_INVALID, "conflicting options: container type network can't be used with links. This would result in undefined behavior");
	if (json_array_size(json_arr(host, "Dns")))
		return err_set(e, ERR_INVALID, "conflicting options: dns and the network mode");
	if (json_array_size(json_arr(host, "ExtraHosts")))
		return err_set(e, ERR_INVALID, "conflicting options: custom host-to-IP mapping and the network mode");
	if (json_object_size(json_obj(host, "PortBindings")) || json_flag(host, "PublishAllPorts", false))
		return err_set(e, ERR_INVALID, "conflicting options: port publishing and the container type network mode");
	if (*json_str(config, "MacAddress", ""))
		return err_set(e, ERR_INVALID, "conflicting options: mac-address and the network mode");
	target = engine_find(en, ref, e);
	if (!target)
		return -1;
	if (str_eq(target->id, json_str(doc, "Id", "")))
		return err_set(e, ERR_INVALID, "cannot join own network namespace");
	doc_set(host, "NetworkMode", json_sprintf("container:%s", target->id));
	return 0;
}

/* HostConfig.Links of a container on the default bridge; on another network they belong to its endpoint. */
static int check_links(struct engine *en, const json_t *links, struct err *e)
{
	json_t *v;
	size_t i;

	json_array_foreach(links, i, v) {
		const char *text = json_is_string(v) ? json_string_value(v) : "";
		CLEANUP(mem_freep) char *name = mem_strndup(text, strcspn(text, ":"));
		const char *alias = strchr(text, ':');

		if (!*name || (alias && (!alias[1] || strpbrk(alias + 1, ": \t\n"))))
			return err_set(e, ERR_INVALID, "bad format for links: %.200s", text);
		if (!engine_find(en, name, e))
			return err_wrap(e, "could not get container for %s", name);
	}
	return 0;
}

/* Moves what the create request says about a network to its entry in "Networks". */
static int add_network(struct engine *en, json_t *networks, const char *ref, const json_t *settings, const char *mac, struct err *e)
{
	json_t *nw = net_inspect(en->net, ref, e), *ep, *copy;
	int rc;

	if (!nw)
		return -1;
	if (json_object_get(networks, json_str(nw, "Name", ""))) {
		json_decref(nw);
		return err_set(e, ERR_INVALID, "network %s is given more than once", ref);
	}
	copy = settings && json_is_object(settings) ? json_copy((json_t *)settings) : json_object();
	if (mac && *mac) {
		const char *own = json_str(copy, "MacAddress", "");

		if (*own && strcasecmp(own, mac)) {
			json_decref(copy);
			json_decref(nw);
			return err_set(e, ERR_INVALID, "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty");
		}
		json_object_set_new(copy, "MacAddress", json_string(mac));
	}
	rc = endpoint_settings(nw, copy, &ep, e);
	if (rc == 0)
		json_object_set_new(networks, json_str(nw, "Name", ""), ep);
	json_decref(copy);
	json_decref(nw);
	return rc;
}

static bool same_network(struct engine *en, const char *a, const char *b)
{
	json_t *x = net_inspect(en->net, a, NULL), *y = net_inspect(en->net, b, NULL);
	bool same = x && y && str_eq(json_str(x, "Id", ""), json_str(y, "Id", ""));

	json_decref(x);
	json_decref(y);
	return same;
}

int endpoints_create(struct engine *en, json_t *doc, const json_t *body, struct err *e)
{
	json_t *host = json_object_get(doc, "HostConfig"), *wanted = json_object_get(json_object_get(body, "NetworkingConfig"), "EndpointsConfig"), *v;
	const char *mode = json_str(host, "NetworkMode", "bridge"), *mac = json_str(json_object_get(doc, "Config"), "MacAddress", ""), *key, *main_key = NULL;
	json_t *networks = json_object(), *nw;
	int others = 0;

	doc_set(doc, "Networks", networks);
	if (wanted && !json_is_null(wanted) && !json_is_object(wanted))
		return err_set(e, ERR_INVALID, "NetworkingConfig.EndpointsConfig is not an object");
	if (check_links(en, json_arr(host, "Links"), e) < 0)
		return -1;
	if (str_starts(mode, "container:")) {
		if (json_object_size(wanted) > 0 && !(json_object_size(wanted) == 1 && json_object_get(wanted, mode)))
			return err_set(e, ERR_INVALID, "conflicting options: cannot attach both user-defined and non-user-defined network-modes");
		return check_container_mode(en, doc, mode + strlen("container:"), e);
	}
	if (str_eq(mode, "host") && json_array_size(json_arr(host, "Links")))
		return err_set(e, ERR_INVALID, "conflicting options: host type networking can't be used with links. This would result in undefined behavior");
	if (str_eq(mode, "host") && *mac)
		return err_set(e, ERR_INVALID, "conflicting options: mac-address and the network mode");
	nw = net_inspect(en->net, mode, e);
	if (!nw)
		return -1;
	json_decref(nw);
	json_object_foreach(wanted, key, v) {
		if (str_eq(key, mode) || same_network(en, key, mode))
			main_key = key;
		else
			others++;
	}
	if (others && !network_mode_is_own(mode))
		return err_set(e, ERR_INVALID, "conflicting options: cannot attach both user-defined and non-user-defined network-modes");
	/* As dockerd: the mode counts unless the request names the networks itself. The mode's comes first, its interface is eth0. */
	if ((main_key || !others) && add_network(en, networks, mode, main_key ? json_object_get(wanted, main_key) : NULL, mac, e) < 0)
		return -1;
	json_object_foreach(wanted, key, v)
		if (key != main_key && !(main_key && str_eq(key, main_key)) && add_network(en, networks, key, v, NULL, e) < 0)
			return -1;
	return 0;
}

/* ---- start ---- */

struct container *endpoints_joined(const struct container *c, struct err *e)
{
	const char *mode = doc_network(c);
	struct container *t;

	t = engine_find(c->en, mode + strlen("container:"), e);
	if (!t)
		return NULL;
	if (t->phase != PHASE_RUNNING || !t->net) {
		err_set(e, ERR_CONFLICT, "cannot join network of a non running container: %s", t->id);
		return NULL;
	}
	return t;
}

/* docker's order: the container's name, aliases, short id, its hostname when it has one of its own. */
static char **names_of(const struct container *c, const char *network, const json_t *ep)
{
	char **v = NULL, short_id[ID_SHORT + 1];
	const char *hostname = json_str(doc_config(c), "Hostname", "");
	json_t *a;
	size_t i;

	if (!user_defined(network))
		return NULL;
	(void)snprintf(short_id, sizeof(short_id), "%.12s", c->id);
	v = strv_add(v, container_name(c));
	json_array_foreach(json_arr(ep, "Aliases"), i, a)
		if (!strv_has(v, json_string_value(a)))
			v = strv_add(v, json_string_value(a));
	if (!strv_has(v, short_id))
		v = strv_add(v, short_id);
	if (*hostname && !strv_has(v, hostname))
		v = strv_add(v, hostname);
	return v;
}

void endpoint_spec(const struct container *c, const char *network, const json_t *ep, struct endpoint_want *w)
{
	const json_t *ipam = json_obj(ep, "IPAMConfig");

	w->names = names_of(c, network, ep);
	w->links = json_words(ep, "Links");
	w->link_local = json_words(ipam, "LinkLocalIPs");
	w->spec = (struct net_endpoint_spec){
		.network = json_str(ep, "NetworkID", network), .ip = json_str(ipam, "IPv4Address", NULL), .ip6 = json_str(ipam, "IPv6Address", NULL),
		.mac = json_str(ep, "MacAddress", NULL), .ifname = json_str(json_obj(ep, "DriverOpts"), ifname_key, NULL),
		.sysctls = json_str(json_obj(ep, "DriverOpts"), sysctls_key, NULL), .gw_priority = (int)json_i64(ep, "GwPriority", 0),
		.names = (const char *const *)w->names, .n_names = w->names ? strv_len(w->names) : 0,
		.links = (const char *const *)w->links, .n_links = w->links ? strv_len(w->links) : 0,
		.link_local = (const char *const *)w->link_local, .n_link_local = w->link_local ? strv_len(w->link_local) : 0,
	};
}

void endpoint_want_done(struct endpoint_want *w)
{
	strv_free(w->names);
	strv_free(w->links);
	strv_free(w->link_local);
}

void endpoints_renamed(struct container *c)
{
	const char *network;
	json_t *ep;

	json_object_foreach(json_obj(c->doc, "Networks"), network, ep) {
		char **names = names_of(c, network, ep);
		json_t *record = net_sandbox_rename(c->en->net, c->id, container_name(c), json_str(ep, "NetworkID", ""), (const char *const *)names,
						    names ? strv_len(names) : 0);

		strv_free(names);
		if (record) {
			json_decref(c->net);
			c->net = record;
		}
	}
}

void endpoints_events(struct container *c, const char *action)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_arr(c->net, "Endpoints"), i, v)
		event_network(c->en, action, json_str(v, "NetworkID", ""), json_str(v, "Network", ""), c->id);
}

/* ---- looks ---- */

const json_t *endpoint_record(const struct container *c, const char *network_id)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_arr(c->net, "Endpoints"), i, v)
		if (str_eq(json_str(v, "NetworkID", ""), network_id))
			return v;
	return NULL;
}

static void write_endpoint(struct buf *b, const json_t *want, const json_t *is)
{
	const json_t *names = json_arr(is, "DNSNames");

	(void)buf_addc(b, '{');
	jsonw_key_value(b, "IPAMConfig", json_object_get(want, "IPAMConfig"));
	jsonw_key_value(b, "Links", json_object_get(want, "Links"));
	jsonw_key_value(b, "Aliases", json_object_get(want, "Aliases"));
	jsonw_key_str(b, "MacAddress", json_str(is, "MacAddress", json_str(want, "MacAddress", "")));
	jsonw_key_value(b, "DriverOpts", json_object_get(want, "DriverOpts"));
	jsonw_key_i64(b, "GwPriority", json_i64(want, "GwPriority", 0));
	jsonw_key_str(b, "NetworkID", json_str(want, "NetworkID", ""));
	jsonw_key_str(b, "EndpointID", json_str(is, "EndpointID", ""));
	jsonw_key_str(b, "Gateway", json_str(is, "Gateway", ""));
	jsonw_key_str(b, "IPAddress", json_str(is, "IPAddress", ""));
	jsonw_key_i64(b, "IPPrefixLen", json_i64(is, "IPPrefixLen", 0));
	jsonw_key_str(b, "IPv6Gateway", json_str(is, "IPv6Gateway", ""));
	jsonw_key_str(b, "GlobalIPv6Address", json_str(is, "GlobalIPv6Address", ""));
	jsonw_key_i64(b, "GlobalIPv6PrefixLen", json_i64(is, "GlobalIPv6PrefixLen", 0));
	jsonw_key_value(b, "DNSNames", json_array_size(names) ? names : NULL);
	(void)buf_addc(b, '}');
}

void endpoints_write(struct buf *b, const struct container *c)
{
	const char *network;
	json_t *ep;

	(void)buf_addc(b, '{');
	json_object_foreach(json_obj(c->doc, "Networks"), network, ep) {
		jsonw_key(b, network);
		write_endpoint(b, ep, endpoint_record(c, json_str(ep, "NetworkID", "")));
	}
	(void)buf_addc(b, '}');
}
