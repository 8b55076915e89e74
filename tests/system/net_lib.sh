# SPDX-License-Identifier: Apache-2.0
# For tests/system/net_*.sh: the network module alone (net_tool), a host, a client, and containers that are namespaces with socat in them.
#
# Sourcing this re-executes the script in a mount and a network namespace of its own ("the host"). The client is a second one:
# host 192.0.2.1 <-> client 192.0.2.2 (RFC 5737), its default route through the host. Everything is gone when the script ends.
# shellcheck shell=bash
set -euo pipefail

skip() { echo "SKIP: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
for p in socat ip nsenter; do command -v $p >/dev/null || skip "needs $p"; done
if [ -z "${KEDGE_TEST_NS-}" ]; then
	KEDGE_TEST_NS=1 exec unshare --mount --net --propagation private bash "$0" "$@"
fi
builddir=${KEDGE_BUILD:-$(pwd)}
tool=$builddir/tests/system/net_tool
[ -x "$tool" ] || { echo "$tool has not been built"; exit 1; }
tmp=$(mktemp -d /tmp/kedge-net-test.XXXXXX)
instance=$(basename "$tmp" | tr -c 'a-zA-Z0-9\n' -)
failures=0 passed=0
pids=()

ip link set lo up
mount -t tmpfs none /run/netns 2>/dev/null || { mkdir -p /run/netns && mount -t tmpfs none /run/netns; }
mount -t bpf none /sys/fs/bpf 2>/dev/null || true
ip netns add client
ip link add up0 type veth peer name eth0 netns client
ip addr add 192.0.2.1/24 dev up0
ip link set up0 up
client() { nsenter --net=/run/netns/client "$@"; }
client sh -c 'ip link set lo up; ip addr add 192.0.2.2/24 dev eth0; ip link set eth0 up; ip route add default via 192.0.2.1'

# Short ids to 64 hex digits.
id64() { printf '%s%0*d' "$1" $((64 - ${#1})) 0; }
ctr() { local c; c=$(id64 "$1"); shift; nsenter --net="$tmp/netns/$c" "$@"; }
# field ID KEY: of a record, or of its first endpoint.
field() { python3 -c 'import json,sys; r=json.load(open(sys.argv[1])); print({**(r["Endpoints"] or [{}])[0], **r}.get(sys.argv[2], ""))' "$tmp/$(id64 "$1").record" "$2"; }

tool_start() {
	coproc TOOL { exec "$tool" "$tmp" "$instance" "$1" 2>>"$tmp/log"; }
	tool_pid=$TOOL_PID
	exec {to}>&"${TOOL[1]}" {from}<&"${TOOL[0]}"
	read -r -t 30 ready <&"$from" || { cat "$tmp/log"; exit 1; }
	datapath=${ready#ready }
}
# Sends a command, puts the answer into $reply; true when it was "ok".
say() {
	echo "$*" >&"$to"
	read -r -t 60 reply <&"$from" || { echo "no answer to: $*"; cat "$tmp/log"; exit 1; }
	[ "${reply%% *}" = ok ]
}
tool_gone() { exec {to}>&- {from}<&-; wait "$tool_pid" 2>/dev/null || return $?; }
tool_stop() { say quit; tool_gone; }
tool_kill9() { kill -9 "$tool_pid"; tool_gone || true; }

# serve CTR WHERE COMMAND: a socat in a container ("host", "client" too), ended with the script.
serve() {
	local where=$1 run
	shift
	case $where in host) run=() ;; client) run=(nsenter --net=/run/netns/client) ;; *) run=(nsenter --net="$tmp/netns/$(id64 "$where")") ;; esac
	"${run[@]}" socat "$@" >>"$tmp/socat" 2>&1 </dev/null &
	pids+=($!)
}
# until_ok SECONDS COMMAND...: waits for a state, looking twenty times a second.
until_ok() {
	local n=$(($1 * 20))
	shift
	while ! "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ $n -gt 0 ] || { echo "gave up waiting for: $*"; return 1; }
		read -r -t 0.05 _ <> <(:) || true
	done
}
listens() { local where=$1; shift; if [ "$where" = host ]; then ss -Hln "$@"; else ctr "$where" ss -Hln "$@"; fi | grep -q .; }

check() {
	local name=$1
	shift
	if "$@" >"$tmp/out" 2>&1; then
		passed=$((passed + 1))
	else
		failures=$((failures + 1))
		echo "FAIL ${datapath-}: $name"
		sed 's/^/     /' "$tmp/out" | head -20
	fi
}
equal() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
has() { case $1 in *"$2"*) ;; *) echo "'$1' has no '$2'"; return 1 ;; esac; }
# What is to fail by silence need not be waited for as long as an answer.
not() { ! ASK_S=0.7 "$@"; }

finish() {
	local rc=$?
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	[ -z "${tool_pid-}" ] || kill -9 "$tool_pid" 2>/dev/null || true
	umount -l "$tmp"/netns/* 2>/dev/null || true
	if grep -q "ERROR: \|runtime error" "$tmp/log" 2>/dev/null; then
		echo "the sanitizers complain:"
		grep -A20 "ERROR: \|runtime error" "$tmp/log" | head -60
		failures=$((failures + 1))
	fi
	rm -rf "/sys/fs/bpf/kedge/$instance" "$tmp"
	[ $rc = 0 ] || { echo "ended with $rc"; exit $rc; }
	echo "$passed passed, $failures failed"
	[ $failures = 0 ] || exit 1
}
trap finish EXIT

# ask tcp|udp HOST PORT [TEXT]: sends, ends its side (TCP), prints the answer; fails after $ASK_S seconds, 3.
cat >"$tmp/ask" <<'PY'
import os, socket, sys
proto, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
text = sys.argv[4].encode() if len(sys.argv) > 4 else b"x"
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
s.settimeout(float(os.environ.get("ASK_S", 3)))
try:
    s.connect((host, port))
    s.sendall(text)
    got = b""
    if proto == "tcp":
        s.shutdown(socket.SHUT_WR)
        while True:
            b = s.recv(65536)
            if not b:
                break
            got += b
    else:
        got = s.recv(65536)
except OSError as e:
    print("%s: %s" % (type(e).__name__, e))
    sys.exit(1)
print(got.decode(errors="replace"), end="")
PY
# The servers answer with the peer's address as they see it, then with what they were sent.
cat >"$tmp/server" <<'PY'
import socket, sys, threading
proto, port = sys.argv[1], int(sys.argv[2])
if proto == "tcp":
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("", port)); s.listen(100)
    def one(c, a):
        got = b""
        while True:
            b = c.recv(65536)
            if not b: break
            got += b
        c.sendall(a[0].encode() + b" " + got); c.close()
    while True: threading.Thread(target=one, args=s.accept(), daemon=True).start()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", port))
while True:
    b, a = s.recvfrom(65536)
    s.sendto(a[0].encode() + b" " + b, a)
PY
ask() { python3 "$tmp/ask" "$@"; }
answer_server() {
	local where=$1 run
	shift
	case $where in host) run=() ;; client) run=(nsenter --net=/run/netns/client) ;; *) run=(nsenter --net="$tmp/netns/$(id64 "$where")") ;; esac
	"${run[@]}" python3 "$tmp/server" "$@" >>"$tmp/servers" 2>&1 </dev/null &
	pids+=($!)
}
