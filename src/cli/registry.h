/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_REGISTRY_H
#define KEDGE_CLI_REGISTRY_H

#include <stdio.h>

#include "cli/cli.h"

/*
 * A request whose reply is JSON values, one a line; each gets them. headers as in struct http_call_args; fd -1: no body, else what is read
 * from it. 0, or -1 with e (a status from 400 on: "Error response from daemon: ...").
 */
int cli_lines(struct cli *c, const char *method, const char *path, const char *const *headers, int fd, void (*each)(void *user, json_t *msg), void *user,
	      struct err *e);

/* docker's client file (~/.docker/config.json, or in $DOCKER_CONFIG): who one is at which registry. */
#define HUB_SERVER "https://index.docker.io/v1/"
/* The registry a reference names: HUB_SERVER without one. The caller frees. */
char *registry_server(const char *reference);
/* "X-Registry-Auth: ..." for a server, from the file; the caller frees. Never NULL; with e when the file cannot be read. */
char *registry_header(const char *server, struct err *e);
/* Puts credentials in (auth NULL: takes them out). *was (may be NULL): there were some. Durable; mode 0600. */
int registry_store(const char *server, const char *user, const char *password, const char *identity_token, bool *was, struct err *e);
/* The user name kept for a server; NULL: none. The caller frees. */
char *registry_user(const char *server);
char *registry_file(void);
void base64_encode(const void *p, size_t n, bool url, struct buf *out);

/* docker's rendering of progress: on a terminal a line for each id that changes in place, else plain lines. */
struct progress;
struct progress *progress_new(FILE *out, bool terminal);
/* An error in msg is kept for progress_end(). */
void progress_show(struct progress *p, const json_t *msg);
/* 0, or -1 with the error that came in the stream. Frees p. */
int progress_end_take(struct progress *p, struct err *e);

/* pull, as `run` and `create` do it when an image is missing: progress on out (NULL: quiet). */
int registry_pull(struct cli *c, const char *reference, const char *platform, FILE *out, struct err *e);

#endif
