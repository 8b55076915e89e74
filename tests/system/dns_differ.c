/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Asks two name servers the same through glibc's resolver, search list included, and compares what a program would learn:
 *
 *   dns_differ SERVER PORT OTHER-SERVER PORT SEARCH COUNT
 *
 * for COUNT names, each with ndots 0, 1 and 5. Names are a fixed mixture: with no dot, one, two and five, that exist as they are, that exist below a
 * search domain, that exist with another type only, that do not exist. Ends with 0 when nothing differs.
 */
struct learned {
	int herr;			/* 0: records */
	unsigned n;
	unsigned char sum[16];		/* of the records' data: their order is free */
};

static void server(struct __res_state *r, const char *addr, const char *port, const char *search, unsigned ndots)
{
	char list[256], *save = NULL;
	int n = 0;
	static char domains[256];

	memset(r, 0, sizeof(*r));
	(void)res_ninit(r);
	r->nscount = 1;
	memset(&r->nsaddr_list[0], 0, sizeof(r->nsaddr_list[0]));
	r->nsaddr_list[0].sin_family = AF_INET;
	r->nsaddr_list[0].sin_port = htons((uint16_t)atoi(port));
	(void)inet_pton(AF_INET, addr, &r->nsaddr_list[0].sin_addr);
	r->ndots = ndots;
	r->retry = 1;
	r->retrans = 5;
	r->options &= ~(unsigned long)RES_ROTATE;
	(void)snprintf(domains, sizeof(domains), "%s", search);
	(void)snprintf(list, sizeof(list), "%s", search);
	for (char *d = strtok_r(domains, ",", &save); d && n < MAXDNSRCH; d = strtok_r(NULL, ",", &save))
		r->dnsrch[n++] = d;
	r->dnsrch[n] = NULL;
}

static struct learned ask(struct __res_state *r, const char *name, int type)
{
	unsigned char msg[8192];
	struct learned l = { 0 };
	int n = res_nsearch(r, name, ns_c_in, type, msg, sizeof(msg));
	ns_msg m;

	if (n < 0) {
		l.herr = r->res_h_errno;
		return l;
	}
	if (ns_initparse(msg, n, &m) < 0) {
		l.herr = -1;
		return l;
	}
	l.n = ns_msg_count(m, ns_s_an);
	for (unsigned i = 0; i < l.n; i++) {
		ns_rr rr;

		if (ns_parserr(&m, ns_s_an, (int)i, &rr) < 0) {
			l.herr = -2;
			return l;
		}
		for (unsigned k = 0; k < ns_rr_rdlen(rr); k++)
			l.sum[k % sizeof(l.sum)] = (unsigned char)(l.sum[k % sizeof(l.sum)] + ns_rr_rdata(rr)[k] * (k + 1));
	}
	return l;
}

static void name_of(unsigned i, char *out, size_t size)
{
	static const struct {
		const char *before, *after;
	} forms[] = { { "h", "" }, { "h", ".lab" }, { "h", ".sub.lab" }, { "x", "" }, { "x", ".lab" }, { "a.b.c.d.h", ".lab" }, { "six", ".lab" }, { "h", ".sub" },
		      { "H", ".LAB" }, { "x", ".a.b.c.d.e" } };

	(void)snprintf(out, size, "%s%u%s", forms[i % 10].before, i / 10, forms[i % 10].after);
}

int main(int argc, char **argv)
{
	static const unsigned ndots[] = { 0, 1, 5 };
	unsigned count, differ = 0, found = 0;

	if (argc != 7) {
		(void)fprintf(stderr, "usage: dns_differ SERVER PORT OTHER-SERVER PORT SEARCH COUNT\n");
		return 2;
	}
	count = (unsigned)atoi(argv[6]);
	for (unsigned d = 0; d < 3; d++) {
		struct __res_state a, b;

		server(&a, argv[1], argv[2], argv[5], ndots[d]);
		server(&b, argv[3], argv[4], argv[5], ndots[d]);
		for (unsigned i = 0; i < count; i++) {
			char name[128];
			struct learned x, y;

			name_of(i, name, sizeof(name));
			x = ask(&a, name, i % 10 == 6 ? ns_t_aaaa : ns_t_a);
			y = ask(&b, name, i % 10 == 6 ? ns_t_aaaa : ns_t_a);
			found += !x.herr;
			if (memcmp(&x, &y, sizeof(x)) == 0)
				continue;
			if (differ++ < 10)
				(void)printf("%s with ndots %u: %s, %u records, not %s, %u records\n", name, ndots[d], x.herr ? hstrerror(x.herr) : "found", x.n,
					     y.herr ? hstrerror(y.herr) : "found", y.n);
		}
		res_nclose(&a);
		res_nclose(&b);
	}
	(void)printf("%u names, %u found, %u differ\n", 3 * count, found, differ);
	return differ || !found || found == 3 * count;
}
