/* SPDX-License-Identifier: Apache-2.0 */
/* net flows, drops, maps, trace, capture, attach: looking into the data path, and a hand in it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/net.h"
#include "cli/render.h"

/* ---- flows ---- */

static const struct format_column flow_columns[] = {
	{ "Name", "CONTAINER" }, { "Proto", "PROTO" }, { "Kind", "KIND" }, { "State", "STATE" }, { "Peer", "PEER" }, { "Host", "HOST" },
	{ "Container", "INSIDE" }, { "In", "IN" }, { "Out", "OUT" }, { "InPackets", "IN PACKETS" }, { "OutPackets", "OUT PACKETS" }, { "InBytes", "IN BYTES" },
	{ "OutBytes", "OUT BYTES" }, { "Age", "AGE" }, { "Idle", "IDLE" }, { "ID", "CONTAINER ID" }, { NULL, NULL },
};

void net_address(struct buf *b, const char *addr, int64_t port)
{
	if (strchr(addr, ':'))
		(void)buf_printf(b, "[%s]:%lld", addr, (long long)port);
	else
		(void)buf_printf(b, "%s:%lld", addr, (long long)port);
}

static void put_address(json_t *row, const json_t *o, const char *key, const char *port_key)
{
	struct buf b CLEANUP(buf_done) = BUF_INIT;

	net_address(&b, json_str(o, key, ""), json_i64(o, port_key, 0));
	json_object_set_new(row, key, json_string(b.data));
}

static void put_number(json_t *row, const json_t *o, const char *key)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%lld", (long long)json_i64(o, key, 0));
	json_object_set_new(row, key, json_string(text));
}

static void put_size(json_t *row, const char *key, int64_t bytes)
{
	struct buf b CLEANUP(buf_done) = BUF_INIT;

	render_size(&b, (double)bytes);
	json_object_set_new(row, key, json_string(b.data));
}

static void put_span(json_t *row, const char *key, int64_t ns)
{
	char text[32];
	int64_t s = ns / 1000000000;

	if (s < 60)
		(void)snprintf(text, sizeof(text), "%.1fs", (double)ns / 1e9);
	else if (s < 3600)
		(void)snprintf(text, sizeof(text), "%lldm%02llds", (long long)(s / 60), (long long)(s % 60));
	else
		(void)snprintf(text, sizeof(text), "%lldh%02lldm", (long long)(s / 3600), (long long)(s / 60 % 60));
	json_object_set_new(row, key, json_string(text));
}

static json_t *flow_row(const json_t *o)
{
	static const char *const texts[] = { "Name", "Proto", "Kind", "State" };
	static const char *const numbers[] = { "InPackets", "OutPackets", "InBytes", "OutBytes" };
	json_t *row = json_object();
	char id[13];

	for (size_t i = 0; i < N(texts); i++)
		json_object_set_new(row, texts[i], json_string(json_str(o, texts[i], "")));
	put_address(row, o, "Peer", "PeerPort");
	put_address(row, o, "Host", "HostPort");
	put_address(row, o, "Container", "ContainerPort");
	for (size_t i = 0; i < N(numbers); i++)
		put_number(row, o, numbers[i]);
	put_size(row, "In", json_i64(o, "InBytes", 0));
	put_size(row, "Out", json_i64(o, "OutBytes", 0));
	put_span(row, "Age", json_i64(o, "AgeNs", 0));
	put_span(row, "Idle", json_i64(o, "IdleNs", 0));
	(void)snprintf(id, sizeof(id), "%s", json_str(o, "Sandbox", ""));
	json_object_set_new(row, "ID", json_string(id));
	return row;
}

static int flows_draw(struct cli *c, const char *path, const char *text, bool clear, struct err *e)
{
	struct format fmt = { .columns = flow_columns, .type = "*net.flowContext" };
	json_t *list CLEANUP(json_freep) = cli_get(c, path, e), *o;
	bool ok = list;
	size_t i;

	if (!ok || format_open(&fmt, text, "table {{.Name}}\t{{.Proto}}\t{{.Kind}}\t{{.State}}\t{{.Peer}}\t{{.Host}}\t{{.Container}}\t{{.In}}\t{{.Out}}\t{{.Age}}\t{{.Idle}}",
			       e) < 0)
		return -1;
	if (clear)
		(void)printf("\033[H\033[J");
	json_array_foreach(list, i, o)
		ok = ok && format_row(&fmt, flow_row(o), e) == 0;
	return format_close(&fmt, ok, e) < 0 || !ok ? -1 : 0;
}

static void on_tick(void *user)
{
	*(bool *)user = true;
}

static int cmd_flows(struct cli *c, struct flags *f)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	bool follow = flag_bool(f, "follow"), due = false;
	struct loop_timer *t = NULL;
	struct err e = { 0 };
	int r;

	(void)buf_adds(&path, "/kedge/net/flows");
	if (f->argc)
		cli_query(&path, "container", f->args[0]);
	r = flows_draw(c, path.data, flag_str(f, "format"), follow, &e);
	while (r == 0 && follow) {
		if (!t)
			t = loop_timer_new(c->loop, on_tick, &due);
		due = false;
		loop_timer_set(t, 1000000000);
		while (!due)
			(void)loop_turn(c->loop, -1);
		r = flows_draw(c, path.data, flag_str(f, "format"), true, &e);
	}
	loop_timer_free(t);
	return r < 0 ? cli_fail(&e) : 0;
}

/* ---- drops ---- */

static void drop_print(const json_t *o)
{
	struct buf b CLEANUP(buf_done) = BUF_INIT;
	const char *name = json_str(o, "Name", "");

	if (json_i64(o, "Suppressed", 0))
		(void)buf_printf(&b, "... and %lld more, too many to be told\n", (long long)json_i64(o, "Suppressed", 0));
	render_time_nano(&b, json_i64(o, "timeNano", 0));
	(void)buf_printf(&b, " %s %s/%s %s ", json_str(o, "Reason", ""), json_str(o, "Hook", ""), json_str(o, "Interface", ""), json_str(o, "Proto", ""));
	net_address(&b, json_str(o, "Source", ""), json_i64(o, "SourcePort", 0));
	(void)buf_adds(&b, " > ");
	net_address(&b, json_str(o, "Destination", ""), json_i64(o, "DestinationPort", 0));
	(void)buf_printf(&b, " len %lld", (long long)json_i64(o, "Length", 0));
	if (*json_str(o, "Flags", ""))
		(void)buf_printf(&b, " [%s]", json_str(o, "Flags", ""));
	if (*name)
		(void)buf_printf(&b, " (%s)", name);
	(void)buf_addc(&b, '\n');
	cli_out(&b);
}

static const struct format_column drop_columns[] = { { "Reason", "REASON" }, { "Packets", "PACKETS" }, { "XDP", "XDP" }, { NULL, NULL } };

static int drops_counters(struct cli *c, struct flags *f, struct err *e)
{
	struct format fmt = { .columns = drop_columns, .type = "*net.dropContext" };
	json_t *info CLEANUP(json_freep) = cli_get(c, "/kedge/net/counters", e), *v;
	bool ok = info;
	const char *key;

	if (!ok || format_open(&fmt, flag_str(f, "format"), "table {{.Reason}}\t{{.Packets}}\t{{.XDP}}", e) < 0)
		return -1;
	json_object_foreach(json_obj(info, "Drops"), key, v) {
		char text[24], xdp[24];

		(void)snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(v));
		(void)snprintf(xdp, sizeof(xdp), "%lld", (long long)json_i64(json_obj(json_obj(info, "XDP"), "Drops"), key, 0));
		ok = ok && format_row(&fmt, json_pack("{s:s, s:s, s:s}", "Reason", key, "Packets", text, "XDP", xdp), e) == 0;
	}
	return format_close(&fmt, ok, e) < 0 || !ok ? -1 : 0;
}

static int cmd_drops(struct cli *c, struct flags *f)
{
	struct err e = { 0 };
	int r;

	if (f->argc && !flag_bool(f, "follow")) {
		err_set(&e, ERR_INVALID, "the counters are of the whole host: say --follow to see the drops of one container");
		return cli_fail(&e);
	}
	r = flag_bool(f, "follow") ? net_lines(c, f, "/kedge/net/drops", drop_print, &e) : drops_counters(c, f, &e);
	return r < 0 ? cli_fail(&e) : 0;
}

/* ---- maps ---- */

static const struct format_column map_columns[] = { { "Table", "TABLE" }, { "Entries", "ENTRIES" }, { "Max", "MAX" }, { NULL, NULL } };

static int cmd_maps(struct cli *c, struct flags *f)
{
	struct format fmt = { .columns = map_columns, .type = "*net.mapContext" };
	struct buf out CLEANUP(buf_done) = BUF_INIT;
	struct err e = { 0 };
	json_t *all CLEANUP(json_freep) = cli_get(c, "/kedge/net/maps", &e), *v, *one;
	const char *key;
	bool ok = true;
	size_t i;

	if (!all)
		return cli_fail(&e);
	if (f->argc) {
		v = json_obj(all, f->args[0]);
		if (!v) {
			err_set(&e, ERR_NOT_FOUND, "there is no table '%s'", f->args[0]);
			return cli_fail(&e);
		}
		json_array_foreach(json_arr(v, "Entries"), i, one) {
			render_json(&out, one, false);
			(void)buf_addc(&out, '\n');
		}
		cli_out(&out);
		return 0;
	}
	if (format_open(&fmt, flag_str(f, "format"), "table {{.Table}}\t{{.Entries}}\t{{.Max}}", &e) < 0)
		return cli_fail(&e);
	json_object_foreach(all, key, v) {
		char n[24], max[24];

		(void)snprintf(n, sizeof(n), "%zu", json_array_size(json_arr(v, "Entries")));
		(void)snprintf(max, sizeof(max), "%lld", (long long)json_i64(v, "Max", 0));
		ok = ok && format_row(&fmt, json_pack("{s:s, s:s, s:s}", "Table", key, "Entries", n, "Max", max), &e) == 0;
	}
	return format_close(&fmt, ok, &e) < 0 || !ok ? cli_fail(&e) : 0;
}

/* ---- trace ---- */

static int cmd_trace(struct cli *c, struct flags *f)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT, out CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL, *step;
	struct err e = { 0 };
	const char *result;
	size_t i;

	(void)buf_adds(&path, "/kedge/net/trace");
	cli_query(&path, "to", flag_str(f, "to"));
	cli_query(&path, "proto", flag_bool(f, "udp") ? "udp" : flag_bool(f, "sctp") ? "sctp" : "tcp");
	if (flag_given(f, "from"))
		cli_query(&path, "from", flag_str(f, "from"));
	if (flag_bool(f, "ipv6"))
		cli_query(&path, "ipv6", "1");
	doc = cli_get(c, path.data, &e);
	if (!doc)
		return cli_fail(&e);
	result = json_str(doc, "Result", "");
	if (str_eq(flag_str(f, "format"), "json")) {
		render_json(&out, doc, false);
		(void)buf_addc(&out, '\n');
	} else {
		json_array_foreach(json_arr(doc, "Steps"), i, step) {
			(void)buf_printf(&out, "%2zu  %s\n", i + 1, json_str(step, "Text", ""));
			if (*json_str(step, "Packet", ""))
				(void)buf_printf(&out, "    %s\n", json_str(step, "Packet", ""));
		}
		(void)buf_printf(&out, "%s\n", result);
	}
	cli_out(&out);
	return str_eq(result, "dropped");
}

/* ---- capture ---- */

struct capture {
	struct net_get get;
	int fd;
	bool over;
};

static int capture_data(struct net_get *g, const void *p, size_t n)
{
	int rc = file_write_all(((struct capture *)g)->fd, p, n);

	return rc < 0 ? err_errno(&g->err, -rc, "write the capture") : 0;
}

static void on_interrupt(void *user)
{
	((struct capture *)user)->over = true;
}

static bool capture_over(const struct net_get *g)
{
	return ((const struct capture *)g)->over;
}

/* To a file, or to standard output for another program ("kedge net capture web | tcpdump -r -"). Ctrl-C ends it with a whole file. */
static int cmd_capture(struct cli *c, struct flags *f)
{
	struct capture cap = { .get = { .data = capture_data, .stop = capture_over }, .fd = STDOUT_FILENO };
	struct buf path CLEANUP(buf_done) = BUF_INIT;
	const char *file = flag_str(f, "write");
	struct loop_signal *signals[2];
	struct err e = { 0 };
	char text[24];
	int r;

	if (*file && !str_eq(file, "-")) {
		cap.fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (cap.fd < 0) {
			err_errno(&e, errno, "open %s", file);
			return cli_fail(&e);
		}
	} else if (isatty(STDOUT_FILENO)) {
		err_set(&e, ERR_INVALID, "a capture is not for a terminal: say --write FILE, or pipe it to a program that reads pcapng");
		return cli_fail(&e);
	}
	if (cli_connect(c, &e) < 0)
		return cli_fail(&e);
	signals[0] = loop_signal_new(c->loop, SIGINT, on_interrupt, &cap);
	signals[1] = loop_signal_new(c->loop, SIGTERM, on_interrupt, &cap);
	(void)buf_adds(&path, "/kedge/net/capture");
	cli_query(&path, "container", f->args[0]);
	(void)snprintf(text, sizeof(text), "%lld", (long long)flag_int(f, "snaplen"));
	cli_query(&path, "snaplen", text);
	(void)snprintf(text, sizeof(text), "%lld", (long long)flag_int(f, "count"));
	cli_query(&path, "count", text);
	r = net_get(&cap.get, c, path.data, &e);
	loop_signal_free(signals[0]);
	loop_signal_free(signals[1]);
	if (cap.fd != STDOUT_FILENO)
		(void)close(cap.fd);
	return r < 0 ? cli_fail(&e) : 0;
}

/* ---- attach, detach ---- */

static int hook_call(struct cli *c, const char *method, const struct buf *path, const struct buf *object, struct buf *reply, struct err *e)
{
	char *target CLEANUP(mem_freep) = cli_target(path->data);
	struct http_call_args a = { .method = method, .target = target, .type = "application/octet-stream", .body = object ? object->data : NULL,
				    .len = object ? object->len : 0 };
	int status;

	if (cli_connect(c, e) < 0)
		return -1;
	status = http_client_do(c->http, &a, reply, e);
	if (status >= 400) {
		json_t *doc CLEANUP(json_freep) = json_parse(reply->data, reply->len, "the engine's reply", NULL);

		/* The verifier's words, all of them, before the sentence. */
		(void)fputs(json_str(doc, "VerifierLog", ""), stderr);
		return cli_reply_error(status, reply->data, reply->len, e);
	}
	return status < 0 ? -1 : 0;
}

static int hook_path(struct buf *path, struct flags *f, struct err *e)
{
	if (!str_eq(f->args[1], "ingress") && !str_eq(f->args[1], "egress"))
		return err_set(e, ERR_INVALID, "'%s' is neither ingress nor egress", f->args[1]);
	(void)buf_adds(path, "/kedge/net/attach");
	cli_query(path, "container", f->args[0]);
	cli_query(path, "direction", f->args[1]);
	return 0;
}

static int cmd_attach(struct cli *c, struct flags *f)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT, object CLEANUP(buf_done) = BUF_INIT, reply CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL;
	struct err e = { 0 };
	int rc;

	if (hook_path(&path, f, &e) < 0)
		return cli_fail(&e);
	if (flag_given(f, "program"))
		cli_query(&path, "program", flag_str(f, "program"));
	rc = file_read_at(AT_FDCWD, f->args[2], 4 << 20, &object);
	if (rc < 0) {
		err_errno(&e, -rc, "read %s", f->args[2]);
		return cli_fail(&e);
	}
	if (hook_call(c, "POST", &path, &object, &reply, &e) < 0)
		return cli_fail(&e);
	doc = json_parse(reply.data, reply.len, "the engine's reply", &e);
	if (!doc)
		return cli_fail(&e);
	if (str_eq(flag_str(f, "format"), "json"))
		(void)printf("%s\n", reply.data);
	else
		(void)printf("%s program %s (id %lld) attached to %s at %s\n", json_str(doc, "Type", ""), json_str(doc, "Program", ""),
			     (long long)json_i64(doc, "Id", 0), f->args[0], f->args[1]);
	return 0;
}

static int cmd_detach(struct cli *c, struct flags *f)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT, reply CLEANUP(buf_done) = BUF_INIT;
	struct err e = { 0 };

	if (hook_path(&path, f, &e) < 0 || hook_call(c, "DELETE", &path, NULL, &reply, &e) < 0)
		return cli_fail(&e);
	return 0;
}

static const struct flag_def flows_flags[] = { FLAG_FORMAT, { "follow", 'f', FLAG_BOOL, "Draw the table anew every second" }, { 0 } };
static const struct flag_def drops_flags[] = {
	FLAG_FORMAT, { "follow", 'f', FLAG_BOOL, "Tell each packet that is dropped, as it is dropped" },
	{ "count", 'n', FLAG_INT, "End after so many packets (with --follow)" }, { 0 },
};
static const struct flag_def capture_flags[] = {
	{ "write", 'w', FLAG_STRING, "Write to this file (default: standard output)", .word = "file" },
	{ "count", 'c', FLAG_INT, "End after so many packets" }, { "snaplen", 's', FLAG_INT, "Keep so many bytes of each packet (default: all)" }, { 0 },
};
static const struct flag_def trace_flags[] = {
	FLAG_FORMAT, { "to", 0, FLAG_STRING, "Container and its port, or address and port", .word = "web:80" },
	{ "from", 0, FLAG_STRING, "Container or address (default: an address far away)" }, { "udp", 'u', FLAG_BOOL, "A datagram instead of a SYN" },
	{ "sctp", 0, FLAG_BOOL, "An INIT of SCTP instead of a SYN" },
	{ "ipv6", '6', FLAG_BOOL, "Over IPv6" }, { 0 },
};
static const struct flag_def attach_flags[] = {
	FLAG_FORMAT, { "program", 'p', FLAG_STRING, "Name of the program in the object (default: its first)" }, { 0 },
};
static const struct flag_def maps_flags[] = { FLAG_FORMAT, { 0 } };

const struct command commands_net[] = {
	{ "net flows", "[OPTIONS] [CONTAINER]", "List the flows of a container or of all, with their translation, bytes and age", flows_flags, 0, 1, false, cmd_flows },
	{ "net drops", "[OPTIONS] [CONTAINER]", "Count dropped packets by reason, or tell each as it is dropped", drops_flags, 0, 1, false, cmd_drops },
	{ "net capture", "[OPTIONS] CONTAINER", "Capture what a container sends and receives, as pcapng with directions", capture_flags, 1, 1, false, cmd_capture },
	{ "net trace", "[OPTIONS] --to CONTAINER:PORT", "Tell one packet's way through the data path, without sending it", trace_flags, 0, 0, false, cmd_trace },
	{ "net attach", "[OPTIONS] CONTAINER ingress|egress FILE", "Attach a BPF program (tc or XDP) to a container's interface", attach_flags, 3, 3, false, cmd_attach },
	{ "net detach", "CONTAINER ingress|egress", "Detach the program that was attached there", flags_none, 2, 2, false, cmd_detach },
	{ "net maps", "[OPTIONS] [TABLE]", "List the tables of the data path, or the entries of one", maps_flags, 0, 1, false, cmd_maps },
	{ 0 },
};
