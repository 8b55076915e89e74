# SPDX-License-Identifier: Apache-2.0
# For tests/bpf/debian_*.sh: an emulated machine with Debian 12's own kernel, the one tools/check or tools/check-v2 has fetched, and one program in it.
# Sets $build, $package (the kernel's files) and $dir, which goes with the script.
# shellcheck shell=bash
set -euo pipefail
guest_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${KEDGE_BUILD:-$(pwd)}
package=$(find "$build/kernel" "$guest_top/build-v2/vm" -maxdepth 1 -name 'linux-image-*' 2>/dev/null | head -n 1 || true)
kernel=$(find "$package/boot" -name 'vmlinuz-*' 2>/dev/null | head -n 1 || true)
[ -n "$package" ] && [ -n "$kernel" ] || { echo "SKIP: needs Debian's kernel, which tools/check fetches"; exit 77; }
for p in qemu-system-x86_64 cpio busybox; do command -v $p >/dev/null || { echo "SKIP: needs $p"; exit 77; }; done
ldd "$(type -P busybox)" >/dev/null 2>&1 && { echo "SKIP: needs a static busybox"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# guest_program FILE: it, as /NAME, with what it is linked to, and busybox.
guest_program() {
	local f
	mkdir -p "$dir"/root/{bin,proc,sys,tmp,run,modules}
	cp -L "$(type -P busybox)" "$dir/root/bin/busybox"
	cp "$1" "$dir/root/$(basename "$1")"
	for f in $(ldd "$1" | grep -oE '/[^ ]+'); do
		mkdir -p "$dir/root$(dirname "$f")"
		cp -L "$f" "$dir/root$f"
	done
}
# guest_run [ARGUMENT...]: of qemu's; what the machine does comes from standard input, behind the mounts. Its words go to standard output and $dir/console.
guest_run() {
	{
		printf '#!/bin/busybox sh\n/bin/busybox mount -t proc proc /proc\n/bin/busybox mount -t sysfs sysfs /sys\n'
		cat
		echo '/bin/busybox poweroff -f'
	} >"$dir/root/init"
	chmod 755 "$dir/root/init"
	(cd "$dir/root" && find . | cpio -o -H newc --quiet) >"$dir/cpio"
	timeout 300 qemu-system-x86_64 -machine q35 -accel tcg -cpu max -smp 1 -m 1024 -nodefaults -no-user-config -display none -serial stdio -no-reboot "$@" \
		-kernel "$kernel" -initrd "$dir/cpio" -append 'console=ttyS0 quiet panic=-1 rdinit=/init' </dev/null | tr -d '\r' | tee "$dir/console"
}
