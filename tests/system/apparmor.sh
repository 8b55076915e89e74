#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where the kernel enforces AppArmor: the profile of containers that name none, what it keeps them from and what it does not, by each runtime.
. "$(dirname "$0")/lib.sh"
[ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] || skip "needs a kernel with AppArmor enabled"
[ -e /sys/kernel/security/apparmor ] || skip "needs /sys/kernel/security"
[ -x /sbin/apparmor_parser ] || skip "needs apparmor_parser (package apparmor)"

engine_start
need_image busybox
check "info says so" has "$(api http://localhost/info)" '"name=apparmor"'
kedge run -d --name box busybox sleep 1000 >/dev/null
current() { tr -d '\0' <"/proc/$(kedge inspect -f '{{.State.Pid}}' "$1")/attr/apparmor/current"; }
check "the default profile" equal "$(current box)" "kedge-default (enforce)"
check "of an exec, too" equal "$(kedge exec box cat /proc/self/attr/apparmor/current)" "kedge-default (enforce)"
check "inspect tells it" equal "$(kedge inspect -f '{{.AppArmorProfile}}' box)" kedge-default
check "signals from outside arrive" status 0 kedge stop -t 5 box
check "stopped by the signal or its limit" equal "$(kedge inspect -f '{{.State.Status}}' box)" exited
kedge rm box >/dev/null
check "signals inside" equal "$(kedge run --rm busybox sh -c 'sleep 1000 & kill $!; wait $!; echo $?')" 143
check "privileged is not confined" equal "$(kedge run --rm --privileged busybox cat /proc/self/attr/apparmor/current)" unconfined
check "nor is who asks for it" equal "$(kedge run --rm --security-opt apparmor=unconfined busybox cat /proc/self/attr/apparmor/current)" unconfined
check "with no-new-privileges" equal "$(kedge run --rm --security-opt no-new-privileges busybox cat /proc/self/attr/apparmor/current)" "kedge-default (enforce)"
check "as another user" equal "$(kedge run --rm -u 1000 busybox cat /proc/self/attr/apparmor/current)" "kedge-default (enforce)"
check "a profile that is not there" status 125 kedge run --rm --security-opt apparmor=nosuch busybox true
# With the other walls taken away this one holds.
open="--cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt systempaths=unconfined"
no() { check "no $1" status 1 kedge run --rm $open busybox sh -c "{ $2; } || exit 1"; }
no "mount" 'mount -t tmpfs none /mnt 2>/dev/null || mount -t tmpfs none /tmp 2>/dev/null'
no "bind mount" 'mount -o bind /etc /tmp 2>/dev/null'
no "kernel parameter" 'cat /proc/sys/vm/swappiness >/proc/sys/vm/swappiness'
no "core pattern" 'cat /proc/sys/kernel/core_pattern >/proc/sys/kernel/core_pattern'
no "SysRq" 'echo h >/proc/sysrq-trigger'
check "shared memory's parameters are its own" status 0 kedge run --rm $open busybox sh -c 'cat /proc/sys/kernel/shmmax >/proc/sys/kernel/shmmax'
check "without it the same is possible" status 0 kedge run --rm $open --security-opt apparmor=unconfined busybox mount -t tmpfs none /tmp
check "files, pipes, sockets and programs are as ever" equal "$(kedge run --rm busybox sh -c 'mkdir /d && cp /bin/busybox /d/busybox && /d/busybox echo hi | cat; ln -s d /c; mkdir -p /x/y && echo 1 >/x/y/z && cat /x/y/z; ping -c 1 -W 5 192.0.2.1 >/dev/null && echo net' | tr '\n' ' ')" "hi 1 net "
for rt in crun runc; do
	command -v $rt >/dev/null || continue
	check "$rt: the default profile" equal "$(kedge run --rm --runtime $rt busybox cat /proc/self/attr/apparmor/current)" "kedge-default (enforce)"
done
