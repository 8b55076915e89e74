/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "daemon/wire.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "api/api.h"
#include "api/metrics.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "build/build.h"
#include "dns/dns.h"
#include "daemon/remap.h"
#include "engine/engine.h"
#include "http/server.h"
#include "image/image.h"
#include "loop/work.h"
#include "net/net.h"
#include "net/policy.h"
#include "store/store.h"
#include "volume/volume.h"

/* Four: a slow archive and a slow disk operation must not hold up two container starts. */
enum { WIRE_WORKERS = 4 };

struct wire {
	int lock_fd;
	char *image_root, *volume_root, *build_root;
	struct work_pool *pool;
	struct store *store;
	struct images *images;
	struct volumes *volumes;
	struct dns *dns;
	struct net *net;
	struct engine *engine;
	struct builds *builds;
	struct api *api;
	struct http_server *http, *metrics;
};

static void wire_image_event(void *user, const char *action, const char *id, const char *name)
{
	struct wire *w = user;

	if (w->engine)
		engine_event_post(w->engine, "image", action, id, json_pack("{s:s}", "name", name ? name : id));
}

static void wire_volume_event(void *user, const char *action, const char *name, const char *driver)
{
	struct wire *w = user;

	if (w->engine)
		engine_event_post(w->engine, "volume", action, name, json_pack("{s:s}", "driver", driver));
}

static int wire_listen_tcp(struct wire *w, const struct config *c, const char *where, struct err *e)
{
	struct http_tls tls = { c->tlscacert, c->tlscert, c->tlskey };
	const char *colon = strrchr(where, ':');
	CLEANUP(mem_freep) char *host = NULL;
	uint64_t port;

	if (!colon || str_to_u64(colon + 1, 1, 65535, &port) < 0)
		return err_set(e, ERR_INVALID, "'tcp://%s' has no port from 1 to 65535", where);
	host = mem_strndup(where, (size_t)(colon - where));
	if (!c->tls && !c->tls_off)
		return err_set(e, ERR_INVALID,
			       "'tcp://%s' would give root to everyone who reaches it: use --tlsverify with --tlscacert, --tlscert and --tlskey, or say --tls=false",
			       where);
	if (c->tls && (!tls.ca || !tls.cert || !tls.key))
		return err_set(e, ERR_INVALID, "TLS on 'tcp://%s' needs --tlscacert, --tlscert and --tlskey", where);
	if (!c->tls)
		log_warn("daemon", "listening on tcp://%s without TLS: everyone who reaches it is root here", where);
	return http_server_listen_tcp(w->http, host, (uint16_t)port, c->tls ? &tls : NULL, e);
}

/* Sockets handed over by the service manager start at descriptor 3 (sd_listen_fds(3)). */
static int wire_listen_fds(struct wire *w, struct err *e)
{
	const char *n = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	uint64_t count = 0, mine = 0;

	if (!n || str_to_u64(n, 1, 64, &count) < 0 || !pid || str_to_u64(pid, 1, INT32_MAX, &mine) < 0 || mine != (uint64_t)getpid())
		return err_set(e, ERR_INVALID, "'fd://' was asked for, but no service manager has handed a socket over");
	for (int fd = 3; fd < 3 + (int)count; fd++)
		if (http_server_listen_fd(w->http, fd, e) < 0)
			return -1;
	return 0;
}

static int wire_listen(struct wire *w, const struct config *c, struct err *e)
{
	gid_t gid = (gid_t)-1;

	if (c->group) {
		const struct group *g = getgrnam(c->group);

		if (!g)
			return err_set(e, ERR_INVALID, "there is no group '%s'", c->group);
		gid = g->gr_gid;
	}
	for (char **h = c->hosts; *h; h++) {
		int rc;

		if (str_starts(*h, "unix:///"))
			rc = http_server_listen_unix(w->http, *h + strlen("unix://"), 0660, gid, e);
		else if (str_starts(*h, "tcp://"))
			rc = wire_listen_tcp(w, c, *h + strlen("tcp://"), e);
		else if (str_eq(*h, "fd://"))
			rc = wire_listen_fds(w, e);
		else
			rc = err_set(e, ERR_INVALID, "host '%s' is neither unix:///path, tcp://address:port nor fd://", *h);
		if (rc < 0)
			return -1;
		log_info("daemon", "API listens on %s", *h);
	}
	return 0;
}

static int wire_metrics(struct wire *w, struct loop *l, const char *where, struct err *e)
{
	const char *colon = strrchr(where, ':');
	CLEANUP(mem_freep) char *host = NULL;
	uint64_t port;

	if (!colon || str_to_u64(colon + 1, 1, 65535, &port) < 0)
		return err_set(e, ERR_INVALID, "metrics-addr '%s' is not an address with a port from 1 to 65535", where);
	host = mem_strndup(where, (size_t)(colon - where));
	w->metrics = http_server_new(l, api_metrics_handle, w->engine);
	if (http_server_listen_tcp(w->metrics, str_empty(host) ? "0.0.0.0" : host, (uint16_t)port, NULL, e) < 0)
		return err_wrap(e, "metrics-addr");
	log_info("daemon", "metrics on http://%s/metrics", where);
	return 0;
}

#define LOCK_WAIT_NS 2000000000ll
enum { LOCK_LOOK_MS = 5 };

static int wire_state(struct wire *w, const struct config *c, struct err *e)
{
	CLEANUP(mem_freep) char *lock = mem_printf("%s/kedged.lock", c->data_root);
	int rc = file_mkdir_p(c->data_root, 0711);

	if (rc < 0)
		return err_errno(e, -rc, "create %s", c->data_root);
	rc = file_mkdir_p(c->exec_root, 0711);
	if (rc < 0)
		return err_errno(e, -rc, "create %s", c->exec_root);
	w->lock_fd = file_lock(lock);
	/* An engine that was killed holds it until the kernel has taken it apart, which takes some milliseconds. */
	if (w->lock_fd == -EAGAIN)
		log_info("daemon", "another kedged works on %s, waiting a moment for its end", c->data_root);
	for (int64_t until = clock_now() + LOCK_WAIT_NS; w->lock_fd == -EAGAIN && clock_now() < until; w->lock_fd = file_lock(lock))
		(void)poll(NULL, 0, LOCK_LOOK_MS);
	if (w->lock_fd == -EAGAIN)
		return err_set(e, ERR_CONFLICT, "another kedged works on %s", c->data_root);
	if (w->lock_fd < 0)
		return err_errno(e, -w->lock_fd, "lock %s", lock);
	w->image_root = mem_printf("%s/image", c->data_root);
	w->volume_root = mem_printf("%s/volumes", c->data_root);
	w->build_root = mem_printf("%s/build", c->data_root);
	return 0;
}

/* certs.d lies beside daemon.json; docker's is looked into as well: whoever comes from there has it filled. */
static void wire_registries(struct wire *w, const struct config *c)
{
	const char *file = c->config_file ? c->config_file : "/etc/kedge/daemon.json", *slash = strrchr(file, '/');
	CLEANUP(mem_freep) char *certs = mem_printf("%.*s/certs.d", slash ? (int)(slash - file) : 1, slash ? file : ".");
	char *dirs[] = { certs, "/etc/docker/certs.d", NULL };

	images_set_registries(w->images, &(struct image_registries){ .insecure = c->insecure_registries, .mirrors = c->registry_mirrors, .certs = dirs,
								     .downloads = (unsigned)c->max_downloads, .uploads = (unsigned)c->max_uploads,
								     .attempts = (unsigned)c->max_attempts });
}

int wire_new(struct loop *l, const struct config *c, struct wire **ret, struct err *e)
{
	struct net_config nc = { .exec_root = c->exec_root, .instance = c->instance, .bridge = c->bridge, .bip = c->bip, .pools = c->address_pools, .datapath = c->datapath, .xdp = c->xdp,
				 .ip_forward = c->ip_forward };
	struct engine_config ec = { .data_root = c->data_root, .exec_root = c->exec_root, .runtime_path = c->runtime_path,
				    .cgroup_parent = c->cgroup_parent, .publish_policy = c->publish_policy, .version = PACKAGE_VERSION,
				    .log_driver = c->log_driver, .log_opts = c->log_opts, .defaults = c->defaults };
	struct wire *w = mem_zalloc(sizeof(*w));
	struct utsname un;
	struct net_policy policy;

	w->lock_fd = -1;
	if (net_policy_parse(c->publish_policy, NULL, &policy, e) < 0 ||
	    (!str_empty(c->userns_remap) && remap_read(c->userns_remap, &ec.idmap, e) < 0))
		goto fail;
	ec.hostname = uname(&un) == 0 ? un.nodename : "localhost";
	if (wire_state(w, c, e) < 0)
		goto fail;
	w->pool = work_pool_new(l, WIRE_WORKERS);
	w->store = store_open(l, c->data_root, e);
	if (!w->store)
		goto fail;
	w->images = images_new(l, w->pool, w->store, w->image_root, e);
	if (!w->images)
		goto fail;
	images_on_event(w->images, wire_image_event, w);
	wire_registries(w, c);
	w->volumes = volumes_new(l, w->pool, w->store, w->volume_root, e);
	if (!w->volumes)
		goto fail;
	volumes_on_event(w->volumes, wire_volume_event, w);
	volumes_set_owner(w->volumes, ec.idmap.uid, ec.idmap.gid);
	w->dns = dns_new(l, &(struct dns_config){ .resolv_conf = "/etc/resolv.conf" }, e);
	if (!w->dns)
		goto fail;
	nc.dns = w->dns;
	w->net = net_new(l, w->pool, w->store, &nc, e);
	if (!w->net)
		goto fail;
	w->engine = engine_new(l, w->pool, w->store, w->images, w->volumes, w->net, &ec, e);
	if (!w->engine)
		goto fail;
	w->builds = builds_new(l, w->store, w->images, w->engine, w->build_root, e);
	if (!w->builds)
		goto fail;
	w->api = api_new(l, w->engine, w->images, w->volumes, w->builds);
	w->http = http_server_new(l, api_handle, w->api);
	if (wire_listen(w, c, e) < 0 || (!str_empty(c->metrics_addr) && wire_metrics(w, l, c->metrics_addr, e) < 0))
		goto fail;
	log_info("daemon", "engine ready: datapath %s, %zu images", net_datapath_name(w->net), images_count(w->images));
	*ret = w;
	return 0;
fail:
	wire_free(w);
	return -1;
}

void wire_free(struct wire *w)
{
	if (!w)
		return;
	if (w->http)
		http_server_free(w->http);
	if (w->metrics)
		http_server_free(w->metrics);
	if (w->api)
		api_free(w->api);
	builds_free(w->builds);
	/* Running jobs refer to the modules below; their done() may still commit. */
	if (w->pool)
		work_pool_free(w->pool);
	if (w->engine)
		engine_free(w->engine);
	if (w->net)
		net_free(w->net);
	dns_free(w->dns);
	if (w->volumes)
		volumes_free(w->volumes);
	if (w->images)
		images_free(w->images);
	if (w->store)
		store_close(w->store);
	free(w->image_root);
	free(w->volume_root);
	free(w->build_root);
	if (w->lock_fd >= 0)
		(void)close(w->lock_fd);
	free(w);
}
