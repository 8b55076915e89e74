/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { SOURCES_MAX = 256 };

static int add(struct net_policy *p, const char *word, struct err *e)
{
	struct net_cidr c;

	if (p->n_sources == SOURCES_MAX)
		return err_set(e, ERR_INVALID, "more than %d prefixes of sources for published ports", SOURCES_MAX);
	if (cidr_parse(word, &c) < 0) {
		/* A bare address means itself. */
		if (addr_parse(word, &c.addr) < 0)
			return err_set(e, ERR_INVALID, "'%.64s' is not a prefix of sources like 192.0.2.0/24", word);
		c.prefix = 128;
	}
	p->sources[p->n_sources++] = cidr_base(&c);
	return 0;
}

int net_policy_parse(const char *policy, const char *sources, struct net_policy *ret, struct err *e)
{
	char **words CLEANUP(strv_freep) = str_empty(sources) ? NULL : str_split(sources, ',');
	struct net_policy p = { .guarded = str_eq(policy, "guarded") };

	if (!str_empty(policy) && !p.guarded && !str_eq(policy, "direct"))
		return err_set(e, ERR_INVALID, "publish policy '%.64s' is neither direct nor guarded", policy);
	if (words && *words)
		p.sources = mem_alloc(SOURCES_MAX * sizeof(*p.sources));
	for (char **w = words; w && *w; w++)
		if (add(&p, *w, e) < 0) {
			net_policy_done(&p);
			return -1;
		}
	*ret = p;
	return 0;
}

void net_policy_done(struct net_policy *p)
{
	free(p->sources);
	*p = (struct net_policy){ 0 };
}

bool net_policy_allows(const struct net_policy *p, const struct in6_addr *client)
{
	for (size_t i = 0; i < p->n_sources; i++)
		if (cidr_has(&p->sources[i], client))
			return true;
	return !p->n_sources;
}
