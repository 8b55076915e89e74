#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The data path by nftables when somebody flushes or alters all the host's rules, its own among them: with a table that has an owner (Linux 6.9), and with
# one that has none and is put back. And how many dropped packets are told one by one.
. "$(dirname "$0")/lib.sh"
command -v nft >/dev/null || skip "needs nft"
table=kedge-$id
httpd='mkdir /w; echo served >/w/index.html; exec httpd -f -v -h /w'
client ip route add 172.16.0.0/12 via 192.0.2.1

# Everything the engine has put there: rules and elements, without handles, counts and whose it is, in an order of its own.
listed() { nft list table inet "$table" | sed 's/packets [0-9]* bytes [0-9]*//; s/^\(table.*{\).*/\1/; /flags owner/d' | tr -s ' \t\n,' '\n' | sort; }
same() { [ "$(listed)" = "$whole" ]; }
there() { nft list table inet "$table"; }
served() { [ "$(client curl -fsS --max-time 2 http://192.0.2.1:8080/)" = served ]; }
seen() { "$builddir/kedge" -H "unix://$sock" logs web 2>&1 | grep -c '192.0.2.2.*200'; }
# The server sees the client's own address: that is the rules' doing, the proxy would show the bridge's.
direct() { local was; was=$(seen); served && until_ok 5 eval '[ "$(seen)" -gt '"$was"' ]'; }
unpublished() { ! client curl -sS --max-time 0.3 "http://$(kedge inspect -f '{{.NetworkSettings.IPAddress}}' other)/"; }

containers() {
	need_image busybox
	kedge run -d --name web -p 8080:80 -p 9000:90 busybox sh -c "$httpd" >/dev/null
	kedge run -d --name other busybox sh -c "$httpd" >/dev/null
	kedge network create --internal inside >/dev/null
	until_ok 5 served
	until_ok 5 kedge exec other nc -w 1 127.0.0.1 80
	whole=$(listed)
}

# --- a table of the engine's, which nobody else can alter ---
owned() {
	local before
	before=$(nft -a list table inet "$table" | sed -n '1s/.*handle //p')
	nft flush ruleset
	check "owned: a flush passes the table by" same
	check "owned: it is the very same one" equal "$(nft -a list table inet "$table" | sed -n '1s/.*handle //p')" "$before"
	check "owned: published" direct
	check "owned: nobody else removes it" status 1 nft delete table inet "$table"
	check "owned: nor alters it" status 1 nft add rule inet "$table" forward accept
	check "owned: a second engine of the instance is told" has "$(timeout 20 "$builddir/kedged" --data-root "$tmp/2" --exec-root "$tmp/2" --instance "$id" --datapath nft \
		--config-file "$tmp/daemon.json" 2>&1 || true)" "is another process's: another engine of this instance?"
	check "owned: which alters nothing" same
}

# --- one that somebody can remove: put back ---
restored() {
	check "$1: all of it is there again" until_ok 10 same
	check "$1: published" direct
	check "$1: what is not published is not reachable" unpublished
	check "$1: out of the container, masqueraded" kedge exec web ping -c 1 -W 2 192.0.2.2
}
unowned() {
	local dropped n
	check "nobody owns this one" status 1 grep owner <<<"$(nft list table inet "$table")"
	client curl -sS --max-time 0.3 "http://$(kedge inspect -f '{{.NetworkSettings.IPAddress}}' other)/" >/dev/null 2>&1 || true
	api http://localhost/kedge/net/counters >/dev/null		# read now, they are not lost
	dropped=$(nft list counter inet "$table" unpublished | sed -n 's/.*packets \([0-9]*\).*/\1/p')
	nft flush ruleset
	restored "flush ruleset"
	check "the counters go on" test "$dropped" -ge 1 -a "$(nft list counter inet "$table" unpublished | sed -n 's/.*packets \([0-9]*\).*/\1/p')" -ge "$dropped"
	check "told once, by name" grep -q "the table $table was removed or altered by somebody; put it back" "$tmp/kedged.log"
	nft -f - <<-'NFT'
	flush ruleset
	table inet firewalld {
		chain input { type filter hook input priority 10; policy accept; }
	}
	NFT
	restored "a firewall's reload"
	check "the firewall's rules are left alone" nft list chain inet firewalld input
	nft delete table inet firewalld
	nft delete table inet "$table"
	restored "the table removed"
	nft flush chain inet "$table" forward
	restored "a chain emptied"
	nft insert rule inet "$table" forward accept
	restored "a rule too many"
	nft delete rule inet "$table" forward handle "$(nft -a list chain inet "$table" forward | sed -n 's/.*# handle //p' | tail -n 1)"
	restored "a rule less"
	nft flush set inet "$table" bridges
	restored "a set emptied"
	nft flush map inet "$table" any4
	restored "the published ports emptied"
	# While that goes on, what the engine is asked for succeeds.
	for n in 1 2 3 4 5; do
		nft flush ruleset
		check "a container with a port, beside a flush" kedge run -d --name "n$n" -p "81$n:80" busybox sleep 1000
	done
	kedge rm -f n1 n2 n3 n4 n5 >/dev/null
	restored "flushes beside starts"
	# Our own changes are no news: nothing is put back for them.
	n=$(grep -c "put it back" "$tmp/kedged.log" || true)
	kedge run -d --name more -p 8200-8299:80-179 busybox sleep 1000 >/dev/null
	kedge rm -f more >/dev/null
	check "own changes are not undone" equal "$(grep -c "put it back" "$tmp/kedged.log" || true)" "$n"
	check "and none is left" until_ok 5 same
	# Somebody who removes it all the time is not fought without end.
	for n in $(seq 40); do nft flush ruleset; done
	check "again and again: it says so" until_ok 5 grep -q "again and again" "$tmp/kedged.log"
	restored "after that"
}

# A datagram to a port nobody has published, to the container's own address: dropped, each of them.
flood() {
	client python3 - "$(kedge inspect -f '{{.NetworkSettings.IPAddress}}' other)" "$1" "${2:-7}" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(int(sys.argv[2])): s.sendto(b"x", (sys.argv[1], int(sys.argv[3])))
PY
}
drops() {
	local before after told follower
	counted() { nft list counter inet "$table" unpublished | sed -n 's/.*packets \([0-9]*\).*/\1/p'; }
	"$builddir/kedge" -H "unix://$sock" net drops -f --format json >"$tmp/drops" &
	follower=$!
	# They are told in order: one to a port of its own that is told is behind all that were sent before.
	one_told() { flood 1 "$1"; grep -q "\"DestinationPort\":$1\b" "$tmp/drops"; }
	check "drops: one is told" until_ok 10 one_told 7
	flood 1 8
	until_ok 10 grep -q '"DestinationPort":8\b' "$tmp/drops"
	before=$(counted)
	told=$(wc -l <"$tmp/drops")
	flood 20000
	after=$(counted)
	check "drops: all are counted" equal "$((after - before))" 20000
	check "drops: one behind them is told" until_ok 10 one_told 9
	# What the limit left out is said with a later one, when it has been looked at.
	all_told() { flood 1; [ "$(python3 -c '
import json, sys
print(sum(1 + json.loads(l)["Suppressed"] for l in list(open(sys.argv[1]))[int(sys.argv[2]):]))' "$tmp/drops" "$told")" = "$(($(counted) - before))" ]; }
	check "drops: those told and those suppressed are all" until_ok 10 all_told
	check "drops: 1,000 a second at most are told" test "$(($(wc -l <"$tmp/drops") - told))" -le 3000
	kill $follower
	wait $follower || true
}

engine_start --datapath nft
containers
if grep -q owner <<<"$(nft list table inet "$table")"; then owned; else echo "# this kernel's tables have no owner that they outlive"; fi
drops
engine_stop
check "without the engine the table stays" there
nft delete table inet "$table"
# One that another version has left, say: it has no owner and gets none.
nft add table inet "$table"
engine_start --datapath nft
until_ok 5 served
whole=$(listed)
unowned
drops
kedge rm -f web other >/dev/null
