noinst_LIBRARIES += libhttp.a
libhttp_a_SOURCES = \
	src/http/client.c src/http/client.h \
	src/http/conn.c \
	src/http/chunk.c \
	src/http/head.c \
	src/http/http_priv.h \
	src/http/reply.c \
	src/http/server.c src/http/server.h \
	src/http/tls.c src/http/event_openssl_lib.c \
	src/http/websocket.c
