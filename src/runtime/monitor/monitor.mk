noinst_LIBRARIES += libruntime_monitor.a
libruntime_monitor_a_SOURCES = \
	src/runtime/proto.h \
	src/runtime/monitor/monitor.h \
	src/runtime/monitor/monitor_priv.h \
	src/runtime/monitor/monitor.c \
	src/runtime/monitor/launch.c \
	src/runtime/monitor/idmap.c \
	src/runtime/monitor/sources.c \
	src/runtime/monitor/helper.c \
	src/runtime/monitor/extern.c \
	src/runtime/monitor/exec.c \
	src/runtime/monitor/update.c \
	src/runtime/monitor/stdio.c \
	src/runtime/monitor/cgroup.c \
	src/runtime/monitor/logenc.c \
	src/runtime/monitor/logenc.h \
	src/runtime/monitor/logfile.c \
	src/runtime/monitor/logfile.h \
	src/runtime/monitor/compress.c \
	src/runtime/monitor/ship.c \
	src/runtime/monitor/ship.h
