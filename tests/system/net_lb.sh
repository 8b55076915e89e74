# SPDX-License-Identifier: Apache-2.0
# One port, several containers, on each data path, over TCP and UDP: by weight, by the client's address alone, drained, taken away, and what that does to flows
# under way.
# shellcheck shell=bash source-path=SCRIPTDIR
. "$(dirname "$0")/net_lib.sh"

for i in $(seq 10 49); do client ip addr add 192.0.2.$i/32 dev eth0; done

# A backend answers each line, or datagram, with its name and the address it sees.
cat >"$tmp/named" <<'PY'
import socket, sys, threading
name, port = sys.argv[1], int(sys.argv[2])
def answer(a): return ("%s %s\n" % (name, a[0])).encode()
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", port))
    while True:
        a = s.recvfrom(2000)[1]
        s.sendto(answer(a), a)
def tcp(c, a):
    try:
        while c.recv(100): c.sendall(answer(a))
    except OSError: pass
    c.close()
threading.Thread(target=udp, daemon=True).start()
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("", port)); s.listen(200)
while True: threading.Thread(target=tcp, args=s.accept(), daemon=True).start()
PY
# flows PROTO HOST PORT COUNT [FROM...]: so many flows, from those addresses in turn, an answer of each; prints "name=count ...", or with IN_TURN the names; "none" for no answer.
# With "-" in place of the count: one flow; for each line it reads it sends, and prints the answer. No two flows come from one port: they would be one.
cat >"$tmp/flows" <<'PY'
import collections, os, socket, sys
proto, host, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
ports = os.environ["PORTS"]
first = int(open(ports).read())
open(ports, "w").write(str(first + (1 if count == "-" else int(count))))
def flow(i):
    s = socket.socket(socket.AF_INET, kind)
    s.settimeout(1.5)
    s.bind((sys.argv[5 + i % len(sys.argv[5:])] if sys.argv[5:] else "", first + i))
    try:
        s.connect((host, port))
    except OSError: return None
    return s
def ask(s):
    try:
        s.sendall(b"x\n")
        return s.recv(100).decode().strip() or "none 0"
    except (OSError, AttributeError): return "none 0"
if count == "-":
    s = flow(0)
    for _ in sys.stdin: print(ask(s), flush=True)
    sys.exit()
got, in_turn = collections.Counter(), []
for i in range(int(count)):
    s = flow(i)
    in_turn.append(ask(s).split()[0])
    got[in_turn[-1]] += 1
    if s: s.close()
print(" ".join(in_turn) if "IN_TURN" in os.environ else " ".join("%s=%d" % x for x in sorted(got.items())))
PY
export PORTS=$tmp/ports
echo 10000 >"$PORTS"
flows() { client python3 "$tmp/flows" "$@"; }
# share NAME LOW HIGH COUNTS: NAME's per cent of all.
share() {
	python3 -c 'import sys
c = dict((k, int(v)) for k, v in (x.split("=") for x in sys.argv[4].split()))
part = 100 * c.get(sys.argv[1], 0) / (sum(c.values()) or 1)
print(part, c)
sys.exit(not int(sys.argv[2]) <= part <= int(sys.argv[3]))' "$@"
}
only() { equal "$(sed 's/=[0-9]*//g' <<<"$2")" "$1"; }
# Flows that stay: hold NAME PROTO begins one, still NAME asks once more on it, into $got.
declare -A hold_in hold_out
hold() {
	local in out
	mkfifo "$tmp/$1.in" "$tmp/$1.out"
	nsenter --net=/run/netns/client python3 "$tmp/flows" "$2" 192.0.2.1 "$3" - <"$tmp/$1.in" >"$tmp/$1.out" &
	pids+=($!)
	exec {in}>"$tmp/$1.in" {out}<"$tmp/$1.out"
	rm "$tmp/$1.in" "$tmp/$1.out"
	hold_in[$1]=$in hold_out[$1]=$out
}
still() {
	echo >&"${hold_in[$1]}"
	read -r -t 5 got seen <&"${hold_out[$1]}" || got=nothing
}
let_go() { local in=${hold_in[$1]} out=${hold_out[$1]}; exec {in}>&- {out}<&-; }

balance() {
	local proto=$1 port=$2 got first other ip_first ip_other
	local both="$ip1 80 1 $ip2 80 3"
	# A client that spoke to the port before there was anything behind it, and goes on.
	[ "$proto" = tcp ] || { hold early udp "$port"; still early; check "udp: nobody there yet" equal "$got" none; }
	# shellcheck disable=SC2086
	check "$proto: two backends, one to three" say lb "$proto" 192.0.2.1 "$port" $both
	if [ "$proto" = udp ]; then
		heard() { still early; [ "$got" = one ] || [ "$got" = two ]; }
		check "udp: who spoke before is served" until_ok 5 heard
		[ "$datapath" = proxy ] || check "udp: and not by the relay" equal "$seen" 192.0.2.2
	fi
	check "$proto: by weight" share two 65 85 "$(flows "$proto" 192.0.2.1 "$port" 160)"
	check "$proto: all are served" share none 0 0 "$(flows "$proto" 192.0.2.1 "$port" 50)"
	check "$proto: by weight, clients on the host" share two 60 90 "$(python3 "$tmp/flows" "$proto" 192.0.2.1 "$port" 80)"
	check "$proto: and one of the two" share two 50 95 "$(ctr a2 python3 "$tmp/flows" "$proto" 192.0.2.1 "$port" 60)"

	# Flows under way outlive changes of the set, and of their backend's weight.
	hold stays "$proto" "$port"
	still stays; first=$got
	[ "$first" = one ] && other=two ip_first=$ip1 ip_other=$ip2 || other=one ip_first=$ip2 ip_other=$ip1
	check "$proto: a flow" has "one two" "$first"
	check "$proto: its backend drains" say lb "$proto" 192.0.2.1 "$port" "$ip_first" 80 0 "$ip_other" 80 1
	for _ in 1 2 3; do still stays; check "$proto: the flow goes on" equal "$got" "$first"; done
	check "$proto: new ones are the other's" only "$other" "$(flows "$proto" 192.0.2.1 "$port" 30)"
	check "$proto: a third backend" say lb "$proto" 192.0.2.1 "$port" "$ip1" 80 1 "$ip2" 80 1 "$ip3" 80 1
	still stays
	check "$proto: the flow goes on" equal "$got" "$first"
	check "$proto: the third has its share" share three 18 48 "$(flows "$proto" 192.0.2.1 "$port" 100)"
	check "$proto: nobody takes new ones" say lb "$proto" 192.0.2.1 "$port" "$ip1" 80 0 "$ip2" 80 0 "$ip3" 80 0
	check "$proto: nobody does" only none "$(flows "$proto" 192.0.2.1 "$port" 2)"
	still stays
	check "$proto: and still it goes on" equal "$got" "$first"

	# The client's address alone.
	check "$proto: by address" say lb "$proto-affinity" 192.0.2.1 "$port" "$ip1" 80 1 "$ip2" 80 1
	got=$(flows "$proto" 192.0.2.1 "$port" 40)
	check "$proto: one client has one backend" equal "$(wc -w <<<"$got")" 1
	check "$proto: which serves" share none 0 0 "$got"
	local addrs
	addrs=$(seq -f 192.0.2.%g 10 49)
	# shellcheck disable=SC2086
	check "$proto: clients are spread" share one 25 75 "$(flows "$proto" 192.0.2.1 "$port" 40 $addrs)"
	# shellcheck disable=SC2086
	check "$proto: each comes to the same one again" equal "$(IN_TURN=1 flows "$proto" 192.0.2.1 "$port" 40 $addrs)" "$(IN_TURN=1 flows "$proto" 192.0.2.1 "$port" 40 $addrs)"
	check "$proto: not by address any more" say lb "$proto" 192.0.2.1 "$port" "$ip1" 80 1 "$ip2" 80 1
	check "$proto: one client has both" only "one two" "$(flows "$proto" 192.0.2.1 "$port" 40)"

	# A backend's container ends.
	say open "$(id64 a5)" fourth bridge || echo "$reply"
	local ip5
	ip5=$(field a5 IPAddress)
	named a5 four
	check "$proto: a fourth" say lb "$proto" 192.0.2.1 "$port" "$ip5" 80 1
	hold dies "$proto" "$port"
	still dies
	check "$proto: a flow to it" equal "$got" four
	check "$proto: with others" say lb "$proto" 192.0.2.1 "$port" "$ip5" 80 1 "$ip1" 80 1
	check "$proto: it goes" say close "$(id64 a5)"
	check "$proto: new flows are the others'" only one "$(flows "$proto" 192.0.2.1 "$port" 30)"
	[ "$proto" = tcp ] || { still dies; check "$proto: and the old one's packets" equal "$got" one; }
	check "$proto: the end of it" say lb "$proto" 192.0.2.1 "$port"
	# With eBPF they go on, as connections do, for as long as both sides do.
	[ "$proto" = tcp ] || [ "$datapath" = ebpf ] || { still stays; check "udp: not those under way either" equal "$got" none; }
	check "$proto: nobody" only none "$(flows "$proto" 192.0.2.1 "$port" 2)"
	for h in stays dies; do let_go $h; done
	[ "$proto" = tcp ] || let_go early
}
named() {
	ctr "$1" python3 "$tmp/named" "$2" 80 >>"$tmp/servers" 2>&1 </dev/null &
	pids+=($!)
	until_ok 10 listens "$1" -t sport = :80
	until_ok 10 listens "$1" -u sport = :80
}
# Every address of the host.
anywhere() {
	local proto
	for proto in tcp udp; do
		check "$proto: on every address" say lb $proto 0.0.0.0 9700 "$ip1" 80 1 "$ip2" 80 1
		check "$proto: on every address, the client" only "one two" "$(flows $proto 192.0.2.1 9700 40)"
		check "$proto: on every address, 127.0.0.1" only "one two" "$(python3 "$tmp/flows" $proto 127.0.0.1 9700 40)"
		check "$proto: on every address, the end" say lb $proto 0.0.0.0 9700
	done
}

lb() {
	tool_start "$1"
	for c in a1 a2 a3; do say open "$(id64 $c)" $c bridge || { echo "$reply"; exit 1; }; done
	ip1=$(field a1 IPAddress) ip2=$(field a2 IPAddress) ip3=$(field a3 IPAddress)
	named a1 one
	named a2 two
	named a3 three
	balance tcp 9600
	balance udp 9601
	anywhere
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	pids=()
	for c in a1 a2 a3; do check "close $c" say close "$(id64 $c)"; done
	check "an orderly end" tool_stop
	ip link del kedge0
}
for path in ${MATRIX_PATHS:-proxy nft ebpf}; do lb "$path"; done
