/* SPDX-License-Identifier: Apache-2.0 */
/* ContainerSummary and its filters. */
#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/engine_priv.h"

static json_t *ports(const struct container *c)
{
	json_t *out = json_array(), *list, *v;
	const char *key;
	size_t i;

	if (c->phase != PHASE_RUNNING)
		return out;
	json_object_foreach(json_obj(c->net, "Ports"), key, list) {
		const char *slash = strchr(key, '/');
		int port = atoi(key);

		json_array_foreach(list, i, v)
			json_array_append_new(out, json_pack("{s:s, s:i, s:i, s:s}", "IP", json_str(v, "HostIp", ""), "PrivatePort", port,
							     "PublicPort", atoi(json_str(v, "HostPort", "0")), "Type", slash ? slash + 1 : "tcp"));
	}
	json_object_foreach(json_obj(doc_config(c), "ExposedPorts"), key, v) {
		const char *slash = strchr(key, '/');

		if (!json_array_size(json_object_get(json_obj(c->net, "Ports"), key)))
			json_array_append_new(out, json_pack("{s:i, s:s}", "PrivatePort", atoi(key), "Type", slash ? slash + 1 : "tcp"));
	}
	return out;
}

static char *status_text(const struct container *c)
{
	const json_t *s = doc_state(c);
	const char *status = json_str(s, "Status", ""), *health = json_str(json_obj(s, "Health"), "Status", "");
	int64_t now = clock_wall();
	char span[64];

	if (str_eq(status, "running")) {
		str_human_duration((now - doc_time(s, "StartedAt")) / 1000000000, span, sizeof(span));
		return mem_printf("Up %s%s%s%s", span, *health ? str_eq(health, "starting") ? " (health: " : " (" : "", health, *health ? ")" : "");
	}
	if (str_eq(status, "paused")) {
		str_human_duration((now - doc_time(s, "StartedAt")) / 1000000000, span, sizeof(span));
		return mem_printf("Up %s (Paused)", span);
	}
	if (str_eq(status, "created"))
		return mem_strdup("Created");
	str_human_duration((now - doc_time(s, "FinishedAt")) / 1000000000, span, sizeof(span));
	return mem_printf("%s (%lld) %s ago", str_eq(status, "restarting") ? "Restarting" : "Exited", (long long)json_i64(s, "ExitCode", 0), span);
}

/* docker's COMMAND column is the path and arguments, joined. */
static json_t *command_text(const struct container *c)
{
	struct buf b = BUF_INIT;
	json_t *v, *out;
	size_t i;

	buf_adds(&b, json_str(c->doc, "Path", ""));
	json_array_foreach(json_object_get(c->doc, "Args"), i, v) {
		const char *s = json_string_value(v);
		bool quote = !*s || strpbrk(s, " \t\n'\"");

		buf_addc(&b, ' ');
		if (quote && strchr(s, '\'') == NULL) {
			buf_printf(&b, "'%s'", s);
		} else if (quote) {
			buf_addc(&b, '\'');
			for (; *s; s++) {
				if (*s == '\'')
					buf_adds(&b, "\\'");
				else
					buf_addc(&b, *s);
			}
			buf_addc(&b, '\'');
		} else {
			buf_adds(&b, s);
		}
	}
	out = json_bytes(b.data, b.len);
	buf_done(&b);
	return out;
}

/* The name it was made with, or the image's id when that name means another image by now. */
static const char *image_name(const struct container *c)
{
	const char *name = json_str(c->doc, "ImageName", ""), *id = json_str(c->doc, "Image", "");
	struct image *im = image_find(c->en->images, name, NULL);

	return im && str_eq(image_id(im), id) ? name : id;
}

static json_t *mounts(const struct container *c)
{
	json_t *doc = engine_inspect(c->en, c->id, false, NULL), *m = json_incref(json_object_get(doc, "Mounts"));

	json_decref(doc);
	return m;
}

static int64_t tree_size(int dirfd, int depth)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int64_t sum = 0;

	while (d && (de = readdir(d))) {
		struct stat st;
		int sub;

		if (str_eq(de->d_name, ".") || str_eq(de->d_name, "..") || fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISREG(st.st_mode))
			sum += st.st_size;
		if (!S_ISDIR(st.st_mode) || depth >= 64)
			continue;
		sub = openat(fd, de->d_name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0) {
			sum += tree_size(sub, depth + 1);
			fd_closep(&sub);
		}
	}
	if (d)
		closedir(d);
	return sum;
}

static json_t *summary(const struct container *c, bool size)
{
	char *status CLEANUP(mem_freep) = status_text(c);
	json_t *doc, *nets = json_object(), *inspect = engine_inspect(c->en, c->id, false, NULL);

	json_object_update(nets, json_object_get(json_object_get(inspect, "NetworkSettings"), "Networks"));
	json_decref(inspect);
	doc = json_pack("{s:s, s:[O], s:s, s:s, s:o, s:I, s:o, s:o, s:O, s:s, s:{s:s}, s:{s:o}, s:o}", "Id", c->id,
			"Names", json_object_get(c->doc, "Name"), "Image", image_name(c), "ImageID", json_str(c->doc, "Image", ""),
			"Command", command_text(c), "Created", (json_int_t)(doc_time(c->doc, "Created") / 1000000000), "Ports", ports(c),
			"State", json_string(json_str(doc_state(c), "Status", "")), "Labels", json_object_get(doc_config(c), "Labels"),
			"Status", status, "HostConfig", "NetworkMode", doc_network(c), "NetworkSettings", "Networks", nets, "Mounts", mounts(c));
	if (size) {
		char *dir CLEANUP(mem_freep) = container_dir(c), *upper CLEANUP(mem_freep) = mem_printf("%s/upper", dir);
		int fd CLEANUP(fd_closep) = open(upper, O_PATH | O_DIRECTORY | O_CLOEXEC);

		json_object_set_new(doc, "SizeRw", json_integer(fd < 0 ? 0 : tree_size(fd, 0)));
		json_object_set_new(doc, "SizeRootFs", json_integer(0));
	}
	return doc;
}

/* Filters */

static bool has(const json_t *want, const char *value)
{
	return json_object_get(want, value) != NULL;
}

static bool names_match(const json_t *want, const struct container *c)
{
	const char *key, *name = container_name(c);
	json_t *v;

	json_object_foreach((json_t *)want, key, v) {
		const char *k = *key == '^' ? key + 1 : key;
		size_t n;

		k += *k == '/';
		n = strlen(k);
		/* docker takes a regular expression; anchors and plain text are what people write */
		if (n && k[n - 1] == '$' ? (key[0] == '^' ? strlen(name) == n - 1 && !strncmp(name, k, n - 1) :
					    strlen(name) >= n - 1 && !strncmp(name + strlen(name) - (n - 1), k, n - 1)) :
		    key[0] == '^' ? str_starts(name, k) : strstr(name, k) != NULL)
			return true;
	}
	return false;
}

static bool labels_match(const json_t *want, const json_t *labels)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)want, key, v) {
		const char *eq = strchr(key, '=');
		char *name CLEANUP(mem_freep) = eq ? mem_strndup(key, (size_t)(eq - key)) : mem_strdup(key);
		const char *have = json_str(labels, name, NULL);

		if (!have || (eq && !str_eq(have, eq + 1)))
			return false;
	}
	return true;
}

static bool prefix_match(const json_t *want, const char *value)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)want, key, v) {
		if (str_starts(value, key))
			return true;
	}
	return false;
}

static bool port_match(const json_t *want, const json_t *list, const char *field)
{
	const char *key;
	json_t *v, *p;
	size_t i;

	json_object_foreach((json_t *)want, key, v) {
		char *proto = strchr(key, '/');
		int from = atoi(key), to = from;
		const char *dash = strchr(key, '-');

		if (dash)
			to = atoi(dash + 1);
		json_array_foreach(list, i, p) {
			int64_t port = json_i64(p, field, 0);

			if (port && port >= from && port <= to && (!proto || str_eq(proto + 1, json_str(p, "Type", ""))))
				return true;
		}
	}
	return false;
}

static bool volume_match(const json_t *want, const json_t *list)
{
	json_t *m;
	size_t i;

	json_array_foreach(list, i, m) {
		if (has(want, json_str(m, "Source", "")) || has(want, json_str(m, "Destination", "")) || has(want, json_str(m, "Name", "")))
			return true;
	}
	return false;
}

static bool ancestor_match(const json_t *want, const struct container *c)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)want, key, v) {
		struct image *im = image_find(c->en->images, key, NULL);

		if (im && str_eq(image_id(im), json_str(c->doc, "Image", "")))
			return true;
	}
	return false;
}

static bool network_match(const json_t *want, const struct container *c)
{
	return has(want, doc_network(c)) || (c->net && prefix_match(want, json_str(c->net, "NetworkID", "")));
}

static bool exited_match(const json_t *want, const struct container *c)
{
	char code[24];

	snprintf(code, sizeof(code), "%lld", (long long)json_i64(doc_state(c), "ExitCode", 0));
	return doc_time(doc_state(c), "FinishedAt") && !json_flag(doc_state(c), "Running", false) && has(want, code);
}

static bool matches(const json_t *filters, const struct container *c, const json_t *doc)
{
	const char *key;
	json_t *want;

	json_object_foreach((json_t *)filters, key, want) {
		bool ok = true;

		if (json_object_size(want) == 0)
			continue;
		if (str_eq(key, "id"))
			ok = prefix_match(want, c->id);
		else if (str_eq(key, "name"))
			ok = names_match(want, c);
		else if (str_eq(key, "label"))
			ok = labels_match(want, json_object_get(doc, "Labels"));
		else if (str_eq(key, "status"))
			ok = has(want, json_str(doc, "State", ""));
		else if (str_eq(key, "exited"))
			ok = exited_match(want, c);
		else if (str_eq(key, "ancestor"))
			ok = ancestor_match(want, c);
		else if (str_eq(key, "network"))
			ok = network_match(want, c);
		else if (str_eq(key, "volume"))
			ok = volume_match(want, json_object_get(doc, "Mounts"));
		else if (str_eq(key, "publish"))
			ok = port_match(want, json_object_get(doc, "Ports"), "PublicPort");
		else if (str_eq(key, "expose"))
			ok = port_match(want, json_object_get(doc, "Ports"), "PrivatePort");
		else if (str_eq(key, "health"))
			ok = has(want, json_str(json_obj(doc_state(c), "Health"), "Status", "none"));
		else if (str_eq(key, "is-task"))
			ok = has(want, "false");
		if (!ok)
			return false;
	}
	return true;
}

static int check_filters(struct engine *en, const json_t *filters, int64_t *before, int64_t *since, struct err *e)
{
	static const char *const known[] = { "id", "name", "label", "status", "exited", "ancestor", "network", "volume", "publish", "expose", "health",
					     "is-task", "before", "since" };
	static const char *const states[] = { "created", "running", "paused", "restarting", "removing", "exited", "dead" };
	const char *key, *word;
	json_t *want, *v;
	size_t i;

	json_object_foreach((json_t *)filters, key, want) {
		for (i = 0; i < N(known) && strcmp(known[i], key); i++)
			;
		if (i == N(known))
			return err_set(e, ERR_INVALID, "invalid filter '%s'", key);
		json_object_foreach(want, word, v) {
			if (str_eq(key, "status")) {
				for (i = 0; i < N(states) && strcmp(states[i], word); i++)
					;
				if (i == N(states))
					return err_set(e, ERR_INVALID, "invalid filter 'status=%s'", word);
			}
			if (str_eq(key, "before") || str_eq(key, "since")) {
				struct container *c = engine_find(en, word, e);

				if (!c)
					return -1;
				*(str_eq(key, "before") ? before : since) = doc_time(c->doc, "Created");
			}
		}
	}
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct container *x = *(struct container *const *)a, *y = *(struct container *const *)b;
	int64_t tx = doc_time(x->doc, "Created"), ty = doc_time(y->doc, "Created");

	return tx < ty ? 1 : tx > ty ? -1 : 0;
}

json_t *engine_list(struct engine *en, bool all, int limit, bool size, const json_t *filters, struct err *e)
{
	struct container **v = mem_alloc((map_len(en->by_id) + 1) * sizeof(*v)), *c;
	int64_t before = 0, since = 0;
	json_t *out = NULL;
	size_t it = 0, n = 0;

	if (check_filters(en, filters, &before, &since, e) < 0)
		goto out;
	if (limit > 0 || json_object_get(filters, "status") || json_object_get(filters, "exited") || before || since)
		all = all || limit > 0 || json_object_get(filters, "status") || json_object_get(filters, "exited");
	while ((c = map_next(en->by_id, &it, NULL))) {
		if (all || json_flag(doc_state(c), "Running", false))
			v[n++] = c;
	}
	qsort(v, n, sizeof(*v), newest_first);
	out = json_array();
	for (size_t i = 0; i < n && (limit <= 0 || (int)json_array_size(out) < limit); i++) {
		int64_t at = doc_time(v[i]->doc, "Created");
		json_t *doc;

		if ((before && at >= before) || (since && at <= since))
			continue;
		doc = summary(v[i], size);
		if (matches(filters, v[i], doc))
			json_array_append_new(out, doc);
		else
			json_decref(doc);
	}
out:
	free(v);
	return out;
}
