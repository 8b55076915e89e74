/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"
#include "daemon/options.h"
#include "engine/defaults.h"

/* daemon.json: taken with every field set as said, or refused with a sentence; and what containers get by it is a request that can be written. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char path[64], name[] = "kedged", flag[] = "--config-file", *argv[] = { name, flag, path, NULL };
	int fd = memfd_create("daemon.json", MFD_CLOEXEC);
	struct config c = { 0 };
	struct err e = { 0 };
	int rc;

	if (fd < 0 || write(fd, p, n) != (ssize_t)n)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	optind = 0;
	rc = config_load(&c, 3, argv, &e);
	if (rc < 0 && (e.kind == ERR_NONE || !*e.msg || !str_utf8_valid(e.msg, strlen(e.msg))))
		abort();
	if (rc == 0) {
		json_t *body = json_pack("{s:s}", "Image", "x"), *filled = defaults_fill(body, c.defaults);
		char *text = json_text(filled);

		if (!text)
			abort();
		free(text);
		json_decref(filled);
		json_decref(body);
	}
	config_done(&c);
	close(fd);
	return 0;
}
