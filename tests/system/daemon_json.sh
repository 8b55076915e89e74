#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# daemon.json: what containers get that say nothing; what cannot be is refused with its key.
. "$(dirname "$0")/lib.sh"

refused() { # TEXT SENTENCE
	echo "$1" >"$tmp/bad.json"
	has "$(timeout 20 "$builddir/kedged" --data-root "$tmp/bad" --exec-root "$tmp/bad-run" --instance "$id" --config-file "$tmp/bad.json" 2>&1 || true)" "$2"
}
check "not JSON" refused '{' "bad.json"
check "not an object" refused '[]' "is not a JSON object"
check "an unknown key" refused '{"nosuch": 1}' "unknown key 'nosuch'"
check "given twice" has "$(echo '{"dns": ["192.0.2.1"]}' >"$tmp/bad.json"; timeout 20 "$builddir/kedged" --data-root "$tmp/bad" --exec-root "$tmp/bad-run" --dns 192.0.2.2 --config-file "$tmp/bad.json" 2>&1 || true)" "'dns' is given both here and as the flag --dns"
check "a runtime without a program" refused '{"runtimes": {"x": {"path": "/no/such"}}}' "there is no program '/no/such'"
check "a runtime without a path" refused '{"runtimes": {"x": {}}}' "has no path"
check "a runtime with arguments" refused '{"runtimes": {"x": {"path": "/bin/true", "runtimeArgs": ["-x"]}}}' "'runtimeArgs' of 'x' is not supported"
check "a default runtime that is not there" refused '{"default-runtime": "nosuch"}' "unknown or invalid runtime name: nosuch"
check "a profile that is not there" refused '{"seccomp-profile": "/no/such"}' "seccomp-profile: read /no/such"
check "a DNS server that is none" refused '{"dns": ["x"]}' 'invalid argument "x"'
check "a limit that is none" refused '{"default-ulimits": {"nosuch": {"Name": "nosuch", "Hard": 1, "Soft": 1}}}' "nosuch"
check "a limit without a number" refused '{"default-ulimits": {"nofile": {"Name": "nofile"}}}' "needs its Name, a Soft and a Hard limit"
check "a size that is none" refused '{"default-shm-size": "x"}' "'default-shm-size' is not a size"
check "a mode that is none" refused '{"default-ipc-mode": "x"}' "invalid IPC mode: x"
check "live-restore false" refused '{"live-restore": false}' "'live-restore': 'false' is not supported: containers always outlive the engine"
check "experimental true" refused '{"experimental": true}' "'experimental': 'true' is not supported"
check "another storage driver" refused '{"storage-driver": "btrfs"}' "'storage-driver': 'btrfs' is not supported"
check "another cgroup driver" refused '{"exec-opts": ["native.cgroupdriver=systemd"]}' "is not supported: the engine makes the cgroups itself"
check "shutdown-timeout" refused '{"shutdown-timeout": 5}' "no container is stopped when the engine stops"
check "a feature" refused '{"features": {"buildkit": true}}' "there is no feature 'buildkit'"

echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}' >"$tmp/profile.json"
cat >"$tmp/daemon.json" <<J
{"init": true, "dns": ["192.0.2.53"], "dns-opts": ["ndots:3"], "dns-search": ["lab.example"], "default-shm-size": "1M",
 "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 100, "Hard": 200}, "core": {"Name": "core", "Soft": 0, "Hard": 0}},
 "seccomp-profile": "$tmp/profile.json", "no-new-privileges": true, "default-ipc-mode": "shareable", "default-cgroupns-mode": "private",
 "log-driver": "none", "labels": ["site=lab"], "live-restore": true, "experimental": false, "storage-driver": "overlay2",
 "exec-opts": ["native.cgroupdriver=cgroupfs"], "features": {"buildkit": false}, "debug": false}
J
engine_start
need_image busybox
run() { kedge run --rm "$@"; }
check "init" status 0 run busybox sh -c '[ $$ != 1 ]'
check "init: what a container says goes" status 0 run --init=false busybox sh -c '[ $$ = 1 ]'
check "dns" equal "$(run busybox grep -c -e '^nameserver 192.0.2.53' -e '^search lab.example' -e 'ndots:3' /etc/resolv.conf)" 3
check "dns: what a container says goes" equal "$(run --dns 192.0.2.54 busybox grep nameserver /etc/resolv.conf)" "nameserver 192.0.2.54"
check "default-shm-size" equal "$(run busybox df -k /dev/shm | awk 'NR==2{print $2}')" 1024
check "default-ulimits" equal "$(run busybox sh -c 'ulimit -n; ulimit -Hn; ulimit -c' | tr '\n' ' ')" "100 200 0 "
check "default-ulimits: those that a container names are its own" equal "$(run --ulimit nofile=50:60 busybox sh -c 'ulimit -n; ulimit -c' | tr '\n' ' ')" "50 0 "
check "seccomp-profile" has "$(run busybox mkdir /x 2>&1)" "not implemented"
check "seccomp-profile: for exec too" has "$(kedge run -d --name box busybox sleep 100 >/dev/null; kedge exec box mkdir /x 2>&1)" "not implemented"
check "seccomp-profile: not for the privileged" status 0 run --privileged busybox mkdir /x
check "seccomp-profile: what a container says goes" status 0 run --security-opt seccomp=unconfined busybox mkdir /x
check "no-new-privileges" equal "$(run busybox grep NoNewPrivs /proc/self/status | cut -f 2)" 1
check "no-new-privileges: what a container says goes" equal "$(run --security-opt no-new-privileges=false busybox grep NoNewPrivs /proc/self/status | cut -f 2)" 0
check "default-ipc-mode" equal "$(run --ipc container:box busybox readlink /proc/self/ns/ipc)" "$(readlink "/proc/$(kedge inspect -f '{{.State.Pid}}' box)/ns/ipc")"
check "default-cgroupns-mode" equal "$(run busybox cut -d: -f3 /proc/self/cgroup | sort -u)" /
check "log-driver" has "$(kedge logs box 2>&1)" "does not support reading"
check "labels, in info" equal "$(kedge info -f '{{json .Labels}} {{.LiveRestoreEnabled}} {{.ExperimentalBuild}}')" '["site=lab"] true false'
check "info: the profile" has "$(kedge info -f '{{json .SecurityOptions}}')" "profile=$tmp/profile.json"
engine_stop
echo '{}' >"$tmp/daemon.json"
engine_start --dns 192.0.2.55 --default-ulimit nofile=70:80 --default-shm-size 2m --init --label a=b --no-new-privileges
check "flags" equal "$(run busybox sh -c 'grep nameserver /etc/resolv.conf; ulimit -n; df -k /dev/shm | awk "NR==2{print \$2}"; [ $$ != 1 ] && echo init' | tr '\n' ' ')" "nameserver 192.0.2.55 70 2048 init "
check "a container keeps what it was made with" equal "$(kedge restart -t 0 box >/dev/null; kedge exec box sh -c 'ulimit -n')" 100
