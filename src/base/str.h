/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_STR_H
#define KEDGE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool str_eq(const char *a, const char *b);			/* NULL equals NULL only */
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
bool str_empty(const char *s);					/* NULL or "" */
/* Whole-string decimal in [min, max]; 0 or -EINVAL/-ERANGE; *ret changes on success only. */
int str_to_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);
int str_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret);
/* docker's size words: "64m", "1.5g", "512" (bytes), b/k/m/g/t with optional b/ib, powers of 1024. */
int str_to_size(const char *s, uint64_t *ret);
/* Unix seconds ("1700000000", "1700000000.5"), RFC 3339, or Go duration before now ("10m", "1h30m"):
 * what docker takes for since/until. Result in nanoseconds since 1970. */
int str_to_time_ns(const char *s, int64_t now_ns, int64_t *ret);
/* Go duration ("1h2m3.5s", "300ms") to nanoseconds. */
int str_to_duration_ns(const char *s, int64_t *ret);
/* NULL-terminated vectors, each string and the vector owned by the caller. */
char **str_split(const char *s, char sep);
size_t strv_len(char *const *v);
void strv_free(char **v);
void strv_freep(char ***v);
/* Appends a copy; returns the (moved) vector. */
char **strv_add(char **v, const char *s);
/* The same for a vector of *n strings that was grown by nothing else: its length is not counted again each time. *n follows. */
char **strv_push(char **v, size_t *n, const char *s);
bool strv_has(char *const *v, const char *s);
/* fnmatch-free glob as Go's path.Match: '*', '?', '[...]', '\\'. */
bool str_glob(const char *pattern, const char *s);
/* RFC 3339 with nanoseconds as docker prints: "2024-01-02T03:04:05.123456789Z". buf of 40 bytes at least. */
char *str_time_ns(int64_t ns, char *out, size_t size);
/* 20 bytes at least: "1.5MB" powers of 1000 (docker's HumanSize), 4 significant digits. */
char *str_human_size(uint64_t bytes, char *out, size_t size);
/* docker's words for a span: "Less than a second", "5 seconds", "About a minute", "3 weeks". */
char *str_human_duration(int64_t seconds, char *out, size_t size);
bool str_utf8_valid(const char *s, size_t n);

#endif
