#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Guarded ports behind a default-deny firewall of the host, on each data path: who gets in, with which address the container sees it, and what the
# firewall's coming and going opens or breaks. What info says of it.
. "$(dirname "$0")/lib.sh"
command -v nft >/dev/null || skip "needs nft"
[ -e /proc/sys/net/ipv6 ] || skip "needs IPv6"
ip -6 addr add 2001:db8:2::1/64 dev up0 nodad
client ip -6 addr add 2001:db8:2::2/64 dev eth0 nodad
client ip -6 addr add 2001:db8:2::3/64 dev eth0 nodad
client ip addr add 192.0.2.3/24 dev eth0
client ip -6 route add default via 2001:db8:2::1

# Tells whom it sees.
cat >"$tmp/server.py" <<'PY'
import socket, sys, threading
port = int(sys.argv[1])
def v4(a): return a[7:] if a.startswith("::ffff:") else a
def serve(c, a):
    b = c.recv(16)
    c.sendall(v4(a[0]).encode() if b != b"big" else b"x" * 3000000)
    c.close()
def udp(family, addr):
    s = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((addr, port))
    while True:
        b, a = s.recvfrom(65536)
        s.sendto(v4(a[0]).encode(), a)
for f, a in (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"): threading.Thread(target=udp, args=(f, a), daemon=True).start()
s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(("::", port)); s.listen(50)
while True: threading.Thread(target=serve, args=s.accept(), daemon=True).start()
PY
cat >"$tmp/ask.py" <<'PY'
import os, socket, sys
proto, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM if proto != "udp" else socket.SOCK_DGRAM)
s.settimeout(float(os.environ.get("ASK_S", 4)))
try:
    if "FROM" in os.environ: s.bind((os.environ["FROM"], 0))
    s.connect((host, port))
    s.sendall(b"big" if proto == "big" else b"who")
    got = b""
    while True:
        b = s.recv(1 << 20)
        got += b
        if not b or proto == "udp": break
    print(len(got) if proto == "big" else got.decode())
except OSError as e:
    print(type(e).__name__)
    sys.exit(1)
PY
in_ctr() { local c; c=$(kedge inspect -f '{{.Id}}' "$1"); shift; nsenter --net="$run/netns/$c" "$@"; }
servers=()
serve() { in_ctr "$1" python3 "$tmp/server.py" "$2" >>"$tmp/servers" 2>&1 & servers+=($!); }
# Each is a shell that waits for its server.
# shellcheck disable=SC2046
stop_servers() { for p in "${servers[@]}"; do kill $(ps -o pid= --ppid "$p") "$p" 2>/dev/null || true; done; servers=(); }
trap 'stop_servers; finish' EXIT
ask() { python3 "$tmp/ask.py" "$@"; }
from() { local a=$1; shift; FROM=$a client python3 "$tmp/ask.py" "$@"; }
refused() { ! ASK_S=0.5 from "$@"; }
address() { kedge inspect -f "{{(index .NetworkSettings.Networks \"$2\").$3}}" "$1"; }
warned() { kedge info -f '{{json .Warnings}}' | grep -q "$1"; }

firewall() {
	nft -f - <<'NFT'
table inet firewall {
	chain in {
		type filter hook input priority 0; policy drop;
		iif lo accept
		ct state established,related accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
		ip saddr { 192.0.2.2, 172.16.0.0/12 } meta l4proto { tcp, udp } th dport { 8080, 8100-8199 } accept
		ip6 saddr 2001:db8:2::2 meta l4proto { tcp, udp } th dport { 8080, 8100-8199 } accept
	}
}
NFT
}

guarded() {
	local seen4=192.0.2.2 seen6=2001:db8:2::2 gw4 far
	engine_start --datapath "$1"
	need_image busybox
	kedge network create --ipv6 --subnet 172.30.0.0/24 --subnet fd00:30::/64 six >/dev/null
	kedge run -d --name web --network six --label kedge.publish.policy=guarded -p 8080:80 -p 8080:80/udp -p 8100-8149:1000-1049 -p 8100-8149:1000-1049/udp busybox sleep 1000 >/dev/null
	kedge run -d --name far busybox sleep 1000 >/dev/null
	serve web 80
	serve web 1020
	for p in 80 1020; do
		until_ok 10 sh -c "nsenter --net=$run/netns/$(kedge inspect -f '{{.Id}}' web) ss -Hltn sport = :$p | grep -q ."
	done
	gw4=172.30.0.1 far=$(address far bridge IPAddress)
	# Nothing of the kernel there can tell the answers from others.
	[ "$1" != proxy ] || seen4=$gw4 seen6=fd00:30::1 far=$gw4
	check "$1: info says nothing without a firewall" equal "$(kedge info -f '{{json .Warnings}}')" "[]"
	firewall
	check "$1: an allowed client, TCP" equal "$(from 192.0.2.2 tcp 192.0.2.1 8080)" "$seen4"
	check "$1: UDP" equal "$(from 192.0.2.2 udp 192.0.2.1 8080)" "$seen4"
	check "$1: TCP over IPv6" equal "$(from 2001:db8:2::2 tcp 2001:db8:2::1 8080)" "$seen6"
	check "$1: UDP over IPv6" equal "$(from 2001:db8:2::2 udp 2001:db8:2::1 8080)" "$seen6"
	check "$1: a range" equal "$(from 192.0.2.2 tcp 192.0.2.1 8120)" "$seen4"
	check "$1: a range over UDP" equal "$(from 192.0.2.2 udp 192.0.2.1 8120)" "$seen4"
	check "$1: a range over UDP and IPv6" equal "$(from 2001:db8:2::2 udp 2001:db8:2::1 8120)" "$seen6"
	check "$1: 3 MB" equal "$(from 192.0.2.2 big 192.0.2.1 8080)" 3000000
	check "$1: another client is refused, TCP" refused 192.0.2.3 tcp 192.0.2.1 8080
	check "$1: UDP" refused 192.0.2.3 udp 192.0.2.1 8080
	check "$1: over IPv6" refused 2001:db8:2::3 tcp 2001:db8:2::1 8080
	check "$1: by IPv6, UDP" refused 2001:db8:2::3 udp 2001:db8:2::1 8080
	check "$1: another network's container" equal "$(in_ctr far python3 "$tmp/ask.py" tcp 192.0.2.1 8080)" "$far"
	check "$1: the host itself" equal "$(ask tcp 127.0.0.1 8080)" "$gw4"
	check "$1: the host itself over UDP" equal "$(ask udp 127.0.0.1 8080)" "$gw4"
	check "$1: the container itself" equal "$(in_ctr web python3 "$tmp/ask.py" tcp 192.0.2.1 8080)" "$gw4"
	[ "$1" = proxy ] || check "$1: out of the container, as before" kedge exec web ping -c 1 -W 2 192.0.2.2
	check "$1: info says nothing of guarded ports" equal "$(kedge info -f '{{json .Warnings}}')" "[]"
	kedge run -d --name near -p 127.0.0.1:8091:80 busybox sleep 1000 >/dev/null
	kedge run -d --name some --label kedge.publish.sources=192.0.2.0/24 -p 8092:80 busybox sleep 1000 >/dev/null
	check "$1: nor of ports on loopback or for a list of sources" equal "$(kedge info -f '{{json .Warnings}}')" "[]"
	kedge run -d --name direct -p 8090:80 busybox sleep 1000 >/dev/null
	serve direct 80
	serve some 80
	for c in direct some; do
		until_ok 10 sh -c "nsenter --net=$run/netns/$(kedge inspect -f '{{.Id}}' $c) ss -Hltn sport = :80 | grep -q ."
	done
	if [ "$1" = proxy ]; then
		check "$1: all ports are behind the firewall" refused 192.0.2.3 tcp 192.0.2.1 8090
		check "$1: so info says nothing" equal "$(kedge info -f '{{json .Warnings}}')" "[]"
	else
		check "$1: a direct port is not behind the firewall" equal "$(from 192.0.2.3 tcp 192.0.2.1 8090)" 192.0.2.3
		check "$1: info warns of it" warned "drops what it does not know.*container direct"
		if docker_recent; then check "$1: docker shows it" has "$(docker -H "unix://$sock" info 2>&1)" "WARNING: the host's firewall"; fi
		check "$1: a source of the list" equal "$(from 192.0.2.3 tcp 192.0.2.1 8092)" 192.0.2.3
		check "$1: none of the list" refused 2001:db8:2::3 tcp 2001:db8:2::1 8092
		check "$1: none of the list, a container" sh -c "! ASK_S=0.5 nsenter --net=$run/netns/$(kedge inspect -f '{{.Id}}' far) python3 $tmp/ask.py tcp 192.0.2.1 8092"
	fi
	# The firewall goes: what it has kept out comes in, and nothing else does.
	nft delete table inet firewall
	check "$1: info is silent again" equal "$(kedge info -f '{{json .Warnings}}')" "[]"
	[ "$1" = nft ] || nft flush ruleset
	[ "$1" != proxy ] || seen4=$gw4
	check "$1: without the firewall, the same client" equal "$(from 192.0.2.2 tcp 192.0.2.1 8080)" "$seen4"
	check "$1: and the other" from 192.0.2.3 tcp 192.0.2.1 8080
	check "$1: nothing unpublished" refused 192.0.2.3 tcp 192.0.2.1 81
	engine_kill9
	engine_start --datapath "$1"
	check "$1: the next engine" equal "$(from 192.0.2.2 tcp 192.0.2.1 8080)" "$seen4"
	stop_servers
	kedge rm -f web far near some direct >/dev/null
	kedge network rm six >/dev/null
	check "$1: no rule stays" equal "$(ip rule | grep -c 27495)$(ip -6 rule | grep -c 27495)" 00
	check "$1: no route stays" equal "$(ip route show table 27495 2>/dev/null)$(ip -6 route show table 27495 2>/dev/null)" ""
	engine_stop
}
for path in ${GUARDED_PATHS:-ebpf nft proxy}; do guarded "$path"; done
