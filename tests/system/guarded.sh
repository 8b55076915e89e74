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

# shellcheck source=who_lib.sh
. "$(dirname "$0")/who_lib.sh"
from() { local a=$1; shift; FROM=$a client python3 "$tmp/who.py" "$@"; }
# Nobody told it an address: silence, a refusal, or a connection that ends without a word (the relay looks at the list once it has accepted).
kept_out() { ! grep -q '[.:]' <<<"$(ASK_S=0.5 from "$@" || true)"; }
refused() { ! ASK_S=0.5 from "$@"; }
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

# What wg-quick, mwan3 and others do to all packets: the mark is the connection's, which has none. And the way back to a source is looked for with it.
mark_rules() {
	nft -f - <<'NFT'
table inet vpn {
	chain premangle { type filter hook prerouting priority mangle; meta mark set ct mark; }
	chain postmangle { type filter hook postrouting priority mangle; meta mark 0xca6c ct mark set meta mark; }
}
NFT
	echo 1 >/proc/sys/net/ipv4/conf/all/src_valid_mark
}
beside_marks() {
	mark_rules
	for proto in tcp udp; do
		check "$1: beside rules that restore marks, $proto" equal "$(from 192.0.2.2 $proto 192.0.2.1 8080)" "$seen4"
		check "$1: the same over IPv6" equal "$(from 2001:db8:2::2 $proto 2001:db8:2::1 8080)" "$seen6"
	done
	nft delete table inet vpn
	echo 0 >/proc/sys/net/ipv4/conf/all/src_valid_mark
}
guard_rules() { { ip rule; ip -6 rule; } | grep '^97:' | sort || true; }
guard_routes() { local t; for t in $tables; do ip route show table "$t"; ip -6 route show table "$t"; done 2>/dev/null; }
# Engines that share a network namespace: what one of them takes away is its own.
beside_another() {
	local other=$tmp/other own pid
	own=$(guard_rules)
	"$builddir/kedged" -H "unix://$other/sock" --data-root "$other/lib" --exec-root "$other/run" --instance "$id-2" --cgroup-parent "$id" --config-file "$tmp/daemon.json" \
		--bridge kedge7 --bip 172.29.0.1/16 --datapath "$1" >>"$tmp/kedged.log" 2>&1 </dev/null &
	pid=$!
	second() { "$builddir/kedge" -H "unix://$other/sock" "$@"; }
	until_ok 20 second version
	second load -q -i "$images/busybox.tar" >/dev/null
	second run -d --name web2 --label kedge.publish.policy=guarded -p 8180:80 busybox sh -c 'mkdir /w; echo second >/w/index.html; exec httpd -f -h /w' >/dev/null
	check "$1: a second engine's guarded port" until_ok 5 sh -c "nsenter --net=/run/netns/client curl -fsS --max-time 1 http://192.0.2.1:8180/ | grep second"
	check "$1: has rules of its own" test "$(guard_rules | wc -l)" -gt "$(wc -l <<<"$own")"
	check "$1: beside it" equal "$(from 192.0.2.2 tcp 192.0.2.1 8080)" "$seen4"
	second rm -f web2 >/dev/null
	check "$1: its rules go" equal "$(guard_rules)" "$own"
	check "$1: and nobody else's" equal "$(from 192.0.2.2 tcp 192.0.2.1 8080)" "$seen4"
	kill $pid
	wait $pid || true
	check "$1: nor with its end" equal "$(from 2001:db8:2::2 udp 2001:db8:2::1 8080)" "$seen6"
	ip link del kedge7 || true
}

# Who may use a port, on whatever way.
sources() {
	local gw=172.30.0.1 four=192.0.2.2 six=2001:db8:2::2
	[ "$1" != proxy ] || four=$gw six=fd00:30::1
	for proto in tcp udp; do
		check "$2: $proto: on the list" equal "$(from 192.0.2.2 $proto 192.0.2.1 8093)" $four
		check "$2: $proto: on the list, IPv6" equal "$(from 2001:db8:2::2 $proto 2001:db8:2::1 8093)" $six
		check "$2: $proto: not on it" kept_out 192.0.2.3 $proto 192.0.2.1 8093
		check "$2: $proto: not on it, IPv6" kept_out 2001:db8:2::3 $proto 2001:db8:2::1 8093
		check "$2: $proto: another network's container" sh -c "! grep '[.:]' <<EOF
$(ASK_S=0.5 in_ctr far python3 "$tmp/who.py" $proto 192.0.2.1 8093 || true)
EOF"
		check "$2: $proto: the host, always" equal "$(ask $proto 127.0.0.1 8093)" $gw
	done
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
	check "$1: 2 MB" equal "$(from 192.0.2.2 tcp 192.0.2.1 8080 big)" 2000000
	check "$1: another client is refused, TCP" refused 192.0.2.3 tcp 192.0.2.1 8080
	check "$1: UDP" refused 192.0.2.3 udp 192.0.2.1 8080
	check "$1: over IPv6" refused 2001:db8:2::3 tcp 2001:db8:2::1 8080
	check "$1: by IPv6, UDP" refused 2001:db8:2::3 udp 2001:db8:2::1 8080
	check "$1: another network's container" equal "$(in_ctr far python3 "$tmp/who.py" tcp 192.0.2.1 8080)" "$far"
	check "$1: the host itself" equal "$(ask tcp 127.0.0.1 8080)" "$gw4"
	check "$1: the host itself over UDP" equal "$(ask udp 127.0.0.1 8080)" "$gw4"
	check "$1: the container itself" equal "$(in_ctr web python3 "$tmp/who.py" tcp 192.0.2.1 8080)" "$gw4"
	[ "$1" = proxy ] || check "$1: out of the container, as before" kedge exec web ping -c 1 -W 2 192.0.2.2
	check "$1: info says nothing of guarded ports" equal "$(kedge info -f '{{json .Warnings}}')" "[]"
	if [ "$1" != proxy ]; then
		beside_marks "$1"
		check "$1: a network made later" kedge network create --ipv6 --subnet 172.28.0.0/24 --subnet fd00:28::/64 later
		kedge run -d --name web3 --network later --label kedge.publish.policy=guarded -p 8150:80 busybox sleep 1000 >/dev/null
		serve web3 80
		check "$1: a guarded port there" equal "$(from 192.0.2.2 tcp 192.0.2.1 8150)" "$seen4"
		kedge rm -f web3 >/dev/null
		kedge network rm later >/dev/null
		# Programs that manage the host's network take away rules they do not know.
		rules=$(guard_rules)
		ip rule del priority 97
		ip -6 rule del priority 97
		check "$1: a rule that somebody removes comes back" until_ok 5 eval '[ "$(guard_rules)" = "$rules" ]'
		check "$1: and serves" equal "$(from 192.0.2.2 tcp 192.0.2.1 8080)" "$seen4"
		tables=$(guard_rules | sed 's/.*lookup //' | sort -u)
		# One engine's programs are on an interface at a time; tables of nftables are many.
		[ "$1" != nft ] || beside_another "$1"
	fi
	kedge run -d --name near -p 127.0.0.1:8091:80 busybox sleep 1000 >/dev/null
	kedge run -d --name some --label kedge.publish.sources=192.0.2.0/24 -p 8092:80 busybox sleep 1000 >/dev/null
	check "$1: nor of ports on loopback or for a list of sources" equal "$(kedge info -f '{{json .Warnings}}')" "[]"
	kedge run -d --name direct -p 8090:80 busybox sleep 1000 >/dev/null
	serve direct 80
	serve some 80
	if [ "$1" = proxy ]; then
		check "$1: all ports are behind the firewall" refused 192.0.2.3 tcp 192.0.2.1 8090
		check "$1: so info says nothing" equal "$(kedge info -f '{{json .Warnings}}')" "[]"
	else
		check "$1: a direct port is not behind the firewall" equal "$(from 192.0.2.3 tcp 192.0.2.1 8090)" 192.0.2.3
		check "$1: info warns of it" warned "drops what it does not know.*container direct"
		if docker_recent; then check "$1: docker shows it" has "$(docker -H "unix://$sock" info 2>&1)" "WARNING: the host's firewall"; fi
		check "$1: a source of the list" equal "$(from 192.0.2.3 tcp 192.0.2.1 8092)" 192.0.2.3
		check "$1: none of the list" refused 2001:db8:2::3 tcp 2001:db8:2::1 8092
		check "$1: none of the list, a container" sh -c "! ASK_S=0.5 nsenter --net=$run/netns/$(kedge inspect -f '{{.Id}}' far) python3 $tmp/who.py tcp 192.0.2.1 8092"
	fi
	# The firewall goes: what it has kept out comes in, and nothing else does.
	nft delete table inet firewall
	check "$1: info is silent again" equal "$(kedge info -f '{{json .Warnings}}')" "[]"
	nft flush ruleset
	[ "$1" != proxy ] || seen4=$gw4
	check "$1: without the firewall, the same client" equal "$(from 192.0.2.2 tcp 192.0.2.1 8080)" "$seen4"
	check "$1: and the other" from 192.0.2.3 tcp 192.0.2.1 8080
	check "$1: nothing unpublished" refused 192.0.2.3 tcp 192.0.2.1 81
	kedge run -d --name picky --network six --label kedge.publish.sources=192.0.2.2,2001:db8:2::2/128 -p 8093:80 -p 8093:80/udp busybox sleep 1000 >/dev/null
	serve picky 80
	sources "$1" "$1: sources"
	engine_kill9
	engine_start --datapath "$1"
	sources "$1" "$1: sources, the next engine"
	check "$1: the next engine" equal "$(from 192.0.2.2 tcp 192.0.2.1 8080)" "$seen4"
	stop_servers
	kedge rm -f web far near some direct picky >/dev/null
	kedge network rm six >/dev/null
	check "$1: no rule stays" equal "$(guard_rules)" ""
	check "$1: no route stays" equal "$(guard_routes)" ""
	[ "$1" = nft ] || check "$1: no table stays" status 1 nft list table inet "kedge-$id"
	engine_stop
}
for path in ${GUARDED_PATHS:-ebpf nft proxy}; do guarded "$path"; done
