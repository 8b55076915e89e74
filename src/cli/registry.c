/* SPDX-License-Identifier: Apache-2.0 */
/* Registries as a client sees them: docker's file of credentials, its rendering of progress. */
#include "cli/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/render.h"

enum { FILE_MAX = 4 << 20 };

char *registry_server(const char *reference)
{
	size_t n = strcspn(reference, "/");

	/* docker's rule: a domain has a dot, a port or capitals, or is "localhost". */
	if (reference[n] == '/') {
		char *host = mem_strndup(reference, n);
		bool domain = strpbrk(host, ".:ABCDEFGHIJKLMNOPQRSTUVWXYZ") || str_eq(host, "localhost");

		if (domain && !str_eq(host, "docker.io") && !str_eq(host, "index.docker.io"))
			return host;
		free(host);
	}
	return mem_strdup(HUB_SERVER);
}

char *registry_file(void)
{
	const char *dir = getenv("DOCKER_CONFIG"), *home = getenv("HOME");

	return !str_empty(dir) ? mem_printf("%s/config.json", dir) : mem_printf("%s/.docker/config.json", str_empty(home) ? "" : home);
}

/* The file as an object; an empty one when there is none. */
static json_t *file_read(struct err *e)
{
	CLEANUP(mem_freep) char *path = registry_file();
	json_t *doc;

	if (access(path, F_OK) < 0)
		return json_object();
	doc = json_parse_file_at(AT_FDCWD, path, FILE_MAX, e);
	if (doc && !json_is_object(doc)) {
		json_decref(doc);
		doc = NULL;
		err_set(e, ERR_INVALID, "%s: the file is not a JSON object", path);
	}
	return doc;
}

/* "https://host/v1/" and "host" mean the same registry. */
static bool same_server(const char *key, const char *server)
{
	CLEANUP(mem_freep) char *a = NULL, *b = NULL;

	if (str_eq(key, server))
		return true;
	key = strstr(key, "://") ? strstr(key, "://") + 3 : key;
	server = strstr(server, "://") ? strstr(server, "://") + 3 : server;
	a = mem_strndup(key, strcspn(key, "/"));
	b = mem_strndup(server, strcspn(server, "/"));
	return str_eq(a, b);
}

static const char *find_key(const json_t *auths, const char *server)
{
	const char *key, *found = NULL;
	json_t *v;

	json_object_foreach((json_t *)auths, key, v) {
		if (str_eq(key, server))
			return key;
		if (same_server(key, server))
			found = key;
	}
	return found;
}

void base64_encode(const void *p, size_t n, bool url, struct buf *out)
{
	static const char std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static const char alt[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const char *digits = url ? alt : std;
	const unsigned char *s = p;

	for (size_t i = 0; i < n; i += 3) {
		unsigned v = (unsigned)s[i] << 16 | (i + 1 < n ? s[i + 1] : 0u) << 8 | (i + 2 < n ? s[i + 2] : 0u);

		buf_addc(out, digits[v >> 18]);
		buf_addc(out, digits[v >> 12 & 63]);
		buf_addc(out, i + 1 < n ? digits[v >> 6 & 63] : '=');
		buf_addc(out, i + 2 < n ? digits[v & 63] : '=');
	}
}

static int base64_value(char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* user:password out of "auth". */
static void decode_auth(const char *text, struct buf *out)
{
	unsigned bits = 0, have = 0;

	for (; *text && *text != '='; text++) {
		int v = base64_value(*text);

		if (v < 0)
			return;
		bits = bits << 6 | (unsigned)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			buf_addc(out, (char)(bits >> have));
		}
	}
}

char *registry_user(const char *server)
{
	CLEANUP(json_freep) json_t *doc = file_read(NULL);
	CLEANUP(buf_done) struct buf both = BUF_INIT;
	const json_t *auths = json_obj(doc, "auths");
	const char *key = find_key(auths, server);

	decode_auth(json_str(key ? json_obj(auths, key) : NULL, "auth", ""), &both);
	return both.len ? mem_strndup(both.data, strcspn(both.data, ":")) : NULL;
}

char *registry_header(const char *server, struct err *e)
{
	CLEANUP(json_freep) json_t *doc = file_read(e), *auth = json_object();
	CLEANUP(buf_done) struct buf both = BUF_INIT, coded = BUF_INIT;
	const json_t *auths = json_obj(doc, "auths"), *entry;
	const char *key = find_key(auths, server), *colon;
	CLEANUP(mem_freep) char *text = NULL;

	entry = key ? json_obj(auths, key) : NULL;
	decode_auth(json_str(entry, "auth", ""), &both);
	colon = both.data ? strchr(both.data, ':') : NULL;
	if (colon) {
		json_object_set_new(auth, "username", json_bytes(both.data, (size_t)(colon - both.data)));
		json_object_set_new(auth, "password", json_bytes(colon + 1, strlen(colon + 1)));
	}
	if (*json_str(entry, "identitytoken", ""))
		json_object_set(auth, "identitytoken", json_object_get(entry, "identitytoken"));
	if (*json_str(entry, "registrytoken", ""))
		json_object_set(auth, "registrytoken", json_object_get(entry, "registrytoken"));
	if (entry)
		json_object_set_new(auth, "serveraddress", json_string(server));
	text = json_text(auth);
	base64_encode(text, strlen(text), true, &coded);
	return mem_printf("X-Registry-Auth: %s", coded.data);
}

int registry_store(const char *server, const char *user, const char *password, const char *identity_token, bool *was, struct err *e)
{
	CLEANUP(json_freep) json_t *doc = file_read(e);
	CLEANUP(mem_freep) char *path = registry_file(), *dir = mem_strndup(path, (size_t)(strrchr(path, '/') - path)), *both = NULL, *text = NULL;
	CLEANUP(buf_done) struct buf coded = BUF_INIT;
	json_t *auths, *entry;
	const char *key;
	bool had = false;
	int rc;

	if (!doc)
		return -1;
	auths = json_obj(doc, "auths");
	if (!auths) {
		auths = json_object();
		json_object_set_new(doc, "auths", auths);
	}
	while ((key = find_key(auths, server))) {
		had = true;
		json_object_del(auths, key);
	}
	if (was)
		*was = had;
	if (user) {
		both = mem_printf("%s:%s", user, str_empty(identity_token) ? password : "");
		base64_encode(both, strlen(both), false, &coded);
		entry = json_pack("{s:s}", "auth", coded.data);
		if (!str_empty(identity_token))
			json_object_set_new(entry, "identitytoken", json_string(identity_token));
		json_object_set_new(auths, server, entry);
	} else if (!had) {
		return 0;
	}
	rc = file_mkdir_p(dir, 0700);
	if (rc < 0)
		return err_errno(e, -rc, "create %s", dir);
	text = json_dumps(doc, JSON_INDENT(8) | JSON_PRESERVE_ORDER);
	rc = file_replace_at(AT_FDCWD, path, text, strlen(text), 0600);
	return rc < 0 ? err_errno(e, -rc, "write %s", path) : 0;
}

/* Progress. */

struct progress {
	FILE *out;
	bool terminal;
	struct map *lines;	/* id -> number + 1 */
	struct err err;
};

struct progress *progress_new(FILE *out, bool terminal)
{
	struct progress *p = mem_zalloc(sizeof(*p));

	p->out = out;
	p->terminal = terminal;
	p->lines = map_new();
	return p;
}

static size_t columns(FILE *out)
{
	struct winsize ws;

	return ioctl(fileno(out), TIOCGWINSZ, &ws) == 0 && ws.ws_col ? ws.ws_col : 80;
}

/* "[====>      ]  1.2MB/3MB" */
static void bar(struct progress *p, const json_t *detail, struct buf *b)
{
	int64_t current = json_i64(detail, "current", 0), total = json_i64(detail, "total", 0), half;
	struct buf a CLEANUP(buf_done) = BUF_INIT;

	if (current <= 0 && total <= 0)
		return;
	if (current > 0)
		render_size(&a, (double)current);
	else
		buf_adds(&a, "0B");
	if (total <= 0) {
		buf_printf(b, "%8s", a.data);
		return;
	}
	half = current * 50 / total;
	half = half > 50 ? 50 : half < 0 ? 0 : half;
	if (columns(p->out) > 110)
		buf_printf(b, "[%.*s>%*s] ", (int)half, "==================================================", (int)(50 - half), "");
	buf_printf(b, "%8s", a.data);
	if (current <= total) {
		buf_addc(b, '/');
		render_size(b, (double)total);
	}
}

static void drop_lines(struct progress *p)
{
	map_free(p->lines);
	p->lines = map_new();
}

void progress_show(struct progress *p, const json_t *msg)
{
	const char *id = json_str(msg, "id", ""), *status = json_str(msg, "status", ""), *stream = json_str(msg, "stream", NULL);
	const char *error = json_str(json_obj(msg, "errorDetail"), "message", json_str(msg, "error", NULL));
	const json_t *detail = json_obj(msg, "progressDetail");
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	size_t below = 0;

	if (error) {
		if (!p->err.kind)
			err_set(&p->err, ERR_INTERNAL, "%s", error);
		return;
	}
	if (json_object_get(msg, "aux"))
		return;
	if (*id && detail) {
		uintptr_t line = (uintptr_t)map_get(p->lines, id);

		if (!line) {
			line = map_len(p->lines) + 1;
			map_put(p->lines, id, (void *)line);
			if (p->terminal)
				fputc('\n', p->out);
		}
		below = map_len(p->lines) + 1 - line;
		if (p->terminal)
			fprintf(p->out, "\033[%zuA", below);
	} else {
		drop_lines(p);
	}
	if (detail)
		bar(p, detail, &b);
	/* Without a terminal a bar would be a new line for each step. */
	if (p->terminal || !b.len) {
		if (p->terminal && detail && !stream)
			fputs("\033[2K\r", p->out);
		if (*id)
			fprintf(p->out, "%s: ", id);
		if (stream)
			fputs(stream, p->out);
		else if (detail && p->terminal)
			fprintf(p->out, "%s %s\r", status, b.data ? b.data : "");
		else
			fprintf(p->out, "%s\n", status);
	}
	if (below && p->terminal)
		fprintf(p->out, "\033[%zuB", below);
	fflush(p->out);
}

int progress_end_take(struct progress *p, struct err *e)
{
	int rc = 0;

	if (p->err.kind) {
		*e = p->err;
		rc = -1;
	}
	map_free(p->lines);
	free(p);
	return rc;
}
