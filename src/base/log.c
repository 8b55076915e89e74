/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int log_fd = STDERR_FILENO;
static enum log_level log_max = LOG_LEVEL_INFO;
static char log_subs[256];

static const char *const level_names[LOG_LEVEL_COUNT] = { "error", "warning", "info", "debug" };

void log_init(int fd, enum log_level level)
{
	log_fd = fd;
	log_max = level;
}

int log_level_parse(const char *word, enum log_level *ret)
{
	if (word && !strcmp(word, "warn"))
		word = "warning";
	for (int i = 0; word && i < LOG_LEVEL_COUNT; i++) {
		if (!strcmp(word, level_names[i])) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void log_debug_only(const char *subsystems)
{
	snprintf(log_subs, sizeof(log_subs), "%s", subsystems ? subsystems : "");
}

static bool sub_listed(const char *sub)
{
	size_t n = strlen(sub);

	for (const char *p = log_subs; *p; p += strcspn(p, ","), p += *p == ',') {
		if (strcspn(p, ",") == n && !strncmp(p, sub, n))
			return true;
	}
	return false;
}

bool log_enabled(enum log_level level, const char *sub)
{
	return level <= log_max || (log_subs[0] && sub_listed(sub));
}

void log_at(enum log_level level, const char *sub, const char *fmt, ...)
{
	char line[2048];
	struct timespec ts;
	struct tm tm;
	size_t n, room;
	va_list ap;
	int got;

	if (!log_enabled(level, sub))
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03ldZ %s %.32s: ", ts.tv_nsec / 1000000,
			      level_names[level], sub);
	room = sizeof(line) - n - 1;
	va_start(ap, fmt);
	got = vsnprintf(line + n, room, fmt, ap);
	va_end(ap);
	if (got > 0) {
		size_t len = (size_t)got < room ? (size_t)got : room - 1;

		/* One call, one line: what a peer sent must not forge another. */
		for (size_t i = 0; i < len; i++) {
			if ((unsigned char)line[n + i] < 0x20 || line[n + i] == 0x7f)
				line[n + i] = ' ';
		}
		n += len;
	}
	line[n++] = '\n';
	while (write(log_fd, line, n) < 0 && errno == EINTR)
		;
}

bool log_limit_ok(struct log_limit *l, unsigned burst, unsigned seconds)
{
	struct timespec ts;
	long window;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	window = ts.tv_sec / (seconds ? seconds : 1) + 1;
	if (__atomic_exchange_n(&l->window, window, __ATOMIC_RELAXED) != window)
		__atomic_store_n(&l->count, 0, __ATOMIC_RELAXED);
	return __atomic_fetch_add(&l->count, 1, __ATOMIC_RELAXED) < burst;
}
