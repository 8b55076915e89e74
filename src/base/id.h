/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_BASE_ID_H
#define KEDGE_BASE_ID_H

#include <stdbool.h>
#include <stddef.h>

enum { ID_LEN = 64, ID_SHORT = 12 };

/* 64 lower-case hex digits, and never twelve decimal digits in front (docker's rule: the short
 * form must not look like a number). out has ID_LEN + 1 bytes. */
void id_new(char *out);
/* 1 to 64 hex digits. */
bool id_is_prefix(const char *s);
/* docker's name rule: [a-zA-Z0-9][a-zA-Z0-9_.-]+ */
bool id_name_valid(const char *s);
/* "adjective_surname"; n > 0 appends a digit. out of 64 bytes at least. */
void id_random_name(char *out, size_t size, unsigned attempt);
void id_hex(const unsigned char *p, size_t n, char *out);

#endif
