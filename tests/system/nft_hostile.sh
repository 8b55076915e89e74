#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What neighbours and containers try against the data paths without BPF: ports of the host's loopback by way of a host that routes 127.0.0.0/8, senders that
# are somebody else. And a host whose own firewall forwards only what it knows: what info says of it.
. "$(dirname "$0")/lib.sh"
command -v nft >/dev/null || skip "needs nft"
# shellcheck source=who_lib.sh
. "$(dirname "$0")/who_lib.sh"
other_packet() { nft list counter inet "kedge-$id" "$1" | sed -n 's/.*packets \([0-9]*\).*/\1/p'; }
# Datagrams with a sender of one's choice; from the container's namespace, by a raw socket.
cat >"$tmp/spoof.py" <<'PY'
import socket, struct, sys
src, dst, port = socket.inet_aton(sys.argv[1]), socket.inet_aton(sys.argv[2]), int(sys.argv[3])
udp = struct.pack("!HHHH", 4444, port, 8 + 5, 0) + b"spoof"
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
s.sendto(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 7, 0, 64, 17, 0, src, dst) + udp, (sys.argv[2], 0))
PY
cat >"$tmp/hear.py" <<'PY'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 7007))
while True: print(s.recvfrom(2000)[1][0], flush=True)
PY
client python3 "$tmp/hear.py" >"$tmp/heard" 2>&1 &
servers+=($!)
# A neighbour that sends to 127.0.0.1, to the host: it has no address of that kind itself.
loopback_client() {
	nsenter --net=/run/netns/client sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet; ip addr del 127.0.0.1/8 dev lo 2>/dev/null || true
		ip route replace 127.0.0.0/8 via 192.0.2.1 src 192.0.2.2'
	echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
}
loopback() {
	local proto
	for proto in tcp udp; do
		check "$1: 127.0.0.1 published, the host, $proto" equal "$(ask $proto 127.0.0.1 8081)" 172.17.0.1
		check "$1: a neighbour on a host that routes 127.0.0.0/8, $proto" status 1 client python3 "$tmp/who.py" $proto 127.0.0.1 8081 who 0.7
		check "$1: a container there, $proto" status 1 in_ctr apart python3 "$tmp/who.py" $proto 127.0.0.1 8081 who 0.7
	done
	check "$1: the host from another address of its own" equal "$(FROM=192.0.2.1 ask tcp 127.0.0.1 8081)" 172.17.0.1
}
# What the neighbour hears, and what it does not: the last one comes from the container's own address.
spoofed() {
	local before
	before=$(other_packet spoofed)
	in_ctr web python3 "$tmp/spoof.py" 198.51.100.9 192.0.2.2 7007
	in_ctr web python3 "$tmp/spoof.py" 192.0.2.77 192.0.2.2 7007
	in_ctr web python3 "$tmp/spoof.py" "$(address web bridge IPAddress)" 192.0.2.2 7007
	check "$1: a container's datagram" until_ok 5 grep -qx 192.0.2.1 "$tmp/heard"
	check "$1: not one under somebody else's address" equal "$(grep -cvx 192.0.2.1 "$tmp/heard")" 0
	check "$1: they are counted" equal "$(($(other_packet spoofed) - before))" 2
}
forward_drop() {
	check "info says nothing of a host that forwards" equal "$(kedge info -f '{{json .Warnings}}')" "[]"
	nft -f - <<-'NFT'
	table inet hostfirewall {
		chain forwarded { type filter hook forward priority 0; policy drop; }
	}
	NFT
	check "a host that forwards only what it knows: closed" status 1 client python3 "$tmp/who.py" tcp 192.0.2.1 8080 who 0.7
	check "info says so, by name" has "$(kedge info -f '{{json .Warnings}}')" "(inet hostfirewall forwarded) drops what it forwards"
	check "a guarded port does without" equal "$(client python3 "$tmp/who.py" tcp 192.0.2.1 8082)" 192.0.2.2
	nft 'insert rule inet hostfirewall forwarded oifname "kedge0" accept; insert rule inet hostfirewall forwarded iifname "kedge0" accept'
	check "where it knows the bridge: open" equal "$(client python3 "$tmp/who.py" tcp 192.0.2.1 8080)" 192.0.2.2
	nft delete table inet hostfirewall
}
# Two neighbours on two uplinks, of a host that routes for containers: it is a router between the two when it says so itself.
pings() { nsenter --net="/run/netns/$1" ping -c 1 -W 1 "$2"; }
lent() {
	local far=/run/netns/far
	ip netns add far
	ip link add up9 type veth peer name eth0 netns far
	ip addr add 198.51.100.1/24 dev up9
	ip addr add fd09::1/64 dev up9 nodad
	ip addr add fd05::1/64 dev up0 nodad
	ip link set up9 up
	nsenter --net=$far sh -c 'ip addr add 198.51.100.2/24 dev eth0; ip addr add fd09::2/64 dev eth0 nodad; ip link set eth0 up; ip route add default via 198.51.100.1; ip route add default via fd09::1'
	client sh -c 'ip addr add fd05::2/64 dev eth0 nodad; ip route add fd09::/64 via fd05::1'
	kedge network create --ipv6 six >/dev/null
	check "a container reaches it" until_ok 10 kedge exec web ping -c 1 -W 1 198.51.100.2
	check "the engine routes IPv6" equal "$(cat /proc/sys/net/ipv6/conf/all/forwarding)" 1
	for at in 198.51.100.2 fd09::2; do
		check "a neighbour does not, $at" status 1 pings client $at
	done
	check "they are counted" until_ok 5 sh -c "nft list counter inet kedge-$id isolated | grep -q 'packets [1-9]'"
	sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=0
	sysctl -qw net.ipv6.conf.all.forwarding=1
	for at in 198.51.100.2 fd09::2; do
		check "the host says that it routes, $at" until_ok 10 pings client $at
	done
	engine_stop
	engine_start --datapath nft
	for at in 198.51.100.2 fd09::2; do
		check "it still does for the next engine, $at" until_ok 10 pings client $at
	done
	sysctl -qw net.ipv4.ip_forward=0
	check "no longer" until_ok 10 fails pings client 198.51.100.2
	check "the container reaches it" until_ok 10 kedge exec web ping -c 1 -W 1 198.51.100.2
	kedge network rm six >/dev/null
	ip netns del far
}
fails() { ! "$@"; }
hostile() {
	engine_start --datapath "$1"
	need_image busybox
	kedge run -d --name web -p 8080:80 -p 127.0.0.1:8081:80 -p 127.0.0.1:8081:80/udp busybox sleep 1000 >/dev/null
	kedge run -d --name safe --label kedge.publish.policy=guarded -p 8082:80 busybox sleep 1000 >/dev/null
	kedge network create two >/dev/null
	kedge run -d --name apart --network two busybox sleep 1000 >/dev/null
	serve web 80
	serve safe 80
	in_ctr apart sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet; ip addr del 127.0.0.1/8 dev lo; ip route replace 127.0.0.0/8 via $(ip route show default | cut -d" " -f3) src $(ip -o -4 addr show eth0 | sed "s/.*inet \([0-9.]*\).*/\1/")'
	if [ "$1" = nft ]; then
		spoofed "$1"
		lent
		forward_drop
	fi
	client true && loopback_client
	loopback "$1"
	kedge rm -f web safe apart >/dev/null
	kedge network rm two >/dev/null
	engine_stop
}
sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
for path in nft proxy; do hostile "$path"; done
