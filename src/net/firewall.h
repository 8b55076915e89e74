/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_NET_FIREWALL_H
#define KEDGE_NET_FIREWALL_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Has the host a firewall that lets in only what it names, or forwards only that? That is: a chain at nftables' input or forward hook (iptables' own ones by
 * iptables-nft count) whose policy is drop, or whose last rule drops or rejects everything. Its name into out ("inet firewall input"). False when there is
 * none, or nftables cannot be asked.
 */
enum firewall_way { FIREWALL_INPUT, FIREWALL_FORWARD };
bool firewall_denies(enum firewall_way way, char *out, size_t size);

#endif
