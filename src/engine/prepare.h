/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KEDGE_ENGINE_PREPARE_H
#define KEDGE_ENGINE_PREPARE_H

#include "engine/engine_priv.h"
#include "engine/logopt.h"
#include "loop/work.h"

/* Everything a start needs on disk, made by a worker: directories, /etc files, config.json. Owned by start.c. */
struct prepare {
	struct work work, names_work;
	struct container *c;		/* for done(); the worker does not look into it */
	char id[ID_LEN + 1];
	char *dir, *run_dir, *netns, *nameserver, *hostname, *cgroup;
	char *files;			/* hosts, hostname, resolv.conf; another container's when it shares that one's network */
	char *hosts;			/* the lines of its networks and links */
	char *gateway;			/* what "host-gateway" stands for */
	char **layers;
	json_t *links;			/* links_env() */
	json_t *config, *host, *args, *mounts;	/* references; their content does not change after creation */
	pid_t ipc_pid, pid_pid;		/* whose namespaces are joined; 0 */
	struct engine_idmap idmap;	/* size 0: none */
	const char *path;
	bool host_net, shared;
	bool late_net;			/* names_work follows when the network is made */
	struct log_plan log;
	struct err e;
};

struct prepare *prepare_new(struct container *c, bool late_net, struct err *e);
void prepare_run(struct work *w);	/* the worker's part; e.kind says how it went */
int prepare_names(struct prepare *p, struct err *e);	/* late_net: before names_work runs */
void prepare_names_run(struct work *w);
void prepare_free(struct prepare *p);
char *prepare_bundle(const struct prepare *p);	/* the caller frees */

#endif
