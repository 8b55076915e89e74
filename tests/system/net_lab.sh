# SPDX-License-Identifier: Apache-2.0
# Looking into the data path: flows, drops, tables.
# shellcheck shell=bash source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
engine_start --metrics-addr 127.0.0.1:9323
need_image busybox
[ "$(api http://localhost/kedge/net/counters | python3 -c 'import json,sys; print(json.load(sys.stdin)["Datapath"])')" = ebpf ] || skip "needs the eBPF data path"

kedge run -d --name web -p 8080:80 busybox sh -c 'mkdir -p /www; echo hello >/www/index.html; exec httpd -f -p 80 -h /www' >/dev/null
kedge run -d --name other busybox sleep 1000 >/dev/null
ip=$(kedge inspect -f '{{.NetworkSettings.IPAddress}}' web)
until_ok 10 client curl -sf http://192.0.2.1:8080/
check "the page" equal "$(client curl -s http://192.0.2.1:8080/)" hello

# flows
check "a flow with both its ends" has "$(kedge net flows web)" "$ip:80"
check "its kind" has "$(kedge net flows web)" "published"
check "its columns" has "$(kedge net flows | head -n 1)" "CONTAINER   PROTO     KIND "
check "in JSON" equal "$(kedge net flows --format '{{.Name}} {{.Proto}} {{.Host}}' web | sort -u)" "web tcp 192.0.2.1:8080"
check "another container has none" equal "$(kedge net flows --format json other)" ""
check "no such container" has "$(kedge net flows nobody 2>&1)" "No such container: nobody"
bytes=$(api http://localhost/kedge/net/flows | python3 -c 'import json,sys; print(max(f["OutBytes"] for f in json.load(sys.stdin)))')
check "bytes are counted" test "$bytes" -gt 100

# Clients on this host call on containers, which are no loopback addresses to the kernel: their ports are free again as soon.
if ls /sys/fs/bpf/kedge/*/link_kedge_connect4 >/dev/null 2>&1; then
	check "ports are used again" equal "$(cat /proc/sys/net/ipv4/tcp_tw_reuse)" 1
fi

# drops
client ip route add 172.16.0.0/12 via 192.0.2.1
kedge net drops -f -n 1 >"$tmp/drops" &
drops=$!
kedge net drops -f -n 1 --format json web >"$tmp/drops.json" &
drops2=$!
# They listen when the engine has them; packets come until one is told.
send() { client python3 -c 'import socket, sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (sys.argv[1], 99))' "$ip"; }
told() { send; [ -s "$tmp/drops" ] && [ -s "$tmp/drops.json" ]; }
until_ok 10 told
wait $drops $drops2
check "a drop, its reason and hook" has "$(cat "$tmp/drops")" " unpublished uplink/up0 udp 192.0.2.2:"
check "where it went" has "$(cat "$tmp/drops")" " > $ip:99 len "
check "whose it was" has "$(cat "$tmp/drops")" "(web)"
check "in JSON too" equal "$(python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); print(d["Reason"], d["Name"], d["DestinationPort"])' "$tmp/drops.json")" "unpublished web 99"
check "the counters" has "$(kedge net drops)" "unpublished"
check "the counters are of the host" has "$(kedge net drops web 2>&1)" "the counters are of the whole host"

# tables
check "the tables" has "$(kedge net maps)" "published"
check "a published port, decoded" has "$(kedge net maps published)" "\"Port\":8080,\"Proto\":\"tcp\",\"Container\":\"$ip\",\"ContainerPort\":80"
check "an endpoint" has "$(kedge net maps endpoints)" "\"Address\":\"$ip\""
check "no such table" has "$(kedge net maps nothing 2>&1)" "there is no table 'nothing'"

# capture
cat >"$tmp/pcap.py" <<'PY'
import struct, sys
d = open(sys.argv[1], "rb").read()
at, n, dirs, stats, ports = 0, 0, set(), None, set()
while at < len(d):
    kind, size = struct.unpack_from("=II", d, at)
    assert struct.unpack_from("=I", d, at + size - 4)[0] == size, "lengths differ"
    if at == 0:
        assert kind == 0x0a0d0d0a
    if kind == 6:
        cap, = struct.unpack_from("=I", d, at + 20)
        pkt = d[at + 28:at + 28 + cap]
        opt = at + 28 + (cap + 3) // 4 * 4
        code, length, flags = struct.unpack_from("=HHI", d, opt)
        assert (code, length) == (2, 4)
        n += 1
        dirs.add(flags)
        if pkt[12:14] == b"\x08\x00" and pkt[23] == 6:
            ports.add(struct.unpack_from("!H", pkt, 36)[0])
    at += size
print(n, sorted(dirs), 80 in ports and 8080 not in ports)
PY
kedge net capture web -c 6 -w "$tmp/web.pcapng" &
capture=$!
captured() { client curl -s http://192.0.2.1:8080/ >/dev/null; ! kill -0 $capture 2>/dev/null; }
until_ok 10 captured
check "the capture ends" wait $capture
check "packets, both directions, inside the translation" equal "$(python3 "$tmp/pcap.py" "$tmp/web.pcapng")" "6 [1, 2] True"
"$builddir/kedge" -H "unix://$sock" net capture web >"$tmp/pipe.pcapng" &
capture=$!
captured() { client curl -s http://192.0.2.1:8080/ >/dev/null; [ "$(stat -c %s "$tmp/pipe.pcapng")" -gt 1000 ]; }
until_ok 10 captured
kill -INT $capture
check "interrupted, it ends in order" wait $capture
check "the file is whole" has "$(python3 "$tmp/pcap.py" "$tmp/pipe.pcapng")" "[1, 2] True"
kedge stop -t 0 other >/dev/null
check "a container that does not run" has "$(kedge net capture other 2>&1 | cat)" "container other cannot be captured"
kedge start other >/dev/null

# trace
story=$(kedge net trace --to web:80 --from 192.0.2.2)
check "the way of a packet" has "$story" "192.0.2.2:12345 > 192.0.2.1:8080 tcp"
check "into the container" has "$story" "192.0.2.2:12345 > $ip:80 tcp"
check "its answer" has "$story" "192.0.2.1:8080 > 192.0.2.2:12345 tcp"
check "its end" equal "$(tail -n 1 <<<"$story")" delivered
check "a trace leaves no flow" equal "$(kedge net flows --format '{{.Peer}}' | grep -c :12345)" 0
check "a port that is not published" has "$(kedge net trace --to web:81 | cat)" "dropped: unpublished"
check "is told by the exit code too" status 1 kedge net trace --to web:81
check "out of a container" has "$(kedge net trace --from other --to 192.0.2.2:70 --udp)" "192.0.2.1:12345 > 192.0.2.2:70 udp"
check "in JSON" equal "$(kedge net trace --to web:80 --from 192.0.2.2 --format json | python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["Result"], len(d["Steps"]) > 4)')" "delivered True"
check "what is no port" has "$(kedge net trace --to web 2>&1 | cat)" "'web' is not a container or an address with a port"

# own programs
if command -v clang >/dev/null; then
	lab() { clang -target bpf -O2 -g -isystem "/usr/include/$(gcc -dumpmachine)" -c "$srcdir_top/examples/net/$1.bpf.c" -o "$tmp/$1.o"; }
	lab drop_port && lab xdp_count && lab endless
	check "a tc program" has "$(kedge net attach web ingress "$tmp/drop_port.o")" "tc program drop_port (id "
	check "it does what it says" status 28 client curl -s --max-time 1 http://192.0.2.1:8080/
	check "another in its place" has "$(kedge net attach web ingress "$tmp/drop_port.o" --program pass --format json)" '"Program":"pass"'
	check "that lets it pass" equal "$(client curl -s http://192.0.2.1:8080/)" hello
	check "an XDP program" has "$(kedge net attach web ingress "$tmp/xdp_count.o")" "xdp program xdp_count (id "
	check "with it" equal "$(client curl -s http://192.0.2.1:8080/)" hello
	check "not at egress" has "$(kedge net attach web egress "$tmp/xdp_count.o" 2>&1 | cat)" "can be attached at ingress only"
	check "detached" kedge net detach web ingress
	check "once" has "$(kedge net detach web ingress 2>&1 | cat)" "nothing is attached to eth0 at ingress"
	check "what the verifier refuses, with its words" has "$(kedge net attach web ingress "$tmp/endless.o" 2>&1 | cat)" "infinite loop"
	check "the sentence" has "$(kedge net attach web ingress "$tmp/endless.o" 2>&1 | tail -n 1)" "the kernel does not take the program 'endless'"
	check "no object" has "$(kedge net attach web ingress "$tmp/pcap.py" 2>&1 | cat)" "not an object file with BPF programs"
	check "no such program" has "$(kedge net attach web ingress "$tmp/drop_port.o" -p nothing 2>&1 | cat)" "there is no program 'nothing'"
fi

# metrics
check "metrics" has "$(curl -s http://127.0.0.1:9323/metrics)" 'engine_daemon_container_states_containers{state="running"} 2'
check "names among them" has "$(curl -s http://127.0.0.1:9323/metrics)" 'kedge_dns_queries_total '
check "drops among them" has "$(curl -s http://127.0.0.1:9323/metrics)" 'kedge_net_drops_total{reason="unpublished"} '
check "nothing else there" equal "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9323/v1.50/containers/json)" 404
