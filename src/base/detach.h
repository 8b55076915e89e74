/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_DETACH_H
#define KEDGE_BASE_DETACH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* Key sequence that leaves a terminal, in docker's words: "ctrl-p,ctrl-q". Client and engine both look for it. */
struct detach_keys {
	unsigned char keys[16];
	size_t n, seen;
};
/* spec NULL or "": ctrl-p,ctrl-q. */
int detach_parse(struct detach_keys *k, const char *spec, struct err *e);
/* Bytes to send on are put into out (held back while they may begin the sequence). True: the sequence is complete. */
bool detach_feed(struct detach_keys *k, const unsigned char *p, size_t n, struct buf *out);

#endif
