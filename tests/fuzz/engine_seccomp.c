/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/security.h"

/* docker's seccomp profiles: what is taken has a default action and rules with names; what is refused has a sentence. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char *text = mem_strndup((const char *)p, n);
	json_t *caps = json_pack("[s, s]", "CAP_CHOWN", "CAP_SYS_ADMIN"), *profile, *v, *again;
	struct err e = { 0 };
	size_t i;

	profile = seccomp_profile(text, caps, &e);
	if (!profile && (e.kind != ERR_INVALID || !*e.msg || !str_utf8_valid(e.msg, strlen(e.msg))))
		abort();
	if (profile) {
		char *out = json_text(profile);

		if (!str_starts(json_str(profile, "defaultAction", ""), "SCMP_ACT_"))
			abort();
		json_array_foreach(json_arr(profile, "syscalls"), i, v) {
			if (!json_array_size(json_arr(v, "names")) || !str_starts(json_str(v, "action", ""), "SCMP_ACT_"))
				abort();
		}
		again = json_parse(out, strlen(out), "profile", &e);
		if (!json_equal(profile, again))
			abort();
		json_decref(again);
		free(out);
	}
	json_decref(profile);
	json_decref(caps);
	free(text);
	return 0;
}
