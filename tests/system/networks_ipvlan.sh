#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ipvlan: containers on a link of the host under its own MAC address, on layer 2 and 3. Where the kernel has none, the driver is refused by name.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
refused() { local want=$1; shift; has "$("$@" 2>&1 || true)" "$want"; }
ctr() { kedge exec "$@"; }
apart() { ! ctr "$1" ping -c 1 -W 1 "$2"; }
asleep() { kedge run -d "$@" busybox sleep 1000 >/dev/null; }
mac_in() { sed "s/.*ether \([^ ]*\).*/\1/" <<<"$1"; }
inner() { local c; c=$(kedge inspect -f '{{.Id}}' "$1"); shift; nsenter --net="$run/netns/$c" "$@"; }

check "a mode nobody knows" refused "requested ipvlan mode 'l4' is not valid, 'l2' mode is the ipvlan driver default" kedge network create -d ipvlan -o parent=up0 -o ipvlan_mode=l4 x
check "a flag nobody knows" refused "requested ipvlan flag 'odd' is not valid, 'bridge' is the ipvlan driver default" kedge network create -d ipvlan -o parent=up0 -o ipvlan_flag=odd x
if ! ip link add link up0 name probe0 type ipvlan 2>/dev/null; then
	check "without ipvlan in the kernel" refused "the driver ipvlan cannot be had: this kernel has no ipvlan interfaces (CONFIG_IPVLAN)" \
		kedge network create -d ipvlan --subnet 192.0.2.0/24 -o parent=up0 x
	check "nothing is left" equal "$(kedge network ls -q | wc -l)" 3
	echo "# the rest is left out: this kernel has no ipvlan"
	exit 0
fi
ip link del probe0

check "layer 2" kedge network create -d ipvlan --subnet 192.0.2.0/24 --gateway 192.0.2.2 -o parent=up0 seg
asleep --name a1 --network name=seg,ip=192.0.2.10
asleep --name a2 --network name=seg,ip=192.0.2.11
check "reaches another machine" ctr a1 ping -c 1 -W 2 192.0.2.2
check "is reached by it" client ping -c 1 -W 2 192.0.2.11
check "and its neighbour" ctr a1 ping -c 1 -W 2 192.0.2.11
check "under the parent's MAC address" equal "$(mac_in "$(inner a1 ip -o link show eth0)")" "$(mac_in "$(ip -o link show up0)")"
check "which is not its own to show" equal "$(kedge inspect -f '{{.NetworkSettings.Networks.seg.MacAddress}} {{.NetworkSettings.Networks.seg.Gateway}}' a1)" " 192.0.2.2"
check "nor to choose" refused "ipvlan interfaces do not support custom mac address assignment" kedge run --rm --network name=seg,mac-address=02:42:00:00:00:09 busybox true
check "the default route" has "$(ctr a1 ip route)" "default via 192.0.2.2"
again() { for _ in 1 2 3 4; do kedge restart -t 0 a1 || return 1; done; }
check "started again and again, its address is free at once" again
check "one network a parent" refused "network seg is already using parent interface up0" kedge network create -d ipvlan --subnet 10.81.0.0/24 -o parent=up0 x
check "names are known" ctr a1 ping -c 1 -W 2 a2
kedge run -d --name other busybox sleep 1000 >/dev/null
check "a running container joins" kedge network connect --ip 192.0.2.12 seg other
check "and reaches it" ctr other ping -c 1 -W 2 192.0.2.10
engine_kill9
engine_start
check "after a restart" ctr other ping -c 1 -W 2 192.0.2.10
check "a taken address" refused "Address already in use" kedge run --rm --network name=seg,ip=192.0.2.10 busybox true
check "leaves" kedge network disconnect seg other
check "the interface is gone" equal "$(ctr other ip -o link | grep -c eth1)" 0
kedge rm -f a1 a2 other >/dev/null
kedge network rm seg >/dev/null

for flag in private vepa; do
	kedge network create -d ipvlan --subnet 192.0.2.0/24 -o parent=up0 -o ipvlan_flag=$flag $flag >/dev/null
	asleep --name p1 --network name=$flag,ip=192.0.2.10
	asleep --name p2 --network name=$flag,ip=192.0.2.11
	check "$flag" has "$(inner p1 ip -d link show eth0)" "ipvlan  mode l2 $flag"
	check "out: yes" ctr p1 ping -c 1 -W 2 192.0.2.2
	check "to a neighbour: no" apart p1 192.0.2.11
	kedge rm -f p1 p2 >/dev/null
	kedge network rm $flag >/dev/null
done

for mode in l3 l3s; do
	check "$mode" kedge network create -d ipvlan --subnet 10.80.0.0/24 --subnet 10.81.0.0/24 -o parent=up0 -o ipvlan_mode=$mode routed
	asleep --name r1 --network name=routed,ip=10.80.0.5
	asleep --name r2 --network name=routed,ip=10.81.0.5
	check "the mode" has "$(inner r1 ip -d link show eth0)" "ipvlan  mode $mode"
	check "the way out is the interface" has "$(ctr r1 ip route)" "default dev eth0"
	check "no gateway to show" equal "$(kedge inspect -f '{{.NetworkSettings.Networks.routed.Gateway}}' r1)" ""
	check "another machine" ctr r1 ping -c 1 -W 2 192.0.2.2
	check "the other way" client ping -c 1 -W 2 10.81.0.5
	check "from subnet to subnet" ctr r1 ping -c 1 -W 2 10.81.0.5
	kedge rm -f r1 r2 >/dev/null
	kedge network rm routed >/dev/null
done
check "internal on layer 3: no way out" sh -c "'$builddir/kedge' -H 'unix://$sock' network create -d ipvlan --internal --subnet 10.80.0.0/24 -o parent=up0 -o ipvlan_mode=l3 shut && ! '$builddir/kedge' -H 'unix://$sock' run --rm --network shut busybox ip route | grep default"
kedge network rm shut >/dev/null

if ip link add link up0 name probe0 type vlan id 2 2>/dev/null; then
	ip link del probe0
	check "on a VLAN" kedge network create -d ipvlan --subnet 10.82.0.0/24 -o parent=up0.70 tagged
	check "which is made" has "$(ip -d -o link show up0.70)" "vlan protocol 802.1Q id 70"
	client sh -c 'ip link add link eth0 name eth0.70 type vlan id 70; ip addr add 10.82.0.100/24 dev eth0.70; ip link set eth0.70 up'
	asleep --name t1 --network tagged
	check "and reaches its machines" ctr t1 ping -c 1 -W 2 10.82.0.100
	kedge rm -f t1 >/dev/null
	kedge network rm tagged >/dev/null
	check "and goes" until_ok 5 sh -c '! ip link show up0.70 2>/dev/null'
fi
if ip link add probe0 type dummy 2>/dev/null; then
	ip link del probe0
	check "without a parent" kedge network create -d ipvlan --subnet 10.83.0.0/24 lonely
	asleep --name o1 --network name=lonely,ip=10.83.0.5
	check "neighbours" kedge run --rm --network lonely busybox ping -c 1 -W 2 10.83.0.5
	check "and nobody else" equal "$(ctr o1 ip route | grep -c default)" 0
	kedge rm -f o1 >/dev/null
	kedge network rm lonely >/dev/null
	check "the dummy goes" until_ok 5 sh -c '! ip -br link | grep -q ^di-'
fi
check "the host's link stays" ip link show up0
