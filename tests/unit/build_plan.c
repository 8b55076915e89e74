/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/plan.h"

static struct build_plan plan_of(const char *text)
{
	struct build_plan p;
	struct err e = { 0 };

	if (build_plan_parse(text, strlen(text), &p, &e) < 0)
		fail_msg("%s\n%s", text, e.msg);
	return p;
}

static void args_are(const struct build_step *s, const char *joined)
{
	struct buf b = BUF_INIT;

	for (char **a = s->line->args; *a; a++)
		buf_printf(&b, "%s%s", b.len ? "|" : "", *a);
	assert_string_equal(b.data ? b.data : "", joined);
	buf_done(&b);
}

static void test_lines(void **state)
{
	struct build_plan p = plan_of("\xef\xbb\xbf# a comment\n\nFROM busybox\n  RUN a \\\n  # not this\n\n  && b\\\n c\nCMD [\"x\", \"y z\"]\nCMD [x]\nrun a # b\n"
				      "RUN x \\\\\nRUN y\\");
	struct build_stage *st = &p.stages[0];

	(void)state;
	assert_int_equal(p.n, 1);
	assert_int_equal(st->from.line->line, 3);
	assert_int_equal(st->n, 6);
	args_are(&st->steps[0], "a   && b c");
	assert_string_equal(st->steps[0].line->code, "RUN a   && b c");
	assert_int_equal(st->steps[0].line->line, 4);
	args_are(&st->steps[1], "x|y z");
	assert_true(st->steps[1].line->json);
	args_are(&st->steps[2], "[x]");
	assert_false(st->steps[2].line->json);
	args_are(&st->steps[3], "a # b");
	assert_int_equal(st->steps[3].op, BUILD_RUN);
	args_are(&st->steps[4], "x \\\\");
	args_are(&st->steps[5], "y");
	build_plan_done(&p);
}

static void test_directives(void **state)
{
	struct build_plan p = plan_of("# syntax = docker/dockerfile:1\n# escape=`\nFROM a\nRUN a `\n b\nRUN c:\\\n");

	(void)state;
	assert_string_equal(p.file.syntax, "docker/dockerfile:1");
	assert_int_equal(p.file.escape, '`');
	args_are(&p.stages[0].steps[0], "a  b");
	args_are(&p.stages[0].steps[1], "c:\\");
	build_plan_done(&p);
	/* Past the first other line it is a comment. */
	p = plan_of("#\n# escape=`\nFROM a\n");
	assert_int_equal(p.file.escape, '\\');
	build_plan_done(&p);
}

static void test_forms(void **state)
{
	struct build_plan p = plan_of("ARG V=1\nARG W\nFROM --platform=linux/amd64 a:$V as Base\nENV A=1 B=\"two words\" C=a\\ b D=\nENV OLD the  rest\n"
				      "LABEL \"a b\"=c\nCOPY --from=x --chown=a:b --chmod=755 --exclude=*.o --exclude=x --link s1 s2 /d/\nADD [\"a b\", \"c\"]\n"
				      "EXPOSE 80 443/tcp\nVOLUME /a /b\nVOLUME [\"/c d\"]\nHEALTHCHECK --interval=1m --retries=3 CMD [\"x\", \"y\"]\nHEALTHCHECK none\n"
				      "HEALTHCHECK CMD a b || c\nONBUILD  run x\nSHELL [\"sh\", \"-c\"]\nARG X Y=1 Z=\"a b\"\nENTRYPOINT\nUSER a b\nFROM base\n");
	struct build_step *s = p.stages[0].steps;
	char *text;

	(void)state;
	assert_int_equal(p.nmeta, 2);
	assert_int_equal(p.n, 2);
	assert_string_equal(p.stages[0].name, "base");
	assert_string_equal(p.stages[0].base, "a:$V");
	assert_string_equal(p.stages[0].from.platform, "linux/amd64");
	args_are(&s[0], "A|1|B|\"two words\"|C|a\\ b|D|");
	args_are(&s[1], "OLD|the  rest");
	args_are(&s[2], "\"a b\"|c");
	args_are(&s[3], "s1|s2|/d/");
	assert_string_equal(s[3].from, "x");
	assert_string_equal(s[3].chown, "a:b");
	assert_string_equal(s[3].chmod, "755");
	assert_int_equal(strv_len(s[3].exclude), 2);
	args_are(&s[4], "a b|c");
	args_are(&s[5], "80|443/tcp");
	args_are(&s[6], "/a|/b");
	args_are(&s[7], "/c d");
	text = json_text(s[8].health);
	assert_string_equal(text, "{\"Test\":[\"CMD\",\"x\",\"y\"],\"Interval\":60000000000,\"Retries\":3}");
	free(text);
	text = json_text(s[9].health);
	assert_string_equal(text, "{\"Test\":[\"NONE\"]}");
	free(text);
	text = json_text(s[10].health);
	assert_string_equal(text, "{\"Test\":[\"CMD-SHELL\",\"a b || c\"]}");
	free(text);
	assert_string_equal(s[11].trigger, "run x");
	args_are(&s[12], "sh|-c");
	args_are(&s[13], "X|Y=1|Z=\"a b\"");
	args_are(&s[14], "");
	args_are(&s[15], "a b");
	assert_int_equal(build_plan_stage(&p, "BASE", false, 1), 0);
	assert_int_equal(build_plan_stage(&p, "0", true, 1), 0);
	assert_int_equal(build_plan_stage(&p, "1", true, 1), -1);
	assert_int_equal(build_plan_stage(&p, "nope", true, 2), -1);
	build_plan_add_label(&p, 1, "k", "$v");
	assert_int_equal(p.stages[1].n, 1);
	assert_true(p.stages[1].steps[0].literal);
	build_plan_done(&p);
}

static void test_heredocs(void **state)
{
	struct build_plan p = plan_of("FROM a\nRUN <<EOF\necho 1\necho 2\nEOF\nCOPY <<-\"A B\" <<two x /d/\n\tone\n\tA B\n$x\ntwo\nRUN cat <<EOF - 3<<X\n1\nEOF\n2\nX\n"
				      "CMD <<EOF\nONBUILD COPY <<E /x\nfile\nE\nRUN x << 2\n2\n");
	struct build_step *s = p.stages[0].steps;
	char *text;

	(void)state;
	assert_int_equal(p.stages[0].n, 6);
	assert_int_equal(s[0].line->ndocs, 1);
	assert_string_equal(s[0].line->docs[0].text, "echo 1\necho 2\n");
	assert_true(s[0].line->docs[0].expand);
	assert_int_equal(s[1].line->ndocs, 2);
	assert_string_equal(s[1].line->docs[0].name, "A B");
	assert_false(s[1].line->docs[0].expand);
	text = build_heredoc_text(&s[1].line->docs[0]);
	assert_string_equal(text, "one\n");
	free(text);
	assert_true(s[1].line->docs[1].expand);
	assert_string_equal(s[1].line->docs[1].text, "$x\n");
	assert_int_equal(s[2].line->ndocs, 2);
	assert_string_equal(s[2].line->docs[1].name, "X");
	assert_int_equal(s[3].line->ndocs, 0);
	assert_string_equal(s[4].trigger, "COPY <<E /x\nfile\nE");
	assert_int_equal(s[5].line->ndocs, 1);
	build_plan_done(&p);
}

static void test_errors(void **state)
{
	static const char *const t[][2] = {
		{ "", "file with no instructions" }, { "# only\n", "file with no instructions" },
		{ "FROM a\nRUN x\nFOO bar\n", "dockerfile parse error on line 3: unknown instruction: FOO" },
		{ "RUN x\n", "dockerfile parse error on line 1: no build stage in current context" },
		{ "FROM\n", "dockerfile parse error on line 1: FROM requires either one or three arguments" },
		{ "FROM a b\n", "line 1: FROM requires either one or three arguments" },
		{ "FROM a AS 1x\n", "invalid name for build stage: \"1x\", name can't start with a number or contain symbols" },
		{ "FROM a\n\nENV X\n", "dockerfile parse error on line 3: ENV must have two arguments" },
		{ "FROM a\nENV a=1 b\n", "line 2: Syntax error - can't find = in \"b\". Must be of the form: name=value" },
		{ "FROM a\nENV\n", "line 2: ENV requires at least one argument" }, { "FROM a\nENV =x\n", "ENV names can not be blank" },
		{ "FROM a\nLABEL x\n", "LABEL must have two arguments" }, { "FROM a\nARG =x\n", "ARG names can not be blank" },
		{ "FROM a\nCOPY x\n", "COPY requires at least two arguments, but only one was provided. Destination could not be determined" },
		{ "FROM a\nCOPY --foo=1 x y\n", "unknown flag: --foo" }, { "FROM a\nCOPY --from x y\n", "missing a value on flag: --from" },
		{ "FROM a\nCOPY --from=1 --from=2 x y\n", "duplicate flag specified: --from" },
		{ "FROM a\nCOPY --link=maybe x y\n", "expecting boolean value for flag --link, not: maybe" },
		{ "FROM a\nCOPY --parents x y\n", "COPY --parents is not supported" }, { "FROM a\nADD --checksum=a x y\n", "ADD --checksum is not supported" },
		{ "FROM a\nRUN --mount=type=cache,target=/x y\n", "line 2: the --mount option requires BuildKit" },
		{ "FROM a\nRUN --foo y\n", "unknown flag: --foo" }, { "FROM a\nRUN\n", "RUN requires at least one argument" },
		{ "FROM a\nCMD [\"a\", 1]\n", "when using JSON array syntax, arrays must be comprised of strings only" },
		{ "FROM a\nSHELL sh -c\n", "SHELL requires the arguments to be in JSON form" }, { "FROM a\nWORKDIR\n", "WORKDIR requires exactly one argument" },
		{ "FROM a\nHEALTHCHECK x\n", "Unknown type \"x\" in HEALTHCHECK (try CMD)" }, { "FROM a\nHEALTHCHECK CMD\n", "Missing command after HEALTHCHECK CMD" },
		{ "FROM a\nHEALTHCHECK NONE x\n", "HEALTHCHECK NONE takes no arguments" }, { "FROM a\nHEALTHCHECK --interval=1us CMD x\n", "cannot be less than 1ms" },
		{ "FROM a\nHEALTHCHECK --retries=-1 CMD x\n", "--retries cannot be negative (-1)" },
		{ "FROM a\nONBUILD ONBUILD RUN x\n", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed" },
		{ "FROM a\nONBUILD FROM x\n", "FROM isn't allowed as an ONBUILD trigger" }, { "FROM a\nONBUILD FOO x\n", "unknown instruction: FOO" },
		{ "FROM a\nVOLUME [\"\"]\n", "VOLUME specified can not be an empty string" }, { "FROM a\nRUN <<EOF\nx\n", "line 2: unterminated heredoc" },
		{ "FROM a\nCOPY x <<EOF\nEOF\n", "COPY cannot accept a heredoc as a destination" },
		{ "# escape=x\nFROM a\n", "line 1: invalid escape token 'x' does not match ` or \\" },
		{ "# escape=`\n# escape=`\nFROM a\n", "line 2: only one escape parser directive can be used" },
		{ "FROM a\nRUN \xff\n", "line 2: the line is not valid UTF-8 text" },
	};

	(void)state;
	for (size_t i = 0; i < N(t); i++) {
		struct build_plan p;
		struct err e = { 0 };

		if (build_plan_parse(t[i][0], strlen(t[i][0]), &p, &e) == 0)
			fail_msg("taken: %s", t[i][0]);
		assert_int_equal(e.kind, ERR_INVALID);
		if (!strstr(e.msg, t[i][1]))
			fail_msg("'%s' is told as '%s', not '%s'", t[i][0], e.msg, t[i][1]);
	}
}

/* Large and many: errors or success, soon. */
static void test_limits(void **state)
{
	struct buf b = BUF_INIT;
	struct build_plan p;
	struct err e = { 0 };

	(void)state;
	buf_init(&b, 8 << 20);
	buf_adds(&b, "FROM a\n");
	for (unsigned i = 0; i < 20000; i++)
		buf_adds(&b, "RUN x\n");
	assert_int_equal(build_plan_parse(b.data, b.len, &p, &e), -1);
	assert_non_null(strstr(e.msg, "instructions"));
	buf_reset(&b);
	buf_adds(&b, "FROM a\nCOPY ");
	for (unsigned i = 0; i < 1000000; i++)
		buf_adds(&b, i % 10000 ? "a " : "\\\n");
	buf_adds(&b, "b c\n");
	assert_int_equal(build_plan_parse(b.data, b.len, &p, &e), 0);
	build_plan_done(&p);
	buf_reset(&b);
	buf_adds(&b, "FROM a\nRUN ");
	for (unsigned i = 0; i < 100000; i++)
		buf_addc(&b, 'x');
	assert_int_equal(build_plan_parse(b.data, b.len, &p, &e), -1);
	assert_non_null(strstr(e.msg, "line greater than max allowed size"));
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines), cmocka_unit_test(test_directives), cmocka_unit_test(test_forms), cmocka_unit_test(test_heredocs),
		cmocka_unit_test(test_errors), cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
