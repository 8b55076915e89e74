# The BPF programs by BPF_PROG_TEST_RUN: packets in, verdicts, packets and tables out.
bpf_tests = tests/bpf/dp tests/bpf/lb tests/bpf/verify tests/bpf/flood tests/bpf/quick tests/bpf/xdp
check_PROGRAMS += $(bpf_tests) tests/bpf/cost
TESTS += $(bpf_tests) tests/bpf/debian_kernel.sh tests/bpf/debian_xdp.sh
EXTRA_DIST += tests/bpf/guest_lib.sh tests/bpf/debian_kernel.sh tests/bpf/debian_xdp.sh
bpf_rig = tests/bpf/packet.c tests/bpf/packet.h tests/bpf/rig.c tests/bpf/rig.h
tests_bpf_dp_SOURCES = tests/bpf/dp.c tests/bpf/dp_sctp.h $(bpf_rig)
tests_bpf_dp_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/tests/bpf
tests_bpf_dp_LDADD = $(BPF_LIBS)
tests_bpf_lb_SOURCES = tests/bpf/lb.c $(bpf_rig)
tests_bpf_lb_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/tests/bpf
tests_bpf_lb_LDADD = libnet.a libbase.a $(BPF_LIBS) $(JANSSON_LIBS)
tests_bpf_verify_SOURCES = tests/bpf/verify.c
tests_bpf_verify_LDADD = $(BPF_LIBS)
tests_bpf_flood_SOURCES = tests/bpf/flood.c $(bpf_rig)
tests_bpf_flood_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/tests/bpf
tests_bpf_flood_LDADD = $(BPF_LIBS)
tests_bpf_quick_SOURCES = tests/bpf/quick.c $(bpf_rig)
tests_bpf_quick_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/tests/bpf
tests_bpf_quick_LDADD = $(BPF_LIBS)
tests_bpf_xdp_SOURCES = tests/bpf/xdp.c $(bpf_rig)
tests_bpf_xdp_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/tests/bpf
tests_bpf_xdp_LDADD = $(BPF_LIBS)
# What a packet costs in the programs; tools/bench runs it.
tests_bpf_cost_SOURCES = tests/bpf/cost.c $(bpf_rig)
tests_bpf_cost_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/tests/bpf
tests_bpf_cost_LDADD = $(BPF_LIBS)
