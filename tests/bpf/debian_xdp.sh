#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# XDP at a network card: a card's driver is what --xdp=auto is for, and most machines that run tests have none to spare. The network module as the only program
# of an emulated machine with a virtio card, on Debian 12's own kernel, which tools/check or tools/check-v2 has fetched.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
build=${KEDGE_BUILD:-$(pwd)}
package=$(find "$build/kernel" "$top/build-v2/vm" -maxdepth 1 -name 'linux-image-*' 2>/dev/null | head -n 1 || true)
kernel=$(find "$package/boot" -name 'vmlinuz-*' 2>/dev/null | head -n 1 || true)
[ -n "$package" ] && [ -n "$kernel" ] || { echo "SKIP: needs Debian's kernel, which tools/check fetches"; exit 77; }
for p in qemu-system-x86_64 cpio busybox; do command -v $p >/dev/null || { echo "SKIP: needs $p"; exit 77; }; done
ldd "$(type -P busybox)" >/dev/null 2>&1 && { echo "SKIP: needs a static busybox"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir"/root/{bin,proc,sys,tmp,run,modules}
cp -L "$(type -P busybox)" "$dir/root/bin/busybox"
cp "$build/tests/system/net_tool" "$dir/root/net_tool"
for f in $(ldd "$build/tests/system/net_tool" | grep -oE '/[^ ]+'); do
	mkdir -p "$dir/root$(dirname "$f")"
	cp -L "$f" "$dir/root$f"
done
modules="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net llc stp bridge veth sch_ingress cls_bpf"
for m in $modules; do
	find "$package/lib/modules" -name "$m.ko" -exec cp {} "$dir/root/modules/" \;
done
echo "$modules" >"$dir/root/modules/order"
cat >"$dir/root/init" <<'TEXT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
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
/bin/busybox poweroff -f
TEXT
chmod 755 "$dir/root/init"
(cd "$dir/root" && find . | cpio -o -H newc --quiet) >"$dir/cpio"
timeout 300 qemu-system-x86_64 -machine q35 -accel tcg -cpu max -smp 1 -m 1024 -nodefaults -no-user-config -display none -serial stdio -no-reboot \
	-netdev hubport,id=wire,hubid=0 -device virtio-net-pci,netdev=wire,mac=02:00:00:00:00:01 \
	-kernel "$kernel" -initrd "$dir/cpio" -append 'console=ttyS0 quiet panic=-1 rdinit=/init' </dev/null | tr -d '\r' | tee "$dir/console"
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
