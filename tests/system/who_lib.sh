# SPDX-License-Identifier: Apache-2.0
# For tests of who reaches a container and with which address: servers that tell whom they see, and a client that asks them. After lib.sh.
# shellcheck shell=bash

# who.py serve PORT: over TCP and UDP, both families. To "big" 2,000,000 bytes, else the peer's address; over UDP also how many bytes there were, and those
# from the tenth on.
# who.py tcp|udp HOST PORT [WORD|SIZE [SECONDS]]: prints the address; of "big" how many bytes came; of a datagram of SIZE bytes the address, its length as
# the server saw it, and that of what came back. FROM=ADDRESS: from there.
cat >"$tmp/who.py" <<'PY'
import os, socket, sys, threading

def plain(a): return a[7:] if a.startswith("::ffff:") else a

def answer(c, a):
    c.sendall(b"x" * 2000000 if c.recv(16).startswith(b"big") else plain(a[0]).encode())
    c.close()

def serve_udp(family, addr, port):
    s = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((addr, port))
    while True:
        b, a = s.recvfrom(65536)
        s.sendto(plain(a[0]).encode() + b" %d " % len(b) + b[10:], a)

def serve(port):
    for family, addr in (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"):
        threading.Thread(target=serve_udp, args=(family, addr, port), daemon=True).start()
    s = socket.socket(socket.AF_INET6)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", port))
    s.listen(50)
    while True: threading.Thread(target=answer, args=s.accept(), daemon=True).start()

def ask(proto, host, port, what="who", seconds=os.environ.get("ASK_S", 4)):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(float(seconds))
    if "FROM" in os.environ: s.bind((os.environ["FROM"], 0))
    s.connect((host, int(port)))
    s.sendall(b"y" * int(what) if what.isdigit() else what.encode())
    got = b""
    while True:
        b = s.recv(1 << 20)
        got += b
        if not b or proto == "udp": break
    if what == "big": return len(got)
    words = got.decode().split(" ")
    return "%s %s %d" % (words[0], words[1], len(words[2])) if what.isdigit() else words[0]

if sys.argv[1] == "serve": serve(int(sys.argv[2]))
try:
    print(ask(*sys.argv[1:]))
except OSError as e:
    print(type(e).__name__)
    sys.exit(1)
PY
ask() { python3 "$tmp/who.py" "$@"; }
in_ctr() { local c; c=$(kedge inspect -f '{{.Id}}' "$1"); shift; nsenter --net="$run/netns/$c" "$@"; }
address() { kedge inspect -f "{{(index .NetworkSettings.Networks \"$2\").$3}}" "$1"; }
servers=()
# serve CONTAINER PORT: in its network, with the host's files; "client" is the client. Waits until it listens.
serve() {
	local where=(in_ctr "$1")
	[ "$1" != client ] || where=(client)
	"${where[@]}" python3 "$tmp/who.py" serve "$2" >>"$tmp/servers" 2>&1 &
	servers+=($!)
	until_ok 20 "${where[@]}" python3 "$tmp/who.py" tcp 127.0.0.1 "$2"
}
# Each is a shell that waits for its server.
# shellcheck disable=SC2046
stop_servers() { for p in "${servers[@]}"; do kill $(ps -o pid= --ppid "$p") "$p" 2>/dev/null || true; done; servers=(); }
cleanup() { stop_servers; }
