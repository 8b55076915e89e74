/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_ERR_H
#define KEDGE_BASE_ERR_H

/*
 * The error object: one sentence written where the value at fault is known,
 * and a kind that the API maps to an HTTP status.
 */

enum err_kind {
	ERR_NONE,
	ERR_INVALID,		/* 400: the request is wrong */
	ERR_UNAUTHORIZED,	/* 401 */
	ERR_FORBIDDEN,		/* 403 */
	ERR_NOT_FOUND,		/* 404 */
	ERR_CONFLICT,		/* 409: right request, wrong moment */
	ERR_NOT_MODIFIED,	/* 304: already so */
	ERR_TOO_LARGE,		/* 413 */
	ERR_NOT_IMPLEMENTED,	/* 501 */
	ERR_UNAVAILABLE,	/* 503 */
	ERR_INTERNAL,		/* 500 */
	ERR_KIND_COUNT
};

struct err {
	enum err_kind kind;
	int sys;		/* errno value behind it, 0 if none */
	char msg[1024];		/* one sentence, no newline at its end, valid UTF-8 */
};

/* All return -1, so that "return err_set(...)" reads well. e may be NULL. */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* "<sentence>: <strerror(errnum)>". errnum is positive. ENOENT gives NOT_FOUND only
 * through err_set: the kind is INTERNAL here, a system failure is not the caller's fault. */
int err_errno(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "<context>: " before the sentence; kind and errno stay. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void err_clear(struct err *e);
/* HTTP status for a kind; ERR_NONE gives 200. */
int err_http_status(enum err_kind kind);
/* The other way round, for clients. */
enum err_kind err_kind_of_status(int status);

#endif
