/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_API_API_PRIV_H
#define KEDGE_API_API_PRIV_H

#include <jansson.h>

#include "api/api.h"
#include "base/buf.h"

enum { API_MINOR_MIN = 24, API_MINOR_MAX = 50 };
#define API_VERSION_MIN "1.24"
#define API_VERSION_MAX "1.50"

/* Output waiting in a connection before its source is told to pause. */
enum { API_QUEUE_HIGH = 1 << 20 };
enum { API_BODY_MAX = 4 << 20, API_LARGE = 256 << 10 };
#define API_TEXT_MAX (SIZE_MAX / 2)	/* of a reply: what the engine has to say has no limit */

struct api {
	struct loop *loop;
	struct engine *engine;
	struct images *images;
	struct volumes *volumes;
	struct builds *builds;
	struct loop_timer *trim;
};

/*
 * One request while something of ours still refers to it. The connection may go (r becomes NULL) while an operation is under
 * way; the operation's done then finds nobody to answer. Each pending operation holds a reference.
 */
struct api_call {
	struct api *api;
	struct http_req *r;		/* NULL: over */
	unsigned refs;
	int minor;			/* API version 1.<minor> */
	char *arg;			/* the path's {name}, or NULL */
	void *op;			/* cancellable operation under way */
	void (*op_cancel)(void *op);	/* called when the client goes */
};

typedef void api_fn(struct api_call *c);

struct api_route {
	const char *method;
	const char *pattern;		/* segments; "*" is one segment, "**" one or more: the argument */
	api_fn *fn;
};

/* One table a resource, ended by an empty entry. */
extern const struct api_route
	api_routes_system[],
	api_routes_containers[],
	api_routes_streams[],
	api_routes_exec[],
	api_routes_registry[],
	api_routes_images[],
	api_routes_networks[],
	api_routes_lab[], api_routes_names[],
	api_routes_stats[],
	api_routes_volumes[],
	api_routes_archive[],
	api_routes_prune[],
	api_routes_build[];

/* Pure. True when path (below the version) fits the pattern; *arg gets the argument or NULL, the caller frees. */
bool api_route_match(const char *pattern, const char *path, char **arg);
/* Pure. Cuts "/v1.NN" off. *minor is API_MINOR_MAX without one; e for a version outside ours. */
int api_version_cut(const char *path, const char **rest, int *minor, struct err *e);

/*
 * A document of n bytes came or goes: a tree of one of megabytes is ten times as long, and the C library keeps what was freed. A while after the last large
 * one the memory goes back to the kernel.
 */
void api_had(struct api *a, size_t n);

struct api_call *api_call_ref(struct api_call *c);
void api_call_unref(struct api_call *c);
/* Replies; nothing happens when the client has gone. */
void api_reply_json(struct api_call *c, int status, json_t *doc_take);
void api_reply_text(struct api_call *c, int status, struct buf *text);	/* JSON; text's memory goes with the reply, it is empty afterwards */
void api_reply_empty(struct api_call *c, int status);
void api_reply_err(struct api_call *c, const struct err *e);
/* Docker's stream of JSON messages, begun by the first one; its end, with the error as status or, once begun, inside the stream. */
void api_stream_message(struct api_call *c, const json_t *msg);
void api_stream_end(struct api_call *c, const struct err *e);
/* POST /images/create with fromImage: registry.c */
void api_image_pull(struct api_call *c);
/* One document of a streamed reply with its end of line, in one chunk: clients take a chunk for a whole message. Returns what is queued. */
size_t api_write_json(struct api_call *c, const json_t *doc, const char *eol);
/* For engine calls: user is a referenced api_call; 204 or the error; drops the reference. */
void api_done_empty(void *user, const struct err *e);
/* The same for calls with a result (borrowed): 200 with it, or the error. */
void api_done_json(void *user, const json_t *result, const struct err *e);
/* The body as a JSON object. may_be_empty: an empty body gives NULL. fn is not called when the body is bad: that is answered. body is borrowed. */
void api_read_json(struct api_call *c, bool may_be_empty, void (*fn)(struct api_call *c, json_t *body));
/* ?filters= as a normalised object {"key": ["value", ...]}; NULL in *ret without one. */
int api_filters(struct api_call *c, json_t **ret, struct err *e);
/* An integer query value; def when absent or empty. */
int api_query_int(struct api_call *c, const char *key, int64_t min, int64_t max, int64_t def, int64_t *ret, struct err *e);
/* ?since= / ?until=; 0 when absent or "0". */
int api_query_time(struct api_call *c, const char *key, int64_t *ret, struct err *e);
/* The stream types of API 1.42 on, and the one before. */
const char *api_stream_type(const struct api_call *c, bool tty);
/*
 * A hijacked connection and the program at its other end (streams.c). It lives from the hijack to the close of the stream; the
 * program's side may end before. at is set by whoever attaches, with api_attach_ops and the struct itself as user.
 */
struct api_attach {
	struct engine_attach *at;
	struct http_stream *stream;
	bool raw, out_paused, in;	/* raw: no frames */
};
extern const struct engine_attach_ops api_attach_ops;
struct api_attach *api_attach_new(bool raw, bool in);
void api_attach_hijack(struct api_call *c, struct api_attach *a_take, const char *type);	/* the request ends here */
/*
 * A reply's body from a source that can be paused (out.c): above API_QUEUE_HIGH it is, until the queue is empty. Embedded by whoever owns the source; alive
 * until end, or until the call is cancelled. type is that of a reply nobody has started before the first data.
 */
struct api_out {
	struct api_call *call;
	const char *type;
	void (*pause)(void *source, bool paused);
	void *source;
	bool paused;
};
void api_out_begin(struct api_out *o, struct api_call *c, const char *type, void (*pause)(void *source, bool paused), void *source);
void api_out_data(struct api_out *o, const void *p, size_t n);
void api_out_end(struct api_out *o, const struct err *e);	/* e NULL: the body is whole */
/* The frame head of a multiplexed stream: stream number, three zeros, length big-endian. */
void api_frame_head(unsigned char head[8], int stream, size_t n);

#endif
