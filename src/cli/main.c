/* SPDX-License-Identifier: Apache-2.0 */
/* kedge, the command line: finds the command, parses its flags, knows where the engine is. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"

#define DEFAULT_HOST "unix:///run/kedge/kedge.sock"

const struct flag_def flags_none[] = { { 0 } };

static const struct command *const tables[] = {
	commands_run,
	commands_build,
	commands_exec,
	commands_update,
	commands_stream,
	commands_container,
	commands_list,
	commands_image, commands_registry,
	commands_inspect,
	commands_network,
	commands_net,
	commands_dns,
	commands_network_edit,
	commands_system,
	commands_volume,
	commands_stats,
	commands_cp,
	commands_prune,
};

static const struct group {
	const char *name, *brief;
} groups[] = {
	{ "builder", "Manage builds" },
	{ "container", "Manage containers" },
	{ "image", "Manage images" },
	{ "dns", "Look into the name server" },
	{ "net", "Look into the network's data path" },
	{ "network", "Manage networks" },
	{ "system", "Manage kedge" },
	{ "volume", "Manage volumes" },
};

/* Words of docker's that this engine has no part for: told as such, not as typing errors. */
static const char *const absent[] = {
	"buildx", "compose", "config", "context", "manifest", "node", "plugin", "secret", "service", "stack",
	"swarm", "trust",
};

static const struct flag_def global_flags[] = {
	{ "debug", 'D', FLAG_BOOL, "Enable debug mode" },
	{ "host", 'H', FLAG_LIST, "Engine's socket: unix:///path or tcp://host:port" },
	{ "tls", 0, FLAG_BOOL, "Use TLS" },
	{ "tlscacert", 0, FLAG_STRING, "CA that signed the engine's certificate (default ~/.docker/ca.pem)" },
	{ "tlscert", 0, FLAG_STRING, "This client's certificate (default ~/.docker/cert.pem)" },
	{ "tlskey", 0, FLAG_STRING, "Its key (default ~/.docker/key.pem)" },
	{ "tlsverify", 0, FLAG_BOOL, "Use TLS; the engine is verified in either case" },
	{ "version", 'v', FLAG_BOOL, "Print version information and quit" },
	{ 0 },
};

static size_t terminal_columns(void)
{
	struct winsize ws;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col ? ws.ws_col : 80;
}

/* Is `words` one of the comma-separated names? */
static bool has_name(const char *names, const char *words)
{
	size_t n = strlen(words);

	for (const char *p = names; p; p = strchr(p, ','), p += p != NULL) {
		if (!strncmp(p, words, n) && (p[n] == ',' || !p[n]))
			return true;
	}
	return false;
}

static const struct command *find_command(const char *words)
{
	for (size_t i = 0; i < N(tables); i++) {
		for (const struct command *c = tables[i]; c->name; c++) {
			if (has_name(c->name, words))
				return c;
		}
	}
	return NULL;
}

static int entry_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Commands of a group, or those of one word when group is NULL: "  ls          List containers". */
static void list_commands(struct buf *out, const char *group)
{
	char **lines = NULL;

	for (size_t i = 0; i < N(tables); i++) {
		for (const struct command *c = tables[i]; c->name; c++) {
			char **names CLEANUP(strv_freep) = str_split(c->name, ','), *line, *found = NULL;
			size_t n = group ? strlen(group) : 0;

			for (size_t k = 0; names[k] && !found; k++) {
				if (group && str_starts(names[k], group) && names[k][n] == ' ')
					found = names[k] + n + 1;
				else if (!group && !strchr(names[k], ' '))
					found = names[k];
			}
			if (!found)
				continue;
			line = mem_printf("  %-11s %s", found, c->brief);
			lines = strv_add(lines, line);
			free(line);
		}
	}
	if (lines)
		qsort(lines, strv_len(lines), sizeof(*lines), entry_order);
	for (size_t i = 0; lines && lines[i]; i++)
		buf_printf(out, "%s\n", lines[i]);
	strv_free(lines);
}

static void help_top(struct buf *out)
{
	buf_adds(out, "Usage:  kedge [OPTIONS] COMMAND\n\nA container engine for edge hosts and networking labs\n\nManagement Commands:\n");
	for (size_t i = 0; i < N(groups); i++)
		buf_printf(out, "  %-11s %s\n", groups[i].name, groups[i].brief);
	buf_adds(out, "\nCommands:\n");
	list_commands(out, NULL);
	buf_adds(out, "\nGlobal Options:\n");
	flags_help(out, global_flags, terminal_columns());
	buf_adds(out, "\nRun 'kedge COMMAND --help' for more information on a command.\n");
}

static void help_group(struct buf *out, const struct group *g)
{
	buf_printf(out, "Usage:  kedge %s COMMAND\n\n%s\n\nCommands:\n", g->name, g->brief);
	list_commands(out, g->name);
	buf_printf(out, "\nRun 'kedge %s COMMAND --help' for more information on a command.\n", g->name);
}

static void help_command(struct buf *out, const struct command *cmd, const char *name)
{
	buf_printf(out, "Usage:  kedge %s %s\n\n%s\n", name, cmd->args, cmd->brief);
	if (strchr(cmd->name, ',')) {
		char **names CLEANUP(strv_freep) = str_split(cmd->name, ',');

		buf_adds(out, "\nAliases:\n  ");
		for (size_t i = 0; names[i]; i++)
			buf_printf(out, "%skedge %s", i ? ", " : "", names[i]);
		buf_addc(out, '\n');
	}
	if (cmd->flags[0].name) {
		buf_adds(out, "\nOptions:\n");
		flags_help(out, cmd->flags, terminal_columns());
	}
}

static int show_help(void (*fill)(struct buf *out))
{
	struct buf out CLEANUP(buf_done) = BUF_INIT;

	fill(&out);
	cli_out(&out);
	return 0;
}

static int wrong_count(const struct command *cmd, const char *name)
{
	const char *s = cmd->min == 1 ? "" : "s";

	if (cmd->max == 0)
		fprintf(stderr, "kedge: 'kedge %s' accepts no arguments\n", name);
	else if (cmd->max < 0)
		fprintf(stderr, "kedge: 'kedge %s' requires at least %d argument%s\n", name, cmd->min, s);
	else if (cmd->max == cmd->min)
		fprintf(stderr, "kedge: 'kedge %s' requires %d argument%s\n", name, cmd->min, s);
	else
		fprintf(stderr, "kedge: 'kedge %s' requires at most %d argument%s\n", name, cmd->max, cmd->max == 1 ? "" : "s");
	fprintf(stderr, "\nUsage:  kedge %s %s\n\n%s 'kedge %s --help' for more information\n", name, cmd->args, cmd->max < 0 ? "See" : "Run", name);
	return 1;
}

static int run_command(struct cli *c, const struct command *cmd, char **argv)
{
	struct flags f = { 0 };
	struct err e = { 0 };
	int r;

	c->cmd = cmd;
	if (flags_parse(&f, cmd->flags, argv, !cmd->ordered, &e) < 0) {
		fprintf(stderr, "%s\n\nUsage:  kedge %s %s\n\nRun 'kedge %s --help' for more information\n", e.msg, c->name, cmd->args, c->name);
		r = EXIT_ENGINE;
	} else if (f.help) {
		struct buf out CLEANUP(buf_done) = BUF_INIT;

		help_command(&out, cmd, c->name);
		cli_out(&out);
		r = 0;
	} else if (f.argc < cmd->min || (cmd->max >= 0 && f.argc > cmd->max)) {
		r = wrong_count(cmd, c->name);
	} else {
		r = cmd->run(c, &f);
	}
	flags_done(&f);
	return r;
}

static int unknown_command(const char *word, const char *group)
{
	const char *last = strrchr(word, ' ');

	last = last ? last + 1 : word;
	for (size_t i = 0; i < N(absent); i++) {
		if (str_eq(last, absent[i])) {
			fprintf(stderr, "kedge: '%s' is docker's word for something that this version of kedge does not do\n", word);
			return 1;
		}
	}
	fprintf(stderr, "kedge: unknown command: kedge %s\n", word);
	if (group)
		fprintf(stderr, "\nUsage:  kedge %s\n\nRun 'kedge %s --help' for more information\n", group, group);
	else
		fprintf(stderr, "\nRun 'kedge --help' for more information\n");
	return 1;
}

static int dispatch(struct cli *c, char **argv)
{
	const struct command *cmd;
	const struct group *g = NULL;
	char *words CLEANUP(mem_freep) = NULL;
	struct buf out CLEANUP(buf_done) = BUF_INIT;

	if (str_eq(argv[0], "help")) {
		char *help[] = { "--help", NULL };

		if (!argv[1])
			return show_help(help_top);
		c->name = words = argv[2] ? mem_printf("%s %s", argv[1], argv[2]) : mem_strdup(argv[1]);
		cmd = find_command(words);
		return cmd ? run_command(c, cmd, help) : unknown_command(words, NULL);
	}
	for (size_t i = 0; i < N(groups); i++) {
		if (str_eq(groups[i].name, argv[0]))
			g = &groups[i];
	}
	if (!g) {
		c->name = argv[0];
		cmd = find_command(argv[0]);
		return cmd ? run_command(c, cmd, argv + 1) : unknown_command(argv[0], NULL);
	}
	if (!argv[1] || argv[1][0] == '-') {
		help_group(&out, g);
		cli_out(&out);
		return 0;
	}
	c->name = words = mem_printf("%s %s", argv[0], argv[1]);
	cmd = find_command(words);
	return cmd ? run_command(c, cmd, argv + 2) : unknown_command(words, g->name);
}

static const char *first_env(const char *a, const char *b)
{
	const char *v = getenv(a);

	return str_empty(v) ? getenv(b) : v;
}

/* A bare path or host:port becomes a URL; the rest is http_client_new()'s to judge. */
static char *host_url(const char *text)
{
	if (strstr(text, "://"))
		return mem_strdup(text);
	return *text == '/' ? mem_printf("unix://%s", text) : mem_printf("tcp://%s", text);
}

static char *tls_path(const char *given, const char *name)
{
	const char *dir = getenv("DOCKER_CERT_PATH"), *home = getenv("HOME");

	if (!str_empty(given))
		return mem_strdup(given);
	return str_empty(dir) ? mem_printf("%s/.docker/%s", home ? home : "", name) : mem_printf("%s/%s", dir, name);
}

int main(int argc, char **argv)
{
	struct flags f = { 0 };
	struct cli c = { 0 };
	struct err e = { 0 };
	char *host CLEANUP(mem_freep) = NULL, *ca CLEANUP(mem_freep) = NULL, *cert CLEANUP(mem_freep) = NULL, *key CLEANUP(mem_freep) = NULL;
	const char *env;
	int r;

	(void)argc;
	log_init(STDERR_FILENO, LOG_LEVEL_ERROR);
	if (flags_parse(&f, global_flags, argv + 1, false, &e) < 0) {
		fprintf(stderr, "%s\n\nUsage:  kedge [OPTIONS] COMMAND [ARG...]\n\nRun 'kedge --help' for more information\n", e.msg);
		flags_done(&f);
		return EXIT_ENGINE;
	}
	if (flag_bool(&f, "debug"))
		log_init(STDERR_FILENO, LOG_LEVEL_DEBUG);
	if (flag_list(&f, "host")[0] && flag_list(&f, "host")[1]) {
		fprintf(stderr, "kedge: specify only one -H\n");
		flags_done(&f);
		return 1;
	}
	env = flag_list(&f, "host")[0] ? flag_list(&f, "host")[0] : first_env("KEDGE_HOST", "DOCKER_HOST");
	c.host = host = host_url(str_empty(env) ? DEFAULT_HOST : env);
	env = getenv("DOCKER_TLS_VERIFY");
	c.use_tls = flag_bool(&f, "tls") || flag_bool(&f, "tlsverify") || (!str_empty(env) && !flag_given(&f, "tlsverify"));
	c.tls.ca = ca = tls_path(flag_str(&f, "tlscacert"), "ca.pem");
	c.tls.cert = cert = tls_path(flag_str(&f, "tlscert"), "cert.pem");
	c.tls.key = key = tls_path(flag_str(&f, "tlskey"), "key.pem");
	if (flag_bool(&f, "version")) {
		printf("kedge version %s\n", PACKAGE_VERSION);
		r = 0;
	} else if (f.help || !f.argc) {
		r = show_help(help_top);
	} else {
		r = dispatch(&c, f.args);
	}
	cli_done(&c);
	flags_done(&f);
	return r;
}
