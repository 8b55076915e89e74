#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Links on the default bridge: the variables they put into the environment, line by line those of dockerd 20.10, in the program and in further ones.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
refused() { local want=$1; shift; has "$("$@" 2>&1 || true)" "$want"; }

kedge run -d --name my-db --expose 80 --expose 8000-8003 --expose 53/udp --expose 100/sctp --expose 443 --expose 444 -p 9999:90 \
	-e FOO=bar -e 'MULTI=a b=c' -e HOME=/x -e EMPTY= busybox sleep 1000 >/dev/null
kedge run -d --name plain busybox sleep 1000 >/dev/null
ip=$(kedge inspect -f '{{.NetworkSettings.IPAddress}}' my-db)
want() {		# ALIAS /NAME/alias
	cat <<TEXT
$1_ENV_EMPTY=
$1_ENV_FOO=bar
$1_ENV_MULTI=a b=c
$1_NAME=$2
$1_PORT=udp://$ip:53
$1_PORT_100_SCTP=sctp://$ip:100
$1_PORT_100_SCTP_ADDR=$ip
$1_PORT_100_SCTP_PORT=100
$1_PORT_100_SCTP_PROTO=sctp
$1_PORT_53_UDP=udp://$ip:53
$1_PORT_53_UDP_ADDR=$ip
$1_PORT_53_UDP_PORT=53
$1_PORT_53_UDP_PROTO=udp
$1_PORT_8000_TCP_END=tcp://$ip:8003
$1_PORT_8000_TCP_PORT_END=8003
$1_PORT_8000_TCP_PORT_START=8000
$1_PORT_8000_TCP_START=tcp://$ip:8000
TEXT
	for p in 80 90 443 444 8000 8001 8002 8003; do
		printf '%s\n' "$1_PORT_${p}_TCP=tcp://$ip:$p" "$1_PORT_${p}_TCP_ADDR=$ip" "$1_PORT_${p}_TCP_PORT=$p" "$1_PORT_${p}_TCP_PROTO=tcp"
	done
}
kedge run --rm --name web --link my-db:the-db --link plain busybox env | grep -E '^(THE_DB|PLAIN)_' | LC_ALL=C sort >"$tmp/got"
{ want THE_DB /web/the-db; echo PLAIN_NAME=/web/plain; } | LC_ALL=C sort >"$tmp/want"
check "the variables of two links" diff "$tmp/want" "$tmp/got"
kedge run -d --name web --link my-db:store busybox sleep 1000 >/dev/null
kedge exec web env | grep ^STORE_ | LC_ALL=C sort >"$tmp/got"
want STORE /web/store | LC_ALL=C sort >"$tmp/want"
check "exec has them, too" diff "$tmp/want" "$tmp/got"
check "one's own wins" equal "$(kedge run --rm --link my-db:store -e STORE_NAME=mine busybox env | grep STORE_NAME)" STORE_NAME=mine
check "by id" equal "$(kedge run --rm --name byid --link "$(kedge inspect -f '{{.Id}}' my-db | cut -c 1-12):z" busybox env | grep Z_NAME)" Z_NAME=/byid/z
check "inspect" equal "$(kedge inspect -f '{{json .HostConfig.Links}}' web)" '["/my-db:/web/store"]'
check "hosts" has "$(kedge exec web cat /etc/hosts)" "$ip	store "
kedge stop -t 0 web >/dev/null
kedge stop -t 0 my-db >/dev/null
kedge run -d --name thief busybox sleep 1000 >/dev/null
kedge start my-db web >/dev/null
new=$(kedge inspect -f '{{.NetworkSettings.IPAddress}}' my-db)
check "another address another time" equal "$(kedge exec web env | grep STORE_PORT=)" "STORE_PORT=udp://$new:53"
kedge network create side >/dev/null
kedge run -d --name elsewhere --network side busybox sleep 1000 >/dev/null
check "on a network of one's own a link is a name alone" equal "$(kedge run --rm --network side --link elsewhere:al busybox env | grep -c ^AL_)" 0
check "not to who is elsewhere" refused "Cannot link to /elsewhere, as it does not belong to the default network" kedge run --rm --link elsewhere:al busybox true
kedge stop -t 0 plain >/dev/null
check "not to who is not running" refused "Cannot link to a non running container: /plain AS /late/plain" kedge run --name late --link plain busybox true
