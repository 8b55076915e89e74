/* SPDX-License-Identifier: Apache-2.0 */
#include "image/registry/auth.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum { AUTH_MAX = 64 * 1024, TOKEN_MAX = 64 * 1024 };

void registry_base64(const void *p, size_t n, struct buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *s = p;

	for (size_t i = 0; i < n; i += 3) {
		unsigned v = (unsigned)s[i] << 16 | (i + 1 < n ? s[i + 1] : 0u) << 8 | (i + 2 < n ? s[i + 2] : 0u);

		buf_addc(out, digits[v >> 18]);
		buf_addc(out, digits[v >> 12 & 63]);
		buf_addc(out, i + 1 < n ? digits[v >> 6 & 63] : '=');
		buf_addc(out, i + 2 < n ? digits[v & 63] : '=');
	}
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

int registry_unbase64(const char *s, struct buf *out)
{
	size_t n = strlen(s);
	unsigned bits = 0, have = 0;

	while (n && s[n - 1] == '=')
		n--;
	if (n % 4 == 1)
		return -1;
	for (size_t i = 0; i < n; i++) {
		int d = digit(s[i]);

		if (d < 0)
			return -1;
		bits = bits << 6 | (unsigned)d;
		have += 6;
		if (have >= 8) {
			have -= 8;
			buf_addc(out, (char)(bits >> have & 0xff));
		}
	}
	return 0;
}

static char *text_of(const json_t *o, const char *key)
{
	const char *s = json_str(o, key, NULL);

	return str_empty(s) ? NULL : mem_strdup(s);
}

void registry_creds_of(const json_t *o, struct registry_creds *ret)
{
	CLEANUP(buf_done) struct buf both = BUF_INIT;
	const char *auth = json_str(o, "auth", NULL), *colon;

	*ret = (struct registry_creds){ .user = text_of(o, "username"), .password = text_of(o, "password"), .identity_token = text_of(o, "identitytoken"),
					.registry_token = text_of(o, "registrytoken") };
	/* "auth": base64 of user:password, as it stands in the client's file. */
	if (!ret->user && !str_empty(auth) && registry_unbase64(auth, &both) == 0 && both.data && (colon = strchr(both.data, ':'))) {
		free(ret->password);
		ret->user = mem_strndup(both.data, (size_t)(colon - both.data));
		ret->password = mem_strdup(colon + 1);
	}
}

int registry_creds_parse(const char *header, struct registry_creds *ret, struct err *e)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT;
	CLEANUP(json_freep) json_t *doc = NULL;

	*ret = (struct registry_creds){ 0 };
	if (str_empty(header))
		return 0;
	if (strlen(header) > AUTH_MAX || registry_unbase64(header, &text) < 0)
		return err_set(e, ERR_INVALID, "invalid X-Registry-Auth header: it is no base64");
	if (!text.len)
		return 0;
	doc = json_parse(text.data, text.len, "invalid X-Registry-Auth header", e);
	if (!doc)
		return -1;
	if (!json_is_object(doc))
		return err_set(e, ERR_INVALID, "invalid X-Registry-Auth header: it is no JSON object");
	registry_creds_of(doc, ret);
	return 0;
}

void registry_creds_done(struct registry_creds *c)
{
	free(c->user);
	free(c->password);
	free(c->identity_token);
	free(c->registry_token);
	*c = (struct registry_creds){ 0 };
}

/* key=value or key="value with \" in it"; advances *p; NULL: no more. */
static char *parameter(const char **p, char **value)
{
	const char *s = *p + strspn(*p, " \t,"), *start = s;
	char *key, *out;
	size_t n = 0;

	while (*s && !strchr("= \t,\"", *s))
		s++;
	if (s == start || *s != '=')
		return NULL;
	key = mem_strndup(start, (size_t)(s - start));
	s++;
	out = mem_alloc(strlen(s) + 1);
	if (*s == '"') {
		for (s++; *s && *s != '"'; s++) {
			if (*s == '\\' && s[1])
				s++;
			out[n++] = *s;
		}
		s += *s == '"';
	} else {
		while (*s && !strchr(" \t,", *s))
			out[n++] = *s++;
	}
	out[n] = '\0';
	*p = s;
	*value = out;
	return key;
}

int registry_challenge_parse(const char *value, struct registry_challenge *ret)
{
	struct registry_challenge c = { 0 };
	const char *p = value + strspn(value, " \t");
	char *key, *v;

	if (!strncasecmp(p, "Basic", 5) && (!p[5] || strchr(" \t", p[5]))) {
		c.scheme = REGISTRY_BASIC;
		p += 5;
	} else if (!strncasecmp(p, "Bearer", 6) && strchr(" \t", p[6]) && p[6]) {
		c.scheme = REGISTRY_BEARER;
		p += 6;
	} else {
		return -1;
	}
	while ((key = parameter(&p, &v))) {
		char **to = !strcasecmp(key, "realm") ? &c.realm : !strcasecmp(key, "service") ? &c.service : !strcasecmp(key, "scope") ? &c.scope : NULL;

		if (to) {
			free(*to);
			*to = TAKE(v);
		}
		free(v);
		free(key);
	}
	if (c.scheme == REGISTRY_BEARER && (!c.realm || (!str_starts(c.realm, "https://") && !str_starts(c.realm, "http://")))) {
		registry_challenge_done(&c);
		return -1;
	}
	*ret = c;
	return 0;
}

void registry_challenge_done(struct registry_challenge *c)
{
	free(c->realm);
	free(c->service);
	free(c->scope);
	*c = (struct registry_challenge){ 0 };
}

char *registry_token_parse(const char *p, size_t n, char **refresh, struct err *e)
{
	CLEANUP(json_freep) json_t *doc = json_parse(p, n, "the token server's reply", e);
	const char *token;

	if (!doc)
		return NULL;
	token = json_str(doc, "token", NULL);
	if (str_empty(token))
		token = json_str(doc, "access_token", NULL);
	if (str_empty(token) || strlen(token) > TOKEN_MAX || strpbrk(token, "\r\n")) {
		err_set(e, ERR_INTERNAL, "authorization server did not include a token in the response");
		return NULL;
	}
	if (refresh)
		*refresh = text_of(doc, "refresh_token");
	return mem_strdup(token);
}
