/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_LOG_H
#define KEDGE_BASE_LOG_H

#include <stdbool.h>

/*
 * error: someone must act; warning: we went on; info: life cycle; debug: free.
 * sub is the subsystem token ("net", "engine"). Thread-safe; one line per call.
 */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_COUNT };

/* fd is borrowed. */
void log_init(int fd, enum log_level level);
/* "debug", "info", "warn"/"warning", "error"; -EINVAL otherwise. */
int log_level_parse(const char *word, enum log_level *ret);
/* Comma-separated subsystem tokens that get debug whatever the level; NULL: none. */
void log_debug_only(const char *subsystems);
bool log_enabled(enum log_level level, const char *sub);
void log_at(enum log_level level, const char *sub, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_error(sub, ...) log_at(LOG_LEVEL_ERROR, sub, __VA_ARGS__)
#define log_warn(sub, ...) log_at(LOG_LEVEL_WARNING, sub, __VA_ARGS__)
#define log_info(sub, ...) log_at(LOG_LEVEL_INFO, sub, __VA_ARGS__)
#define log_debug(sub, ...) do { if (log_enabled(LOG_LEVEL_DEBUG, sub)) log_at(LOG_LEVEL_DEBUG, sub, __VA_ARGS__); } while (0)

/* True at most `burst` times per `seconds` for one static counter: for what a peer can trigger. */
struct log_limit { long window; unsigned count; };
bool log_limit_ok(struct log_limit *l, unsigned burst, unsigned seconds);

#endif
