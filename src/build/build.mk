noinst_LIBRARIES += libbuild.a
libbuild_a_SOURCES = \
	src/build/dockerfile.c src/build/dockerfile.h \
	src/build/plan.c src/build/plan.h \
	src/build/state.c src/build/state.h \
	src/build/word.c src/build/word.h
