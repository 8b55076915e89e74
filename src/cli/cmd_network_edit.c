/* SPDX-License-Identifier: Apache-2.0 */
/* network create, rm, prune, connect, disconnect; ls is in cmd_network.c, inspect with the others (cmd_inspect.c). */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/spec.h"

/* ---- create ---- */

struct prefix {
	int family;
	unsigned len;
	unsigned char addr[16];
};

static int prefix_parse(const char *text, bool bare, struct prefix *p)
{
	CLEANUP(mem_freep) char *addr = mem_strndup(text, strcspn(text, "/"));
	const char *slash = strchr(text, '/');
	uint64_t len;

	p->family = strchr(addr, ':') ? AF_INET6 : AF_INET;
	p->len = p->family == AF_INET ? 32 : 128;
	memset(p->addr, 0, sizeof(p->addr));
	if ((!slash && !bare) || inet_pton(p->family, addr, p->addr) != 1 || (slash && str_to_u64(slash + 1, 0, p->len, &len) < 0))
		return -1;
	if (slash)
		p->len = (unsigned)len;
	return 0;
}

static bool contains(const char *subnet, const char *text)
{
	struct prefix net, p;

	if (prefix_parse(subnet, false, &net) < 0 || prefix_parse(text, true, &p) < 0 || p.family != net.family)
		return false;
	for (unsigned i = 0; i < net.len; i++)
		if ((net.addr[i / 8] ^ p.addr[i / 8]) & (0x80 >> i % 8))
			return false;
	return true;
}

/* Puts each value into the subnet it lies in; one a subnet. */
static int assign(json_t *config, char *const *values, const char *key, const char *none, const char *many, struct err *e)
{
	json_t *o;
	size_t i;

	for (; *values; values++) {
		json_t *at = NULL;

		json_array_foreach(config, i, o)
			if (contains(json_str(o, "Subnet", ""), *values))
				at = o;
		if (!at)
			return err_set(e, ERR_INVALID, "no matching subnet for %s %s", none, *values);
		if (json_object_get(at, key))
			return err_set(e, ERR_INVALID, "cannot configure multiple %s (%s, %s) on the same subnet (%s)", many, *values, json_str(at, key, ""),
				       json_str(at, "Subnet", ""));
		json_object_set_new(at, key, json_string(*values));
	}
	return 0;
}

static int assign_aux(json_t *config, char *const *values, struct err *e)
{
	json_t *o;
	size_t i;

	for (; *values; values++) {
		const char *eq = strchr(*values, '=');
		json_t *at = NULL, *aux;

		if (!eq)
			return err_set(e, ERR_INVALID, "invalid auxiliary address '%s': it is not NAME=ADDRESS", *values);
		json_array_foreach(config, i, o)
			if (contains(json_str(o, "Subnet", ""), eq + 1))
				at = o;
		if (!at)
			return err_set(e, ERR_INVALID, "no matching subnet for aux-address %s", eq + 1);
		aux = json_object_get(at, "AuxiliaryAddresses");
		if (!aux) {
			aux = json_object();
			json_object_set_new(at, "AuxiliaryAddresses", aux);
		}
		if (spec_label(*values, aux, e) < 0)
			return -1;
	}
	return 0;
}

static int ipam_config(const struct flags *f, json_t *config, struct err *e)
{
	char *const *subnets = flag_list(f, "subnet"), *const *ranges = flag_list(f, "ip-range"), *const *gateways = flag_list(f, "gateway");

	if (strv_len(subnets) < strv_len(ranges) || strv_len(subnets) < strv_len(gateways))
		return err_set(e, ERR_INVALID, "every ip-range or gateway must have a corresponding subnet");
	for (size_t i = 0; subnets[i]; i++) {
		for (size_t k = 0; k < i; k++)
			if (contains(subnets[i], subnets[k]) || contains(subnets[k], subnets[i]))
				return err_set(e, ERR_INVALID, "multiple overlapping subnet configuration is not supported");
		json_array_append_new(config, json_pack("{s:s}", "Subnet", subnets[i]));
	}
	if (assign(config, ranges, "IPRange", "range", "ranges", e) < 0 || assign(config, gateways, "Gateway", "gateway", "gateways", e) < 0)
		return -1;
	return assign_aux(config, flag_list(f, "aux-address"), e);
}

static int pairs(char *const *words, json_t *out, struct err *e)
{
	for (; *words; words++)
		if (spec_label(*words, out, e) < 0)
			return -1;
	return 0;
}

static int cmd_network_create(struct cli *c, struct flags *f)
{
	json_t *opts = json_object(), *labels = json_object(), *config = json_array(), *ipam_opts = json_object();
	json_t *body CLEANUP(json_freep) = json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:o, s:o, s:{s:s, s:o, s:o}}", "Name", f->args[0], "Driver",
		flag_str(f, "driver"), "Scope", flag_str(f, "scope"), "Internal", flag_bool(f, "internal"), "Attachable", flag_bool(f, "attachable"),
		"Ingress", flag_bool(f, "ingress"), "ConfigOnly", flag_bool(f, "config-only"), "Options", opts, "Labels", labels, "IPAM",
		"Driver", flag_str(f, "ipam-driver"), "Options", ipam_opts, "Config", config);
	struct buf reply CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL;
	struct err e = { 0 };

	if (!body)
		err_set(&e, ERR_INVALID, "an argument is not valid UTF-8");
	if (!body || pairs(flag_list(f, "opt"), opts, &e) < 0 || pairs(flag_list(f, "label"), labels, &e) < 0 ||
	    pairs(flag_list(f, "ipam-opt"), ipam_opts, &e) < 0 || ipam_config(f, config, &e) < 0)
		return cli_fail(&e);
	if (flag_given(f, "ipv4"))
		json_object_set_new(body, "EnableIPv4", json_boolean(flag_bool(f, "ipv4")));
	if (flag_given(f, "ipv6"))
		json_object_set_new(body, "EnableIPv6", json_boolean(flag_bool(f, "ipv6")));
	if (*flag_str(f, "config-from"))
		json_object_set_new(body, "ConfigFrom", json_pack("{s:s}", "Network", flag_str(f, "config-from")));
	if (cli_call(c, "POST", "/networks/create", body, &reply, &e) < 0)
		return cli_fail(&e);
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", &e);
	if (!doc)
		return cli_fail(&e);
	if (*json_str(doc, "Warning", ""))
		fprintf(stderr, "WARNING: %s\n", json_str(doc, "Warning", ""));
	printf("%s\n", json_str(doc, "Id", ""));
	return 0;
}

/* ---- rm, prune ---- */

static int cmd_network_rm(struct cli *c, struct flags *f)
{
	int status = 0;

	for (int i = 0; i < f->argc; i++) {
		char *path CLEANUP(mem_freep) = cli_path("/networks/", f->args[i], "");
		struct err e = { 0 };

		if (cli_call(c, "DELETE", path, NULL, NULL, &e) >= 0)
			printf("%s\n", f->args[i]);
		else if (!flag_bool(f, "force") || e.kind != ERR_NOT_FOUND)
			status = cli_fail(&e);
	}
	return status;
}

static int cmd_network_prune(struct cli *c, struct flags *f)
{
	struct buf path CLEANUP(buf_done) = BUF_INIT, reply CLEANUP(buf_done) = BUF_INIT, out CLEANUP(buf_done) = BUF_INIT;
	json_t *doc CLEANUP(json_freep) = NULL, *v;
	char line[16] = "";
	struct err e = { 0 };
	size_t i;

	if (!flag_bool(f, "force")) {
		printf("WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue? [y/N] ");
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin) || (!str_eq(line, "y\n") && !str_eq(line, "Y\n"))) {
			fprintf(stderr, "network prune has been cancelled\n");
			return 1;
		}
	}
	buf_adds(&path, "/networks/prune");
	if (cli_query_filters(&path, flag_list(f, "filter"), &e) < 0 || cli_call(c, "POST", path.data, NULL, &reply, &e) < 0)
		return cli_fail(&e);
	doc = json_parse(reply.data ? reply.data : "", reply.len, "the engine's reply", &e);
	if (!doc)
		return cli_fail(&e);
	if (!json_array_size(json_arr(doc, "NetworksDeleted")))
		return 0;
	buf_adds(&out, "Deleted Networks:\n");
	json_array_foreach(json_arr(doc, "NetworksDeleted"), i, v)
		buf_printf(&out, "%s\n", json_string_value(v));
	buf_addc(&out, '\n');
	cli_out(&out);
	return 0;
}

/* ---- connect, disconnect ---- */

static json_t *strings(char *const *v)
{
	json_t *a = json_array();

	for (; *v; v++)
		json_array_append_new(a, json_string(*v));
	return a;
}

static int cmd_network_connect(struct cli *c, struct flags *f)
{
	char *path CLEANUP(mem_freep) = cli_path("/networks/", f->args[0], "/connect");
	json_t *opts = json_object();
	json_t *body CLEANUP(json_freep) = json_pack("{s:s, s:{s:{s:s, s:s, s:o}, s:o, s:o, s:o, s:I}}", "Container", f->args[1], "EndpointConfig", "IPAMConfig",
		"IPv4Address", flag_str(f, "ip"), "IPv6Address", flag_str(f, "ip6"), "LinkLocalIPs", strings(flag_list(f, "link-local-ip")),
		"Links", strings(flag_list(f, "link")), "Aliases", strings(flag_list(f, "alias")), "DriverOpts", opts, "GwPriority",
		(json_int_t)flag_int(f, "gw-priority"));
	struct err e = { 0 };

	if (!body)
		err_set(&e, ERR_INVALID, "an argument is not valid UTF-8");
	if (!body || pairs(flag_list(f, "driver-opt"), opts, &e) < 0 || cli_call(c, "POST", path, body, NULL, &e) < 0)
		return cli_fail(&e);
	return 0;
}

static int cmd_network_disconnect(struct cli *c, struct flags *f)
{
	char *path CLEANUP(mem_freep) = cli_path("/networks/", f->args[0], "/disconnect");
	json_t *body CLEANUP(json_freep) = json_pack("{s:s, s:b}", "Container", f->args[1], "Force", flag_bool(f, "force"));
	struct err e = { 0 };

	if (!body)
		err_set(&e, ERR_INVALID, "an argument is not valid UTF-8");
	return !body || cli_call(c, "POST", path, body, NULL, &e) < 0 ? cli_fail(&e) : 0;
}

static const struct flag_def create_flags[] = {
	{ "attachable", 0, FLAG_BOOL, "Enable manual container attachment" },
	{ "aux-address", 0, FLAG_LIST, "Auxiliary IPv4 or IPv6 addresses used by Network driver", .word = "map" },
	{ "config-from", 0, FLAG_STRING, "The network from which to copy the configuration" },
	{ "config-only", 0, FLAG_BOOL, "Create a configuration only network" },
	{ "driver", 'd', FLAG_STRING, "Driver to manage the Network", .def = "bridge" },
	{ "gateway", 0, FLAG_LIST, "IPv4 or IPv6 Gateway for the master subnet", .word = "strings" },
	{ "ingress", 0, FLAG_BOOL, "Create swarm routing-mesh network" },
	{ "internal", 0, FLAG_BOOL, "Restrict external access to the network" },
	{ "ip-range", 0, FLAG_LIST, "Allocate container ip from a sub-range", .word = "strings" },
	{ "ipam-driver", 0, FLAG_STRING, "IP Address Management Driver", .def = "default" },
	{ "ipam-opt", 0, FLAG_LIST, "Set IPAM driver specific options", .word = "map" },
	{ "ipv4", 0, FLAG_BOOL, "Enable or disable IPv4 address assignment", .def = "true" },
	{ "ipv6", 0, FLAG_BOOL, "Enable or disable IPv6 address assignment" },
	{ "label", 0, FLAG_LIST, "Set metadata on a network" },
	{ "opt", 'o', FLAG_LIST, "Set driver specific options", .word = "map" },
	{ "scope", 0, FLAG_STRING, "Control the network's scope" },
	{ "subnet", 0, FLAG_LIST, "Subnet in CIDR format that represents a network segment", .word = "strings" },
	{ 0 },
};
static const struct flag_def rm_flags[] = { { "force", 'f', FLAG_BOOL, "Do not error if the network does not exist" }, { 0 } };
static const struct flag_def prune_flags[] = {
	{ "filter", 0, FLAG_LIST, "Provide filter values (e.g. \"until=<timestamp>\")", .word = "filter", .check = cli_check_filter },
	{ "force", 'f', FLAG_BOOL, "Do not prompt for confirmation" }, { 0 },
};
static const struct flag_def connect_flags[] = {
	{ "alias", 0, FLAG_LIST, "Add network-scoped alias for the container", .word = "strings" },
	{ "driver-opt", 0, FLAG_LIST, "driver options for the network", .word = "strings" },
	{ "gw-priority", 0, FLAG_INT, "Highest gw-priority provides the default gateway. Accepts positive and negative values." },
	{ "ip", 0, FLAG_STRING, "IPv4 address (e.g., \"172.30.100.104\")" },
	{ "ip6", 0, FLAG_STRING, "IPv6 address (e.g., \"2001:db8::33\")" },
	{ "link", 0, FLAG_LIST, "Add link to another container" },
	{ "link-local-ip", 0, FLAG_LIST, "Add a link-local address for the container", .word = "strings" },
	{ 0 },
};
static const struct flag_def disconnect_flags[] = { { "force", 'f', FLAG_BOOL, "Force the container to disconnect from a network" }, { 0 } };

const struct command commands_network_edit[] = {
	{ "network create", "[OPTIONS] NETWORK", "Create a network", create_flags, 1, 1, false, cmd_network_create },
	{ "network rm,network remove", "NETWORK [NETWORK...]", "Remove one or more networks", rm_flags, 1, -1, false, cmd_network_rm },
	{ "network prune", "[OPTIONS]", "Remove all unused networks", prune_flags, 0, 0, false, cmd_network_prune },
	{ "network connect", "[OPTIONS] NETWORK CONTAINER", "Connect a container to a network", connect_flags, 2, 2, false, cmd_network_connect },
	{ "network disconnect", "[OPTIONS] NETWORK CONTAINER", "Disconnect a container from a network", disconnect_flags, 2, 2, false, cmd_network_disconnect },
	{ 0 },
};
