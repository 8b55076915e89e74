/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_LOGOPT_H
#define KEDGE_ENGINE_LOGOPT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Log drivers and their options. json-file (10 MB in 3 files where nothing else is said: a log must not fill a disk) and local (20 MB in 5, older
 * ones compressed) are files that the container's monitor writes; syslog and journald are sent by it, and, as with docker, kept in
 * a file too so that `logs` can read them, unless cache-disabled says otherwise.
 */
/* Pure but for "is there a journal": HostConfig.LogConfig, with docker's sentences. */
int logopt_check(const json_t *log_config, struct err *e);
/* The engine's own LogConfig out of its options ("key=value"); checked. New reference or NULL with e. */
json_t *logopt_default(const char *driver, char *const *opts, struct err *e);
/* A create request with what is left open of HostConfig.LogConfig filled in from def; new reference. */
json_t *logopt_fill(const json_t *body, const json_t *def);
bool logopt_readable(const json_t *log_config);
extern const char *const logopt_drivers[];	/* NULL-terminated: what can be used on this host */
bool logopt_available(const char *driver);

/* What a container's monitor is told. */
struct log_plan {
	bool file;
	uint64_t max_size;
	unsigned max_files;
	bool compress;
	char *attrs;		/* "\"attrs\":{..}," or NULL */
	char *ship, *address, *format, *tag, *host;	/* ship NULL: nothing is sent */
	int facility;
	char **fields;		/* of the journal: "KEY=value" */
};
struct log_subject {
	const char *id, *name, *image, *image_id, *host;
	const json_t *config;	/* Config: labels and environment */
};
/* After logopt_check(). Resolves no names. */
int logopt_plan(const json_t *log_config, const struct log_subject *s, struct log_plan *ret, struct err *e);
/* Blocking: names in the address become numbers; a socket that is not there is an error. */
int log_plan_resolve(struct log_plan *p, struct err *e);
void log_plan_done(struct log_plan *p);

#endif
