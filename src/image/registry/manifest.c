/* SPDX-License-Identifier: Apache-2.0 */
#include "image/registry/manifest.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/bundle.h"
#include "image/image.h"

static bool word_valid(const char *s)
{
	return *s && strlen(s) < 32 && !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_.-")];
}

static bool is_os(const char *s)
{
	return str_eq(s, "linux") || str_eq(s, "windows") || str_eq(s, "darwin") || str_eq(s, "freebsd");
}

/* Names that mean the same. */
static const char *arch_name(const char *s)
{
	return str_eq(s, "x86_64") || str_eq(s, "x86-64") ? "amd64" : str_eq(s, "aarch64") ? "arm64" : str_eq(s, "i386") ? "386" : s;
}

int platform_parse(const char *text, struct platform *ret, struct err *e)
{
	struct platform p = { .os = "linux", .arch = IMAGE_ARCH };
	CLEANUP(strv_freep) char **parts = NULL;
	size_t n;

	if (str_empty(text)) {
		*ret = p;
		return 0;
	}
	parts = str_split(text, '/');
	n = strv_len(parts);
	for (size_t i = 0; i < n; i++) {
		for (char *c = parts[i]; *c; c++)
			*c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 'a' - 'A' : *c);
		if (n > 3)
			return err_set(e, ERR_INVALID, "\"%.100s\": cannot parse platform specifier: invalid argument", text);
		if (!word_valid(parts[i]))
			return err_set(e, ERR_INVALID, "\"%.100s\": unknown operating system or architecture: invalid argument", text);
	}
	if (n == 1 && is_os(parts[0])) {
		snprintf(p.os, sizeof(p.os), "%s", parts[0]);
	} else if (n == 1) {
		snprintf(p.arch, sizeof(p.arch), "%s", arch_name(parts[0]));
	} else {
		snprintf(p.os, sizeof(p.os), "%s", parts[0]);
		snprintf(p.arch, sizeof(p.arch), "%s", arch_name(parts[1]));
		snprintf(p.variant, sizeof(p.variant), "%s", n == 3 ? parts[2] : "");
	}
	p.given = true;
	*ret = p;
	return 0;
}

char *platform_text(const struct platform *p, char *out, size_t size)
{
	snprintf(out, size, "%s/%s%s%s", p->os, p->arch, *p->variant ? "/" : "", p->variant);
	return out;
}

/* What an architecture means without one. */
static const char *variant_of(const char *arch, const char *variant)
{
	if (*variant)
		return variant;
	return str_eq(arch, "arm64") ? "v8" : str_eq(arch, "arm") ? "v7" : str_eq(arch, "amd64") ? "v1" : "";
}

int platform_fits(const struct platform *want, const json_t *have)
{
	const char *arch = arch_name(json_str(have, "architecture", "")), *mine, *its;

	if (!str_eq(json_str(have, "os", "linux"), want->os) || !str_eq(arch, want->arch))
		return 0;
	mine = variant_of(want->arch, want->variant);
	its = variant_of(arch, json_str(have, "variant", ""));
	if (str_eq(mine, its))
		return 20;
	/* An older one runs on a newer machine: v6 on v7; the nearest is the best. */
	if (strlen(mine) == 2 && strlen(its) == 2 && mine[0] == 'v' && its[0] == 'v' && its[1] < mine[1] && str_eq(arch, "arm"))
		return 2 + its[1] - '0';
	return 0;
}

static int descriptor_read(const json_t *o, const char *what, struct descriptor *ret, struct err *e)
{
	const char *digest = json_str(o, "digest", ""), *type = json_str(o, "mediaType", "");
	const json_t *size = json_object_get(o, "size");

	if (!digest_valid(digest))
		return err_set(e, ERR_INVALID, "%s has the digest '%.100s', which is not sha256:<64 hex digits>", what, digest);
	if (!json_is_integer(size) || json_integer_value(size) < 0 || json_integer_value(size) > MANIFEST_BLOB_MAX)
		return err_set(e, ERR_INVALID, "%s has no size from 0 to 1 TiB", what);
	if (strlen(type) >= sizeof(ret->type))
		return err_set(e, ERR_INVALID, "%s has a media type of more than %zu characters", what, sizeof(ret->type) - 1);
	memset(ret, 0, sizeof(*ret));
	strcpy(ret->digest, digest);
	strcpy(ret->type, type);
	ret->size = (uint64_t)json_integer_value(size);
	return 0;
}

static int image_read(struct manifest *m, struct err *e)
{
	const json_t *layers = json_arr(m->doc, "layers");
	char what[64];

	if (descriptor_read(json_obj(m->doc, "config"), "the manifest's config", &m->config, e) < 0)
		return -1;
	if (*m->config.type && !str_eq(m->config.type, CONFIG_DOCKER) && !str_eq(m->config.type, CONFIG_OCI) &&
	    !str_eq(m->config.type, "application/octet-stream"))
		return err_set(e, ERR_INVALID, "this is no image: its config has the media type \"%s\"", m->config.type);
	if (m->config.size > IMAGE_CONFIG_MAX)
		return err_set(e, ERR_INVALID, "the image's config has %llu bytes, more than 8 MiB", (unsigned long long)m->config.size);
	if (!layers || json_array_size(layers) > IMAGE_LAYERS_MAX)
		return err_set(e, ERR_INVALID, "the manifest has no list of at most %d layers", IMAGE_LAYERS_MAX);
	m->layers = mem_zalloc((json_array_size(layers) + 1) * sizeof(*m->layers));
	for (size_t i = 0; i < json_array_size(layers); i++) {
		struct descriptor *d = &m->layers[i];

		snprintf(what, sizeof(what), "the manifest's layer %zu", i + 1);
		if (descriptor_read(json_array_get(layers, i), what, d, e) < 0)
			return -1;
		if (!str_starts(d->type, "application/vnd.docker.image.rootfs.") && !str_starts(d->type, "application/vnd.oci.image.layer."))
			return err_set(e, ERR_INVALID, "%s has the media type \"%s\", which is none of an image's layer", what, d->type);
		if (strstr(d->type, "+encrypted"))
			return err_set(e, ERR_INVALID, "%s is encrypted (\"%s\"), which this engine cannot read", what, d->type);
		m->nlayers++;
	}
	return 0;
}

int manifest_parse(const char *p, size_t n, const char *type, struct manifest *ret, struct err *e)
{
	struct manifest m = { .doc = json_parse(p, n, "the manifest", e) };
	const char *inside;
	size_t len;

	if (!m.doc)
		return -1;
	inside = json_str(m.doc, "mediaType", "");
	/* The document's own word counts more than the server's, which may be "application/json". */
	len = strcspn(*inside ? inside : type ? type : "", "; \t");
	snprintf(m.type, sizeof(m.type), "%.*s", (int)(len < sizeof(m.type) ? len : sizeof(m.type) - 1), *inside ? inside : type ? type : "");
	if (!json_is_object(m.doc)) {
		err_set(e, ERR_INVALID, "the manifest is no JSON object");
	} else if (json_i64(m.doc, "schemaVersion", 0) == 1) {
		err_set(e, ERR_INVALID, "Docker Image Format v1 and Docker Image manifest version 2, schema 1 are not supported");
	} else if (json_i64(m.doc, "schemaVersion", 0) != 2) {
		err_set(e, ERR_INVALID, "the manifest's schemaVersion is not 2");
	} else if (json_arr(m.doc, "manifests") && json_arr(m.doc, "layers")) {
		/* OCI image-spec, manifest.md: to be read one way only. */
		err_set(e, ERR_INVALID, "the manifest is both an image and a list of images");
	} else if (json_arr(m.doc, "manifests")) {
		m.list = true;
		if (!*m.type || (!str_eq(m.type, MANIFEST_DOCKER_LIST) && !str_eq(m.type, MANIFEST_OCI_INDEX)))
			strcpy(m.type, MANIFEST_OCI_INDEX);
		if (json_array_size(json_arr(m.doc, "manifests")) <= MANIFEST_LIST_MAX) {
			*ret = m;
			return 0;
		}
		err_set(e, ERR_INVALID, "the manifest list has more than %d entries", MANIFEST_LIST_MAX);
	} else if (json_obj(m.doc, "config")) {
		if (!str_eq(m.type, MANIFEST_DOCKER) && !str_eq(m.type, MANIFEST_OCI))
			strcpy(m.type, MANIFEST_OCI);
		if (image_read(&m, e) == 0) {
			*ret = m;
			return 0;
		}
	} else {
		err_set(e, ERR_INVALID, "the manifest is neither an image nor a list of images (\"%s\")", m.type);
	}
	manifest_done(&m);
	return -1;
}

void manifest_done(struct manifest *m)
{
	free(m->layers);
	json_decref(m->doc);
	memset(m, 0, sizeof(*m));
}

int manifest_choose(const struct manifest *list, const struct platform *want, struct descriptor *ret, struct err *e)
{
	const json_t *d, *best = NULL;
	char text[128];
	int fit = 0;
	size_t i;

	json_array_foreach(json_arr(list->doc, "manifests"), i, d) {
		/* One that does not say is taken when no other fits. */
		int f = json_obj(d, "platform") ? platform_fits(want, json_obj(d, "platform")) : 1;

		/* Equal ones: the first counts. */
		if (f > fit) {
			fit = f;
			best = d;
		}
	}
	if (!best)
		return err_set(e, ERR_NOT_FOUND, "no matching manifest for %s in the manifest list entries: no match for platform in manifest: not found",
			       platform_text(want, text, sizeof(text)));
	return descriptor_read(best, "the manifest list's entry", ret, e);
}
