#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a container can see and do with the defaults, looked at from inside.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox

in_box() { kedge run --rm busybox sh -c "$1"; }
status_of() { in_box "grep -w $1 /proc/self/status" | tr -d '\t' | cut -d: -f2; }

check "capabilities are docker's fourteen" equal "$(status_of CapEff)" "00000000a80425fb"
check "bounding set too" equal "$(status_of CapBnd)" "00000000a80425fb"
check "no ambient or inheritable ones" equal "$(status_of CapAmb)$(status_of CapInh)" "00000000000000000000000000000000"
check "seccomp filters" equal "$(status_of Seccomp)" "2"
check "only 0, 1, 2 are open" equal "$(in_box 'ls /proc/self/fd | tr "\n" " "')" "0 1 2 3 "
check "pid 1 is the command" equal "$(kedge run --rm busybox sh -c 'echo $$')" "1"
check "no processes but its own are seen" [ "$(in_box 'ls -d /proc/[0-9]* | wc -l')" -le 3 ]
check "/proc/sys is read-only" status 1 in_box 'echo 1 >/proc/sys/kernel/printk'
check "/sys is read-only" status 1 in_box 'mkdir /sys/fs/x 2>/dev/null'
check "/proc/kcore is masked" equal "$(in_box 'cat /proc/kcore | wc -c')" "0"
check "mount is refused" status 1 in_box 'mount -t tmpfs none /mnt 2>/dev/null || mount -t tmpfs none /tmp'
check "mknod of a disk cannot be read" status 1 in_box 'mknod /tmp/d b 8 0 && cat /tmp/d >/dev/null'
check "unshare of a user namespace is refused" status 1 in_box 'unshare -U true'
check "/dev holds the usual and nothing else" equal \
	"$(in_box 'ls /dev | tr "\n" " "')" "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero "
check "the hostname is the short id" equal "$(kedge run --name hn busybox hostname)" "$(kedge inspect -f '{{.Config.Hostname}}' hn)"
kedge rm hn >/dev/null
check "the root is not the host's" status 1 in_box "test -e $tmp"
check "a link of the image to the host's files stays inside" equal "$(kedge run --rm -v "$tmp:/x:ro" busybox sh -c 'readlink -f /x')" "/x"
check "a read-only volume is" status 1 kedge run --rm -v "$tmp:/x:ro" busybox touch /x/y
check "--read-only" status 1 kedge run --rm --read-only busybox touch /y
check "-u" equal "$(kedge run --rm -u 1000:1000 busybox id -u)" "1000"
check "a user holds no capabilities" equal "$(kedge run --rm -u 1000 busybox grep CapEff /proc/self/status | tr -d '\t')" "CapEff:0000000000000000"
check "--cap-drop ALL" equal "$(kedge run --rm --cap-drop ALL busybox grep CapEff /proc/self/status | tr -d '\t')" "CapEff:0000000000000000"
check "--privileged runs" equal "$(kedge run --rm --privileged busybox echo ok)" "ok"
check "a memory limit kills" status 137 kedge run --rm -m 16m busybox sh -c 'x=a; while :; do x=$x$x; done'
check "a pids limit holds" has "$(kedge run --rm --pids-limit 5 busybox sh -c 'for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait' 2>&1 || true)" "fork"
check "the engine's mounts are not the container's" equal "$(in_box "grep -c '$tmp/lib' /proc/self/mountinfo | head -1; true" | head -1 | grep -c . )" "1"
check "no mount of it is on the host" equal "$(grep -c "$tmp" /proc/self/mountinfo || true)" "$(grep -c "$tmp/run/netns" /proc/self/mountinfo || true)"
