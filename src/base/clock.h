/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_CLOCK_H
#define KEDGE_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* The seams: time, randomness and failures come from here and can be replaced in tests. */
int64_t clock_now(void);		/* monotonic nanoseconds (CLOCK_BOOTTIME) */
int64_t clock_wall(void);		/* nanoseconds since 1970, UTC */

struct clock_ops {
	int64_t (*now)(void *user);
	int64_t (*wall)(void *user);
	void (*random)(void *user, void *p, size_t n);
	void *user;
};
/* NULL: the real ones. ops is borrowed for the process's life. Not thread-safe. */
void clock_replace(const struct clock_ops *ops);

void rand_bytes(void *p, size_t n);	/* getrandom(2) quality */
uint32_t rand_u32(void);
uint64_t rand_below(uint64_t n);	/* uniform in [0, n), n > 0 */

/*
 * Failure points: FAULT("store.commit") is 0 in production at the cost of one load. In a test,
 * fault_arm("store.commit", nth, err) lets its nth pass fail with -err, or kills the process with
 * SIGKILL when err is FAULT_KILL. KEDGE_FAULT="name:nth:err|kill" in the environment arms it
 * at start when the program calls fault_init().
 */
enum { FAULT_KILL = -1 };
extern int fault_armed;
void fault_init(void);
void fault_arm(const char *name, unsigned nth, int err);
int fault_hit(const char *name);
#define FAULT(name) (__builtin_expect(fault_armed, 0) ? fault_hit(name) : 0)

#endif
