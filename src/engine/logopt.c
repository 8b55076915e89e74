/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/logopt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <regex.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

const char *const logopt_drivers[] = { "json-file", "local", "none", "syslog", "journald", NULL };

enum { OF_FILE = 1, OF_SYSLOG = 2, OF_JOURNAL = 4, OF_SHIP = OF_SYSLOG | OF_JOURNAL, OF_LOCAL = 8, OF_ALL = 15 };

static const struct option {
	const char *name;
	int drivers;
} options[] = {
	{ "max-size", OF_FILE | OF_LOCAL }, { "max-file", OF_FILE | OF_LOCAL }, { "compress", OF_FILE | OF_LOCAL },
	{ "labels", OF_FILE | OF_SHIP }, { "labels-regex", OF_FILE | OF_SHIP }, { "env", OF_FILE | OF_SHIP }, { "env-regex", OF_FILE | OF_SHIP },
	{ "tag", OF_FILE | OF_SHIP }, { "mode", OF_ALL }, { "max-buffer-size", OF_ALL },
	{ "syslog-address", OF_SYSLOG }, { "syslog-facility", OF_SYSLOG }, { "syslog-format", OF_SYSLOG },
	{ "cache-disabled", OF_SHIP }, { "cache-max-size", OF_SHIP }, { "cache-max-file", OF_SHIP }, { "cache-compress", OF_SHIP },
};

static const char *driver_of(const json_t *lc)
{
	const char *type = json_str(lc, "Type", "");

	return *type ? type : "json-file";
}

static int kind_of(const char *driver)
{
	return str_eq(driver, "json-file") ? OF_FILE : str_eq(driver, "local") ? OF_LOCAL : str_eq(driver, "syslog") ? OF_SYSLOG :
	       str_eq(driver, "journald") ? OF_JOURNAL : 0;
}

bool logopt_available(const char *driver)
{
	return !str_eq(driver, "journald") || access(JOURNAL_SOCKET, F_OK) == 0;
}

static int facility_of(const char *word)
{
	static const char *const names[] = { "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
					     "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
					     "local7" };
	uint64_t n;

	if (str_empty(word))
		return 3;
	if (str_to_u64(word, 0, 23, &n) == 0)
		return (int)n;
	for (size_t i = 0; i < N(names); i++) {
		if (str_eq(names[i], word))
			return (int)i;
	}
	return -1;
}

static bool flag_ok(const char *v)
{
	return str_eq(v, "true") || str_eq(v, "false") || str_eq(v, "1") || str_eq(v, "0");
}

static bool flag(const json_t *config, const char *key, bool def)
{
	const char *v = json_str(config, key, NULL);

	return v ? str_eq(v, "true") || str_eq(v, "1") : def;
}

/* "unix:///path", "udp://host:port"; "" is the local daemon. */
static int check_address(const char *a, struct err *e)
{
	const char *rest, *colon;
	uint64_t port;

	if (!*a)
		return 0;
	if (str_starts(a, "unix:///") || str_starts(a, "unixgram:///"))
		return 0;
	if (str_starts(a, "tcp+tls://"))
		return err_set(e, ERR_INVALID, "syslog-address '%s': TLS to a syslog server is not supported", a);
	if (!str_starts(a, "udp://") && !str_starts(a, "tcp://"))
		return err_set(e, ERR_INVALID, "syslog-address should be in form proto://address, got proto: %.*s", (int)strcspn(a, ":"), a);
	rest = a + 6;
	colon = strrchr(rest, ':');
	if (colon && !strchr(colon, ']') && str_to_u64(colon + 1, 1, 65535, &port) < 0)
		return err_set(e, ERR_INVALID, "syslog-address '%s': the port is not a number from 1 to 65535", a);
	return *rest && colon != rest ? 0 : err_set(e, ERR_INVALID, "syslog-address '%s' names no host", a);
}

static int check_regex(const char *text, const char *key, struct err *e)
{
	regex_t re;

	if (strlen(text) > 256 || regcomp(&re, text, REG_EXTENDED | REG_NOSUB))
		return err_set(e, ERR_INVALID, "%s: '%s' is no regular expression", key, text);
	regfree(&re);
	return 0;
}

static int tag_make(const char *text, const struct log_subject *s, char **ret, struct err *e);

static int check_value(const char *key, const char *v, struct err *e)
{
	static const struct log_subject nobody = { "", "", "", "", "", NULL };
	char *tag = NULL;
	uint64_t n;
	int r;

	if (str_eq(key, "max-size") || str_eq(key, "cache-max-size") || str_eq(key, "max-buffer-size"))
		return str_eq(v, "-1") || (str_to_size(v, &n) == 0 && n > 0) ? 0 : err_set(e, ERR_INVALID, "%s: invalid size: '%s'", key, v);
	if (str_eq(key, "max-file") || str_eq(key, "cache-max-file"))
		return str_to_u64(v, 1, 1000, &n) == 0 ? 0 : err_set(e, ERR_INVALID, "%s: '%s' is not a number from 1 to 1000", key, v);
	if (str_eq(key, "compress") || str_eq(key, "cache-compress") || str_eq(key, "cache-disabled"))
		return flag_ok(v) ? 0 : err_set(e, ERR_INVALID, "%s: '%s' is neither true nor false", key, v);
	if (str_eq(key, "mode"))
		return str_eq(v, "blocking") || str_eq(v, "non-blocking") ? 0 : err_set(e, ERR_INVALID, "logger: logging mode not supported: %s", v);
	if (str_eq(key, "labels-regex") || str_eq(key, "env-regex"))
		return check_regex(v, key, e);
	if (str_eq(key, "syslog-address"))
		return check_address(v, e);
	if (str_eq(key, "syslog-facility"))
		return facility_of(v) >= 0 ? 0 : err_set(e, ERR_INVALID, "invalid syslog facility");
	if (str_eq(key, "syslog-format"))
		return !*v || str_eq(v, "rfc3164") || str_eq(v, "rfc5424") || str_eq(v, "rfc5424micro") ? 0 : err_set(e, ERR_INVALID, "Invalid syslog format");
	if (!str_eq(key, "tag"))
		return 0;
	r = tag_make(v, &nobody, &tag, e);
	free(tag);
	return r;
}

int logopt_check(const json_t *lc, struct err *e)
{
	const char *driver = driver_of(lc), *key;
	int kind = kind_of(driver);
	const json_t *config = json_obj(lc, "Config");
	json_t *v;
	size_t i;

	if (!kind && !str_eq(driver, "none"))
		return err_set(e, ERR_INVALID, "logger: no log driver named '%s' is registered", driver);
	if (!logopt_available(driver))
		return err_set(e, ERR_INVALID, "logger: the log driver 'journald' needs systemd's journal, and %s is not there", JOURNAL_SOCKET);
	json_object_foreach((json_t *)config, key, v) {
		if (!json_is_string(v))
			return err_set(e, ERR_INVALID, "log opt '%s' is not a string", key);
		for (i = 0; i < N(options) && !(str_eq(options[i].name, key) && (options[i].drivers & kind)); i++)
			;
		if (i == N(options))
			return err_set(e, ERR_INVALID, "unknown log opt '%s' for %s log driver", key, driver);
		if (check_value(key, json_string_value(v), e) < 0)
			return -1;
	}
	if (json_object_get(config, "max-buffer-size") && !str_eq(json_str(config, "mode", ""), "non-blocking"))
		return err_set(e, ERR_INVALID, "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
	if (str_eq(json_str(config, "compress", ""), "true") && (str_eq(json_str(config, "max-file", ""), "1") || str_eq(json_str(config, "max-size", ""), "-1")))
		return err_set(e, ERR_INVALID, "compress cannot be true when max-file is less than 2 or max-size is not set");
	return 0;
}

json_t *logopt_default(const char *driver, char *const *opts, struct err *e)
{
	json_t *config = json_object(), *lc = json_pack("{s:s, s:o}", "Type", str_empty(driver) ? "json-file" : driver, "Config", config);

	for (; opts && *opts; opts++) {
		const char *eq = strchr(*opts, '=');
		char *key CLEANUP(mem_freep) = eq ? mem_strndup(*opts, (size_t)(eq - *opts)) : NULL;

		if (!eq) {
			err_set(e, ERR_INVALID, "log-opt '%s' is not of the form key=value", *opts);
			goto fail;
		}
		json_object_set_new(config, key, json_string(eq + 1));
	}
	if (logopt_check(lc, e) == 0)
		return lc;
fail:
	json_decref(lc);
	return NULL;
}

json_t *logopt_fill(const json_t *body, const json_t *def)
{
	json_t *out = json_copy((json_t *)body), *host, *lc, *config, *v;
	const json_t *own = json_obj(json_obj(body, "HostConfig"), "LogConfig");
	const char *type = json_str(own, "Type", ""), *key;

	/* Of the wrong type: not ours to tell. */
	if (json_object_get(body, "HostConfig") && !json_is_null(json_object_get(body, "HostConfig")) && !json_obj(body, "HostConfig"))
		return out;
	if (*type && !str_eq(type, json_str(def, "Type", "")))
		def = NULL;
	host = json_obj(body, "HostConfig") ? json_copy(json_obj(body, "HostConfig")) : json_object();
	lc = own ? json_copy((json_t *)own) : json_object();
	config = json_obj(own, "Config") ? json_copy(json_obj(own, "Config")) : json_object();
	json_object_foreach(json_obj(def, "Config"), key, v) {
		if (!json_object_get(config, key))
			json_object_set(config, key, v);
	}
	if (def)
		json_object_set(lc, "Type", json_object_get(def, "Type"));
	json_object_set_new(lc, "Config", config);
	json_object_set_new(host, "LogConfig", lc);
	json_object_set_new(out, "HostConfig", host);
	return out;
}

bool logopt_readable(const json_t *lc)
{
	int kind = kind_of(driver_of(lc));

	return kind && !((kind & OF_SHIP) && flag(json_obj(lc, "Config"), "cache-disabled", false));
}

/* docker's {{.ID}} and relatives; nothing else of Go's templates means something for a tag. */
static int tag_make(const char *text, const struct log_subject *s, char **ret, struct err *e)
{
	const char *image_id = str_starts(s->image_id, "sha256:") ? s->image_id + 7 : s->image_id;
	struct buf b = BUF_INIT;

	if (!*text)
		text = "{{.ID}}";
	while (*text) {
		const char *end = str_starts(text, "{{") ? strstr(text, "}}") : NULL;
		char word[32] = "";

		if (!end) {
			buf_addc(&b, *text++);
			continue;
		}
		if (sscanf(text, "{{ %31[.A-Za-z] }}", word) != 1)
			*word = '\0';
		if (str_eq(word, ".ID"))
			buf_printf(&b, "%.12s", s->id);
		else if (str_eq(word, ".FullID"))
			buf_adds(&b, s->id);
		else if (str_eq(word, ".Name"))
			buf_adds(&b, s->name);
		else if (str_eq(word, ".ImageID"))
			buf_printf(&b, "%.12s", image_id);
		else if (str_eq(word, ".ImageFullID"))
			buf_adds(&b, s->image_id);
		else if (str_eq(word, ".ImageName"))
			buf_adds(&b, s->image);
		else if (str_eq(word, ".DaemonName"))
			buf_adds(&b, "kedge");
		else {
			buf_done(&b);
			return err_set(e, ERR_INVALID, "log opt 'tag': '%.*s' is not known: use .ID, .FullID, .Name, .ImageID, .ImageFullID, .ImageName or .DaemonName",
				       (int)(end + 2 - text), text);
		}
		text = end + 2;
	}
	*ret = buf_take(&b);
	return 0;
}

static bool in_list(const char *list, const char *word, size_t n)
{
	while (*list) {
		size_t len = strcspn(list, ",");

		if (len == n && !strncmp(list, word, n))
			return true;
		list += len;
		list += *list == ',';
	}
	return false;
}

static bool wanted(const json_t *config, const char *key, const char *regex_key, const char *word, size_t n)
{
	const char *pattern = json_str(config, regex_key, "");
	char *name CLEANUP(mem_freep) = mem_strndup(word, n);
	bool hit = in_list(json_str(config, key, ""), word, n);
	regex_t re;

	if (hit || !*pattern || regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB))
		return hit;
	hit = regexec(&re, name, 0, NULL, 0) == 0;
	regfree(&re);
	return hit;
}

/* Labels and variables asked for; new reference. */
static json_t *extras(const json_t *config, const struct log_subject *s)
{
	json_t *out = json_object(), *v;
	const char *key;
	size_t i;

	json_object_foreach(json_obj(s->config, "Labels"), key, v) {
		if (wanted(config, "labels", "labels-regex", key, strlen(key)))
			json_object_set(out, key, v);
	}
	json_array_foreach(json_arr(s->config, "Env"), i, v) {
		const char *text = json_string_value(v), *eq = text ? strchr(text, '=') : NULL;

		if (eq && wanted(config, "env", "env-regex", text, (size_t)(eq - text))) {
			char *name CLEANUP(mem_freep) = mem_strndup(text, (size_t)(eq - text));

			json_object_set_new(out, name, json_string(eq + 1));
		}
	}
	return out;
}

static void journal_fields(struct log_plan *p, const struct log_subject *s, const json_t *attrs)
{
	const char *pairs[][2] = { { "CONTAINER_ID_FULL", s->id }, { "CONTAINER_NAME", s->name }, { "CONTAINER_TAG", p->tag }, { "IMAGE_NAME", s->image } };
	char *one = mem_printf("CONTAINER_ID=%.12s", s->id);
	const char *key;
	json_t *v;

	p->fields = strv_add(p->fields, one);
	free(one);
	for (size_t i = 0; i < N(pairs); i++) {
		one = mem_printf("%s=%s", pairs[i][0], pairs[i][1]);
		p->fields = strv_add(p->fields, one);
		free(one);
	}
	json_object_foreach((json_t *)attrs, key, v) {
		char *name CLEANUP(mem_freep) = mem_strdup(key);

		for (char *c = name; *c; c++)
			*c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ? *c : '_');
		one = mem_printf("%s%s=%s", *name == '_' ? "X" : "", name, json_string_value(v));
		p->fields = strv_add(p->fields, one);
		free(one);
	}
}

int logopt_plan(const json_t *lc, const struct log_subject *s, struct log_plan *p, struct err *e)
{
	const char *driver = driver_of(lc);
	int kind = kind_of(driver);
	const json_t *config = json_obj(lc, "Config");
	bool ship = kind & OF_SHIP, five = kind != OF_FILE;
	const char *size = json_str(config, ship ? "cache-max-size" : "max-size", five ? "20m" : "10m");
	const char *files = json_str(config, ship ? "cache-max-file" : "max-file", five ? "5" : "3"), *tag = json_str(config, "tag", "");
	json_t *attrs CLEANUP(json_freep) = NULL;
	uint64_t n = 1;

	*p = (struct log_plan){ .file = logopt_readable(lc) };
	if (!kind)
		return 0;
	if (!str_eq(size, "-1"))
		(void)str_to_size(size, &p->max_size);
	(void)str_to_u64(files, 1, 1000, &n);
	p->max_files = (unsigned)n;
	p->compress = flag(config, ship ? "cache-compress" : "compress", five) && n > 1;
	attrs = extras(config, s);
	if (ship) {
		p->ship = mem_strdup(driver);
		p->host = mem_strdup(s->host);
		p->format = mem_strdup(json_str(config, "syslog-format", ""));
		p->address = mem_strdup(kind == OF_JOURNAL ? "unixgram://" JOURNAL_SOCKET : json_str(config, "syslog-address", ""));
		if (!*p->address) {
			free(p->address);
			p->address = mem_strdup("unix:///dev/log");
		}
		p->facility = facility_of(json_str(config, "syslog-facility", ""));
		if (tag_make(tag, s, &p->tag, e) < 0)
			return -1;
		if (kind == OF_JOURNAL)
			journal_fields(p, s, attrs);
	} else if (*tag) {
		char *text;

		if (tag_make(tag, s, &text, e) < 0)
			return -1;
		json_object_set_new(attrs, "tag", json_bytes(text, strlen(text)));
		free(text);
	}
	if (json_object_size(attrs)) {
		char *text = json_dumps(attrs, JSON_COMPACT | JSON_SORT_KEYS);

		p->attrs = mem_printf("\"attrs\":%s,", text);
		free(text);
		if (strlen(p->attrs) > 8 * 1024)
			return err_set(e, ERR_INVALID, "the labels and variables asked for in the log options take more than 8 KiB");
	}
	return 0;
}

int log_plan_resolve(struct log_plan *p, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	char host[256], port[8] = "514", number[80];
	const char *rest, *colon, *proto;
	bool six;
	int r;

	if (!p->ship)
		return 0;
	if (str_starts(p->address, "unix")) {
		const char *path = strchr(p->address, '/') + 2;

		if (access(path, F_OK) < 0)
			return err_set(e, ERR_INTERNAL, "failed to initialize logging driver: dial unix %s: %s", path, strerror(errno));
		return 0;
	}
	proto = str_starts(p->address, "udp") ? "udp" : "tcp";
	rest = p->address + 6;
	colon = strrchr(rest, ':');
	if (colon && strchr(colon, ']'))
		colon = NULL;
	snprintf(host, sizeof(host), "%.*s", (int)(colon ? (size_t)(colon - rest) : strlen(rest)), rest);
	if (colon)
		snprintf(port, sizeof(port), "%s", colon + 1);
	if (*host == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		memmove(host, host + 1, strlen(host));
	}
	r = getaddrinfo(host, port, &hints, &list);
	if (r)
		return err_set(e, ERR_INTERNAL, "failed to initialize logging driver: %s: %s", host, gai_strerror(r));
	r = getnameinfo(list->ai_addr, list->ai_addrlen, number, sizeof(number), NULL, 0, NI_NUMERICHOST);
	six = list->ai_family == AF_INET6;
	freeaddrinfo(list);
	if (r)
		return err_set(e, ERR_INTERNAL, "failed to initialize logging driver: %s: %s", host, gai_strerror(r));
	free(p->address);
	p->address = mem_printf("%s://%s%s%s:%s", proto, six ? "[" : "", number, six ? "]" : "", port);
	return 0;
}

void log_plan_done(struct log_plan *p)
{
	free(p->attrs);
	free(p->ship);
	free(p->address);
	free(p->format);
	free(p->tag);
	free(p->host);
	strv_free(p->fields);
	*p = (struct log_plan){ 0 };
}
