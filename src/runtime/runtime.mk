include src/runtime/oci/oci.mk
include src/runtime/monitor/monitor.mk
include src/runtime/client/client.mk

sbin_PROGRAMS += kedge-runtime
kedge_runtime_SOURCES = src/runtime/main.c
kedge_runtime_LDFLAGS = $(RUNTIME_LINK) $(HARDEN_LDFLAGS) $(SAN_CFLAGS)
kedge_runtime_LDADD = libruntime_monitor.a libruntime_oci.a libbase.a $(SECCOMP_LIBS) $(JANSSON_LIBS) $(ZLIB_LIBS)
dist_man_MANS += src/runtime/kedge-runtime.8
