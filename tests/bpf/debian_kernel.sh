#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every BPF program, shown to the verifier of Debian 12's own kernel (6.1), which knows less than newer ones do: tests/bpf/verify as the only program of an
# emulated machine. The kernel is the one tools/check or tools/check-v2 has fetched.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
build=${KEDGE_BUILD:-$(pwd)}
kernel=$(find "$build"/kernel/linux-image-*/boot "$top"/build-v2/vm/linux-image-*/boot -name 'vmlinuz-*' 2>/dev/null | head -n 1 || true)
[ -n "$kernel" ] || { echo "SKIP: needs Debian's kernel, which tools/check fetches"; exit 77; }
for p in qemu-system-x86_64 cpio busybox; do command -v $p >/dev/null || { echo "SKIP: needs $p"; exit 77; }; done
ldd "$(type -P busybox)" >/dev/null 2>&1 && { echo "SKIP: needs a static busybox"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir"/root/{bin,proc,sys}
cp -L "$(type -P busybox)" "$dir/root/bin/busybox"
cp "$build/tests/bpf/verify" "$dir/root/verify"
for f in $(ldd "$build/tests/bpf/verify" | grep -oE '/[^ ]+'); do
	mkdir -p "$dir/root$(dirname "$f")"
	cp -L "$f" "$dir/root$f"
done
cat >"$dir/root/init" <<'TEXT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
ASAN_OPTIONS=detect_leaks=0 /verify >/out 2>&1
rc=$?
/bin/busybox tail -n 40 /out
echo "STATUS $rc"
/bin/busybox poweroff -f
TEXT
chmod 755 "$dir/root/init"
(cd "$dir/root" && find . | cpio -o -H newc --quiet) >"$dir/cpio"
timeout 300 qemu-system-x86_64 -machine q35 -accel tcg -cpu max -smp 1 -m 1024 -nodefaults -no-user-config -display none -serial stdio -no-reboot \
	-kernel "$kernel" -initrd "$dir/cpio" -append 'console=ttyS0 quiet panic=-1 rdinit=/init' </dev/null | tr -d '\r' | tee "$dir/console"
grep -qx 'STATUS 0' "$dir/console"
