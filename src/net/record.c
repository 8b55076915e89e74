/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/sandbox.h"

/*
 * A sandbox's record: the document the engine keeps. "Ports" is for the API; "Binds" says the same without loss for us, a port each:
 * [protocol, container port, host port, host address as it was asked for]. "Generation" goes back to the data path at adoption, so that flows
 * of before the restart stay valid.
 */
static const char *proto_name(uint8_t proto)
{
	return proto == IPPROTO_TCP ? "tcp" : "udp";
}

static const char *asked_for(const struct port_bound *b, char *out)
{
	if (!addr_is_any(&b->host_addr))
		return addr_text(&b->host_addr, out);
	return b->v4 && b->v6 ? "" : b->v4 ? "0.0.0.0" : "::";
}

static void add_port(json_t *ports, const char *key, const char *ip, uint16_t port)
{
	json_t *list = json_object_get(ports, key);
	char text[8];

	if (!list) {
		list = json_array();
		json_object_set_new(ports, key, list);
	}
	(void)snprintf(text, sizeof(text), "%u", port);
	json_array_append_new(list, json_pack("{s:s, s:s}", "HostIp", ip, "HostPort", text));
}

static json_t *endpoint_record(const struct endpoint *ep)
{
	char addr[2][ADDR_TEXT] = { "", "" }, gw[2][ADDR_TEXT] = { "", "" }, mac[18] = "";
	json_t *names = json_array(), *links = json_array();
	int len[2] = { 0, 0 };

	for (int v6 = 0; v6 < 2; v6++) {
		const struct in6_addr *g = endpoint_gateway(ep, v6);

		if (v6 ? !ep->has6 : !ep->has4)
			continue;
		(void)addr_text(v6 ? &ep->addr6 : &ep->addr4, addr[v6]);
		len[v6] = (int)cidr_len(endpoint_subnet(ep, v6));
		if (g)
			(void)addr_text(g, gw[v6]);
	}
	if (endpoint_has_link(ep))
		(void)mac_text(ep->mac, mac);
	for (char **p = ep->names; p && *p; p++)
		json_array_append_new(names, json_string(*p));
	for (char **p = ep->links; p && *p; p++)
		json_array_append_new(links, json_string(*p));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:s, s:i, s:o, s:o, s:I}", "NetworkID", ep->nw->id, "Network", ep->nw->name,
			 "EndpointID", ep->id, "HostVeth", ep->veth, "IfName", ep->ifname, "MacAddress", mac, "IPAddress", addr[0], "IPPrefixLen", len[0],
			 "Gateway", gw[0], "GlobalIPv6Address", addr[1], "GlobalIPv6PrefixLen", len[1], "IPv6Gateway", gw[1], "GwPriority", ep->gw_priority,
			 "DNSNames", names, "Links", links, "Generation", (json_int_t)ep->generation);
}

json_t *record_of(const struct sandbox *s)
{
	json_t *ports = json_object(), *binds = json_array(), *endpoints = json_array(), *nameservers = json_array();
	char key[16], it[ADDR_TEXT];

	for (size_t i = 0; i < s->n_ports; i++) {
		const struct port_bound *b = &s->ports[i];

		(void)snprintf(key, sizeof(key), "%u/%s", b->port, proto_name(b->proto));
		if (!addr_is_any(&b->host_addr)) {
			add_port(ports, key, addr_text(&b->host_addr, it), b->host_port);
		} else {
			if (b->v4)
				add_port(ports, key, "0.0.0.0", b->host_port);
			if (b->v6)
				add_port(ports, key, "::", b->host_port);
		}
		json_array_append_new(binds, json_pack("[i, i, i, s]", b->proto, b->port, b->host_port, asked_for(b, it)));
	}
	for (size_t i = 0; i < s->n_ep; i++)
		json_array_append_new(endpoints, endpoint_record(s->ep[i]));
	for (char **v = s->nameservers; v && *v; v++)
		json_array_append_new(nameservers, json_string(*v));
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:o, s:o, s:o, s:o, s:o}", "PublishPolicy", s->policy_text ? s->policy_text : "", "PublishSources",
			 s->sources_text ? s->sources_text : "", "Name", s->name ? s->name : s->id, "NetNS", s->path ? s->path : "", "Joined", s->joined,
			 "Nameserver", s->want_dns ? "127.0.0.11" : "", "Nameservers", nameservers, "Endpoints", endpoints, "Ports", ports, "Binds", binds,
			 "Routed", sandbox_routed_record(s));
}

static int address_read(const json_t *o, const char *key, struct in6_addr *ret, bool *has, const struct sandbox *s, struct err *e)
{
	const char *text = json_str(o, key, "");

	if (!*text)
		return 0;
	if (addr_parse(text, ret) < 0)
		return err_set(e, ERR_INTERNAL, "the network record of container %.12s has the address '%s'", s->id, text);
	*has = true;
	return 0;
}

static int endpoint_read(const json_t *o, struct sandbox *s, struct err *e)
{
	struct endpoint *ep = endpoint_new(s->n, NULL);
	const char *mac = json_str(o, "MacAddress", ""), *veth = json_str(o, "HostVeth", "");
	json_t *v;
	size_t i;

	sandbox_ep_add(s, ep);
	(void)snprintf(ep->id, sizeof(ep->id), "%s", json_str(o, "EndpointID", ""));
	(void)snprintf(ep->ifname, sizeof(ep->ifname), "%s", json_str(o, "IfName", ""));
	ep->generation = (uint32_t)json_i64(o, "Generation", 0);
	ep->gw_priority = (int)json_i64(o, "GwPriority", 0);
	ep->nw = network_by_id(s->n, json_str(o, "NetworkID", ""));
	json_array_foreach(json_arr(o, "DNSNames"), i, v)
		if (json_is_string(v))
			ep->names = strv_add(ep->names, json_string_value(v));
	json_array_foreach(json_arr(o, "Links"), i, v)
		if (json_is_string(v))
			ep->links = strv_add(ep->links, json_string_value(v));
	if (*veth && !net_veth_name(veth))
		return err_set(e, ERR_INTERNAL, "the network record of container %.12s has the interface '%.32s'", s->id, veth);
	(void)snprintf(ep->veth, sizeof(ep->veth), "%s", veth);
	if (address_read(o, "IPAddress", &ep->addr4, &ep->has4, s, e) < 0 || address_read(o, "GlobalIPv6Address", &ep->addr6, &ep->has6, s, e) < 0)
		return -1;
	if (*mac && mac_parse(mac, ep->mac) < 0)
		return err_set(e, ERR_INTERNAL, "the network record of container %.12s has the MAC address '%s'", s->id, mac);
	return 0;
}

int record_read(const json_t *record, struct sandbox *s, struct err *e)
{
	const char *path = json_str(record, "NetNS", "");
	json_t *v;
	size_t i;

	if (!json_is_object(record))
		return err_set(e, ERR_INTERNAL, "the network record of container %.12s is not an object", s->id);
	if (*path)
		s->path = mem_strdup(path);
	s->joined = json_flag(record, "Joined", false);
	s->policy_text = mem_strdup(json_str(record, "PublishPolicy", ""));
	s->sources_text = mem_strdup(json_str(record, "PublishSources", ""));
	sandbox_routed_read(s, record);
	s->want_dns = *json_str(record, "Nameserver", "");
	json_array_foreach(json_arr(record, "Nameservers"), i, v)
		if (json_is_string(v))
			s->nameservers = strv_add(s->nameservers, json_string_value(v));
	json_array_foreach(json_arr(record, "Endpoints"), i, v)
		if (endpoint_read(v, s, e) < 0)
			return -1;
	return 0;
}

int record_ports(const json_t *record, struct net_port **ret, size_t *n, struct err *e)
{
	json_t *binds = json_arr(record, "Binds"), *b;
	size_t len = json_array_size(binds), i;
	struct net_port *p = mem_zalloc((len ? len : 1) * sizeof(*p));

	json_array_foreach(binds, i, b) {
		json_int_t proto = json_integer_value(json_array_get(b, 0)), port = json_integer_value(json_array_get(b, 1));
		json_int_t host = json_integer_value(json_array_get(b, 2));
		const char *ip = json_at(b, 3);

		if ((proto != IPPROTO_TCP && proto != IPPROTO_UDP) || port < 1 || port > 65535 || host < 1 || host > 65535) {
			free(p);
			return err_set(e, ERR_INTERNAL, "the network record has a port binding %zu that makes no sense", i);
		}
		p[i] = (struct net_port){ .proto = (uint8_t)proto, .port = (uint16_t)port, .host_port = (uint16_t)host, .host_port_end = (uint16_t)host };
		(void)snprintf(p[i].host_ip, sizeof(p[i].host_ip), "%s", ip ? ip : "");
	}
	*ret = p;
	*n = len;
	return 0;
}
