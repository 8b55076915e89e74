#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SCTP as the kernel speaks it, on each data path: published, masqueraded, between containers, and what the engine relays: messages as they are,
# streams, ends, flow control, peers that mean no good.
. "$(dirname "$0")/lib.sh"
[ -e /proc/net/sctp ] || modprobe -q sctp 2>/dev/null || true
[ -e /proc/net/sctp ] || skip "needs the kernel's SCTP (module sctp)"

peer=$srcdir_top/tests/system/sctp_peer.py
servers=()
cleanup() { for p in "${servers[@]}"; do kill "$p" 2>/dev/null || true; done; }
# serve NAME PORT [STREAMS]: in a container ("client": there), until the round ends. It logs into $tmp/log.NAME.
serve() {
	local up=$tmp/up.$1 in=(nsenter --net=/run/netns/client)
	[ "$1" = client ] || in=(nsenter -t "$(pid_of "$1")" -n)
	rm -f "$up"
	"${in[@]}" python3 "$peer" serve "$2" "$up" "$tmp/log.$1" ${3-} >>"$tmp/servers" 2>&1 </dev/null &
	servers+=($!)
	until_ok 30 test -e "$up"
}
pid_of() { kedge inspect -f '{{.State.Pid}}' "$1"; }
# from WHO COMMAND ARGUMENT...: what sctp_peer.py says, run by the client, the host or a container.
from() {
	local who=$1 in=()
	shift
	case $who in client) in=(nsenter --net=/run/netns/client) ;; host) ;; *) in=(nsenter -t "$(pid_of "$who")" -n) ;; esac
	"${in[@]}" timeout 100 python3 "$peer" "$@" 2>&1 | tail -n 1
}
info() { api http://localhost/kedge/net/counters | python3 -c "import json, sys; print(json.load(sys.stdin)['Proxy']['$1'])"; }
fds() { ls "/proc/$engine_pid/fd" | wc -l; }
logged() { [ "$(tail -n 1 "$tmp/log.$1")" = "$2" ] || { echo "want: $2"; tail -n 3 "$tmp/log.$1"; return 1; }; }
binds() { python3 -c 'import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132); s.bind(("", int(sys.argv[1]))); s.listen(1)' "$1"; }
ip -6 addr add 2001:db8:2::1/64 dev up0 nodad
client ip -6 addr add 2001:db8:2::2/64 dev eth0 nodad

# What reaches a container, and as whom.
reached() {
	local dp=$1 gw gw6 seen=192.0.2.2 seen6=2001:db8:2::2
	gw=$(kedge inspect -f '{{.NetworkSettings.Gateway}}' srv) gw6=$(kedge inspect -f '{{.NetworkSettings.Networks.six.IPv6Gateway}}' srv6)
	[ "$dp" != proxy ] || seen=$gw seen6=$gw6
	check "$dp: published: from outside" equal "$(from client ask 192.0.2.1 7000 hi)" "$seen hi"
	check "$dp: published: IPv6" equal "$(from client ask 2001:db8:2::1 7006 hi)" "$seen6 hi"
	check "$dp: published: IPv6 to a container without" equal "$(from client ask 2001:db8:2::1 7000 hi)" "$gw hi"
	check "$dp: all kinds of messages from outside" equal "$(from client echo 192.0.2.1 7000)" "748 echoed"
	[ "$dp" = proxy ] || check "$dp: masqueraded: out" equal "$(from two ask 192.0.2.2 7100 hi)" "192.0.2.1 hi"
	check "$dp: container to container" has "$(from two ask "$(kedge inspect -f '{{.NetworkSettings.IPAddress}}' srv)" 7000 hi)" " hi"
	check "$dp: what is not published is not reached" has "$(ASK_S=1 from client ask 192.0.2.1 7001)" "Error"
	check "$dp: bound to 127.0.0.1: not from outside" has "$(ASK_S=1 from client ask 192.0.2.1 7010)" "Error"
	check "$dp: bound to 127.0.0.1: from the host" equal "$(from host ask 127.0.0.1 7010 hi)" "$gw hi"
	for a in 127.0.0.1 ::1 192.0.2.1 2001:db8:2::1; do
		check "$dp: the host by $a" equal "$(from host ask $a 7000 hi)" "$gw hi"
	done
	check "$dp: the host by ::1, over IPv6" equal "$(from host ask ::1 7006 hi)" "$gw6 hi"
	check "$dp: a container itself" equal "$(from srv ask 192.0.2.1 7000 hi)" "$gw hi"
	check "$dp: a port of a range, from the host" equal "$(from host ask 127.0.0.1 7231 hi)" "$gw hi"
	check "$dp: a list of sources: others" has "$(ASK_S=1 from client ask 192.0.2.1 7020)" "Error"
	check "$dp: a list of sources: the host" equal "$(from host ask 127.0.0.1 7020 hi)" "$gw hi"
	check "$dp: by way of the host's firewall" equal "$(from client ask 192.0.2.1 7030 hi)" "$gw hi"
}

# The relay, as the host meets it on 127.0.0.1.
relayed() {
	local dp=$1 gw before
	gw=$(kedge inspect -f '{{.NetworkSettings.Gateway}}' srv)
	before=$(fds)
	check "$dp: relayed: messages as they are" equal "$(from host echo 127.0.0.1 7000)" "748 echoed"
	check "$dp: relayed: IPv6" equal "$(from host echo ::1 7000)" "748 echoed"
	check "$dp: relayed: as many streams as the client has" equal "$(from host streams 127.0.0.1 7000 20 30)" "20/30 20/30"
	check "$dp: relayed: a stream that the container has not" equal "$(from host beyond 127.0.0.1 7005 12)" abort
	check "$dp: relayed: one that it has" equal "$(from host beyond 127.0.0.1 7005 2)" "goes on"
	check "$dp: relayed: the client ends it" equal "$(from host end 127.0.0.1 7000 shutdown)" ""
	check "$dp: relayed: an orderly end, and nothing lost before it" until_ok 10 logged srv "$gw 10/10 100 shutdown"
	check "$dp: relayed: the client aborts it" equal "$(from host end 127.0.0.1 7000 abort)" ""
	check "$dp: relayed: an abort" until_ok 10 logged srv "$gw 10/10 50 abort"
	check "$dp: relayed: the container ends it" equal "$(from host end 127.0.0.1 7000 close-please)" shutdown
	check "$dp: relayed: the container aborts it" equal "$(from host end 127.0.0.1 7000 abort-please)" abort
	check "$dp: relayed: nobody listens" has "$(from host ask 127.0.0.1 7009)" "Reset"
	check "$dp: relayed: who does not read is not sent to" equal "$(from host stall 127.0.0.1 7000 12000000)" "all back"
	check "$dp: relayed: many that never read" equal "$(from host hoard 127.0.0.1 7000 40)" "$gw"
	check "$dp: relayed: a client begins anew" equal "$(from host restart 127.0.0.1 7000)" restarted
	check "$dp: relayed: none is left" until_ok 20 equal_info Associations 0
	check "$dp: relayed: no descriptor either" until_ok 10 fds_at_most "$before"
}
equal_info() { [ "$(info "$1")" = "$2" ]; }
fds_at_most() { [ "$(fds)" -le "$1" ]; }

round() {
	local dp=$1
	engine_start --datapath="$dp"
	need_image busybox
	kedge network create --ipv6 --subnet 172.30.0.0/24 --subnet fd00:30::/64 six >/dev/null
	kedge run -d --name srv -p 7000:7000/sctp -p 127.0.0.1:7010:7000/sctp -p 7200-7239:7200-7239/sctp -p 7005:7005/sctp -p 7009:7009/sctp busybox sleep 1000 >/dev/null
	kedge run -d --name srv6 --network six -p 7006:7000/sctp busybox sleep 1000 >/dev/null
	kedge run -d --name picky -p 7020:7000/sctp --label kedge.publish.sources=192.0.2.9 busybox sleep 1000 >/dev/null
	kedge run -d --name guarded -p 7030:7000/sctp --label kedge.publish.policy=guarded busybox sleep 1000 >/dev/null
	kedge run -d --name two busybox sleep 1000 >/dev/null
	rm -f "$tmp"/log.*
	serve srv 7231
	serve srv 7005 5
	serve srv 7000
	for c in srv6 picky guarded; do serve $c 7000; done
	serve client 7100
	reached "$dp"
	relayed "$dp"
	check "$dp: a process does not get the port" not_binds 7000
	binds_for_a_while 7300
	check "$dp: a port of a process" has "$(kedge run --rm -p 7300:1/sctp busybox true 2>&1 || true)" "address already in use"
	for p in "${servers[@]}"; do kill "$p"; wait "$p" 2>/dev/null || true; done
	servers=()
	kedge rm -f srv srv6 picky guarded two >/dev/null
	check "$dp: the port is free again" binds 7000
	kedge network rm six >/dev/null
	engine_stop
}
not_binds() { ! binds "$1" 2>/dev/null; }
binds_for_a_while() {
	python3 -c 'import signal, socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132); s.bind(("", int(sys.argv[1]))); s.listen(1); open(sys.argv[2], "w").close(); signal.pause()' \
		"$1" "$tmp/bound" &
	servers+=($!)
	until_ok 20 test -e "$tmp/bound"
	rm "$tmp/bound"
}
for dp in ${SCTP_PATHS:-proxy nft ebpf}; do
	case $dp in
	ebpf) [ -e /sys/kernel/btf/vmlinux ] || continue ;;
	nft) command -v nft >/dev/null || continue ;;
	esac
	round "$dp"
done
