/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"

#define API_PREFIX "/v1.50"

int cli_connect(struct cli *c, struct err *e)
{
	if (c->http)
		return 0;
	if (!c->loop)
		c->loop = loop_new(e);
	if (!c->loop)
		return -1;
	c->http = http_client_new(c->loop, c->host, c->use_tls ? &c->tls : NULL, e);
	return c->http ? 0 : -1;
}

void cli_done(struct cli *c)
{
	if (c->loop)
		loop_turn(c->loop, 0);	/* frees what was cancelled last */
	http_client_free(c->http);
	loop_free(c->loop);
	c->http = NULL;
	c->loop = NULL;
}

char *cli_target(const char *path)
{
	return mem_printf(API_PREFIX "%s", path);
}

int cli_reply_error(int status, const char *body, size_t n, struct err *e)
{
	json_t *doc CLEANUP(json_freep) = json_parse(body ? body : "", n, "reply", NULL);
	const char *msg = json_str(doc, "message", NULL);

	if (msg)
		return err_set(e, err_kind_of_status(status), "Error response from daemon: %s", msg);
	while (n && strchr(" \r\n\t", body[n - 1]))
		n--;
	if (n && str_utf8_valid(body, n))
		return err_set(e, err_kind_of_status(status), "Error response from daemon: %.*s", (int)(n > 500 ? 500 : n), body);
	return err_set(e, err_kind_of_status(status), "Error response from daemon: status %d without a message", status);
}

int cli_call(struct cli *c, const char *method, const char *path, const json_t *body, struct buf *out, struct err *e)
{
	char *target CLEANUP(mem_freep) = cli_target(path);
	char *text CLEANUP(mem_freep) = body ? json_text(body) : NULL;
	struct http_call_args a = { .method = method, .target = target, .body = text, .len = text ? strlen(text) : 0 };
	struct buf reply CLEANUP(buf_done) = BUF_INIT;
	int status;

	if (cli_connect(c, e) < 0)
		return -1;
	status = http_client_do(c->http, &a, &reply, e);
	if (status < 0)
		return -1;
	if (status >= 400)
		return cli_reply_error(status, reply.data, reply.len, e);
	if (out)
		buf_add(out, reply.data, reply.len);
	return status;
}

json_t *cli_get(struct cli *c, const char *path, struct err *e)
{
	struct buf reply CLEANUP(buf_done) = BUF_INIT;

	if (cli_call(c, "GET", path, NULL, &reply, e) < 0)
		return NULL;
	return json_parse(reply.data, reply.len, "the engine's reply", e);
}

char *cli_path(const char *before, const char *id, const char *after)
{
	struct buf b = BUF_INIT;

	buf_adds(&b, before);
	http_encode(&b, id);
	buf_adds(&b, after);
	return buf_take(&b);
}

void cli_query(struct buf *path, const char *key, const char *value)
{
	buf_printf(path, "%c%s=", strchr(path->data ? path->data : "", '?') ? '&' : '?', key);
	http_encode(path, value);
}

int cli_check_filter(const char *text, struct err *why)
{
	return strchr(text, '=') ? 0 : err_set(why, ERR_INVALID, "bad format of filter (expected name=value)");
}

int cli_query_filters(struct buf *path, char *const *words, struct err *e)
{
	json_t *all CLEANUP(json_freep) = json_object(), *set;
	char *text CLEANUP(mem_freep) = NULL;

	for (; *words; words++) {
		const char *eq = strchr(*words, '=');
		char *key CLEANUP(mem_freep) = NULL, *p, *value CLEANUP(mem_freep) = NULL;

		if (!eq)
			return err_set(e, ERR_INVALID, "bad format of filter '%.200s' (expected name=value)", *words);
		key = mem_strndup(*words, (size_t)(eq - *words));
		for (p = key; *p; p++)
			*p = (char)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
		while (p > key && strchr(" \t", p[-1]))
			*--p = '\0';
		p = key + strspn(key, " \t");
		eq += 1 + strspn(eq + 1, " \t");
		value = mem_strndup(eq, strlen(eq));
		while (*value && strchr(" \t", value[strlen(value) - 1]))
			value[strlen(value) - 1] = '\0';
		set = json_object_get(all, p);
		if (!set) {
			set = json_object();
			json_object_set_new(all, p, set);
		}
		if (json_object_set_new(set, value, json_true()) < 0)
			return err_set(e, ERR_INVALID, "invalid filter '%.200s': not UTF-8", *words);
	}
	if (!json_object_size(all))
		return 0;
	text = json_text(all);
	cli_query(path, "filters", text);
	return 0;
}

void cli_out(const struct buf *b)
{
	fflush(stdout);
	if (b->len && file_write_all(STDOUT_FILENO, b->data, b->len) < 0) {
		fprintf(stderr, "kedge: cannot write to standard output\n");
		exit(1);
	}
}

int cli_fail(const struct err *e)
{
	fflush(stdout);
	fprintf(stderr, "%s\n", e->msg);
	return 1;
}

int cli_each(struct cli *c, struct flags *f, int (*one)(struct cli *c, struct flags *f, const char *arg, struct err *e), bool print)
{
	char **errors CLEANUP(strv_freep) = NULL;

	for (int i = 0; i < f->argc; i++) {
		struct err e = { 0 };

		if (one(c, f, f->args[i], &e) < 0) {
			errors = strv_add(errors, e.msg);
			continue;
		}
		if (print)
			printf("%s\n", f->args[i]);
		fflush(stdout);
	}
	for (size_t i = 0; errors && errors[i]; i++)
		fprintf(stderr, "%s\n", errors[i]);
	return errors ? 1 : 0;
}
