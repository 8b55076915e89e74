/* SPDX-License-Identifier: Apache-2.0 */
#include "image/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/image.h"
#include "image/ref.h"
#include "image/tar.h"

/*
 * Theory of operation
 *
 * Where the manifest stands in an archive is anybody's choice (docker writes it last), and it alone says what a member is. So all members
 * go to disk first, under numbers: a member's name is a key in a map and never a path of ours. Links between members (older docker
 * wrote a layer shared by two images once, the second time as a symbolic link) are resolved in the map, too.
 */
enum {
	MEMBERS_MAX = 100 * 1000,
	NAMES_MAX = 16 * 1024 * 1024,	/* bytes of member names */
	LINKS_MAX = 8,			/* links in a row */
	INDEX_DEPTH_MAX = 4,		/* an index that names an index */
};

struct member {
	size_t number;
	uint64_t size;
	char *link;		/* the name it stands for, or NULL */
};

/* "x/../y/./z" to "y/z": names are keys only, so ".." is text arithmetic here. */
static char *member_key(const char *base, const char *name)
{
	const char *slash = base ? strrchr(base, '/') : NULL;
	CLEANUP(mem_freep) char *all = slash && *name != '/' ? mem_printf("%.*s/%s", (int)(slash - base), base, name) : mem_strdup(name);
	CLEANUP(strv_freep) char **parts = str_split(all, '/');
	char *out = mem_zalloc(strlen(all) + 2);
	size_t n = 0;

	for (char **p = parts; *p; p++) {
		if (!**p || str_eq(*p, "."))
			continue;
		if (str_eq(*p, "..")) {
			while (n && out[n - 1] != '/')
				n--;
			n -= n > 0;
			out[n] = '\0';
			continue;
		}
		if (n)
			out[n++] = '/';
		strcpy(out + n, *p);
		n += strlen(*p);
	}
	return out;
}

static void member_free(struct member *m)
{
	if (m)
		free(m->link);
	free(m);
}

/* Holes are refused: nobody writes images so, and a kilobyte of them would be read as terabytes of zeros. */
static int spool_data(struct bundle *b, struct tar *t, struct member *m, const char *name, struct err *e)
{
	CLEANUP(fd_closep) int fd = -1;
	char file[32];
	const void *p;
	la_int64_t at;
	size_t n;
	int rc;

	snprintf(file, sizeof(file), "m%zu", m->number);
	fd = openat(b->dir, file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, errno, "store the member '%.300s' of the archive", name);
	while ((rc = archive_read_data_block(tar_archive(t), &p, &n, &at)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
		if (at != (la_int64_t)m->size)
			return err_set(e, ERR_INVALID, "the member '%.300s' of the archive is a sparse file, which no image has", name);
		rc = file_write_all(fd, p, n);
		if (rc < 0)
			return err_errno(e, -rc, "store the member '%.300s' of the archive", name);
		m->size += n;
	}
	return rc == ARCHIVE_EOF ? 0 : tar_error(t, e);
}

static int spool_member(struct bundle *b, struct tar *t, struct archive_entry *entry, struct err *e)
{
	const char *name = tar_path(entry), *link = tar_link(entry);
	mode_t type = archive_entry_filetype(entry);
	CLEANUP(mem_freep) char *key = NULL;
	struct member *m;
	bool hard;

	if (!name || strlen(name) >= PATH_MAX || (link && strlen(link) >= PATH_MAX))
		return err_set(e, ERR_INVALID, "the archive holds a member without a name or with one longer than 4095 bytes");
	hard = archive_entry_hardlink(entry) || archive_entry_hardlink_utf8(entry);
	if (!link && type != AE_IFREG)
		return 0;
	key = member_key(NULL, name);
	b->name_bytes += strlen(key) + (link ? strlen(link) : 0);
	if (b->next >= MEMBERS_MAX || b->name_bytes > NAMES_MAX)
		return err_set(e, ERR_INVALID, "the archive holds more than %d members or 16 MiB of their names", MEMBERS_MAX);
	m = mem_zalloc(sizeof(*m));
	m->number = b->next++;
	if (link)
		m->link = member_key(hard ? NULL : key, link);
	else if (spool_data(b, t, m, name, e) < 0) {
		member_free(m);
		return -1;
	}
	member_free(map_put(b->members, key, m));
	return 0;
}

static int spool_all(struct bundle *b, const struct unpack_source *src, struct err *e)
{
	struct tar *t = tar_open(src, false, NULL, "the archive", e);
	struct archive_entry *entry;
	int rc = t ? 1 : -1;

	while (rc > 0) {
		rc = tar_next(t, &entry, e);
		if (rc > 0 && spool_member(b, t, entry, e) < 0)
			rc = -1;
	}
	if (rc == 0)
		rc = tar_finish(t, NULL, e);
	tar_free(t);
	return rc;
}

static const struct member *member_find(const struct bundle *b, const char *name)
{
	CLEANUP(mem_freep) char *key = member_key(NULL, name);
	const struct member *m = map_get(b->members, key);

	for (int i = 0; m && m->link; i++)
		m = i < LINKS_MAX ? map_get(b->members, m->link) : NULL;
	return m;
}

int bundle_open(const struct bundle *b, const char *name, struct err *e)
{
	const struct member *m = member_find(b, name);
	char file[32];
	int fd;

	if (!m)
		return err_set(e, ERR_INVALID, "the archive holds no '%.300s', which its manifest names", name);
	snprintf(file, sizeof(file), "m%zu", m->number);
	fd = openat(b->dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(e, errno, "open the member '%.300s' of the archive", name) : fd;
}

/* The whole of a small member. */
static int member_text(const struct bundle *b, const char *name, struct buf *text, struct err *e)
{
	const struct member *m = member_find(b, name);
	char file[32];
	int rc;

	if (!m)
		return err_set(e, ERR_INVALID, "the archive holds no '%.300s', which its manifest names", name);
	snprintf(file, sizeof(file), "m%zu", m->number);
	buf_init(text, IMAGE_CONFIG_MAX + 1);
	rc = file_read_at(b->dir, file, IMAGE_CONFIG_MAX, text);
	if (rc == -EFBIG)
		return err_set(e, ERR_INVALID, "'%.300s' in the archive is larger than 8 MiB", name);
	if (rc < 0)
		return err_errno(e, -rc, "read the member '%.300s' of the archive", name);
	return text->len ? 0 : err_set(e, ERR_INVALID, "'%.300s' in the archive is empty", name);
}

int bundle_config_check(const json_t *config, const char *what, struct err *e)
{
	const json_t *diffs = json_path(config, "rootfs.diff_ids");
	const char *os = json_str(config, "os", "");

	if (!json_is_object(config))
		return err_set(e, ERR_INVALID, "%s is no JSON object", what);
	if (*os && !str_eq(os, "linux"))
		return err_set(e, ERR_INVALID, "cannot load %.32s image on linux (%s)", os, what);
	if (!json_is_array(diffs))
		return err_set(e, ERR_INVALID, "%s has no list rootfs.diff_ids", what);
	if (json_array_size(diffs) > IMAGE_LAYERS_MAX)
		return err_set(e, ERR_INVALID, "%s has %zu layers, more than %d", what, json_array_size(diffs), IMAGE_LAYERS_MAX);
	for (size_t i = 0; i < json_array_size(diffs); i++)
		if (!digest_valid(json_at(diffs, i)))
			return err_set(e, ERR_INVALID, "%s: the layer digest '%.100s' is not sha256:<64 hex digits>", what,
				       json_at(diffs, i) ? json_at(diffs, i) : "");
	if (json_object_get(config, "config") && !json_is_null(json_object_get(config, "config")) && !json_obj(config, "config"))
		return err_set(e, ERR_INVALID, "%s: 'config' is no JSON object", what);
	return 0;
}

static void bundle_image_done(struct bundle_image *bi)
{
	for (size_t i = 0; i < bi->nlayers; i++)
		free(bi->layers[i].member);
	free(bi->layers);
	free(bi->text);
	json_decref(bi->config);
	strv_free(bi->names);
}

static struct bundle_image *bundle_image_add(struct bundle *b)
{
	b->images = mem_realloc(b->images, (b->nimages + 1) * sizeof(*b->images));
	memset(&b->images[b->nimages], 0, sizeof(*b->images));
	return &b->images[b->nimages++];
}

static int config_read(struct bundle *b, struct bundle_image *bi, const char *member, const char *want, struct err *e)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT;
	char what[128];

	if (member_text(b, member, &text, e) < 0)
		return -1;
	digest_of(text.data, text.len, bi->id);
	if (*want && !str_eq(want, bi->id))
		return err_set(e, ERR_INVALID, "'%.300s' in the archive is damaged: its digest is %s, not %s", member, bi->id, want);
	snprintf(what, sizeof(what), "the image config %s", bi->id);
	bi->config = json_parse(text.data, text.len, what, e);
	if (!bi->config || bundle_config_check(bi->config, what, e) < 0)
		return -1;
	bi->text = mem_strdup(text.data);
	return 0;
}

/* blob: the digest of the stored form, or "". */
static int layer_add(struct bundle *b, struct bundle_image *bi, const char *member, const char *blob, struct err *e)
{
	const json_t *diffs = json_path(bi->config, "rootfs.diff_ids");
	const struct member *m = member_find(b, member);
	struct bundle_layer *l;

	if (!m)
		return err_set(e, ERR_INVALID, "the archive holds no '%.300s', which its manifest names as a layer", member);
	bi->layers = mem_realloc(bi->layers, (bi->nlayers + 1) * sizeof(*bi->layers));
	l = &bi->layers[bi->nlayers];
	memset(l, 0, sizeof(*l));
	l->member = mem_strdup(member);
	l->size = m->size;
	snprintf(l->blob, sizeof(l->blob), "%s", blob);
	snprintf(l->diff, sizeof(l->diff), "%s", json_at(diffs, bi->nlayers));
	bi->nlayers++;
	return 0;
}

static int layers_count_check(const struct bundle_image *bi, size_t have, struct err *e)
{
	size_t want = json_array_size(json_path(bi->config, "rootfs.diff_ids"));

	if (have != want)
		return err_set(e, ERR_INVALID, "invalid manifest, layers length mismatch: expected %zu, got %zu", want, have);
	return 0;
}

static int name_add(struct bundle_image *bi, const char *name, struct err *e)
{
	struct image_ref r;
	char full[800];

	if (image_ref_parse(name, &r, e) < 0)
		return err_wrap(e, "the archive's name for an image");
	if (*r.digest)
		return err_set(e, ERR_INVALID, "the archive's name '%.300s' for an image holds a digest", name);
	if (!*r.tag)
		strcpy(r.tag, "latest");
	image_ref_canonical(&r, full, sizeof(full));
	if (!strv_has(bi->names, full))
		bi->names = strv_add(bi->names, full);
	return 0;
}

/* "<64 hex>.json" or "blobs/sha256/<64 hex>": the digest that such a name promises, or "". */
static void digest_of_name(const char *name, char *out)
{
	const char *slash = strrchr(name, '/');
	const char *base = slash ? slash + 1 : name;
	size_t n = strcspn(base, ".");

	*out = '\0';
	if (n != 64 || (base[n] && !str_eq(base + n, ".json")))
		return;
	snprintf(out, DIGEST_SIZE, "sha256:%.64s", base);
	if (!digest_valid(out))
		*out = '\0';
}

/* docker-save: [{"Config": member, "RepoTags": [..], "Layers": [member..]}] */
static int manifest_image(struct bundle *b, const json_t *m, struct err *e)
{
	const json_t *layers = json_arr(m, "Layers"), *tags = json_arr(m, "RepoTags");
	const char *config = json_str(m, "Config", NULL);
	struct bundle_image *bi;
	char want[DIGEST_SIZE];

	if (!config)
		return err_set(e, ERR_INVALID, "manifest.json in the archive names no Config for an image");
	bi = bundle_image_add(b);
	digest_of_name(config, want);
	if (config_read(b, bi, config, want, e) < 0 || layers_count_check(bi, json_array_size(layers), e) < 0)
		return -1;
	for (size_t i = 0; i < json_array_size(layers); i++) {
		if (!json_at(layers, i))
			return err_set(e, ERR_INVALID, "manifest.json in the archive has a layer that is no string");
		if (layer_add(b, bi, json_at(layers, i), "", e) < 0)
			return -1;
	}
	for (size_t i = 0; i < json_array_size(tags); i++)
		if (json_at(tags, i) && name_add(bi, json_at(tags, i), e) < 0)
			return -1;
	return 0;
}

static json_t *member_json(const struct bundle *b, const char *name, const char *want, struct err *e)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT;
	char digest[DIGEST_SIZE];

	if (member_text(b, name, &text, e) < 0)
		return NULL;
	digest_of(text.data, text.len, digest);
	if (*want && !str_eq(want, digest)) {
		err_set(e, ERR_INVALID, "'%.300s' in the archive is damaged: its digest is %s, not %s", name, digest, want);
		return NULL;
	}
	return json_parse(text.data, text.len, name, e);
}

static int manifest_read(struct bundle *b, struct err *e)
{
	CLEANUP(json_freep) json_t *all = member_json(b, "manifest.json", "", e);

	if (!all)
		return -1;
	if (!json_is_array(all) || !json_array_size(all) || json_array_size(all) > BUNDLE_IMAGES_MAX)
		return err_set(e, ERR_INVALID, "manifest.json in the archive is no list of 1 to %d images", BUNDLE_IMAGES_MAX);
	for (size_t i = 0; i < json_array_size(all); i++)
		if (manifest_image(b, json_array_get(all, i), e) < 0)
			return -1;
	return 0;
}

/* A descriptor's blob: its member name and digest. */
static int descriptor(const json_t *d, char *member, size_t size, const char **digest, struct err *e)
{
	*digest = json_str(d, "digest", "");
	if (!digest_valid(*digest))
		return err_set(e, ERR_INVALID, "the archive's index names a blob '%.100s', which is not sha256:<64 hex digits>", *digest);
	snprintf(member, size, "blobs/sha256/%s", *digest + strlen("sha256:"));
	return 0;
}

static int oci_image(struct bundle *b, const json_t *manifest, const char *name, struct err *e)
{
	const json_t *layers = json_arr(manifest, "layers");
	struct bundle_image *bi = bundle_image_add(b);
	char member[128];
	const char *digest;

	if (descriptor(json_obj(manifest, "config"), member, sizeof(member), &digest, e) < 0 || config_read(b, bi, member, digest, e) < 0 ||
	    layers_count_check(bi, json_array_size(layers), e) < 0)
		return -1;
	for (size_t i = 0; i < json_array_size(layers); i++) {
		const json_t *l = json_array_get(layers, i);

		if (descriptor(l, member, sizeof(member), &digest, e) < 0 || layer_add(b, bi, member, digest, e) < 0)
			return -1;
		if (json_i64(l, "size", (int64_t)bi->layers[i].size) != (int64_t)bi->layers[i].size)
			return err_set(e, ERR_INVALID, "the layer %s in the archive has %llu bytes, not %lld", digest,
				       (unsigned long long)bi->layers[i].size, (long long)json_i64(l, "size", 0));
	}
	return name ? name_add(bi, name, e) : 0;
}

/* The name is an annotation: containerd's is whole, OCI's often a bare tag, which names nothing. */
static const char *oci_name(const json_t *d)
{
	const json_t *a = json_obj(d, "annotations");
	const char *whole = json_str(a, "io.containerd.image.name", NULL), *ref = json_str(a, "org.opencontainers.image.ref.name", NULL);

	if (whole)
		return whole;
	return ref && strpbrk(ref, ":/") ? ref : NULL;
}

static bool oci_fits(const json_t *d)
{
	const char *mine = IMAGE_ARCH;
	const json_t *p = json_obj(d, "platform");

	return !p || (str_eq(json_str(p, "os", "linux"), "linux") && str_eq(json_str(p, "architecture", mine), mine));
}

static int oci_index(struct bundle *b, const json_t *index, const char *name, int depth, struct err *e)
{
	const json_t *list = json_arr(index, "manifests");
	size_t taken = 0;

	if (!list || json_array_size(list) > BUNDLE_IMAGES_MAX)
		return err_set(e, ERR_INVALID, "an index in the archive has no list of at most %d manifests", BUNDLE_IMAGES_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *d = json_array_get(list, i);
		CLEANUP(json_freep) json_t *doc = NULL;
		const char *digest, *n = oci_name(d) ? oci_name(d) : name;
		char member[128];

		if (!oci_fits(d))
			continue;
		if (descriptor(d, member, sizeof(member), &digest, e) < 0)
			return -1;
		/* An index of many platforms often travels with one platform's blobs only. */
		if (depth && !member_find(b, member))
			continue;
		if (b->nimages >= BUNDLE_IMAGES_MAX)
			return err_set(e, ERR_INVALID, "the archive holds more than %d images", BUNDLE_IMAGES_MAX);
		doc = member_json(b, member, digest, e);
		if (!doc)
			return -1;
		taken++;
		if (json_arr(doc, "manifests")) {
			if (depth + 1 >= INDEX_DEPTH_MAX)
				return err_set(e, ERR_INVALID, "the archive's index is nested more than %d deep", INDEX_DEPTH_MAX);
			if (oci_index(b, doc, n, depth + 1, e) < 0)
				return -1;
		} else if (oci_image(b, doc, n, e) < 0) {
			return -1;
		}
		/* Of several platforms that fit, the first is meant. */
		if (depth)
			break;
	}
	if (!taken)
		return err_set(e, ERR_INVALID, "the archive's index holds no image for linux on this machine");
	return 0;
}

static int oci_read(struct bundle *b, struct err *e)
{
	CLEANUP(json_freep) json_t *index = member_json(b, "index.json", "", e);

	return index ? oci_index(b, index, NULL, 0, e) : -1;
}

int bundle_read(struct bundle *b, int dir, const struct unpack_source *src, struct err *e)
{
	memset(b, 0, sizeof(*b));
	b->dir = dir;
	b->members = map_new();
	if (spool_all(b, src, e) < 0)
		return -1;
	if (member_find(b, "manifest.json"))
		return manifest_read(b, e);
	if (member_find(b, "index.json"))
		return oci_read(b, e);
	return err_set(e, ERR_INVALID, "the archive is no image: it holds neither manifest.json (docker save) nor index.json (OCI layout)");
}

void bundle_drop(struct bundle *b)
{
	char file[32];

	for (size_t k = 0; k < b->next; k++) {
		snprintf(file, sizeof(file), "m%zu", k);
		(void)unlinkat(b->dir, file, 0);	/* a link has none */
	}
}

void bundle_done(struct bundle *b)
{
	const char *key;
	size_t it = 0;
	struct member *m;

	for (size_t i = 0; i < b->nimages; i++)
		bundle_image_done(&b->images[i]);
	free(b->images);
	while (b->members && (m = map_next(b->members, &it, &key)))
		member_free(m);
	map_free(b->members);
	memset(b, 0, sizeof(*b));
}
