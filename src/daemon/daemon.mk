sbin_PROGRAMS += kedged
kedged_SOURCES = \
	src/daemon/defaults.c src/daemon/defaults.h \
	src/daemon/main.c \
	src/daemon/options.c src/daemon/options.h \
	src/daemon/remap.c src/daemon/remap.h \
	src/daemon/wire.c src/daemon/wire.h
kedged_LDADD = libapi.a libbuild.a libengine.a libruntime_client.a libruntime_oci.a libimage.a libvolume.a libnet.a libdns.a libstore.a libhttp.a libloop.a libbase.a \
	$(IMAGE_LIBS) $(BPF_LIBS) $(CARES_LIBS) $(MNL_LIBS) $(SQLITE_LIBS) $(EVENT_LIBS) $(HTTP_PARSER_LIBS) \
	$(SECCOMP_LIBS) $(CAP_LIBS) $(JANSSON_LIBS)

dist_man_MANS += src/daemon/kedged.8
systemdsystemunit_DATA = src/daemon/kedge.service src/daemon/kedge.socket
EXTRA_DIST += src/daemon/kedge.service.in src/daemon/kedge.socket
CLEANFILES += src/daemon/kedge.service
src/daemon/kedge.service: $(srcdir)/src/daemon/kedge.service.in Makefile
	@$(MKDIR_P) src/daemon
	$(AM_V_GEN)sed 's|@sbindir[@]|$(sbindir)|g' $(srcdir)/src/daemon/kedge.service.in >$@
