/* SPDX-License-Identifier: Apache-2.0 */
#include "http_rig.h"

#include "api/api_priv.h"
#include "base/json.h"
#include "base/str.h"

/* The parameters of /logs and /events, as a hostile client writes them: a time or a sentence comes of them, and always an answer. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void handle(struct http_req *r, void *user)
{
	struct api_call c = { .r = r };
	const char *tail = http_req_query(r, "tail");
	struct err e = { 0 };
	int64_t since, until, lines = -1;
	json_t *filters = NULL;

	(void)user;
	(void)http_req_query_flag(r, "follow", false);
	(void)http_req_query_flag(r, "timestamps", true);
	if (!str_empty(tail) && str_to_i64(tail, 0, INT64_MAX, &lines) < 0)
		lines = -1;
	if (lines < -1)
		abort();
	if (api_query_time(&c, "since", &since, &e) < 0 || api_query_time(&c, "until", &until, &e) < 0 || api_filters(&c, &filters, &e) < 0) {
		if (e.kind != ERR_INVALID || !*e.msg)
			abort();
		http_reply_err(r, &e);
		return;
	}
	json_decref(filters);
	http_reply(r, 200, "text/plain", "", 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct buf all = BUF_INIT, answer = BUF_INIT;

	if (n > 1 << 16)
		return 0;
	rig_start(handle);
	buf_adds(&all, "GET /containers/x/logs?");
	buf_add(&all, p, n);
	buf_adds(&all, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	rig_exchange(all.data, all.len, &answer);
	if (answer.len < 12 || strncmp(answer.data, "HTTP/1.1 ", 9) != 0)
		abort();
	if (strncmp(answer.data, "HTTP/1.1 400 ", 13) == 0) {	/* whatever bytes were in the parameter, the sentence is JSON */
		const char *body = memmem(answer.data, answer.len, "\r\n\r\n", 4);
		json_t *doc = body ? json_parse(body + 4, answer.len - (size_t)(body + 4 - answer.data), "the answer", NULL) : NULL;

		if (!*json_str(doc, "message", ""))
			abort();
		json_decref(doc);
	}
	buf_done(&all);
	buf_done(&answer);
	return 0;
}
