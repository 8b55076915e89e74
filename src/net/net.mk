noinst_LIBRARIES += libnet.a
libnet_a_SOURCES =
include src/net/ebpf/ebpf.mk
include src/net/nft/nft.mk
libnet_a_SOURCES += \
	src/net/addr.c src/net/addr.h \
	src/net/advertise.c \
	src/net/capture.c src/net/capture.h \
	src/net/datapath.h src/net/endpoint.c \
	src/net/forwarding.c src/net/firewall.h src/net/guard.c \
	src/net/hook.c src/net/hook.h \
	src/net/inuse.c src/net/inuse.h \
	src/net/isolate.c \
	src/net/ipam.c src/net/ipam.h \
	src/net/lab.c src/net/lab.h \
	src/net/lb.c src/net/lb.h \
	src/net/maglev.c src/net/maglev.h src/net/marks.h \
	src/net/names.c src/net/names.h src/net/names_query.c \
	src/net/net.c src/net/net.h src/net/net_priv.h \
	src/net/netns.c \
	src/net/network.c src/net/network_priv.h src/net/network_apply.c src/net/network_bridge.c src/net/network_make.c src/net/network_options.c src/net/network_parent.c \
	src/net/network_taken.c \
	src/net/none.c \
	src/net/pcapng.c src/net/pcapng.h \
	src/net/policy.c src/net/policy.h \
	src/net/ports.c src/net/ports_fold.c \
	src/net/publish.c src/net/publish.h \
	src/net/record.c \
	src/net/rtnl.c src/net/rtnl.h src/net/rtnl_priv.h src/net/rtnl_read.c \
	src/net/sandbox.c src/net/sandbox.h src/net/sandbox_adopt.c src/net/sandbox_connect.c src/net/sandbox_kernel.c \
	src/net/sandbox_ports.c src/net/sandbox_reap.c src/net/sandbox_routed.c \
	src/net/sctp_source.c \
	src/net/sysctls.c \
	src/net/warn.c \
	src/net/watch.c \
	src/net/proxy/proxy.c src/net/proxy/proxy.h src/net/proxy/proxy_priv.h \
	src/net/proxy/accept.c \
	src/net/proxy/sctp.c \
	src/net/proxy/tcp.c \
	src/net/proxy/udp.c
