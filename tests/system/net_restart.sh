# SPDX-License-Identifier: Apache-2.0
# The engine's end, orderly or not, and what the next one finds.
# shellcheck shell=bash source-path=SCRIPTDIR
. "$(dirname "$0")/net_lib.sh"
no_veths() { ! ip -o link | grep -q ' kv'; }

# Ends what runs in the last container, it, and the engine; nothing is left for the next round.
leave() {
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	pids=()
	say close "$(id64 a1)"
	until_ok 10 no_veths
	tool_stop
	rm -f "$tmp"/*.record
	ip link del kedge0
}

restart() {
	tool_start "$1"
	say open "$(id64 a1)" web bridge "tcp:*:8080:80" "udp:*:5353:53" || { echo "$reply"; exit 1; }
	say open "$(id64 a2)" lost bridge "tcp:*:8090:80" || { echo "$reply"; exit 1; }
	say open "$(id64 a5)" range bridge "tcp:*:20000+100:30000" || { echo "$reply"; exit 1; }
	answer_server a5 tcp 30050
	until_ok 10 listens a5 -t sport = :30050
	answer_server a1 tcp 80
	answer_server a1 udp 53
	local big=$tmp/big
	head -c 60000000 /dev/urandom >"$big"
	serve a1 "TCP-LISTEN:90,fork,reuseaddr" "OPEN:$big,rdonly"
	until_ok 10 listens a1 -t sport = :80
	until_ok 10 listens a1 -t sport = :90
	local veth1 veth2
	veth1=$(field a1 HostVeth) veth2=$(field a2 HostVeth)

	if [ "$datapath" != proxy ]; then
		say open "$(id64 a3)" files bridge "tcp:*:8099:90" || echo "$reply"
		serve a3 "TCP-LISTEN:90,fork,reuseaddr" "OPEN:$big,rdonly"
		until_ok 10 listens a3 -t sport = :90
		# A download, slow enough to be in its middle at the kill.
		client sh -c "socat -u TCP:192.0.2.1:8099,rcvbuf=65536 - | { head -c 1000000; touch $tmp/half; read -r _ <$tmp/go; cat; } | sha256sum" >"$tmp/sum" &
		local download=$!
		mkfifo "$tmp/go"
		until_ok 10 test -e "$tmp/half"
	fi
	tool_kill9
	if [ "$datapath" != proxy ]; then
		check "new connections while no engine runs" equal "$(client python3 "$tmp/ask" tcp 192.0.2.1 8080 hello)" "192.0.2.2 hello"
		check "datagrams while no engine runs" equal "$(client python3 "$tmp/ask" udp 192.0.2.1 5353 hello)" "192.0.2.2 hello"
		echo go >"$tmp/go"
		wait $download
		check "the download went on" equal "$(cat "$tmp/sum")" "$(sha256sum <"$big")"
		rm -f "$tmp/go" "$tmp/half"
	fi
	[ "$datapath" != ebpf ] || bpftool map create "/sys/fs/bpf/kedge/$instance/v1_ct" type array key 4 value 4 entries 1 name of_old
	tool_start "$1"
	check "adopt" say adopt "$(id64 a1)"
	[ "$datapath" = proxy ] || check "adopt the other" say adopt "$(id64 a3)"
	check "adopt a range" say adopt "$(id64 a5)"
	check "adopt twice" not say adopt "$(id64 a1)"
	say gc
	check "a table of another version is gone" test ! -e "/sys/fs/bpf/kedge/$instance/v1_ct"
	check "the lost one's interface is gone" not ip link show "$veth2"
	check "the lost one's namespace is gone" test ! -e "$tmp/netns/$(id64 a2)"
	check "the kept one's is there" ip link show "$veth1"
	check "it answers" has "$(client python3 "$tmp/ask" tcp 192.0.2.1 8080 hello)" " hello"
	check "over udp too" has "$(client python3 "$tmp/ask" udp 192.0.2.1 5353 hello)" " hello"
	check "the range answers" has "$(client python3 "$tmp/ask" tcp 192.0.2.1 20050 hello)" " hello"
	check "the range answers on ::1" has "$(ask tcp ::1 20050 hello)" " hello"
	say close "$(id64 a5)"
	check "and from the host" has "$(ask tcp 127.0.0.1 8080 hello)" " hello"
	check "the lost one's port does not" not ask tcp 127.0.0.1 8090
	check "nor for the client" not client python3 "$tmp/ask" tcp 192.0.2.1 8090
	say open "$(id64 a4)" new bridge "tcp:*:8080:80" || true
	check "its port is taken" has "$reply" "port is already allocated"
	# Kills in the middle of opening and closing, again and again; then nothing is left.
	for i in 1 2 3 4 5 6 7 8; do
		echo "open $(id64 b$i) n$i bridge tcp:*:7000:80" >&"$to"
		[ $((i % 2)) = 0 ] || { read -r -t 60 reply <&"$from"; echo "close $(id64 b$i)" >&"$to"; }
		read -r -t "0.00$i" _ <> <(:) || true
		tool_kill9
		tool_start "$1"
		say adopt "$(id64 a1)" || { echo "$reply"; failures=$((failures + 1)); }
		say gc
	done
	check "one interface is left" equal "$(ip -o link | grep -c ' kv')" 1
	check "one namespace is left" equal "$(ls "$tmp/netns")" "$(id64 a1)"
	check "the container still answers" has "$(client python3 "$tmp/ask" tcp 192.0.2.1 8080 hello)" " hello"
	leave
}

filters() { tc filter show dev "$1" "$2" 2>/dev/null | grep -c kedge_ || true; }
# An engine that knows only filters of qdiscs, then one on a kernel with TCX (Linux 6.6): taken over, and out of reach of who flushes qdiscs.
hooks() {
	local veth
	KEDGE_FAULT=net.tcx:1:38 tool_start ebpf
	say open "$(id64 a1)" web bridge "tcp:*:8080:80"
	answer_server a1 tcp 80
	until_ok 10 listens a1 -t sport = :80
	veth=$(field a1 HostVeth)
	check "a filter at the uplink" equal "$(filters up0 ingress)" 1
	check "a filter at the container's interface" equal "$(filters "$veth" ingress)" 1
	check "it answers by filters" has "$(client python3 "$tmp/ask" tcp 192.0.2.1 8080 hello)" " hello"
	tool_kill9
	tool_start ebpf
	say adopt "$(id64 a1)"
	say gc
	check "taken over, it answers" has "$(client python3 "$tmp/ask" tcp 192.0.2.1 8080 hello)" " hello"
	if tail -n +2 "$tmp/log" | grep -q 'attached by TCX'; then
		check "no filter is left at up0" equal "$(filters up0 ingress)" 0
		tc qdisc del dev up0 clsact
		check "flushed at up0, it answers" has "$(client python3 "$tmp/ask" tcp 192.0.2.1 8080 hello)" " hello"
		check "flushed at up0, from the host too" has "$(ask tcp 127.0.0.1 8080 hello)" " hello"
		check "the container's interface keeps its filter" equal "$(filters "$veth" ingress)" 1
		check "flushed, what is not published is not reached" not client python3 "$tmp/ask" tcp "$(field a1 IPAddress)" 80
	else
		echo "SKIP: TCX (Linux 6.6)"
	fi
	leave
}

restart proxy
restart nft
restart ebpf
hooks
