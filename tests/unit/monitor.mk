if HAVE_CMOCKA
monitor_tests = tests/unit/monitor_log tests/unit/monitor_proto
check_PROGRAMS += $(monitor_tests)
TESTS += $(monitor_tests)
tests_unit_monitor_log_SOURCES = tests/unit/monitor_log.c
tests_unit_monitor_log_LDADD = libruntime_monitor.a libbase.a $(CMOCKA_LIBS) $(JANSSON_LIBS) $(ZLIB_LIBS)
tests_unit_monitor_proto_SOURCES = tests/unit/monitor_proto.c
tests_unit_monitor_proto_LDADD = libbase.a $(CMOCKA_LIBS) $(JANSSON_LIBS)
endif
