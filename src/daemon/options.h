/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_DAEMON_OPTIONS_H
#define KEDGE_DAEMON_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* What the daemon runs with: flags over daemon.json over defaults. All strings are owned. */
struct config {
	char **hosts;			/* "unix:///path", "tcp://addr:port", "fd://" */
	char *config_file;
	char *data_root, *exec_root;
	char *pidfile;
	char *group;			/* of Unix sockets */
	char *log_level, *debug_for;	/* debug_for: subsystems that say everything whatever the level */
	char *instance;			/* names pins and interface aliases */
	char *bridge, *bip, *datapath, *xdp;
	char **address_pools;		/* "base=10.10.0.0/16,size=24" */
	char *publish_policy;		/* "direct", "guarded" or NULL */
	char *metrics_addr;		/* "127.0.0.1:9323"; NULL: none */
	char *userns_remap;		/* NULL: none */
	char *cgroup_parent;
	char *runtime_path;
	char *tlscacert, *tlscert, *tlskey;
	bool tls;			/* tls or tlsverify asked for */
	bool tls_off;			/* "tls": false said in so many words: plain TCP is wanted */
	bool ip_forward;
	char **insecure_registries, **registry_mirrors;
	char *log_driver, **log_opts;	/* of containers that ask for none; "key=value" */
	json_t *defaults;		/* what the engine gives to containers: engine/defaults.h; "labels" of the engine itself */
	int64_t max_downloads, max_uploads, max_attempts;	/* 0: the image module's own */
};

/* 0: go on; 1: --help or --version has been printed; -1 with e. */
int config_load(struct config *c, int argc, char **argv, struct err *e);
void config_done(struct config *c);

#endif
