/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_IMAGE_IMAGE_H
#define KEDGE_IMAGE_IMAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"
#include "loop/work.h"
#include "store/store.h"

/*
 * Images: content-addressed configs and layers below <root>/image, names (references) and the index in the store.
 * Layer trees live in <root>/image/layers/<chain>/fs, chain being the hex of the OCI chain ID; a short link <root>/image/l/<short>
 * names each for overlay's option string.
 */
struct images;

struct images *images_new(struct loop *l, struct work_pool *p, struct store *st, const char *root, struct err *e);
void images_free(struct images *im);
/* Events as docker words them ("load", "import", "tag", "untag", "delete"): called after the commit. */
void images_on_event(struct images *im, void (*cb)(void *user, const char *action, const char *id, const char *name), void *user);
/* The engine says which images containers use: returns the id of a container using image_id, or NULL (borrowed). */
void images_set_in_use(struct images *im, const char *(*cb)(void *user, const char *image_id, bool *running), void *user);

struct image;	/* loaded, immutable; owned by images; borrowed within one turn of the loop: look up again later */
/* ref: "name[:tag]", "name@sha256:..", "sha256:..", or an id prefix. e: "No such image: x" (NOT_FOUND), ambiguous prefix (INVALID). */
struct image *image_find(struct images *im, const char *ref, struct err *e);
const char *image_id(const struct image *i);		/* "sha256:<64 hex>" */
const json_t *image_config(const struct image *i);	/* the OCI image config document */
/* Is it one of platform ("os[/arch[/variant]]"; NULL or "": any)? ref is what the user called it. 0, or -1 with e (NOT_FOUND). */
int image_check_platform(const struct image *i, const char *ref, const char *platform, struct err *e);
uint64_t image_bytes(const struct image *i);		/* of all its layers */
const char *image_parent(const struct image *i);	/* id of the image it was built from on this engine, or "" */
/* New reference in the Engine API's shapes: ImageInspect, array of ImageSummary. filters: API filters object or NULL. */
json_t *image_inspect(struct images *im, const struct image *i);
json_t *image_history(struct images *im, const struct image *i);
json_t *image_list(struct images *im, bool all, const json_t *filters, struct err *e);
/* usage.c: bytes of all layers; of an image's layers that other images have too. */
uint64_t images_layers_bytes(struct images *im);
uint64_t image_shared_bytes(struct images *im, const char *id);
size_t images_count(const struct images *im);

/* Layer directories for overlay, bottom first, NULL-terminated, as absolute short paths; the caller frees with strv_free. Pins are the
 * engine's: images_set_in_use. */
char **image_layers(const struct images *im, const struct image *i);

/* Streaming load/import. Feed bytes from the request; progress/result come as docker's JSON messages. */
struct image_load;
struct image_load_ops {
	void (*message)(void *user, const json_t *msg);			/* {"stream": ..} or {"status", "id", "progressDetail"} */
	void (*resume)(void *user);					/* the queue has room again */
	void (*end)(void *user, const struct err *e);			/* once; e NULL: everything is durable */
};
struct image_load *image_load_start(struct images *im, bool quiet, const struct image_load_ops *ops, void *user);
/* import: tar of a root file system becomes an image; ref may be NULL; changes: Dockerfile instructions, NULL-terminated or NULL. */
struct image_load *image_import_start(struct images *im, const char *ref, const char *message, char *const *changes,
				      const struct image_load_ops *ops, void *user, struct err *e);
/* Copies; returns false when the queue is full: stop feeding until resume(). */
bool image_load_feed(struct image_load *ld, const void *p, size_t n);
void image_load_finish(struct image_load *ld);		/* end of input; end() will follow */
void image_load_abort(struct image_load *ld);		/* client gone: end() does not run, nothing becomes visible */

/*
 * A new image: a parent's layers, one more on top, a config. What commit and the steps of a build make. Takes both descriptors in any
 * case. done runs once, from the loop; id is borrowed.
 */
struct image_create_args {
	const char *parent;	/* id or reference; NULL: none ("FROM scratch") */
	int diff_take;		/* directory: an overlay's upper one, with its whiteouts; -1: none */
	int tar_take;		/* or a layer's tar (plain or compressed, OCI whiteouts), read to its end, may be a pipe; -1: none */
	/*
	 * OCI image config, borrowed: "config" is the new image's whole container config. "architecture", "os" and "variant" come from the
	 * parent when they are not given, "created" is now; "rootfs" and "history" are always made here.
	 */
	const json_t *config;
	const char *created_by, *comment, *author;	/* of the history's new entry; NULL: none */
	const char *name;	/* reference that the image gets; NULL: none, it is dangling */
	bool step;		/* on the way to another image: not listed with the others while it has no name */
};
/* Without a diff, or with one that changes nothing, the history's entry is an "empty_layer". */
void image_create(struct images *im, const struct image_create_args *a, void (*done)(void *user, const char *id, const struct err *e), void *user);
/* size_t it = 0; while ((i = image_next(im, &it))): all of them, for a build's cache. */
struct image *image_next(struct images *im, size_t *it);

/* While held an image cannot be removed. Each hold needs its release, by the same id; an image that is gone meanwhile is none of the callers'
 * making (the store lost it) and releases as well. -1 with e: no such image. */
int image_hold(struct images *im, const char *id, struct err *e);
void image_release(struct images *im, const char *id);
uint64_t image_own_bytes(struct images *im, const struct image *i);	/* of the layers that no other image has */
bool image_is_step(const struct images *im, const struct image *i);	/* made on the way, and without a name */

#if defined(__aarch64__)
#define IMAGE_ARCH "arm64"
#else
#define IMAGE_ARCH "amd64"
#endif

/* Pure: a Dockerfile instruction ("EXPOSE 80") on the "config" object of an image: CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER
 * VOLUME WORKDIR. */
int image_change(json_t *config, const char *instruction, struct err *e);

/* How registries are reached; copied. Before the first transfer. Zero and NULL: dockerd's defaults. */
struct image_registries {
	char *const *insecure;		/* "host[:port]" or CIDR: http and certificates nobody knows are taken */
	char *const *mirrors;		/* URLs, tried before docker.io itself */
	char *const *certs;		/* certs.d folders: below them one for each registry, as docker has it, with *.crt (CAs), *.cert and *.key */
	unsigned downloads, uploads;	/* layers at the same time */
	unsigned attempts;		/* for each request */
};
void images_set_registries(struct images *im, const struct image_registries *r);

/*
 * Pulls, pushes and questions to registries. message: docker's JSON messages; end: once, e NULL: all is durable. auth: the X-Registry-Auth
 * header or NULL. NULL with e: not started, no callback.
 */
struct image_transfer;
struct image_transfer_ops {
	void (*message)(void *user, const json_t *msg);
	void (*end)(void *user, const struct err *e);
};
/* tag: a tag or digest that replaces the name's own; when both have none, all tags. platform: "os[/arch[/variant]]" or NULL. */
struct image_transfer *image_pull_start(struct images *im, const char *name, const char *tag, const char *platform, const char *auth,
					const struct image_transfer_ops *ops, void *user, struct err *e);
/* Without a tag: all tags that the repository has here. */
struct image_transfer *image_push_start(struct images *im, const char *name, const char *tag, const char *auth, const struct image_transfer_ops *ops,
					void *user, struct err *e);
/* body: AuthConfig; the one message is {"Status", "IdentityToken"}. */
struct image_transfer *image_login_start(struct images *im, const json_t *body, const struct image_transfer_ops *ops, void *user, struct err *e);
/* The one message is the API's DistributionInspect. */
struct image_transfer *image_distribution_start(struct images *im, const char *ref, const char *auth, const struct image_transfer_ops *ops, void *user,
						struct err *e);
/* The client is gone: no callback any more. What is past the start of its commit takes place. */
void image_transfer_cancel(struct image_transfer *t);

void image_tag(struct images *im, const char *ref, const char *target, void (*done)(void *user, const struct err *e), void *user);
/* docker's rmi rules; result is the API's array of {"Untagged"} / {"Deleted"}, borrowed. */
void image_remove(struct images *im, const char *ref, bool force, bool noprune,
		  void (*done)(void *user, const json_t *result, const struct err *e), void *user);

/* filters: dangling (default true), label, label!, until; or NULL. result: {"ImagesDeleted", "SpaceReclaimed"}, borrowed. */
void images_prune(struct images *im, const json_t *filters, void (*done)(void *user, const json_t *result, const struct err *e), void *user);

/*
 * Images as one archive: docker's layout since version 25, which is an OCI image layout, too. names: "repository" (all its tags),
 * "name:tag", ids. Errors that show before the first byte come without one.
 */
struct image_save;
struct image_save_ops {
	void (*data)(void *user, const void *p, size_t n);	/* borrowed */
	void (*end)(void *user, const struct err *e);		/* once */
};
struct image_save *image_save_start(struct images *im, char *const *names, const struct image_save_ops *ops, void *user, struct err *e);
void image_save_pause(struct image_save *s, bool paused);
void image_save_cancel(struct image_save *s);		/* no callback any more */

#endif
