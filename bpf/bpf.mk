# BPF objects, compiled by clang and embedded as skeletons. No dump of kernel types: the uapi headers suffice, nothing is relocated.
bpf_objs = bpf/dp.bpf.o bpf/local.bpf.o bpf/ports.bpf.o bpf/dns.bpf.o bpf/xdp.bpf.o
bpf_skels = bpf/dp.skel.h bpf/local.skel.h bpf/ports.skel.h bpf/dns.skel.h bpf/xdp.skel.h
bpf_srcs = bpf/dp.bpf.c bpf/local.bpf.c bpf/ports.bpf.c bpf/dns.bpf.c bpf/xdp.bpf.c
bpf_hdrs = bpf/lib/guard.h bpf/lib/icmp.h bpf/lib/maps.h bpf/lib/nat.h bpf/lib/packet.h bpf/lib/publish.h bpf/lib/quick.h bpf/lib/rewrite.h bpf/lib/sctp.h include/kedge/bpf/abi.h include/kedge/bpf/dns.h
BUILT_SOURCES += $(bpf_skels)
CLEANFILES += $(bpf_objs) $(bpf_skels)
EXTRA_DIST += $(bpf_srcs) $(bpf_hdrs)

# Debian keeps asm/ in the directory of the architecture, which clang does not search for this target.
BPF_CFLAGS_TARGET = -target bpf -O2 -g -Wall -I$(srcdir)/bpf -I$(srcdir)/include -isystem /usr/include/$(shell $(CC) -dumpmachine)

$(bpf_objs): bpf/%.bpf.o: bpf/%.bpf.c $(bpf_hdrs)
	$(AM_V_GEN)$(MKDIR_P) bpf && $(CLANG) $(BPF_CFLAGS_TARGET) -c $(srcdir)/bpf/$*.bpf.c -o $@.tmp && $(LLVM_STRIP) -g $@.tmp && mv $@.tmp $@

$(bpf_skels): bpf/%.skel.h: bpf/%.bpf.o
	$(AM_V_GEN)$(BPFTOOL) gen skeleton $< name $*_bpf >$@.tmp && mv $@.tmp $@
