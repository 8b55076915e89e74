noinst_LIBRARIES += libengine.a
libengine_a_SOURCES = \
	src/engine/archive.c src/engine/archive.h \
	src/engine/attach.c \
	src/engine/blkio.c \
	src/engine/caps.c \
	src/engine/cgstat.c src/engine/cgstat.h \
	src/engine/changes.c src/engine/changes.h \
	src/engine/commit.c src/engine/commit.h \
	src/engine/create.c \
	src/engine/defaults.c src/engine/defaults.h \
	src/engine/device.c \
	src/engine/runtimes.c \
	src/engine/doc.c \
	src/engine/endpoints.c src/engine/endpoints.h \
	src/engine/engine.c src/engine/engine.h \
	src/engine/engine_priv.h \
	src/engine/events.c \
	src/engine/exec.c \
	src/engine/exec_process.c \
	src/engine/health.c \
	src/engine/filter.c src/engine/filter.h \
	src/engine/hosts.c \
	src/engine/info.c \
	src/engine/inspect.c \
	src/engine/join.c \
	src/engine/limits.c \
	src/engine/links.c src/engine/links.h \
	src/engine/list.c src/engine/published.c \
	src/engine/logopt.c src/engine/logopt.h \
	src/engine/logs.c \
	src/engine/lab.c src/engine/lab.h \
	src/engine/mounts.c src/engine/mounts.h \
	src/engine/names.c src/engine/names.h \
	src/engine/networks.c \
	src/engine/pause.c \
	src/engine/resolv.c src/engine/resolv.h src/engine/resolv_renew.c \
	src/engine/points.c \
	src/engine/prepare.c src/engine/prepare.h \
	src/engine/provide.c \
	src/engine/remap.c \
	src/engine/restart.c \
	src/engine/prune.c src/engine/prune.h \
	src/engine/rootview.c src/engine/rootview.h \
	src/engine/seccomp.c \
	src/engine/security.c src/engine/security.h src/engine/apparmor.c src/engine/apparmor.h \
	src/engine/select.c src/engine/select.h \
	src/engine/size.c src/engine/size.h \
	src/engine/spec.c \
	src/engine/start.c \
	src/engine/stats.c src/engine/stats.h \
	src/engine/stop.c \
	src/engine/tarin.c src/engine/tarin.h \
	src/engine/tarout.c src/engine/tarout.h \
	src/engine/top.c \
	src/engine/update.c \
	src/engine/user.c \
	src/engine/wait.c
