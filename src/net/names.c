/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A network that users made has a view: its members' names, the gateway as host.docker.internal, its subnets as reverse zones. A sandbox on such a
 * network has a server at 127.0.0.11, which sees the views of all its networks in the order in which it was connected. On the default bridge
 * there are no names, as with docker, and a server only where the host's own name servers are all on its loopback (systemd-resolved, dnsmasq): a
 * container could not reach those, the server can.
 *
 * Sockets are opened by a worker inside the namespace, before anything runs there, and stay. With BPF they are on a port of their own, to which
 * 127.0.0.11:53 is led (bpf/dns.bpf.c), so that the container may bind port 53; without, they are on port 53 itself. When the engine ends they close
 * (a resolver hears "refused"), the next one opens them again in the namespaces it takes over.
 */
#include <config.h>

#include "net/names.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "dns/dns.h"
#include "kedge/bpf/dns.h"
#include "net/ebpf/dns.h"

void names_open(struct net *n)
{
	struct err e = { 0 };

	if (!n->dns)
		return;
	n->redirect = dns_redirect_new(&e);
	if (!n->redirect)
		log_warn("net", "%s: name servers of containers take port 53 of theirs, which these cannot bind then", e.msg);
}

void names_close(struct net *n)
{
	dns_redirect_free(TAKE(n->redirect));
}

static bool has_names(const struct network *nw)
{
	return nw && !nw->predefined && (nw->driver == DRIVER_BRIDGE || network_on_parent(nw));
}

struct dns_view *names_view(struct network *nw)
{
	struct dns_host *gateway;
	int rc;

	if (nw->view || !has_names(nw))
		return nw->view;
	nw->view = dns_view_new(nw->name, &rc);
	if (!nw->view) {
		log_warn("net", "the network's name '%s' cannot be part of a DNS name: its members are found by their names alone", nw->name);
		nw->view = dns_view_new(nw->id, &rc);
	}
	for (size_t i = 0; i < nw->n_pools; i++) {
		struct net_cidr base = cidr_base(ipam_subnet(nw->pool[i]));

		dns_view_subnet(nw->view, &base.addr, base.prefix);
		if (nw->driver != DRIVER_BRIDGE || nw->internal || !network_bridge_addr(nw, nw->pool[i]))
			continue;
		gateway = dns_host_new(nw->view, network_bridge_addr(nw, nw->pool[i]), 1);
		(void)dns_host_name(gateway, "host.docker.internal");
		(void)dns_host_name(gateway, "gateway.docker.internal");
	}
	return nw->view;
}

void names_network_free(struct network *nw)
{
	dns_view_free(TAKE(nw->view));
}

static bool is_loopback(const char *server)
{
	return str_starts(server, "127.") || str_eq(server, "::1");
}

/* Name servers, but none a container could reach by itself. */
static bool host_is_unreachable(const struct net *n)
{
	char *const *v = dns_host_servers(n->dns);

	if (!*v)
		return false;
	for (; *v; v++)
		if (!is_loopback(*v))
			return false;
	return true;
}

static bool wants(const struct sandbox *s, const struct endpoint *ep)
{
	return has_names(ep->nw) || (ep->nw && ep->nw->driver == DRIVER_BRIDGE && !s->nameservers && host_is_unreachable(s->n));
}

void names_decide(struct sandbox *s, const struct endpoint *more)
{
	if (!s->n->dns || !s->path || s->joined)
		return;
	s->want_dns |= more && wants(s, more);
	for (size_t i = 0; i < s->n_ep; i++)
		s->want_dns |= wants(s, s->ep[i]);
}

static int open_inside(void *arg, struct err *e)
{
	const struct in_addr addr = { htonl(KEDGE_DNS_ADDR) };
	struct sandbox *s = arg;
	struct err why = { 0 };
	uint16_t port = 53;
	int rc;

	if (s->n->redirect) {
		if (dns_redirect_attach(s->n->redirect, &why) == 0)
			port = KEDGE_DNS_PORT;
		else
			log_warn("net", "container %s: %s, going on without", s->name, why.msg);
	}
	rc = dns_server_sockets(&addr, port, &s->dns_udp, &s->dns_tcp);
	return rc < 0 ? err_errno(e, -rc, "container %s: open its name server at 127.0.0.11:%u", s->name, port) : 0;
}

int names_sockets(struct sandbox *s, int ns, struct err *e)
{
	if (!s->want_dns || s->dns_udp >= 0 || s->server)
		return 0;
	return netns_do(ns, open_inside, s, e);
}

void names_endpoint_del(struct endpoint *ep)
{
	dns_host_free(TAKE(ep->host));
}

static size_t addresses(const struct endpoint *ep, struct in6_addr out[2])
{
	size_t n = 0;

	if (ep->has4)
		out[n++] = ep->addr4;
	if (ep->has6)
		out[n++] = ep->addr6;
	return n;
}

static void endpoint_names(const struct sandbox *s, struct endpoint *ep)
{
	struct in6_addr a[2];

	dns_host_free(TAKE(ep->host));
	if (!ep->names || !names_view(ep->nw))
		return;
	ep->host = dns_host_new(ep->nw->view, a, addresses(ep, a));
	dns_host_ready(ep->host, !s->unready);
	for (char **name = ep->names; *name; name++)
		if (dns_host_name(ep->host, *name) < 0)
			log_warn("net", "container %s: '%s' cannot be a DNS name, others on %s do not find it by that", s->name, *name, ep->nw->name);
}

static void link_name(struct dns_server *server, const char *link)
{
	CLEANUP(mem_freep) char *name = mem_strndup(link, strcspn(link, ":"));
	const char *alias = strchr(link, ':') ? strchr(link, ':') + 1 : name;

	if (dns_server_alias(server, alias, name) < 0)
		log_warn("net", "the link '%s' cannot be a DNS name", link);
}

void names_refresh(struct sandbox *s)
{
	bool out = false;

	/* A change that comes to its end while the sandbox waits to be closed: its names are out already, and are not to outlive their networks. */
	if (!s->n->dns || s->joined || s->closing)
		return;
	for (size_t i = 0; i < s->n_ep; i++) {
		endpoint_names(s, s->ep[i]);
		out |= s->ep[i]->nw && !s->ep[i]->nw->internal;
	}
	if (!s->server && s->dns_udp < 0)
		return;
	if (!s->server) {
		struct err e = { 0 };

		s->server = dns_server_new(s->n->dns, s->name);
		dns_server_listen_take(s->server, TAKE_FD(s->dns_udp), TAKE_FD(s->dns_tcp));
		if (s->nameservers && dns_server_upstreams(s->server, (const char *const *)s->nameservers, strv_len(s->nameservers), &e) < 0)
			log_warn("net", "container %s: %s, asking the host's name servers", s->name, e.msg);
	}
	dns_server_aliases_clear(s->server);
	dns_server_views_clear(s->server);
	for (size_t i = 0; i < s->n_ep; i++) {
		struct endpoint *ep = s->ep[i];
		struct in6_addr a[2];

		if (!ep->nw || !names_view(ep->nw))
			continue;
		dns_server_view_add(s->server, ep->nw->view, a, addresses(ep, a));
		for (char **link = ep->links; link && *link; link++)
			link_name(s->server, *link);
	}
	dns_server_forwarding(s->server, out);
}

void names_sandbox_out(struct sandbox *s)
{
	for (size_t i = 0; i < s->n_ep; i++)
		names_endpoint_del(s->ep[i]);
}

void names_sandbox_close(struct sandbox *s)
{
	names_sandbox_out(s);
	dns_server_free(TAKE(s->server));
	fd_closep(&s->dns_udp);
	fd_closep(&s->dns_tcp);
	s->dns_udp = s->dns_tcp = -1;
}

void net_sandbox_ready(struct net *n, const char *id, bool ready)
{
	struct sandbox *s = map_get(n->sandboxes, id);

	if (!s)
		return;
	s->unready = !ready;
	for (size_t i = 0; i < s->n_ep; i++)
		if (s->ep[i]->host)
			dns_host_ready(s->ep[i]->host, ready);
}
