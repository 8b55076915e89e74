/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_DYLIB_H
#define KEDGE_BASE_DYLIB_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Libraries that are loaded when they are first needed, because most processes never do and loading them costs more than all else: OpenSSL takes two
 * milliseconds of each command of the CLI and two megabytes of an engine.
 *
 * The library's functions are defined in a file of ours, under their own names, from one list. F(type, name, (parameters), (arguments), failed) and
 * V(name, (parameters), (arguments)) for those without a result. F loads the library and is "failed" if there is none; V does nothing before it is
 * loaded: there can be no object to do it to.
 *
 *   #define FUNCTIONS(F, V) \
 *           F(int, foo_run, (struct foo *a, int b), (a, b), -1) \
 *           V(foo_free, (struct foo *a), (a))
 *   DYLIB(foo, "libfoo.so.1", FUNCTIONS)
 *   FUNCTIONS(FOO_F, FOO_V)
 */
struct dylib {
	const char *soname;
	const char *const *names;
	void **at;		/* of the table of pointers; all set or none */
	size_t n;
	pthread_mutex_t lock;
	bool tried, loaded;
};

/* Any thread; once: a library that was not there is not looked for again. It stays loaded. */
bool dylib_load(struct dylib *d);

#define DYLIB_SLOT_F(type, name, params, args, failed) __typeof__(name) *name;
#define DYLIB_SLOT_V(name, params, args) __typeof__(name) *name;
#define DYLIB_NAME_F(type, name, params, args, failed) #name,
#define DYLIB_NAME_V(name, params, args) #name,

/* The table <lib>_lib and the list of what goes where in it. */
#define DYLIB(lib, so, functions) \
	static struct { functions(DYLIB_SLOT_F, DYLIB_SLOT_V) } lib##_lib; \
	static const char *const lib##_names[] = { functions(DYLIB_NAME_F, DYLIB_NAME_V) }; \
	static struct dylib lib##_dylib = { .soname = so, .names = lib##_names, .at = (void **)&lib##_lib, .n = sizeof(lib##_names) / sizeof(*lib##_names), \
					    .lock = PTHREAD_MUTEX_INITIALIZER };

/* For #define FOO_F(...) DYLIB_DEFINE_F(foo, __VA_ARGS__) and the like: the functions. */
#define DYLIB_DEFINE_F(lib, type, name, params, args, failed) \
	type name params \
	{ \
		return dylib_load(&lib##_dylib) ? lib##_lib.name args : failed; \
	}
#define DYLIB_DEFINE_V(lib, name, params, args) \
	void name params \
	{ \
		if (lib##_lib.name) \
			lib##_lib.name args; \
	}

#endif
