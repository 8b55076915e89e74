/* SPDX-License-Identifier: Apache-2.0 */
/* --format: what Go's text/template makes of the same words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/template.h"

static const char dot_text[] =
	"{\"Name\":\"/web\",\"N\":3,\"On\":true,\"Off\":false,\"Empty\":\"\",\"List\":[\"a\",\"b\",\"c\"],\"None\":[],\"Null\":null,"
	"\"Map\":{\"k1\":\"v1\",\"k2\":\"v2\"},\"Deep\":{\"A\":{\"B\":[{\"C\":7},{\"C\":8}]}},\"Markup\":\"<a&b>\"}";

static void test_run(void **state)
{
	static const struct {
		const char *text, *out;
	} t[] = {
		{ "plain", "plain" },
		{ "{{.Name}}", "/web" },
		{ "a{{ .N }}b", "a3b" },
		{ "{{.Deep.A.B}}", "[map[C:7] map[C:8]]" },
		{ "{{json .List}}", "[\"a\",\"b\",\"c\"]" },
		{ "{{json .Name}}", "\"/web\"" },
		{ "{{.List | json}}", "[\"a\",\"b\",\"c\"]" },
		{ "{{if .On}}yes{{else}}no{{end}}", "yes" },
		{ "{{if .Off}}yes{{else}}no{{end}}", "no" },
		{ "{{if .Empty}}yes{{else if .N}}three{{end}}", "three" },
		{ "{{if and .On .N}}x{{end}}{{if or .Off .Empty}}y{{end}}{{if not .Off}}z{{end}}", "xz" },
		{ "{{range .List}}[{{.}}]{{end}}", "[a][b][c]" },
		{ "{{range $i, $v := .List}}{{if $i}},{{end}}{{$i}}={{$v}}{{end}}", "0=a,1=b,2=c" },
		{ "{{range $k, $v := .Map}}{{$k}}:{{$v}} {{end}}", "k1:v1 k2:v2 " },
		{ "{{range .None}}x{{else}}none{{end}}", "none" },
		{ "{{range .Deep.A.B}}{{.C}}{{$.N}} {{end}}", "73 83 " },
		{ "{{with .Deep.A}}{{len .B}}{{end}}", "2" },
		{ "{{index .List 1}}", "b" },
		{ "{{index .Map \"k2\"}}", "v2" },
		{ "{{(index .Deep.A.B 1).C}}", "8" },
		{ "{{len .List}}", "3" },
		{ "{{join .List \"/\"}}", "a/b/c" },
		{ "{{split .Name \"e\"}}", "[/w b]" },
		{ "{{upper .Name}} {{lower \"ABC\"}} {{title \"abc\"}}", "/WEB abc Abc" },
		{ "{{printf \"%s-%d-%q-%v\" .Name .N .Name .On}}", "/web-3-\"/web\"-true" },
		{ "{{printf \"%5d|%-5s|%05d\" .N \"ab\" .N}}", "    3|ab   |00003" },
		{ "{{eq .N 3}} {{ne .N 3}} {{lt .N 4}} {{ge .N 3}}", "true false true true" },
		{ "{{eq .Name \"/web\"}}", "true" },
		{ "{{eq .N 1 2 3}}", "true" },
		{ "{{/* a comment */}}x", "x" },
		{ "a  {{- .N -}}  b", "a3b" },
		{ "{{$x := .N}}{{$x}}", "3" },
		{ "{{\"a\\tb\" | printf \"%s\"}}", "a\tb" },
		{ "{{`raw\\n`}}", "raw\\n" },
		{ "{{truncate .Name 2}}", "/w" },
		{ "{{pad .Name 1 2}}", " /web  " },
		{ "{{print 1 2 \"x\"}}", "1 2x" },
		{ "{{slice .Name 1 3}}", "we" },
	};
	json_t *dot = json_loads(dot_text, 0, NULL);

	for (size_t i = 0; i < N(t); i++) {
		struct err e = { 0 };
		struct buf out = BUF_INIT;
		struct template_args a = { .dot = dot };
		struct template *tp = template_parse(t[i].text, &e);

		if (!tp || template_run(tp, &a, &out, &e) < 0)
			fail_msg("%s: %s", t[i].text, e.msg);
		if (strcmp(out.data ? out.data : "", t[i].out))
			fail_msg("%s: \"%s\", not \"%s\"", t[i].text, out.data, t[i].out);
		buf_done(&out);
		template_free(tp);
	}
	json_decref(dot);
}

static void test_wrong(void **state)
{
	static const char *const t[] = {
		"{{", "{{.Name", "}}{{end}}", "{{if .N}}", "{{range .List}}", "{{else}}", "{{nosuch .N}}", "{{.Name | }}", "{{\"a}}", "{{(.N}}",
		"{{define \"x\"}}{{end}}", "{{template \"x\"}}", "{{$x}}", "{{if}}x{{end}}", "{{.N.}}", "{{/* open",
	};
	static const char *const at_run[] = { "{{index .List 9}}", "{{index .Name \"x\"}}", "{{range .N.x}}{{end}}", "{{len .On}}", "{{lt .N \"a\"}}" };
	json_t *dot = json_loads(dot_text, 0, NULL);

	for (size_t i = 0; i < N(t); i++) {
		struct err e = { 0 };
		struct template *tp = template_parse(t[i], &e);

		if (tp)
			fail_msg("\"%s\" was taken", t[i]);
		assert_true(e.kind == ERR_INVALID && *e.msg);
	}
	for (size_t i = 0; i < N(at_run); i++) {
		struct err e = { 0 };
		struct buf out = BUF_INIT;
		struct template_args a = { .dot = dot };
		struct template *tp = template_parse(at_run[i], &e);

		assert_non_null(tp);
		if (template_run(tp, &a, &out, &e) == 0)
			fail_msg("\"%s\" gave \"%s\"", at_run[i], out.data);
		assert_true(*e.msg);
		buf_done(&out);
		template_free(tp);
	}
	json_decref(dot);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_run), cmocka_unit_test(test_wrong) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
