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
	static const uint8_t zero[ELEM_KEY_MAX];

	nftnl_set_elem_set(x, NFTNL_SET_ELEM_KEY, el->key, (uint32_t)key);
	if (data && with_data)
		nftnl_set_elem_set(x, NFTNL_SET_ELEM_DATA, el->data, (uint32_t)data);
	nftnl_set_elem_add(s, x);
	if (set_is_concat(el->set)) {
		nftnl_set_elem_set(x, NFTNL_SET_ELEM_KEY_END, el->end, (uint32_t)key);
		return;
	}
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

/* Consecutive elements of one set go in one message. */
static void put_all(struct datapath *d, struct batch *b, const struct elem *el, size_t n, uint16_t type)
{
	for (size_t i = 0, len; i < n; i += len) {
		struct nftnl_set *s = set_of(d, el[i].set);

		for (len = 0; len < ELEMS_PER_MESSAGE && i + len < n && el[i + len].set == el[i].set; len++)
			append(s, &el[i + len], type == NFT_MSG_NEWSETELEM);
		put_message(b, s, type);
		nftnl_set_free(s);
	}
}

static int change(struct datapath *d, const struct elem *del, size_t n_del, const struct elem *add, size_t n_add)
{
	struct batch b;

	batch_begin(d, &b);
	put_all(d, &b, del, n_del, NFT_MSG_DELSETELEM);
	put_all(d, &b, add, n_add, NFT_MSG_NEWSETELEM);
	return batch_commit(d, &b);
}

enum { TRIES = 3 };

/* The same, whatever somebody does to the table meanwhile. What it does not take now goes into it with all the others when it is put back. */
static int change_kept(struct datapath *d, const struct elem *del, size_t n_del, const struct elem *add, size_t n_add)
{
	int r = change(d, del, n_del, add, n_add), put_back = 0;

	for (int i = 0; i < TRIES && r == -ENOENT && put_back == 0; i++) {
		put_back = nft_keeper_now(d);
		if (put_back == 0)
			r = change(d, del, n_del, add, n_add);
	}
	return r == -ENOENT && put_back > 0 ? 0 : r;
}

static void keep(struct datapath *d, const char *text, const struct elem *el)
{
	struct elem *old = map_get(d->elems, text);

	if (!old) {
		old = mem_zalloc(sizeof(*old));
		map_put(d->elems, text, old);
	}
	*old = *el;
}

int elems_change(struct datapath *d, const struct elem *del, size_t n_del, const struct elem *add, size_t n_add)
{
	char text[80];
	int r = change_kept(d, del, n_del, add, n_add);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n_del; i++) {
		elem_text(&del[i], text, sizeof(text));
		free(map_del(d->elems, text));
	}
	for (size_t i = 0; i < n_add; i++) {
		elem_text(&add[i], text, sizeof(text));
		keep(d, text, &add[i]);
	}
	return 0;
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
	r = change_kept(d, NULL, 0, el, 1);
	if (r == -EBUSY || r == -EEXIST)
		r = change(d, el, 1, el, 1);
	if (r < 0)
		return r;
	keep(d, text, el);
	return 0;
}

int elem_del(struct datapath *d, const struct elem *el)
{
	char text[80];
	int r;

	elem_text(el, text, sizeof(text));
	free(map_del(d->elems, text));
	r = change(d, el, 1, NULL, 0);
	return r == -ENOENT ? 0 : r;
}

static void append_all(struct datapath *d, struct batch *b, enum nft_set k)
{
	struct nftnl_set *s = set_of(d, k);
	const struct elem *el;
	size_t it = 0, n = 0;

	while ((el = map_next(d->elems, &it, NULL))) {
		if (el->set != k)
			continue;
		append(s, el, true);
		if (++n % ELEMS_PER_MESSAGE == 0) {
			put_message(b, s, NFT_MSG_NEWSETELEM);
			nftnl_set_free(s);
			s = set_of(d, k);
		}
	}
	if (n % ELEMS_PER_MESSAGE)
		put_message(b, s, NFT_MSG_NEWSETELEM);
	nftnl_set_free(s);
}

void elems_append(struct datapath *d, struct batch *b)
{
	for (int k = 0; k < SET_COUNT; k++)
		if (set_exists(d, (enum nft_set)k))
			append_all(d, b, (enum nft_set)k);
}

int elems_rewrite(struct datapath *d)
{
	struct batch b;

	batch_begin(d, &b);
	for (int k = 0; k < SET_COUNT; k++) {
		struct nlmsghdr *h;

		if (!set_exists(d, (enum nft_set)k))
			continue;
		h = batch_message(&b, NFT_MSG_DELSETELEM, 0);
		mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, d->table);
		mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set_name((enum nft_set)k));	/* and no elements: all of them */
		batch_put(&b, h);
	}
	elems_append(d, &b);
	return batch_commit(d, &b);
}
