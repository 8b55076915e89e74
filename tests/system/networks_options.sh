#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Options of networks and endpoints on each data path: who is let in by a container's own address, whose address packets leave with, gateways that are
# not the bridge, link-local addresses. What a data path cannot do it refuses by name.
. "$(dirname "$0")/lib.sh"
[ -e /proc/sys/net/ipv6 ] || skip "needs IPv6"

# A second link between the two, and addresses of both families.
ip link add up1 type veth peer name eth1 netns client
ip addr add 198.51.100.1/24 dev up1
ip link set up1 up
client sh -c 'ip addr add 198.51.100.2/24 dev eth1; ip link set eth1 up'
ip -6 addr add 2001:db8:1::1/64 dev up0 nodad
client ip -6 addr add 2001:db8:1::2/64 dev eth0 nodad
client ip -6 route add default via 2001:db8:1::1
ip -6 addr add 2001:db8:2::1/64 dev up1 nodad
client ip -6 addr add 2001:db8:2::2/64 dev eth1 nodad
ip addr add 203.0.113.5/32 dev lo
ip -6 addr add 2001:db8:3::5/128 dev lo
# A machine on a bridge that is its containers' way out, with an address behind it.
ip netns add router
router() { nsenter --net=/run/netns/router "$@"; }
router sh -c 'ip link set lo up; ip addr add 203.0.113.77/32 dev lo'

ctr() { kedge exec "$@"; }
refused() { local want=$1; shift; has "$("$@" 2>&1 || true)" "$want"; }
gets() { client curl -fsS --max-time 3 "$1" | grep -q hi; }
barred() { ! client curl -fsS --max-time 0.7 "$1"; }
pings() { client ping -c 1 -W 2 "$1"; }
silent() { ! client ping -c 1 -W 1 "$1"; }
serves() {
	kedge run -d --name "$1" "${@:2}" busybox sh -c 'mkdir /w; echo hi >/w/index.html; httpd -f -v -p "[::]:80" -h /w 2>/seen & httpd -p "[::]:81" -h /w; exec sleep 1000' >/dev/null
	until_ok 5 kedge exec "$1" sh -c 'netstat -ltn | grep -q :81'
}
# Whose address a container's connection comes with.
comes_from() {
	local p to=${2-192.0.2.2}
	client python3 -c 'import socket, sys
s = socket.create_server((sys.argv[1], 7007), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET); s.settimeout(10); print(s.accept()[1][0])' "$to" >"$tmp/from" &
	p=$!
	until_ok 5 client sh -c 'ss -Hltn | grep -q :7007'
	ctr "$1" nc -w 5 "$to" 7007 </dev/null >/dev/null 2>&1 || true
	wait $p
	cat "$tmp/from"
}
M=com.docker.network.bridge.gateway_mode_ip

everywhere() {
	# --- an IPv4 gateway that is another machine on the bridge
	check "$dp: inhibit_ipv4" kedge network create --subnet 10.97.0.0/24 -o com.docker.network.bridge.inhibit_ipv4=true -o com.docker.network.bridge.name=inh0 inh
	check "the bridge has no IPv4 address" equal "$(ip -4 -o addr show inh0)" ""
	ip link add r0 master inh0 type veth peer name eth0 netns router
	ip link set r0 up
	router sh -c 'ip addr add 10.97.0.1/24 dev eth0; ip addr add 10.97.0.254/24 dev eth0; ip link set eth0 up'
	kedge run -d --name i1 --network inh busybox sleep 1000 >/dev/null
	check "containers have the gateway all the same" has "$(ctr i1 ip route)" "default via 10.97.0.1"
	check "and go out by it" until_ok 5 ctr i1 ping -c 1 -W 1 203.0.113.77
	if [ "$dp" = ebpf ]; then
		serves i3 --network inh -p 8093:80
		check "published ports need no route to them" gets http://192.0.2.1:8093/
		kedge rm -f i3 >/dev/null
	fi
	check "inspect" equal "$(kedge inspect -f '{{.NetworkSettings.Networks.inh.Gateway}} {{.NetworkSettings.Networks.inh.IPAddress}}' i1)" "10.97.0.1 10.97.0.2"
	engine_kill9
	engine_start --datapath="$dp"
	check "the next engine leaves it so" equal "$(ip -4 -o addr show inh0)" ""
	check "and the way out" ctr i1 ping -c 1 -W 1 203.0.113.77
	kedge rm -f i1 >/dev/null
	kedge network rm inh >/dev/null
	check "DefaultGatewayIPv4" kedge network create --ipv6 --subnet 10.97.0.0/24 --subnet fd00:97::/64 --gateway 10.97.0.9 --aux-address DefaultGatewayIPv4=10.97.0.254 \
		--aux-address DefaultGatewayIPv6=fd00:97::fe -o com.docker.network.bridge.name=inh1 via
	ip link set r0 master inh1 2>/dev/null || { ip link add r0 master inh1 type veth peer name eth0 netns router && router sh -c 'ip addr add 10.97.0.254/24 dev eth0; ip link set eth0 up'; }
	ip link set r0 up
	kedge run -d --name i2 --network name=via,ip=10.97.0.20 busybox sleep 1000 >/dev/null
	check "is the containers' gateway, the bridge has its own" equal "$(ctr i2 ip route | head -n 1) $(ip -4 -o addr show inh1 | grep -o 10.97.0.9/24)" "default via 10.97.0.254 dev eth0  10.97.0.9/24"
	check "over IPv6" has "$(ctr i2 ip -6 route)" "default via fd00:97::fe"
	router sh -c 'ip -6 addr add fd00:97::fe/64 dev eth0 nodad; ip -6 addr add 2001:db8:77::1/128 dev lo'
	check "their way out over IPv6" until_ok 5 ctr i2 ping -c 1 -W 1 2001:db8:77::1
	router ip -6 addr del 2001:db8:77::1/128 dev lo
	check "and their way out" until_ok 5 ctr i2 ping -c 1 -W 1 203.0.113.77
	check "the host is a neighbour still" ctr i2 ping -c 1 -W 2 10.97.0.9
	check "not on an internal network" refused "no gateway can be set on an internal bridge network" kedge network create --internal --subnet 10.94.0.0/24 --aux-address DefaultGatewayIPv4=10.94.0.254 x
	kedge rm -f i2 >/dev/null
	kedge network rm via >/dev/null
	ip link del r0 2>/dev/null || true

	# --- link-local addresses
	kedge network create near >/dev/null
	kedge create --name l1 --network name=near,link-local-ip=169.254.7.1,link-local-ip=fe80::7:1 busybox sleep 1000 >/dev/null
	kedge start l1 >/dev/null
	kedge run -d --name l2 busybox sleep 1000 >/dev/null
	check "$dp: link-local addresses by connect" kedge network connect --link-local-ip 169.254.7.2 --link-local-ip fe80::7:2 near l2
	check "the interface has them" has "$(ctr l1 ip addr show eth0)" "169.254.7.1/16"
	check "IPv6 too" has "$(ctr l1 ip addr show eth0)" "fe80::7:1/64"
	check "neighbours reach each other by them" ctr l1 ping -c 1 -W 2 169.254.7.2
	check "over IPv6" ctr l1 ping -c 1 -W 2 fe80::7:2%eth0
	check "not who is elsewhere" sh -c "! '$builddir/kedge' -H unix://$sock exec l1 ping -c 1 -W 1 169.254.9.9"
	check "inspect" equal "$(kedge inspect -f '{{json .NetworkSettings.Networks.near.IPAMConfig.LinkLocalIPs}}' l2)" '["169.254.7.2","fe80::7:2"]'
	kedge restart -t 0 l2 >/dev/null
	check "kept over a restart of the container" has "$(ctr l2 ip addr show eth1)" "169.254.7.2/16"
	check "another address is none" refused "invalid link local IP address: 192.0.2.9" kedge network connect --link-local-ip 192.0.2.9 near l2
	check "not on the host's network" refused "gives no addresses: '169.254.7.3' cannot be asked for" kedge run --rm --network name=host,link-local-ip=169.254.7.3 busybox true
	kedge rm -f l1 l2 >/dev/null
	kedge network rm near >/dev/null
}

routed_ones() {
	# --- nat-unprotected
	check "$dp: nat-unprotected" kedge network create --ipv6 --subnet 10.95.0.0/24 --subnet fd00:95::/64 -o ${M}v4=nat-unprotected -o ${M}v6=nat-unprotected bare
	kedge network create --subnet 10.92.0.0/24 other >/dev/null
	serves b1 --network name=bare,ip=10.95.0.9,ip6=fd00:95::9 -p 8095:80
	kedge run -d --name o1 --network other busybox sleep 1000 >/dev/null
	check "a port nobody published, by the container's address" gets http://10.95.0.9:81/
	check "over IPv6" gets 'http://[fd00:95::9]:81/'
	check "a published one" gets http://10.95.0.9/
	check "under the client's own address" until_ok 5 ctr b1 grep -q 192.0.2.2 /seen
	check "ICMP" pings 10.95.0.9
	check "over IPv6" pings fd00:95::9
	check "a large datagram, in fragments" client ping -c 1 -W 2 -s 4000 10.95.0.9
	check "published on the host, too" gets http://192.0.2.1:8095/
	check "out with the host's address" equal "$(comes_from b1)" 192.0.2.1
	check "other networks are apart" sh -c "! '$builddir/kedge' -H unix://$sock exec o1 nc -w 1 10.95.0.9 81 </dev/null"
	check "an address nobody has" barred http://10.95.0.77:81/
	kedge network create --ipv6 --subnet 10.93.0.0/24 --subnet fd00:93::/64 -o ${M}v4=nat-unprotected half >/dev/null
	serves b2 --network name=half,ip=10.93.0.9,ip6=fd00:93::9
	check "each family by itself: IPv4" gets http://10.93.0.9:81/
	check "IPv6 not" barred 'http://[fd00:93::9]:81/'

	# --- trusted interfaces
	check "$dp: trusted interfaces" kedge network create --ipv6 --subnet 10.96.0.0/24 --subnet fd00:96::/64 -o com.docker.network.bridge.trusted_host_interfaces=up1:up2 trust
	serves t1 --network name=trust,ip=10.96.0.9,ip6=fd00:96::9 -p 8096:80
	client ip -6 route add fd00:96::/64 via 2001:db8:2::1
	check "what is published, over IPv6" gets 'http://[fd00:96::9]/'
	check "nothing else" barred 'http://[fd00:96::9]:81/'
	client ip -6 route del fd00:96::/64
	check "nothing by another interface" barred 'http://[fd00:96::9]/'
	client ip route add 10.96.0.0/24 via 198.51.100.1
	check "what is published, by the container's address" gets http://10.96.0.9/
	check "nothing else" barred http://10.96.0.9:81/
	check "no ICMP" silent 10.96.0.9
	client ip route replace 10.96.0.0/24 via 192.0.2.1
	check "by another interface nothing" barred http://10.96.0.9/
	ip link add up2 type veth peer name eth2 netns client
	ip addr add 198.51.101.1/24 dev up2
	ip link set up2 up
	client sh -c 'ip addr add 198.51.101.2/24 dev eth2; ip link set eth2 up; ip route replace 10.96.0.0/24 via 198.51.101.1'
	check "one that came later" until_ok 5 gets http://10.96.0.9/
	ip link set up2 down
	ip link set up2 name up3
	ip link set up2 up 2>/dev/null || ip link set up3 up
	client ip route replace 10.96.0.0/24 via 198.51.101.1
	check "under another name it is trusted no more" until_ok 5 barred http://10.96.0.9/
	ip link del up3
	client ip route replace 10.96.0.0/24 via 198.51.100.1
	serves t2 --network name=trust,ip=10.96.0.10 -p 8097:80 --label kedge.publish.sources=198.51.100.77
	check "a list of sources is asked here, too" barred http://10.96.0.10/
	check "a name that cannot be one" refused "'up/0' is not the name of an interface" kedge network create -o com.docker.network.bridge.trusted_host_interfaces=up1:up/0 x

	# --- routed
	kedge network create --ipv6 --subnet 10.91.0.0/24 --subnet fd00:91::/64 -o ${M}v4=routed -o ${M}v6=routed open >/dev/null
	serves r1 --network name=open,ip=10.91.0.9,ip6=fd00:91::9 -p 80 --label kedge.publish.sources=192.0.2.0/24,2001:db8:1::/64
	check "$dp: routed: the published port at its own address" gets http://10.91.0.9/
	check "over IPv6" gets 'http://[fd00:91::9]/'
	check "another port not" barred http://10.91.0.9:81/
	check "ICMP" pings 10.91.0.9
	check "over IPv6" pings fd00:91::9
	check "out with its own address" equal "$(comes_from r1)" 10.91.0.9
	check "port shows both families, without a port of the host" equal "$(kedge port r1 | tr '\n' ' ')" "80/tcp -> 0.0.0.0: 80/tcp -> [::]: "
	kedge network create --ipv6 --subnet 10.90.0.0/24 --subnet fd00:90::/64 -o ${M}v6=routed mixed >/dev/null
	serves r2 --network name=mixed,ip6=fd00:90::9 -p 8098:80
	check "routed in one family: the other is translated" gets http://192.0.2.1:8098/
	check "and this one is not" gets 'http://[fd00:90::9]/'
	check "not held on the host" barred 'http://[2001:db8:1::1]:8098/'
	check "port says which" equal "$(kedge port r2 | tr '\n' ' ')" "80/tcp -> 0.0.0.0:8098 80/tcp -> [::]: "
	check "inspect" equal "$(kedge inspect -f '{{json .NetworkSettings.Ports}}' r2)" '{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8098"},{"HostIp":"::","HostPort":""}]}'
	check "the list" has "$(api http://localhost/v1.50/containers/json?filters=%7B%22name%22:%5B%22r2%22%5D%7D)" '{"IP":"::","PrivatePort":80,"Type":"tcp"}'
	check "ps" equal "$(kedge ps -f name=r2 --format '{{.Ports}}')" "0.0.0.0:8098->80/tcp, [::]:0->80/tcp"
	! docker_recent || check "docker's words" equal "$(docker -H "unix://$sock" ps -f name=r2 --format '{{.Ports}}') $(docker -H "unix://$sock" port r2 | tr '\n' ' ')" "0.0.0.0:8098->80/tcp, [::]:0->80/tcp 80/tcp -> 0.0.0.0:8098 80/tcp -> [::]: "
	kedge rm -f r2 >/dev/null
	kedge network rm mixed >/dev/null
	kedge network create --ipv6 -o ${M}v4=routed -o ${M}v6=routed open2 >/dev/null
	serves r3 --network open2 -p 0.0.0.0::80
	check "a binding of one family opens that one" equal "$(kedge port r3)" "80/tcp -> 0.0.0.0:"
	check "IPv4" gets "http://$(kedge inspect -f '{{.NetworkSettings.Networks.open2.IPAddress}}' r3)/"
	check "not IPv6" barred "http://[$(kedge inspect -f '{{.NetworkSettings.Networks.open2.GlobalIPv6Address}}' r3)]/"
	kedge rm -f r3 >/dev/null
	kedge network rm open2 >/dev/null

	# --- where ports are published that name no address, in the other family
	kedge network create --ipv6 -o com.docker.network.bridge.host_binding_ipv4=2001:db8:1::1 bind6 >/dev/null
	serves h1 --network bind6 -p 8099:80
	check "$dp: host_binding of IPv6" equal "$(kedge port h1)" "80/tcp -> [2001:db8:1::1]:8099"
	check "there" gets 'http://[2001:db8:1::1]:8099/'
	check "and not over IPv4" barred http://192.0.2.1:8099/
	kedge rm -f h1 >/dev/null
	kedge network rm bind6 >/dev/null

	# --- an address to leave with
	check "$dp: host_ipv4" kedge network create --ipv6 --subnet 10.99.0.0/24 --subnet fd00:99::/64 -o com.docker.network.host_ipv4=203.0.113.5 -o com.docker.network.host_ipv6=2001:db8:3::5 snat
	kedge run -d --name s1 --network snat busybox sleep 1000 >/dev/null
	check "is whose packets these are" equal "$(comes_from s1)" 203.0.113.5
	check "over IPv6" equal "$(comes_from s1 2001:db8:1::2)" 2001:db8:3::5
	check "and answers come back" ctr s1 ping -c 1 -W 2 192.0.2.2
	check "not what is none" refused "'fd00::1' is not an IPv4 address" kedge network create -o com.docker.network.host_ipv4=fd00::1 x

	engine_kill9
	check "without the engine: unprotected" gets http://10.95.0.9:81/
	check "trusted" gets http://10.96.0.9/
	engine_start --datapath="$dp"
	check "with the next one: unprotected" gets http://10.95.0.9:81/
	check "trusted" gets http://10.96.0.9/
	check "and no more than was" barred http://10.96.0.9:81/
	check "host_ipv4" equal "$(comes_from s1)" 203.0.113.5
	kedge rm -f b1 b2 o1 t1 t2 r1 s1 >/dev/null
	kedge network rm bare half other trust open snat >/dev/null
	client ip route del 10.96.0.0/24
}

for dp in ebpf nft proxy; do
	engine_start --datapath="$dp"
	[ "$dp" != ebpf ] || need_image busybox
	everywhere
	if [ "$dp" = proxy ]; then
		check "proxy: nothing is routed, so nothing is opened" refused "gateway_mode_ipv4=nat-unprotected needs a data path that carries packets (ebpf or nft), and the one here is proxy" \
			kedge network create -o ${M}v4=nat-unprotected x
		check "routed" refused "gateway_mode_ipv6=routed needs a data path" kedge network create --ipv6 -o ${M}v6=routed x
		check "trusted interfaces" refused "trusted_host_interfaces needs a data path" kedge network create -o com.docker.network.bridge.trusted_host_interfaces=up1 x
		check "an address to leave with" refused "host_ipv4 needs a data path" kedge network create -o com.docker.network.host_ipv4=203.0.113.5 x
	else
		routed_ones
	fi
	engine_stop
done
