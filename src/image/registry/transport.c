/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "image/registry/transport.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/registry/curl_lib.h"

/*
 * Theory of operation
 *
 *   worker: fetch_start ──post──► loop: curl_multi_add_handle, sockets and timer of curl as loop_io and loop_timer
 *   worker: fetch_head, fetch_read ◄── queue under one lock ── write callback (returns PAUSE when the queue is full; a reader resumes it)
 *   worker: fetch_write ── queue ──► read callback (PAUSE when it is empty; a writer resumes it)
 *
 * A fetch has two references: the worker's and the loop's. The loop's goes when curl is done with it or when the worker has given it up
 * (a post says so). curl's handles are touched on the loop's thread only, and never removed inside one of curl's callbacks.
 *
 * When the last request is over, connections are kept for IDLE_NS and then curl's whole multi handle goes: an idle engine holds none of
 * its memory and no sockets. HTTP/1.1 only: a paused HTTP/2 stream makes curl buffer up to its window of 32 MiB.
 */
enum {
	QUEUE_MAX = 1024 * 1024,	/* bytes of one reply (or request) that wait for the worker (or the socket) */
	HEADERS_MAX = 64 * 1024,
	REDIRECTS_MAX = 10,
	CONNECT_S = 15,
	STALL_S = 60,			/* without a byte, though we listen */
	STALL_UPLOAD_S = 300,		/* a registry may look through all that it got before it answers */
	CURL_BUFFER = 256 * 1024,
};
#define IDLE_NS ((int64_t)10 * 1000000000)

struct piece {
	struct piece *next;
	size_t n, at;
	char data[];
};

struct queue {
	struct piece *first, **last;
	size_t bytes;
};

struct transport {
	struct loop *loop;
	pthread_mutex_t lock;
	pthread_cond_t sleepers;
	struct fetch *all;
	/* loop thread */
	CURLM *multi;
	struct loop_timer *timer, *idle;
	unsigned running;
	bool collecting;
};

struct fetch {
	struct transport *t;
	struct fetch *next;
	unsigned refs;
	/* fixed at start */
	char *method, *url, *body;
	size_t len;
	struct curl_slist *headers;
	char **certs;
	bool stream, insecure;
	const bool *stop;
	/* loop thread */
	CURL *easy;
	char why[CURL_ERROR_SIZE];
	size_t header_bytes;
	/* under the transport's lock */
	pthread_cond_t cond;
	struct queue in, out;
	bool in_paused, out_paused, out_end, given_up, headed, done, deaf;
	int status;
	char **reply;		/* header lines; not changed after headed */
	CURLcode code;
	bool over;		/* more bytes of headers than we take */
};

static void queue_init(struct queue *q)
{
	q->last = &q->first;
}

static void queue_add(struct queue *q, const void *p, size_t n)
{
	struct piece *c = mem_alloc(sizeof(*c) + n);

	c->next = NULL;
	c->n = n;
	c->at = 0;
	memcpy(c->data, p, n);
	*q->last = c;
	q->last = &c->next;
	q->bytes += n;
}

static size_t queue_take(struct queue *q, void *p, size_t n)
{
	size_t took = 0;

	while (took < n && q->first) {
		struct piece *c = q->first;
		size_t k = c->n - c->at < n - took ? c->n - c->at : n - took;

		memcpy((char *)p + took, c->data + c->at, k);
		c->at += k;
		took += k;
		q->bytes -= k;
		if (c->at < c->n)
			break;
		q->first = c->next;
		if (!q->first)
			q->last = &q->first;
		free(c);
	}
	return took;
}

static void queue_done(struct queue *q)
{
	struct piece *c;

	while ((c = q->first)) {
		q->first = c->next;
		free(c);
	}
	queue_init(q);
	q->bytes = 0;
}

/* With the lock. */
static void fetch_unref(struct fetch *f)
{
	struct fetch **at = &f->t->all;

	if (--f->refs)
		return;
	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	queue_done(&f->in);
	queue_done(&f->out);
	strv_free(f->reply);
	strv_free(f->certs);
	if (f->headers)
		curl_slist_free_all(f->headers);
	pthread_cond_destroy(&f->cond);
	free(f->method);
	free(f->url);
	free(f->body);
	free(f);
}

/* curl's callbacks: loop thread, inside curl. */

static size_t on_header(char *p, size_t size, size_t n, void *user)
{
	struct fetch *f = user;
	CLEANUP(mem_freep) char *line = NULL;
	long status = 0;
	size_t len = n *= size;

	while (len && strchr("\r\n", p[len - 1]))
		len--;
	pthread_mutex_lock(&f->t->lock);
	f->header_bytes += n;
	if (f->headed) {
		;	/* trailers: nobody asks for them, and the worker may be reading what there is */
	} else if (f->header_bytes > HEADERS_MAX) {
		f->over = true;
		n = 0;
	} else if (len > 5 && !strncmp(p, "HTTP/", 5)) {
		/* A reply's first line; what came before it was a redirect or an interim reply. */
		strv_free(f->reply);
		f->reply = NULL;
	} else if (len) {
		line = mem_strndup(p, len);
		f->reply = strv_add(f->reply, line);
	} else {
		char *to = NULL;

		curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
		for (char **h = f->reply; h && *h; h++)
			if (!strncasecmp(*h, "location:", 9))
				to = *h;
		if (status >= 200 && !(to && status >= 300 && status < 400 && (str_eq(f->method, "GET") || str_eq(f->method, "HEAD")))) {
			f->status = (int)status;
			f->headed = true;
			pthread_cond_broadcast(&f->cond);
		}
	}
	pthread_mutex_unlock(&f->t->lock);
	return n;
}

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
	struct fetch *f = user;

	n *= size;
	pthread_mutex_lock(&f->t->lock);
	if (f->given_up) {
		n = 0;
	} else if (!f->headed) {
		;	/* the body of a redirect */
	} else if (f->in.bytes >= QUEUE_MAX) {
		f->in_paused = true;
		n = CURL_WRITEFUNC_PAUSE;
	} else {
		queue_add(&f->in, p, n);
		pthread_cond_broadcast(&f->cond);
	}
	pthread_mutex_unlock(&f->t->lock);
	return n;
}

static size_t on_upload(char *p, size_t size, size_t n, void *user)
{
	struct fetch *f = user;
	size_t got;

	pthread_mutex_lock(&f->t->lock);
	got = queue_take(&f->out, p, n * size);
	if (f->given_up) {
		got = CURL_READFUNC_ABORT;
	} else if (!got && !f->out_end) {
		f->out_paused = true;
		got = CURL_READFUNC_PAUSE;
	} else if (f->out.bytes < QUEUE_MAX / 2) {
		pthread_cond_broadcast(&f->cond);
	}
	pthread_mutex_unlock(&f->t->lock);
	return got;
}

/* The registry's own CAs beside the system's. */
static CURLcode on_ssl(CURL *easy, void *ctx, void *user)
{
	struct fetch *f = user;

	(void)easy;
	for (char **dir = f->certs; dir && *dir; dir++) {
		DIR *d = opendir(*dir);
		struct dirent *de;

		while (d && (de = readdir(d))) {
			CLEANUP(mem_freep) char *path = mem_printf("%s/%s", *dir, de->d_name), *key = NULL;

			if (str_ends(de->d_name, ".crt")) {
				if (!X509_STORE_load_file(SSL_CTX_get_cert_store(ctx), path)) {
					snprintf(f->why, sizeof(f->why), "%s holds no certificate", path);
					closedir(d);
					return CURLE_SSL_CACERT_BADFILE;
				}
			} else if (str_ends(de->d_name, ".cert")) {
				key = mem_printf("%.*skey", (int)(strlen(path) - strlen("cert")), path);
				if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1 || SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
					snprintf(f->why, sizeof(f->why), "%s and its .key are no certificate with its key", path);
					closedir(d);
					return CURLE_SSL_CERTPROBLEM;
				}
			}
		}
		if (d)
			closedir(d);
	}
	return CURLE_OK;
}

/* Requests that curl is done with. Loop thread, outside of curl. */

static void settle(struct fetch *f, CURLcode code)
{
	struct transport *t = f->t;

	if (f->easy) {
		curl_multi_remove_handle(t->multi, f->easy);
		curl_easy_cleanup(f->easy);
		f->easy = NULL;
		t->running--;
	}
	pthread_mutex_lock(&t->lock);
	f->done = true;
	f->code = code;
	pthread_cond_broadcast(&f->cond);
	fetch_unref(f);
	pthread_mutex_unlock(&t->lock);
	if (!t->running)
		loop_timer_set(t->idle, IDLE_NS);
}

static void collect(void *user)
{
	struct transport *t = user;
	CURLMsg *m;
	int left;

	t->collecting = false;
	while (t->multi && (m = curl_multi_info_read(t->multi, &left))) {
		struct fetch *f = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&f);
		settle(f, m->data.result);
	}
}

static void collect_later(struct transport *t)
{
	if (t->collecting)
		return;
	t->collecting = true;
	loop_defer(t->loop, collect, t);
}

static void on_io(void *user, unsigned events);

struct watch {
	struct transport *t;
	struct loop_io *io;
	int fd;
};

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *have)
{
	struct transport *t = user;
	struct watch *w = have;
	unsigned events = (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w)
			loop_io_free(w->io);
		free(w);
		curl_multi_assign(t->multi, fd, NULL);
		return 0;
	}
	if (!w) {
		w = mem_zalloc(sizeof(*w));
		w->t = t;
		w->fd = fd;
		w->io = loop_io_new(t->loop, fd, events, on_io, w);
		curl_multi_assign(t->multi, fd, w);
	} else {
		loop_io_set(w->io, events);
	}
	return 0;
}

static void on_io(void *user, unsigned events)
{
	struct watch *w = user;
	struct transport *t = w->t;
	int running;

	curl_multi_socket_action(t->multi, w->fd, (events & LOOP_READ ? CURL_CSELECT_IN : 0) | (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0), &running);
	collect_later(t);
}

static void on_timer(void *user)
{
	struct transport *t = user;
	int running;

	if (!t->multi)
		return;
	curl_multi_socket_action(t->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect_later(t);
}

static int on_timeout(CURLM *multi, long ms, void *user)
{
	struct transport *t = user;

	(void)multi;
	if (ms < 0)
		loop_timer_stop(t->timer);
	else
		loop_timer_set(t->timer, (int64_t)ms * 1000000);
	return 0;
}

static void on_idle(void *user)
{
	struct transport *t = user;

	if (t->running || !t->multi)
		return;
	curl_multi_cleanup(t->multi);
	t->multi = NULL;
	loop_timer_stop(t->timer);
}

static int multi_start(struct transport *t)
{
	if (t->multi)
		return 0;
	if (!curl_lib_load())
		return -1;
	t->multi = curl_multi_init();
	if (!t->multi)
		return -1;
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
	curl_multi_setopt(t->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	return 0;
}

static void set_options(struct fetch *f)
{
	CURL *c = f->easy;
	bool get = str_eq(f->method, "GET"), head = str_eq(f->method, "HEAD"), https = str_starts(f->url, "https:");

	curl_easy_setopt(c, CURLOPT_PRIVATE, f);
	curl_easy_setopt(c, CURLOPT_URL, f->url);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, f->why);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	/* What began with TLS does not go on without it. */
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, https && !f->insecure ? "https" : "http,https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, get || head ? 1L : 0L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, get || head ? (long)STALL_S : (long)STALL_UPLOAD_S);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long)CURL_BUFFER);
	curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, (long)CURL_BUFFER);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "kedge/" PACKAGE_VERSION);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, f);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, f->headers);
	if (head) {
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	} else if (f->stream) {
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_READFUNCTION, on_upload);
		curl_easy_setopt(c, CURLOPT_READDATA, f);
	} else if (!get) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->len);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, f->body ? f->body : "");
	}
	if (!get && !head)
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, f->method);
	if (f->insecure) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	/* The folder of hashed names is looked into as needed; reading the bundle would stall the loop at each connection. */
	if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) == 0) {
		curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
		curl_easy_setopt(c, CURLOPT_CAPATH, "/etc/ssl/certs");
	}
	if (f->certs) {
		curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, on_ssl);
		curl_easy_setopt(c, CURLOPT_SSL_CTX_DATA, f);
	}
}

static void begin(void *user)
{
	struct fetch *f = user;
	struct transport *t = f->t;
	bool gone;

	pthread_mutex_lock(&t->lock);
	gone = f->given_up;
	pthread_mutex_unlock(&t->lock);
	loop_timer_stop(t->idle);
	if (gone || multi_start(t) < 0 || !(f->easy = curl_easy_init())) {
		settle(f, gone ? CURLE_ABORTED_BY_CALLBACK : CURLE_OUT_OF_MEMORY);
		return;
	}
	set_options(f);
	t->running++;
	if (curl_multi_add_handle(t->multi, f->easy) != CURLM_OK)
		settle(f, CURLE_OUT_OF_MEMORY);
}

/* Posts of workers; each holds a reference. */

static void post_unref(struct fetch *f)
{
	struct transport *t = f->t;

	pthread_mutex_lock(&t->lock);
	fetch_unref(f);
	pthread_mutex_unlock(&t->lock);
}

static void resume(void *user)
{
	struct fetch *f = user;

	if (f->easy) {
		curl_easy_pause(f->easy, CURLPAUSE_CONT);
		collect_later(f->t);
	}
	post_unref(f);
}

static void kill_fetch(void *user)
{
	struct fetch *f = user;

	if (f->easy)
		settle(f, CURLE_ABORTED_BY_CALLBACK);
	post_unref(f);
}

/* With the lock. */
static void post(struct fetch *f, void (*fn)(void *user))
{
	f->refs++;
	loop_post(f->t->loop, fn, f);
}

struct fetch *fetch_start(struct transport *t, const struct fetch_args *a)
{
	struct fetch *f = mem_zalloc(sizeof(*f));

	f->t = t;
	f->refs = 2;
	f->method = mem_strdup(a->method);
	f->url = mem_strdup(a->url);
	f->stream = a->stream;
	f->insecure = a->insecure;
	f->stop = a->stop;
	if (a->body) {
		f->body = mem_alloc(a->len + 1);
		memcpy(f->body, a->body, a->len);
		f->len = a->len;
	}
	/* Here, because it takes a while: this is a worker. Without it begin() will fail. */
	if (curl_lib_load()) {
		for (char *const *h = a->headers; h && *h; h++)
			f->headers = curl_slist_append(f->headers, *h);
		f->headers = curl_slist_append(f->headers, "Expect:");
	}
	for (char *const *d = a->certs; d && *d; d++)
		f->certs = strv_add(f->certs, *d);
	queue_init(&f->in);
	queue_init(&f->out);
	pthread_cond_init(&f->cond, NULL);
	pthread_mutex_lock(&t->lock);
	f->next = t->all;
	t->all = f;
	loop_post(t->loop, begin, f);
	pthread_mutex_unlock(&t->lock);
	return f;
}

static bool stopped(const struct fetch *f)
{
	return f->stop && *f->stop;
}

static int stop_error(struct err *e)
{
	return err_set(e, ERR_UNAVAILABLE, "context canceled");
}

/* With the lock, after done with a failure. */
static int code_error(const struct fetch *f, struct err *e)
{
	char verb[16];

	snprintf(verb, sizeof(verb), "%c%s", f->method[0], f->method + 1);
	for (char *p = verb + 1; *p; p++)
		*p |= 0x20;
	if (f->over)
		return err_set(e, ERR_INTERNAL, "%s \"%.300s\": the reply has more than 64 KiB of headers", verb, f->url);
	return err_set(e, ERR_INTERNAL, "%s \"%.300s\": %.400s", verb, f->url, *f->why ? f->why : curl_lib_load() ? curl_easy_strerror(f->code) : "libcurl cannot be loaded");
}

int fetch_head(struct fetch *f, struct err *e)
{
	int rc;

	pthread_mutex_lock(&f->t->lock);
	while (!f->headed && !f->done && !stopped(f))
		pthread_cond_wait(&f->cond, &f->t->lock);
	rc = stopped(f) ? stop_error(e) : f->headed ? f->status : code_error(f, e);
	pthread_mutex_unlock(&f->t->lock);
	return rc;
}

ssize_t fetch_read(struct fetch *f, void *p, size_t n, struct err *e)
{
	ssize_t got;

	pthread_mutex_lock(&f->t->lock);
	while (!f->in.first && !f->done && !stopped(f))
		pthread_cond_wait(&f->cond, &f->t->lock);
	if (stopped(f)) {
		got = stop_error(e);
	} else {
		got = (ssize_t)queue_take(&f->in, p, n);
		if (f->in_paused && f->in.bytes < QUEUE_MAX / 2) {
			f->in_paused = false;
			post(f, resume);
		}
		if (!got && f->code != CURLE_OK)
			got = code_error(f, e);
	}
	pthread_mutex_unlock(&f->t->lock);
	return got;
}

int fetch_write(struct fetch *f, const void *p, size_t n, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&f->t->lock);
	while (f->out.bytes >= QUEUE_MAX && !f->done && !stopped(f))
		pthread_cond_wait(&f->cond, &f->t->lock);
	if (stopped(f)) {
		rc = stop_error(e);
	} else if (f->done) {
		rc = f->code != CURLE_OK ? code_error(f, e) : err_set(e, ERR_INTERNAL, "Patch \"%.300s\": the reply came before the end of the body", f->url);
	} else {
		queue_add(&f->out, p, n);
		if (f->out_paused) {
			f->out_paused = false;
			post(f, resume);
		}
	}
	pthread_mutex_unlock(&f->t->lock);
	return rc;
}

void fetch_finish(struct fetch *f)
{
	pthread_mutex_lock(&f->t->lock);
	f->out_end = true;
	if (f->out_paused) {
		f->out_paused = false;
		post(f, resume);
	}
	pthread_mutex_unlock(&f->t->lock);
}

const char *fetch_header(const struct fetch *f, const char *name, size_t nth)
{
	size_t n = strlen(name);

	for (char **h = f->reply; h && *h; h++)
		if (!strncasecmp(*h, name, n) && (*h)[n] == ':' && !nth--)
			return *h + n + 1 + strspn(*h + n + 1, " \t");
	return NULL;
}

bool fetch_transient(const struct fetch *f)
{
	switch (f->code) {
	case CURLE_OK:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
	case CURLE_TOO_MANY_REDIRECTS:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_ABORTED_BY_CALLBACK:
		return false;
	default:
		return true;
	}
}

void fetch_free(struct fetch *f)
{
	struct transport *t;

	if (!f)
		return;
	t = f->t;
	pthread_mutex_lock(&t->lock);
	f->given_up = true;
	f->stop = NULL;
	if (!f->done)
		post(f, kill_fetch);
	fetch_unref(f);
	pthread_mutex_unlock(&t->lock);
}

void transport_stop(struct transport *t, bool *flag)
{
	pthread_mutex_lock(&t->lock);
	*flag = true;
	for (struct fetch *f = t->all; f; f = f->next)
		pthread_cond_broadcast(&f->cond);
	pthread_cond_broadcast(&t->sleepers);
	pthread_mutex_unlock(&t->lock);
}

void transport_restart(struct transport *t, bool *flag, const bool *unless)
{
	pthread_mutex_lock(&t->lock);
	if (!*unless)
		*flag = false;
	pthread_mutex_unlock(&t->lock);
}

bool transport_stopped(struct transport *t, const bool *flag)
{
	bool is;

	pthread_mutex_lock(&t->lock);
	is = *flag;
	pthread_mutex_unlock(&t->lock);
	return is;
}

bool transport_sleep(struct transport *t, const bool *stop, int64_t ns)
{
	struct timespec until;
	bool go;

	clock_gettime(CLOCK_MONOTONIC, &until);
	ns += until.tv_nsec;
	until.tv_sec += ns / 1000000000;
	until.tv_nsec = ns % 1000000000;
	pthread_mutex_lock(&t->lock);
	while (!*stop && pthread_cond_timedwait(&t->sleepers, &t->lock, &until) != ETIMEDOUT)
		;
	go = !*stop;
	pthread_mutex_unlock(&t->lock);
	return go;
}

struct transport *transport_new(struct loop *l)
{
	struct transport *t = mem_zalloc(sizeof(*t));
	pthread_condattr_t ca;

	t->loop = l;
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&t->sleepers, &ca);
	pthread_condattr_destroy(&ca);
	t->timer = loop_timer_new(l, on_timer, t);
	t->idle = loop_timer_new(l, on_idle, t);
	return t;
}

void transport_free(struct transport *t)
{
	struct fetch *f, *next;

	if (!t)
		return;
	loop_forget(t->loop, collect, t);
	for (f = t->all; f; f = next) {
		next = f->next;
		loop_forget(t->loop, begin, f);
		loop_forget(t->loop, resume, f);
		loop_forget(t->loop, kill_fetch, f);
		if (f->easy) {
			curl_multi_remove_handle(t->multi, f->easy);
			curl_easy_cleanup(f->easy);
		}
		f->refs = 1;
		fetch_unref(f);
	}
	if (t->multi)
		curl_multi_cleanup(t->multi);
	loop_timer_free(t->timer);
	loop_timer_free(t->idle);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->sleepers);
	free(t);
}
