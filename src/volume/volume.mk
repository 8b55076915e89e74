noinst_LIBRARIES += libvolume.a
libvolume_a_SOURCES = \
	src/volume/copy.c \
	src/volume/list.c \
	src/volume/local.c \
	src/volume/use.c \
	src/volume/volume.c src/volume/volume.h src/volume/volume_priv.h
