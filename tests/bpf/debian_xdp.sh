#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# XDP at a network card: a card's driver is what --xdp=auto is for, and most machines that run tests have none to spare. The network module in
# an emulated machine with a virtio card.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest_lib.sh"
guest_program "$build/tests/system/net_tool"
modules="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net llc stp bridge veth sch_ingress cls_bpf"
for m in $modules; do
	find "$package/lib/modules" -name "$m.ko" -exec cp {} "$dir/root/modules/" \;
done
echo "$modules" >"$dir/root/modules/order"
guest_run -netdev hubport,id=wire,hubid=0 -device virtio-net-pci,netdev=wire,mac=02:00:00:00:00:01 <<'TEXT'
for m in $(/bin/busybox cat /modules/order); do
	[ ! -e /modules/$m.ko ] || /bin/busybox insmod /modules/$m.ko
done
/bin/busybox ip link set lo up
/bin/busybox ip link set eth0 up
/bin/busybox ip addr add 192.0.2.1/24 dev eth0
web=a100000000000000000000000000000000000000000000000000000000000000
other=a200000000000000000000000000000000000000000000000000000000000000
engine() {
	name=$1
	shift
	for c in "$@" info quit; do echo "$c"; done | ASAN_OPTIONS=detect_leaks=0 /net_tool /run test ebpf >/out 2>/log
	/bin/busybox sed -n "s/.*\"XDP\":{\"Mode\":\"\([a-z]*\)\",\"Interfaces\":\[\([^]]*\)\].*/$name: \1 \2;/p" /out
	/bin/busybox grep '^error' /out
	/bin/busybox grep XDP /log
	echo "$name: pins $(/bin/busybox ls /sys/fs/bpf/kedge/test | /bin/busybox grep -c '^xdp_')"
}
engine open gc "open $other other bridge tcp:*:8090:80"
engine listed "adopt $other" gc "open $web web bridge tcp:*:8080:80 sources=203.0.113.0/24"
engine again "adopt $other" "adopt $web" gc
engine closed "adopt $other" "adopt $web" gc "close $web"
engine after "adopt $other" gc
echo "STATUS 0"
TEXT
failed=0
want() { grep -qxF -- "$1" "$dir/console" || { echo "FAIL: no line '$1'"; failed=1; }; }
want 'open: auto ;'
want 'open: pins 0'
want 'listed: auto "eth0";'
want 'listed: pins 1'
want 'again: auto "eth0";'
want 'again: pins 1'
want 'closed: auto "eth0";'		# until the next start
want 'closed: pins 1'
want 'after: auto ;'
want 'after: pins 0'
exit $failed
