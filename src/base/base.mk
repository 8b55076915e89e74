noinst_LIBRARIES += libbase.a
libbase_a_SOURCES = \
	src/base/err.c src/base/err.h \
	src/base/mem.c src/base/mem.h \
	src/base/buf.c src/base/buf.h \
	src/base/str.c src/base/str.h \
	src/base/userns.c src/base/userns.h \
	src/base/log.c src/base/log.h \
	src/base/clock.c src/base/clock.h \
	src/base/id.c src/base/id.h \
	src/base/detach.c src/base/detach.h \
	src/base/file.c src/base/file.h \
	src/base/dylib.c src/base/dylib.h \
	src/base/openssl_lib.c \
	src/base/map.c src/base/map.h \
	src/base/json.c src/base/json.h \
	src/base/jsonw.c src/base/jsonw.h \
	src/base/ignore.c src/base/ignore.h
