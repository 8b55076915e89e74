/* SPDX-License-Identifier: Apache-2.0 */
#include "image/registry/session.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

/*
 * The OCI distribution protocol's way to one repository. The first request to an endpoint (GET /v2/) says whether it is a registry and
 * how it wants to be told who we are: not at all, by Basic credentials, or by a token that another server gives for them (docker's token
 * authentication). A token that has run out shows as 401: it is fetched anew, once for all that wait for it.
 */
enum { TOKEN_BODY_MAX = 256 * 1024, ERROR_BODY_MAX = 64 * 1024, PAUSE_MAX_S = 60 };

void session_init(struct session *s, struct transport *t, const struct registry_config *cfg, const struct registry_creds *creds, const char *domain,
		  const char *repo, const char *actions, const bool *stop)
{
	memset(s, 0, sizeof(*s));
	s->t = t;
	s->cfg = cfg;
	s->creds = creds;
	s->actions = actions;
	s->stop = stop;
	snprintf(s->domain, sizeof(s->domain), "%s", domain);
	snprintf(s->repo, sizeof(s->repo), "%s", repo);
	pthread_mutex_init(&s->lock, NULL);
}

void session_done(struct session *s)
{
	registry_challenge_done(&s->challenge);
	strv_free(s->certs);
	free(s->token);
	free(s->refresh);
	free(s->also);
	pthread_mutex_destroy(&s->lock);
}

static void find_certs(struct session *s)
{
	strv_free(s->certs);
	s->certs = NULL;
	for (char **c = s->cfg->certs; c && *c; c++) {
		CLEANUP(mem_freep) char *dir = mem_printf("%s/%s", *c, s->ep.host);

		if (access(dir, R_OK | X_OK) == 0)
			s->certs = strv_add(s->certs, dir);
	}
}

/* Adds key=value, encoded. */
static void query(struct buf *url, char sep, const char *key, const char *value)
{
	buf_printf(url, "%c%s=", sep, key);
	for (; *value; value++) {
		if ((*value >= '0' && *value <= '9') || (*value >= 'A' && *value <= 'Z') || (*value >= 'a' && *value <= 'z') || strchr("-._~", *value))
			buf_addc(url, *value);
		else
			buf_printf(url, "%%%02X", (unsigned char)*value);
	}
}

static char *basic(const struct registry_creds *c)
{
	CLEANUP(mem_freep) char *both = mem_printf("%s:%s", c->user, c->password ? c->password : "");
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	registry_base64(both, strlen(both), &b);
	return mem_printf("Authorization: Basic %s", b.data ? b.data : "");
}

int session_body(struct fetch *f, size_t limit, struct buf *out, struct err *e)
{
	char chunk[16384];
	ssize_t n;

	buf_init(out, limit + 1);
	while ((n = fetch_read(f, chunk, sizeof(chunk), e)) > 0)
		if (buf_add(out, chunk, (size_t)n) < 0 || out->len > limit)
			return err_set(e, ERR_INTERNAL, "the registry's reply is larger than %zu bytes", limit);
	if (n < 0)
		return -1;
	return buf_add(out, "", 0);
}

/* What the token is to allow: one or two scopes, spelled by the distribution project. */
static void add_scopes(struct session *s, struct buf *url, char sep)
{
	CLEANUP(mem_freep) char *scope = NULL;

	if (!s->actions)
		return;
	scope = mem_printf("repository:%s:%s", s->repo, s->actions);
	query(url, sep, "scope", scope);
	if (s->also) {
		free(scope);
		scope = mem_printf("repository:%s:pull", s->also);
		query(url, '&', "scope", scope);
	}
}

static int token_reply(struct session *s, struct fetch *f, char **token, struct err *e)
{
	CLEANUP(buf_done) struct buf body = BUF_INIT;
	int status = fetch_head(f, e);

	if (status < 0)
		return -1;
	if (status >= 400)
		return session_refused(s, f, status, NULL, e);
	if (session_body(f, TOKEN_BODY_MAX, &body, e) < 0)
		return -1;
	*token = registry_token_parse(body.data, body.len, s->refresh ? NULL : &s->refresh, e);
	return *token ? 0 : -1;
}

/* A new token from the server that the registry named. With the lock: others wait for the same one. */
static int token_fetch(struct session *s, struct err *e)
{
	const struct registry_challenge *ch = &s->challenge;
	CLEANUP(buf_done) struct buf url = BUF_INIT, form = BUF_INIT;
	CLEANUP(strv_freep) char **headers = NULL;
	struct fetch_args a = { .method = "GET", .insecure = s->ep.insecure, .certs = s->certs, .stop = s->stop };
	struct fetch *f;
	char *token = NULL;
	int rc;

	buf_adds(&url, ch->realm);
	if (s->creds->identity_token) {
		/* OAuth2 (RFC 6749, section 6), as docker's token servers take it. */
		buf_adds(&form, "grant_type=refresh_token");
		query(&form, '&', "service", ch->service ? ch->service : "");
		query(&form, '&', "client_id", "docker");
		query(&form, '&', "refresh_token", s->creds->identity_token);
		add_scopes(s, &form, '&');
		a.method = "POST";
		a.body = form.data;
		a.len = form.len;
		headers = strv_add(headers, "Content-Type: application/x-www-form-urlencoded");
	} else {
		query(&url, strchr(ch->realm, '?') ? '&' : '?', "service", ch->service ? ch->service : "");
		add_scopes(s, &url, '&');
		if (s->creds->user) {
			CLEANUP(mem_freep) char *line = basic(s->creds);

			query(&url, '&', "account", s->creds->user);
			if (!s->actions)
				buf_adds(&url, "&offline_token=true&client_id=docker");
			headers = strv_add(headers, line);
		}
	}
	a.url = url.data;
	a.headers = headers;
	f = fetch_start(s->t, &a);
	rc = token_reply(s, f, &token, e);
	fetch_free(f);
	if (rc < 0)
		return -1;
	free(s->token);
	s->token = token;
	s->token_number++;
	return 0;
}

/* The Authorization line, or NULL: nothing to say. number: which token it holds. */
static char *authorization(struct session *s, unsigned *number)
{
	char *line = NULL;

	pthread_mutex_lock(&s->lock);
	*number = s->token_number;
	if (s->creds->registry_token)
		line = mem_printf("Authorization: Bearer %s", s->creds->registry_token);
	else if (s->challenge.scheme == REGISTRY_BEARER && s->token)
		line = mem_printf("Authorization: Bearer %s", s->token);
	else if (s->challenge.scheme == REGISTRY_BASIC && s->creds->user)
		line = basic(s->creds);
	pthread_mutex_unlock(&s->lock);
	return line;
}

/* After a 401: 1 try again, 0 there is nothing more to say, -1 with e. */
static int meet_challenge(struct session *s, struct fetch *f, unsigned number, struct err *e)
{
	struct registry_challenge ch;
	const char *value;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (s->token_number != number) {
		rc = 1;		/* somebody has a new token already */
	} else {
		for (size_t i = 0; !rc && (value = fetch_header(f, "WWW-Authenticate", i)); i++) {
			if (registry_challenge_parse(value, &ch) < 0)
				continue;
			registry_challenge_done(&s->challenge);
			s->challenge = ch;
			if (ch.scheme == REGISTRY_BEARER && !s->creds->registry_token)
				rc = token_fetch(s, e) < 0 ? -1 : 1;
			else if (ch.scheme == REGISTRY_BASIC)
				rc = s->creds->user ? 1 : err_set(e, ERR_UNAUTHORIZED, "Get \"%s/v2/\": no basic auth credentials", s->ep.base);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static struct fetch *start(struct session *s, const struct call *c, const char *auth)
{
	CLEANUP(mem_freep) char *url = strstr(c->path, "://") ? mem_strdup(c->path) : mem_printf("%s/v2/%s", s->ep.base, c->path), *line = NULL;
	CLEANUP(strv_freep) char **headers = NULL;
	struct fetch_args a = { .method = c->method, .url = url, .body = c->body, .len = c->len, .stream = c->stream, .insecure = s->ep.insecure,
				.certs = s->certs, .stop = s->stop };
	const struct {
		const char *name, *value;
	} lines[] = { { "Accept", c->accept }, { "Content-Type", c->type }, { "Range", c->range } };

	if (auth)
		headers = strv_add(headers, auth);
	for (size_t i = 0; i < N(lines); i++) {
		if (!lines[i].value)
			continue;
		line = mem_printf("%s: %s", lines[i].name, lines[i].value);
		headers = strv_add(headers, line);
		free(TAKE(line));
	}
	if (c->stream && !c->type)
		headers = strv_add(headers, "Content-Type: application/octet-stream");
	a.headers = headers;
	return fetch_start(s->t, &a);
}

struct fetch *session_call(struct session *s, const struct call *c, int *status, bool *transient, struct err *e)
{
	for (int round = 0;; round++) {
		CLEANUP(mem_freep) char *auth = NULL;
		struct fetch *f;
		unsigned number;
		int rc;

		auth = authorization(s, &number);
		f = start(s, c, auth);
		*status = 0;
		/* A streamed body goes on while the reply is waited for: the caller asks for the head. */
		if (c->stream)
			return f;
		*status = fetch_head(f, e);
		if (*status < 0) {
			*transient = fetch_transient(f);
			fetch_free(f);
			return NULL;
		}
		if (*status != 401 || round)
			return f;
		rc = meet_challenge(s, f, number, e);
		if (rc == 0)
			return f;
		fetch_free(f);
		if (rc < 0) {
			*transient = false;
			return NULL;
		}
	}
}

bool session_may_retry(int status)
{
	return status == 429 || (status >= 500 && status != 501 && status != 505);
}

int64_t session_pause(const struct fetch *f, unsigned n)
{
	const char *after = f ? fetch_header(f, "Retry-After", 0) : NULL;
	uint64_t s;

	if (!after || str_to_u64(after, 0, 3600, &s) < 0)
		s = n > 6 ? PAUSE_MAX_S : 1u << (n - 1);
	return (int64_t)(s > PAUSE_MAX_S ? PAUSE_MAX_S : s) * 1000000000;
}

struct fetch *session_call_retry(struct session *s, const struct call *c, int *status, struct err *e)
{
	for (unsigned n = 1;; n++) {
		bool transient = false;
		struct fetch *f = session_call(s, c, status, &transient, e);
		int64_t pause = session_pause(f, n);

		if ((f && !session_may_retry(*status)) || (!f && !transient) || n >= s->cfg->attempts)
			return f;
		fetch_free(f);
		if (!transport_sleep(s->t, s->stop, pause)) {
			err_set(e, ERR_UNAVAILABLE, "context canceled");
			return NULL;
		}
	}
}

/* Codes of the distribution protocol in docker's small words: "MANIFEST_UNKNOWN" is "manifest unknown". */
static void error_word(const char *code, char *out, size_t size)
{
	size_t n = 0;

	for (; *code && n + 1 < size; code++)
		out[n++] = (char)(*code == '_' ? ' ' : *code >= 'A' && *code <= 'Z' ? *code + 'a' - 'A' : *code);
	out[n] = '\0';
}

int session_refused(struct session *s, struct fetch *f, int status, const char *what, struct err *e)
{
	enum err_kind kind = status == 404 ? ERR_NOT_FOUND : status == 401 ? ERR_UNAUTHORIZED : status == 403 ? ERR_FORBIDDEN : ERR_INTERNAL;
	CLEANUP(buf_done) struct buf body = BUF_INIT;
	CLEANUP(json_freep) json_t *doc = NULL;
	const char *message, *code;
	char word[64] = "";
	struct err ignored = { 0 };

	(void)s;
	if (session_body(f, ERROR_BODY_MAX, &body, &ignored) == 0)
		doc = json_parse(body.data, body.len, "reply", NULL);
	code = json_str(json_array_get(json_arr(doc, "errors"), 0), "code", "");
	message = json_str(json_array_get(json_arr(doc, "errors"), 0), "message", json_str(doc, "details", json_str(doc, "message", "")));
	error_word(code, word, sizeof(word));
	if (*word && *message)
		err_set(e, kind, "%s: %.400s", word, message);
	else if (*word || *message)
		err_set(e, kind, "%s%.400s", status == 401 && !*word ? "unauthorized: " : "", *word ? word : message);
	else if (status == 401)
		err_set(e, kind, "unauthorized: authentication required");
	else
		err_set(e, kind, "received unexpected HTTP status: %d%s", status, status == 429 ? " Too Many Requests" : status == 503 ? " Service Unavailable" :
			status == 500 ? " Internal Server Error" : status == 502 ? " Bad Gateway" : status == 504 ? " Gateway Timeout" : "");
	return what ? err_wrap(e, "%s", what) : -1;
}

/* One try at an endpoint: 0 a registry, -1 with e. */
static int ping(struct session *s, struct err *e)
{
	CLEANUP(mem_freep) char *url = mem_printf("%s/v2/", s->ep.base);
	struct fetch_args a = { .method = "GET", .url = url, .insecure = s->ep.insecure, .certs = s->certs, .stop = s->stop };
	struct fetch *f = NULL;
	int status = -1, rc = 0;

	for (unsigned n = 1; n <= 2; n++) {
		f = fetch_start(s->t, &a);
		status = fetch_head(f, e);
		if (!session_may_retry(status) || n == 2)
			break;
		rc = transport_sleep(s->t, s->stop, session_pause(f, n)) ? 0 : -1;
		fetch_free(TAKE(f));
		if (rc < 0)
			return err_set(e, ERR_UNAVAILABLE, "context canceled");
	}
	if (status < 0) {
		rc = -1;
	} else if (status == 401) {
		/* Who we are is asked for now; the token comes with the first request that needs one. */
		for (size_t i = 0;; i++) {
			const char *value = fetch_header(f, "WWW-Authenticate", i);

			if (!value) {
				rc = err_set(e, ERR_INTERNAL, "Get \"%s\": the registry wants to know who we are, but neither by Basic nor by Bearer", url);
				break;
			}
			if (registry_challenge_parse(value, &s->challenge) == 0)
				break;
		}
	} else if (session_may_retry(status)) {
		CLEANUP(mem_freep) char *what = mem_printf("Get \"%s\"", url);

		rc = session_refused(s, f, status, what, e);
	}
	fetch_free(f);
	return rc;
}

int session_open(struct session *s, const struct endpoint *ep, struct err *e)
{
	s->ep = *ep;
	find_certs(s);
	registry_challenge_done(&s->challenge);
	return ping(s, e);
}

char *session_location(struct session *s, struct fetch *f, struct err *e)
{
	const char *at = fetch_header(f, "Location", 0);

	if (str_empty(at) || strlen(at) > 8000) {
		err_set(e, ERR_INTERNAL, "the registry's reply to an upload has no Location");
		return NULL;
	}
	if (str_starts(at, "http://") || str_starts(at, "https://")) {
		if (str_starts(at, "http://") && str_starts(s->ep.base, "https://") && !s->ep.insecure) {
			err_set(e, ERR_INTERNAL, "the registry wants an upload without TLS (%.200s): refused", at);
			return NULL;
		}
		return mem_strdup(at);
	}
	/* Relative to the host; what stands behind it in a mirror's URL is part of it. */
	return mem_printf("%.*s%s%s", (int)(strcspn(strstr(s->ep.base, "://") + 3, "/") + (size_t)(strstr(s->ep.base, "://") + 3 - s->ep.base)), s->ep.base,
			  *at == '/' ? "" : "/v2/", at);
}

int session_manifest(struct session *s, const char *tag_or_digest, struct buf *text, struct manifest *m, char *digest, struct err *e)
{
	CLEANUP(mem_freep) char *path = mem_printf("%s/manifests/%s", s->repo, tag_or_digest), *what = NULL;
	struct call c = { .method = "GET", .path = path, .accept = MANIFEST_ACCEPT };
	bool pinned = str_starts(tag_or_digest, "sha256:");
	struct image_ref r = { 0 };
	char familiar[800];
	struct fetch *f;
	int status, rc;

	snprintf(r.domain, sizeof(r.domain), "%s", s->domain);
	snprintf(r.path, sizeof(r.path), "%s", s->repo);
	snprintf(pinned ? r.digest : r.tag, pinned ? sizeof(r.digest) : sizeof(r.tag), "%s", tag_or_digest);
	image_ref_familiar(&r, familiar, sizeof(familiar));
	f = session_call_retry(s, &c, &status, e);
	if (!f)
		return -1;
	if (status >= 400) {
		if (status == 401 || status == 403) {
			*r.tag = *r.digest = '\0';
			image_ref_familiar(&r, familiar, sizeof(familiar));
			what = mem_printf("pull access denied for %s, repository does not exist or may require 'docker login'", familiar);
		} else if (status == 404) {
			what = mem_printf("manifest for %s not found", familiar);
		}
		rc = session_refused(s, f, status, what, e);
		if (status == 401 || status == 403)
			e->kind = ERR_NOT_FOUND;	/* docker's status for it */
		fetch_free(f);
		return rc;
	}
	rc = session_body(f, MANIFEST_MAX, text, e);
	if (rc < 0) {
		fetch_free(f);
		return err_wrap(e, "the manifest of %s", familiar);
	}
	digest_of(text->data, text->len, digest);
	if (pinned && !str_eq(digest, tag_or_digest))
		rc = err_set(e, ERR_INTERNAL, "manifest verification failed for digest %s: the registry sent one with the digest %s", tag_or_digest, digest);
	else
		rc = manifest_parse(text->data, text->len, fetch_header(f, "Content-Type", 0), m, e) < 0 ? err_wrap(e, "%s", familiar) : 0;
	fetch_free(f);
	return rc;
}

int session_blob(struct session *s, const struct descriptor *d, size_t limit, struct buf *out, struct err *e)
{
	CLEANUP(mem_freep) char *path = mem_printf("%s/blobs/%s", s->repo, d->digest);
	struct call c = { .method = "GET", .path = path };
	char digest[DIGEST_SIZE];
	struct fetch *f;
	int status, rc;

	if (d->size > limit)
		return err_set(e, ERR_INTERNAL, "the blob %s has %llu bytes, more than %zu", d->digest, (unsigned long long)d->size, limit);
	for (unsigned n = 1;; n++) {
		f = session_call_retry(s, &c, &status, e);
		if (!f)
			return -1;
		rc = status >= 400 ? session_refused(s, f, status, d->digest, e) : session_body(f, limit, out, e);
		if (rc == 0 || status >= 400 || !fetch_transient(f) || n >= s->cfg->attempts)
			break;
		/* Broken mid-way: it is small, so from its start again. */
		fetch_free(f);
		buf_done(out);
		if (!transport_sleep(s->t, s->stop, session_pause(NULL, n)))
			return err_set(e, ERR_UNAVAILABLE, "context canceled");
	}
	fetch_free(f);
	if (rc < 0)
		return -1;
	if (out->len != d->size)
		return err_set(e, ERR_INTERNAL, "the blob %s has %zu bytes, not the %llu that the manifest names", d->digest, out->len,
			       (unsigned long long)d->size);
	digest_of(out->data, out->len, digest);
	if (!str_eq(digest, d->digest))
		return err_set(e, ERR_INTERNAL, "the blob %s is not what the registry sent: that has the digest %s", d->digest, digest);
	return 0;
}
