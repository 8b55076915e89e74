/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "api/api_priv.h"
#include "base/mem.h"
#include "base/str.h"

/* The argument is what the one "*" or "**" of a pattern stands for; fixed text around it must match to the letter. */
bool api_route_match(const char *pattern, const char *path, char **arg)
{
	const char *star = strchr(pattern, '*');
	size_t plen = strlen(path), head, tail;
	const char *after;
	bool many;

	*arg = NULL;
	if (!star)
		return str_eq(pattern, path);
	many = star[1] == '*';
	after = star + (many ? 2 : 1);
	head = (size_t)(star - pattern);
	tail = strlen(after);
	if (plen <= head + tail || strncmp(path, pattern, head) != 0 || strcmp(path + plen - tail, after) != 0)
		return false;
	if (!many && memchr(path + head, '/', plen - head - tail))
		return false;
	*arg = mem_strndup(path + head, plen - head - tail);
	return true;
}

int api_version_cut(const char *path, const char **rest, int *minor, struct err *e)
{
	const char *p = path, *dot, *end;
	uint64_t major = 0, min = 0;
	char a[8], b[8];

	*rest = path;
	*minor = API_MINOR_MAX;
	if (strncmp(p, "/v", 2) != 0 || p[2] < '0' || p[2] > '9')
		return 0;
	p += 2;
	end = strchrnul(p, '/');
	dot = memchr(p, '.', (size_t)(end - p));
	if (!dot || dot - p >= (ptrdiff_t)sizeof(a) || end - dot - 1 >= (ptrdiff_t)sizeof(b))
		return err_set(e, ERR_INVALID, "'%.*s' is not an API version", (int)(end - p > 32 ? 32 : end - p), p);
	memcpy(a, p, (size_t)(dot - p));
	a[dot - p] = '\0';
	memcpy(b, dot + 1, (size_t)(end - dot - 1));
	b[end - dot - 1] = '\0';
	if (str_to_u64(a, 0, 99, &major) < 0 || str_to_u64(b, 0, 999, &min) < 0)
		return err_set(e, ERR_INVALID, "'%s.%s' is not an API version", a, b);
	if (major > 1 || (major == 1 && min > API_MINOR_MAX))
		return err_set(e, ERR_INVALID, "client version %s.%s is too new. Maximum supported API version is %s", a, b, API_VERSION_MAX);
	if (major < 1 || min < API_MINOR_MIN)
		return err_set(e, ERR_INVALID,
			       "client version %s.%s is too old. Minimum supported API version is %s, please upgrade your client to a newer version",
			       a, b, API_VERSION_MIN);
	*minor = (int)min;
	*rest = *end ? end : "/";
	return 0;
}
