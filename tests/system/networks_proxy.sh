#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# On the data path that filters nothing: what networks keep apart on a host that forwards both families.
. "$(dirname "$0")/lib.sh"
[ -e /proc/sys/net/ipv6 ] || skip "needs IPv6"
ip -6 addr add 2001:db8:2::1/64 dev up0 nodad
client ip -6 addr add 2001:db8:2::2/64 dev eth0 nodad
client ip -6 route add default via 2001:db8:2::1
engine_start --datapath=proxy
need_image busybox
forward() { for f in ipv4 ipv6; do echo 1 >/proc/sys/net/$f/conf/all/forwarding; done; }
forward

declare -A ids			# asked for once: the engine is not always there
in_ctr() { local c=${ids[$1]}; shift; nsenter --net="$run/netns/$c" "$@"; }
get() { curl -fsS --max-time 3 "$@" | grep -q hi; }
barred() { local where=$1; shift; ! $where curl -fsS --max-time 0.7 "$@"; }
# Keeps the datagrams it was sent, so that one is seen that gets in though an answer would not get out.
servers=()
cat >"$tmp/udp.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(("::", int(sys.argv[1])))
while True:
    b, a = s.recvfrom(2000)
    print(b.decode(), flush=True)
PY
cat >"$tmp/send.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
try:
    s.sendto(sys.argv[3].encode(), (sys.argv[1], int(sys.argv[2])))
except OSError as e:
    print(e)
PY
# heard FILE WORD: a socket hears in order, so what was sent before WORD has come by then if it was to come.
heard() { grep -qx "$2" "$1"; }
serves() {
	kedge exec "$1" sh -c 'mkdir -p /www; echo hi >/www/index.html; httpd -p "[::]:80" -h /www; httpd -p "[::]:81" -h /www'
	in_ctr "$1" python3 "$tmp/udp.py" 53 >"$tmp/udp.$1" 2>&1 &
	servers+=($!)
	until_ok 10 sh -c "nsenter --net=$run/netns/${ids[$1]} ss -Hlun sport = :53 | grep -q ."
}
# shellcheck disable=SC2046
stop_servers() { for p in "${servers[@]}"; do kill $(ps -o pid= --ppid "$p") "$p" 2>/dev/null || true; done; }
cleanup() { stop_servers; }
asleep() { local name=$1; shift; ids[$name]=$(kedge run -d --name "$name" "$@" busybox sleep 1000); }
rules_are() { equal "$(rules)" "$1"; }
rules() { { ip rule; ip -6 rule; } | grep -c '^9[89]:' || true; }

kedge network create --ipv6 --subnet 172.30.0.0/24 --subnet fd00:30::/64 n1 >/dev/null
kedge network create --ipv6 --subnet 172.31.0.0/24 --subnet fd00:31::/64 n2 >/dev/null
kedge network create --ipv6 --internal --subnet 172.32.0.0/24 --subnet fd00:32::/64 vault >/dev/null
kedge network create --ipv6 --subnet 172.33.0.0/24 --subnet fd00:33::/64 -o com.docker.network.bridge.enable_icc=false quiet >/dev/null
asleep web --network name=n1,ip=172.30.0.9,ip6=fd00:30::9 -p 8080:80
asleep same --network n1
asleep far --network n2
asleep inner --network name=vault,ip=172.32.0.9,ip6=fd00:32::9
asleep q1 --network quiet
asleep q2 --network name=quiet,ip=172.33.0.9,ip6=fd00:33::9
serves web
serves q2
client ip route add 172.16.0.0/12 via 192.0.2.1
in_ctr inner ip route add default via 172.32.0.1
in_ctr inner ip -6 route add default via fd00:32::1
mac=$(ip -o link show "br-$(kedge network inspect -f '{{.Id}}' quiet | cut -c 1-12)" | sed 's/.*ether \([^ ]*\).*/\1/')
in_ctr q1 ip neigh replace fd00:33::9 lladdr "$mac" dev eth0
nsenter --net=/run/netns/client python3 "$tmp/udp.py" 7007 >"$tmp/udp.client" 2>&1 &
servers+=($!)
until_ok 10 client sh -c 'ss -Hlun sport = :7007 | grep -q .'

apart() {
	check "$1: a neighbour that routes to the bridge" barred client http://172.30.0.9/
	check "$1: the same over IPv6" barred client 'http://[fd00:30::9]/'
	check "$1: another network" barred "in_ctr far" http://172.30.0.9/
	check "$1: another network over IPv6" barred "in_ctr far" 'http://[fd00:30::9]/'
	check "$1: out of an internal one, to another" barred "in_ctr inner" 'http://[fd00:30::9]/'
	check "$1: no ICC, by way of the host" barred "in_ctr q1" 'http://[fd00:33::9]/'
	local a word
	word=$(echo "$1" | tr -c 'a-z\n' -)
	for a in 172.30.0.9 fd00:30::9; do
		client python3 "$tmp/send.py" $a 53 "client-$word"
		in_ctr far python3 "$tmp/send.py" $a 53 "far-$word"
		in_ctr same python3 "$tmp/send.py" $a 53 "same-$word-$a"
		check "$1: datagrams of a neighbour on the network" until_ok 5 heard "$tmp/udp.web" "same-$word-$a"
	done
	in_ctr q1 python3 "$tmp/send.py" fd00:33::9 53 "q1-$word"
	python3 "$tmp/send.py" fd00:33::9 53 "host-$word"
	check "$1: the host's datagrams where there is no ICC" until_ok 5 heard "$tmp/udp.q2" "host-$word"
	check "$1: not the neighbour's by way of the host" equal "$(grep -c "^q1-$word" "$tmp/udp.q2")" 0
	check "$1: not even a datagram gets in" equal "$(grep -cE "^(client|far)-$word" "$tmp/udp.web")" 0
	for a in 192.0.2.2 2001:db8:2::2; do
		in_ctr inner python3 "$tmp/send.py" $a 7007 "inner-$word"
		python3 "$tmp/send.py" $a 7007 "host-$word-$a"
		check "$1: the host's datagrams" until_ok 5 heard "$tmp/udp.client" "host-$word-$a"
	done
	check "$1: nor out of an internal network" equal "$(grep -c "^inner-$word" "$tmp/udp.client")" 0
}
reached() {
	local a
	check "$1: a published port" get http://127.0.0.1:8080/
	for a in http://192.0.2.1:8080/ 'http://[2001:db8:2::1]:8080/'; do
		check "$1: $a, a client" client curl -fsS --max-time 3 -o /dev/null "$a"
		check "$1: $a, another network" in_ctr far curl -fsS --max-time 3 -o /dev/null "$a"
		check "$1: $a, its own network" in_ctr same curl -fsS --max-time 3 -o /dev/null "$a"
		check "$1: $a, itself" in_ctr web curl -fsS --max-time 3 -o /dev/null "$a"
	done
	for a in http://172.30.0.9:81/ 'http://[fd00:30::9]:81/'; do
		check "$1: $a, the host" get "$a"
		check "$1: $a, its own network" in_ctr same curl -fsS --max-time 3 -o /dev/null "$a"
	done
	check "$1: the host reaches who is kept apart" get 'http://[fd00:33::9]/'
}
count=$(rules)
check "three rules for each subnet" equal "$count" 27
apart "at first"
reached "at first"

engine_kill9
apart "without the engine"
engine_start --datapath=proxy
forward
apart "after a restart"
reached "after a restart"
check "no rule more, none less" equal "$(rules)" "$count"

# --- somebody clears the rules
ip -6 rule del pref 99
ip rule flush
ip rule add pref 32766 lookup main
check "rules that were removed come back" until_ok 5 rules_are "$count"
apart "after a flush"

# --- what goes, what stays
mark=$(ip rule | sed -n 's,^99:.*to 172.33.0.0/24 fwmark \([^ ]*\) prohibit$,\1,p')
kedge rm -f q1 q2 >/dev/null
kedge network rm quiet >/dev/null
check "a network's rules go with it" until_ok 5 rules_are $((count - 6))
engine_kill9
ip rule add pref 99 to 172.33.0.0/24 fwmark "$mark" prohibit
ip rule add pref 99 to 172.34.0.0/24 fwmark 0x80000001/0 prohibit
engine_start --datapath=proxy
check "what an earlier run has left: gone" equal "$(ip rule | grep -c 172.33.0.0)" 0
check "what another has: not" equal "$(ip rule | grep -c 172.34.0.0)" 1
ip rule del pref 99 to 172.34.0.0/24
check "the others are there" equal "$(rules)" $((count - 6))

# --- a bridge of the user's own: only what comes from our subnet is kept in
ip link add br7 type bridge
kedge network create --subnet 172.35.0.0/24 -o com.docker.network.bridge.name=br7 own >/dev/null
check "the user's bridge" equal "$(ip rule | grep -c '^99:.from 172.35.0.0/24 .*iif br7 prohibit')" 1
kedge network rm own >/dev/null
check "its rules go" until_ok 5 sh -c '! ip rule | grep 172.35.0.0'

kedge rm -f web same far inner >/dev/null
check "an orderly end" engine_stop
engine_start
[ "$(api http://localhost/kedge/net/counters | python3 -c 'import json,sys; print(json.load(sys.stdin)["Datapath"])')" = proxy ] ||
	check "another data path has no use for them" equal "$(rules)" 0
