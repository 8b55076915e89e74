#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Refusing early: XDP at an uplink. The uplink is a tap device, which runs it as a network card's driver does: before the kernel makes anything of a packet.
# shellcheck shell=bash source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
[ -c /dev/net/tun ] || skip "needs /dev/net/tun"
for p in ip bpftool; do command -v $p >/dev/null || skip "needs $p"; done

ip link del up0
# With its address go the neighbours it knows.
address() {
	ip link set "$1" address "$2"
	for i in 2 200; do ip neigh replace 198.51.100.$i lladdr 02:00:00:00:00:77 dev "$1"; done
}
tap() {
	ip tuntap add mode tap "$1"
	ip link set "$1" up
	ip addr add 198.51.100.1/24 dev "$1"
	address "$1" 02:00:00:00:00:01
}
cp "$(dirname "$0")/checksum.py" "$tmp/"
# The other side of the wire: "ETHERNET-DESTINATION VLAN SOURCE DESTINATION PORT" on standard input, a SYN that says so; one word for its answer on standard output.
cat >"$tmp/wire.py" <<'PY'
import fcntl, os, select, socket, struct, sys, time
from checksum import add, fold
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", sys.argv[1].encode(), 0x1002))
print("ready", flush=True)
sport = 20000
for line in sys.stdin:
    to, vlan, src, dst, port = line.split()
    a, b = socket.inet_aton(src), socket.inet_aton(dst)
    sport += 1
    t = struct.pack("!HHIIBBHHH", sport, int(port), 1, 0, 5 << 4, 2, 1000, 0, 0)
    t = t[:16] + struct.pack("!H", fold(add(a) + add(b) + 6 + len(t) + add(t))) + t[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(t), 1, 0, 64, 6, 0) + a + b
    ip = ip[:10] + struct.pack("!H", fold(add(ip))) + ip[12:]
    tag = b"" if vlan == "-" else struct.pack("!HH", 0x8100, int(vlan))
    os.write(tap, bytes.fromhex(to.replace(":", "")) + b"\2\0\0\0\0\x77" + tag + b"\x08\0" + ip + t)
    answer, end = "nothing", time.monotonic() + 0.7
    while answer == "nothing" and select.select([tap], [], [], max(0, end - time.monotonic()))[0]:
        f = os.read(tap, 2000)
        if f[12:14] == b"\x08\0" and f[23] == 6 and f[26:30] == b and f[30:34] == a and f[34:38] == struct.pack("!HH", int(port), sport):
            answer = "served" if f[47] == 0x12 else "reset"
    print(answer, flush=True)
PY
wire_pid=
wire_start() {
	coproc WIRE { exec python3 "$tmp/wire.py" "$1" 2>>"$tmp/wire"; }
	wire_pid=$WIRE_PID
	exec {to}>&"${WIRE[1]}" {from}<&"${WIRE[0]}"
	read -r -t 20 _ <&"$from" || { cat "$tmp/wire"; exit 1; }
}
wire_stop() {
	[ -n "$wire_pid" ] || return 0
	kill "$wire_pid" 2>/dev/null || true
	wait "$wire_pid" 2>/dev/null || true
	exec {to}>&- {from}<&-
	wire_pid=
}
trap 'wire_stop; finish' EXIT
# frame ETHERNET-DESTINATION VLAN SOURCE DESTINATION PORT
frame() { echo "$@" >&"$to"; read -r -t 20 word <&"$from" && echo "$word"; }
syn() { frame 02:00:00:00:00:01 - "$@"; }
# by_xdp REASON, by_any REASON: packets dropped for it so far.
count() { kedge net drops --format "{{.Reason}} {{.$1}}" | awk -v r="$2" '$1 == r { n = $2 } END { print n + 0 }'; }
by_xdp() { count XDP "$1"; }
by_any() { count Packets "$1"; }
program() { ip -d link show "$1" | sed -n 's/.*prog\/xdp id \([0-9]*\).*/\1/p'; }
hooks() { kedge info --format '{{json .DriverStatus}}'; }
web() {
	kedge run -d --name web --label kedge.publish.sources=198.51.100.0/25 -p 8080:80 busybox sh -c 'mkdir -p /www; exec httpd -f -p 80 -h /www' >/dev/null
	ip=$(kedge inspect -f '{{.NetworkSettings.IPAddress}}' web)
	until_ok 10 equal_syn
}
equal_syn() { equal "$(syn 198.51.100.2 198.51.100.1 8080)" served; }

tap tap0
wire_start tap0
engine_start --xdp=native
need_image busybox
[ "$(api http://localhost/kedge/net/counters | python3 -c 'import json,sys; print(json.load(sys.stdin)["Datapath"])')" = ebpf ] || skip "needs the eBPF data path"
web
check "a program in the driver" test -n "$(program tap0)"
check "info says so" has "$(hooks)" '["XDP","tap0"]'
check "who is on the list is served" equal_syn
before=$(by_xdp source-not-allowed)
kedge net drops -f -n 1 >"$tmp/drops" &
drops=$!
told() { syn 198.51.100.200 198.51.100.1 8080 >/dev/null && [ -s "$tmp/drops" ]; }
until_ok 10 told
wait $drops
check "a drop, its reason and hook" has "$(cat "$tmp/drops")" " source-not-allowed xdp/tap0 tcp 198.51.100.200:"
check "who is not gets nothing" equal "$(syn 198.51.100.200 198.51.100.1 8080)" nothing
check "by XDP" test "$(by_xdp source-not-allowed)" -gt "$before"
check "and by nobody else" equal "$(by_xdp source-not-allowed)" "$(by_any source-not-allowed)"
before=$(by_xdp unpublished)
check "a container's own address" equal "$(syn 198.51.100.2 "$ip" 80)" nothing
check "is refused there, too" equal "$(by_xdp unpublished)" $((before + 1))
check "the host's own ports are the host's" equal "$(syn 198.51.100.2 198.51.100.1 9)" reset
before=$(by_any source-not-allowed)
check "a frame for another" equal "$(frame 02:00:00:00:00:02 - 198.51.100.200 198.51.100.1 8080)" nothing
check "a frame with a tag" equal "$(frame 02:00:00:00:00:01 100 198.51.100.200 198.51.100.1 8080)" nothing
check "are not ours to drop" equal "$(by_any source-not-allowed)" "$before"
address tap0 02:00:00:00:00:03
moved() { frame 02:00:00:00:00:03 - 198.51.100.200 198.51.100.1 8080 >/dev/null; [ "$(by_xdp source-not-allowed)" -gt "$before" ]; }
check "the device's new address is followed" until_ok 10 moved
address tap0 02:00:00:00:00:01
check "and back" until_ok 10 equal_syn
check "its tables" has "$(kedge net maps xdp_ports)" '"Port":8080'
check "its devices" has "$(kedge net maps xdp_devices)" '"Interface":"tap0"'
check "a packet's way" has "$(kedge net trace --to web:80)" "arrives at tap0, XDP"
check "and its end" has "$(kedge net trace --to web:80)" "dropped: source-not-allowed"

# It outlives the engine and is replaced in place.
link=$(bpftool link show pinned "/sys/fs/bpf/kedge/$id/xdp_$(ip -o link show tap0 | cut -d: -f1)" | cut -d: -f1 | head -n 1)
old=$(program tap0)
engine_kill9
check "without an engine it is there" equal "$(program tap0)" "$old"
check "without an engine it serves" equal_syn
check "without an engine it refuses" equal "$(syn 198.51.100.200 198.51.100.1 8080)" nothing
engine_start --xdp=native
check "the next engine's program" test "$(program tap0)" != "$old"
check "by the same link" equal "$(bpftool link show pinned "/sys/fs/bpf/kedge/$id/xdp_$(ip -o link show tap0 | cut -d: -f1)" | cut -d: -f1 | head -n 1)" "$link"
before=$(by_xdp source-not-allowed)
check "it refuses" equal "$(syn 198.51.100.200 198.51.100.1 8080)" nothing
check "and counts" equal "$(by_xdp source-not-allowed)" $((before + 1))
check "it serves" equal_syn

# Where it is not wanted, tc does the same.
without() {
	check "$1: no program" equal "$(program tap0)" ""
	check "$1: no pin" sh -c "! ls /sys/fs/bpf/kedge/$id/xdp_[0-9]*"
	before=$(by_any source-not-allowed)
	check "$1: served" equal_syn
	check "$1: refused" equal "$(syn 198.51.100.200 198.51.100.1 8080)" nothing
	check "$1: by tc" equal "$(by_any source-not-allowed)" $((before + 1))
}
engine_stop
engine_start --xdp=off
without off
engine_stop
echo '{ "xdp": "auto" }' >"$tmp/daemon.json"
engine_start
without "a virtual device"
echo '{}' >"$tmp/daemon.json"
engine_stop

# Another's program stays, whatever happens.
printf '#include <linux/bpf.h>\n__attribute__((section("xdp"), used)) int another(struct xdp_md *c) { return XDP_PASS; }\n' >"$tmp/another.c"
if clang -target bpf -O2 -isystem "/usr/include/$(gcc -dumpmachine)" -c "$tmp/another.c" -o "$tmp/another.o" 2>/dev/null && ip link set dev tap0 xdpdrv object "$tmp/another.o" section xdp; then
	old=$(program tap0)
	engine_start --xdp=native
	check "another's program stays" equal "$(program tap0)" "$old"
	check "which is said" grep -q "no XDP at tap0: another program is there" "$tmp/kedged.log"
	before=$(by_any source-not-allowed)
	check "beside it, served" equal_syn
	check "beside it, refused" equal "$(syn 198.51.100.200 198.51.100.1 8080)" nothing
	check "beside it, by tc" equal "$(by_any source-not-allowed)" $((before + 1))
	engine_stop
	check "and after the engine" equal "$(program tap0)" "$old"
	ip link set dev tap0 xdpdrv off
fi

# The device goes and its pin with it.
engine_start --xdp=native
check "there again" test -n "$(program tap0)"
wire_stop
ip link del tap0
check "the pin goes with the device" until_ok 10 sh -c "! ls /sys/fs/bpf/kedge/$id/xdp_[0-9]*"
tap tap0
wire_start tap0
check "a new device is served" until_ok 10 equal_syn
check "and has the program" until_ok 10 test -n "$(program tap0)"
wire_stop
engine_kill9
ip link del tap0
engine_start --xdp=native
check "nor does one stay that went without us" sh -c "! ls /sys/fs/bpf/kedge/$id/xdp_[0-9]*"
engine_stop

refused() { timeout 20 "$builddir/kedged" --data-root "$data" --exec-root "$run" --instance "$id" --config-file "$tmp/daemon.json" "$@" 2>&1 | tail -n 1; }
check "no such choice" has "$(refused --xdp=sometimes)" "xdp 'sometimes' is none of auto, off, native"
check "another data path" has "$(refused --xdp=native --datapath=proxy)" "xdp 'native' needs the data path ebpf, and this is proxy"
engine_start
