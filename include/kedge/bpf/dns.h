/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef KEDGE_BPF_DNS_H
#define KEDGE_BPF_DNS_H

/*
 * 127.0.0.11 in host byte order, and the port behind its port 53. Above the ports the kernel gives out by itself, so that nothing in a container is in
 * its way but a program that asks for this very number on every address.
 */
#define KEDGE_DNS_ADDR 0x7f00000bu
#define KEDGE_DNS_PORT 61053

#endif
