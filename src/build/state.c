/* SPDX-License-Identifier: Apache-2.0 */
#include "build/state.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/word.h"
#include "image/image.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What --build-arg may set without an ARG; not part of the cache's key. */
static const char *const proxies[] = {
	"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy",
};

/* Environment. */

static const char *env_get(const json_t *config, const char *name)
{
	json_t *env = json_arr(config, "Env"), *v;
	size_t i, n = strlen(name);

	json_array_foreach(env, i, v) {
		const char *s = json_string_value(v);

		if (s && !strncmp(s, name, n) && s[n] == '=')
			return s + n + 1;
	}
	return NULL;
}

static void env_set(json_t *config, const char *name, const char *value)
{
	json_t *env = json_arr(config, "Env"), *v;
	size_t i, n = strlen(name);

	if (!env)
		json_object_set_new(config, "Env", env = json_array());
	json_array_foreach(env, i, v) {
		const char *s = json_string_value(v);

		if (s && !strncmp(s, name, n) && s[n] == '=') {
			json_array_set_new(env, i, json_sprintf("%s=%s", name, value));
			return;
		}
	}
	json_array_append_new(env, json_sprintf("%s=%s", name, value));
}

void build_state_init(struct build_state *s, const json_t *config, const json_t *meta, const json_t *given, char escape)
{
	*s = (struct build_state){ .config = json_is_object(config) ? json_deep_copy(config) : json_object(), .author = NULL, .escape = escape,
				   .args = json_object(), .meta = meta, .given = given };
	if (!env_get(s->config, "PATH"))
		env_set(s->config, "PATH", DEFAULT_PATH);
}

void build_state_done(struct build_state *s)
{
	json_decref(s->config);
	json_decref(s->args);
	free(s->author);
	memset(s, 0, sizeof(*s));
}

const char *build_arg_value(const json_t *own, const json_t *meta, const json_t *given, const char *name)
{
	const json_t *v = json_object_get(given, name);

	if (json_is_string(v))
		return json_string_value(v);
	v = json_object_get(own, name);
	if (json_is_string(v))
		return json_string_value(v);
	if (v)
		return json_str(meta, name, NULL);
	return NULL;
}

static bool is_proxy(const char *name)
{
	for (size_t i = 0; i < N(proxies); i++)
		if (str_eq(proxies[i], name))
			return true;
	return false;
}

static const char *arg_get(const struct build_state *s, const char *name)
{
	if (json_object_get(s->args, name))
		return build_arg_value(s->args, s->meta, s->given, name);
	return is_proxy(name) ? json_str(s->given, name, NULL) : NULL;
}

static const char *vars_get(void *user, const char *name)
{
	const struct build_state *s = user;
	const char *v = env_get(s->config, name);

	return v ? v : arg_get(s, name);
}

struct build_vars build_state_vars(const struct build_state *s)
{
	return (struct build_vars){ .get = vars_get, .user = (void *)s, .escape = s->escape };
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *build_state_run_args(const struct build_state *s, bool keyed)
{
	json_t *out = json_array(), *v;
	char **list = NULL;
	const char *name;

	json_object_foreach(s->args, name, v) {
		const char *value = arg_get(s, name);
		CLEANUP(mem_freep) char *pair = value && !env_get(s->config, name) ? mem_printf("%s=%s", name, value) : NULL;

		if (pair)
			list = strv_add(list, pair);
	}
	for (size_t i = 0; !keyed && i < N(proxies); i++) {
		const char *value = json_object_get(s->args, proxies[i]) ? NULL : arg_get(s, proxies[i]);
		CLEANUP(mem_freep) char *pair = value && !env_get(s->config, proxies[i]) ? mem_printf("%s=%s", proxies[i], value) : NULL;

		if (pair)
			list = strv_add(list, pair);
	}
	if (list)
		qsort(list, strv_len(list), sizeof(*list), by_text);
	for (char **p = list; p && *p; p++)
		json_array_append_new(out, json_string(*p));
	strv_free(list);
	return out;
}

json_t *build_state_shell(const struct build_state *s)
{
	json_t *own = json_arr(s->config, "Shell");

	return json_array_size(own) ? json_copy(own) : json_pack("[s, s]", "/bin/sh", "-c");
}

json_t *build_state_command(const struct build_state *s, const struct build_line *l)
{
	json_t *cmd = l->json ? json_array() : *l->args ? build_state_shell(s) : json_array();

	for (char **a = l->args; *a; a++)
		json_array_append_new(cmd, json_string(*a));
	return cmd;
}

/* Go's filepath.Join of two, the second absolute or not. */
static char *join_clean(const char *base, const char *path)
{
	CLEANUP(mem_freep) char *full = *path == '/' ? mem_strdup(path) : mem_printf("%s/%s", base, path);
	char *out = mem_alloc(strlen(full) + 2);
	size_t n = 0;

	for (const char *p = full; *p;) {
		size_t len = strcspn(p, "/");

		if (len == 2 && p[0] == '.' && p[1] == '.') {
			while (n && out[--n] != '/')
				;
		} else if (len && !(len == 1 && *p == '.')) {
			out[n++] = '/';
			memcpy(out + n, p, len);
			n += len;
		}
		p += len;
		p += strspn(p, "/");
	}
	if (!n)
		out[n++] = '/';
	out[n] = '\0';
	return out;
}

char *build_state_path(const struct build_state *s, const char *path)
{
	const char *base = json_str(s->config, "WorkingDir", "/");

	return join_clean(*base ? base : "/", path);
}

/* Docker's texts. */

/* Go's strconv.Quote, as far as text from a Dockerfile needs it. */
static void put_quoted(struct buf *b, const char *s)
{
	static const char named[] = "\a\b\f\n\r\t\v", letters[] = "abfnrtv";

	buf_addc(b, '"');
	for (; *s; s++) {
		const char *at = strchr(named, *s);

		if (at)
			buf_printf(b, "\\%c", letters[at - named]);
		else if (*s == '"' || *s == '\\')
			buf_printf(b, "\\%c", *s);
		else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			buf_printf(b, "\\x%02x", (unsigned)*s);
		else
			buf_addc(b, *s);
	}
	buf_addc(b, '"');
}

/* %q or %v of a list: ["a" "b"] or [a b]. */
static void put_list(struct buf *b, const json_t *list, bool quoted)
{
	json_t *v;
	size_t i;

	buf_addc(b, '[');
	json_array_foreach(list, i, v) {
		if (i)
			buf_addc(b, ' ');
		if (quoted)
			put_quoted(b, json_string_value(v));
		else
			buf_adds(b, json_string_value(v));
	}
	buf_addc(b, ']');
}

/* Go's Duration.String(). */
static void put_duration(struct buf *b, int64_t ns)
{
	int64_t s = ns / 1000000000;
	char frac[16];
	size_t n;

	if (ns && ns < 1000000000) {
		const char *unit = ns < 1000 ? "ns" : ns < 1000000 ? "\xc2\xb5s" : "ms";

		buf_printf(b, "%.15g%s", (double)ns / (ns < 1000 ? 1 : ns < 1000000 ? 1e3 : 1e6), unit);
		return;
	}
	if (s >= 3600)
		buf_printf(b, "%lldh", (long long)(s / 3600));
	if (s >= 60)
		buf_printf(b, "%lldm", (long long)(s / 60 % 60));
	buf_printf(b, "%lld", (long long)(s % 60));
	if (ns % 1000000000) {
		n = (size_t)snprintf(frac, sizeof(frac), ".%09lld", (long long)(ns % 1000000000));
		while (frac[n - 1] == '0')
			frac[--n] = '\0';
		buf_adds(b, frac);
	}
	buf_addc(b, 's');
}

/* Go's %q of the health config's struct. */
static void put_health(struct buf *b, const json_t *h)
{
	static const char *const keys[] = { "Interval", "Timeout", "StartPeriod", "StartInterval" };
	static const char named[] = "\a\b\f\n\r\t\v", letters[] = "abfnrtv";
	int64_t n = json_i64(h, "Retries", 0);

	buf_adds(b, "&{");
	put_list(b, json_arr(h, "Test"), true);
	for (size_t i = 0; i < N(keys); i++) {
		buf_adds(b, " \"");
		put_duration(b, json_i64(h, keys[i], 0));
		buf_addc(b, '"');
	}
	if (n && n < 0x20 && strchr(named, (int)n))
		buf_printf(b, " '\\%c'}", letters[strchr(named, (int)n) - named]);
	else if (n < 0x20 || n == 0x7f)
		buf_printf(b, " '\\x%02x'}", (unsigned)n);
	else if (n < 0x80)
		buf_printf(b, n == '\'' || n == '\\' ? " '\\%c'}" : " '%c'}", (int)n);
	else
		buf_printf(b, " '\\U%08x'}", (unsigned)n);
}

char *build_join(const json_t *words)
{
	struct buf b = BUF_INIT;
	json_t *v;
	size_t i;

	json_array_foreach(words, i, v)
		buf_printf(&b, "%s%s", i ? " " : "", json_string_value(v));
	return buf_take(&b);
}

char *build_state_created_by(const struct build_state *s, const char *comment, bool gap)
{
	CLEANUP(json_freep) json_t *shell = build_state_shell(s);
	CLEANUP(mem_freep) char *words = build_join(shell);

	return mem_printf("%s #(nop) %s%s", words, gap ? " " : "", comment);
}

/* Instructions. */

/* The words of a line, each expanded; -1 with e. */
static int expand_all(const struct build_vars *v, char *const *words, char ***ret, struct err *e)
{
	char **out = mem_zalloc(sizeof(*out));
	size_t n = 0;

	for (; *words; words++) {
		CLEANUP(mem_freep) char *w = build_word(v, *words, e);

		if (!w) {
			strv_free(out);
			return -1;
		}
		out = strv_push(out, &n, w);
	}
	*ret = out;
	return 0;
}

static json_t *sub_object(json_t *config, const char *key)
{
	json_t *o = json_obj(config, key);

	if (!o)
		json_object_set_new(config, key, o = json_object());
	return o;
}

enum { ENV_MAX = 1024 * 1024 };

static int apply_env(struct build_state *s, char **pairs, struct buf *b, struct err *e)
{
	json_t *v;
	size_t sum = 0, i;

	for (; pairs[0]; pairs += 2) {
		if (!*pairs[0] || strchr(pairs[0], '='))
			return err_set(e, ERR_INVALID, "ENV names can not be blank");
		env_set(s->config, pairs[0], pairs[1]);
		buf_printf(b, " %s=%s", pairs[0], pairs[1]);
	}
	json_array_foreach(json_arr(s->config, "Env"), i, v)
		sum += json_string_length(v) + 1;
	return sum > ENV_MAX ? err_set(e, ERR_INVALID, "the environment is larger than 1 MiB") : 0;
}

static int apply_label(struct build_state *s, char **pairs, struct buf *b, struct err *e)
{
	json_t *labels = sub_object(s->config, "Labels");

	for (; pairs[0]; pairs += 2) {
		if (!*pairs[0])
			return err_set(e, ERR_INVALID, "LABEL names can not be blank");
		json_object_set_new(labels, pairs[0], json_string(pairs[1]));
		buf_printf(b, " %s=%s", pairs[0], pairs[1]);
	}
	return 0;
}

static int apply_expose(struct build_state *s, const struct build_vars *v, const struct build_line *l, struct buf *b, struct err *e)
{
	CLEANUP(strv_freep) char **ports = NULL;
	size_t n = 0;

	for (char **a = l->args; *a; a++) {
		CLEANUP(strv_freep) char **words = build_words(v, *a, e);

		if (!words)
			return -1;
		for (char **w = words; *w; w++) {
			CLEANUP(mem_freep) char *change = mem_printf("EXPOSE %s", *w);

			if (image_change(s->config, change, e) < 0)
				return -1;
			ports = strv_push(ports, &n, *a);
		}
	}
	if (n)
		qsort(ports, n, sizeof(*ports), by_text);
	for (size_t i = 0; i < n; i++)
		if (!i || !str_eq(ports[i], ports[i - 1]))
			buf_printf(b, " %s", ports[i]);
	return 0;
}

static int signal_ok(const char *word, struct err *e)
{
	uint64_t n;

	if (str_to_u64(word, 1, 64, &n) == 0)
		return 0;
	if (!strncasecmp(word, "SIG", 3))
		word += 3;
	for (int k = 1; k < 32; k++)
		if (sigabbrev_np(k) && !strcasecmp(word, sigabbrev_np(k)))
			return 0;
	if (!strncasecmp(word, "RTMIN", 5) || !strncasecmp(word, "RTMAX", 5))
		return 0;
	return err_set(e, ERR_INVALID, "invalid signal: %.100s", word);
}

int build_arg_add(json_t *args, const struct build_step *step, const struct build_vars *v, struct err *e)
{
	for (char **a = step->line->args; *a; a++) {
		const char *equal = strchr(*a, '=');
		CLEANUP(mem_freep) char *raw = equal ? mem_strndup(*a, (size_t)(equal - *a)) : mem_strdup(*a);
		CLEANUP(mem_freep) char *name = build_word(v, raw, e), *value = NULL;

		if (!name)
			return -1;
		if (equal) {
			value = build_word(v, equal + 1, e);
			if (!value)
				return -1;
		}
		if (!*name)
			return err_set(e, ERR_INVALID, "ARG names can not be blank");
		json_object_set_new(args, name, value ? json_string(value) : json_null());
	}
	return 0;
}

static int apply_arg(struct build_state *s, const struct build_step *step, const struct build_vars *v, struct buf *b, struct err *e)
{
	CLEANUP(json_freep) json_t *fresh = json_object();
	const char *name;
	json_t *value;

	if (build_arg_add(fresh, step, v, e) < 0)
		return -1;
	json_object_foreach(fresh, name, value) {
		buf_printf(b, json_is_string(value) ? " %s=%s" : " %s", name, json_string_value(value));
		json_object_set(s->args, name, value);
	}
	return 0;
}

static int apply_volume(struct build_state *s, char **words, struct buf *b, struct err *e)
{
	json_t *volumes = sub_object(s->config, "Volumes");
	CLEANUP(json_freep) json_t *list = json_array();

	for (char **w = words; *w; w++) {
		if (!**w)
			return err_set(e, ERR_INVALID, "VOLUME specified can not be an empty string");
		json_object_set_new(volumes, *w, json_object());
		json_array_append_new(list, json_string(*w));
	}
	buf_addc(b, ' ');
	put_list(b, list, false);
	return 0;
}

static void apply_health(struct build_state *s, const json_t *health, struct buf *b, char **note)
{
	const json_t *old = json_arr(json_obj(s->config, "Healthcheck"), "Test");
	CLEANUP(buf_done) struct buf n = BUF_INIT;

	if (json_array_size(old) && !str_eq(json_at(old, 0), "NONE")) {
		buf_adds(&n, "Note: overriding previous HEALTHCHECK: ");
		put_list(&n, old, false);
		buf_addc(&n, '\n');
		*note = buf_take(&n);
	}
	json_object_set_new(s->config, "Healthcheck", json_deep_copy(health));
	buf_addc(b, ' ');
	put_health(b, health);
}

static void apply_command(struct build_state *s, const struct build_step *step, struct buf *b)
{
	CLEANUP(json_freep) json_t *cmd = build_state_command(s, step->line);
	bool entry = step->op == BUILD_ENTRYPOINT, empty = !json_array_size(cmd);

	if (empty)
		json_object_del(s->config, entry ? "Entrypoint" : "Cmd");
	else
		json_object_set(s->config, entry ? "Entrypoint" : "Cmd", cmd);
	if (entry && !s->cmd_set)
		json_object_del(s->config, "Cmd");
	if (!entry && !empty)
		s->cmd_set = true;
	buf_addc(b, ' ');
	put_list(b, cmd, true);
}

static int apply(struct build_state *s, const struct build_step *step, struct buf *b, char **note, struct err *e)
{
	const struct build_vars v = build_state_vars(s);
	const struct build_line *l = step->line;
	CLEANUP(strv_freep) char **words = NULL;
	CLEANUP(mem_freep) char *path = NULL;
	json_t *list;

	switch (step->op) {
	case BUILD_ARG:
		return apply_arg(s, step, &v, b, e);
	case BUILD_EXPOSE:
		return apply_expose(s, &v, l, b, e);
	case BUILD_CMD:
	case BUILD_ENTRYPOINT:
		apply_command(s, step, b);
		return 0;
	case BUILD_HEALTHCHECK:
		apply_health(s, step->health, b, note);
		return 0;
	case BUILD_MAINTAINER:
		free(s->author);
		s->author = mem_strdup(l->args[0]);
		buf_printf(b, " %s", s->author);
		return 0;
	case BUILD_ONBUILD:
		list = json_arr(s->config, "OnBuild");
		if (!list)
			json_object_set_new(s->config, "OnBuild", list = json_array());
		json_array_append_new(list, json_string(step->trigger));
		buf_printf(b, " %s", step->trigger);
		return 0;
	case BUILD_SHELL:
		list = build_state_command(s, l);
		json_object_set_new(s->config, "Shell", list);
		buf_addc(b, ' ');
		put_list(b, list, false);
		return 0;
	default:
		break;
	}
	if (step->literal)
		return apply_label(s, l->args, b, e);
	if (expand_all(&v, l->args, &words, e) < 0)
		return -1;
	switch (step->op) {
	case BUILD_ENV:
		return apply_env(s, words, b, e);
	case BUILD_LABEL:
		return apply_label(s, words, b, e);
	case BUILD_VOLUME:
		return apply_volume(s, words, b, e);
	case BUILD_STOPSIGNAL:
		if (signal_ok(words[0], e) < 0)
			return -1;
		json_object_set_new(s->config, "StopSignal", json_string(words[0]));
		buf_printf(b, " %s", words[0]);
		return 0;
	case BUILD_USER:
		json_object_set_new(s->config, "User", json_string(words[0]));
		buf_printf(b, " %s", words[0]);
		return 0;
	case BUILD_WORKDIR:
		if (!*words[0])
			return err_set(e, ERR_INVALID, "cannot normalize nothing");
		path = build_state_path(s, words[0]);
		json_object_set_new(s->config, "WorkingDir", json_string(path));
		buf_printf(b, " %s", path);
		return 0;
	default:
		return err_set(e, ERR_INTERNAL, "%s is no instruction of this kind", build_op_name(step->op));
	}
}

int build_state_apply(struct build_state *s, const struct build_step *step, char **comment, char **note, struct err *e)
{
	struct buf b = BUF_INIT;

	*comment = *note = NULL;
	buf_adds(&b, build_op_name(step->op));
	if (apply(s, step, &b, note, e) < 0) {
		buf_done(&b);
		return -1;
	}
	*comment = buf_take(&b);
	return 0;
}
