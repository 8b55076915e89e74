check_PROGRAMS += tests/system/net_tool
tests_system_net_tool_SOURCES = tests/system/net_tool.c
tests_system_net_tool_LDADD = libnet.a libdns.a libstore.a libloop.a libbase.a $(BPF_LIBS) $(CARES_LIBS) $(MNL_LIBS) $(EVENT_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS)
# A real SCTP for tests, on kernels without one.
if HAVE_USRSCTP
check_PROGRAMS += tests/system/sctp_tool
tests_system_sctp_tool_SOURCES = tests/system/sctp_tool.c
tests_system_sctp_tool_CFLAGS = $(AM_CFLAGS) $(USRSCTP_CFLAGS)
tests_system_sctp_tool_LDADD = $(USRSCTP_LIBS)
endif
NET_SYSTEM_TESTS = tests/system/net_table.sh tests/system/net_sctp.sh tests/system/net_matrix.sh tests/system/net_lb.sh tests/system/guarded.sh tests/system/net_restart.sh tests/system/nft.sh tests/system/nft_flush.sh tests/system/nft_hostile.sh tests/system/net_lab.sh tests/system/net_six.sh tests/system/net_flood.sh tests/system/net_xdp.sh
TESTS += $(NET_SYSTEM_TESTS)
EXTRA_DIST += tests/system/net_lib.sh tests/system/who_lib.sh tests/system/net_probe.py tests/system/checksum.py tests/system/sctp_peer.py $(NET_SYSTEM_TESTS) \
	examples/net/README examples/net/cost.svg examples/net/drop_port.bpf.c examples/net/xdp_count.bpf.c examples/net/endless.bpf.c
