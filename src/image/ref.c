/* SPDX-License-Identifier: Apache-2.0 */
#include "image/ref.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/*
 * The grammar of the distribution project: [domain/]path[:tag][@digest]. What stands before the first slash is a domain only when it
 * cannot be a path: it has a dot, a port or capitals, or is "localhost". Without one, docker.io, and library/ before a lone name.
 */
enum { REF_NAME_MAX = 255, REF_TAG_MAX = 128 };

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool is_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	return true;
}

/* [a-z0-9]+ separated by one of ".", "_", "__" or any number of "-". */
static bool component_valid(const char *s, size_t n)
{
	size_t i = 0;

	for (;;) {
		size_t start = i, sep;

		while (i < n && is_lower(s[i]))
			i++;
		if (i == start)
			return false;
		if (i == n)
			return true;
		sep = i;
		if (s[i] == '-')
			while (i < n && s[i] == '-')
				i++;
		else if (s[i] == '.' || s[i] == '_')
			i += s[i] == '_' && i + 1 < n && s[i + 1] == '_' ? 2 : 1;
		if (i == sep)
			return false;
	}
}

static bool path_valid(const char *s)
{
	for (;;) {
		size_t n = strcspn(s, "/");

		if (!component_valid(s, n))
			return false;
		if (!s[n])
			return true;
		s += n + 1;
	}
}

/* Host name, IPv4 address or [IPv6], and a port. */
static bool domain_valid(const char *s)
{
	const char *p = s;

	if (*p == '[') {
		p++;
		while (is_alnum(*p) || *p == ':')
			p++;
		if (*p++ != ']')
			return false;
	} else {
		for (;;) {
			const char *label = p;

			while (is_alnum(*p) || *p == '-')
				p++;
			if (p == label || *label == '-' || p[-1] == '-')
				return false;
			if (*p != '.')
				break;
			p++;
		}
	}
	if (*p == ':') {
		const char *port = ++p;

		while (*p >= '0' && *p <= '9')
			p++;
		if (p == port)
			return false;
	}
	return *p == '\0';
}

static bool tag_valid(const char *s)
{
	if (!is_alnum(*s) && *s != '_')
		return false;
	for (size_t n = 0; *s; s++, n++)
		if (n >= REF_TAG_MAX || (!is_alnum(*s) && !strchr("_.-", *s)))
			return false;
	return true;
}

static bool digest_valid(const char *s)
{
	size_t n = strlen(s);

	return (str_starts(s, "sha256:") && n == 7 + 64 && is_hex(s + 7, 64)) || (str_starts(s, "sha512:") && n == 7 + 128 && is_hex(s + 7, 128));
}

static bool has_upper(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] >= 'A' && s[i] <= 'Z')
			return true;
	return false;
}

static bool is_domain(const char *s, size_t n)
{
	return memchr(s, '.', n) || memchr(s, ':', n) || has_upper(s, n) || (n == strlen("localhost") && !memcmp(s, "localhost", n));
}

int image_ref_parse(const char *s, struct image_ref *ret, struct err *e)
{
	struct image_ref r = { .domain = "docker.io" };
	char name[REF_NAME_MAX * 2 + 2];
	const char *at = strchr(s, '@'), *end = at ? at : s + strlen(s), *tag = NULL, *slash, *path;
	size_t n;

	for (const char *p = end; p > s && p[-1] != '/'; p--)
		if (p[-1] == ':')
			tag = p;
	n = (size_t)((tag ? tag - 1 : end) - s);
	if (!n || n >= sizeof(name))
		return err_set(e, ERR_INVALID, n ? "repository name must not be more than 255 characters: '%.64s...'" : "invalid reference format: '%.64s'", s);
	memcpy(name, s, n);
	name[n] = '\0';
	if (n == 64 && is_hex(name, n))
		return err_set(e, ERR_INVALID, "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", name);

	path = name;
	slash = strchr(name, '/');
	if (slash && is_domain(name, (size_t)(slash - name))) {
		if ((size_t)(slash - name) >= sizeof(r.domain))
			return err_set(e, ERR_INVALID, "repository name must not be more than 255 characters: '%.64s...'", s);
		memcpy(r.domain, name, (size_t)(slash - name));
		r.domain[slash - name] = '\0';
		path = slash + 1;
		if (!domain_valid(r.domain))
			return err_set(e, ERR_INVALID, "invalid reference format: '%.255s' is not the name of a registry", r.domain);
		if (str_eq(r.domain, "index.docker.io"))
			strcpy(r.domain, "docker.io");
	}
	n = (size_t)snprintf(r.path, sizeof(r.path), "%s%s", str_eq(r.domain, "docker.io") && !strchr(path, '/') ? "library/" : "", path);
	if (n + strlen(r.domain) + 1 > REF_NAME_MAX)
		return err_set(e, ERR_INVALID, "repository name must not be more than 255 characters: '%.64s...'", s);
	if (has_upper(r.path, n))
		return err_set(e, ERR_INVALID, "invalid reference format: repository name (%s) must be lowercase", r.path);
	if (!path_valid(r.path))
		return err_set(e, ERR_INVALID, "invalid reference format: '%.300s'", s);

	if (tag) {
		n = (size_t)(end - tag);
		if (n >= sizeof(r.tag))
			return err_set(e, ERR_INVALID, "invalid reference format: the tag of '%.300s' is longer than %d characters", s, REF_TAG_MAX);
		memcpy(r.tag, tag, n);
		r.tag[n] = '\0';
		if (!tag_valid(r.tag))
			return err_set(e, ERR_INVALID, "invalid reference format: '%.300s'", s);
	}
	if (at) {
		if (!digest_valid(at + 1))
			return err_set(e, ERR_INVALID, "invalid reference format: '%.150s' is not a digest", at + 1);
		strcpy(r.digest, at + 1);
	}
	*ret = r;
	return 0;
}

static const char *familiar_path(const struct image_ref *r)
{
	const char *p = r->path;

	if (str_starts(p, "library/") && !strchr(p + strlen("library/"), '/'))
		p += strlen("library/");
	return p;
}

char *image_ref_familiar(const struct image_ref *r, char *out, size_t size)
{
	bool hub = str_eq(r->domain, "docker.io");

	snprintf(out, size, "%s%s%s%s%s%s%s", hub ? "" : r->domain, hub ? "" : "/", hub ? familiar_path(r) : r->path, *r->tag ? ":" : "", r->tag,
		 *r->digest ? "@" : "", r->digest);
	return out;
}

char *image_ref_canonical(const struct image_ref *r, char *out, size_t size)
{
	snprintf(out, size, "%s/%s%s%s%s%s", r->domain, r->path, *r->tag ? ":" : "", r->tag, *r->digest ? "@" : "", r->digest);
	return out;
}
