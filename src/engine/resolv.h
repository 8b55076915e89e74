/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_RESOLV_H
#define KEDGE_ENGINE_RESOLV_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"

/*
 * Pure: a container's /etc/resolv.conf. host: HostConfig with Dns, DnsSearch, DnsOptions; text: the host's own file; nameserver: the one inside, ""
 * when the container asks servers by itself; host_net: it shares the host's network, loopback included.
 */
void resolv_text(const json_t *host, const char *text, const char *nameserver, bool host_net, struct buf *out);

#endif
