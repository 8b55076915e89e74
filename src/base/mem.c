/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void *mem_check(void *p)
{
	if (!p)
		abort();
	return p;
}

void *mem_alloc(size_t size)
{
	return mem_check(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size)
{
	return mem_check(calloc(1, size ? size : 1));
}

void *mem_realloc(void *p, size_t size)
{
	return mem_check(realloc(p, size ? size : 1));
}

char *mem_strdup(const char *s)
{
	return s ? mem_check(strdup(s)) : NULL;
}

char *mem_strndup(const char *s, size_t n)
{
	return mem_check(strndup(s, n));
}

char *mem_printf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	va_end(ap);
	return s;
}

void *mem_try(size_t size, size_t limit)
{
	return size > limit ? NULL : malloc(size ? size : 1);
}
