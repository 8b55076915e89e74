/* SPDX-License-Identifier: Apache-2.0 */
/* build, builder prune */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/buildctx.h"
#include "cli/cli.h"
#include "cli/registry.h"
#include "cli/render.h"
#include "cli/spec.h"

enum { DOCKERFILE_MAX = 4 * 1024 * 1024 };

struct building {
	struct buildctx ctx;
	pthread_t thread;
	bool packing, quiet, terminal, told;
	int fd;				/* what is sent */
	char *id;			/* of the image */
	char *error;
	int code;
	int64_t shown;
	struct buf text;		/* of a quiet build, for the case that it fails */
};

/* The line about the context, as docker has it. */
static void tell_context(struct building *b, bool end)
{
	CLEANUP(buf_done) struct buf size = BUF_INIT;

	if (b->quiet || b->told || !b->packing)
		return;
	if (!end && !b->terminal)
		return;
	render_size(&size, (double)atomic_load(&b->ctx.bytes));
	printf("%sSending build context to kedge  %s%s", b->terminal ? "\r\033[K" : "", size.data, end ? "\n" : "");
	fflush(stdout);
	b->told = end;
}

static void message(void *user, json_t *msg)
{
	struct building *b = user;
	const char *text = json_str(msg, "stream", NULL), *error = json_str(msg, "error", NULL), *id = json_str(json_obj(msg, "aux"), "ID", NULL);
	json_t *detail = json_obj(msg, "errorDetail");

	/* The engine speaks when it has the whole context. */
	tell_context(b, true);
	if (id) {
		free(b->id);
		b->id = mem_strdup(id);
	}
	if (detail || error) {
		free(b->error);
		b->error = mem_strdup(json_str(detail, "message", error ? error : ""));
		b->code = (int)json_i64(detail, "code", 1);
		return;
	}
	if (!text)
		return;
	if (b->quiet) {
		/* The image's id alone comes without an aux; what a failed build said comes with its error. */
		buf_adds(&b->text, text);
		return;
	}
	fputs(text, stdout);
	fflush(stdout);
}

/* In the packing thread: the engine says nothing before it has all, so the line is this thread's alone until then. */
static void progress(void *user)
{
	struct building *b = user;
	int64_t now = clock_now();

	if (now - b->shown < 100000000)
		return;
	b->shown = now;
	tell_context(b, false);
}

static void *pack_run(void *user)
{
	struct building *b = user;

	(void)buildctx_pack(&b->ctx);
	return NULL;
}

/* The archive comes from a thread; without a folder and an own Dockerfile there is none. */
static int pack_start(struct building *b, struct err *e)
{
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(e, errno, "make a pipe");
	b->fd = fds[0];
	b->ctx.fd = fds[1];
	b->ctx.progress = progress;
	b->ctx.user = b;
	b->packing = true;
	rc = pthread_create(&b->thread, NULL, pack_run, b);
	if (rc) {
		b->packing = false;
		(void)close(fds[1]);
		return err_errno(e, rc, "start a thread");
	}
	return 0;
}

static int read_stdin(struct buf *out, size_t limit, struct err *e)
{
	char block[16 * 1024];
	ssize_t n;

	buf_init(out, limit + 1);
	while ((n = read(STDIN_FILENO, block, sizeof(block))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, errno, "read standard input");
		if (buf_add(out, block, (size_t)n) < 0 || out->len > limit)
			return err_set(e, ERR_INVALID, "the Dockerfile on standard input is larger than %zu MiB", limit >> 20);
	}
	return 0;
}

/* The first bytes of an archive: a tar's header, or what a compressed one begins with. */
static bool looks_like_archive(const char *p, size_t n)
{
	static const struct { const char *magic; size_t n; } known[] = {
		{ "\x1f\x8b", 2 }, { "BZh", 3 }, { "\xfd" "7zXZ", 5 }, { "\x28\xb5\x2f\xfd", 4 },
	};

	for (size_t i = 0; i < N(known); i++)
		if (n >= known[i].n && !memcmp(p, known[i].magic, known[i].n))
			return true;
	return n >= 512 && !memcmp(p + 257, "ustar", 5);
}

/* Standard input behind what was read of it already: through a pipe, for the uploader reads descriptors. */
struct relay {
	char head[512];
	size_t n;
	int out;
};

static void *relay_run(void *user)
{
	struct relay *r = user;
	char block[64 * 1024];
	ssize_t n;

	if (file_write_all(r->out, r->head, r->n) == 0) {
		while ((n = read(STDIN_FILENO, block, sizeof(block))) != 0) {
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0 || file_write_all(r->out, block, (size_t)n) < 0)
				break;
		}
	}
	(void)close(r->out);
	free(r);
	return NULL;
}

/* "-": an archive, or a Dockerfile alone. */
static int from_stdin(struct building *b, struct buf *dockerfile, struct err *e)
{
	struct relay *r = mem_zalloc(sizeof(*r));
	pthread_t thread;
	int fds[2];

	while (r->n < sizeof(r->head)) {
		ssize_t n = read(STDIN_FILENO, r->head + r->n, sizeof(r->head) - r->n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		r->n += (size_t)n;
	}
	if (!looks_like_archive(r->head, r->n)) {
		CLEANUP(buf_done) struct buf rest = BUF_INIT;
		int rc = read_stdin(&rest, DOCKERFILE_MAX, e);

		buf_init(dockerfile, 2 * DOCKERFILE_MAX);
		buf_add(dockerfile, r->head, r->n);
		buf_add(dockerfile, rest.data ? rest.data : "", rest.len);
		free(r);
		if (rc < 0)
			return -1;
		b->ctx.extra_name = "Dockerfile";
		b->ctx.extra = dockerfile->data;
		b->ctx.extra_len = dockerfile->len;
		return pack_start(b, e);
	}
	if (pipe2(fds, O_CLOEXEC) < 0) {
		free(r);
		return err_errno(e, errno, "make a pipe");
	}
	r->out = fds[1];
	b->fd = fds[0];
	if (pthread_create(&thread, NULL, relay_run, r)) {
		(void)close(fds[1]);
		free(r);
		return err_set(e, ERR_INTERNAL, "start a thread");
	}
	pthread_detach(thread);
	return 0;
}

/* Where the Dockerfile is: in the context under *path, or outside of it, and then sent along under a name of its own. */
static int find_dockerfile(struct building *b, const char *dir, const char *file, struct buf *text, char **path, struct err *e)
{
	CLEANUP(mem_freep) char *top = realpath(dir, NULL), *full = NULL;
	size_t n;
	int rc;

	if (!top)
		return err_set(e, ERR_INVALID, "unable to prepare context: path \"%s\" not found", dir);
	if (str_eq(file, "-")) {
		if (read_stdin(text, DOCKERFILE_MAX, e) < 0)
			return -1;
	} else {
		CLEANUP(mem_freep) char *def = *file ? mem_strdup(file) : mem_printf("%s/Dockerfile", dir);

		full = realpath(def, NULL);
		if (!full && !*file) {
			free(def);
			def = mem_printf("%s/dockerfile", dir);
			full = realpath(def, NULL);
		}
		/* As docker: a name that is not there may be meant from the context. */
		if (!full && *file && *file != '/') {
			free(def);
			def = mem_printf("%s/%s", dir, file);
			full = realpath(def, NULL);
		}
		if (!full)
			return err_set(e, ERR_INVALID, "unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat %s/%s: no such file or directory",
				       top, *file ? file : "Dockerfile");
		n = strlen(top);
		if (!strncmp(full, top, n) && (full[n] == '/' || str_eq(top, "/"))) {
			*path = mem_strdup(full + n + (full[n] == '/'));
			return 0;
		}
		buf_init(text, DOCKERFILE_MAX);
		rc = file_read_at(AT_FDCWD, full, DOCKERFILE_MAX, text);
		if (rc < 0)
			return err_errno(e, -rc, "unable to read the Dockerfile %s", full);
	}
	*path = mem_printf(".dockerfile.%08x%08x", rand_u32(), rand_u32());
	b->ctx.extra_name = *path;
	b->ctx.extra = text->data ? text->data : "";
	b->ctx.extra_len = text->len;
	return 0;
}

static int prepare(struct building *b, struct flags *f, struct buf *text, char **path, struct ignore **ig, struct err *e)
{
	const char *where = f->args[0], *file = flag_str(f, "file");
	struct stat st;

	if (str_eq(where, "-")) {
		if (str_eq(file, "-"))
			return err_set(e, ERR_INVALID, "invalid argument: can't use stdin for both build context and dockerfile");
		if (isatty(STDIN_FILENO))
			return err_set(e, ERR_INVALID, "the build's context is to come from standard input, but that is a terminal");
		if (*file)
			*path = mem_strdup(file);
		return from_stdin(b, text, e);
	}
	if (strstr(where, "://") || str_starts(where, "git@") || str_starts(where, "github.com/"))
		return err_set(e, ERR_INVALID, "unable to prepare context: '%s' is an address: fetch it first and build from the folder", where);
	if (stat(where, &st) < 0)
		return err_set(e, ERR_INVALID, "unable to prepare context: path \"%s\" not found", where);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_INVALID, "unable to prepare context: context must be a directory: %s", where);
	if (find_dockerfile(b, where, file, text, path, e) < 0)
		return -1;
	*ig = buildctx_ignore(where, e);
	if (!*ig && e->kind)
		return -1;
	b->ctx.dir = where;
	b->ctx.ignore = *ig;
	b->ctx.dockerfile = *path;
	return pack_start(b, e);
}

/* "NAME=value" words as a JSON object; without "=": the value of the environment, or null when `nulls`. */
static int query_pairs(struct buf *path, const char *key, char *const *words, bool nulls, struct err *e)
{
	CLEANUP(json_freep) json_t *o = json_object();
	CLEANUP(mem_freep) char *text = NULL;

	for (; *words; words++) {
		const char *eq = strchr(*words, '='), *value = eq ? eq + 1 : NULL;
		CLEANUP(mem_freep) char *name = eq ? mem_strndup(*words, (size_t)(eq - *words)) : mem_strdup(*words);
		json_t *v;

		if (!*name)
			return err_set(e, ERR_INVALID, "invalid argument \"%s\" for \"--%s\"", *words, nulls ? "build-arg" : "label");
		if (!eq)
			value = nulls ? getenv(name) : "";
		v = value ? json_string(value) : json_null();
		if (!v || json_object_set_new(o, name, v) < 0)
			return err_set(e, ERR_INVALID, "\"%.200s\" is not valid UTF-8", *words);
	}
	if (!json_object_size(o))
		return 0;
	text = json_text(o);
	cli_query(path, key, text);
	return 0;
}

static void query_number(struct buf *path, const struct flags *f, const char *flag, const char *key)
{
	char text[32];

	if (!flag_given(f, flag))
		return;
	snprintf(text, sizeof(text), "%lld", (long long)flag_int(f, flag));
	cli_query(path, key, text);
}

static void query_text(struct buf *path, const struct flags *f, const char *flag, const char *key)
{
	if (*flag_str(f, flag))
		cli_query(path, key, flag_str(f, flag));
}

static void query_list(struct buf *path, const struct flags *f, const char *flag, const char *key)
{
	for (char *const *w = flag_list(f, flag); *w; w++)
		cli_query(path, key, *w);
}

static int query(struct buf *path, struct flags *f, const char *dockerfile, struct err *e)
{
	static const struct { const char *flag, *key; } bools[] = {
		{ "no-cache", "nocache" }, { "pull", "pull" }, { "force-rm", "forcerm" }, { "squash", "squash" }, { "quiet", "q" },
	}, texts[] = {
		{ "target", "target" }, { "network", "networkmode" }, { "platform", "platform" }, { "cpuset-cpus", "cpusetcpus" },
		{ "cpuset-mems", "cpusetmems" }, { "cgroup-parent", "cgroupparent" }, { "isolation", "isolation" },
	}, numbers[] = {
		{ "memory", "memory" }, { "memory-swap", "memswap" }, { "cpu-shares", "cpushares" }, { "cpu-period", "cpuperiod" },
		{ "cpu-quota", "cpuquota" }, { "shm-size", "shmsize" },
	};

	buf_adds(path, "/build?version=1");
	query_list(path, f, "tag", "t");
	if (dockerfile)
		cli_query(path, "dockerfile", dockerfile);
	cli_query(path, "rm", flag_bool(f, "rm") ? "1" : "0");
	for (size_t i = 0; i < N(bools); i++)
		if (flag_bool(f, bools[i].flag))
			cli_query(path, bools[i].key, "1");
	for (size_t i = 0; i < N(texts); i++)
		query_text(path, f, texts[i].flag, texts[i].key);
	for (size_t i = 0; i < N(numbers); i++)
		query_number(path, f, numbers[i].flag, numbers[i].key);
	query_list(path, f, "add-host", "extrahosts");
	query_list(path, f, "security-opt", "securityopt");
	if (*flag_list(f, "cache-from")) {
		CLEANUP(json_freep) json_t *list = json_array();
		CLEANUP(mem_freep) char *text = NULL;

		for (char *const *w = flag_list(f, "cache-from"); *w; w++)
			json_array_append_new(list, json_string(*w));
		text = json_text(list);
		cli_query(path, "cachefrom", text);
	}
	return query_pairs(path, "buildargs", flag_list(f, "build-arg"), true, e) < 0 ? -1 : query_pairs(path, "labels", flag_list(f, "label"), false, e);
}

/* The id of a quiet build is the last line of its text. */
static int finish(struct building *b, const char *iidfile, struct err *e)
{
	const char *id = b->quiet ? b->text.data : b->id;
	size_t n = id ? strcspn(id, "\n") : 0;

	if (b->quiet && n)
		printf("%.*s\n", (int)n, id);
	if (!*iidfile)
		return 0;
	if (!n)
		return err_set(e, ERR_INTERNAL, "the engine has not told the image's id");
	{
		int rc = file_replace_at(AT_FDCWD, iidfile, id, n, 0666);

		return rc < 0 ? err_errno(e, -rc, "write %s", iidfile) : 0;
	}
}

/* "X-Registry-Config: ..." with all that the client's file knows, for images that the engine pulls; NULL: it knows nobody. The caller frees. */
static char *registries_header(void)
{
	CLEANUP(mem_freep) char *file = registry_file(), *text = NULL;
	CLEANUP(buf_done) struct buf out = BUF_INIT;
	CLEANUP(json_freep) json_t *doc = file ? json_parse_file_at(AT_FDCWD, file, 1 << 20, NULL) : NULL;
	json_t *auths = json_obj(doc, "auths");

	if (!json_object_size(auths))
		return NULL;
	text = json_text(auths);
	buf_adds(&out, "X-Registry-Config: ");
	base64_encode(text, strlen(text), true, &out);
	return buf_take(&out);
}

static int cmd_build(struct cli *c, struct flags *f)
{
	CLEANUP(mem_freep) char *header = registries_header();
	const char *headers[] = { header, NULL };
	CLEANUP(buf_done) struct buf path = BUF_INIT, text = BUF_INIT;
	CLEANUP(mem_freep) char *dockerfile = NULL;
	const char *iidfile = flag_str(f, "iidfile");
	struct ignore *ig = NULL;
	struct building b = { .fd = -1, .quiet = flag_bool(f, "quiet"), .terminal = isatty(STDOUT_FILENO) };
	struct err e = { 0 };
	int rc, status = 0;

	buf_init(&b.text, 8 << 20);
	/* A file of an earlier build must not be taken for this one's. */
	if (*iidfile && unlink(iidfile) < 0 && errno != ENOENT) {
		fprintf(stderr, "cannot remove %s: %s\n", iidfile, spec_errno(errno));
		return 1;
	}
	(void)signal(SIGPIPE, SIG_IGN);	/* an engine that stops reading is told of by its answer */
	rc = prepare(&b, f, &text, &dockerfile, &ig, &e);
	if (rc == 0)
		rc = query(&path, f, dockerfile, &e);
	if (rc == 0)
		rc = cli_lines(c, "POST", path.data, headers, b.fd, message, &b, &e);
	if (b.fd >= 0)
		(void)close(b.fd);
	if (b.packing) {
		pthread_join(b.thread, NULL);
		if (rc == 0 && !b.error)
			tell_context(&b, true);
		/* What went wrong here comes first: the engine only saw a broken archive. */
		if (b.ctx.err.kind && b.ctx.err.sys != EPIPE) {
			e = b.ctx.err;
			rc = -1;
		}
	}
	if (rc == 0 && b.error) {
		if (b.quiet)
			fputs(b.text.data ? b.text.data : "", stderr);
		fflush(stdout);
		fprintf(stderr, "%s\n", b.error);
		status = b.code > 0 && b.code < 256 ? b.code : 1;
	} else if (rc < 0 || finish(&b, iidfile, &e) < 0) {
		if (b.terminal && b.packing && !b.told && !b.quiet)
			putchar('\n');
		status = cli_fail(&e);
	}
	ignore_free(ig);
	free(b.id);
	free(b.error);
	buf_done(&b.text);
	return status;
}

static int cmd_builder_prune(struct cli *c, struct flags *f)
{
	CLEANUP(buf_done) struct buf path = BUF_INIT, reply = BUF_INIT, out = BUF_INIT;
	CLEANUP(json_freep) json_t *doc = NULL;
	struct err e = { 0 };
	char line[16] = "";
	json_t *v;
	size_t i;

	if (!flag_bool(f, "force")) {
		printf("WARNING! This will remove all %s. Are you sure you want to continue? [y/N] ", flag_bool(f, "all") ? "build cache" : "dangling build cache");
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin) || (!str_eq(line, "y\n") && !str_eq(line, "Y\n"))) {
			fprintf(stderr, "builder prune has been cancelled\n");
			return 1;
		}
	}
	buf_adds(&path, flag_bool(f, "all") ? "/build/prune?all=1" : "/build/prune");
	if (cli_query_filters(&path, flag_list(f, "filter"), &e) < 0 || cli_call(c, "POST", path.data, NULL, &reply, &e) < 0)
		return cli_fail(&e);
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", &e);
	if (!doc)
		return cli_fail(&e);
	if (json_array_size(json_arr(doc, "CachesDeleted"))) {
		buf_adds(&out, "Deleted build cache objects:\n");
		json_array_foreach(json_arr(doc, "CachesDeleted"), i, v)
			buf_printf(&out, "%s\n", json_string_value(v));
		buf_addc(&out, '\n');
	}
	buf_adds(&out, "Total reclaimed space: ");
	render_size(&out, (double)json_i64(doc, "SpaceReclaimed", 0));
	buf_addc(&out, '\n');
	cli_out(&out);
	return 0;
}

static const struct flag_def build_flags[] = {
	{ "add-host", 0, FLAG_LIST, "Add a custom host-to-IP mapping (\"host:ip\")" },
	{ "build-arg", 0, FLAG_LIST, "Set build-time variables" },
	{ "cache-from", 0, FLAG_LIST, "Images to consider as cache sources" },
	{ "cgroup-parent", 0, FLAG_STRING, "Set the parent cgroup for the \"RUN\" instructions during build" },
	{ "cpu-period", 0, FLAG_INT, "Limit the CPU CFS (Completely Fair Scheduler) period" },
	{ "cpu-quota", 0, FLAG_INT, "Limit the CPU CFS (Completely Fair Scheduler) quota" },
	{ "cpu-shares", 'c', FLAG_INT, "CPU shares (relative weight)" },
	{ "cpuset-cpus", 0, FLAG_STRING, "CPUs in which to allow execution (0-3, 0,1)" },
	{ "cpuset-mems", 0, FLAG_STRING, "MEMs in which to allow execution (0-3, 0,1)" },
	{ "file", 'f', FLAG_STRING, "Name of the Dockerfile (Default is \"PATH/Dockerfile\")" },
	{ "force-rm", 0, FLAG_BOOL, "Always remove intermediate containers" },
	{ "iidfile", 0, FLAG_STRING, "Write the image ID to the file" },
	{ "isolation", 0, FLAG_STRING, "Container isolation technology", .hidden = true },
	{ "label", 0, FLAG_LIST, "Set metadata for an image" },
	{ "memory", 'm', FLAG_BYTES, "Memory limit" },
	{ "memory-swap", 0, FLAG_BYTES, "Swap limit equal to memory plus swap: -1 to enable unlimited swap" },
	{ "network", 0, FLAG_STRING, "Set the networking mode for the \"RUN\" instructions during build", .def = "default" },
	{ "no-cache", 0, FLAG_BOOL, "Do not use cache when building the image" },
	{ "platform", 0, FLAG_STRING, "Set platform if server is multi-platform capable" },
	{ "pull", 0, FLAG_BOOL, "Always attempt to pull a newer version of the image" },
	{ "quiet", 'q', FLAG_BOOL, "Suppress the build output and print image ID on success" },
	{ "rm", 0, FLAG_BOOL, "Remove intermediate containers after a successful build", .def = "true" },
	{ "security-opt", 0, FLAG_LIST, "Security options" },
	{ "shm-size", 0, FLAG_BYTES, "Size of \"/dev/shm\"" },
	{ "squash", 0, FLAG_BOOL, "Squash newly built layers into a single new layer", .hidden = true },
	{ "tag", 't', FLAG_LIST, "Name and optionally a tag in the \"name:tag\" format" },
	{ "target", 0, FLAG_STRING, "Set the target build stage to build." }, { 0 },
};

static const struct flag_def prune_flags[] = {
	{ "all", 'a', FLAG_BOOL, "Remove all unused build cache, not just dangling ones" },
	{ "filter", 0, FLAG_LIST, "Provide filter values", .word = "filter", .check = cli_check_filter },
	{ "force", 'f', FLAG_BOOL, "Do not prompt for confirmation" }, { 0 },
};

const struct command commands_build[] = {
	{ "image build,build,builder build", "[OPTIONS] PATH | -", "Build an image from a Dockerfile", build_flags, 1, 1, false, cmd_build },
	{ "builder prune", "", "Remove build cache", prune_flags, 0, 0, false, cmd_builder_prune },
	{ 0 },
};
