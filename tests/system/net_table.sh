# SPDX-License-Identifier: Apache-2.0
# Who reaches a published port over which protocol and family, on each data path; ends in a table of it. Each cell is tried: one that says "refused" has
# been refused.
# shellcheck shell=bash source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
[ -e /proc/sys/net/ipv6 ] || skip "needs IPv6"
# SCTP is spoken by the kernel where it can, and relayed then; else by a library on raw sockets.
[ -e /proc/net/sctp ] || modprobe -q sctp 2>/dev/null || true
if [ -e /proc/net/sctp ]; then
	sctp="python3 $srcdir_top/tests/system/sctp_peer.py" kernel_sctp=1 sctp_text=
else
	sctp=$builddir/tests/system/sctp_tool kernel_sctp= sctp_text=" x"
	[ -x "$sctp" ] || skip "needs libusrsctp, or the kernel's SCTP (module sctp)"
fi
ip -6 addr add 2001:db8:2::1/64 dev up0 nodad
client ip -6 addr add 2001:db8:2::2/64 dev eth0 nodad
client ip -6 route add default via 2001:db8:2::1
probe=$srcdir_top/tests/system/net_probe.py
clients="remote host neighbour other self"
servers=()
declare -A cell
cleanup() { for p in "${servers[@]}"; do kill "$p" 2>/dev/null || true; done; }

# at WHO COMMAND...
at() {
	local who=$1
	shift
	case $who in
	remote) nsenter --net=/run/netns/client "$@" ;;
	host) "$@" ;;
	*) nsenter --net="$run/netns/${ids[$who]}" "$@" ;;
	esac
}
start_server() {
	nsenter --net="$run/netns/${ids[$1]}" "${@:2}" >"$tmp/server.out" 2>&1 </dev/null &
	servers+=($!)
}
address() { kedge inspect -f "{{(index .NetworkSettings.Networks \"$2\").$3}}" "$1"; }
pings() { at "$1" ping -c 1 -W "$2" "$3" >/dev/null; }

# ask_sctp WHO ADDRESS,...: its answers, which have to be one.
ask_sctp() {
	local a answer wait=1
	# What is to come may take its time on a busy machine.
	case $(expected "$dp" sctp "$1") in own | host | gateway) wait=6 ;; esac
	for a in ${2//,/ }; do
		# Loopback is the relay's.
		case $a in 127.* | ::1) [ -n "$kernel_sctp" ] || continue ;; esac
		answer=$(ASK_S=$wait at "$1" $sctp ask "$a" 8080 $sctp_text 2>/dev/null) || answer=-
		# Another association, from another port: one in some hundred of the user-land SCTP's is not answered in time.
		if [ "$answer" = - ] && [ "$wait" -gt 1 ]; then
			echo "$dp: $1 asks $a over sctp once more" >&2
			answer=$(ASK_S=$wait at "$1" $sctp ask "$a" 8080 $sctp_text 2>/dev/null) || answer=-
		fi
		echo "${answer%"$sctp_text"}"
	done
}

# What one client reaches, into a file: "PROTO FAMILY ANSWER".
ask_from() {
	local who=$1 v4=192.0.2.1 v6=2001:db8:2::1 a f
	[ "$who" != host ] || v4=192.0.2.1,127.0.0.1 v6=2001:db8:2::1,::1
	at "$who" python3 "$probe" ask "$v4" "$v6" 8080
	for f in 4 6; do
		ask_sctp "$who" "$([ $f = 4 ] && echo $v4 || echo $v6)" | sort -u | tr '\n' / | sed "s|/\$||; s|^|sctp $f |; s|\$|\n|"
	done
	for f in 4 6; do
		[ $f = 4 ] && a=$web4 || a=$web6
		case $who in
		remote) [ $f = 4 ] && a=192.0.2.2 || a=2001:db8:2::2
			pings self 1 $a && a=yes || a=- ;;
		*) pings "$who" 1 "$a" && a=yes || a=- ;;
		esac
		echo "icmp $f $a"
	done
}

# One data path. What is expected: the sender's own address, the gateway's, or nothing for a reason.
column() {
	local dp=$1 who proto f got want own gw text
	declare -A ids=()
	engine_start --datapath="$dp"
	need_image busybox
	kedge network create --ipv6 --subnet 172.30.0.0/24 --subnet fd00:30::/64 one >/dev/null
	kedge network create --ipv6 --subnet 172.31.0.0/24 --subnet fd00:31::/64 two >/dev/null
	if [ "$dp" = proxy ] && [ -z "$kernel_sctp" ]; then
		check "$dp: sctp is refused by name" has "$(kedge run -d --network one -p 8080:80/sctp busybox sleep 1000 2>&1 || true)" \
			"port 80/sctp cannot be published: --datapath=proxy relays it by the kernel's SCTP sockets, and this kernel has none (its module sctp)"
		kedge run -d --name web --network one -p 8080:80 -p 8080:80/udp busybox sleep 1000 >/dev/null
	else
		kedge run -d --name web --network one -p 8080:80 -p 8080:80/udp -p 8080:80/sctp busybox sleep 1000 >/dev/null
	fi
	kedge run -d --name neighbour --network one busybox sleep 1000 >/dev/null
	kedge run -d --name other --network two busybox sleep 1000 >/dev/null
	ids=([self]=$(kedge inspect -f '{{.Id}}' web) [neighbour]=$(kedge inspect -f '{{.Id}}' neighbour) [other]=$(kedge inspect -f '{{.Id}}' other))
	web4=$(address web one IPAddress) web6=$(address web one GlobalIPv6Address)
	gw4=$(address web one Gateway) gw6=$(address web one IPv6Gateway)
	declare -A own4=([remote]=192.0.2.2 [host]=$gw4 [neighbour]=$(address neighbour one IPAddress) [other]=$(address other two IPAddress) [self]=$web4)
	declare -A own6=([remote]=2001:db8:2::2 [host]=$gw6 [neighbour]=$(address neighbour one GlobalIPv6Address) [other]=$(address other two GlobalIPv6Address) [self]=$web6)
	start_server self python3 "$probe" serve 80
	start_server self $sctp serve 80
	until_ok 20 python3 -c "import socket; socket.create_connection(('$web6', 80), 1)"
	until_ok 20 at neighbour $sctp ask "$web4" 80
	local jobs=()
	for who in $clients; do
		ask_from "$who" >"$tmp/cells.$who" &
		jobs+=($!)
	done
	wait "${jobs[@]}"
	for who in $clients; do
		while read -r proto f got; do
			own=own$f[$who] gw=gw$f own=${!own} gw=${!gw}
			want=$(expected "$dp" "$proto" "$who")
			case $want in
			own) text=$own ;;
			host) [ "$got" = - ] && text=reached || text=$got ;;	# which of its addresses depends on the way
			gateway) text=$gw ;;
			answer) text=yes ;;
			*) text=- ;;
			esac
			check "$dp: $proto over IPv$f, $who: $want" equal "$got" "$text"
			case $want in own | answer | host) want=ok ;; gateway) want="ok, as gateway" ;; esac
			[ "$got" = "$text" ] || want="FAILED ($got)"
			cell[$proto,$f,$who,$dp]=$want
		done <"$tmp/cells.$who"
	done
	# A neighbour that routes to the bridges, and other networks, get to nothing unpublished.
	client ip route add 172.30.0.0/24 via 192.0.2.1
	client ip -6 route add fd00:30::/64 via 2001:db8:2::1
	jobs=()
	for who in remote other; do
		for a in "$web4" "$web6"; do
			(ASK_S=1 at $who $sctp ask "$a" 80 >/dev/null 2>&1 && touch "$tmp/reached.sctp.$who.$a"
			 pings $who 1 "$a" && touch "$tmp/reached.icmp.$who.$a") &
			jobs+=($!)
		done
	done
	wait "${jobs[@]}" || true
	check "$dp: nothing unpublished is reached" equal "$(ls "$tmp" | grep reached || true)" ""
	client ip route del 172.30.0.0/24 via 192.0.2.1
	client ip -6 route del fd00:30::/64 via 2001:db8:2::1
	for p in "${servers[@]}"; do kill "$p" 2>/dev/null || true; done
	servers=()
	kedge rm -f web neighbour other >/dev/null
	kedge network rm one two >/dev/null
	engine_stop || { echo "not ok - the engine ended with status $?"; failures=$((failures + 1)); }
	ip link del kedge0 2>/dev/null || true
}

expected() {
	case $1,$2,$3 in
	*,icmp,other) echo "refused: isolated" ;;
	proxy,icmp,remote) echo "refused: no forwarding" ;;
	*,icmp,*) echo answer ;;
	proxy,sctp,* | ebpf,sctp,host | ebpf,sctp,self) [ -n "$kernel_sctp" ] && echo gateway || echo "skip: kernel without SCTP" ;;
	nft,sctp,self | nft,sctp,neighbour) echo gateway ;;
	nft,sctp,host) [ -n "$kernel_sctp" ] && echo gateway || echo host ;;
	nft,sctp,*) echo own ;;
	nft,*,host) echo host ;;
	ebpf,*,self | nft,*,self | nft,*,neighbour | *,*,host) echo gateway ;;
	proxy,*) echo gateway ;;
	*) echo own ;;
	esac
}

# Bridges that give what they carry to netfilter bring a neighbour's packets to it as they are, and those of a container to itself to an end.
for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -w "$f" ] || echo 0 >"$f"; done
# nft comes last: it has the host forward IPv6, which has one switch for all interfaces.
for dp in proxy ebpf nft; do column $dp; done

{
	printf '%-6s %-5s %-10s  %-30s %-30s %s\n' proto over client ebpf nft proxy
	for proto in tcp udp sctp icmp; do
		for f in 4 6; do
			for who in $clients; do
				printf '%-6s %-5s %-10s  %-30s %-30s %s\n' "$proto" "IPv$f" "$who" "${cell[$proto,$f,$who,ebpf]-?}" "${cell[$proto,$f,$who,nft]-?}" \
					"${cell[$proto,$f,$who,proxy]-?}"
			done
		done
	done
	cat <<'T'
A container's published port, as reached by a remote client, the host itself (its own address, 127.0.0.1 and ::1), a container of the same network, one of
another, and itself. "ok": it sees the client's address. "as gateway": it sees the bridge's, which is the host's own, instead. "skip: kernel without SCTP":
what is relayed needs the kernel's SCTP sockets (module sctp).
icmp is ping: the container's to a remote machine, and the others' to the container.
T
} | tee "$builddir/net-table.txt"
