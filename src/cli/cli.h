/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_CLI_CLI_H
#define KEDGE_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/flags.h"
#include "http/client.h"
#include "loop/loop.h"

/* What every command gets: the way to the engine, made at the first use. */
struct cli {
	const char *host;		/* "unix:///run/kedge/kedge.sock" */
	bool use_tls;
	struct http_tls tls;
	struct loop *loop;
	struct http_client *http;
	const struct command *cmd;	/* the one that runs */
	const char *name;		/* its words as the user wrote them: "container ls" */
};

struct command {
	const char *name;		/* "container ls"; the words of aliases follow, comma-separated: "container ls,ps,container ps" */
	const char *args;		/* "[OPTIONS] CONTAINER [CONTAINER...]" */
	const char *brief;
	const struct flag_def *flags;
	int min, max;			/* arguments; max -1: any number */
	bool ordered;			/* flags end at the first argument */
	int (*run)(struct cli *c, struct flags *f);	/* exit status */
};

/* One table a file; an entry without name ends it. */
extern const struct command
	commands_build[],
	commands_container[],
	commands_run[],
	commands_exec[],
	commands_update[],
	commands_list[],
	commands_image[], commands_registry[],
	commands_inspect[],
	commands_network[],
	commands_net[],
	commands_dns[],
	commands_network_edit[],
	commands_system[],
	commands_stream[],
	commands_stats[],
	commands_volume[],
	commands_cp[],
	commands_prune[];
extern const struct flag_def flags_none[];

enum { EXIT_ENGINE = 125 };

/* client.c */

int cli_connect(struct cli *c, struct err *e);
void cli_done(struct cli *c);
/*
 * One request, whole reply appended to out (may be NULL). The status, or -1 with the sentence to show: "Error response from daemon: ..."
 * for a status from 400 on. path is without the version, already encoded.
 */
int cli_call(struct cli *c, const char *method, const char *path, const json_t *body, struct buf *out, struct err *e);
/* GET and parse; NULL with e. */
json_t *cli_get(struct cli *c, const char *path, struct err *e);
/* "/v1.50" before path, for http_call_start(). The caller frees. */
char *cli_target(const char *path);
/* The sentence for a reply with this status and body. */
int cli_reply_error(int status, const char *body, size_t n, struct err *e);
/* "<before><id, encoded><after>". The caller frees. */
char *cli_path(const char *before, const char *id, const char *after);
/* Appends "?key=value" or "&key=value", encoded. */
void cli_query(struct buf *path, const char *key, const char *value);
/* --filter words to the "filters" of a query. */
int cli_query_filters(struct buf *path, char *const *words, struct err *e);

int cli_check_filter(const char *text, struct err *why);

/* Writes to stdout; short writes and closed pipes end the program by SIGPIPE. */
void cli_out(const struct buf *b);
/* Sentence on stderr; returns 1. */
int cli_fail(const struct err *e);

/*
 * For commands over several objects: does `one` for each argument, prints the argument after a success, the errors at the end. 0, or 1
 * when one failed.
 */
int cli_each(struct cli *c, struct flags *f, int (*one)(struct cli *c, struct flags *f, const char *arg, struct err *e), bool print);

/* format.c: lists by --format */

struct format_column {
	const char *field, *header;
};

struct format {
	const struct format_column *columns;	/* ends with a NULL field */
	const char *type;			/* Go's name of a row's type */
	/* {{.Name args}}; user: the labels of the row (see labels), NULL in the header. */
	json_t *(*method)(void *user, const char *name, json_t *const *args, size_t n);
	json_t *labels;				/* of the next row; borrowed */
	/* set by format_open() */
	struct template *t;
	bool table;
	struct buf out;
};

/* text: the user's --format or NULL/""; table: what "table" alone or no format means. */
int format_open(struct format *f, const char *text, const char *table, struct err *e);
/* row: object with a string for each column; consumed in any case. */
int format_row(struct format *f, json_t *row, struct err *e);
/* Header, layout, output. */
int format_close(struct format *f, bool print, struct err *e);
/* A copy with its keys in order, as Go prints maps; o is consumed. */
json_t *format_sorted(json_t *o);
/* The words of --format that both lists and inspect know: "\t" and "\n" written out become the characters. The caller frees. */
char *format_unescape(const char *text);

#define FLAG_FORMAT { "format", 0, FLAG_STRING, "Format output using a custom template: 'table': with column headers (default), " \
	"'table TEMPLATE': the same with the given Go template, 'json': in JSON, 'TEMPLATE': the given Go template" }
#define FLAG_FILTER { "filter", 'f', FLAG_LIST, "Filter output based on conditions provided", .word = "filter", .check = cli_check_filter }
#define FLAG_NO_TRUNC { "no-trunc", 0, FLAG_BOOL, "Don't truncate output" }

#endif
