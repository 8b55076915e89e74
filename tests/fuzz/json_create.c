/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"

/*
 * JSON, and the deepest thing that hostile JSON reaches: a create request. What is taken gives a document that can be written, read
 * again and turned into a configuration for the runtime; what is refused has a sentence.
 */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void ports(const json_t *body)
{
	const json_t *host = json_obj(body, "HostConfig");
	struct net_port *list = NULL;
	struct err e = { 0 };
	size_t n = 0;

	if (net_ports_from_api(json_object_get(body, "ExposedPorts"), json_object_get(host, "PortBindings"), true, &list, &n, &e) < 0 && !*e.msg)
		abort();
	free(list);
}

/* Any bytes as a literal, and the document as it came: text that reads back as the same. */
static void written(const uint8_t *p, size_t n, const json_t *body)
{
	struct buf b = BUF_INIT;
	json_t *want = json_bytes((const char *)p, n), *got;
	char *text;

	jsonw_bytes(&b, (const char *)p, n);
	got = json_parse(b.data, b.len, "literal", NULL);
	if (!json_equal(got, want))
		abort();
	json_decref(got);
	json_decref(want);
	buf_done(&b);
	if (!body)
		return;
	text = json_text(body);
	got = json_parse(text, strlen(text), "text", NULL);
	if (!json_equal(got, body))
		abort();
	json_decref(got);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	struct err e = { 0 };
	json_t *body = json_parse((const char *)p, n, "body", &e), *warnings, *image, *doc;

	written(p, n, body);
	if (!body) {
		if (e.kind != ERR_INVALID || !*e.msg || !str_utf8_valid(e.msg, strlen(e.msg)))
			abort();
		return 0;
	}
	if (!json_is_object(body)) {
		json_decref(body);
		return 0;
	}
	ports(body);
	warnings = json_array();
	image = json_pack("{s:{s:[s],s:[s],s:{s:{}}}}", "config", "Env", "PATH=/bin", "Cmd", "sh", "ExposedPorts", "80/tcp");
	doc = create_document(id, "name", body, "sha256:0", image, NULL, warnings, &e);
	if (doc) {
		char *text = json_text(doc);
		json_t *again = json_parse(text, strlen(text), "document", &e);

		if (!json_equal(doc, again))
			abort();
		json_decref(again);
		free(text);
	} else if (e.kind == ERR_NONE || !*e.msg || !str_utf8_valid(e.msg, strlen(e.msg))) {
		abort();
	}
	json_decref(doc);
	json_decref(image);
	json_decref(warnings);
	json_decref(body);
	return 0;
}
