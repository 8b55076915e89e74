/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_RUNTIME_MONITOR_SHIP_H
#define KEDGE_RUNTIME_MONITOR_SHIP_H

#include <stddef.h>
#include <stdint.h>

/*
 * Lines to a syslog server (RFC 3164, RFC 5424) or to the journal, beside or instead of the log file. The program never waits for
 * either: what cannot be sent now is kept up to SHIP_ROOM bytes for a stream, else dropped and counted. One per monitor.
 */
enum { SHIP_ROOM = 64 * 1024, SHIP_LINE = 16 * 1024 + 1024 };

struct ship_args {
	const char *kind;		/* "syslog", "journald"; NULL: none */
	const char *address;		/* "unix:///dev/log", "unixgram://..", "udp://1.2.3.4:514", "tcp://[::1]:601" */
	const char *format;		/* syslog: "", "rfc3164", "rfc5424", "rfc5424micro" */
	const char *host, *tag;
	int facility;			/* syslog: 0-23 */
	const char *const *fields;	/* journald: "KEY=value", NULL-terminated */
};
void ship_open(const struct ship_args *a);	/* strings are borrowed for good; failures show in what gets through */
void ship_line(int stream, const char *p, size_t n, int64_t now_ns);
void ship_done(void);				/* gives what waits a second to go out */
uint64_t ship_lost(void);

/* Pure: one message without framing into out; its length. */
size_t ship_syslog(const struct ship_args *a, int stream, const char *p, size_t n, int64_t now_ns, int pid, char *out, size_t size);

#endif
