#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The data path by nftables with whole containers: both families, internal networks, networks apart, what a flush of the host's own rules does.
. "$(dirname "$0")/lib.sh"
command -v nft >/dev/null || skip "needs nft"

ip -6 addr add 2001:db8:1::1/64 dev up0 nodad
client ip -6 addr add 2001:db8:1::2/64 dev eth0 nodad
client ip -6 route add default via 2001:db8:1::1
engine_start --datapath nft
need_image busybox
table=kedge-$id
httpd='mkdir /w; echo served >/w/index.html; exec httpd -f -v -h /w'
address() { kedge inspect -f "{{(index .NetworkSettings.Networks \"$2\").$3}}" "$1"; }

check "info names it" equal "$(kedge info -f '{{json .DriverStatus}}' | grep -o nft)" nft
check "networks" kedge network create --ipv6 six
check "an internal one" kedge network create --internal inside
kedge run -d --name web --network six -p 8080:80 busybox sh -c "$httpd" >/dev/null
kedge run -d --name other busybox sh -c "$httpd" >/dev/null
kedge run -d --name in --network inside -p 8081:80 busybox sh -c "$httpd" >/dev/null
check "IPv4, from the client" until_ok 5 client curl -fsS --max-time 2 http://192.0.2.1:8080/
check "IPv6, from the client" has "$(client curl -fsS --max-time 5 'http://[2001:db8:1::1]:8080/')" served
check "the client's own address arrives" until_ok 5 sh -c "'$builddir/kedge' -H unix://$sock logs web 2>&1 | grep -q '2001:db8:1::2.*200'"
check "from the host, ::1" has "$(curl -fsS --max-time 5 'http://[::1]:8080/')" served
check "from the host, 127.0.0.1" has "$(curl -fsS --max-time 5 http://127.0.0.1:8080/)" served
check "a port published from an internal network is closed to the client" status 7 client curl -sS --max-time 2 http://192.0.2.1:8081/
check "another network does not reach it" status 1 kedge exec other nc -w 2 "$(address web six IPAddress)" 80
check "its published port, it does" has "$(kedge exec other sh -c 'printf "GET / HTTP/1.0\r\n\r\n" | nc -w 5 192.0.2.1 8080')" served
check "out, IPv4" kedge exec web ping -c 1 -W 2 192.0.2.2
check "out, IPv6" kedge exec web ping -c 1 -W 2 2001:db8:1::2
check "the internal network has no way out" status 1 kedge exec in ping -c 1 -W 1 192.0.2.2
check "nor to the host's other addresses" status 1 kedge exec in ping -c 1 -W 1 192.0.2.1
check "its own gateway answers" kedge exec in ping -c 1 -W 2 "$(kedge network inspect -f '{{(index .IPAM.Config 0).Gateway}}' inside)"
check "a neighbour that routes to a bridge is not let in" sh -c "! nsenter --net=/run/netns/client sh -c 'ip route add 172.16.0.0/12 via 192.0.2.1 && curl -sS --max-time 2 http://$(address other bridge IPAddress)/'"
flow=$(kedge net flows web --format '{{.Proto}} {{.Kind}} {{.Peer}} {{.Host}} {{.Container}}')
check "flows of connection tracking" grep -Eq "^tcp published 192.0.2.2:[0-9]+ 192.0.2.1:8080 [0-9.]+:80$" <<<"$flow"
check "over IPv6" grep -Eq "^tcp published .2001:db8:1::2.:[0-9]+ .2001:db8:1::1.:8080 .*:80$" <<<"$flow"
check "out of the container" has "$flow" "icmp outgoing 192.0.2.2"
check "with bytes and age" sh -c "'$builddir/kedge' -H unix://$sock net flows web --format '{{.InBytes}} {{.Age}}' | grep -q '^[1-9][0-9]* [1-9]'"
"$builddir/kedge" -H "unix://$sock" net drops -f >"$tmp/drops" &
drops=$!
told() { client curl -sS --max-time 0.2 "http://$(address other bridge IPAddress)/" >/dev/null 2>&1; grep -q " unpublished forward/up0 tcp 192.0.2.2:.*:80 len " "$tmp/drops"; }
check "drops, one by one" until_ok 10 told
kill $drops
wait $drops || true
check "nft can print all of it" nft list table inet "$table"
check "drops are counted" sh -c "nft list counter inet $table unpublished | grep -q 'packets [1-9]'"

nft add table inet firewall
nft flush table inet firewall
nft delete table inet firewall
check "the host's own tables come and go" has "$(client curl -fsS --max-time 5 http://192.0.2.1:8080/)" served
engine_kill9
check "without the engine" has "$(client curl -fsS --max-time 5 http://192.0.2.1:8080/)" served
engine_start --datapath nft
check "with the next one" has "$(client curl -fsS --max-time 5 'http://[2001:db8:1::1]:8080/')" served
kedge rm -f web >/dev/null
check "a removed container's port is closed" status 7 client curl -sS --max-time 2 http://192.0.2.1:8080/
check "nothing of it is in the maps" sh -c "! nft list map inet $table any4 | grep -q 8080"
kedge rm -f other in >/dev/null
engine_stop
engine_start
check "another data path clears the table" sh -c "! nft list table inet $table"
