#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# macvlan: containers on the host's own segment, on a VLAN of it, on none at all.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox

ctr() { kedge exec "$@"; }
refused() { local want=$1; shift; has "$("$@" 2>&1 || true)" "$want"; }
asleep() { kedge run -d "$@" busybox sleep 1000 >/dev/null; }

check "on an interface of the host" kedge network create -d macvlan --subnet 192.0.2.0/24 --gateway 192.0.2.2 -o parent=up0 seg
asleep --name m1 --network name=seg,ip=192.0.2.10
asleep --name m2 --network name=seg,ip=192.0.2.11,mac-address=02:42:00:00:00:99
check "reaches another machine on it" ctr m1 ping -c 1 -W 2 192.0.2.2
check "is reached by it" client ping -c 1 -W 2 192.0.2.10
check "and its neighbour" ctr m1 ping -c 1 -W 2 192.0.2.11
check "has the MAC it asked for" has "$(ctr m2 ip link show eth0)" "02:42:00:00:00:99"
check "the segment's router is its default route" has "$(ctr m1 ip route)" "default via 192.0.2.2"
again() { for _ in 1 2 3 4 5 6; do kedge restart -t 0 m1 || return 1; done; }
check "started again and again, its address is free at once" again
check "inspect" has "$(kedge network inspect -f '{{.Driver}} {{.Options.parent}} {{json .Containers}}' seg)" "macvlan up0"
check "a taken address" refused "Address already in use" kedge run --rm --network name=seg,ip=192.0.2.10 busybox true
check "passthru wants the link alone" refused "network seg is already using parent interface up0" kedge network create -d macvlan --subnet 10.50.0.0/24 -o parent=up0 -o macvlan_mode=passthru x
# --- addresses are announced: who knew another MAC address for one learns the new one
cat >"$tmp/hear.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
s.bind(("eth0", 0))
print("listening", flush=True)
want = socket.inet_aton(sys.argv[1])
while True:
    p = s.recv(100)
    if p[28:32] == want and p[38:42] == want and p[20:22] == b"\0\1":
        print("heard", flush=True)
PY
hears() { client python3 "$tmp/hear.py" "$1" >"$tmp/heard.$1" & hearer=$!; until_ok 20 grep -q listening "$tmp/heard.$1"; }
heard() { [ "$(grep -c heard "$tmp/heard.$1")" -ge "$2" ]; }
# How often in all: until another container, which begins now and is told as often, has been heard to the end. One more would have come before.
heard_all() {
	local first=$hearer
	rm -f "$tmp/heard.$2"
	hears "$2"
	asleep --name n2 --network "name=told,ip=$2"
	until_ok 10 heard "$2" 3
	kill "$first" $hearer
	kedge rm -f n2 >/dev/null
	grep -c heard "$tmp/heard.$1" || true
}
client ip -6 addr add fd00:53::2/64 dev eth0 nodad
kedge network create -d macvlan --ipv6 --subnet 10.53.0.0/24 --subnet fd00:53::/64 -o parent=up0 -o com.docker.network.advertise_addr_ms=100 told >/dev/null
client ip addr add 10.53.0.2/24 dev eth0
client ip neigh replace 10.53.0.10 lladdr 02:00:00:00:00:99 nud stale dev eth0
client ip neigh replace fd00:53::10 lladdr 02:00:00:00:00:99 nud stale dev eth0
hears 10.53.0.10
asleep --name n1 --network name=told,ip=10.53.0.10,ip6=fd00:53::10
mac=$(ctr n1 cat /sys/class/net/eth0/address)
knows() { client ip neigh show "$1" dev eth0 | grep -q "lladdr $mac"; }
check "a neighbour learns whose the address is now" until_ok 5 knows 10.53.0.10
check "over IPv6" until_ok 5 knows fd00:53::10
check "three times" until_ok 10 heard 10.53.0.10 3
check "and no more" equal "$(heard_all 10.53.0.10 10.53.0.11)" 3
kedge network create -d macvlan --subnet 10.54.0.0/24 -o parent=up0 -o com.docker.network.advertise_addr_nmsgs=0 mute >/dev/null
hears 10.54.0.10
check "by connect, too, and as often as is asked for" kedge network connect --ip 10.54.0.10 mute n1
check "not at all" equal "$(heard_all 10.54.0.10 10.53.0.12)" 0
check "more often than that is refused" refused "com.docker.network.advertise_addr_nmsgs must be in the range 0 to 3" kedge network create -d macvlan -o parent=up0 -o com.docker.network.advertise_addr_nmsgs=4 x
check "and faster" refused "com.docker.network.advertise_addr_ms must be in the range 100 to 2000" kedge network create -d macvlan -o parent=up0 -o com.docker.network.advertise_addr_ms=10 x
kedge rm -f n1 >/dev/null
kedge network rm told mute >/dev/null

for mode in private vepa; do
	kedge network create -d macvlan --subnet 10.50.0.0/24 -o parent=up0 -o macvlan_mode=$mode $mode >/dev/null
	asleep --name p1 --network name=$mode,ip=10.50.0.11
	check "$mode" has "$(nsenter --net="$run/netns/$(kedge inspect -f '{{.Id}}' p1)" ip -d link show eth0)" "macvlan mode $mode"
	check "not to a neighbour by itself" sh -c "! '$builddir/kedge' -H 'unix://$sock' run --rm --network $mode busybox ping -c 1 -W 1 10.50.0.11"
	kedge rm -f p1 >/dev/null
	kedge network rm $mode >/dev/null
done
check "a mode nobody knows" refused "requested macvlan mode 'odd' is not valid" kedge network create -d macvlan -o parent=up0 -o macvlan_mode=odd x
check "a parent that is not there" refused "invalid subinterface vlan name nosuch" kedge network create -d macvlan -o parent=nosuch x

if ip link add link up0 name probe0 type vlan id 2 2>/dev/null; then
	ip link del probe0
	check "on a VLAN" kedge network create -d macvlan --subnet 10.60.0.0/24 -o parent=up0.60 tagged
	check "the VLAN interface is made" has "$(ip -d -o link show up0.60)" "vlan protocol 802.1Q id 60"
	client ip link add link eth0 name eth0.60 type vlan id 60
	client ip addr add 10.60.0.100/24 dev eth0.60
	client ip link set eth0.60 up
	asleep --name t1 --network tagged
	check "reaches a machine on the VLAN" ctr t1 ping -c 1 -W 2 10.60.0.100
	check "another network on the VLAN that was made" kedge network create -d macvlan --subnet 10.61.0.0/24 -o parent=up0.60 second
	check "the first goes" sh -c "'$builddir/kedge' -H 'unix://$sock' rm -f t1 && '$builddir/kedge' -H 'unix://$sock' network rm tagged"
	check "the VLAN stays for the second" ip link show up0.60
	engine_kill9
	engine_start
	check "a new engine, too" ip link show up0.60
	kedge network create -d macvlan --subnet 10.60.0.0/24 -o parent=up0.60 tagged >/dev/null
	kedge network rm second >/dev/null
	check "handed on again" until_ok 5 sh -c 'ip -o link show up0.60 >/dev/null'
	asleep --name t1 --network tagged
	check "and reached" ctr t1 ping -c 1 -W 2 10.60.0.100
else
	echo "# VLANs are left out: this kernel has no 802.1Q"
	kedge network create -d macvlan --subnet 10.60.0.0/24 -o parent=up0 tagged >/dev/null
	asleep --name t1 --network tagged
fi

if ip link add probe0 type dummy 2>/dev/null; then
	ip link del probe0
	check "without a parent" kedge network create -d macvlan --subnet 10.70.0.0/24 lonely
	nobody=0
else
	check "without a parent: this kernel has no dummy interfaces" refused "dm-" kedge network create -d macvlan --subnet 10.70.0.0/24 x
	echo "# the network without a parent is left out: this kernel has no dummy interfaces"
	kedge network create -d macvlan --subnet 10.70.0.0/24 -o parent=up0 lonely >/dev/null
	nobody=1
fi
check "an internal one with a parent" kedge network create -d macvlan --internal --subnet 10.71.0.0/24 -o parent=up0 inner
check "has no way out" equal "$(kedge run --rm --network inner busybox ip route | grep -c default)" 0
kedge network rm inner >/dev/null
asleep --name o1 --network name=lonely,ip=10.70.0.5
asleep --name o2 --network lonely
check "neighbours reach each other" ctr o2 ping -c 1 -W 2 10.70.0.5
check "nobody else" equal "$(ctr o2 ip route | grep -c default)" $nobody

check "a running container joins" kedge network connect lonely t1
check "and reaches it" ctr t1 ping -c 1 -W 2 10.70.0.5
engine_kill9
engine_start
check "after a restart" ctr t1 ping -c 1 -W 2 10.70.0.5
check "leaves" kedge network disconnect lonely t1
check "the interface is gone" equal "$(ctr t1 ip -o link | grep -c eth1)" 0
# Alone on its link, under the link's own address.
ip link add up8 type veth peer name eth8 netns client
ip link set up8 up
client sh -c 'ip addr add 10.51.0.2/24 dev eth8; ip link set eth8 up'
check "passthru" kedge network create -d macvlan --subnet 10.51.0.0/24 -o parent=up8 -o macvlan_mode=passthru through
asleep --name pt --network through
check "reaches the segment" until_ok 5 ctr pt ping -c 1 -W 1 10.51.0.2
check "nobody else may have the link" refused "network through is already using parent interface up8" kedge network create -d macvlan --subnet 10.52.0.0/24 -o parent=up8 x
kedge rm -f m1 m2 t1 o1 o2 pt >/dev/null
kedge network rm through >/dev/null
check "rm" equal "$(kedge network rm seg tagged lonely | wc -l)" 3
check "the made interfaces go, the host's stays" until_ok 5 sh -c '! ip -br link | grep -Eq "^(up0.60|dm-)" && ip link show up0 >/dev/null'
