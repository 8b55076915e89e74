/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/state.h"

/* Runs all instructions of one stage; the comments come back, one a line. */
static char *run(const char *text, json_t *given, struct build_state *s, struct err *e)
{
	char *out = mem_strdup("");
	struct build_plan p;

	if (build_plan_parse(text, strlen(text), &p, e) < 0)
		fail_msg("%s", e->msg);
	build_state_init(s, NULL, NULL, given, p.file.escape);
	for (size_t i = 0; i < p.stages[0].n; i++) {
		char *comment, *note, *all;

		if (build_state_apply(s, &p.stages[0].steps[i], &comment, &note, e) < 0) {
			free(out);
			out = NULL;
			break;
		}
		all = mem_printf("%s%s%s\n", out, note ? note : "", comment);
		free(out);
		free(comment);
		free(note);
		out = all;
	}
	build_plan_done(&p);
	return out;
}

static void expect(const char *text, const char *comments, const char *config)
{
	json_t *given = json_pack("{s:s, s:s}", "GIVEN", "from outside", "HTTP_PROXY", "http://proxy");
	struct build_state s;
	struct err e = { 0 };
	char *got = run(text, given, &s, &e), *json;

	if (!got)
		fail_msg("%s", e.msg);
	assert_string_equal(got, comments);
	json_object_del(s.config, strstr(config, "PATH=") ? "" : "Env");
	json = json_text(s.config);
	assert_string_equal(json, config);
	free(json);
	free(got);
	build_state_done(&s);
	json_decref(given);
}

static void test_words(void **state)
{
	(void)state;
	expect("FROM a\nENV A=1 B=\"x y\"\nENV A=2 C=$A\nENV OLD some text\n", "ENV A=1 B=x y\nENV A=2 C=1\nENV OLD=some text\n",
	       "{\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"A=2\",\"B=x y\",\"C=1\",\"OLD=some text\"]}");
	expect("FROM a\nLABEL a=\"b c\" d=e\nMAINTAINER me <m@e>\n", "LABEL a=b c d=e\nMAINTAINER me <m@e>\n", "{\"Labels\":{\"a\":\"b c\",\"d\":\"e\"}}");
	expect("FROM a\nCMD [\"a\", \"b\\\"\"]\nENTRYPOINT x y\n", "CMD [\"a\" \"b\\\"\"]\nENTRYPOINT [\"/bin/sh\" \"-c\" \"x y\"]\n",
	       "{\"Cmd\":[\"a\",\"b\\\"\"],\"Entrypoint\":[\"/bin/sh\",\"-c\",\"x y\"]}");
	expect("FROM a\nSHELL [\"/bin/bash\", \"-c\"]\nCMD x\n", "SHELL [/bin/bash -c]\nCMD [\"/bin/bash\" \"-c\" \"x\"]\n",
	       "{\"Shell\":[\"/bin/bash\",\"-c\"],\"Cmd\":[\"/bin/bash\",\"-c\",\"x\"]}");
	expect("FROM a\nWORKDIR /a\nWORKDIR b/../c\nWORKDIR ../..\nWORKDIR x\n", "WORKDIR /a\nWORKDIR /a/c\nWORKDIR /\nWORKDIR /x\n",
	       "{\"WorkingDir\":\"/x\"}");
	expect("FROM a\nENV P=\"80 443/udp\"\nEXPOSE $P 1000-1002\n", "ENV P=80 443/udp\nEXPOSE $P 1000-1002\n",
	       "{\"ExposedPorts\":{\"80/tcp\":{},\"443/udp\":{},\"1000/tcp\":{},\"1001/tcp\":{},\"1002/tcp\":{}}}");
	expect("FROM a\nVOLUME /a /b\nVOLUME [\"/c d\"]\n", "VOLUME [/a /b]\nVOLUME [/c d]\n", "{\"Volumes\":{\"/a\":{},\"/b\":{},\"/c d\":{}}}");
	expect("FROM a\nUSER me:us\nSTOPSIGNAL SIGQUIT\nONBUILD RUN x\nONBUILD RUN y\n", "USER me:us\nSTOPSIGNAL SIGQUIT\nONBUILD RUN x\nONBUILD RUN y\n",
	       "{\"User\":\"me:us\",\"StopSignal\":\"SIGQUIT\",\"OnBuild\":[\"RUN x\",\"RUN y\"]}");
	expect("FROM a\nHEALTHCHECK --interval=90s --timeout=1500ms --retries=3 CMD a b\nHEALTHCHECK NONE\n",
	       "HEALTHCHECK &{[\"CMD-SHELL\" \"a b\"] \"1m30s\" \"1.5s\" \"0s\" \"0s\" '\\x03'}\n"
	       "Note: overriding previous HEALTHCHECK: [CMD-SHELL a b]\nHEALTHCHECK &{[\"NONE\"] \"0s\" \"0s\" \"0s\" \"0s\" '\\x00'}\n",
	       "{\"Healthcheck\":{\"Test\":[\"NONE\"]}}");
}

static void test_args(void **state)
{
	json_t *given = json_pack("{s:s, s:s}", "GIVEN", "from outside", "HTTP_PROXY", "http://proxy"), *list;
	struct build_state s;
	struct err e = { 0 };
	char *text, *got = run("FROM a\nARG GIVEN=own\nARG OWN=x$GIVEN\nARG NONE\nARG SHADOW=1\nENV SHADOW=2\nLABEL l=$GIVEN-$OWN-$NONE-$SHADOW-$HTTP_PROXY\n",
			       given, &s, &e);

	(void)state;
	assert_string_equal(got, "ARG GIVEN=own\nARG OWN=xfrom outside\nARG NONE\nARG SHADOW=1\nENV SHADOW=2\n"
				 "LABEL l=from outside-xfrom outside--2-http://proxy\n");
	list = build_state_run_args(&s, true);
	text = json_text(list);
	assert_string_equal(text, "[\"GIVEN=from outside\",\"OWN=xfrom outside\"]");
	free(text);
	json_decref(list);
	list = build_state_run_args(&s, false);
	assert_int_equal(json_array_size(list), 3);
	json_decref(list);
	free(got);
	build_state_done(&s);
	json_decref(given);
}

static void test_bad(void **state)
{
	static const char *const t[][2] = {
		{ "FROM a\nENV A=\"${X:?is needed}\"\n", "X: is needed" }, { "FROM a\nEXPOSE nonsense\n", "is no port" }, { "FROM a\nEXPOSE 70000\n", "is no port" },
		{ "FROM a\nSTOPSIGNAL NOPE\n", "invalid signal: NOPE" }, { "FROM a\nWORKDIR $X\n", "cannot normalize nothing" },
		{ "FROM a\nVOLUME $X\n", "VOLUME specified can not be an empty string" }, { "FROM a\nENV $X=1\n", "names can not be blank" },
		{ "FROM a\nENV A=\xc3\xb6\nENV B=${A#?}\n", "not valid UTF-8" },
	};

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		struct build_state s;
		struct err e = { 0 };

		if (run(t[i][0], NULL, &s, &e))
			fail_msg("taken: %s", t[i][0]);
		if (!strstr(e.msg, t[i][1]))
			fail_msg("'%s' is told as '%s'", t[i][0], e.msg);
		build_state_done(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_words), cmocka_unit_test(test_args), cmocka_unit_test(test_bad) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
