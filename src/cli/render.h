/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_RENDER_H
#define KEDGE_CLI_RENDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* How values look to a docker user: pure, bytes in, text out. */

/* "12.3MB": powers of 1000, three significant digits. Appends. */
void render_size(struct buf *out, double bytes);
/* "1.5GiB": powers of 1024, as `info` and `stats` show memory. */
void render_size_binary(struct buf *out, double bytes);
/* "5 minutes ago" for a point in seconds since 1970, seen at now. */
void render_ago(struct buf *out, int64_t then, int64_t now);
/* Go's Time.String() in the local zone: "2024-01-02 03:04:05 +0000 UTC". */
void render_time(struct buf *out, int64_t seconds);
/* RFC 3339 in the local zone with nine digits, as events and logs show it. */
void render_time_nano(struct buf *out, int64_t ns);
/* Go's encoding/json, keys in the order they came. html: '<', '>', '&' as \u00XX. */
void render_json(struct buf *out, const json_t *v, bool html);
/* Go's %v of a value: map[a:1 b:2], [x y], <nil>. */
void render_value(struct buf *out, const json_t *v);
/* Go's json.Indent: valid JSON text laid out anew, its tokens untouched. */
void render_indent(struct buf *out, const char *json, size_t n, const char *indent);
/* At most max columns, the last one "…" when something was cut. */
void render_ellipsis(struct buf *out, const char *s, size_t max);
/* "0.0.0.0:8080->80/tcp, 443/tcp" from a container's Ports. */
void render_ports(struct buf *out, const json_t *ports);
/* Go's strconv.Quote. */
void render_quote(struct buf *out, const char *s);

/*
 * Tab-separated lines to aligned columns, by Go's text/tabwriter rules as docker sets them: cells at least ten wide,
 * three spaces between, a column ends where a line does not reach it, the last cell of a line is left alone.
 */
void render_table(struct buf *out, const char *text, size_t n);
/* The same with cells at least twenty wide, as top has them. */
void render_table_wide(struct buf *out, const char *text, size_t n);

/* Columns a UTF-8 string takes, counting code points. */
size_t render_width(const char *s, size_t n);

#endif
