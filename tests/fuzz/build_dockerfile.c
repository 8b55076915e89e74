/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ignore.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/plan.h"
#include "build/word.h"

/* A Dockerfile, each of its words expanded; the same text as a .dockerignore. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const char *get(void *user, const char *name)
{
	(void)user;
	return !strcmp(name, "A") ? "some value" : !strcmp(name, "EMPTY") ? "" : NULL;
}

static void expand(const struct build_vars *v, const char *word)
{
	struct err e;
	char *one = build_word(v, word, &e), **many = build_words(v, word, &e);

	/* Both fail, or both succeed. */
	if (!one != !many)
		abort();
	free(one);
	strv_free(many);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct build_vars v = { .get = get, .escape = '\\' };
	struct build_plan plan;
	struct ignore *ig;
	struct err e = { 0 };

	if (build_plan_parse((const char *)p, n, &plan, &e) == 0) {
		v.escape = plan.file.escape;
		for (size_t i = 0; i < plan.file.n; i++) {
			const struct build_line *l = &plan.file.lines[i];

			for (char **a = l->args; *a; a++)
				expand(&v, *a);
			for (size_t d = 0; d < l->ndocs; d++) {
				v.no_quotes = true;
				expand(&v, l->docs[d].text);
				v.no_quotes = false;
				free(build_heredoc_text(&l->docs[d]));
			}
		}
		build_plan_add_label(&plan, 0, "a", "b");
		build_plan_done(&plan);
	} else if (!*e.msg) {
		abort();
	}
	ig = ignore_parse((const char *)p, n, &e);
	(void)ignore_match(ig, "a/b/c.txt");
	(void)ignore_may_want_below(ig, "a");
	ignore_free(ig);
	return 0;
}
