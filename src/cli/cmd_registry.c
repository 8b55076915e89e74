/* SPDX-License-Identifier: Apache-2.0 */
/* pull, push, login, logout, save, image prune, search */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/registry.h"
#include "cli/render.h"
#include "cli/stream.h"

/* Name and tag (or digest) of a reference; *tag is "" without one. The caller frees the name. */
static char *split_reference(const char *ref, const char **tag)
{
	const char *at = strchr(ref, '@'), *slash = strrchr(ref, '/'), *colon = strrchr(slash ? slash : ref, ':');

	if (at) {
		*tag = at + 1;
		colon = strrchr(slash ? slash : ref, ':');
		if (!colon || colon > at || (slash && slash > at))
			colon = at;
		return mem_strndup(ref, (size_t)(colon - ref));
	}
	*tag = colon ? colon + 1 : "";
	return mem_strndup(ref, colon ? (size_t)(colon - ref) : strlen(ref));
}

/* "docker.io/library/nginx:latest", as docker prints it. The caller frees. */
static char *whole_reference(const char *name, const char *tag)
{
	char *server CLEANUP(mem_freep) = registry_server(name);
	bool digest = strchr(tag, ':');

	if (!str_eq(server, HUB_SERVER))
		return mem_printf("%s%s%s", name, *tag ? digest ? "@" : ":" : "", tag);
	if (str_starts(name, "docker.io/"))
		name += strlen("docker.io/");
	return mem_printf("docker.io/%s%s%s%s", strchr(name, '/') ? "" : "library/", name, *tag ? digest ? "@" : ":" : "", tag);
}

static void each_message(void *user, json_t *msg)
{
	if (user)
		progress_show(user, msg);
}

/* Quiet: only an error is of interest. */
static void each_error(void *user, json_t *msg)
{
	const char *error = json_str(json_obj(msg, "errorDetail"), "message", json_str(msg, "error", NULL));
	struct err *e = user;

	if (error && !e->kind)
		err_set(e, ERR_INTERNAL, "%s", error);
}

/* A transfer with its progress on out, or without. */
static int transfer(struct cli *c, const char *path, const char *reference, FILE *out, struct err *e)
{
	char *server CLEANUP(mem_freep) = registry_server(reference), *auth CLEANUP(mem_freep) = registry_header(server, e);
	const char *const headers[] = { auth, NULL };
	struct err inside = { 0 };
	int rc;

	if (e->kind)
		return -1;
	if (out) {
		struct progress *p = progress_new(out, isatty(fileno(out)));

		rc = cli_lines(c, "POST", path, headers, -1, each_message, p, e);
		return progress_end_take(p, rc < 0 ? &inside : e) < 0 || rc < 0 ? -1 : 0;
	}
	rc = cli_lines(c, "POST", path, headers, -1, each_error, &inside, e);
	if (rc == 0 && inside.kind) {
		*e = inside;
		rc = -1;
	}
	return rc;
}

int registry_pull(struct cli *c, const char *reference, const char *platform, FILE *out, struct err *e)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	const char *tag;
	char *name CLEANUP(mem_freep) = split_reference(reference, &tag);

	buf_adds(&path, "/images/create");
	cli_query(&path, "fromImage", name);
	cli_query(&path, "tag", *tag ? tag : "latest");
	if (!str_empty(platform))
		cli_query(&path, "platform", platform);
	return transfer(c, path.data, reference, out, e);
}

static int cmd_pull(struct cli *c, struct flags *f)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	const char *tag, *ref = f->args[0];
	char *name CLEANUP(mem_freep) = split_reference(ref, &tag), *whole CLEANUP(mem_freep) = NULL;
	bool quiet = flag_bool(f, "quiet"), all = flag_bool(f, "all-tags");
	struct err e = { 0 };

	if (all && *tag) {
		fprintf(stderr, "tag can't be used with --all-tags/-a\n");
		return 1;
	}
	if (!all && !*tag) {
		tag = "latest";
		if (!quiet)
			printf("Using default tag: latest\n");
	}
	fflush(stdout);
	buf_adds(&path, "/images/create");
	cli_query(&path, "fromImage", name);
	if (!all)
		cli_query(&path, "tag", tag);
	if (*flag_str(f, "platform"))
		cli_query(&path, "platform", flag_str(f, "platform"));
	if (transfer(c, path.data, ref, quiet ? NULL : stdout, &e) < 0)
		return cli_fail(&e);
	whole = whole_reference(name, all ? "" : tag);
	printf("%s\n", whole);
	return 0;
}

static int cmd_push(struct cli *c, struct flags *f)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	const char *tag, *ref = f->args[0];
	char *name CLEANUP(mem_freep) = split_reference(ref, &tag), *head CLEANUP(mem_freep) = cli_path("/images/", name, "/push"),
	     *whole CLEANUP(mem_freep) = NULL;
	bool quiet = flag_bool(f, "quiet"), all = flag_bool(f, "all-tags");
	struct err e = { 0 };

	if (strchr(ref, '@')) {
		fprintf(stderr, "cannot push a digest reference\n");
		return 1;
	}
	if (all && *tag) {
		fprintf(stderr, "tag can't be used with --all-tags/-a\n");
		return 1;
	}
	if (!all && !*tag) {
		tag = "latest";
		if (!quiet)
			printf("Using default tag: latest\n");
	}
	fflush(stdout);
	buf_adds(&path, head);
	if (!all)
		cli_query(&path, "tag", tag);
	if (transfer(c, path.data, ref, quiet ? NULL : stdout, &e) < 0)
		return cli_fail(&e);
	if (quiet) {
		whole = whole_reference(name, all ? "" : tag);
		printf("%s\n", whole);
	}
	return 0;
}

/* A line of stdin, without an echo for a password. NULL at its end. The caller frees. */
static char *ask(const char *question, bool secret)
{
	struct termios was, quiet;
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	fputs(question, stdout);
	fflush(stdout);
	secret = secret && tcgetattr(STDIN_FILENO, &was) == 0;
	if (secret) {
		quiet = was;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	n = getline(&line, &size, stdin);
	if (secret) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
		putchar('\n');
	}
	if (n < 0) {
		free(line);
		return NULL;
	}
	line[strcspn(line, "\r\n")] = '\0';
	return line;
}

/* All of stdin, its last line end cut off. */
static char *read_stdin(struct err *e)
{
	struct buf b = BUF_INIT;
	char chunk[4096];
	ssize_t n;

	buf_init(&b, 64 << 10);
	while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0)
		buf_add(&b, chunk, (size_t)n);
	if (n < 0 || b.failed) {
		err_set(e, ERR_INVALID, "cannot read the password from stdin");
		buf_done(&b);
		return NULL;
	}
	while (b.len && strchr("\r\n", b.data[b.len - 1]))
		b.data[--b.len] = '\0';
	return buf_take(&b);
}

static int login_with(struct cli *c, const char *server, const char *user, const char *password, struct err *e)
{
	json_t *body CLEANUP(json_freep) = json_pack("{s:s, s:s, s:s}", "username", user, "password", password, "serveraddress", server);
	struct buf reply CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL;
	char *file CLEANUP(mem_freep) = registry_file();

	if (!body)
		return err_set(e, ERR_INVALID, "the user name or the password is no valid UTF-8");
	if (cli_call(c, "POST", "/auth", body, &reply, e) < 0)
		return -1;
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", e);
	if (!doc || registry_store(server, user, password, json_str(doc, "IdentityToken", ""), NULL, e) < 0)
		return -1;
	fprintf(stderr, "\nWARNING! Your credentials are stored unencrypted in '%s'.\n\n", file);
	printf("%s\n", json_str(doc, "Status", "Login Succeeded"));
	return 0;
}

static int cmd_login(struct cli *c, struct flags *f)
{
	const char *server = f->argc ? f->args[0] : HUB_SERVER;
	char *user CLEANUP(mem_freep) = *flag_str(f, "username") ? mem_strdup(flag_str(f, "username")) : NULL;
	char *password CLEANUP(mem_freep) = flag_given(f, "password") ? mem_strdup(flag_str(f, "password")) : NULL, *question CLEANUP(mem_freep) = NULL,
	     *known CLEANUP(mem_freep) = NULL;
	struct err e = { 0 };

	if (str_eq(server, "docker.io") || str_eq(server, "index.docker.io"))
		server = HUB_SERVER;
	if (flag_bool(f, "password-stdin")) {
		if (password) {
			fprintf(stderr, "--password and --password-stdin are mutually exclusive\n");
			return 1;
		}
		if (!user) {
			fprintf(stderr, "Must provide --username with --password-stdin\n");
			return 1;
		}
		password = read_stdin(&e);
		if (!password)
			return cli_fail(&e);
	} else if (password) {
		fprintf(stderr, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
	}
	if ((!user || !password) && !isatty(STDIN_FILENO)) {
		fprintf(stderr, "Error: Cannot perform an interactive login from a non TTY device\n");
		return 1;
	}
	if (!user) {
		known = registry_user(server);
		question = known ? mem_printf("Username (%s): ", known) : mem_strdup("Username: ");
		user = ask(question, false);
		if (user && !*user && known) {
			free(user);
			user = mem_strdup(known);
		}
	}
	if (user && *user && !password)
		password = ask("Password: ", true);
	if (str_empty(user) || str_empty(password)) {
		fprintf(stderr, "Error: %s\n", str_empty(user) ? "username is empty" : "password is empty");
		return 1;
	}
	return login_with(c, server, user, password, &e) < 0 ? cli_fail(&e) : 0;
}

static int cmd_logout(struct cli *c, struct flags *f)
{
	const char *server = f->argc ? f->args[0] : HUB_SERVER;
	struct err e = { 0 };
	bool was = false;

	(void)c;
	if (str_eq(server, "docker.io") || str_eq(server, "index.docker.io"))
		server = HUB_SERVER;
	if (registry_store(server, NULL, NULL, NULL, &was, &e) < 0)
		return cli_fail(&e);
	if (was)
		printf("Removing login credentials for %s\n", server);
	else
		printf("Not logged in to %s\n", server);
	return 0;
}

/* save */

struct saving {
	int fd;
	int status;
	bool ended, failed;
	struct buf reply;
	struct err err;
	struct http_call *call;
};

static void save_head(struct http_call *call, int status, bool upgraded, void *user)
{
	(void)call, (void)upgraded;
	((struct saving *)user)->status = status;
}

static void save_data(struct http_call *call, const void *p, size_t n, void *user)
{
	struct saving *s = user;
	int rc;

	(void)call;
	if (s->status >= 400) {
		buf_add(&s->reply, p, n);
		return;
	}
	rc = s->failed ? 0 : file_write_all(s->fd, p, n);
	if (rc < 0) {
		s->failed = true;
		err_errno(&s->err, -rc, "write the archive");
	}
}

static void save_end(struct http_call *call, bool ok, const struct err *e, void *user)
{
	struct saving *s = user;

	(void)call;
	s->ended = true;
	if (s->status >= 400) {
		s->failed = true;
		cli_reply_error(s->status, s->reply.data, s->reply.len, &s->err);
	} else if (!ok && !s->failed) {
		s->failed = true;
		s->err = *e;
	}
}

static int save_to(struct cli *c, const char *path, int fd, struct err *e)
{
	static const struct http_call_ops ops = { .head = save_head, .data = save_data, .end = save_end };
	char *target CLEANUP(mem_freep) = cli_target(path);
	struct http_call_args a = { .method = "GET", .target = target };
	struct saving s = { .fd = fd };

	if (cli_connect(c, e) < 0)
		return -1;
	s.call = http_call_start(c->http, &a, &ops, &s);
	while (!s.ended && !(s.failed && s.status < 400))
		loop_turn(c->loop, -1);
	if (!s.ended)
		http_call_cancel(s.call);
	buf_done(&s.reply);
	if (s.failed)
		*e = s.err;
	return s.failed ? -1 : 0;
}

static int cmd_save(struct cli *c, struct flags *f)
{
	const char *output = flag_str(f, "output"), *slash = strrchr(output, '/');
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	char *part CLEANUP(mem_freep) = NULL;
	int fd CLEANUP(fd_closep) = -1;
	struct err e = { 0 };
	int rc;

	if (!*output && isatty(STDOUT_FILENO)) {
		fprintf(stderr, "cowardly refusing to save to a terminal. Use the -o flag or redirect\n");
		return 1;
	}
	buf_adds(&path, "/images/get");
	for (int i = 0; i < f->argc; i++)
		cli_query(&path, "names", f->args[i]);
	if (!*output)
		return save_to(c, path.data, STDOUT_FILENO, &e) < 0 ? cli_fail(&e) : 0;
	/* Half an archive never stands under the name. */
	part = mem_printf("%.*s.%s.part%d", slash ? (int)(slash + 1 - output) : 0, output, slash ? slash + 1 : output, (int)getpid());
	fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		fprintf(stderr, "failed to save image: open %s: %s\n", output, strerror(errno));
		return 1;
	}
	rc = save_to(c, path.data, fd, &e);
	if (rc == 0 && rename(part, output) < 0)
		rc = err_errno(&e, errno, "failed to save image: write %s", output);
	if (rc < 0) {
		(void)unlink(part);
		return cli_fail(&e);
	}
	return 0;
}

static int cmd_prune(struct cli *c, struct flags *f)
{
	bool all = flag_bool(f, "all");
	struct buf path CLEANUP(buf_done) = BUF_INIT, reply CLEANUP(buf_done) = BUF_INIT, size CLEANUP(buf_done) = BUF_INIT;
	char **words CLEANUP(strv_freep) = NULL;
	json_t *doc CLEANUP(json_freep) = NULL, *o;
	char *const *w = flag_list(f, "filter");
	struct err e = { 0 };
	size_t k;

	if (!flag_bool(f, "force")) {
		char *answer CLEANUP(mem_freep) = NULL;

		printf("WARNING! This will remove all %s.\nAre you sure you want to continue? [y/N] ",
		       all ? "images without at least one container associated to them" : "dangling images");
		answer = ask("", false);
		if (!answer || (strcmp(answer, "y") && strcmp(answer, "Y") && strcmp(answer, "yes"))) {
			fprintf(stderr, "image prune has been cancelled\n");
			return 1;
		}
	}
	for (; *w; w++)
		words = strv_add(words, *w);
	words = strv_add(words, all ? "dangling=false" : "dangling=true");
	buf_adds(&path, "/images/prune");
	if (cli_query_filters(&path, words, &e) < 0 || cli_call(c, "POST", path.data, NULL, &reply, &e) < 0)
		return cli_fail(&e);
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", &e);
	if (!doc)
		return cli_fail(&e);
	if (json_array_size(json_arr(doc, "ImagesDeleted"))) {
		printf("Deleted Images:\n");
		json_array_foreach(json_arr(doc, "ImagesDeleted"), k, o) {
			if (*json_str(o, "Deleted", ""))
				printf("deleted: %s\n", json_str(o, "Deleted", ""));
			else
				printf("untagged: %s\n", json_str(o, "Untagged", ""));
		}
		printf("\n");
	}
	render_size(&size, (double)json_i64(doc, "SpaceReclaimed", 0));
	printf("Total reclaimed space: %s\n", size.data);
	return 0;
}

static int cmd_search(struct cli *c, struct flags *f)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	struct err e = { 0 };

	buf_adds(&path, "/images/search");
	cli_query(&path, "term", f->args[0]);
	return cli_call(c, "GET", path.data, NULL, NULL, &e) < 0 ? cli_fail(&e) : 0;
}

#define FLAG_TRUST { "disable-content-trust", 0, FLAG_BOOL, "Skip image verification", .def = "true", .hidden = true }

static const struct flag_def pull_flags[] = {
	{ "all-tags", 'a', FLAG_BOOL, "Download all tagged images in the repository" }, FLAG_TRUST,
	{ "platform", 0, FLAG_STRING, "Set platform if server is multi-platform capable" },
	{ "quiet", 'q', FLAG_BOOL, "Suppress verbose output" }, { 0 },
};
static const struct flag_def push_flags[] = {
	{ "all-tags", 'a', FLAG_BOOL, "Push all tags of an image to the repository" }, FLAG_TRUST,
	{ "quiet", 'q', FLAG_BOOL, "Suppress verbose output" }, { 0 },
};
static const struct flag_def login_flags[] = {
	{ "password", 'p', FLAG_STRING, "Password" }, { "password-stdin", 0, FLAG_BOOL, "Take the password from stdin" },
	{ "username", 'u', FLAG_STRING, "Username" }, { 0 },
};
static const struct flag_def save_flags[] = {
	{ "output", 'o', FLAG_STRING, "Write to a file, instead of STDOUT" }, { 0 },
};
static const struct flag_def prune_flags[] = {
	{ "all", 'a', FLAG_BOOL, "Remove all unused images, not just dangling ones" },
	{ "filter", 0, FLAG_LIST, "Provide filter values (e.g. \"until=<timestamp>\")", .word = "filter", .check = cli_check_filter },
	{ "force", 'f', FLAG_BOOL, "Do not prompt for confirmation" }, { 0 },
};

const struct command commands_registry[] = {
	{ "image pull,pull", "[OPTIONS] NAME[:TAG|@DIGEST]", "Download an image from a registry", pull_flags, 1, 1, false, cmd_pull },
	{ "image push,push", "[OPTIONS] NAME[:TAG]", "Upload an image to a registry", push_flags, 1, 1, false, cmd_push },
	{ "login", "[OPTIONS] [SERVER]", "Authenticate to a registry", login_flags, 0, 1, false, cmd_login },
	{ "logout", "[SERVER]", "Log out from a registry", flags_none, 0, 1, false, cmd_logout },
	{ "image save,save", "[OPTIONS] IMAGE [IMAGE...]", "Save one or more images to a tar archive (streamed to STDOUT by default)", save_flags, 1, -1, false,
	  cmd_save },
	{ "image prune", "[OPTIONS]", "Remove unused images", prune_flags, 0, 0, false, cmd_prune },
	{ "search", "TERM", "Search a registry for images", flags_none, 1, 1, false, cmd_search },
	{ 0 },
};
