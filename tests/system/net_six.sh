# SPDX-License-Identifier: Apache-2.0
# Both families beside each other through the engine: who reaches what with which address, fragments, path MTU.
# shellcheck shell=bash source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
[ -e /proc/sys/net/ipv6 ] || skip "needs IPv6"
ip -6 addr add 2001:db8:2::1/64 dev up0 nodad
client ip -6 addr add 2001:db8:2::2/64 dev eth0 nodad
client ip -6 route add default via 2001:db8:2::1
engine_start
[ "$(api http://localhost/kedge/net/counters | python3 -c 'import json,sys; print(json.load(sys.stdin)["Datapath"])')" = ebpf ] || skip "needs the eBPF data path"
need_image busybox

# shellcheck source=who_lib.sh
. "$(dirname "$0")/who_lib.sh"

kedge network create --ipv6 --subnet 172.30.0.0/24 --subnet fd00:30::/64 six >/dev/null
kedge network create --ipv6 --subnet 172.31.0.0/24 --subnet fd00:31::/64 seven >/dev/null
kedge run -d --name web --network six -p 8080:80 -p 8080:80/udp -p 127.0.0.1:8081:80 -p '[::1]:8081:80' -p '[2001:db8:2::1]:8082:80' busybox sleep 1000 >/dev/null
kedge run -d --name same --network six busybox sleep 1000 >/dev/null
kedge run -d --name far --network seven busybox sleep 1000 >/dev/null
kedge run -d --name four -p 8090:80 busybox sleep 1000 >/dev/null
web4=$(address web six IPAddress) web6=$(address web six GlobalIPv6Address)
same4=$(address same six IPAddress) same6=$(address same six GlobalIPv6Address)
far4=$(address far seven IPAddress) far6=$(address far seven GlobalIPv6Address)
gw4=$(address web six Gateway) gw6=$(address web six IPv6Gateway)
serve web 80
serve same 80
serve four 80
serve client 70
until_ok 20 ask tcp "$web6" 80		# duplicate address detection is over

for proto in tcp udp; do
	check "$proto: a client, IPv4" equal "$(client python3 "$tmp/who.py" $proto 192.0.2.1 8080)" 192.0.2.2
	check "$proto: a client, IPv6" equal "$(client python3 "$tmp/who.py" $proto 2001:db8:2::1 8080)" 2001:db8:2::2
	check "$proto: the host, ::1" equal "$(ask $proto ::1 8080)" "$gw6"
	check "$proto: the host, its IPv6 address" equal "$(ask $proto 2001:db8:2::1 8080)" "$gw6"
	check "$proto: the host, 127.0.0.1" equal "$(ask $proto 127.0.0.1 8080)" "$gw4"
	check "$proto: a mapped address" equal "$(ask $proto ::ffff:127.0.0.1 8080)" "$gw4"
	check "$proto: a container of the network, IPv6" equal "$(in_ctr same python3 "$tmp/who.py" $proto 2001:db8:2::1 8080)" "$same6"
	check "$proto: a container of the network, IPv4" equal "$(in_ctr same python3 "$tmp/who.py" $proto 192.0.2.1 8080)" "$same4"
	check "$proto: a container of another network, IPv6" equal "$(in_ctr far python3 "$tmp/who.py" $proto 2001:db8:2::1 8080)" "$far6"
	check "$proto: a container of another network, IPv4" equal "$(in_ctr far python3 "$tmp/who.py" $proto 192.0.2.1 8080)" "$far4"
	check "$proto: itself, IPv6" equal "$(in_ctr web python3 "$tmp/who.py" $proto 2001:db8:2::1 8080)" "$gw6"
	check "$proto: neighbours" equal "$(in_ctr same python3 "$tmp/who.py" $proto "$web6" 80)" "$same6"
	check "$proto: not between networks" status 1 in_ctr far python3 "$tmp/who.py" $proto "$web6" 80 who 0.7
	check "$proto: out, IPv4" equal "$(in_ctr web python3 "$tmp/who.py" $proto 192.0.2.2 70)" 192.0.2.1
	check "$proto: out, IPv6" equal "$(in_ctr web python3 "$tmp/who.py" $proto 2001:db8:2::2 70)" 2001:db8:2::1
done
check "one IPv6 address" equal "$(client python3 "$tmp/who.py" tcp 2001:db8:2::1 8082)" 2001:db8:2::2
check "bound to ::1: the host" equal "$(ask tcp ::1 8081)" "$gw6"
check "bound to ::1: nobody else" status 1 client python3 "$tmp/who.py" tcp 2001:db8:2::1 8081 who 0.7
check "a container without IPv6 for an IPv6 client, by the proxy" has "$(client python3 "$tmp/who.py" tcp 2001:db8:2::1 8090)" 172.
check "ping out, IPv4" in_ctr web ping -c 1 -W 3 192.0.2.2
check "ping out, IPv6" in_ctr web ping -c 1 -W 3 2001:db8:2::2

# A neighbour that routes to the bridges.
client ip -6 route add fd00:30::/64 via 2001:db8:2::1
client ip route add 172.30.0.0/24 via 192.0.2.1
for a in "$web4" "$web6"; do
	check "unpublished: $a" status 1 client python3 "$tmp/who.py" tcp "$a" 80 who 0.7
	check "unpublished, udp: $a" status 1 client python3 "$tmp/who.py" udp "$a" 80 who 0.7
done

# Fragments both ways.
for to in 192.0.2.1 2001:db8:2::1; do
	check "a datagram in fragments to $to and back" has "$(client python3 "$tmp/who.py" udp $to 8080 5000)" " 5000 4990"
done
for to in 192.0.2.2 2001:db8:2::2; do
	check "a datagram in fragments out to $to and back" has "$(in_ctr web python3 "$tmp/who.py" udp $to 70 5000)" " 5000 4990"
done

# The way out is narrower than the container believes: it is told, and what it sends arrives.
ip link set up0 mtu 1300
for to in 192.0.2.1 2001:db8:2::1; do
	check "2 MB over a narrow link to the client, $to" equal "$(client python3 "$tmp/who.py" tcp $to 8080 big 15)" 2000000
done
ip link set up0 mtu 1500
check "errors were sent or segments clamped" python3 -c '
import json, sys, urllib.request
c = json.loads(sys.argv[1])["Counters"]
sys.exit(not (c.get("icmp-errors-sent") or c.get("mss-clamped")))' "$(api http://localhost/kedge/net/counters)"
# Nobody listens: the container says so, and the client hears it at once.
cat >"$tmp/refused.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b"x")
try:
    s.recv(10)
except ConnectionRefusedError:
    sys.exit(0)
except OSError as e:
    print(e)
sys.exit(1)
PY
kedge run -d --name silent --network six -p 8070:7/udp busybox sleep 1000 >/dev/null
for to in 192.0.2.1 2001:db8:2::1; do
	check "a container's refusal reaches the client, $to" until_ok 5 client python3 "$tmp/refused.py" $to 8070
done

# Who may use a port, and which way.
client ip addr add 192.0.2.3/24 dev eth0
kedge run -d --name picky --network six --label kedge.publish.sources=192.0.2.2,2001:db8:9::/48 -p 8060:80 -p 8060:80/udp busybox sleep 1000 >/dev/null
kedge run -d --name picky4 --label kedge.publish.sources=192.0.2.2/32 -p 8061:80 busybox sleep 1000 >/dev/null
kedge run -d --name guarded --network six --label kedge.publish.policy=guarded -p 8062:80 -p 8062:80/udp busybox sleep 1000 >/dev/null
for c in picky picky4 guarded; do serve $c 80; done
policies() {
	for proto in tcp udp; do
		check "$1: $proto: a source on the list" equal "$(client python3 "$tmp/who.py" $proto 192.0.2.1 8060)" 192.0.2.2
		check "$1: $proto: another" status 1 client env FROM=192.0.2.3 python3 "$tmp/who.py" $proto 192.0.2.1 8060 who 0.7
		check "$1: $proto: another, IPv6" status 1 client python3 "$tmp/who.py" $proto 2001:db8:2::1 8060 who 0.7
		check "$1: $proto: the host itself" equal "$(ask $proto 127.0.0.1 8060)" "$gw4"
		check "$1: $proto: guarded, IPv4" equal "$(client python3 "$tmp/who.py" $proto 192.0.2.1 8062)" 192.0.2.2
		check "$1: $proto: guarded, IPv6" equal "$(client python3 "$tmp/who.py" $proto 2001:db8:2::1 8062)" 2001:db8:2::2
	done
	check "$1: the proxy holds the list too" status 1 client python3 "$tmp/who.py" tcp 2001:db8:2::1 8061 who 0.7
	check "$1: and lets the listed in" equal "$(client python3 "$tmp/who.py" tcp 192.0.2.1 8061)" 192.0.2.2
}
policies first
engine_kill9
engine_start
policies "after a restart"
check "a policy nobody knows" has "$(kedge run --rm --label kedge.publish.policy=open -p 8063:80 busybox true 2>&1 | cat)" "publish policy 'open' is neither direct nor guarded"
check "what is no prefix" has "$(kedge run --rm --label kedge.publish.sources=everyone -p 8063:80 busybox true 2>&1 | cat)" "'everyone' is not a prefix of sources"
