#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What networks keep apart: each other, endpoints of a network without ICC, an internal network and the rest of the world.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox

ctr() { kedge exec "$@"; }
ip_of() { kedge inspect -f "{{(index .NetworkSettings.Networks \"$2\").IPAddress}}" "$1"; }
mac_of() { kedge inspect -f "{{(index .NetworkSettings.Networks \"$2\").MacAddress}}" "$1"; }
reaches() { ctr "$1" ping -c 1 -W 2 "$2"; }
apart() { ! ctr "$1" ping -c 1 -W 1 "$2"; }
asleep() { kedge run -d "$@" busybox sleep 1000 >/dev/null; }
serves() { ctr "$1" sh -c 'mkdir -p /www; echo hi >/www/index.html; httpd -p 80 -h /www'; }
# fetches CONTAINER ADDRESS PORT / barred: whether the page comes.
fetches() { ctr "$1" sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 $2 $3 | grep hi"; }
barred() { ! ctr "$1" sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 1 $2 $3 | grep hi"; }

# --- two networks
kedge network create n1 >/dev/null
kedge network create n2 >/dev/null
asleep --name a1 --network n1 --cap-add NET_ADMIN
asleep --name a2 --network n1
asleep --name b1 --network n2 -p 8088:80
serves a2
serves b1
a2=$(ip_of a2 n1) b1=$(ip_of b1 n2)
check "on one network: yes" fetches a1 "$a2" 80
check "across: no" barred a1 "$b1" 80
ctr a1 ip route add "$b1/32" via "$(kedge network inspect -f '{{(index .IPAM.Config 0).Gateway}}' n1)"
check "not by a route over the gateway either" barred a1 "$b1" 80
check "but the published port" fetches a1 192.0.2.1 8088
check "a neighbour of the host that routes to it: no" status 28 client curl -sS --max-time 1 "http://$a2/"
kedge run -d --name both --network n1 busybox sleep 1000 >/dev/null
kedge network connect n2 both
check "one that is on both reaches both" fetches both "$b1" 80
check "and does not route between them" barred a1 "$b1" 80

# --- without ICC
kedge network create -o com.docker.network.bridge.enable_icc=false quiet >/dev/null
asleep --name q1 --network quiet --cap-add NET_ADMIN
asleep --name q2 --network quiet -p 8089:80
serves q2
q2=$(ip_of q2 quiet) gw=$(kedge network inspect -f '{{(index .IPAM.Config 0).Gateway}}' quiet)
check "no ICC: not each other" barred q1 "$q2" 80
check "the gateway: yes" reaches q1 "$gw"
check "the world: yes" reaches q1 192.0.2.2
check "the published port of the other: yes" fetches q1 192.0.2.1 8089
check "the host reaches it" until_ok 5 curl -fsS --max-time 2 "http://$q2/"
bridge_mac=$(ip -o link show "br-$(kedge network inspect -f '{{.Id}}' quiet | cut -c 1-12)" | sed 's/.*ether \([^ ]*\).*/\1/')
nsenter --net="$run/netns/$(kedge inspect -f '{{.Id}}' q1)" ip neigh replace "$q2" lladdr "$bridge_mac" dev eth0
check "not by the bridge's own MAC" barred q1 "$q2" 80
nsenter --net="$run/netns/$(kedge inspect -f '{{.Id}}' q1)" ip neigh replace "$q2" lladdr "$(mac_of q2 quiet)" dev eth0
check "nor by the neighbour's" barred q1 "$q2" 80

# --- internal
kedge network create --internal vault >/dev/null
asleep --name v1 --network vault --cap-add NET_ADMIN -p 8090:80
asleep --name v2 --network vault
serves v2
serves v1
gw=$(kedge network inspect -f '{{(index .IPAM.Config 0).Gateway}}' vault)
check "internal: each other" fetches v1 "$(ip_of v2 vault)" 80
check "no default route" equal "$(ctr v1 ip route | grep -c default)" 0
ctr v1 ip route add default via "$gw"
check "no way out, with a route" apart v1 192.0.2.2
check "not to the host's other addresses" apart v1 192.0.2.1
check "not to ports published there" barred v1 192.0.2.1 8088
check "not by the gateway's address" barred v1 "$gw" 8088
check "not to other networks" barred v1 "$b1" 80
check "no way in" barred b1 "$(ip_of v2 vault)" 80
check "not by a published port" status 7 client curl -sS --max-time 1 http://192.0.2.1:8090/
check "a neighbour that routes" status 28 client curl -sS --max-time 1 "http://$(ip_of v2 vault)/"

# --- an internal network without a gateway on the host
kedge network create --internal -o com.docker.network.bridge.gateway_mode_ipv4=isolated deep >/dev/null
asleep --name x1 --network deep
asleep --name x2 --network deep
check "isolated: the bridge has no address" equal "$(ip -4 -o addr show br-$(kedge network inspect -f '{{.Id}}' deep | cut -c 1-12) | wc -l)" 0
check "neighbours talk" reaches x1 "$(ip_of x2 deep)"
check "the mode is for internal networks" has "$(kedge network create -o com.docker.network.bridge.gateway_mode_ipv4=isolated no 2>&1 || true)" "gateway mode 'isolated' can only be used for an internal network"

# --- without masquerade
kedge network create -o com.docker.network.bridge.enable_ip_masquerade=false plain >/dev/null
asleep --name p1 --network plain
client python3 -c 'import socket
s = socket.create_server(("192.0.2.2", 7007)); s.settimeout(20); print(s.accept()[1][0])' >"$tmp/seen" &
until_ok 5 client sh -c 'ss -Hltn | grep -q :7007'
ctr p1 nc -w 1 192.0.2.2 7007 </dev/null >/dev/null 2>&1 || true
check "no masquerade: out under its own address" until_ok 5 grep -qx "$(ip_of p1 plain)" "$tmp/seen"

# --- where ports are published that name no address
kedge network create -o com.docker.network.bridge.host_binding_ipv4=127.0.0.1 home >/dev/null
asleep --name h1 --network home -p 8091:80
serves h1
check "host_binding_ipv4" equal "$(kedge port h1)" "80/tcp -> 127.0.0.1:8091"
check "here: yes" until_ok 5 curl -fsS --max-time 2 http://127.0.0.1:8091/
check "elsewhere: no" sh -c '! nsenter --net=/run/netns/client curl -sS --max-time 1 http://192.0.2.1:8091/'

# --- routed: by the containers' own addresses, to published ports only
kedge network create --ipv6 --subnet 10.91.0.0/24 --subnet fd00:91::/64 -o com.docker.network.bridge.gateway_mode_ipv4=routed -o com.docker.network.bridge.gateway_mode_ipv6=routed open >/dev/null
ip -6 addr add 2001:db8:1::1/64 dev up0 nodad
client ip -6 addr add 2001:db8:1::2/64 dev eth0 nodad
client ip -6 route add default via 2001:db8:1::1
asleep --name r1 --network name=open,ip=10.91.0.9,ip6=fd00:91::9 -p 80
serves r1
ctr r1 sh -c 'httpd -p 81 -h /www'
check "routed: the published port at its own address" until_ok 5 client curl -fsS --max-time 2 http://10.91.0.9/
check "over IPv6" until_ok 5 client curl -fsS --max-time 2 'http://[fd00:91::9]/'
check "another port: no" status 28 client curl -sS --max-time 1 http://10.91.0.9:81/
check "out under its own address" until_ok 5 ctr r1 ping -c 1 -W 2 192.0.2.2
check "nothing is held on the host" equal "$(kedge port r1 | tr "\n" " ")" "80/tcp -> 0.0.0.0: 80/tcp -> [::]: "

# All of it again after the engine's death: the data path stays, the engine takes it over.
engine_kill9
engine_start
check "after a restart: routed" until_ok 5 client curl -fsS --max-time 2 http://10.91.0.9/
check "and no more than was" status 28 client curl -sS --max-time 1 http://10.91.0.9:81/
check "after a restart: across" barred a1 "$b1" 80
check "no ICC" barred q1 "$q2" 80
check "no way out" apart v1 192.0.2.2
check "on one network: yes" fetches a1 "$a2" 80
