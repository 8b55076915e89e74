/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_SPEC_H
#define KEDGE_CLI_SPEC_H

#include <jansson.h>

#include "base/err.h"

/* The small languages inside of docker's flags, to the JSON of a create request. Outputs are added to, also in part on an error. */

/* "[[ip:]host:]container[/proto]" with ranges, or "published=8080,target=80,protocol=tcp". */
int spec_publish(const char *text, json_t *exposed, json_t *bindings, struct err *e);
/* "80", "80/udp", "80-90". */
int spec_expose(const char *text, json_t *exposed, struct err *e);
/* "src:dst[:opts]" to binds, "dst" to volumes. */
int spec_volume(const char *text, json_t *binds, json_t *volumes, struct err *e);
/* "type=bind,source=/a,target=/b,readonly". */
int spec_mount(const char *text, json_t *mounts, struct err *e);
int spec_restart(const char *text, json_t **ret, struct err *e);
int spec_ulimit(const char *text, json_t *ulimits, struct err *e);
int spec_device(const char *text, json_t *devices, struct err *e);
/* "/dev/sda:1mb" and "/dev/sda:1000" to {"Path", "Rate"}; "/dev/sda:200" to {"Path", "Weight"}. */
int spec_throttle_bytes(const char *text, json_t *devices, struct err *e);
int spec_throttle_number(const char *text, json_t *devices, struct err *e);
int spec_weight(const char *text, json_t *devices, struct err *e);
/* "K=V", or "K": the value this process has. */
int spec_env(const char *text, json_t *env, struct err *e);
int spec_env_file(const char *path, json_t *env, struct err *e);
/* "k=v" or "k" (empty value). */
int spec_label(const char *text, json_t *labels, struct err *e);
int spec_label_file(const char *path, json_t *labels, struct err *e);
/* "name:address". */
int spec_host(const char *text, json_t *hosts, struct err *e);
/* The fields of a line of comma-separated values (RFC 4180); the caller frees. */
char **spec_csv(const char *text);
/* errno's text as Go writes it: "no such file or directory". */
const char *spec_errno(int code);
/* For flags: the reason only. */
int spec_check_env(const char *text, struct err *why);
int spec_check_mount(const char *text, struct err *why);
int spec_check_ulimit(const char *text, struct err *why);
int spec_check_host(const char *text, struct err *why);
int spec_check_address(const char *text, struct err *why);
int spec_check_sysctl(const char *text, struct err *why);
int spec_check_attach(const char *text, struct err *why);
/* A JSON string, or an error when text is not UTF-8. NULL with e. */
json_t *spec_text(const char *text, struct err *e);

#endif
