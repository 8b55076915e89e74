#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Floods, bounded ones: SYNs from made-up senders to a published port leave established connections alone, and dropped packets by the thousand
# are counted and not all told.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
[ "$(api http://localhost/kedge/net/counters | python3 -c 'import json,sys; print(json.load(sys.stdin)["Datapath"])')" = ebpf ] || skip "needs the eBPF data path"

# A connection each way: the client's to a published port, a container's to the client. Each says its word again when it is told to.
cat >"$tmp/echo.py" <<'PY'
import socket, threading
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("192.0.2.2", 7000)); s.listen(5)
def one(c):
    while (b := c.recv(100)):
        c.sendall(b)
while True:
    threading.Thread(target=one, args=(s.accept()[0],), daemon=True).start()
PY
nsenter --net=/run/netns/client python3 "$tmp/echo.py" >/dev/null 2>&1 </dev/null &
echo_pid=$!
cleanup() { kill $echo_pid $in_pid 2>/dev/null || true; }
in_pid=
until_ok 10 sh -c 'nsenter --net=/run/netns/client ss -Hltn "sport = :7000" | grep -q .'
kedge run -d --name web -p 8080:80 busybox sh -c 'while true; do nc -l -p 80 -e cat; done' >/dev/null
kedge run -d --name out busybox sh -c 'mkfifo /words; nc 192.0.2.2 7000 </words >/answers & exec 3>/words; echo first >&3; sleep 1000' >/dev/null
until_ok 10 kedge exec out grep -q first /answers
cat >"$tmp/in.py" <<'PY'
import os, socket, sys, time
for _ in range(100):
    try:
        s = socket.create_connection(("192.0.2.1", 8080), 5)
        break
    except OSError:
        time.sleep(0.05)
s.settimeout(5)
for word in sys.stdin:
    s.sendall(word.encode())
    got = b""
    while not got.endswith(b"\n"):
        got += s.recv(100) or exit(1)
    print(got.decode(), end="", flush=True)
PY
mkfifo "$tmp/words"
nsenter --net=/run/netns/client python3 "$tmp/in.py" <"$tmp/words" >"$tmp/answers" 2>&1 &
in_pid=$!
exec 5>"$tmp/words"
echo first >&5
until_ok 10 grep -q first "$tmp/answers"

# As many as the table of flows has places, each from another address: 11.0.0.0/8, on a wire of our own.
cp "$(dirname "$0")/checksum.py" "$tmp/"
cat >"$tmp/flood.py" <<'PY'
import socket, struct, sys
from checksum import add, fold
count, kind, dst, port = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
mac = s.getsockname()[4]
far = bytes.fromhex(sys.argv[5].replace(":", ""))
l4 = struct.pack("!HHIIBBHHH", 1024, port, 1, 0, 5 << 4, 2, 1000, 0, 0) if kind == "syn" else struct.pack("!HHHH", 1024, port, 10, 0) + b"xx"
proto = 6 if kind == "syn" else 17
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(l4), 1, 0, 64, proto, 0, bytes(4), socket.inet_aton(dst))
ip_sum, l4_sum = add(ip), add(l4) + add(socket.inet_aton(dst)) + proto + len(l4)
for i in range(count):
    src = struct.pack("!I", 0x0b000001 + i) if kind == "syn" else socket.inet_aton("192.0.2.2")
    a = add(src)
    h = ip[:10] + struct.pack("!H", fold(ip_sum + a)) + src + ip[16:]
    t = l4[:16] + struct.pack("!H", fold(l4_sum + a)) + l4[18:] if kind == "syn" else l4
    s.send(far + mac + b"\x08\0" + h + t)
PY
flood() { client python3 "$tmp/flood.py" "$@" "$(ip -br link show up0 | awk '{ print $3 }')"; }
check "SYNs by the thousand" flood 70000 syn 192.0.2.1 8080
flows() { api http://localhost/kedge/net/flows | python3 -c 'import json,sys; print(len(json.load(sys.stdin)))'; }
check "they are flows, and not more than there is room for" sh -c "n=$(flows); [ \$n -gt 1000 ] && [ \$n -lt 9000 ]"
echo second >&5
check "the connection to a published port is alive" until_ok 5 grep -q second "$tmp/answers"
kedge exec out sh -c 'echo second >/words'
check "a container's own connection is alive" until_ok 5 kedge exec out grep -q second /answers
check "it is the same flow" has "$(kedge net flows --format '{{.Name}} {{.Kind}} {{.State}}' out)" "out outgoing established"
exec 5>&-
check "new ones are taken" until_ok 10 client sh -c '[ "$(echo third | timeout 3 nc -N 192.0.2.1 8080)" = third ]'

# Drops: all counted, some told, with how many were not.
ip=$(kedge inspect -f '{{.NetworkSettings.IPAddress}}' web)
kedge net drops -f --format json >"$tmp/drops" &
drops=$!
told() { flood 1 udp "$ip" 99 && [ -s "$tmp/drops" ]; }
until_ok 10 told
before=$(kedge net drops --format '{{.Reason}} {{.Packets}}' | sed -n 's/^unpublished //p')
flood 30000 udp "$ip" 99
check "the engine answers" equal "$(timeout 5 curl -sS --unix-socket "$sock" http://localhost/_ping)" OK
after=$(kedge net drops --format '{{.Reason}} {{.Packets}}' | sed -n 's/^unpublished //p')
check "all are counted" equal $((after - before)) 30000
# The next second's first one says it.
said() { flood 1 udp "$ip" 99 && grep -q '"Suppressed":[1-9]' "$tmp/drops"; }
check "what was not told is said" until_ok 10 said
kill $drops
wait $drops 2>/dev/null || true
check "not all were told" test "$(wc -l <"$tmp/drops")" -lt 20000
