#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The docker CLI on networks: its words, its tables, and links as it still sends them.
. "$(dirname "$0")/lib.sh"
docker_recent || skip "needs docker's client from version 28 on (gw-priority, driver options of endpoints)"

engine_start
need_image busybox
d() { docker -H "unix://$sock" "$@"; }
refused() { local want=$1; shift; has "$("$@" 2>&1 || true)" "$want"; }

check "create" d network create --subnet 10.88.0.0/16 --ip-range 10.88.1.0/24 --gateway 10.88.0.1 --label x=y --attachable front
check "create, dual stack" d network create --ipv6 --subnet 10.89.0.0/16 --subnet fd00:89::/64 back
check "create, internal" d network create --internal --opt com.docker.network.bridge.enable_icc=false shut
check "ls" has "$(d network ls)" "front     bridge    local"
check "ls filters" equal "$(d network ls -q -f label=x=y | wc -l) $(d network ls -q -f driver=bridge | wc -l) $(d network ls -q -f dangling=true | wc -l)" "1 4 3"
check "inspect" equal "$(d network inspect -f '{{.Name}} {{.Attachable}} {{.Internal}} {{.EnableIPv6}}' front back shut | tr '\n' ,)" "front true false false,back false false true,shut false true false,"
check "run on two" d run -d --name web --network name=front,ip=10.88.5.5,alias=www --network name=back,ip6=fd00:89::77,gw-priority=7 busybox sleep 1000
check "the networks of it" equal "$(d inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.IPAddress}} {{end}}' web)" "back 10.89.0.2 front 10.88.5.5 "
check "the default route is back's" has "$(d exec web ip route)" "default via 10.89.0.1"
check "eth0 is the first one's" has "$(d exec web ip addr show eth0)" 10.88.5.5
check "IPv6" has "$(d exec web ip addr show eth1)" fd00:89::77
check "ps by network" equal "$(d ps -q --filter network=back | wc -l)" 1
check "connect" d network connect --alias deep --driver-opt com.docker.network.endpoint.ifname=lab7 shut web
check "by the name asked for" has "$(d exec web ip -o link)" "lab7"
check "settings of the interface" equal "$(d run --rm --network name=front,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1 busybox cat /proc/sys/net/ipv4/conf/eth0/log_martians)" 1
check "of the interface only" refused "is not a setting of the interface" d run --rm --network name=front,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.ip_forward=1 busybox true
check "and that there are" refused "there is no setting" d run --rm --network name=front,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.nosuch=1 busybox true
check "rm in use" refused 'has active endpoints (name:"web"' d network rm front
check "disconnect" d network disconnect shut web
check "disconnect twice" refused "is not connected to network shut" d network disconnect shut web
check "rename shows in the network" sh -c "docker -H unix://$sock rename web net && docker -H unix://$sock network inspect -f '{{range .Containers}}{{.Name}}{{end}}' front | grep -qx net"
check "and among its names" has "$(d inspect -f '{{json .NetworkSettings.Networks.front.DNSNames}}' net)" '["net","www"'
check "events" has "$(d events --since 1h --until $(($(date +%s) + 1)) --filter type=network --format '{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}' | sort -u | tr '\n' ,)" "connect back bridge,connect front bridge,connect shut bridge,create back bridge,create front bridge,create shut bridge,disconnect front bridge,disconnect shut bridge,"

check "link" sh -c "docker -H unix://$sock run -d --name db busybox sleep 1000 && docker -H unix://$sock run -d --name app --link db:store busybox sleep 1000"
check "the link's names in hosts" has "$(d exec app cat /etc/hosts)" "store $(d exec db hostname) db"
d stop -t 0 db >/dev/null
d run -d --name other busybox sleep 1000 >/dev/null
d start db >/dev/null
check "the new address after a restart" until_ok 5 sh -c "docker -H unix://$sock exec app cat /etc/hosts | grep -q \"^\$(docker -H unix://$sock inspect -f '{{.NetworkSettings.IPAddress}}' db).*store\""
d stop -t 0 db >/dev/null
check "not to a stopped one" refused "Cannot link to a non running container: /db AS /late/store" d run --name late --link db:store busybox true
check "host-gateway" has "$(d run --rm --add-host host.docker.internal:host-gateway busybox cat /etc/hosts)" "172.17.0.1	host.docker.internal"

check "config-only" d network create --config-only --subnet 10.90.0.0/24 -o com.docker.network.driver.mtu=1300 plan
check "config-from" d network create --config-from plan built
check "has what it was told" equal "$(d network inspect -f '{{(index .IPAM.Config 0).Subnet}} {{index .Options "com.docker.network.driver.mtu"}} {{.ConfigFrom.Network}}' built)" "10.90.0.0/24 1300 plan"
check "the plan cannot be run on" refused "configuration-only network plan" d run --rm --network plan busybox true
check "nor removed" refused "is in use by network built" d network rm plan

d rm -f net db app other late >/dev/null
check "prune" has "$(d network prune -f | sort | tr '\n' ' ')" "Deleted Networks: back built front shut"
check "rm of what is gone" refused "network front not found" d network rm front
check "rm -f of what is gone" d network rm -f front
d network rm plan >/dev/null
check "three are left" equal "$(d network ls -q | wc -l)" 3
