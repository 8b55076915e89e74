noinst_LIBRARIES += libbuild.a
libbuild_a_SOURCES = \
	src/build/build.c src/build/build.h src/build/build_priv.h \
	src/build/cache.c \
	src/build/context.c \
	src/build/copy.c src/build/copy.h \
	src/build/dockerfile.c src/build/dockerfile.h \
	src/build/find.c \
	src/build/out.c \
	src/build/place.c \
	src/build/plan.c src/build/plan.h \
	src/build/pull.c \
	src/build/run.c \
	src/build/stage.c \
	src/build/state.c src/build/state.h \
	src/build/word.c src/build/word.h
