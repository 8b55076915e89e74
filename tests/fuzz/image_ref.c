/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "image/image_priv.h"

/* References and the instructions of import: what is taken comes out the same when it is read again. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char *s = malloc(n + 1), out[800], again[800];
	json_t *config = json_object();
	struct image_ref r;
	struct err e;

	memcpy(s, p, n);
	s[n] = '\0';
	if (image_ref_parse(s, &r, &e) == 0) {
		image_ref_canonical(&r, out, sizeof(out));
		if (image_ref_parse(out, &r, &e) < 0 || strcmp(image_ref_canonical(&r, again, sizeof(again)), out))
			abort();
		image_ref_familiar(&r, out, sizeof(out));
		if (image_ref_parse(out, &r, &e) < 0 || strcmp(image_ref_canonical(&r, out, sizeof(out)), again))
			abort();
	}
	(void)image_change(config, s, &e);
	json_decref(config);
	free(s);
	return 0;
}
