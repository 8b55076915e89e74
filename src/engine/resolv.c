/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What docker writes: what was asked for replaces the host's lines of the kind. A name server on the host's loopback is none of the container's. Where we
 * answer ourselves (nameserver), we are the only server; servers that were asked for are asked by us then, and ndots:0 lets names without a dot
 * come to us as they are, unless another number was asked for.
 */
#include "engine/resolv.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

struct resolv {
	struct buf servers, options;
	char *search;
	bool ndots;
};

static void option_add(struct resolv *r, const char *word)
{
	r->ndots |= str_starts(word, "ndots:");
	buf_printf(&r->options, " %s", word);
}

static void options_add(struct resolv *r, char *words)
{
	char *save = NULL;

	for (char *w = strtok_r(words, " \t", &save); w; w = strtok_r(NULL, " \t", &save))
		option_add(r, w);
}

static bool unreachable(const char *server, bool host_net)
{
	return !host_net && (str_starts(server, "127.") || str_eq(server, "::1"));
}

static void host_line(struct resolv *r, char *line, const json_t *host, bool inside, bool host_net)
{
	char *value = line + strcspn(line, " \t");

	if (*value)
		*value++ = '\0';
	value += strspn(value, " \t");
	for (char *end = value + strlen(value); end > value && strchr(" \t\r", end[-1]);)
		*--end = '\0';
	if (str_eq(line, "nameserver")) {
		if (!inside && !json_array_size(json_arr(host, "Dns")) && !unreachable(value, host_net))
			buf_printf(&r->servers, "nameserver %s\n", value);
	} else if (str_eq(line, "search") || str_eq(line, "domain")) {
		/* The last one counts (resolv.conf(5)). */
		if (!json_array_size(json_arr(host, "DnsSearch"))) {
			free(r->search);
			r->search = mem_strdup(value);
		}
	} else if (str_eq(line, "options") && !json_array_size(json_arr(host, "DnsOptions"))) {
		options_add(r, value);
	}
}

static char *joined(json_t *list)
{
	struct buf b = BUF_INIT;
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		buf_printf(&b, "%s%s", i ? " " : "", json_string_value(v));
	return buf_take(&b);
}

void resolv_text(const json_t *host, const char *text, const char *nameserver, bool host_net, struct buf *out)
{
	json_t *search = json_arr(host, "DnsSearch"), *v;
	struct resolv r = { .servers = BUF_INIT, .options = BUF_INIT };
	char *copy CLEANUP(mem_freep) = mem_strdup(text), *save = NULL;
	bool inside = *nameserver;
	size_t i;

	if (inside)
		buf_printf(&r.servers, "nameserver %s\n", nameserver);
	else
		json_array_foreach(json_arr(host, "Dns"), i, v)
			buf_printf(&r.servers, "nameserver %s\n", json_string_value(v));
	/* "." alone means none. */
	if (json_array_size(search) && !(json_array_size(search) == 1 && str_eq(json_at(search, 0), ".")))
		r.search = joined(search);
	json_array_foreach(json_arr(host, "DnsOptions"), i, v)
		option_add(&r, json_string_value(v));
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		host_line(&r, line, host, inside, host_net);
	if (inside && !r.ndots)
		option_add(&r, "ndots:0");
	buf_adds(out, r.servers.data ? r.servers.data : "");
	if (!str_empty(r.search))
		buf_printf(out, "search %s\n", r.search);
	if (r.options.len)
		buf_printf(out, "options%s\n", r.options.data);
	buf_done(&r.servers);
	buf_done(&r.options);
	free(r.search);
}
