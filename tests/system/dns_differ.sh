#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a program learns through the name server is what it learns from the server behind it: 10,000 names, ndots 0, 1 and 5.
. "$(dirname "$0")/lib.sh"
command -v dnsmasq >/dev/null || skip "needs dnsmasq (dnsmasq-base)"

for i in $(seq 0 2 999); do
	echo "198.51.100.$((i % 250)) h$i.lab h$i.sub.lab a.b.c.d.h$i.lab"
	echo "2001:db8::$i six$i.lab"
done >"$tmp/hosts"
nsenter --net=/run/netns/client dnsmasq -k -C /dev/null -u root --pid-file= -R -h --addn-hosts="$tmp/hosts" --bind-interfaces --listen-address=192.0.2.2 --local=// \
	--local=/lab/ --local-ttl=600 >/dev/null 2>&1 &
upstream=$!
cleanup() { kill $upstream 2>/dev/null || true; }
echo "nameserver 192.0.2.2" >"$tmp/resolv.conf"
mount --bind "$tmp/resolv.conf" /etc/resolv.conf
engine_start
need_image busybox
kedge network create app >/dev/null
id=$(kedge run -d --name web --network app busybox sleep 1000)
until_ok 10 nsenter --net="$run/netns/$id" "$builddir/tests/system/dns_differ" 127.0.0.11 53 192.0.2.2 53 lab,sub.lab 10
check "nothing differs" nsenter --net="$run/netns/$id" "$builddir/tests/system/dns_differ" 127.0.0.11 53 192.0.2.2 53 lab,sub.lab 10000
cat "$tmp/check.out"
