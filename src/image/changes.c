/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/image_priv.h"

/* The Dockerfile instructions that `import --change` takes: CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR. */

static const char *skip_blank(const char *s)
{
	return s + strspn(s, " \t\r\n");
}

/* One word with Dockerfile quoting; advances *p. NULL: none left. stop_at_equal: "key" of key=value. */
static char *next_word(const char **p, bool stop_at_equal)
{
	const char *s = skip_blank(*p);
	char *out, quote = 0;
	size_t n = 0;

	if (!*s)
		return NULL;
	out = mem_alloc(strlen(s) + 1);
	for (; *s && (quote || !strchr(" \t\r\n", *s)); s++) {
		if (!quote && stop_at_equal && *s == '=')
			break;
		if (*s == '\\' && s[1] && quote != '\'')
			out[n++] = *++s;
		else if (quote ? *s == quote : *s == '"' || *s == '\'')
			quote = quote ? 0 : *s;
		else
			out[n++] = *s;
	}
	out[n] = '\0';
	*p = s;
	return out;
}

/* "["a", "b"]" or a shell line. */
static json_t *command(const char *arg)
{
	json_t *a = *arg == '[' ? json_parse(arg, strlen(arg), "command", NULL) : NULL;
	bool strings = json_is_array(a);

	for (size_t i = 0; strings && i < json_array_size(a); i++)
		strings = json_is_string(json_array_get(a, i));
	if (strings)
		return a;
	json_decref(a);
	return json_pack("[s, s, s]", "/bin/sh", "-c", arg);
}

static json_t *sub_object(json_t *config, const char *key)
{
	json_t *o = json_obj(config, key);

	if (!o) {
		o = json_object();
		json_object_set_new(config, key, o);
	}
	return o;
}

static int change_env(json_t *config, const char *arg, struct err *e)
{
	json_t *env = json_arr(config, "Env");

	if (!env) {
		env = json_array();
		json_object_set_new(config, "Env", env);
	}
	while (*(arg = skip_blank(arg))) {
		CLEANUP(mem_freep) char *key = next_word(&arg, true), *value = NULL, *pair = NULL;
		size_t n = strlen(key);

		if (*arg == '=') {
			arg++;
			value = *arg && !strchr(" \t", *arg) ? next_word(&arg, false) : mem_strdup("");
		} else if (*(arg = skip_blank(arg))) {
			value = mem_strdup(arg);	/* the old form: ENV key the rest */
			arg += strlen(arg);
		}
		if (!n || !value)
			return err_set(e, ERR_INVALID, "ENV needs key=value, not '%.200s'", key);
		for (size_t i = json_array_size(env); i-- > 0;)
			if (str_starts(json_at(env, i), key) && json_at(env, i)[n] == '=')
				json_array_remove(env, i);
		pair = mem_printf("%s=%s", key, value);
		json_array_append_new(env, json_string(pair));
	}
	return 0;
}

static int change_label(json_t *config, const char *arg, struct err *e)
{
	json_t *labels = sub_object(config, "Labels");

	while (*(arg = skip_blank(arg))) {
		CLEANUP(mem_freep) char *key = next_word(&arg, true), *value = NULL;

		if (*key && *arg == '=') {
			arg++;
			value = *arg && !strchr(" \t", *arg) ? next_word(&arg, false) : mem_strdup("");
		}
		if (!value)
			return err_set(e, ERR_INVALID, "LABEL needs key=value, not '%.200s'", key);
		json_object_set_new(labels, key, json_string(value));
	}
	return 0;
}

static int change_expose(json_t *config, const char *arg, struct err *e)
{
	json_t *ports = sub_object(config, "ExposedPorts");
	char *word;

	while ((word = next_word(&arg, false))) {
		CLEANUP(mem_freep) char *w = word, *end = NULL;
		char *slash = strchr(w, '/'), *dash;
		const char *proto = slash ? slash + 1 : "tcp";
		uint64_t lo, hi;

		if (slash)
			*slash = '\0';
		dash = strchr(w, '-');
		if (dash)
			*dash = '\0';
		if ((strcasecmp(proto, "tcp") && strcasecmp(proto, "udp") && strcasecmp(proto, "sctp")) || str_to_u64(w, 1, 65535, &lo) < 0 ||
		    str_to_u64(dash ? dash + 1 : w, lo, 65535, &hi) < 0)
			return err_set(e, ERR_INVALID, "EXPOSE: '%.100s%s%.100s/%.20s' is no port", w, dash ? "-" : "", dash ? dash + 1 : "", proto);
		for (uint64_t p = lo; p <= hi; p++) {
			char key[32];

			snprintf(key, sizeof(key), "%u/%s", (unsigned)p, !strcasecmp(proto, "udp") ? "udp" : !strcasecmp(proto, "sctp") ? "sctp" : "tcp");
			json_object_set_new(ports, key, json_object());
		}
	}
	return 0;
}

static int change_volume(json_t *config, const char *arg, struct err *e)
{
	json_t *volumes = sub_object(config, "Volumes"), *list = *arg == '[' ? json_parse(arg, strlen(arg), "VOLUME", NULL) : NULL;
	char *word;

	if (*arg == '[' && !json_is_array(list)) {
		json_decref(list);
		return err_set(e, ERR_INVALID, "VOLUME: '%.200s' is no JSON list", arg);
	}
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_at(list, i))
			json_object_set_new(volumes, json_at(list, i), json_object());
	while (!list && (word = next_word(&arg, false))) {
		json_object_set_new(volumes, word, json_object());
		free(word);
	}
	json_decref(list);
	return 0;
}

static int change_healthcheck(json_t *config, const char *arg, struct err *e)
{
	json_t *h = json_object(), *cmd, *test;

	json_object_set_new(config, "Healthcheck", h);
	while (str_starts(arg = skip_blank(arg), "--")) {
		CLEANUP(mem_freep) char *key = next_word(&arg, true), *value = NULL;
		const char *name = str_eq(key, "--interval") ? "Interval" : str_eq(key, "--timeout") ? "Timeout" :
				   str_eq(key, "--start-period") ? "StartPeriod" : str_eq(key, "--start-interval") ? "StartInterval" : NULL;
		int64_t ns;
		uint64_t n;

		if (*arg == '=') {
			arg++;
			value = next_word(&arg, false);
		}
		if (name && value && str_to_duration_ns(value, &ns) == 0 && ns >= 0)
			json_object_set_new(h, name, json_integer(ns));
		else if (str_eq(key, "--retries") && value && str_to_u64(value, 0, 1000000, &n) == 0)
			json_object_set_new(h, "Retries", json_integer((json_int_t)n));
		else
			return err_set(e, ERR_INVALID, "HEALTHCHECK: '%.100s=%.100s' is no option with a fitting value", key, value ? value : "");
	}
	if (!strcasecmp(arg, "NONE")) {
		json_object_set_new(h, "Test", json_pack("[s]", "NONE"));
		return 0;
	}
	if (strncasecmp(arg, "CMD", 3) || !strchr(" \t[", arg[3]) || !*skip_blank(arg + 3))
		return err_set(e, ERR_INVALID, "HEALTHCHECK needs NONE or CMD and a command, not '%.200s'", arg);
	arg = skip_blank(arg + 3);
	cmd = *arg == '[' ? command(arg) : NULL;
	test = cmd ? json_pack("[s]", "CMD") : json_pack("[s, s]", "CMD-SHELL", arg);
	json_array_extend(test, cmd);
	json_decref(cmd);
	json_object_set_new(h, "Test", test);
	return 0;
}

static void change_workdir(json_t *config, const char *arg)
{
	const char *was = json_str(config, "WorkingDir", "/");
	CLEANUP(mem_freep) char *full = *arg == '/' ? mem_strdup(arg) : mem_printf("%s%s%s", was, str_ends(was, "/") ? "" : "/", arg);

	json_object_set_new(config, "WorkingDir", json_string(full));
}

int image_change(json_t *config, const char *instruction, struct err *e)
{
	const char *arg = skip_blank(instruction);
	char word[16];
	size_t n = strcspn(arg, " \t");

	if (!str_utf8_valid(instruction, strlen(instruction)))
		return err_set(e, ERR_INVALID, "a change is no valid UTF-8");
	snprintf(word, sizeof(word), "%.*s", n < sizeof(word) ? (int)n : 0, arg);
	arg = skip_blank(arg + n);
	if (!*arg)
		return err_set(e, ERR_INVALID, "the change '%.200s' has no argument", instruction);
	if (!strcasecmp(word, "CMD"))
		json_object_set_new(config, "Cmd", command(arg));
	else if (!strcasecmp(word, "ENTRYPOINT"))
		json_object_set_new(config, "Entrypoint", command(arg));
	else if (!strcasecmp(word, "ENV"))
		return change_env(config, arg, e);
	else if (!strcasecmp(word, "EXPOSE"))
		return change_expose(config, arg, e);
	else if (!strcasecmp(word, "HEALTHCHECK"))
		return change_healthcheck(config, arg, e);
	else if (!strcasecmp(word, "LABEL"))
		return change_label(config, arg, e);
	else if (!strcasecmp(word, "STOPSIGNAL"))
		json_object_set_new(config, "StopSignal", json_string(arg));
	else if (!strcasecmp(word, "USER"))
		json_object_set_new(config, "User", json_string(arg));
	else if (!strcasecmp(word, "VOLUME"))
		return change_volume(config, arg, e);
	else if (!strcasecmp(word, "WORKDIR"))
		change_workdir(config, arg);
	else if (!strcasecmp(word, "ONBUILD")) {
		json_t *list = json_arr(config, "OnBuild");

		if (!list)
			json_object_set_new(config, "OnBuild", list = json_array());
		json_array_append_new(list, json_string(arg));
	} else {
		return err_set(e, ERR_INVALID, "%.100s is not a valid change command", instruction);
	}
	return 0;
}
