noinst_LIBRARIES += libruntime_client.a
libruntime_client_a_SOURCES = \
	src/runtime/proto.h \
	src/runtime/client/client.h \
	src/runtime/client/client_priv.h \
	src/runtime/client/client.c \
	src/runtime/client/spawn.c \
	src/runtime/client/exec.c \
	src/runtime/client/attach.c
