noinst_LIBRARIES += libapi.a
libapi_a_SOURCES = \
	src/api/archive.c src/api/out.c \
	src/api/build.c \
	src/api/api.c src/api/api.h src/api/api_priv.h \
	src/api/prune.c \
	src/api/route.c \
	src/api/call.c \
	src/api/system.c \
	src/api/containers.c \
	src/api/stats.c \
	src/api/streams.c \
	src/api/exec.c \
	src/api/images.c \
	src/api/names.c \
	src/api/lab.c \
	src/api/metrics.c src/api/metrics.h \
	src/api/registry.c \
	src/api/networks.c \
	src/api/volumes.c
