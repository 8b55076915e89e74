# SPDX-License-Identifier: Apache-2.0
# Who reaches a published port, and with which address, on each data path; what nobody may reach.
# shellcheck shell=bash source-path=SCRIPTDIR
. "$(dirname "$0")/net_lib.sh"

matrix() {
	tool_start "$1"
	say open "$(id64 a1)" web bridge "tcp:*:8080:80" "udp:*:5353:53" "tcp:127.0.0.1:8081:80" "tcp:192.0.2.1:8082:80" "tcp:*:0:80" || { echo "$reply"; exit 1; }
	say open "$(id64 a2)" other bridge "tcp:*:8090:80" || { echo "$reply"; exit 1; }
	say open "$(id64 a3)" alone none
	local ip1 ip2 gw any
	ip1=$(field a1 IPAddress) ip2=$(field a2 IPAddress) gw=$(field a1 Gateway)
	any=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["Binds"][-1][2])' "$tmp/$(id64 a1).record")
	for c in a1 a2; do
		answer_server $c tcp 80
		answer_server $c udp 53
		answer_server $c tcp 81
	done
	answer_server client tcp 70
	answer_server client udp 71
	until_ok 10 listens a1 -t sport = :80
	until_ok 10 listens a2 -t sport = :80
	until_ok 10 listens a1 -u sport = :53

	# The data path keeps the sender's address; the proxy shows its own. nft leaves a network's own containers to the proxy.
	local seen seen2
	[ "$datapath" != proxy ] && seen=192.0.2.2 seen2=$ip2 || seen=$gw seen2=$gw
	[ "$datapath" != nft ] || seen2=$gw
	check "tcp from a client" equal "$(client_ask tcp 192.0.2.1 8080 hello)" "$seen hello"
	check "udp from a client" equal "$(client_ask udp 192.0.2.1 5353 hello)" "$seen hello"
	check "tcp to one address" equal "$(client_ask tcp 192.0.2.1 8082 hello)" "$seen hello"
	check "tcp to an ephemeral port" equal "$(client_ask tcp 192.0.2.1 "$any" hello)" "$seen hello"
	check "127.0.0.1 is not for the client" not client_ask tcp 192.0.2.1 8081
	check "the other container" equal "$(client_ask tcp 192.0.2.1 8090 hello)" "$seen hello"
	check "tcp from the host, 127.0.0.1" has "$(ask tcp 127.0.0.1 8080 hello)" " hello"
	check "tcp from the host, bound to 127.0.0.1" has "$(ask tcp 127.0.0.1 8081 hello)" " hello"
	check "tcp from the host, its address" has "$(ask tcp 192.0.2.1 8080 hello)" " hello"
	check "tcp from the host, ::1" has "$(ask tcp ::1 8080 hello)" " hello"
	check "udp from the host, 127.0.0.1" has "$(ask udp 127.0.0.1 5353 hello)" " hello"
	check "udp from the host, ::1" has "$(ask udp ::1 5353 hello)" " hello"
	check "tcp from the host, the container's own address" equal "$(ask tcp "$ip1" 80 hello)" "$gw hello"
	check "container to container" equal "$(ctr_ask a2 tcp "$ip1" 80 hello)" "$ip2 hello"
	check "container to the other's published port" equal "$(ctr_ask a2 tcp "$gw" 8080 hello)" "$seen2 hello"
	check "container to the other's published port on the host's address" equal "$(ctr_ask a2 tcp 192.0.2.1 8080 hello)" "$seen2 hello"
	check "container to its own published port" equal "$(ctr_ask a1 tcp 192.0.2.1 8080 hello)" "$gw hello"
	check "container to the other's udp port" equal "$(ctr_ask a2 udp 192.0.2.1 5353 hello)" "$seen2 hello"
	check "container to its own udp port" equal "$(ctr_ask a1 udp 192.0.2.1 5353 hello)" "$gw hello"
	check "a bare namespace has loopback only" equal "$(ctr a3 ip -o link | wc -l)" 1

	check "unpublished port on the host's address" not client_ask tcp 192.0.2.1 81
	client ip route add 172.16.0.0/12 via 192.0.2.1
	check "a neighbour that routes to the bridge: tcp" not client_ask tcp "$ip1" 80
	check "a neighbour that routes to the bridge: udp" not client_ask udp "$ip1" 53
	# Switches every interface; the engine puts its bridges right again.
	echo 1 >/proc/sys/net/ipv4/conf/all/forwarding
	until_ok 5 forwards kedge0
	check "the same on a host that forwards: tcp" not client_ask tcp "$ip1" 80
	check "the same on a host that forwards: udp" not client_ask udp "$ip1" 53
	echo 0 >/proc/sys/net/ipv4/conf/all/forwarding
	until_ok 5 forwards kedge0
	client ip route del 172.16.0.0/12
	if [ "$datapath" != proxy ]; then
		check "container to the client, masqueraded" equal "$(ctr_ask a1 tcp 192.0.2.2 70 hello)" "192.0.2.1 hello"
		check "the same over udp" equal "$(ctr_ask a1 udp 192.0.2.2 71 hello)" "192.0.2.1 hello"
		check "ping" ctr a1 ping -c1 -W2 192.0.2.2
	fi

	range_of_ports
	balanced

	local big=$tmp/big
	head -c 20000000 /dev/urandom >"$big"
	serve a2 "TCP-LISTEN:90,fork,reuseaddr" "OPEN:$big,rdonly"
	say open "$(id64 a4)" files bridge "tcp:*:8099:90" || echo "$reply"
	serve a4 "TCP-LISTEN:90,fork,reuseaddr" "OPEN:$big,rdonly"
	until_ok 10 listens a4 -t sport = :90
	for where in "client socat -u TCP:192.0.2.1:8099 -" "socat -u TCP:127.0.0.1:8099 -" "ctr a1 socat -u TCP:192.0.2.1:8099 -"; do
		check "20 MB, $where" equal "$($where | sha256sum)" "$(sha256sum <"$big")"
	done
	say close "$(id64 a4)"
	check "closed" not ask tcp 127.0.0.1 8099

	say open "$(id64 a5)" taken bridge "tcp:*:8080:80" || true
	check "port of another container" has "$reply" "driver failed programming external connectivity on endpoint taken ("
	check "port of another container, the reason" has "$reply" "): Bind for 0.0.0.0:8080 failed: port is already allocated"
	serve host TCP-LISTEN:9090,fork,reuseaddr SYSTEM:true
	until_ok 10 listens host -t sport = :9090
	say open "$(id64 a5)" taken bridge "tcp:*:9090:80" || true
	check "port of a process" has "$reply" "failed to bind host port for 0.0.0.0:9090:172."
	check "port of a process, the reason" has "$reply" "address already in use"
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	pids=()
	for c in a1 a2 a3; do check "close $c" say close "$(id64 $c)"; done
	until_ok 10 no_veths
	check "no interface stays" no_veths
	check "no namespace stays" equal "$(ls "$tmp/netns")" ""
	check "no port stays" has "$(say info; echo "$reply")" '"Ports":0'
	check "an orderly end" tool_stop
	ip link del kedge0
}
# One port, two containers. Each answers with its own words.
balanced() {
	local got
	serve a1 TCP-LISTEN:83,fork,reuseaddr SYSTEM:"cat >/dev/null; echo one"
	serve a2 TCP-LISTEN:84,fork,reuseaddr SYSTEM:"cat >/dev/null; echo two"
	until_ok 10 listens a1 -t sport = :83
	until_ok 10 listens a2 -t sport = :84
	say lb tcp 192.0.2.1 9500 10.9.9.9 83 1 || true
	check "a backend that is no container" has "$reply" "10.9.9.9 is no container's address"
	check "two backends" say lb tcp 192.0.2.1 9500 "$ip1" 83 1 "$ip2" 84 1
	got=$(for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do client_ask tcp 192.0.2.1 9500; done | sort -u | tr '\n' ' ')
	check "both serve" equal "$got" "one two "
	got=$(for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do ask tcp 192.0.2.1 9500; done | sort -u | tr '\n' ' ')
	check "both serve the host" equal "$got" "one two "
	got=$(for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do ctr_ask a2 tcp 192.0.2.1 9500; done | sort -u | tr '\n' ' ')
	check "both serve one of the two" equal "$got" "one two "
	check "one drains" say lb tcp 192.0.2.1 9500 "$ip1" 83 0 "$ip2" 84 1
	got=$(for _ in 1 2 3 4 5 6 7 8; do client_ask tcp 192.0.2.1 9500; done | sort -u | tr '\n' ' ')
	check "the other serves" equal "$got" "two "
	say lb tcp 192.0.2.1 9500
	check "and then nobody" not client_ask tcp 192.0.2.1 9500
}

# Five hundred ports: one socket where the data path keeps the others. The container has servers on some.
range_of_ports() {
	local fds seen=$seen bind="import socket, sys; s = socket.socket(); s.bind(('', int(sys.argv[1])))"
	fds=$(ls "/proc/$tool_pid/fd" | wc -l)
	serve host TCP-LISTEN:20777,fork,reuseaddr SYSTEM:true
	until_ok 10 listens host -t sport = :20777
	say open "$(id64 a7)" range bridge "tcp:*:20500+500:30500" || true
	check "a range with a port that a process has" has "$reply" "address already in use"
	check "the port's name" has "$reply" "0.0.0.0:20777:172."
	say open "$(id64 a7)" range bridge "tcp:*:20000+500:30000" "udp:*:20000+500:30000" || echo "$reply"
	[ "$datapath" != ebpf ] || check "few sockets for many ports" test $(($(ls "/proc/$tool_pid/fd" | wc -l) - fds)) -lt 20
	for p in 30000 30250 30499; do
		answer_server a7 tcp $p
		answer_server a7 udp $p
		until_ok 10 listens a7 -t sport = :$p
		until_ok 10 listens a7 -u sport = :$p
		check "a range: tcp to $p" equal "$(client_ask tcp 192.0.2.1 $((p - 10000)) hello)" "$seen hello"
		check "a range: udp to $p" equal "$(client_ask udp 192.0.2.1 $((p - 10000)) hello)" "$seen hello"
		check "a range: from the host to $p" has "$(ask tcp 127.0.0.1 $((p - 10000)) hello)" " hello"
		check "a range: over udp from the host to $p" has "$(ask udp 127.0.0.1 $((p - 10000)) hello)" " hello"
		check "a range: ::1 to $p" has "$(ask tcp ::1 $((p - 10000)) hello)" " hello"
		check "a range: the container itself to $p" equal "$(ctr_ask a7 tcp 192.0.2.1 $((p - 10000)) hello)" "$gw hello"
	done
	check "past the range" not client_ask tcp 192.0.2.1 20500
	check "a process does not get a port of the range" not python3 -c "$bind" 20250
	check "it gets the next one" python3 -c "$bind" 20500
	say open "$(id64 a8)" taken bridge "tcp:*:20250:80" || true
	check "a container does not get one either" has "$reply" "Bind for 0.0.0.0:20250 failed: port is already allocated"
	if [ "$datapath" = ebpf ]; then
		# Without a socket on each, the kernel gives ports of the range to the host's own connections.
		local local_range
		local_range=$(cat /proc/sys/net/ipv4/ip_local_port_range)
		echo "20100 20200" >/proc/sys/net/ipv4/ip_local_port_range
		check "the host's own connections from such ports" equal "$(ask tcp 192.0.2.2 70 hello)" "192.0.2.1 hello"
		check "and datagrams" equal "$(ask udp 192.0.2.2 71 hello)" "192.0.2.1 hello"
		echo "$local_range" >/proc/sys/net/ipv4/ip_local_port_range
	fi
	say close "$(id64 a7)"
	check "a closed range" not client_ask tcp 192.0.2.1 20250
	check "its ports are free again" python3 -c "$bind" 20250
}
client_ask() { client python3 "$tmp/ask" "$@"; }
ctr_ask() { local c=$1; shift; ctr "$c" python3 "$tmp/ask" "$@"; }
no_veths() { ! ip -o link | grep -q ' kv'; }

forwards() { equal "$(cat /proc/sys/net/ipv4/conf/"$1"/forwarding)" "$([ "$datapath" = proxy ]; echo $?)"; }

for path in ${MATRIX_PATHS:-proxy nft ebpf}; do matrix "$path"; done
