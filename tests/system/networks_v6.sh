#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Networks with IPv6: dual stack and IPv6 alone, default subnets, fixed addresses, routes, joined and left, over the engine's restart.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox

ctr() { kedge exec "$@"; }
six() { kedge inspect -f "{{(index .NetworkSettings.Networks \"$2\").GlobalIPv6Address}}" "$1"; }
four() { kedge inspect -f "{{(index .NetworkSettings.Networks \"$2\").IPAddress}}" "$1"; }
refused() { local want=$1; shift; has "$("$@" 2>&1 || true)" "$want"; }
reaches() { ctr "$1" ping -c 1 -W 2 "$2"; }
apart() { ! ctr "$1" ping -c 1 -W 1 "$2"; }
asleep() { kedge run -d "$@" busybox sleep 1000 >/dev/null; }
subnets() { kedge network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}' "$1"; }

check "dual stack with default subnets" kedge network create --ipv6 dual
check "one of each family" sh -c "echo '$(subnets dual)' | grep -Eq '^172\.18\.0\.0/16 fd[0-9a-f]{2}:[0-9a-f:]+/64 $'"
check "the flags say so" equal "$(kedge network inspect -f '{{.EnableIPv4}} {{.EnableIPv6}}' dual)" "true true"
check "IPv6 alone" kedge network create --ipv4=false --ipv6 --subnet fd00:77::/64 --gateway fd00:77::fe lone
check "has no IPv4 subnet" equal "$(subnets lone)" "fd00:77::/64 "
check "ls shows the families" has "$(kedge network ls -f name=lone --format '{{.IPv4}} {{.IPv6}}')" "false true"
check "by options" kedge network create -o com.docker.network.enable_ipv4=false -o com.docker.network.enable_ipv6=true byopt
check "they say the same" equal "$(kedge network inspect -f '{{.EnableIPv4}} {{.EnableIPv6}}' byopt)" "false true"
kedge network rm byopt >/dev/null
check "the flag wins" equal "$(kedge network create --ipv6 -o com.docker.network.enable_ipv6=false byflag >/dev/null; kedge network inspect -f '{{.EnableIPv6}}' byflag; kedge network rm byflag >/dev/null)" true
check "neither is refused" refused "IPv4 or IPv6 must be enabled" kedge network create --ipv4=false x
check "an overlap is refused" refused "Pool overlaps with other one" kedge network create --ipv6 --subnet fd00:77:0:0:8000::/65 x

asleep --name d1 --network dual
asleep --name d2 --network dual
asleep --name l1 --network name=lone,ip6=fd00:77::beef:1
asleep --name l2 --network lone
check "both addresses" sh -c "[ -n '$(four d1 dual)' ] && [ -n '$(six d1 dual)' ]"
check "the container has them, usable at once" has "$(ctr d1 ip -6 addr show eth0)" "$(six d1 dual)"
check "the fixed one" has "$(ctr l1 ip -6 addr show eth0)" "fd00:77::beef:1/64"
check "no IPv4 without it" equal "$(ctr l1 ip -4 addr show eth0 | wc -l)" 0
check "neighbours over IPv4" reaches d1 "$(four d2 dual)"
check "neighbours over IPv6" reaches d1 "$(six d2 dual)"
check "and on the IPv6 network" reaches l2 fd00:77::beef:1
check "the gateway" reaches l2 fd00:77::fe
check "the default route" has "$(ctr l1 ip -6 route)" "default via fd00:77::fe"
check "networks are apart" apart d1 fd00:77::beef:1
check "and the other way" apart l1 "$(six d1 dual)"
check "hosts names both" equal "$(ctr d1 grep -c "$(ctr d1 hostname)" /etc/hosts)" 2
check "inspect of the network" has "$(kedge network inspect -f '{{json .Containers}}' lone)" '"IPv6Address":"fd00:77::beef:1/64"'
check "a taken address" refused "Address already in use: fd00:77::beef:1" kedge run --rm --network name=lone,ip6=fd00:77::beef:1 busybox true
check "a wrong family" refused "invalid IPv6 address" kedge run --rm --network name=lone,ip6=10.0.0.1 busybox true

# A container with IPv4 only gets IPv6 by a second network, on that interface alone.
asleep --name v4
check "none without a network that has it" equal "$(ctr v4 cat /proc/net/if_inet6 | grep -vc ' lo$')" 0
check "connect" kedge network connect lone v4
check "IPv6 on the new interface" reaches v4 fd00:77::beef:1
check "routes of both families by different networks" has "$(ctr v4 ip route) $(ctr v4 ip -6 route)" "default via 172.17.0.1"
check "IPv6's too" has "$(ctr v4 ip -6 route)" "default via fd00:77::fe"
check "disconnect" kedge network disconnect lone v4
check "takes it away" equal "$(ctr v4 cat /proc/net/if_inet6 | grep -vc ' lo$')" 0

engine_kill9
engine_start
check "after a restart they still talk" reaches d1 "$(six d2 dual)"
check "the address is still taken" refused "Address already in use" kedge run --rm --network name=lone,ip6=fd00:77::beef:1 busybox true
check "the next default subnet is another one" sh -c "'$builddir/kedge' -H 'unix://$sock' network create --ipv6 dual2 >/dev/null && [ '$(subnets dual)' != \"\$('$builddir/kedge' -H 'unix://$sock' network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}' dual2)\" ]"
kedge rm -f d1 d2 l1 l2 v4 >/dev/null
check "rm" equal "$(kedge network rm dual dual2 lone | wc -l)" 3
