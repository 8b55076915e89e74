libnet_a_SOURCES += \
	src/net/ebpf/attach.c src/net/ebpf/attach.h \
	src/net/ebpf/dns.c src/net/ebpf/dns.h \
	src/net/ebpf/ebpf.c \
	src/net/ebpf/ebpf_priv.h \
	src/net/ebpf/hook.c \
	src/net/ebpf/inspect.c \
	src/net/ebpf/lb.c \
	src/net/ebpf/pin.c \
	src/net/ebpf/publish.c \
	src/net/ebpf/sweep.c \
	src/net/ebpf/trace.c \
	src/net/ebpf/xdp.c src/net/ebpf/xdp.h
src/net/ebpf/ebpf.$(OBJEXT) src/net/ebpf/hook.$(OBJEXT) src/net/ebpf/inspect.$(OBJEXT) src/net/ebpf/lb.$(OBJEXT) src/net/ebpf/pin.$(OBJEXT) src/net/ebpf/publish.$(OBJEXT) src/net/ebpf/sweep.$(OBJEXT) src/net/ebpf/trace.$(OBJEXT) src/net/ebpf/xdp.$(OBJEXT): $(bpf_skels)
src/net/ebpf/dns.$(OBJEXT): $(bpf_skels)
