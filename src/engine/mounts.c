/* SPDX-License-Identifier: Apache-2.0 */
/* What users say about mounts (-v, --mount, --volumes-from, VOLUME of the image, --tmpfs) into mount points, and those into OCI mounts. */
#include "engine/mounts.h"

#include <string.h>

static const char *const propagations[] = { "private", "rprivate", "shared", "rshared", "slave", "rslave", NULL };

static bool word_in(const char *const *list, const char *w)
{
	for (; *list; list++) {
		if (!strcmp(*list, w))
			return true;
	}
	return false;
}

/* As Go's path.Clean for an absolute path; NULL when it climbs above its root. The caller frees. */
static char *clean_path(const char *p)
{
	char **part = str_split(p, '/');
	struct buf b = BUF_INIT;
	bool bad = *p != '/';

	for (size_t i = 0; part && part[i] && !bad; i++) {
		if (!*part[i] || !strcmp(part[i], "."))
			continue;
		bad = !strcmp(part[i], "..");
		buf_printf(&b, "/%s", part[i]);
	}
	strv_free(part);
	if (bad) {
		buf_done(&b);
		return NULL;
	}
	if (!b.len)
		buf_addc(&b, '/');
	return buf_take(&b);
}

static const json_t *point_at(const json_t *points, const char *dst)
{
	const json_t *v;
	size_t i;

	json_array_foreach(points, i, v) {
		if (str_eq(json_str(v, "Destination", ""), dst))
			return v;
	}
	return NULL;
}

static json_t *point_new(const char *type, const char *src, const char *dst, bool rw)
{
	bool volume = str_eq(type, "volume"), bind = str_eq(type, "bind");
	json_t *p = json_pack("{s:s}", "Type", type);

	if (volume)
		doc_set(p, "Name", json_string(src));
	doc_set(p, "Source", json_string(bind ? src : ""));
	doc_set(p, "Destination", json_string(dst));
	if (volume) {
		doc_set(p, "Driver", json_string("local"));
		if (!*src)
			doc_set(p, "Anonymous", json_true());
	}
	doc_set(p, "Mode", json_string(volume ? "z" : ""));
	doc_set(p, "RW", json_boolean(rw));
	doc_set(p, "Propagation", json_string(bind ? "rprivate" : ""));
	return p;
}

static int target_of(const char *what, const char *type, const char *given, char **ret, struct err *e)
{
	*ret = *given ? clean_path(given) : NULL;
	if (!*given)
		return err_set(e, ERR_INVALID, "%sinvalid mount config for type \"%s\": field Target must not be empty", what, type);
	if (!*ret)
		return err_set(e, ERR_INVALID, "%sinvalid mount config for type \"%s\": invalid mount path: '%s' mount path must be absolute", what, type, given);
	if (str_eq(*ret, "/")) {
		free(TAKE(*ret));
		return err_set(e, ERR_INVALID, "%sinvalid mount config for type \"%s\": invalid specification: destination can't be '/'", what, type);
	}
	return 0;
}

/* "ro,z,rslave,nocopy" into p (NULL: only checked). */
static int apply_mode(json_t *p, const char *mode, bool bind)
{
	static const char *const ignored[] = { "z", "Z", "consistent", "cached", "delegated", "default", NULL };
	char **opt = str_split(mode, ',');
	int ret = 0;

	for (size_t i = 0; opt && opt[i] && ret == 0; i++) {
		if (str_eq(opt[i], "ro") || str_eq(opt[i], "rw")) {
			if (p)
				doc_set(p, "RW", json_boolean(str_eq(opt[i], "rw")));
		} else if (word_in(propagations, opt[i])) {
			if (!bind)
				ret = -1;
			else if (p)
				doc_set(p, "Propagation", json_string(opt[i]));
		} else if (str_eq(opt[i], "nocopy")) {
			if (p && !bind)
				doc_set(p, "NoCopy", json_true());
		} else if (!word_in(ignored, opt[i])) {
			ret = -1;
		}
	}
	if (!opt || !opt[0])
		ret = -1;
	strv_free(opt);
	return ret;
}

/* "dst", "dst:mode", "src:dst", "src:dst:mode". */
static json_t *parse_bind(const char *bind, const char *driver, struct err *e)
{
	char **part = str_split(bind, ':'), *dst CLEANUP(mem_freep) = NULL, *src CLEANUP(mem_freep) = NULL, *what CLEANUP(mem_freep) = NULL;
	size_t n = strv_len(part);
	const char *mode = NULL, *from = "", *to;
	json_t *p = NULL;
	bool is_bind;

	what = mem_printf("invalid volume specification: '%s': ", bind);
	if (n < 1 || n > 3 || str_empty(part[0]) || (n > 1 && str_empty(part[1]))) {
		err_set(e, ERR_INVALID, "invalid volume specification: '%s'", bind);
		goto out;
	}
	to = part[0];
	if (n == 2 && *part[1] != '/' && apply_mode(NULL, part[1], true) == 0) {
		mode = part[1];
	} else if (n > 1) {
		from = part[0];
		to = part[1];
		mode = n == 3 ? part[2] : NULL;
	}
	is_bind = *from == '/';
	if (target_of(what, is_bind ? "bind" : "volume", to, &dst, e) < 0)
		goto out;
	if (is_bind) {
		src = clean_path(from);
		if (!src) {
			err_set(e, ERR_INVALID, "%sinvalid mount path: '%s' must not contain '..'", what, from);
			goto out;
		}
	}
	p = point_new(is_bind ? "bind" : "volume", is_bind ? src : from, dst, true);
	if (is_bind)
		doc_set(p, "CreateSource", json_true());
	else if (!str_empty(driver))
		doc_set(p, "Driver", json_string(driver));
	if (mode) {
		if (apply_mode(p, mode, is_bind) < 0) {
			err_set(e, ERR_INVALID, "invalid mode: %s", mode);
			json_decref(TAKE(p));
			goto out;
		}
		doc_set(p, "Mode", json_string(mode));
	}
out:
	strv_free(part);
	return p;
}

static int tmpfs_words(const char *target, char *const *opt, json_t *list, struct err *e)
{
	static const char *const known[] = { "rw", "ro", "noexec", "exec", "nosuid", "suid", "nodev", "dev", "noatime", "atime", "relatime",
					     "nodiratime", "diratime", "strictatime", "sync", "async", "nosymfollow", "swap", "noswap",
					     "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable", NULL };

	json_array_append_new(list, json_string("noexec"));
	json_array_append_new(list, json_string("nosuid"));
	json_array_append_new(list, json_string("nodev"));
	for (size_t i = 0; opt && opt[i]; i++) {
		static const char *const keys[] = { "size=", "mode=", "uid=", "gid=", "nr_inodes=", "nr_blocks=", "mpol=", "huge=" };
		bool ok = word_in(known, opt[i]) && !str_eq(opt[i], "swap");

		for (size_t k = 0; k < N(keys); k++)
			ok = ok || (str_starts(opt[i], keys[k]) && opt[i][strlen(keys[k])]);
		if (!ok)
			return err_set(e, ERR_INVALID, "invalid tmpfs option \"%s\" for %s", opt[i], target);
		json_array_append_new(list, json_string(opt[i]));
	}
	return 0;
}

json_t *spec_tmpfs(const char *target, const char *options, struct err *e)
{
	char **opt = str_empty(options) ? NULL : str_split(options, ','), *dst CLEANUP(mem_freep) = NULL;
	json_t *list = json_array(), *ret = NULL;

	if (target_of("", "tmpfs", target, &dst, e) == 0 && tmpfs_words(target, opt, list, e) == 0)
		ret = json_pack("{s:s, s:s, s:s, s:O}", "destination", dst, "type", "tmpfs", "source", "tmpfs", "options", list);
	json_decref(list);
	strv_free(opt);
	return ret;
}

/* Options of a kind the mount is not of. */
static int stray_options(const json_t *m, const char *type, struct err *e)
{
	static const struct { const char *key, *type; } own[] = {
		{ "BindOptions", "bind" }, { "VolumeOptions", "volume" }, { "TmpfsOptions", "tmpfs" }, { "ImageOptions", "image" }, { "ClusterOptions", "cluster" },
	};

	for (size_t i = 0; i < N(own); i++) {
		if (json_object_size(json_obj(m, own[i].key)) && strcmp(own[i].type, type))
			return err_set(e, ERR_INVALID, "invalid mount config for type \"%s\": field %s must not be specified", type, own[i].key);
	}
	return 0;
}

static int mount_bind(json_t *p, const json_t *m, bool ro, struct err *e)
{
	const json_t *o = json_obj(m, "BindOptions");
	const char *propagation = json_str(o, "Propagation", "");
	bool flat = json_flag(o, "NonRecursive", false), ro_flat = json_flag(o, "ReadOnlyNonRecursive", false), force = json_flag(o, "ReadOnlyForceRecursive", false);

	if (*propagation && !word_in(propagations, propagation))
		return err_set(e, ERR_INVALID, "invalid mount config for type \"bind\": invalid propagation mode: %s", propagation);
	if ((ro_flat || force) && !ro)
		return err_set(e, ERR_INVALID, "invalid mount config for type \"bind\": BindOptions.%s needs ReadOnly", ro_flat ? "ReadOnlyNonRecursive" : "ReadOnlyForceRecursive");
	if (force && (flat || ro_flat || (*propagation && !str_ends(propagation, "private"))))
		return err_set(e, ERR_INVALID, "invalid mount config for type \"bind\": BindOptions.ReadOnlyForceRecursive needs a recursive, private mount");
	if (*propagation)
		doc_set(p, "Propagation", json_string(propagation));
	if (json_flag(o, "CreateMountpoint", false))
		doc_set(p, "CreateSource", json_true());
	if (flat)
		doc_set(p, "NonRecursive", json_true());
	if (ro_flat)
		doc_set(p, "ReadOnlyNonRecursive", json_true());
	if (force)
		doc_set(p, "ForceRecursive", json_true());
	return 0;
}

/* Relative and inside: Go's filepath.IsLocal. */
static bool is_local(const char *p)
{
	char **part = str_split(p, '/');
	bool ok = *p && *p != '/';

	for (size_t i = 0; ok && part[i]; i++)
		ok = strcmp(part[i], "..") != 0;
	strv_free(part);
	return ok;
}

static int mount_volume(json_t *p, const json_t *m, struct err *e)
{
	const json_t *o = json_obj(m, "VolumeOptions"), *d = json_obj(o, "DriverConfig");
	const char *subpath = json_str(o, "Subpath", ""), *driver = json_str(d, "Name", "");

	if (*subpath && str_empty(json_str(m, "Source", "")))
		return err_set(e, ERR_INVALID, "invalid mount config for type \"volume\": must not set Subpath when using anonymous volumes");
	if (*subpath && !is_local(subpath))
		return err_set(e, ERR_INVALID, "invalid mount config for type \"volume\": subpath must be a relative path within the volume");
	if (json_flag(o, "NoCopy", false))
		doc_set(p, "NoCopy", json_true());
	if (*subpath)
		doc_set(p, "Subpath", json_string(subpath));
	if (*driver)
		doc_set(p, "Driver", json_string(driver));
	if (json_object_size(json_obj(d, "Options")))
		doc_set(p, "DriverOpts", json_deep_copy(json_obj(d, "Options")));
	if (json_object_size(json_obj(o, "Labels")))
		doc_set(p, "Labels", json_deep_copy(json_obj(o, "Labels")));
	return 0;
}

static int mount_tmpfs(json_t *p, const json_t *m, bool ro, struct err *e)
{
	const json_t *o = json_obj(m, "TmpfsOptions"), *v;
	int64_t size = json_i64(o, "SizeBytes", 0), mode = json_i64(o, "Mode", 0);
	char **opt = strv_add(NULL, ro ? "ro" : "rw");
	json_t *words = json_array();
	size_t i;
	int ret;

	if (size > 0) {
		char *w CLEANUP(mem_freep) = mem_printf("size=%lld", (long long)size);

		opt = strv_add(opt, w);
	}
	if (mode > 0) {
		char *w CLEANUP(mem_freep) = mem_printf("mode=%llo", (unsigned long long)mode & 07777);

		opt = strv_add(opt, w);
	}
	json_array_foreach(json_arr(o, "Options"), i, v) {	/* [["uid", "1000"], ["exec"]] */
		const char *key = json_at(v, 0), *value = json_at(v, 1);
		char *w CLEANUP(mem_freep) = mem_printf("%s%s%s", key ? key : "", value ? "=" : "", value ? value : "");

		opt = strv_add(opt, w);
	}
	ret = size < 0 ? err_set(e, ERR_INVALID, "invalid mount config for type \"tmpfs\": size must be greater than or equal to 0") :
	      tmpfs_words(json_str(p, "Destination", ""), opt, words, e);
	if (ret == 0)
		doc_set(p, "Options", json_incref(words));
	json_decref(words);
	strv_free(opt);
	return ret;
}

static json_t *parse_mount(const json_t *m, struct err *e)
{
	const char *type = json_str(m, "Type", ""), *src = json_str(m, "Source", "");
	char *dst CLEANUP(mem_freep) = NULL, *from CLEANUP(mem_freep) = NULL;
	bool ro = json_flag(m, "ReadOnly", false);
	json_t *p;
	int r;

	if (!json_is_object(m)) {
		err_set(e, ERR_INVALID, "invalid mount config: an element of Mounts is not an object");
		return NULL;
	}
	if (strcmp(type, "bind") && strcmp(type, "volume") && strcmp(type, "tmpfs")) {
		err_set(e, ERR_INVALID, !strcmp(type, "image") || !strcmp(type, "cluster") || !strcmp(type, "npipe") ? "mount type \"%s\" is not supported" :
			"mount type unknown: \"%s\"", type);
		return NULL;
	}
	if (target_of("", type, json_str(m, "Target", ""), &dst, e) < 0 || stray_options(m, type, e) < 0)
		return NULL;
	if (str_eq(type, "bind")) {
		from = *src ? clean_path(src) : NULL;
		if (!from) {
			err_set(e, ERR_INVALID, *src ? "invalid mount config for type \"bind\": invalid mount path: '%s' mount path must be absolute" :
				"invalid mount config for type \"bind\": field Source must not be empty%s", src);
			return NULL;
		}
		src = from;
	} else if (str_eq(type, "tmpfs") && *src) {
		err_set(e, ERR_INVALID, "invalid mount config for type \"tmpfs\": field Source must not be specified");
		return NULL;
	}
	p = point_new(type, src, dst, !ro);
	r = str_eq(type, "bind") ? mount_bind(p, m, ro, e) : str_eq(type, "volume") ? mount_volume(p, m, e) : mount_tmpfs(p, m, ro, e);
	if (r < 0) {
		json_decref(p);
		return NULL;
	}
	return p;
}

static int add_point(json_t *points, json_t *p, const json_t *host, struct err *e)
{
	const char *dst;

	if (!p)
		return -1;
	dst = json_str(p, "Destination", "");
	if (point_at(points, dst) || json_object_get(json_obj(host, "Tmpfs"), dst)) {
		err_set(e, ERR_INVALID, "Duplicate mount point: %s", dst);
		json_decref(p);
		return -1;
	}
	json_array_append_new(points, p);
	return 0;
}

/* What --volumes-from brings is replaced by what the container says itself. */
static void override(json_t *points, size_t inherited, const char *dst)
{
	json_t *v;
	size_t i;

	json_array_foreach(points, i, v) {
		if (i < inherited && str_eq(json_str(v, "Destination", ""), dst)) {
			json_array_remove(points, i);
			return;
		}
	}
}

static int inherit(json_t *points, const struct mounts_in *in, const char *word, struct err *e)
{
	const char *colon = strchr(word, ':'), *mode = colon ? colon + 1 : "rw";
	char *ref CLEANUP(mem_freep) = mem_strndup(word, strcspn(word, ":"));
	const json_t *theirs;
	json_t *v;
	size_t i;

	if (!*ref)
		return err_set(e, ERR_INVALID, "malformed volumes-from specification: \"%s\"", word);
	if (strcmp(mode, "rw") && strcmp(mode, "ro") && strcmp(mode, "z") && strcmp(mode, "Z"))
		return err_set(e, ERR_INVALID, "invalid mode for volumes-from: %s", mode);
	theirs = in->from ? in->from(in->user, ref, e) : NULL;
	/* 400, not 404: clients take that for a missing image, and pull */
	if (!theirs)
		return err_set(e, ERR_INVALID, "No such container: %s", ref);
	json_array_foreach(theirs, i, v) {
		json_t *p = json_deep_copy(v);

		doc_set(p, "Mode", json_string(""));
		doc_set(p, "NoCopy", json_true());
		if (str_eq(mode, "ro"))
			doc_set(p, "RW", json_false());
		override(points, json_array_size(points), json_str(p, "Destination", ""));
		json_array_append_new(points, p);
	}
	return 0;
}

static int add_declared(json_t *points, const json_t *declared, const struct mounts_in *in, struct err *e)
{
	const char *dst;
	json_t *v;

	json_object_foreach((json_t *)declared, dst, v) {
		char *clean CLEANUP(mem_freep) = NULL;
		json_t *p;

		if (target_of("", "volume", dst, &clean, e) < 0)
			return -1;
		if (point_at(points, clean) || json_object_get(json_obj(in->host, "Tmpfs"), clean))
			continue;
		p = point_new("volume", "", clean, true);
		doc_set(p, "Mode", json_string(""));
		if (*json_str(in->host, "VolumeDriver", ""))
			doc_set(p, "Driver", json_string(json_str(in->host, "VolumeDriver", "")));
		json_array_append_new(points, p);
	}
	return 0;
}

json_t *mounts_parse(const struct mounts_in *in, struct err *e)
{
	const char *driver = json_str(in->host, "VolumeDriver", "");
	json_t *points = json_array(), *own = json_array(), *v;
	size_t i;

	json_array_foreach(json_arr(in->host, "VolumesFrom"), i, v) {
		if (inherit(points, in, json_string_value(v), e) < 0)
			goto fail;
	}
	json_array_foreach(json_arr(in->host, "Binds"), i, v) {
		if (add_point(own, parse_bind(json_string_value(v), driver, e), in->host, e) < 0)
			goto fail;
	}
	json_array_foreach(json_arr(in->host, "Mounts"), i, v) {
		if (add_point(own, parse_mount(v, e), in->host, e) < 0)
			goto fail;
	}
	json_array_foreach(own, i, v)
		override(points, json_array_size(points), json_str(v, "Destination", ""));
	json_array_extend(points, own);
	/* config: the image's and the request's are one by now */
	if (add_declared(points, json_obj(in->config, "Volumes"), in, e) < 0)
		goto fail;
	json_decref(own);
	return points;
fail:
	json_decref(own);
	json_decref(points);
	return NULL;
}

json_t *doc_mounts(const struct container *c)
{
	return json_arr(c->doc, "MountPoints");
}

bool mounts_prepared(const json_t *p)
{
	return *json_str(p, "Subpath", "") || str_ends(json_str(p, "Propagation", ""), "shared");
}

json_t *mounts_oci(const json_t *p, size_t index, const char *bundle)
{
	const char *type = json_str(p, "Type", ""), *dst = json_str(p, "Destination", "");
	bool bind = str_eq(type, "bind"), ro = !json_flag(p, "RW", true);
	json_t *options, *m;

	if (str_eq(type, "tmpfs"))
		return json_pack("{s:s, s:s, s:s, s:O}", "destination", dst, "type", "tmpfs", "source", "tmpfs", "options", json_object_get(p, "Options"));
	options = json_array();
	json_array_append_new(options, json_string(json_flag(p, "NonRecursive", false) ? "bind" : "rbind"));
	json_array_append_new(options, json_string(bind ? json_str(p, "Propagation", "rprivate") : "rprivate"));
	/* Not "rw": a volume that is mounted read-only stays so. */
	if (ro)
		json_array_append_new(options, json_string("ro"));
	/* What is mounted below a read-only bind is read-only too, unless told otherwise. */
	if (ro && !json_flag(p, "ReadOnlyNonRecursive", false) && !json_flag(p, "NonRecursive", false))
		json_array_append_new(options, json_string("rro"));
	m = json_pack("{s:s, s:s, s:O, s:o}", "destination", dst, "type", "bind", "source", json_object_get(p, "Source"), "options", options);
	if (mounts_prepared(p) && bundle) {
		doc_set(m, "source", json_sprintf("%s/source-%zu", bundle, index));
		doc_set(m, "kedge.source", json_pack("{s:O, s:s, s:b}", "base", json_object_get(p, "Source"), "subpath", json_str(p, "Subpath", ""),
						     "shared", str_ends(json_str(p, "Propagation", ""), "shared")));
	}
	return m;
}

void mounts_write(struct buf *b, const json_t *points)
{
	static const char *const keys[] = { "Type", "Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation" };
	json_t *v;
	size_t i;

	(void)buf_addc(b, '[');
	json_array_foreach(points, i, v) {
		jsonw_item(b);
		(void)buf_addc(b, '{');
		for (size_t k = 0; k < N(keys); k++) {
			const json_t *part = json_object_get(v, keys[k]);

			if (part)
				jsonw_key_value(b, keys[k], part);
		}
		(void)buf_addc(b, '}');
	}
	(void)buf_addc(b, ']');
}
