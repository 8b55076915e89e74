# What whoever links libimage.a needs.
IMAGE_LIBS = $(ARCHIVE_LIBS) $(NETTLE_LIBS) $(ZSTD_LIBS) $(ZLIB_LIBS)
noinst_LIBRARIES += libimage.a
libimage_a_SOURCES = \
	src/image/adding.c src/image/adding.h \
	src/image/bundle.c src/image/bundle.h \
	src/image/changes.c \
	src/image/usage.c \
	src/image/create.c \
	src/image/digest.c src/image/digest.h \
	src/image/image.c src/image/image.h src/image/image_priv.h \
	src/image/images.c \
	src/image/layers.c \
	src/image/load.c \
	src/image/ref.c src/image/ref.h \
	src/image/registry/auth.c src/image/registry/auth.h \
	src/image/registry/curl_lib.c src/image/registry/curl_lib.h \
	src/image/registry/endpoint.c \
	src/image/registry/login.c \
	src/image/registry/manifest.c src/image/registry/manifest.h \
	src/image/registry/pull.c \
	src/image/registry/push.c \
	src/image/registry/registry.c src/image/registry/registry.h \
	src/image/registry/session.c src/image/registry/session.h \
	src/image/registry/transport.c src/image/registry/transport.h \
	src/image/remove.c \
	src/image/save.c \
	src/image/show.c \
	src/image/split.c src/image/split.h \
	src/image/tar.c src/image/tar.h \
	src/image/tree.c src/image/tree.h \
	src/image/unpack.c src/image/unpack.h \
	src/image/view.c src/image/view.h
