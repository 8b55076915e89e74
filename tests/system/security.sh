#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a default container has, to the last descriptor, held against a written list; and the known ways out of containers, tried.
. "$(dirname "$0")/lib.sh"

v2=
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || v2=1
engine_start
need_image busybox
sum() { sha256sum "$builddir/kedge-runtime" "$builddir/kedged" | sha256sum; }
before=$(sum)
pattern=$(cat /proc/sys/kernel/core_pattern)

# The census. Each list is what there is and nothing else.
kedge run -d --name box busybox sleep 1000 >/dev/null
pid=$(kedge inspect -f '{{.State.Pid}}' box)
field() { awk -v k="$1:" '$1 == k { print $2 }' "/proc/$pid/status"; }
check "census: descriptors" equal "$(ls "/proc/$pid/fd" | tr '\n' ' ')" "0 1 2 "
check "census: what they are" equal "$(for f in 0 1 2; do readlink "/proc/$pid/fd/$f" | sed 's/:.*//'; done | tr '\n' ' ')" "/dev/null pipe pipe "
check "census: descriptors of an exec" equal "$(kedge exec box sh -c 'ls /proc/$$/fd; true' | tr '\n' ' ')" "0 1 2 "
check "census: capabilities, bounding" equal "$(field CapBnd)" 00000000a80425fb
check "census: capabilities, permitted" equal "$(field CapPrm)" 00000000a80425fb
check "census: capabilities, effective" equal "$(field CapEff)" 00000000a80425fb
check "census: capabilities, inheritable" equal "$(field CapInh)" 0000000000000000
check "census: capabilities, ambient" equal "$(field CapAmb)" 0000000000000000
check "census: seccomp filter" equal "$(field Seccomp) $(field Seccomp_filters)" "2 1"
check "census: the same for an exec" equal "$(kedge exec box sh -c 'grep -E "^(Cap|Seccomp)" /proc/self/status')" "$(grep -E '^(Cap|Seccomp)' "/proc/$pid/status")"
check "census: no tracer, no further groups" equal "$(field TracerPid) $(awk '/^Groups:/{ print NF - 1 }' "/proc/$pid/status")" "0 0"
for ns in mnt pid net ipc uts; do
	check "census: own namespace: $ns" [ "$(readlink "/proc/$pid/ns/$ns")" != "$(readlink "/proc/self/ns/$ns")" ]
done
[ -z "$v2" ] || check "census: own namespace: cgroup" [ "$(readlink "/proc/$pid/ns/cgroup")" != "$(readlink /proc/self/ns/cgroup)" ]
check "census: environment" equal "$(tr '\0' '\n' <"/proc/$pid/environ" | sort)" "$(printf 'HOME=/root\nHOSTNAME=%s\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$(kedge inspect -f '{{.Config.Hostname}}' box)")"
check "census: working directory" equal "$(readlink "/proc/$pid/cwd")" /
check "census: processes" equal "$(kedge exec box ls /proc | grep -cE '^[0-9]+$')" 2

# Mount points: path, type, and whether they can be written.
cat >"$tmp/mounts.want" <<'LIST'
/ overlay rw
/dev tmpfs rw nosuid
/dev/mqueue mqueue rw nosuid nodev noexec
/dev/pts devpts rw nosuid noexec
/dev/shm tmpfs rw nosuid nodev noexec
/etc/hostname file rw
/etc/hosts file rw
/etc/resolv.conf file rw
/proc proc rw nosuid nodev noexec
/proc/acpi masked ro
/proc/asound masked ro
/proc/bus proc ro nosuid nodev noexec
/proc/fs proc ro nosuid nodev noexec
/proc/interrupts null
/proc/irq proc ro nosuid nodev noexec
/proc/kcore null
/proc/keys null
/proc/latency_stats null
/proc/sched_debug null
/proc/scsi masked ro
/proc/sys proc ro nosuid nodev noexec
/proc/sysrq-trigger proc ro nosuid nodev noexec
/proc/timer_list null
/proc/timer_stats null
/sys sysfs ro nosuid nodev noexec
/sys/devices/virtual/powercap masked ro
/sys/firmware masked ro
/sys/fs/cgroup cgroup ro nosuid nodev noexec
LIST
awk -v have="$(sed 's/ .*//' "$tmp/mounts.want")" '
{ at = $5; n = split($6, o, ","); flags = ""
  for (i = 1; i <= n; i++) if (o[i] ~ /^(ro|rw|nosuid|nodev|noexec)$/) f[o[i]] = 1
  for (i = 7; $i != "-"; i++); type = $(i + 1)
  if (at ~ /^\/sys\/fs\/cgroup/) { at = "/sys/fs/cgroup"; type = "cgroup" }
  if (at ~ /^\/etc\//) { print at, "file", ("rw" in f ? "rw" : "ro"); delete f; next }
  if (type == "devtmpfs" || $4 == "/null" || ($4 ~ /null$/ && at ~ /^\/proc/)) { print at, "null"; delete f; next }
  if (type == "tmpfs" && at ~ /^\/(proc|sys)\//) { print at, "masked", ("ro" in f ? "ro" : "rw"); delete f; next }
  s = at " " type " " ("ro" in f ? "ro" : "rw")
  if ("nosuid" in f) s = s " nosuid"
  if ("nodev" in f) s = s " nodev"
  if ("noexec" in f) s = s " noexec"
  print s; delete f }' "/proc/$pid/mountinfo" | LC_ALL=C sort -u >"$tmp/mounts.got"
check "census: mounts, none that is not on the list" equal "$(grep -vxFf "$tmp/mounts.want" "$tmp/mounts.got")" ""
# Masks are there wherever the kernel has what they hide.
while read -r at kind _; do
	case $at in /proc/* | /sys/*) [ -e "$at" ] || continue ;; esac
	check "census: mounted at $at" grep -q "^$at $kind" "$tmp/mounts.got"
done <"$tmp/mounts.want"
check "census: what is masked says nothing" equal "$(kedge exec box sh -c 'for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do [ ! -e $f ] || cat $f; done; ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v :; true')" ""
check "census: nodes in /dev" equal "$(kedge exec box find /dev -mindepth 1 -maxdepth 1 | sort | tr '\n' ' ')" \
	"/dev/core /dev/fd /dev/full /dev/mqueue /dev/null /dev/ptmx /dev/pts /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/tty /dev/urandom /dev/zero "
cid=$(kedge inspect -f '{{.Id}}' box)
if [ -z "$v2" ]; then
	check "census: device rules" equal "$(LC_ALL=C sort "/sys/fs/cgroup/devices/$id/$cid/devices.list")" \
		"$(printf 'b *:* m\nc *:* m\nc 136:* rwm\nc 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\nc 5:0 rwm\nc 5:1 rwm\nc 5:2 rwm')"
fi
no() { check "a container cannot: $1" status 1 kedge exec box sh -c "$2"; }
no "mount" 'mount -t tmpfs none /tmp 2>/dev/null'
no "unmount" 'umount /proc/kcore 2>/dev/null'
no "make namespaces" 'unshare -m true 2>/dev/null'
no "make user namespaces" 'unshare -U true 2>/dev/null'
no "set the clock" 'date -s 2020-01-01 >/dev/null 2>&1; [ "$(date +%Y)" = 2020 ]'
no "set its host name" 'hostname other 2>/dev/null'
no "read the kernel's log" 'dmesg >/dev/null 2>&1'
no "write kernel parameters" 'echo 1 >/proc/sys/vm/drop_caches 2>/dev/null'
no "pull the SysRq trigger" 'echo h >/proc/sysrq-trigger 2>/dev/null'
no "write to /sys" 'echo 1 >/sys/kernel/profiling 2>/dev/null'
no "open a disk it made a node for" 'mknod /disk b 7 0 2>/dev/null && head -c 1 /disk >/dev/null 2>&1'
no "make cgroups" 'mkdir /sys/fs/cgroup/memory/x /sys/fs/cgroup/x 2>/dev/null'
no "nice itself up" 'nice -n -5 true 2>&1 | grep -q . && exit 1'
kedge rm -f box >/dev/null

# CVE-2024-21626: a working directory that is a leaked descriptor of the host's. Whatever it is of, nothing may start there; a link of the
# image's to it is no better.
leaked=
for w in $(seq -f /proc/self/fd/%g 3 14) /proc/1/fd/5 /proc/thread-self/fd/7; do
	out=$(kedge run --rm -w "$w" busybox true 2>&1) && leaked="$leaked $w"
	has "$out" "$w" >/dev/null || leaked="$leaked $w($out)"
done
check "CVE-2024-21626: no descriptor to go to" equal "$leaked" ""
kedge run -d --name box busybox sh -c 'for n in 3 4 5 6 7 8 9 10 11 12; do ln -s /proc/self/fd/$n /l$n; done; exec sleep 1000' >/dev/null
until_ok 5 kedge exec box test -L /l12
leaked=
for n in 3 4 5 6 7 8 9 10 11 12; do
	for w in "/proc/self/fd/$n" "/l$n"; do ! kedge exec -w "$w" box true >/dev/null 2>&1 || leaked="$leaked $w"; done
done
check "CVE-2024-21626: nor for an exec" equal "$leaked" ""

# CVE-2019-5736: the runtime, entering the container, is overwritten through /proc/PID/exe.
kedge exec box sh -c 'printf "#!/proc/self/exe\n" >/evil; chmod 755 /evil'
kedge exec -d box sh -c 'while :; do for p in /proc/[0-9]*; do [ "${p#/proc/}" = 1 ] || [ "${p#/proc/}" = $$ ] || (echo broken >$p/exe) 2>/dev/null; done; done'
for _ in 1 2 3 4 5 6 7 8 9 10; do kedge exec box /evil >/dev/null 2>&1 || true; done
kedge rm -f box >/dev/null
# An image whose dynamic loader is its own gets to run as the runtime's program. It may do to it what one may do to a file that cannot be written. A runtime
# that is linked statically asks for no loader.
loader=$(grep -aom 1 '/lib[a-z0-9/_.-]*/ld-linux[a-z0-9_.-]*' "$builddir/kedge-runtime" | head -n 1 || true)
if [ -n "$loader" ]; then
	mkdir -p "$tmp/evil$(dirname "$loader")"
	cp "$builddir/tests/system/evil_loader" "$tmp/evil$loader"
	ln -s /proc/self/exe "$tmp/evil/run"
	tar -C "$tmp/evil" -cf - . | kedge import - evil >/dev/null
	looks=$(stat -c '%a %Y %Z' "$builddir/kedge-runtime")
	# 26 ETXTBSY: it is being executed, 30 EROFS.
	check "CVE-2019-5736: the program that is left to an evil loader is read-only" equal "$(kedge run --rm evil /run 2>&1 | sed 's/write 026/write 030/' | tr '\n' ' ')" "write 030 chmod 030 touch 030 "
	check "CVE-2019-5736: and looks as before" equal "$(stat -c '%a %Y %Z' "$builddir/kedge-runtime")" "$looks"
fi
check "CVE-2019-5736: the engine's programs are as they were" equal "$(sum)" "$before"

# CVE-2025-31133: what masks are bound from is something else of the image's or a volume's.
kedge volume create dev >/dev/null
at=$data/volumes/dev/_data
mkdir "$at/pts" "$at/shm" "$at/mqueue"
ln -s /proc/sys/kernel/core_pattern "$at/null"
masked=$(for f in kcore keys timer_list interrupts sched_debug; do [ ! -f /proc/$f ] || echo /proc/$f; done)
for what in link zero; do
	check "CVE-2025-31133: masks are the host's null device, whatever is called so inside ($what)" equal \
		"$(kedge run --rm -v dev:/dev busybox sh -c 'for f; do head -c 3 $f | wc -c; done' _ $masked | sort -u)" 0
	rm "$at/null"
	[ $what = zero ] || mknod "$at/null" c 1 5
done
# CVE-2025-52565: the console is bound to a link.
ln -s ../proc/sys/kernel/core_pattern "$at/console"
on_dev() { kedge run --rm -t -v dev:/dev -v /dev/pts:/dev/pts busybox "$@"; }
check "CVE-2025-52565: the console is bound to no link" has "$(on_dev true 2>&1)" "make '/dev/console'"
rm "$at/console"
touch "$at/console"
check "CVE-2025-52565: nor anywhere else" equal "$(on_dev awk '$3 != "" && $5 ~ /console|core_pattern/ { print $5 }' /proc/self/mountinfo | tr -d '\r')" /dev/console
check "CVE-2025-52565: the kernel's parameters are as before" equal "$(cat /proc/sys/kernel/core_pattern)" "$pattern"

# CVE-2025-52881: something else where the runtime expects /proc.
kedge volume create proc >/dev/null
mkdir -p "$data/volumes/proc/_data/self/attr" "$data/volumes/proc/_data/sys/net/ipv4"
for where in /proc /proc/self/attr /proc/sys/net /proc/self /proc/1; do
	check "CVE-2025-52881: nothing is mounted at $where" status 125 kedge run --rm -v "proc:$where:nocopy" busybox true
	check "CVE-2025-52881: no tmpfs either at $where" status 125 kedge run --rm --tmpfs "$where" busybox true
done
mkdir -p "$tmp/ctx/bin"
cp "$(command -v busybox)" "$tmp/ctx/bin/busybox"
ln -s busybox "$tmp/ctx/bin/true"
ln -s busybox "$tmp/ctx/bin/sh"
ln -s busybox "$tmp/ctx/bin/ls"
ln -s /proc/self "$tmp/ctx/detour"
ln -s /elsewhere "$tmp/ctx/sys"
tar -C "$tmp/ctx" -cf - . | kedge import - crooked >/dev/null
check "CVE-2025-52881: nor by a link of the image's" status 125 kedge run --rm -v proc:/detour/attr:nocopy crooked true
check "an image whose /sys is a link does not start" status 125 kedge run --rm crooked true

# CVE-2021-30465: a link changes under a volume while others mount into it.
kedge volume create race >/dev/null
kedge volume create prize >/dev/null
at=$data/volumes/race/_data
mkdir "$at/x" "$at/real"
touch "$data/volumes/prize/_data/marker"
python3 - "$at" <<'PY' &
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
os.symlink("/../../../../../../../../", "y")
end = __import__("time").time() + 20
while os.path.exists("go") is False and __import__("time").time() < end:
    libc.renameat2(-100, b"x", -100, b"y", 2)
PY
racer=$!
mounts_before=$(awk '{ print $5 }' /proc/self/mountinfo | sort)
outside=
for _ in 1 2 3 4 5 6 7 8; do
	kedge run --rm -v race:/m -v prize:/m/x busybox true >/dev/null 2>&1 || true
	out=$(kedge run --rm --mount type=volume,src=race,dst=/m,volume-subpath=x busybox ls /m 2>/dev/null) || true
	case $out in *etc* | *proc*) outside=yes ;; esac
done
touch "$at/go"
wait $racer || true
check "CVE-2021-30465: a changing link leads nowhere outside" equal "$outside" ""
check "CVE-2021-30465: nothing was mounted on the host" equal "$(awk '{ print $5 }' /proc/self/mountinfo | sort)" "$mounts_before"

check "after all that, the host's core_pattern is as it was" equal "$(cat /proc/sys/kernel/core_pattern)" "$pattern"
check "and the engine's programs too" equal "$(sum)" "$before"
