/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const int err_status[] = {
	[ERR_NONE] = 200, [ERR_INVALID] = 400, [ERR_UNAUTHORIZED] = 401, [ERR_FORBIDDEN] = 403,
	[ERR_NOT_FOUND] = 404, [ERR_CONFLICT] = 409, [ERR_NOT_MODIFIED] = 304, [ERR_TOO_LARGE] = 413,
	[ERR_NOT_IMPLEMENTED] = 501, [ERR_UNAVAILABLE] = 503, [ERR_INTERNAL] = 500,
};
static_assert(sizeof(err_status) / sizeof(err_status[0]) == ERR_KIND_COUNT, "a status for every kind");

static int err_put(struct err *e, enum err_kind kind, int sys, const char *fmt, va_list ap)
{
	if (!e)
		return -1;
	e->kind = kind;
	e->sys = sys;
	(void)vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	return -1;
}

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)err_put(e, kind, 0, fmt, ap);
	va_end(ap);
	return -1;
}

int err_errno(struct err *e, int errnum, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (!e)
		return -1;
	va_start(ap, fmt);
	(void)err_put(e, ERR_INTERNAL, errnum, fmt, ap);
	va_end(ap);
	len = strlen(e->msg);
	(void)snprintf(e->msg + len, sizeof(e->msg) - len, ": %s", strerrordesc_np(errnum) ? strerrordesc_np(errnum) : "unknown error");
	return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char old[sizeof(e->msg)];
	va_list ap;
	size_t len;

	if (!e)
		return -1;
	memcpy(old, e->msg, sizeof(old));
	va_start(ap, fmt);
	(void)vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	len = strlen(e->msg);
	(void)snprintf(e->msg + len, sizeof(e->msg) - len, ": %.*s", (int)sizeof(old) - 1, old);
	return -1;
}

void err_clear(struct err *e)
{
	e->kind = ERR_NONE;
	e->sys = 0;
	e->msg[0] = '\0';
}

int err_http_status(enum err_kind kind)
{
	return kind < ERR_KIND_COUNT ? err_status[kind] : 500;
}

enum err_kind err_kind_of_status(int status)
{
	for (int k = 0; k < ERR_KIND_COUNT; k++)
		if (err_status[k] == status)
			return k;
	return status >= 400 && status < 500 ? ERR_INVALID : ERR_INTERNAL;
}
