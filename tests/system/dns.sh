#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Names: containers find each other and the rest of the world, by busybox's, glibc's and dig's resolvers; over changes, kills and the engine's restart.
. "$(dirname "$0")/lib.sh"
command -v dig >/dev/null || skip "needs dig (bind9-dnsutils)"
command -v dnsmasq >/dev/null || skip "needs dnsmasq (dnsmasq-base)"

# The name server of the world is on the client: zone lab., and it tells what it was asked.
{
	echo "host-record=www.lab,198.51.100.80,2001:db8::80"
	echo "txt-record=txt.lab,v=spf1 -all"
	echo "srv-host=_http._tcp.lab,www.lab,80,5,10"
	echo "cname=alias.lab,www.lab"
	for i in $(seq 1 100); do echo "host-record=big.lab,198.51.100.$i"; done
} >"$tmp/dnsmasq.conf"
upstream_start() {
	nsenter --net=/run/netns/client dnsmasq -k -C "$tmp/dnsmasq.conf" -u root --pid-file= -R -h --bind-interfaces --listen-address=192.0.2.2,127.0.0.1 --local=/lab/ \
		--address=/gone.example/ --auth-ttl=60 --local-ttl=60 --log-queries --log-facility="$tmp/dnsmasq.log" >/dev/null 2>&1 &
	upstream_pid=$!
	until_ok 10 client dig +time=1 +tries=1 @192.0.2.2 www.lab
}
upstream_stop() { kill $upstream_pid; wait $upstream_pid 2>/dev/null || true; }
upstream_start
cleanup() { kill $upstream_pid 2>/dev/null || true; }
# An /etc of our own, so that its resolv.conf can be replaced.
cp -a /etc "$tmp/etc"
mount --bind "$tmp/etc" /etc
resolv() { rm -f /etc/resolv.conf.new; printf '%s\n' "$@" >/etc/resolv.conf.new; cat /etc/resolv.conf.new >/etc/resolv.conf; }
resolv "nameserver 192.0.2.2" "search lab"

engine_start
need_image busybox
asleep() { kedge run -d "$@" busybox sleep 1000 >/dev/null; }
cid() { kedge inspect -f '{{.Id}}' "$1"; }
ip_of() { kedge inspect -f "{{(index .NetworkSettings.Networks \"$2\").IPAddress}}" "$1"; }
refused() { local want=$1; shift; has "$("$@" 2>&1 || true)" "$want"; }
inside() { local c; c=$(cid "$1"); shift; nsenter --net="$run/netns/$c" "$@"; }
ask() { local c=$1; shift; inside "$c" dig +short +time=3 +tries=1 @127.0.0.11 "$@"; }
status_of() { local c=$1; shift; inside "$c" dig +time=3 +tries=1 @127.0.0.11 "$@" | sed -n 's/.*status: \([A-Z]*\).*/\1/p'; }
# glibc's resolver in the container's namespace and with its resolv.conf.
glibc() { inside "$1" unshare -m sh -c 'mount --bind "$0" /etc/resolv.conf && shift 0 && exec getent "$@"' "$run/containers/$(cid "$1")/files/resolv.conf" "${@:2}"; }

# --- by name
kedge network create app >/dev/null
asleep --name web --network app --hostname front
asleep --name db --network app --network-alias data
check "one pings the other" kedge exec web ping -c 1 -W 2 db
check "and the other way" kedge exec db ping -c 1 -W 2 web
check "resolv.conf names our server" equal "$(kedge exec web cat /etc/resolv.conf)" "nameserver 127.0.0.11
search lab
options ndots:0"
db=$(ip_of db app)
for name in db data DB db.app data.APP "$(cid db | cut -c 1-12)"; do
	check "found as $name" equal "$(ask web "$name")" "$db"
done
check "by hostname" equal "$(ask db front)" "$(ip_of web app)"
check "busybox nslookup" has "$(kedge exec web nslookup db.)" "$db"
check "glibc" has "$(glibc web ahosts db)" "$db"
check "glibc by address" has "$(glibc web hosts "$db")" "db.app"
check "over TCP" equal "$(ask web +tcp db)" "$db"
check "PTR" equal "$(ask web -x "$db")" "db.app."
check "PTR of an address nobody has" equal "$(status_of web -x 172.18.77.77)" NXDOMAIN
check "a missing type is no missing name" equal "$(status_of web db AAAA) $(ask web db AAAA)" "NOERROR "
check "host.docker.internal is the gateway" equal "$(ask web host.docker.internal)" 172.18.0.1
check "the names were not sent to the world" status 1 grep -qE 'query[^ ]* (db|data|front) ' "$tmp/dnsmasq.log"
check "links" equal "$(kedge run --rm --network app --link db:mysql busybox nslookup mysql. | grep -c "$db")" 1

# --- several under one alias
kedge network create rrdns >/dev/null
asleep --name s1 --net rrdns --net-alias search
asleep --name s2 --net rrdns --net-alias search
asleep --name s3 --net rrdns
order() { kedge exec s3 nslookup search. | sed -n 's/^Address: *\([0-9.]*\)$/\1/p' | tr '\n' ' '; }
one=$(order) two=$(order) three=$(order)
check "both are told" equal "$(wc -w <<<"$one")" 2
check "in turning order" equal "$(tr ' ' '\n' <<<"$two" | grep . | tac | tr '\n' ' ')" "$one"
check "and back" equal "$three" "$one"
s2=$(ip_of s2 rrdns)
kedge kill s1 >/dev/null
check "killing one removes it at once" equal "$(ask s3 search)" "$s2"
kedge start s1 >/dev/null
check "and starting it brings it back" equal "$(ask s3 search | wc -l)" 2
check "another network does not know them" equal "$(ask web search)" ""

# --- changes of running containers
kedge network connect --alias guest rrdns web
check "connected: it finds them" equal "$(ask web search | wc -l)" 2
check "and is found" equal "$(ask s3 guest)" "$(ip_of web rrdns)"
check "its first network goes on" equal "$(ask web db)" "$db"
kedge network disconnect rrdns web
check "disconnected: gone at once" equal "$(ask s3 guest)" ""
kedge rename s2 renamed
check "renamed" equal "$(ask s3 renamed) $(ask s3 s2)" "$s2 "
asleep --name late
check "the default bridge has the host's servers" equal "$(kedge exec late cat /etc/resolv.conf)" "nameserver 192.0.2.2
search lab"
kedge network connect app late
check "connected to a network of its own: names" until_ok 5 kedge exec late nslookup db.
kedge rm -f late >/dev/null

# --- the rest of the world
check "A" equal "$(ask web www.lab)" 198.51.100.80
check "AAAA" equal "$(ask web www.lab AAAA)" 2001:db8::80
check "TXT" equal "$(ask web txt.lab TXT)" '"v=spf1 -all"'
check "SRV" equal "$(ask web _http._tcp.lab SRV)" "5 10 80 www.lab."
check "CNAME" has "$(ask web alias.lab)" "www.lab."
check "search domains, by busybox and glibc" has "$(kedge exec web ping -c 1 -W 1 www 2>&1; glibc web ahosts www)" 198.51.100.80
check "a long answer, by TCP in the end" equal "$(inside web dig +short +bufsize=512 @127.0.0.11 big.lab | wc -l)" 100
check "NXDOMAIN" equal "$(status_of web nosuch.lab)" NXDOMAIN
check "DNSSEC bits get there" has "$(inside web dig +dnssec @127.0.0.11 www.lab)" "flags: do"
n=$(grep -c 'query\[A\] www.lab ' "$tmp/dnsmasq.log")
ask db www.lab >/dev/null
check "cached for others" equal "$(grep -c 'query\[A\] www.lab ' "$tmp/dnsmasq.log")" "$n"
asleep --name own --network app --dns 192.0.2.99 --dns-search corp.example --dns-opt ndots:2
check "--dns, --dns-search, --dns-opt" equal "$(kedge exec own cat /etc/resolv.conf)" "nameserver 127.0.0.11
search corp.example
options ndots:2"
check "names go on with servers of one's own" equal "$(ask own db)" "$db"
kedge rm -f own >/dev/null

# --- no way out
kedge network create --internal shut >/dev/null
asleep --name in1 --network shut
asleep --name in2 --network shut
check "inside an internal network names are found" equal "$(ask in1 in2)" "$(ip_of in2 shut)"
check "others are refused" equal "$(status_of in1 secret.lab)" SERVFAIL
check "and not asked for outside" status 1 grep -q secret "$tmp/dnsmasq.log"

# --- a name server in a container
cat >"$tmp/binder.py" <<'P'
import socket, sys
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("0.0.0.0", 53))
t = socket.socket(); t.bind(("0.0.0.0", 53)); t.listen()
print("bound", flush=True)
d, a = u.recvfrom(512); u.sendto(b"mine:" + d, a)
P
inside web python3 "$tmp/binder.py" >"$tmp/binder.out" 2>&1 &
binder=$!
check "a container binds port 53 on every address" until_ok 5 grep -q bound "$tmp/binder.out"
check "and finds names all the same" equal "$(ask web db) $(ask web +tcp db)" "$db $db"
check "while others reach its own server" equal "$(inside db python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.sendto(b'hello', ('$(ip_of web app)', 53)); print(s.recv(99).decode())")" "mine:hello"
wait $binder

# --- looking into it
check "dns query" has "$(kedge dns query web --network app)" "$(ip_of web app)"
check "dns query of the world" has "$(kedge dns query --container web www.lab)" "NOERROR from cache"
check "dns query of none" status 1 kedge dns query --network app nosuch.lab
check "dns query of another network" refused "network nosuch not found" kedge dns query --network nosuch web
kedge dns log -n 1 web >"$tmp/dns.log" &
log=$!
until_ok 10 sh -c "
	nsenter --net='$run/netns/$(cid web)' dig +time=1 +tries=1 @127.0.0.11 db >/dev/null; [ -s '$tmp/dns.log' ]"
wait $log
check "dns log" has "$(cat "$tmp/dns.log")" " web udp db A NOERROR from local "
check "dns stats" equal "$(kedge dns stats --format '{{.Counter}}' | head -n 1)" Servers

# --- the host's file changes
resolv "nameserver 127.0.0.1:5300"
until_ok 5 sh -c "'$builddir/kedge' -H unix://$sock dns stats --format json | grep -q 127.0.0.1:5300"
check "another server on the host is taken up" equal "$(kedge exec web cat /etc/resolv.conf | head -n 1)" "nameserver 127.0.0.11"
check "one on the host's loopback: we answer on the default bridge, too" has "$(kedge run --rm busybox cat /etc/resolv.conf)" "nameserver 127.0.0.11"
resolv "nameserver 192.0.2.99" "nameserver 192.0.2.2"
until_ok 5 sh -c "'$builddir/kedge' -H unix://$sock dns stats --format json | grep -q 192.0.2.99"
# Nobody is at .99: the second one is asked soon enough.
check "the first server is dead" equal "$(ask web +time=1 txt.lab TXT)" '"v=spf1 -all"'

# --- the engine's death
web=$run/netns/$(cid web)
engine_kill9
start=$(date +%s%N)
check "without the engine nobody answers" status 9 nsenter --net="$web" dig +time=3 +tries=1 @127.0.0.11 db
check "and that is heard at once" [ $((($(date +%s%N) - start) / 1000000)) -lt 1500 ]
engine_start
check "the next one answers in the living containers" equal "$(ask web db) $(ask web +tcp data)" "$db $db"
check "aliases are back" equal "$(ask s3 search | wc -l)" 2
check "upstream, too" equal "$(ask web txt.lab TXT)" '"v=spf1 -all"'

# --- health
asleep --name sick --network rrdns --network-alias search --health-cmd 'test ! -e /sick' --health-interval 200ms --health-retries 1 --health-start-interval 200ms
check "starting and healthy ones are told" equal "$(ask s3 search | wc -l)" 3
kedge exec sick touch /sick
check "an unhealthy one is not" until_ok 10 sh -c "[ \$(nsenter --net='$run/netns/$(cid s3)' dig +short @127.0.0.11 search | wc -l) = 2 ]"
check "but by its own name it is" equal "$(ask s3 sick | wc -l)" 1

kedge rm -f $(kedge ps -aq) >/dev/null
check "no server is left" equal "$(kedge dns stats --format '{{.Counter}} {{.Value}}' | head -n 1)" "Servers 0"

# --- without BPF
engine_stop
KEDGE_FAULT=net.dns_redirect:1:1 engine_start
asleep --name p1 --network app
asleep --name p2 --network app
check "without BPF the server has port 53 itself" has "$(inside p1 ss -lnu)" "127.0.0.11:53 "
check "and answers" equal "$(ask p1 p2) $(ask p1 +tcp p2)" "$(ip_of p2 app) $(ip_of p2 app)"
