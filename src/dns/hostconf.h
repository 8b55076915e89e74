/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DNS_HOSTCONF_H
#define KEDGE_DNS_HOSTCONF_H

#include "loop/loop.h"

/* resolv.conf(5) of the host: the name servers in it, and news when the file changes. */
struct hostconf;
/* changed comes from the loop, when the list of servers is another one than before. */
struct hostconf *hostconf_new(struct loop *l, const char *path, void (*changed)(void *user), void *user);
void hostconf_free(struct hostconf *h);
char *const *hostconf_servers(const struct hostconf *h);	/* borrowed until the next change */

/* Pure: the "nameserver" lines of a file's text; the caller frees the vector (strv_free). Never NULL. */
char **hostconf_parse(const char *text);

#endif
