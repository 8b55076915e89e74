/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static const struct clock_ops *ops;

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_now(void)
{
	return ops && ops->now ? ops->now(ops->user) : read_clock(CLOCK_BOOTTIME);
}

int64_t clock_wall(void)
{
	return ops && ops->wall ? ops->wall(ops->user) : read_clock(CLOCK_REALTIME);
}

void clock_replace(const struct clock_ops *o)
{
	ops = o;
}

void rand_bytes(void *p, size_t n)
{
	unsigned char *out = p;

	if (ops && ops->random) {
		ops->random(ops->user, p, n);
		return;
	}
	while (n > 0) {
		ssize_t got = getrandom(out, n, 0);

		if (got < 0) {
			if (errno == EINTR)
				continue;
			abort();	/* no randomness: nothing that follows would be safe */
		}
		out += got;
		n -= (size_t)got;
	}
}

uint32_t rand_u32(void)
{
	uint32_t v;

	rand_bytes(&v, sizeof(v));
	return v;
}

uint64_t rand_below(uint64_t n)
{
	uint64_t v, cut = UINT64_MAX - UINT64_MAX % n;

	do
		rand_bytes(&v, sizeof(v));
	while (v >= cut);	/* the incomplete last bucket would favour small numbers */
	return v % n;
}

/* Failure points. A short list is enough: a test arms one or two. */

int fault_armed;

static struct fault {
	char name[64];
	unsigned left;
	int err;
} faults[8];
static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;

void fault_arm(const char *name, unsigned nth, int err)
{
	pthread_mutex_lock(&fault_lock);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct fault *f = &faults[i];

		if (f->left && strcmp(f->name, name))
			continue;
		strncpy(f->name, name, sizeof(f->name) - 1);
		f->left = nth;
		f->err = err;
		fault_armed = 1;
		break;
	}
	pthread_mutex_unlock(&fault_lock);
}

int fault_hit(const char *name)
{
	int ret = 0;

	pthread_mutex_lock(&fault_lock);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct fault *f = &faults[i];

		if (!f->left || strcmp(f->name, name) || --f->left)
			continue;
		if (f->err == FAULT_KILL)
			kill(getpid(), SIGKILL);
		ret = -f->err;
		break;
	}
	pthread_mutex_unlock(&fault_lock);
	return ret;
}

void fault_init(void)
{
	const char *env = getenv("KEDGE_FAULT");
	char *copy, *save = NULL;

	if (!env || !*env || !(copy = strdup(env)))
		return;
	for (char *one = strtok_r(copy, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
		char *nth = strchr(one, ':'), *what = nth ? strchr(nth + 1, ':') : NULL;

		if (!what)
			continue;
		*nth++ = '\0';
		*what++ = '\0';
		fault_arm(one, (unsigned)strtoul(nth, NULL, 10),
			  strcmp(what, "kill") ? atoi(what) : FAULT_KILL);
	}
	free(copy);
}
