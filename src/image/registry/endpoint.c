/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/registry/session.h"

#define HUB_HOST "registry-1.docker.io"

static bool parse_ip(const char *host, unsigned char *addr)
{
	struct in_addr v4;

	if (inet_pton(AF_INET, host, &v4) == 1) {
		memset(addr, 0, 10);
		addr[10] = addr[11] = 0xff;
		memcpy(addr + 12, &v4, 4);
		return true;
	}
	return inet_pton(AF_INET6, host, addr) == 1;
}

/* "host:port" or "[v6]:port" without the port and the brackets. The caller frees. */
static char *bare_host(const char *host)
{
	const char *end;

	if (*host == '[') {
		end = strchr(host, ']');
		return end ? mem_strndup(host + 1, (size_t)(end - host - 1)) : mem_strdup(host);
	}
	end = strrchr(host, ':');
	return end && strchr(host, ':') == end ? mem_strndup(host, (size_t)(end - host)) : mem_strdup(host);
}

/* "10.0.0.0/8", "fd00::/8". */
static bool cidr_has(const char *cidr, const unsigned char *addr)
{
	const char *slash = strchr(cidr, '/');
	CLEANUP(mem_freep) char *base = slash ? mem_strndup(cidr, (size_t)(slash - cidr)) : NULL;
	unsigned char net[16];
	uint64_t bits;

	if (!base || !parse_ip(base, net) || str_to_u64(slash + 1, 0, 128, &bits) < 0)
		return false;
	bits += strchr(base, ':') ? 0 : 96;
	for (unsigned i = 0; i < 16 && bits; i++) {
		unsigned take = bits < 8 ? (unsigned)bits : 8, mask = 0xffu << (8 - take) & 0xff;

		if ((net[i] & mask) != (addr[i] & mask))
			return false;
		bits -= take;
	}
	return true;
}

static bool addr_insecure(const struct registry_config *cfg, const unsigned char *addr)
{
	for (char **p = cfg->insecure; p && *p; p++)
		if (cidr_has(*p, addr))
			return true;
	return (addr[10] == 0xff && addr[12] == 127) || !memcmp(addr, &in6addr_loopback, 16);
}

/* What the name stands for: docker takes a name for this machine, or for a network said to be insecure, as insecure, too. */
static bool name_insecure(const struct registry_config *cfg, const char *name)
{
	struct addrinfo want = { .ai_socktype = SOCK_STREAM }, *all = NULL;
	bool insecure = false;

	if (getaddrinfo(name, NULL, &want, &all) != 0)
		return false;
	for (struct addrinfo *a = all; a && !insecure; a = a->ai_next) {
		unsigned char addr[16] = { [10] = 0xff, [11] = 0xff };

		if (a->ai_family == AF_INET)
			memcpy(addr + 12, &((struct sockaddr_in *)a->ai_addr)->sin_addr, 4);
		else if (a->ai_family == AF_INET6)
			memcpy(addr, &((struct sockaddr_in6 *)a->ai_addr)->sin6_addr, 16);
		else
			continue;
		insecure = addr_insecure(cfg, addr);
	}
	freeaddrinfo(all);
	return insecure;
}

static bool is_insecure(const struct registry_config *cfg, const char *host)
{
	CLEANUP(mem_freep) char *bare = bare_host(host);
	unsigned char addr[16];

	for (char **p = cfg->insecure; p && *p; p++)
		if (!strcasecmp(*p, host) || !strcasecmp(*p, bare))
			return true;
	if (!strcasecmp(bare, "localhost"))
		return true;
	return parse_ip(bare, addr) ? addr_insecure(cfg, addr) : name_insecure(cfg, bare);
}

static void add(struct endpoint **all, size_t *n, const char *scheme, const char *host, bool insecure, bool mirror)
{
	*all = mem_realloc(*all, (*n + 1) * sizeof(**all));
	(*all)[(*n)++] = (struct endpoint){ mem_printf("%s://%s", scheme, host), mem_strndup(host, strcspn(host, "/")), insecure, mirror };
}

/* A mirror is a URL; one without TLS must be said to be insecure only by its http. */
static void add_mirror(struct endpoint **all, size_t *n, const struct registry_config *cfg, const char *url)
{
	bool plain = str_starts(url, "http://");
	CLEANUP(mem_freep) char *host = mem_strdup(url + (plain ? 7 : str_starts(url, "https://") ? 8 : 0));

	while (*host && host[strlen(host) - 1] == '/')
		host[strlen(host) - 1] = '\0';
	if (plain)
		add(all, n, "http", host, true, true);
	else
		add(all, n, "https", host, is_insecure(cfg, host), true);
}

struct endpoint *endpoints_of(const struct registry_config *cfg, const char *domain, size_t *n)
{
	struct endpoint *all = NULL;
	bool insecure = is_insecure(cfg, domain);

	*n = 0;
	if (str_eq(domain, "docker.io")) {
		for (char **m = cfg->mirrors; m && *m; m++)
			add_mirror(&all, n, cfg, *m);
		add(&all, n, "https", HUB_HOST, false, false);
		return all;
	}
	add(&all, n, "https", domain, insecure, false);
	if (insecure)
		add(&all, n, "http", domain, true, false);
	return all;
}

void endpoints_free(struct endpoint *ep, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(ep[i].base);
		free(ep[i].host);
	}
	free(ep);
}
