#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Networks: made, looked at, joined and left by running and stopped containers, over the engine's restart; what is refused, in docker's words.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox

ctr() { kedge exec "$@"; }
ip_of() { kedge inspect -f "{{(index .NetworkSettings.Networks \"$2\").IPAddress}}" "$1"; }
refused() { local want=$1; shift; has "$("$@" 2>&1 || true)" "$want"; }
reaches() { ctr "$1" ping -c 1 -W 2 "$2"; }
apart() { ! ctr "$1" ping -c 1 -W 1 "$2"; }
asleep() { kedge run -d "$@" busybox sleep 1000 >/dev/null; }

# --- made and looked at
check "create prints the id" equal "$(kedge network create one | tr -d '0-9a-f\n' | wc -c)" 0
check "create with everything" kedge network create --subnet 10.77.0.0/16 --ip-range 10.77.5.0/24 --gateway 10.77.0.254 --aux-address box=10.77.5.1 \
	--label tier=lab -o com.docker.network.bridge.name=lab0 -o com.docker.network.driver.mtu=1400 two
check "ls" equal "$(kedge network ls --format '{{.Name}} {{.Driver}} {{.Scope}}' | tr '\n' ,)" "bridge bridge local,host host local,none null local,one bridge local,two bridge local,"
check "info names the drivers" equal "$(kedge info -f "{{json .Plugins.Network}}")" "[\"bridge\",\"host\",\"ipvlan\",\"macvlan\",\"null\"]"
check "ls -q" equal "$(kedge network ls -q | wc -l)" 5
check "ls by name, driver, label, type, id" equal "$(kedge network ls -qf name=tw | wc -l) $(kedge network ls -qf driver=null | wc -l) $(kedge network ls -qf label=tier=lab | wc -l) $(kedge network ls -qf type=custom | wc -l) $(kedge network ls -qf id=$(kedge network inspect -f '{{.Id}}' one) | wc -l)" "1 1 1 2 1"
check "default pools follow each other" has "$(kedge network inspect -f '{{(index .IPAM.Config 0).Subnet}}' one)" "172.18.0.0/16"
check "inspect shows what was asked for" equal "$(kedge network inspect -f '{{with index .IPAM.Config 0}}{{.Subnet}} {{.IPRange}} {{.Gateway}} {{.AuxiliaryAddresses.box}}{{end}} {{.Labels.tier}}' two)" "10.77.0.0/16 10.77.5.0/24 10.77.0.254 10.77.5.1 lab"
check "the bridge has its name, its MTU and its address" has "$(ip -o addr show lab0) $(ip -o link show lab0)" "10.77.0.254/16"
check "MTU" has "$(ip -o link show lab0)" "mtu 1400"

# --- refused
check "the name is taken" refused "network with name one already exists" kedge network create one
check "a predefined name" refused "operation is not permitted on predefined bridge network" kedge network create bridge
check "a subnet that overlaps another network's" refused "invalid pool request: Pool overlaps with other one on this address space" kedge network create --subnet 10.77.128.0/24 x
check "host bits in a subnet" refused "invalid subnet 10.1.1.1/24: it should be 10.1.1.0/24" kedge network create --subnet 10.1.1.1/24 x
check "a gateway elsewhere" refused "no matching subnet for gateway 10.2.0.1" kedge network create --subnet 10.1.1.0/24 --gateway 10.2.0.1 x
check "an unknown driver" refused "plugin" kedge network create -d nosuch x
check "another host network" refused 'only one instance of "host" network is allowed' kedge network create -d host x
check "overlay without a swarm" refused "This node is not a swarm manager" kedge network create -d overlay x
check "an option nobody knows" refused "com.docker.network.bridge.nosuch" kedge network create -o com.docker.network.bridge.nosuch=1 x
check "an option of another driver" refused "option macvlan_mode is not supported by the driver bridge" kedge network create -o macvlan_mode=vepa x
check "an option of nobody's is the user's own" equal "$(kedge network create -o my.own=1 own >/dev/null; kedge network inspect -f '{{index .Options "my.own"}}' own; kedge network rm own >/dev/null)" 1
check "the mesh's network" refused "an ingress network: This node is not a swarm manager" kedge network create --ingress x
check "a scope" refused "a network of the scope swarm: This node is not a swarm manager" kedge network create --scope swarm x
check "a bridge in use" refused "the bridge lab0 is in use by network two" kedge network create -o com.docker.network.bridge.name=lab0 x
check "rm of a predefined one" refused "bridge is a pre-defined network and cannot be removed" kedge network rm bridge
check "rm -f of none" equal "$(kedge network rm -f nosuch 2>&1)" ""
check "rm of none" refused "network nosuch not found" kedge network rm nosuch
check "nothing is left of all that" equal "$(kedge network ls -q | wc -l) $(ip -br link show type bridge | wc -l)" "5 3"

# --- run on them
asleep --name ca --network one --network-alias alpha
asleep --name cb --network one
asleep --name cc --network name=two,ip=10.77.9.9,alias=gamma,mac-address=02:42:00:00:00:77
check "addresses from the network's pool" has "$(ip_of ca one)" "172.18.0.2"
check "neighbours reach each other" reaches ca "$(ip_of cb one)"
check "networks do not" apart ca 10.77.9.9
check "nor the other way" apart cc "$(ip_of ca one)"
asleep --name cd
check "nor the default one" apart cc "$(ip_of cd bridge)"
check "nor the other way" apart cd 10.77.9.9
kedge rm -f cd >/dev/null
check "the fixed address, MAC and MTU" has "$(ctr cc ip addr)" "10.77.9.9/16"
check "MAC" has "$(ctr cc ip addr)" "02:42:00:00:00:77"
check "MTU inside" has "$(ctr cc ip addr)" "mtu 1400"
check "aliases and names are recorded" equal "$(kedge inspect -f '{{json (index .NetworkSettings.Networks "one").DNSNames}}' ca)" "[\"ca\",\"alpha\",\"$(kedge inspect -f '{{.Id}}' ca | cut -c 1-12)\"]"
check "out to another machine" ctr ca ping -c 1 -W 2 192.0.2.2
check "the range is handed out, the aux address is not" has "$(kedge run --rm --network two busybox ip addr)" "10.77.5.0/16"
check "an address that is taken" refused "Address already in use" kedge run --rm --network name=two,ip=10.77.9.9 busybox true
check "an address elsewhere" refused "no configured subnet or ip-range contain the IP address 10.99.0.1" kedge run --rm --network name=two,ip=10.99.0.1 busybox true
check "an address on the default network" refused "user specified IP address is supported on user defined networks only" kedge run --rm --ip 172.17.0.9 busybox true
check "a network that is not there" refused "network nosuch not found" kedge run --rm --network nosuch busybox true
check "inspect names the containers" has "$(kedge network inspect -f '{{json .Containers}}' one)" '"Name":"ca"'
check "rm while in use" refused "error while removing network: network two has active endpoints (name:\"cc\" id:\"" kedge network rm two
check "ps by network" equal "$(kedge ps --filter network=two --format '{{.Names}}')" cc

# --- connect and disconnect, a flow through it all
"$builddir/kedge" -H "unix://$sock" events --filter type=network --format '{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.container}}' >"$tmp/events" &
events_pid=$!
ctr cb nc -l -p 9000 -e cat & 
until_ok 5 ctr cb sh -c 'netstat -ltn | grep -q :9000'
mkfifo "$tmp/in"
ctr -i ca nc "$(ip_of cb one)" 9000 <"$tmp/in" >"$tmp/out" &
exec {flow}>"$tmp/in"
echo first >&$flow
until_ok 5 grep -q first "$tmp/out"
check "connect" kedge network connect --alias extra --ip 10.77.7.7 two ca
check "a second interface with its address" has "$(ctr ca ip -o addr)" "eth1"
check "the address asked for" equal "$(ip_of ca two)" 10.77.7.7
check "reaches who is there" reaches ca 10.77.9.9
check "keeps its default route" has "$(ctr ca ip route)" "default via 172.18.0.1"
check "hosts has the new line" has "$(ctr ca cat /etc/hosts)" "10.77.7.7"
echo second >&$flow
check "the flow goes on" until_ok 5 grep -q second "$tmp/out"
check "connected already" refused "endpoint with name ca already exists in network two" kedge network connect two ca
check "the host's network is for life" refused "cannot connect container to host network" kedge network connect host ca
check "disconnect" kedge network disconnect two ca
check "the interface is gone" equal "$(ctr ca ip -o link | grep -c eth1)" 0
check "and the line in hosts" equal "$(ctr ca grep -c 10.77.7.7 /etc/hosts)" 0
check "and the endpoint" equal "$(kedge inspect -f '{{len .NetworkSettings.Networks}}' ca)" 1
check "not connected any more" refused "is not connected to network two" kedge network disconnect two ca
echo third >&$flow
check "the flow goes on after it" until_ok 5 grep -q third "$tmp/out"
exec {flow}>&-
check "events say it" until_ok 5 grep -q "disconnect two $(kedge inspect -f '{{.Id}}' ca)" "$tmp/events"
kill $events_pid 2>/dev/null || true

# --- published ports follow the default route
asleep --name web --network one -p 8081:80
ctr web sh -c 'mkdir /www; echo hi >/www/index.html; httpd -p 80 -h /www'
check "published" until_ok 5 client curl -fsS --max-time 2 http://192.0.2.1:8081/
check "leaves its only network" kedge network disconnect one web
check "and is published no more" sh -c '! nsenter --net=/run/netns/client curl -fsS --max-time 1 http://192.0.2.1:8081/'
check "joins another" kedge network connect two web
check "published there" until_ok 5 client curl -fsS --max-time 2 http://192.0.2.1:8081/
check "for this host too" curl -fsS --max-time 2 http://127.0.0.1:8081/
kedge rm -f web >/dev/null

# --- stopped ones
kedge create --name later --network one busybox sleep 1000 >/dev/null
check "connect before the start" kedge network connect --gw-priority 5 two later
check "start" kedge start later
check "both interfaces, the higher priority gives the default route" has "$(ctr later ip route)" "default via 10.77.0.254"
kedge stop -t 0 later >/dev/null
check "disconnect of a stopped one" kedge network disconnect one later
kedge start later >/dev/null
check "is remembered" equal "$(kedge inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}' later)" two
kedge rm -f later >/dev/null

# --- shared with another container, the host's, none
check "container:ID shares the interfaces" equal "$(kedge run --rm --network container:cc busybox cat /sys/class/net/eth0/address)" "02:42:00:00:00:77"
check "and the host name" equal "$(kedge run --rm --network container:cc busybox hostname)" "$(ctr cc hostname)"
check "and the hosts file" has "$(kedge run --rm --network container:cc busybox cat /etc/hosts)" 10.77.9.9
check "not with ports of its own" refused "conflicting options: port publishing and the container type network mode" kedge run --rm --network container:cc -p 80 busybox true
kedge create --name idle busybox true >/dev/null
check "not of a stopped one" refused "cannot join network of a non running container" kedge run --rm --network container:idle busybox true
check "host" equal "$(kedge run --rm --network host busybox ip -o addr show up0 | grep -c 192.0.2.1)" 1
check "none" equal "$(kedge run --rm --network none busybox ls /sys/class/net)" lo
check "not both" refused "conflicting options: cannot attach both user-defined and non-user-defined network-modes" kedge run --rm --network one --network host busybox true

# --- the engine dies and comes back
kedge network connect two cb
engine_kill9
engine_start
check "networks are there" equal "$(kedge network ls -q | wc -l)" 5
check "containers are on theirs" equal "$(kedge inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{end}}' cb)" "one two "
check "and reach each other" reaches cb 10.77.9.9
check "and can leave" kedge network disconnect two cb
check "a taken address stays taken" refused "Address already in use" kedge run --rm --network name=two,ip=10.77.9.9 busybox true

# --- removed under a container at rest
kedge network create brief >/dev/null
kedge create --name idler --network brief busybox sleep 1000 >/dev/null
kedge network connect two idler
kedge network rm brief >/dev/null
check "does not start without its network" refused "not found" kedge start idler
check "unless it forgets it" kedge network disconnect brief idler
check "and does with the other" kedge start idler
kedge rm -f idler >/dev/null

# --- removed
check "dangling" equal "$(kedge network create spare >/dev/null; kedge network ls -f dangling=true --format '{{.Name}}')" spare
check "prune removes what nobody uses" equal "$(kedge network prune -f | tr '\n' ' ')" "Deleted Networks: spare  "
kedge rm -f ca cb cc idle >/dev/null
check "rm" equal "$(kedge network rm one two | tr '\n' ' ')" "one two "
check "the bridges go" until_ok 5 sh -c '[ "$(ip -br link show type bridge | wc -l)" = 1 ]'
check "no veth is left" until_ok 5 sh -c '! ip -br link | grep -q ^kv'

# --- subnets of one's own to cut from
engine_stop
echo '{"default-address-pools": [{"base": "10.200.0.0/22", "size": 24}]}' >"$tmp/daemon.json"
ip route add 10.200.1.0/24 via 192.0.2.2
engine_start
kedge network create cut1 >/dev/null
check "from the configured pool" equal "$(kedge network inspect -f '{{(index .IPAM.Config 0).Subnet}}' cut1)" "10.200.0.0/24"
kedge network create cut2 >/dev/null
check "the next one around a route of the host" equal "$(kedge network inspect -f '{{(index .IPAM.Config 0).Subnet}}' cut2)" "10.200.2.0/24"
kedge network create cut3 >/dev/null
check "until nothing is left" refused "all of the configured default-address-pools" kedge network create cut4
kedge network rm cut1 cut2 cut3 >/dev/null

# A bridge of the user's own is served while the network is there, and stays when it goes.
filters() { tc filter show dev "$1" egress | grep -c kedge_ || true; }
ip link add br7 type bridge
ip link set br7 up
kedge network create --subnet 172.35.0.0/24 -o com.docker.network.bridge.name=br7 own >/dev/null
check "the user's bridge: served" equal "$(filters br7)" 1
kedge network rm own >/dev/null
check "the user's bridge: left as it was" until_ok 5 sh -c '[ -z "$(tc filter show dev br7 egress)" ]'
check "the user's bridge: there" ip link show br7
ip link del br7
