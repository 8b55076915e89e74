/* SPDX-License-Identifier: Apache-2.0 */
/* exec: a further program in a running container. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/spec.h"
#include "cli/stream.h"

/* The ExecConfig; NULL with e. */
static json_t *exec_body(const struct flags *f, struct err *e)
{
	static const struct { const char *flag, *key; } texts[] = { { "user", "User" }, { "workdir", "WorkingDir" }, { "detach-keys", "DetachKeys" } };
	bool detach = flag_bool(f, "detach"), in = flag_bool(f, "interactive") && !detach;
	json_t *body = json_pack("{s:b, s:b, s:b, s:b}", "AttachStdin", in, "AttachStdout", !detach, "AttachStderr", !detach, "Tty", flag_bool(f, "tty"));
	json_t *cmd = json_array(), *env = json_array(), *v;
	struct winsize ws;

	json_object_set_new(body, "Cmd", cmd);
	json_object_set_new(body, "Env", env);
	if (flag_bool(f, "privileged"))
		json_object_set_new(body, "Privileged", json_true());
	if (flag_bool(f, "tty") && ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0)
		json_object_set_new(body, "ConsoleSize", json_pack("[i, i]", ws.ws_row, ws.ws_col));
	for (int i = 1; i < f->argc; i++) {
		v = spec_text(f->args[i], e);
		if (!v)
			goto fail;
		json_array_append_new(cmd, v);
	}
	for (size_t i = 0; i < N(texts); i++) {
		if (!*flag_str(f, texts[i].flag))
			continue;
		v = spec_text(flag_str(f, texts[i].flag), e);
		if (!v)
			goto fail;
		json_object_set_new(body, texts[i].key, v);
	}
	for (char *const *w = flag_list(f, "env-file"); *w; w++) {
		if (spec_env_file(*w, env, e) < 0)
			goto fail;
	}
	for (char *const *w = flag_list(f, "env"); *w; w++) {
		if (spec_env(*w, env, e) < 0)
			goto fail;
	}
	return body;
fail:
	json_decref(body);
	return NULL;
}

/* Its exit status, as the engine knows it. */
static int exec_status(struct cli *c, const char *id)
{
	char *path CLEANUP(mem_freep) = cli_path("/exec/", id, "/json");
	struct err e = { 0 };
	json_t *doc CLEANUP(json_freep) = cli_get(c, path, &e);

	if (!doc)
		return cli_fail(&e);
	return (int)json_i64(doc, "ExitCode", 1);
}

static int cmd_exec(struct cli *c, struct flags *f)
{
	bool detach = flag_bool(f, "detach");
	char *path CLEANUP(mem_freep) = cli_path("/containers/", f->args[0], "/exec"), *start CLEANUP(mem_freep) = NULL;
	struct stream_args a = { .exec = true, .in = flag_bool(f, "interactive"), .out = true, .err = true, .tty = flag_bool(f, "tty"),
				 .detach_keys = flag_str(f, "detach-keys") };
	json_t *body CLEANUP(json_freep) = NULL, *doc CLEANUP(json_freep) = NULL;
	struct buf reply CLEANUP(buf_done) = BUF_INIT;
	struct detach_keys keys;
	struct err e = { 0 };
	struct stream *s;

	if (!detach && a.in && a.tty && !isatty(STDIN_FILENO)) {
		fprintf(stderr, "the input device is not a TTY\n");
		return 1;
	}
	if (detach_parse(&keys, a.detach_keys, &e) < 0)
		return cli_fail(&e);
	body = exec_body(f, &e);
	if (!body || cli_call(c, "POST", path, body, &reply, &e) < 0)
		return cli_fail(&e);
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", &e);
	a.id = json_str(doc, "Id", NULL);
	if (!a.id) {
		fprintf(stderr, "the engine's reply has no id of the exec\n");
		return 1;
	}
	if (detach) {
		json_t *args CLEANUP(json_freep) = json_pack("{s:b, s:b}", "Detach", 1, "Tty", a.tty);

		start = cli_path("/exec/", a.id, "/start");
		return cli_call(c, "POST", start, args, NULL, &e) < 0 ? cli_fail(&e) : 0;
	}
	s = stream_open(c, &a, &e);
	if (!s)
		return cli_fail(&e);
	if (a.tty)
		stream_terminal(s);
	while (!stream_ended(s))
		loop_turn(c->loop, -1);
	if (stream_detached(s)) {
		stream_free(s);
		fprintf(stderr, "read escape sequence\n");
		return 1;
	}
	stream_free(s);
	return exec_status(c, a.id);
}

static const struct flag_def exec_flags[] = {
	{ "detach", 'd', FLAG_BOOL, "Detached mode: run command in the background" },
	{ "detach-keys", 0, FLAG_STRING, "Override the key sequence for detaching a container" },
	{ "env", 'e', FLAG_LIST, "Set environment variables", .check = spec_check_env },
	{ "env-file", 0, FLAG_LIST, "Read in a file of environment variables" },
	{ "interactive", 'i', FLAG_BOOL, "Keep STDIN open even if not attached" },
	{ "privileged", 0, FLAG_BOOL, "Give extended privileges to the command" },
	{ "tty", 't', FLAG_BOOL, "Allocate a pseudo-TTY" },
	{ "user", 'u', FLAG_STRING, "Username or UID (format: \"<name|uid>[:<group|gid>]\")" },
	{ "workdir", 'w', FLAG_STRING, "Working directory inside the container" }, { 0 },
};

const struct command commands_exec[] = {
	{ "container exec,exec", "[OPTIONS] CONTAINER COMMAND [ARG...]", "Execute a command in a running container", exec_flags, 2, -1, true, cmd_exec },
	{ 0 },
};
