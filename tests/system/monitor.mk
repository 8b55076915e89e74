if HAVE_CMOCKA
# Real containers through the client, the monitor and the OCI runtime; root and a static busybox, else skipped (77).
check_PROGRAMS += tests/system/monitor_rt
TESTS += tests/system/monitor_rt
tests_system_monitor_rt_SOURCES = \
	tests/system/monitor_rt.c \
	tests/system/monitor_rt_io.h \
	tests/system/monitor_rt_kill.h \
	tests/system/monitor_box.c \
	tests/system/monitor_box.h
tests_system_monitor_rt_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/tests/system
tests_system_monitor_rt_LDADD = libruntime_client.a libruntime_monitor.a libruntime_oci.a libloop.a libbase.a $(ZLIB_LIBS) \
	$(CMOCKA_LIBS) $(EVENT_LIBS) $(JANSSON_LIBS) $(SECCOMP_LIBS) $(CAP_LIBS)
endif
