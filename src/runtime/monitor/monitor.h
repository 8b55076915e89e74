/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_MONITOR_H
#define KEDGE_RUNTIME_MONITOR_H

/*
 * kedge-runtime monitor --fd N          one container's monitor; N is a SOCK_SEQPACKET socket to the engine (runtime/proto.h)
 * kedge-runtime monitor --cleanup DIR   ends and removes what a killed monitor left of the container with run directory DIR
 * Returns the process's exit status.
 */
int monitor_main(int argc, char **argv);

#endif
