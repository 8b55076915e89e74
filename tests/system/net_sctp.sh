# SPDX-License-Identifier: Apache-2.0
# SCTP as docker users see it: published, exposed, listed, refused with a sentence; an association over the engine's death, a replaced container, the
# lab's commands, and the checksum of what passes.
# shellcheck shell=bash source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
sctp=$builddir/tests/system/sctp_tool
[ -x "$sctp" ] || skip "needs libusrsctp"
command -v docker >/dev/null || skip "needs the docker client"
export DOCKER_HOST=unix://$sock
engine_start
[ "$(api http://localhost/kedge/net/counters | python3 -c 'import json,sys; print(json.load(sys.stdin)["Datapath"])')" = ebpf ] || skip "needs the eBPF data path"
need_image busybox
pids=()
cleanup() { for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; }
serve() {
	nsenter --net="$run/netns/$(docker inspect -f '{{.Id}}' "$1")" "$sctp" serve "$2" >"$tmp/serve.$1" 2>&1 </dev/null &
	pids+=($!)
	until_ok 20 grep -q ready "$tmp/serve.$1"
}
asked() { client "$sctp" ask 192.0.2.1 "$@"; }
silent() { ! ASK_S=1 client "$sctp" ask 192.0.2.1 "$@" 2>/dev/null; }
refused() { local want=$1; shift; has "$("$@" 2>&1 || true)" "$want"; }
run() { docker run -d "$@" busybox sleep 1000 >/dev/null; }

check "docker run -p 3868:13868/sctp" run --name web -p 3868:13868/sctp
serve web 13868
check "a client, with its own address" equal "$(asked 3868 hello)" "192.0.2.2 hello"
check "1,400 bytes, over the translated port" equal "$(asked 3868 "$(printf '%01400d' 7)" | wc -c)" 1410
check "docker port" equal "$(docker port web)" "$(printf '13868/sctp -> 0.0.0.0:3868\n13868/sctp -> [::]:3868')"
check "docker port web 13868/sctp" has "$(docker port web 13868/sctp)" 0.0.0.0:3868
check "kedge port" equal "$(kedge port web)" "$(docker port web)"
check "docker ps" equal "$(docker ps --format '{{.Ports}}')" "0.0.0.0:3868->13868/sctp, [::]:3868->13868/sctp"
check "kedge ps" equal "$(kedge ps --format '{{.Ports}}')" "$(docker ps --format '{{.Ports}}')"
check "inspect" equal "$(docker inspect -f '{{json (index .NetworkSettings.Ports "13868/sctp")}}' web)" \
	'[{"HostIp":"0.0.0.0","HostPort":"3868"},{"HostIp":"::","HostPort":"3868"}]'
check "the filter publish" equal "$(docker ps -q -f publish=3868/sctp | wc -l) $(docker ps -q -f publish=3868/tcp | wc -l)" "1 0"
check "the filter expose" equal "$(docker ps -q -f expose=13868/sctp | wc -l)" 1
check "another container does not get the port" refused "Bind for 0.0.0.0:3868 failed: port is already allocated" docker run -p 3868:1/sctp busybox true
check "the same number over tcp is another port" docker run --rm -p 3868:1 busybox true

check "an ephemeral port" run --name any -p 5000/sctp
port=$(docker port any 5000/sctp | head -1)
serve any 5000
check "leads to the container" equal "$(asked "${port##*:}" hi)" "192.0.2.2 hi"
check "a range, and another way to say it" run --name range -p 20000-20063:20000-20063/sctp --publish published=3900,target=3900,protocol=sctp
serve range 20031
check "one of the range" equal "$(asked 20031 hi)" "192.0.2.2 hi"
check "taken" refused "Bind for 0.0.0.0:20040 failed: port is already allocated" docker run -p 20040:1/sctp busybox true
printf 'FROM busybox\nEXPOSE 7000/sctp 7001\n' | docker build -q -t exposing - >/dev/null 2>&1 || { printf 'FROM busybox\nEXPOSE 7000/sctp 7001\n' >"$tmp/Dockerfile"; kedge build -q -t exposing "$tmp" >/dev/null; }
check "-P with EXPOSE 7000/sctp" docker run -d --name all -P exposing sleep 1000
check "gives it a port" has "$(docker port all)" "7000/sctp -> 0.0.0.0:"
check "--expose" docker run -d --name exposes --expose 7002/sctp busybox sleep 1000
check "shown by ps" has "$(docker ps -f name=exposes --format '{{.Ports}}')" "7002/sctp"

# Where the kernel has SCTP sockets, the engine relays these (sctp_kernel.sh).
if ! python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)' 2>/dev/null; then
	check "on 127.0.0.1" refused "port 80/sctp cannot be published on 127.0.0.1: clients on the host itself need the kernel's SCTP sockets, and it has none" \
		docker run -p 127.0.0.1:8081:80/sctp busybox true
	check "on ::1" refused "port 80/sctp cannot be published on ::1" docker run -p '[::1]:8081:80/sctp' busybox true
	check "IPv6 to a container without" refused "port 80/sctp cannot be published on an IPv6 address: the container has none" docker run -p '[::]:8081:80/sctp' busybox true
	check "guarded" refused "port 80/sctp cannot be published by way of the host's firewall (guarded)" docker run --label kedge.publish.policy=guarded -p 8081:80/sctp busybox true
fi
check "another word" refused "invalid proto" kedge run -p 8081:80/dccp busybox true
check "a list of sources" run --name picky --label kedge.publish.sources=192.0.2.9 -p 8082:80/sctp
serve picky 80
check "keeps others out" silent 8082

# One association, before and after the engine is gone.
mkfifo "$tmp/lines"
client "$sctp" hold 192.0.2.1 3868 first <"$tmp/lines" >"$tmp/held" 2>"$tmp/held.err" &
pids+=($!)
exec {lines}>"$tmp/lines"
until_ok 20 grep -q first "$tmp/held"
check "flows show it" has "$(kedge net flows --format '{{.Proto}} {{.State}} {{.Host}} {{.Container}}' web)" "sctp established 192.0.2.1:3868 $(docker inspect -f '{{.NetworkSettings.IPAddress}}' web):13868"
engine_kill9
echo second >&"$lines"
check "it goes on without the engine" until_ok 20 grep -q "192.0.2.2 second" "$tmp/held"
engine_start
echo third >&"$lines"
check "and with the next one" until_ok 20 grep -q "192.0.2.2 third" "$tmp/held"
check "new ones too" equal "$(asked 3868 hello)" "192.0.2.2 hello"
echo end >&"$lines"	# the engine has inherited the pipe, it does not close
check "it ends" until_ok 20 sh -c "! kill -0 ${pids[-1]} 2>/dev/null"
check "which flows show" until_ok 20 sh -c "'$builddir/kedge' -H 'unix://$sock' net flows --format '{{.Proto}} {{.State}}' web | grep -q 'sctp closing'"

check "trace" has "$(kedge net trace --sctp --to web:3868 2>&1; kedge net trace --sctp --to 192.0.2.1:3868 2>&1)" "sctp"
check "trace tells the way" has "$(kedge net trace --sctp --to 192.0.2.1:3868)" ":13868 sctp"
check "maps" has "$(kedge net maps published)" sctp

# What the lab's commands see of it, the same on each data path that carries it: the chunks of a capture and their directions, drops.
cat >"$tmp/chunks.py" <<'PY'
import struct, sys
d = open(sys.argv[1], "rb").read()
names = {0: "DATA", 1: "INIT", 2: "INIT_ACK", 3: "SACK", 6: "ABORT", 7: "SHUTDOWN", 8: "SHUTDOWN_ACK", 10: "COOKIE_ECHO", 11: "COOKIE_ACK", 14: "SHUTDOWN_COMPLETE"}
at, seen = 0, []
while at < len(d):
    kind, size = struct.unpack_from("=II", d, at)
    if kind == 6:
        cap, = struct.unpack_from("=I", d, at + 20)
        p, o, way = d[at + 28:at + 28 + cap], at + 28 + (cap + 3) // 4 * 4, 0
        while o < at + size - 4:
            code, length = struct.unpack_from("=HH", d, o)
            if code == 2:
                way = struct.unpack_from("=I", d, o + 4)[0] & 3
            if code == 0:
                break
            o += 4 + (length + 3) // 4 * 4
        if p[12:14] == b"\x08\x00" and p[23] == 132:
            l4 = 14 + (p[14] & 15) * 4
            to_web = way == 1
            seen.append("%s:%s:%d" % ("in" if to_web else "out", names.get(p[l4 + 12], "other"), struct.unpack_from("!H", p, l4 + 2 * to_web)[0]))
    at += size
want = ["in:INIT:13868", "out:INIT_ACK:13868", "in:COOKIE_ECHO:13868", "out:COOKIE_ACK:13868"]
print(" ".join(w for w in want if w in seen), seen[:4] == want)
PY
lab() {
	local dp=$1 capture direct
	rm -f "$tmp/web.pcapng"
	"$builddir/kedge" -H "unix://$sock" net capture web -w "$tmp/web.pcapng" &
	capture=$!
	until_ok 10 test -s "$tmp/web.pcapng"
	check "$dp: captured: a client" equal "$(asked 3868 hello)" "192.0.2.2 hello"
	check "$dp: flows" has "$(kedge net flows --format '{{.Proto}} {{.State}} {{.Peer}} {{.Host}}' web)" "sctp closing 192.0.2.2:"
	until_ok 10 sh -c '[ "$(python3 "$1" "$2" | wc -w)" = 5 ]' _ "$tmp/chunks.py" "$tmp/web.pcapng" || true
	kill -INT $capture
	check "$dp: the capture ends" wait $capture
	check "$dp: a capture has the association's beginning, both directions, inside the translation" equal "$(python3 "$tmp/chunks.py" "$tmp/web.pcapng")" \
		"in:INIT:13868 out:INIT_ACK:13868 in:COOKIE_ECHO:13868 out:COOKIE_ACK:13868 True"
	"$builddir/kedge" -H "unix://$sock" net drops -f -n 1 >"$tmp/drops" 2>&1 &
	pids+=($!)
	client ip route add 172.17.0.0/16 via 192.0.2.1
	direct=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' web)
	check "$dp: a neighbour that routes to the bridge gets nothing" sh -c "! ASK_S=3 nsenter --net=/run/netns/client '$sctp' ask $direct 13868 2>/dev/null"
	check "$dp: and is told of" until_ok 5 grep -q "sctp.*INIT" "$tmp/drops"
	client ip route del 172.17.0.0/16
}
lab ebpf

check "the container goes" docker rm -f web
check "its port is silent" silent 3868
check "and free again" run --name web2 -p 3868:13868/sctp
serve web2 13868
check "for the next one" equal "$(asked 3868 hello)" "192.0.2.2 hello"

if command -v nft >/dev/null; then
	docker rm -f web2 any range all exposes picky >/dev/null
	check "an orderly end" engine_stop
	engine_start --datapath=nft
	run --name web -p 3868:13868/sctp
	serve web 13868
	mkfifo "$tmp/more"
	client "$sctp" hold 192.0.2.1 3868 first <"$tmp/more" >"$tmp/held2" 2>&1 &
	pids+=($!)
	exec {lines}>"$tmp/more"
	until_ok 20 grep -q first "$tmp/held2"
	check "nft: flows show it" has "$(kedge net flows --format '{{.Proto}} {{.State}} {{.Host}} {{.Container}}' web)" "sctp established 192.0.2.1:3868 $(docker inspect -f '{{.NetworkSettings.IPAddress}}' web):13868"
	echo end >&"$lines"
	until_ok 20 sh -c "! kill -0 ${pids[-1]} 2>/dev/null"
	lab nft
	check "nft: trace is refused by name" has "$(kedge net trace --sctp --to web:3868 2>&1 || true)" "nft"
fi
