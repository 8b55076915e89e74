#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SCTP as the kernel speaks it: published, masqueraded and between containers, on each data path that carries it; many messages both ways.
. "$(dirname "$0")/lib.sh"
[ -e /proc/net/sctp ] || modprobe -q sctp 2>/dev/null || true
[ -e /proc/net/sctp ] || skip "needs the kernel's SCTP (module sctp)"

# The server tells who calls, then echoes; the client sends 200 messages of growing size and wants each back.
cat >"$tmp/sctp.py" <<'PY'
import os, socket, sys
what, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM, 132)
s.settimeout(20)
if what == "serve":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    s.listen(8)
    s.settimeout(None)
    open(sys.argv[4], "w").close()
    while True:
        c, peer = s.accept()
        if os.fork():
            c.close()
            continue
        c.sendall(b"from " + peer[0].encode())
        while True:
            d = c.recv(65536)
            if not d:
                os._exit(0)
            c.sendall(d)
s.connect((address, port))
print(s.recv(100).decode())
for n in range(1, 201):
    want, got = bytes([n % 256]) * (n * 40), b""
    s.sendall(want)
    while len(got) < len(want):
        got += s.recv(65536)
    assert got == want, n
print("200 echoed")
PY
servers=()
# serve NAME ADDRESS PORT COMMAND...: in the background, until the round ends. COMMAND becomes the program: of a function only its shell would be killed.
serve() {
	local up=$tmp/up.$1 address=$2 port=$3
	shift 3
	"$@" python3 "$tmp/sctp.py" serve "$address" "$port" "$up" >>"$tmp/servers" 2>&1 &
	servers+=($!)
	until_ok 20 test -e "$up"
	rm "$up"
}
pid_of() { kedge inspect -f '{{.State.Pid}}' "$1"; }
in_box() { local pid; pid=$(pid_of "$1"); shift; nsenter -t "$pid" -n "$@"; }
call() { "${@:3}" timeout 60 python3 "$tmp/sctp.py" call "$1" "$2" 2>&1 | tr '\n' ' '; }
ip -6 addr add 2001:db8:2::1/64 dev up0 nodad
client ip -6 addr add 2001:db8:2::2/64 dev eth0 nodad

round() {
	engine_start --datapath="$1"
	need_image busybox
	out=$(kedge run -d --name srv -p 7000:7000/sctp busybox sleep 1000 2>&1) || { kedge rm -f srv >/dev/null 2>&1; engine_stop; case $out in *sctp*) skip "SCTP is not published" ;; esac; echo "$out"; exit 1; }
	kedge network create --ipv6 --subnet 172.30.0.0/24 --subnet fd00:30::/64 six >/dev/null
	kedge run -d --name srv6 --network six -p 7006:7000/sctp busybox sleep 1000 >/dev/null
	kedge run -d --name two busybox sleep 1000 >/dev/null
	serve "srv" 0.0.0.0 7000 nsenter -t "$(pid_of srv)" -n
	serve "srv6" :: 7000 nsenter -t "$(pid_of srv6)" -n
	serve "cl" 192.0.2.2 7100 nsenter --net=/run/netns/client
	check "$1: published: from outside, with the client's address" equal "$(call 192.0.2.1 7000 client)" "from 192.0.2.2 200 echoed "
	check "$1: published: IPv6" equal "$(call 2001:db8:2::1 7006 client)" "from 2001:db8:2::2 200 echoed "
	check "$1: masqueraded: out" equal "$(call 192.0.2.2 7100 in_box two)" "from 192.0.2.1 200 echoed "
	check "$1: container to container" has "$(call "$(kedge inspect -f '{{.NetworkSettings.IPAddress}}' srv)" 7000 in_box two)" "200 echoed"
	check "$1: what is not published is not reached" has "$(call 192.0.2.1 7001 client)" "Error"
	kill "${servers[@]}"
	wait "${servers[@]}" 2>/dev/null || true
	servers=()
	kedge rm -f srv srv6 two >/dev/null
	kedge network rm six >/dev/null
	engine_stop
}
[ ! -e /sys/kernel/btf/vmlinux ] || round ebpf
if command -v nft >/dev/null; then round nft; fi
