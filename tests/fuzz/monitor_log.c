/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/jsonw.h"
#include "runtime/monitor/logenc.h"

/*
 * Whatever a program writes: cut into lines and records as the monitor does, each record is one line that parses, and its text is what was written
 * with U+FFFD for each byte that is not UTF-8. Buffers are exact, so that a sanitizer sees a byte too many.
 */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void record(const char *p, size_t n, int stream)
{
	char *in = malloc(n), *out = malloc(LOGENC_MAX(n)), tail[LOGENC_OVER];
	json_t *want = json_bytes(p, n), *got;
	size_t len;

	memcpy(in, p, n);
	len = logenc_record(out, in, n, tail, logenc_tail(tail, stream, NULL, "2024-01-02T03:04:05.123456789Z"));
	if (len > LOGENC_MAX(n) || memchr(out, '\n', len) != out + len - 1)
		abort();
	got = json_parse(out, len, "record", NULL);
	if (!json_equal(json_object_get(got, "log"), want) || strcmp(json_str(got, "stream", ""), stream == 2 ? "stderr" : "stdout"))
		abort();
	json_decref(got);
	json_decref(want);
	free(in);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *p = (const char *)data, *end = p + n;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t len = nl ? (size_t)(nl - p) + 1 : (size_t)(end - p);

		if (len > LOGENC_LINE) {
			len = logenc_cut(p, LOGENC_LINE);
			if (!len || len > LOGENC_LINE)
				abort();
		}
		record(p, len, len % 2 ? 1 : 2);
		p += len;
	}
	return 0;
}
