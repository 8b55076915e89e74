/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_MEM_H
#define KEDGE_BASE_MEM_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Small, fixed sizes: these abort when memory is out (state survives a kill, containers
 * survive the engine). A size that came from outside goes through mem_try().
 */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_realloc(void *p, size_t size);
char *mem_strdup(const char *s);		/* NULL stays NULL */
char *mem_strndup(const char *s, size_t n);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* NULL when there is no memory or size > limit. */
void *mem_try(size_t size, size_t limit);

#define CLEANUP(fn) __attribute__((cleanup(fn)))
/* Hands ownership on: yields the value and leaves NULL / -1 behind. */
#define TAKE(p) ({ __typeof__(p) *take_ = &(p); __typeof__(p) val_ = *take_; *take_ = NULL; val_; })
#define TAKE_FD(fd) ({ int *take_ = &(fd); int val_ = *take_; *take_ = -1; val_; })
#define N(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

static inline void mem_freep(void *pp)
{
	free(*(void **)pp);
}

static inline void fd_closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

#endif
