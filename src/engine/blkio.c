/* SPDX-License-Identifier: Apache-2.0 */
/* HostConfig.Blkio* into the runtime's linux.resources.blockIO. Devices are named by path here and by number there. */
#include "engine/engine_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/file.h"

/* Weights of a device are the business of its I/O scheduler; with cgroup version 2 iocost can do it as well, whatever the scheduler. */
static bool has_weights(dev_t dev)
{
	char path[80], line[128];

	if (cgroup_unified())
		return true;
	for (int part = 0; part < 2; part++) {	/* a partition's queue is that of the disk around it */
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/scheduler", major(dev), minor(dev), part ? "../" : "");
		if (file_read_line(path, line, sizeof(line)) >= 0)
			return strstr(line, "[bfq]") || strstr(line, "[cfq]");
	}
	return false;
}

static int add_devices(const json_t *host, const char *key, const char *number, const char *oci, const char *oci_number, json_t *out, struct err *e)
{
	json_t *list = json_array(), *v;
	size_t i;

	json_array_foreach(json_arr(host, key), i, v) {
		const char *path = json_str(v, "Path", "");
		int64_t n = json_i64(v, number, -1);
		struct stat st;

		if (n < 0 || (str_eq(number, "Weight") && (n < 10 || n > 1000))) {
			json_decref(list);
			return err_set(e, ERR_INVALID, "HostConfig.%s: %lld is no %s for device '%s'", key, (long long)n, number, path);
		}
		if (stat(path, &st) < 0 || !S_ISBLK(st.st_mode)) {
			json_decref(list);
			return err_set(e, ERR_INVALID, "HostConfig.%s: '%s' is no block device", key, path);
		}
		if (str_eq(number, "Weight") && !has_weights(st.st_rdev)) {
			json_decref(list);
			return err_set(e, ERR_INVALID, "HostConfig.%s: the I/O scheduler of '%s' knows no weights, bfq does", key, path);
		}
		json_array_append_new(list, json_pack("{s:i, s:i, s:I}", "major", (int)major(st.st_rdev), "minor", (int)minor(st.st_rdev), oci_number,
						      (json_int_t)n));
	}
	if (json_array_size(list))
		doc_set(out, oci, list);
	else
		json_decref(list);
	return 0;
}

int spec_blkio(const json_t *host, json_t *resources, struct err *e)
{
	static const struct { const char *key, *number, *oci, *oci_number; } lists[] = {
		{ "BlkioWeightDevice", "Weight", "weightDevice", "weight" },
		{ "BlkioDeviceReadBps", "Rate", "throttleReadBpsDevice", "rate" },
		{ "BlkioDeviceWriteBps", "Rate", "throttleWriteBpsDevice", "rate" },
		{ "BlkioDeviceReadIOps", "Rate", "throttleReadIOPSDevice", "rate" },
		{ "BlkioDeviceWriteIOps", "Rate", "throttleWriteIOPSDevice", "rate" },
	};
	int64_t weight = json_i64(host, "BlkioWeight", 0);
	json_t *out = json_object();

	if (weight && (weight < 10 || weight > 1000)) {
		json_decref(out);
		return err_set(e, ERR_INVALID, "Range of blkio weight is from 10 to 1000");
	}
	if (weight)
		doc_set(out, "weight", json_integer(weight));
	for (size_t i = 0; i < N(lists); i++) {
		if (add_devices(host, lists[i].key, lists[i].number, lists[i].oci, lists[i].oci_number, out, e) < 0) {
			json_decref(out);
			return -1;
		}
	}
	if (json_object_size(out))
		doc_set(resources, "blockIO", out);
	else
		json_decref(out);
	return 0;
}
