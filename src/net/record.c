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

json_t *record_of(const struct sandbox *s)
{
	json_t *ports = json_object(), *binds = json_array();
	char at[ADDR_TEXT] = "", gt[ADDR_TEXT] = "", mt[18] = "", key[16], it[ADDR_TEXT];
	unsigned len = 0;

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
	if (s->has_addr) {
		(void)addr_text(&s->addr, at);
		(void)addr_text(ipam_gateway(s->nw->ipam), gt);
		(void)mac_text(s->mac, mt);
		len = cidr_len(ipam_subnet(s->nw->ipam));
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:o, s:o, s:I}", "NetNS", s->path ? s->path : "", "HostVeth", s->veth, "NetworkID",
			 s->nw->id, "Network", s->nw->name, "EndpointID", s->eid, "IPAddress", at, "IPPrefixLen", (int)len, "Gateway", gt, "MacAddress", mt,
			 "Ports", ports, "Binds", binds, "Generation", (json_int_t)s->generation);
}

int record_read(const json_t *record, struct sandbox *s, struct err *e)
{
	const char *path = json_str(record, "NetNS", ""), *ip = json_str(record, "IPAddress", ""), *mac = json_str(record, "MacAddress", "");

	if (!json_is_object(record))
		return err_set(e, ERR_INTERNAL, "the network record of container %.12s is not an object", s->id);
	if (*path)
		s->path = mem_strdup(path);
	(void)snprintf(s->eid, sizeof(s->eid), "%s", json_str(record, "EndpointID", ""));
	(void)snprintf(s->veth, sizeof(s->veth), "%s", json_str(record, "HostVeth", ""));
	s->generation = (uint32_t)json_i64(record, "Generation", 0);
	s->nw = network_by_id(s->n, json_str(record, "NetworkID", ""));
	if (*ip) {
		if (addr_parse(ip, &s->addr) < 0)
			return err_set(e, ERR_INTERNAL, "the network record of container %.12s has the address '%s'", s->id, ip);
		s->has_addr = true;
	}
	if (*mac && mac_parse(mac, s->mac) < 0)
		return err_set(e, ERR_INTERNAL, "the network record of container %.12s has the MAC address '%s'", s->id, mac);
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
