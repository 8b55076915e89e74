/* SPDX-License-Identifier: Apache-2.0 */
/* What a create request becomes, and the sentences for those that become nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_priv.h"

static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
static const char image_text[] = "{\"config\":{\"Env\":[\"PATH=/bin\",\"A=image\"],\"Cmd\":[\"serve\",\"-x\"],\"Entrypoint\":[\"/start\"],"
	"\"ExposedPorts\":{\"80/tcp\":{}},\"Labels\":{\"l\":\"image\",\"m\":\"image\"},\"WorkingDir\":\"/srv\",\"User\":\"www\",\"StopSignal\":\"SIGQUIT\"}}";

static json_t *parse(const char *text)
{
	struct err e = { 0 };
	json_t *v = json_parse(text, strlen(text), "test", &e);

	if (!v)
		fail_msg("%s", e.msg);
	return v;
}

static json_t *create(const char *body_text, struct err *e)
{
	json_t *body = parse(body_text), *image = parse(image_text), *warnings = json_array(), *doc;

	memset(e, 0, sizeof(*e));
	doc = create_document(id, "web", body, "sha256:1", image, NULL, warnings, e);
	json_decref(body);
	json_decref(image);
	json_decref(warnings);
	return doc;
}

static void expect(const char *body, const char *path, const char *want)
{
	struct err e;
	json_t *doc = create(body, &e), *wanted = NULL;
	json_t *got;

	if (!doc)
		fail_msg("%s: %s", body, e.msg);
	wanted = json_loads(want, JSON_DECODE_ANY, NULL);
	assert_non_null(wanted);
	got = json_path(doc, path);
	if (!got || !json_equal(got, wanted)) {
		char *text = got ? json_dumps(got, JSON_ENCODE_ANY) : NULL;

		fail_msg("%s: %s is %s, not %s", body, path, text, want);
	}
	json_decref(wanted);
	json_decref(doc);
}

static void test_merge(void **state)
{
	expect("{\"Image\":\"x\"}", "Path", "\"/start\"");
	expect("{\"Image\":\"x\"}", "Args", "[\"serve\",\"-x\"]");
	expect("{\"Image\":\"x\",\"Cmd\":[\"own\"]}", "Args", "[\"own\"]");
	/* A new entrypoint makes the image's command meaningless. */
	expect("{\"Image\":\"x\",\"Entrypoint\":[\"/bin/sh\"]}", "Path", "\"/bin/sh\"");
	expect("{\"Image\":\"x\",\"Entrypoint\":[\"/bin/sh\"]}", "Args", "[]");
	expect("{\"Image\":\"x\",\"Entrypoint\":[\"\"],\"Cmd\":[\"own\",\"1\"]}", "Path", "\"own\"");
	expect("{\"Image\":\"x\",\"Cmd\":\"sh -c x\"}", "Args", "[\"sh -c x\"]");
	expect("{\"Image\":\"x\",\"Env\":[\"A=own\",\"B=\",\"C\"]}", "Config.Env", "[\"PATH=/bin\",\"A=own\",\"B=\"]");
	expect("{\"Image\":\"x\",\"Labels\":{\"l\":\"own\"}}", "Config.Labels", "{\"l\":\"own\",\"m\":\"image\"}");
	expect("{\"Image\":\"x\"}", "Config.WorkingDir", "\"/srv\"");
	expect("{\"Image\":\"x\",\"WorkingDir\":\"/a\"}", "Config.WorkingDir", "\"/a\"");
	expect("{\"Image\":\"x\"}", "Config.User", "\"www\"");
	expect("{\"Image\":\"x\",\"ExposedPorts\":{\"81/udp\":{}}}", "Config.ExposedPorts", "{\"80/tcp\":{},\"81/udp\":{}}");
	expect("{\"Image\":\"x\"}", "Config.Hostname", "\"0123456789ab\"");
	expect("{\"Image\":\"x\"}", "State.Status", "\"created\"");
	expect("{\"Image\":\"x\"}", "Name", "\"/web\"");
	expect("{\"Image\":\"x\"}", "HostConfig.ShmSize", "67108864");
}

static void test_refused(void **state)
{
	static const struct {
		const char *body, *sentence;
	} t[] = {
		{ "{\"Image\":\"x\",\"Env\":[\"=x\"]}", "invalid environment variable: =x" },
		{ "{\"Image\":\"x\",\"Env\":[1]}", "Env: element 0 is not a string" },
		{ "{\"Image\":\"x\",\"Env\":{}}", "Env: wrong type" },
		{ "{\"Image\":\"x\",\"WorkingDir\":\"a\"}", "the working directory 'a' is invalid, it needs to be an absolute path" },
		{ "{\"Image\":\"x\",\"HostConfig\":[]}", "HostConfig: wrong type" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Memory\":\"1g\"}}", "HostConfig.Memory: wrong type" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"CapAdd\":[\"FLY\"]}}", "FLY" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Sysctls\":{\"kernel.panic\":\"1\"}}}", "sysctl 'kernel.panic' is not allowed" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Binds\":[\"a\"]}}", "invalid mount path: 'a' mount path must be absolute" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Isolation\":\"hyperv\"}}", "Isolation" },
		{ "{\"Image\":\"x\",\"StopSignal\":\"SIGNONE\"}", "SIGNONE" },
		{ "{\"Image\":\"x\",\"Labels\":{\"a\":1}}", "Labels: the value of \"a\" is not a string" },
	};

	for (size_t i = 0; i < N(t); i++) {
		struct err e;
		json_t *doc = create(t[i].body, &e);

		if (doc)
			fail_msg("%s was taken", t[i].body);
		assert_int_equal(err_http_status(e.kind), 400);
		if (!strstr(e.msg, t[i].sentence))
			fail_msg("%s: \"%s\" does not say \"%s\"", t[i].body, e.msg, t[i].sentence);
	}
}

static void test_mounts(void **state)
{
	static const struct {
		const char *body, *sentence;
	} bad[] = {
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Binds\":[\"v:/a:wild\"]}}", "invalid mode: wild" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Binds\":[\"v:/a\",\"w:/a/\"]}}", "Duplicate mount point: /a" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Binds\":[\"v:/a\"],\"Tmpfs\":{\"/a\":\"\"}}}", "Duplicate mount point: /a" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Binds\":[\"v:/..\"]}}", "mount path must be absolute" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Mounts\":[{\"Type\":\"tmpfs\",\"Target\":\"/t\",\"Source\":\"s\"}]}}", "field Source must not be specified" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Mounts\":[{\"Type\":\"bind\",\"Target\":\"/t\"}]}}", "field Source must not be empty" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Mounts\":[{\"Type\":\"bind\",\"Target\":\"/t\",\"Source\":\"/s\",\"VolumeOptions\":{\"NoCopy\":true}}]}}",
		  "field VolumeOptions must not be specified" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Mounts\":[{\"Type\":\"volume\",\"Target\":\"/t\",\"VolumeOptions\":{\"Subpath\":\"a\"}}]}}", "anonymous volumes" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"Mounts\":[{\"Type\":\"odd\",\"Target\":\"/t\"}]}}", "mount type unknown: \"odd\"" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"VolumesFrom\":[\"c:up\"]}}", "invalid mode for volumes-from: up" },
		{ "{\"Image\":\"x\",\"HostConfig\":{\"VolumesFrom\":[1]}}", "VolumesFrom: element 0 is not a string" },
	};

	expect("{\"Image\":\"x\",\"HostConfig\":{\"Binds\":[\"/a\"]}}", "MountPoints", "[{\"Type\":\"volume\",\"Name\":\"\",\"Source\":\"\",\"Destination\":\"/a\","
	       "\"Driver\":\"local\",\"Anonymous\":true,\"Mode\":\"z\",\"RW\":true,\"Propagation\":\"\"}]");
	expect("{\"Image\":\"x\",\"HostConfig\":{\"Binds\":[\"/a//b/./c:/d/:ro,rslave\"]}}", "MountPoints", "[{\"Type\":\"bind\",\"Source\":\"/a/b/c\","
	       "\"Destination\":\"/d\",\"Mode\":\"ro,rslave\",\"RW\":false,\"Propagation\":\"rslave\",\"CreateSource\":true}]");
	/* What is mounted there already needs no volume of its own. */
	expect("{\"Image\":\"x\",\"Volumes\":{\"/d\":{}},\"HostConfig\":{\"Tmpfs\":{\"/d\":\"\"}}}", "MountPoints", "[]");
	for (size_t i = 0; i < N(bad); i++) {
		struct err e;
		json_t *doc = create(bad[i].body, &e);

		if (doc)
			fail_msg("%s was taken", bad[i].body);
		assert_int_equal(err_http_status(e.kind), 400);
		if (!strstr(e.msg, bad[i].sentence))
			fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].body, e.msg, bad[i].sentence);
	}
}

static json_t *spec_of(const char *config, const char *host)
{
	struct err e = { 0 };
	json_t *c = parse(config), *h = parse(host), *spec;
	struct spec_in in = { .id = id, .config = c, .host = h, .path = "/bin/sh", .rootfs = "/root", .hostname = "box", .cgroups_path = "/c/x",
		.netns = "/run/netns/x" };

	spec = spec_make(&in, &e);
	if (!spec)
		fail_msg("%s: %s", host, e.msg);
	json_decref(c);
	json_decref(h);
	return spec;
}

static bool has(const json_t *list, const char *word)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v) {
		if (str_eq(json_string_value(v), word))
			return true;
	}
	return false;
}

static void test_default_is_tight(void **state)
{
	static const char *const namespaces[] = { "mount", "uts", "pid", "ipc", "cgroup", "network" };
	json_t *s = spec_of("{}", "{}"), *list, *v;
	size_t i, found = 0;

	assert_int_equal(json_array_size(json_path(s, "process.capabilities.bounding")), 14);
	assert_false(has(json_path(s, "process.capabilities.bounding"), "CAP_SYS_ADMIN"));
	assert_int_equal(json_array_size(json_path(s, "process.capabilities.inheritable")), 0);
	assert_int_equal(json_array_size(json_path(s, "process.capabilities.ambient")), 0);
	assert_true(has(json_path(s, "linux.maskedPaths"), "/proc/kcore"));
	assert_true(has(json_path(s, "linux.readonlyPaths"), "/proc/sys"));
	assert_string_equal(json_string_value(json_path(s, "linux.seccomp.defaultAction")), "SCMP_ACT_ERRNO");
	list = json_path(s, "linux.namespaces");
	for (size_t k = 0; k < N(namespaces); k++) {
		json_array_foreach(list, i, v)
			found += str_eq(json_str(v, "type", ""), namespaces[k]);
	}
	assert_int_equal(found, N(namespaces));
	/* The first device rule denies everything. */
	v = json_array_get(json_path(s, "linux.resources.devices"), 0);
	assert_false(json_flag(v, "allow", true));
	assert_string_equal(json_str(v, "access", ""), "rwm");
	json_decref(s);
}

static void test_limits(void **state)
{
	json_t *s = spec_of("{}", "{\"Memory\":67108864,\"NanoCpus\":1500000000,\"CpuShares\":512,\"PidsLimit\":100,\"CpusetCpus\":\"0\",\"ReadonlyRootfs\":true}");

	assert_int_equal(json_integer_value(json_path(s, "linux.resources.memory.limit")), 67108864);
	assert_int_equal(json_integer_value(json_path(s, "linux.resources.cpu.quota")), 150000);
	assert_int_equal(json_integer_value(json_path(s, "linux.resources.cpu.period")), 100000);
	assert_int_equal(json_integer_value(json_path(s, "linux.resources.cpu.shares")), 512);
	assert_int_equal(json_integer_value(json_path(s, "linux.resources.pids.limit")), 100);
	assert_string_equal(json_string_value(json_path(s, "linux.resources.cpu.cpus")), "0");
	assert_true(json_is_true(json_path(s, "root.readonly")));
	json_decref(s);
}

static void test_signals(void **state)
{
	struct err e = { 0 };

	assert_int_equal(spec_signal("SIGTERM", &e), 15);
	assert_int_equal(spec_signal("TERM", &e), 15);
	assert_int_equal(spec_signal("9", &e), 9);
	assert_true(spec_signal("SIGRTMIN+3", &e) > 32);
	assert_true(spec_signal("SIGNONE", &e) < 0);
	assert_true(spec_signal("0x9", &e) < 0);
	assert_true(spec_signal("65", &e) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_default_is_tight),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
