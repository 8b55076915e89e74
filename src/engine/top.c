/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of a container, from /proc, in the columns of "ps -ef" or those asked for with -o. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "engine/engine_priv.h"

struct proc {
	int pid, ppid, tty;
	unsigned uid;
	char state, comm[64];
	unsigned long long ticks, start;
	long nice, threads, rss_pages;
	unsigned long vsize;
	char *cmd;
};

static bool read_proc(int pid, struct proc *p)
{
	char path[64], *s;
	struct buf b = BUF_INIT;
	unsigned long long ut, st;
	bool ok = false;
	struct stat info;

	*p = (struct proc){ .pid = pid };
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read_at(AT_FDCWD, path, 8192, &b) < 0 || !b.data || !(s = strrchr(b.data, ')')))
		goto out;
	{
		const char *open = strchr(b.data, '(');

		snprintf(p->comm, sizeof(p->comm), "%.*s", open ? (int)(s - open - 1) : 0, open ? open + 1 : "");
	}
	if (sscanf(s + 2, "%c %d %*d %*d %d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %ld %ld %*d %llu %lu %ld", &p->state, &p->ppid, &p->tty, &ut, &st,
		   &p->nice, &p->threads, &p->start, &p->vsize, &p->rss_pages) != 10)
		goto out;
	p->ticks = ut + st;
	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &info) == 0)
		p->uid = info.st_uid;
	buf_reset(&b);
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	if (file_read_at(AT_FDCWD, path, 65536, &b) == 0 && b.len) {
		while (b.len && !b.data[b.len - 1])
			b.len--;
		for (size_t i = 0; i < b.len; i++) {
			if (!b.data[i])
				b.data[i] = ' ';
		}
		p->cmd = mem_strndup(b.data, b.len);
	}
	if (str_empty(p->cmd)) {
		free(p->cmd);
		p->cmd = mem_printf("[%s]", p->comm);
	}
	ok = true;
out:
	buf_done(&b);
	return ok;
}

/* The container's PID namespace tells its processes; with the host's (--pid host) its cgroup does. */
static bool ns_of(int pid, const char *kind, char *out, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kind);
	n = readlink(path, out, size - 1);
	if (n < 0)
		return false;
	out[n] = '\0';
	return true;
}

static bool in_cgroup(int pid, const char *id)
{
	struct buf b = BUF_INIT;
	char path[64];
	bool hit;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	hit = file_read_at(AT_FDCWD, path, 65536, &b) == 0 && b.data && strstr(b.data, id);
	buf_done(&b);
	return hit;
}

static json_t *user_name(unsigned uid)
{
	struct passwd pw, *hit = NULL;
	char buf[1024];

	return getpwuid_r(uid, &pw, buf, sizeof(buf), &hit) == 0 && hit ? json_string(hit->pw_name) : json_sprintf("%u", uid);
}

static json_t *tty_name(int tty)
{
	if (!tty)
		return json_string("?");
	return major((unsigned)tty) == 136 ? json_sprintf("pts/%u", minor((unsigned)tty)) : json_sprintf("tty%u", minor((unsigned)tty));
}

static double uptime(void)
{
	char line[64];

	return file_read_line("/proc/uptime", line, sizeof(line)) < 0 ? 0 : strtod(line, NULL);
}

static json_t *column(const struct proc *p, const char *name)
{
	long hz = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
	double age = uptime() - (double)p->start / (double)hz;
	unsigned long long secs = p->ticks / (unsigned long long)hz;

	if (str_eq(name, "user") || str_eq(name, "uid"))
		return str_eq(name, "uid") ? json_sprintf("%u", p->uid) : user_name(p->uid);
	if (str_eq(name, "UID"))
		return user_name(p->uid);
	if (str_eq(name, "pid"))
		return json_sprintf("%d", p->pid);
	if (str_eq(name, "ppid"))
		return json_sprintf("%d", p->ppid);
	if (str_eq(name, "c"))
		return json_sprintf("%d", age > 0 ? (int)((double)secs * 100 / age) : 0);
	if (str_eq(name, "%cpu") || str_eq(name, "pcpu"))
		return json_sprintf("%.1f", age > 0 ? (double)p->ticks / (double)hz * 100 / age : 0);
	if (str_eq(name, "stime") || str_eq(name, "start")) {
		time_t at = time(NULL) - (time_t)age;
		struct tm tm;
		char text[16];

		localtime_r(&at, &tm);
		strftime(text, sizeof(text), age > 86400 ? "%b%d" : "%H:%M", &tm);
		return json_string(text);
	}
	if (str_eq(name, "tty") || str_eq(name, "tt") || str_eq(name, "tname"))
		return tty_name(p->tty);
	if (str_eq(name, "time"))
		return json_sprintf("%02llu:%02llu:%02llu", secs / 3600, secs / 60 % 60, secs % 60);
	if (str_eq(name, "etime"))
		return json_sprintf("%02d:%02d", (int)age / 60, (int)age % 60);
	if (str_eq(name, "cmd") || str_eq(name, "args") || str_eq(name, "command"))
		return json_bytes(p->cmd, strlen(p->cmd));
	if (str_eq(name, "comm") || str_eq(name, "ucmd"))
		return json_bytes(p->comm, strlen(p->comm));
	if (str_eq(name, "rss"))
		return json_sprintf("%ld", p->rss_pages * (page / 1024));
	if (str_eq(name, "vsz"))
		return json_sprintf("%lu", p->vsize / 1024);
	if (str_eq(name, "stat") || str_eq(name, "s") || str_eq(name, "state"))
		return json_sprintf("%c", p->state);
	if (str_eq(name, "ni") || str_eq(name, "nice"))
		return json_sprintf("%ld", p->nice);
	if (str_eq(name, "nlwp") || str_eq(name, "thcount"))
		return json_sprintf("%ld", p->threads);
	return NULL;
}

static char **columns_of(const char *args, struct err *e)
{
	static const char ef[] = "UID,pid,ppid,c,stime,tty,time,cmd", aux[] = "user,pid,%cpu,vsz,rss,tty,stat,start,time,command";
	struct proc any = { .pid = 1, .cmd = "" };
	char **words, **cols = NULL;
	const char *list = NULL;

	if (str_empty(args) || str_eq(args, "-ef") || str_eq(args, "ef"))
		return str_split(ef, ',');
	if (str_eq(args, "aux") || str_eq(args, "-aux"))
		return str_split(aux, ',');
	words = str_split(args, ' ');
	for (size_t i = 0; words[i]; i++) {
		if (str_starts(words[i], "-o") || str_starts(words[i], "-eo"))
			list = strchr(words[i], 'o') + 1, list = *list ? list : words[i + 1] ? words[++i] : "";
		else if (str_starts(words[i], "o") && words[i][1] == '\0' && words[i + 1])
			list = words[++i];
		else if (*words[i] && strcmp(words[i], "-e") && strcmp(words[i], "-A"))
			err_set(e, ERR_INVALID, "ps option \"%s\" is not supported: use -ef, aux or -o with column names", words[i]);
	}
	if (list && (!e || e->kind == ERR_NONE))
		cols = str_split(list, ',');
	else if (!e || e->kind == ERR_NONE)
		cols = str_split(ef, ',');
	strv_free(words);
	for (size_t i = 0; cols && cols[i]; i++) {
		json_t *v;

		cols[i][strcspn(cols[i], "=")] = '\0';
		v = column(&any, cols[i]);
		if (!v) {
			err_set(e, ERR_INVALID, "ps column \"%s\" is not known", cols[i]);
			strv_free(cols);
			return NULL;
		}
		json_decref(v);
	}
	return cols;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

json_t *engine_top(struct engine *en, const char *ref, const char *ps_args, struct err *e)
{
	struct container *c = engine_find(en, ref, e);
	char ns[64], own[64], other[64], **cols;
	json_t *titles, *rows;
	int *pids = NULL, init;
	size_t n = 0;
	struct dirent *de;
	bool by_ns;
	DIR *d;

	if (!c)
		return NULL;
	if (c->phase != PHASE_RUNNING) {
		err_set(e, ERR_CONFLICT, "container %s is not running", c->id);
		return NULL;
	}
	cols = columns_of(ps_args, e);
	if (!cols)
		return NULL;
	init = (int)json_i64(doc_state(c), "Pid", 0);
	by_ns = ns_of(init, "pid", ns, sizeof(ns)) && ns_of(getpid(), "pid", own, sizeof(own)) && strcmp(ns, own);
	d = opendir("/proc");
	while (d && (de = readdir(d))) {
		int pid = isdigit((unsigned char)de->d_name[0]) ? atoi(de->d_name) : 0;

		if (pid > 0 && (by_ns ? ns_of(pid, "pid", other, sizeof(other)) && !strcmp(ns, other) : in_cgroup(pid, c->id))) {
			pids = mem_realloc(pids, (n + 1) * sizeof(*pids));
			pids[n++] = pid;
		}
	}
	if (d)
		closedir(d);
	if (n)
		qsort(pids, n, sizeof(*pids), by_number);
	titles = json_array();
	for (size_t i = 0; cols[i]; i++) {
		char upper[32];
		size_t k;

		for (k = 0; cols[i][k] && k < sizeof(upper) - 1; k++)
			upper[k] = (char)toupper((unsigned char)cols[i][k]);
		upper[k] = '\0';
		json_array_append_new(titles, json_string(str_eq(upper, "ARGS") ? "COMMAND" : str_eq(upper, "PCPU") ? "%CPU" : upper));
	}
	rows = json_array();
	for (size_t i = 0; i < n; i++) {
		struct proc p;

		if (read_proc(pids[i], &p)) {
			json_t *row = json_array();

			for (size_t k = 0; cols[k]; k++)
				json_array_append_new(row, column(&p, cols[k]));
			json_array_append_new(rows, row);
		}
		free(p.cmd);
	}
	free(pids);
	strv_free(cols);
	return json_pack("{s:o, s:o}", "Titles", titles, "Processes", rows);
}
