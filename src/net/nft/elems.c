/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <libnftnl/set.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/nft/nft_priv.h"

/* The elements of the sets: what the kernel has, and the copy of it that says what it shall have. */

enum { ELEMS_PER_MESSAGE = 100 };

static void elem_text(const struct elem *el, char *out, size_t size)
{
	size_t at = (size_t)snprintf(out, size, "%d:", (int)el->set);

	for (size_t i = 0; i < set_key_len(el->set) && at + 3 < size; i++, at += 2)
		snprintf(out + at, 3, "%02x", el->key[i]);
}

static void append(struct nftnl_set *s, const struct elem *el, bool with_data)
{
	struct nftnl_set_elem *x = nftnl_set_elem_alloc();
	size_t data = set_data_len(el->set), key = set_key_len(el->set);
	uint32_t flags = NFT_SET_ELEM_INTERVAL_END;
	static const uint8_t zero[16];

	nftnl_set_elem_set(x, NFTNL_SET_ELEM_KEY, el->key, (uint32_t)key);
	if (data && with_data)
		nftnl_set_elem_set(x, NFTNL_SET_ELEM_DATA, el->data, (uint32_t)data);
	nftnl_set_elem_add(s, x);
	if (!set_is_interval(el->set) || !memcmp(el->end, zero, key))
		return;
	x = nftnl_set_elem_alloc();
	nftnl_set_elem_set(x, NFTNL_SET_ELEM_KEY, el->end, (uint32_t)key);
	nftnl_set_elem_set(x, NFTNL_SET_ELEM_FLAGS, &flags, sizeof(flags));
	nftnl_set_elem_add(s, x);
}

static struct nftnl_set *set_of(const struct datapath *d, enum nft_set set)
{
	struct nftnl_set *s = nftnl_set_alloc();

	nftnl_set_set_str(s, NFTNL_SET_TABLE, d->table);
	nftnl_set_set_str(s, NFTNL_SET_NAME, set_name(set));
	return s;
}

static void put_message(struct batch *b, struct nftnl_set *s, uint16_t type)
{
	struct nlmsghdr *h = batch_message(b, type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);

	nftnl_set_elems_nlmsg_build_payload(h, s);
	batch_put(b, h);
}

static int one(struct datapath *d, const struct elem *el, bool del, bool add)
{
	struct batch b;

	batch_begin(d, &b);
	if (del) {
		struct nftnl_set *s = set_of(d, el->set);

		append(s, el, false);
		put_message(&b, s, NFT_MSG_DELSETELEM);
		nftnl_set_free(s);
	}
	if (add) {
		struct nftnl_set *s = set_of(d, el->set);

		append(s, el, true);
		put_message(&b, s, NFT_MSG_NEWSETELEM);
		nftnl_set_free(s);
	}
	return batch_commit(d, &b);
}

int elem_put(struct datapath *d, const struct elem *el)
{
	char text[80];
	struct elem *old;
	int r;

	elem_text(el, text, sizeof(text));
	old = map_get(d->elems, text);
	if (old && !memcmp(old, el, sizeof(*el)))
		return 0;
	/* An earlier run may have left the same key with other data. */
	r = one(d, el, false, true);
	if (r == -EBUSY || r == -EEXIST)
		r = one(d, el, true, true);
	if (r < 0)
		return r;
	if (!old) {
		old = mem_zalloc(sizeof(*old));
		map_put(d->elems, text, old);
	}
	*old = *el;
	return 0;
}

int elem_del(struct datapath *d, const struct elem *el)
{
	char text[80];
	int r;

	elem_text(el, text, sizeof(text));
	free(map_del(d->elems, text));
	r = one(d, el, true, false);
	return r == -ENOENT ? 0 : r;
}

int elems_rewrite(struct datapath *d)
{
	struct batch b;

	batch_begin(d, &b);
	for (int k = 0; k < SET_COUNT; k++) {
		struct nftnl_set *s = set_of(d, (enum nft_set)k);
		const struct elem *el;
		size_t it = 0, n = 0;
		struct nlmsghdr *h = batch_message(&b, NFT_MSG_DELSETELEM, 0);

		mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, d->table);
		mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set_name((enum nft_set)k));	/* and no elements: all of them */
		batch_put(&b, h);
		while ((el = map_next(d->elems, &it, NULL))) {
			if (el->set != (enum nft_set)k)
				continue;
			append(s, el, true);
			if (++n % ELEMS_PER_MESSAGE == 0) {
				put_message(&b, s, NFT_MSG_NEWSETELEM);
				nftnl_set_free(s);
				s = set_of(d, (enum nft_set)k);
			}
		}
		if (n % ELEMS_PER_MESSAGE)
			put_message(&b, s, NFT_MSG_NEWSETELEM);
		nftnl_set_free(s);
	}
	return batch_commit(d, &b);
}
