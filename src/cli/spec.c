/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/spec.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum { FILE_MAX_SIZE = 4 << 20 };

const char *spec_errno(int code)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s", strerror(code));
	if (text[0] >= 'A' && text[0] <= 'Z')
		text[0] = (char)(text[0] - 'A' + 'a');
	return text;
}

json_t *spec_text(const char *text, struct err *e)
{
	json_t *v = json_string(text);

	if (!v)
		err_set(e, ERR_INVALID, "an argument is not valid UTF-8");
	return v;
}

static int put(json_t *o, const char *key, const char *value, struct err *e)
{
	json_t *v = spec_text(value, e);

	if (!v)
		return -1;
	return json_object_set_new(o, key, v) < 0 ? err_set(e, ERR_INVALID, "an argument is not valid UTF-8") : 0;
}

static int append(json_t *a, const char *value, struct err *e)
{
	json_t *v = spec_text(value, e);

	return v ? json_array_append_new(a, v) : -1;
}

/* docker makes "./x" and "../x" whole; other words without a slash in front name volumes. */
static char *whole_path(const char *p)
{
	char cwd[PATH_MAX];

	if (*p != '.' || !getcwd(cwd, sizeof(cwd)))
		return mem_strdup(p);
	if (str_eq(p, "."))
		return mem_strdup(cwd);
	while (str_starts(p, "./"))
		p += 2;
	return mem_printf("%s/%s", cwd, p);
}

int spec_volume(const char *text, json_t *binds, json_t *volumes, struct err *e)
{
	const char *colon = strchr(text, ':');
	char *src CLEANUP(mem_freep) = NULL, *full CLEANUP(mem_freep) = NULL, *bind CLEANUP(mem_freep) = NULL;

	if (!*text || (colon && (colon == text || !colon[1])))
		return err_set(e, ERR_INVALID, "invalid volume specification: '%.200s'", text);
	if (!colon) {
		if (*text != '/')
			return err_set(e, ERR_INVALID, "invalid volume specification: '%.200s': the path in the container must be absolute", text);
		return json_object_set_new(volumes, text, json_object()) < 0 ? err_set(e, ERR_INVALID, "an argument is not valid UTF-8") : 0;
	}
	src = mem_strndup(text, (size_t)(colon - text));
	full = whole_path(src);
	bind = mem_printf("%s%s", full, colon);
	return append(binds, bind, e);
}

/* Go's encoding/csv for one line: fields in quotes may hold commas, "" is a quote. */
char **spec_csv(const char *s)
{
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	char **out = NULL;
	bool quoted = false;

	for (;; s++) {
		if (*s == '"' && quoted && s[1] == '"')
			buf_addc(&b, *s++);
		else if (*s == '"' && (quoted || !b.len))
			quoted = !quoted;
		else if (!*s || (*s == ',' && !quoted)) {
			out = strv_add(out, b.data ? b.data : "");
			buf_reset(&b);
			if (!*s)
				return out;
		} else
			buf_addc(&b, *s);
	}
}

static json_t *sub_object(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	if (!v) {
		v = json_object();
		json_object_set_new(o, key, v);
	}
	return v;
}

static int mount_flag(const char *key, const char *value, bool *ret, struct err *e)
{
	if (!value || str_eq(value, "true") || str_eq(value, "1"))
		*ret = true;
	else if (str_eq(value, "false") || str_eq(value, "0"))
		*ret = false;
	else
		return err_set(e, ERR_INVALID, "invalid value for %s: %.100s", key, value);
	return 0;
}

static int mount_field(json_t *m, const char *key, const char *value, struct err *e)
{
	bool flag;
	uint64_t n;
	char *end;

	if (str_eq(key, "readonly") || str_eq(key, "ro"))
		return mount_flag(key, value, &flag, e) < 0 ? -1 : json_object_set_new(m, "ReadOnly", json_boolean(flag));
	if (str_eq(key, "volume-nocopy"))
		return mount_flag(key, value, &flag, e) < 0 ? -1 : json_object_set_new(sub_object(m, "VolumeOptions"), "NoCopy", json_boolean(flag));
	if (str_eq(key, "bind-nonrecursive"))
		return mount_flag(key, value, &flag, e) < 0 ? -1 : json_object_set_new(sub_object(m, "BindOptions"), "NonRecursive", json_boolean(flag));
	if (!value)
		return err_set(e, ERR_INVALID, "invalid field '%.100s' must be a key=value pair", key);
	if (str_eq(key, "type"))
		return put(m, "Type", value, e);
	if (str_eq(key, "source") || str_eq(key, "src"))
		return put(m, "Source", value, e);
	if (str_eq(key, "target") || str_eq(key, "dst") || str_eq(key, "destination"))
		return put(m, "Target", value, e);
	if (str_eq(key, "consistency"))
		return put(m, "Consistency", value, e);
	if (str_eq(key, "bind-propagation"))
		return put(sub_object(m, "BindOptions"), "Propagation", value, e);
	if (str_eq(key, "volume-subpath"))
		return put(sub_object(m, "VolumeOptions"), "Subpath", value, e);
	if (str_eq(key, "volume-driver"))
		return put(sub_object(sub_object(m, "VolumeOptions"), "DriverConfig"), "Name", value, e);
	if (str_eq(key, "volume-opt"))
		return spec_label(value, sub_object(sub_object(sub_object(m, "VolumeOptions"), "DriverConfig"), "Options"), e);
	if (str_eq(key, "volume-label"))
		return spec_label(value, sub_object(sub_object(m, "VolumeOptions"), "Labels"), e);
	if (str_eq(key, "tmpfs-size")) {
		if (str_to_size(value, &n) < 0)
			return err_set(e, ERR_INVALID, "invalid value for %s: %.100s", key, value);
		return json_object_set_new(sub_object(m, "TmpfsOptions"), "SizeBytes", json_integer((json_int_t)n));
	}
	if (str_eq(key, "tmpfs-mode")) {
		n = strtoul(value, &end, 8);
		if (!*value || *end || n > 07777)
			return err_set(e, ERR_INVALID, "invalid value for %s: %.100s", key, value);
		return json_object_set_new(sub_object(m, "TmpfsOptions"), "Mode", json_integer((json_int_t)n));
	}
	return err_set(e, ERR_INVALID, "unexpected key '%.100s' in '%.100s=%.100s'", key, key, value);
}

int spec_mount(const char *text, json_t *mounts, struct err *e)
{
	char **fields CLEANUP(strv_freep) = spec_csv(text);
	json_t *m CLEANUP(json_freep) = json_object();
	const char *type, *src;

	for (size_t i = 0; fields[i]; i++) {
		char *value = strchr(fields[i], '=');

		if (value)
			*value++ = '\0';
		for (char *p = fields[i]; *p; p++)
			*p = (char)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
		if (mount_field(m, fields[i], value, e) < 0)
			return -1;
	}
	type = json_str(m, "Type", "");
	if (!*type)
		put(m, "Type", type = "volume", e);
	if (!*json_str(m, "Target", ""))
		return err_set(e, ERR_INVALID, "target is required");
	if (json_obj(m, "BindOptions") && !str_eq(type, "bind"))
		return err_set(e, ERR_INVALID, "cannot mix 'bind-*' options with mount type '%s'", type);
	if (json_obj(m, "VolumeOptions") && !str_eq(type, "volume"))
		return err_set(e, ERR_INVALID, "cannot mix 'volume-*' options with mount type '%s'", type);
	if (json_obj(m, "TmpfsOptions") && !str_eq(type, "tmpfs"))
		return err_set(e, ERR_INVALID, "cannot mix 'tmpfs-*' options with mount type '%s'", type);
	src = json_str(m, "Source", "");
	if (str_eq(type, "bind") && *src == '.') {
		char *full CLEANUP(mem_freep) = whole_path(src);

		put(m, "Source", full, e);
	}
	json_array_append(mounts, m);
	return 0;
}

int spec_restart(const char *text, json_t **ret, struct err *e)
{
	char *name CLEANUP(mem_freep) = mem_strdup(text), *count = strchr(name, ':');
	int64_t n = 0;

	if (count)
		*count++ = '\0';
	if (!*name && count)
		return err_set(e, ERR_INVALID, "invalid restart policy format: no policy provided before colon");
	if (count && str_to_i64(count, INT32_MIN, INT32_MAX, &n) < 0)
		return err_set(e, ERR_INVALID, "invalid restart policy format: maximum retry count must be an integer");
	*ret = json_pack("{s:s, s:I}", "Name", name, "MaximumRetryCount", (json_int_t)n);
	return *ret ? 0 : err_set(e, ERR_INVALID, "an argument is not valid UTF-8");
}

int spec_ulimit(const char *text, json_t *ulimits, struct err *e)
{
	static const char *const known[] = { "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
					     "sigpending", "stack" };
	char *name CLEANUP(mem_freep) = mem_strdup(text), *value = strchr(name, '='), *hard;
	int64_t soft_n, hard_n;
	size_t k;
	json_t *u;

	if (!value || value == name)
		return err_set(e, ERR_INVALID, "invalid ulimit argument: %.100s", text);
	*value++ = '\0';
	for (k = 0; k < N(known) && !str_eq(known[k], name); k++)
		;
	if (k == N(known))
		return err_set(e, ERR_INVALID, "invalid ulimit type: %.100s", name);
	hard = strchr(value, ':');
	if (hard)
		*hard++ = '\0';
	if (str_to_i64(value, -1, INT64_MAX, &soft_n) < 0 || str_to_i64(hard ? hard : value, -1, INT64_MAX, &hard_n) < 0)
		return err_set(e, ERR_INVALID, "the limits of '%.100s' are no numbers", text);
	if (hard_n != -1 && (soft_n == -1 || soft_n > hard_n))
		return err_set(e, ERR_INVALID, "ulimit soft limit must be less than or equal to hard limit: %lld > %lld", (long long)soft_n, (long long)hard_n);
	u = json_pack("{s:s, s:I, s:I}", "Name", name, "Hard", (json_int_t)hard_n, "Soft", (json_int_t)soft_n);
	return u ? json_array_append_new(ulimits, u) : err_set(e, ERR_INVALID, "an argument is not valid UTF-8");
}

int spec_device(const char *text, json_t *devices, struct err *e)
{
	char **w CLEANUP(strv_freep) = str_split(text, ':');
	const char *in, *mode = "rwm";
	json_t *d;

	if (strv_len(w) > 3 || !*w[0])
		return err_set(e, ERR_INVALID, "bad format for path: %.200s", text);
	in = w[0];
	if (w[1] && w[1][0] == '/')
		in = w[1];
	else if (w[1])
		mode = w[1];
	if (w[1] && w[2])
		mode = w[2];
	if (strspn(mode, "rwm") != strlen(mode) || !*mode)
		return err_set(e, ERR_INVALID, "invalid device mode: %.60s", mode);
	d = json_pack("{s:s, s:s, s:s}", "PathOnHost", w[0], "PathInContainer", in, "CgroupPermissions", mode);
	return d ? json_array_append_new(devices, d) : err_set(e, ERR_INVALID, "an argument is not valid UTF-8");
}

static int device_number(const char *text, const char *key, bool bytes, json_t *devices, struct err *e)
{
	const char *colon = strrchr(text, ':');
	char *path CLEANUP(mem_freep) = colon ? mem_strndup(text, (size_t)(colon - text)) : NULL;
	uint64_t n = 0;
	json_t *d;

	if (!colon || colon == text || !colon[1])
		return err_set(e, ERR_INVALID, "bad format: %.200s", text);
	if (!str_starts(path, "/dev/"))
		return err_set(e, ERR_INVALID, "bad format for device path: %.200s", text);
	if ((bytes ? str_to_size(colon + 1, &n) : str_to_u64(colon + 1, 0, INT64_MAX, &n)) < 0)
		return err_set(e, ERR_INVALID, bytes ? "invalid rate for device: %.200s. The correct format is <device-path>:<number>[<unit>]. Number must be a "
			       "positive integer. Unit is optional and can be kb, mb, or gb" :
			       "invalid rate for device: %.200s. The correct format is <device-path>:<number>. Number must be a positive integer", text);
	d = json_pack("{s:s, s:I}", "Path", path, key, (json_int_t)n);
	return d ? json_array_append_new(devices, d) : err_set(e, ERR_INVALID, "an argument is not valid UTF-8");
}

int spec_throttle_bytes(const char *text, json_t *devices, struct err *e)
{
	return device_number(text, "Rate", true, devices, e);
}

int spec_throttle_number(const char *text, json_t *devices, struct err *e)
{
	return device_number(text, "Rate", false, devices, e);
}

int spec_weight(const char *text, json_t *devices, struct err *e)
{
	return device_number(text, "Weight", false, devices, e);
}

int spec_env(const char *text, json_t *env, struct err *e)
{
	char *pair CLEANUP(mem_freep) = NULL;

	if (!*text || *text == '=')
		return err_set(e, ERR_INVALID, "invalid environment variable: %.100s", text);
	if (!strchr(text, '=') && getenv(text))
		pair = mem_printf("%s=%s", text, getenv(text));
	return append(env, pair ? pair : text, e);
}

/* Calls line() for each line that is neither empty nor a comment. */
static int each_line(const char *path, int (*line)(const char *text, json_t *out, struct err *e), json_t *out, struct err *e)
{
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	char **lines CLEANUP(strv_freep) = NULL;
	int r = file_read_at(AT_FDCWD, path, FILE_MAX_SIZE, &b);

	if (r < 0)
		return err_set(e, ERR_INVALID, "open %s: %s", path, spec_errno(-r));
	if (!str_utf8_valid(b.data ? b.data : "", b.len) || (b.data && strlen(b.data) != b.len))
		return err_set(e, ERR_INVALID, "%s: invalid utf8 bytes", path);
	lines = str_split(b.data ? b.data : "", '\n');
	for (size_t i = 0; lines[i]; i++) {
		char *p = lines[i] + strspn(lines[i], " \t\r\n\v\f");
		size_t n = strlen(p);

		if (n && p[n - 1] == '\r')
			p[n - 1] = '\0';
		if (*p && *p != '#' && line(p, out, e) < 0)
			return err_wrap(e, "%s", path);
	}
	return 0;
}

static int env_line(const char *text, json_t *env, struct err *e)
{
	size_t name = strcspn(text, "=");

	if (!name)
		return err_set(e, ERR_INVALID, "no variable name on line '%.100s'", text);
	if (strcspn(text, " \t") < name)
		return err_set(e, ERR_INVALID, "variable '%.*s' contains whitespaces", (int)(name > 100 ? 100 : name), text);
	if (!text[name])
		return getenv(text) ? spec_env(text, env, e) : 0;
	return append(env, text, e);
}

int spec_env_file(const char *path, json_t *env, struct err *e)
{
	return each_line(path, env_line, env, e);
}

int spec_label(const char *text, json_t *labels, struct err *e)
{
	char *key CLEANUP(mem_freep) = mem_strdup(text), *value = strchr(key, '=');

	if (value)
		*value++ = '\0';
	if (!*key)
		return err_set(e, ERR_INVALID, "invalid label '%.100s': empty name", text);
	return put(labels, key, value ? value : "", e);
}

int spec_label_file(const char *path, json_t *labels, struct err *e)
{
	return each_line(path, spec_label, labels, e);
}

int spec_host(const char *text, json_t *hosts, struct err *e)
{
	size_t name = strcspn(text, ":=");
	char *word CLEANUP(mem_freep) = NULL;

	if (!name || !text[name])
		return err_set(e, ERR_INVALID, "bad format for add-host: \"%.200s\"", text);
	word = mem_printf("%.*s:%s", (int)name, text, text + name + 1);
	return append(hosts, word, e);
}

/* The same parsers, with what they make thrown away. */

int spec_check_env(const char *text, struct err *why)
{
	json_t *out CLEANUP(json_freep) = json_array();

	return spec_env(text, out, why);
}

int spec_check_mount(const char *text, struct err *why)
{
	json_t *out CLEANUP(json_freep) = json_array();

	return spec_mount(text, out, why);
}

int spec_check_ulimit(const char *text, struct err *why)
{
	json_t *out CLEANUP(json_freep) = json_array();

	return spec_ulimit(text, out, why);
}

int spec_check_host(const char *text, struct err *why)
{
	json_t *out CLEANUP(json_freep) = json_array();

	return spec_host(text, out, why);
}

int spec_check_address(const char *text, struct err *why)
{
	struct in6_addr a;

	if (inet_pton(AF_INET, text, &a) == 1 || inet_pton(AF_INET6, text, &a) == 1)
		return 0;
	return err_set(why, ERR_INVALID, "IP address is not correctly formatted: %.100s", text);
}

int spec_check_sysctl(const char *text, struct err *why)
{
	static const char *const ipc[] = { "kernel.msgmax=", "kernel.msgmnb=", "kernel.msgmni=", "kernel.sem=", "kernel.shmall=", "kernel.shmmax=", "kernel.shmmni=",
					   "kernel.shm_rmid_forced=" };

	for (size_t i = 0; i < N(ipc); i++) {
		if (str_starts(text, ipc[i]))
			return 0;
	}
	if (strchr(text, '=') && (str_starts(text, "net.") || str_starts(text, "fs.mqueue.")))
		return 0;
	return err_set(why, ERR_INVALID, "sysctl '%.100s' is not allowed", text);
}

int spec_check_attach(const char *text, struct err *why)
{
	if (!strcasecmp(text, "stdin") || !strcasecmp(text, "stdout") || !strcasecmp(text, "stderr"))
		return 0;
	return err_set(why, ERR_INVALID, "valid streams are STDIN, STDOUT and STDERR");
}
