/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_CGSTAT_H
#define KEDGE_ENGINE_CGSTAT_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * The counters of a control group as the Engine API's cpu_stats, memory_stats, blkio_stats and pids_stats: version 1 and 2, with the
 * numbers dockerd takes from them. Reads files of /sys/fs/cgroup: the kernel may have to add up counters of many CPUs, so this is
 * for a pool thread. New references; what cannot be read is zero or missing, as with dockerd.
 */
struct cgstat {
	json_t *cpu, *memory, *blkio, *pids;
};

/* cgroup: the container's cgroupsPath ("/kedge/<id>"). mem_total: of the machine, in bytes; no limit is shown as that. */
void cgstat_read(const char *cgroup, uint64_t mem_total, struct cgstat *ret);
void cgstat_done(struct cgstat *s);

/* Pure, for the tests: text of a file into the object. */
void cgstat_flat(json_t *into, const char *text);			/* "key number" lines */
void cgstat_blkio_v1(json_t *list, const char *text);			/* "8:0 Read 123" lines */
void cgstat_io_v2(json_t *bytes, json_t *ios, const char *text);	/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 ..." lines */
uint64_t cgstat_system_cpu(const char *proc_stat, long hz);		/* nanoseconds of all CPUs, as docker sums them */

#endif
