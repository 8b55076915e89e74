#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Options of run and create that shape a container: what it is, what it may, what it gets; with both clients, seen from inside.
. "$(dirname "$0")/lib.sh"

clis=kedge
! docker_recent || clis='kedge docker'
docker() { DOCKER_HOST=unix://$sock command docker "$@"; }
v2=
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || v2=1

engine_start
need_image busybox

# says WANT CLI-AND-FLAGS -- COMMAND: what the command prints in a container made with the flags
cg() { cat "/sys/fs/cgroup/$1/$id/$2/$3"; }
caps() { printf '%016x' $((16#$(grep "^$1:" "$2" | cut -f 2))); }
cat >"$tmp/profile.json" <<'JSON'
{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}, {"architecture": "SCMP_ARCH_AARCH64"}],
 "syscalls": [
 {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
 {"names": ["chmod", "fchmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
 {"names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}},
 {"names": ["link", "linkat"], "action": "SCMP_ACT_ERRNO", "includes": {"arches": ["nosucharch"]}},
 {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "99.0"}},
 {"name": "kill", "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}]}
JSON
echo '{"defaultAction": "SCMP_ACT_NOTIFY"}' >"$tmp/bad.json"

for cli in $clis; do
	run() { $cli run --rm "$@"; }
	# Who and where
	check "$cli: --user" equal "$(run -u nobody busybox id -un)" nobody
	check "$cli: --user by numbers" equal "$(run -u 1234:4321 busybox sh -c 'id -u; id -g' | tr '\n' ' ')" "1234 4321 "
	check "$cli: --user that is not there" has "$(run -u nosuch busybox true 2>&1)" "unable to find user nosuch: no matching entries in passwd file"
	check "$cli: --group-add" equal "$(run --group-add www-data --group-add 777 busybox id -G)" "0 33 777"
	check "$cli: --group-add that is not there" has "$(run --group-add nosuch busybox true 2>&1)" "Unable to find group nosuch: no matching entries in group file"
	check "$cli: --workdir" equal "$(run -w /made/here busybox pwd)" /made/here
	check "$cli: --env, --entrypoint" equal "$(run -e A=b --entrypoint sh busybox -c 'echo $A')" b
	check "$cli: --hostname, --domainname" equal "$(run -h box --domainname lab busybox sh -c 'hostname; cat /proc/sys/kernel/domainname' | tr '\n' ' ')" "box lab "
	check "$cli: --uts host" equal "$(run --uts host busybox hostname)" "$(hostname)"
	check "$cli: --uts of no kind" status 125 run --uts nosuch busybox true
	check "$cli: --stop-signal" equal "$($cli inspect -f '{{.Config.StopSignal}}' "$($cli create --name xx --stop-signal SIGINT busybox)")" SIGINT
	$cli rm xx >/dev/null
	check "$cli: --annotation" equal "$($cli create --name xx --annotation a=b busybox >/dev/null; $cli inspect -f '{{.HostConfig.Annotations.a}}' xx; $cli rm xx >/dev/null)" b

	# What it may
	check "$cli: --cap-drop ALL" equal "$(run --cap-drop ALL busybox grep CapBnd /proc/self/status)" "$(printf 'CapBnd:\t0000000000000000')"
	check "$cli: --cap-drop ALL --cap-add" equal "$(run --cap-drop all --cap-add NET_ADMIN --cap-add cap_chown busybox grep CapEff /proc/self/status)" "$(printf 'CapEff:\t0000000000001001')"
	check "$cli: --cap-add of no kind" has "$(run --cap-add FLY busybox true 2>&1)" "FLY"
	check "$cli: --privileged has every capability there is" equal "$(run --privileged busybox grep CapEff /proc/self/status)" "$(grep CapBnd /proc/self/status | sed s/Bnd/Eff/)"
	check "$cli: --cap-add ALL too" equal "$(run --cap-add ALL busybox grep CapEff /proc/self/status)" "$(grep CapBnd /proc/self/status | sed s/Bnd/Eff/)"
	check "$cli: --privileged sees the host's devices" equal "$(run --privileged busybox sh -c '[ -c /dev/kmsg ] && echo yes')" "$([ -c /dev/kmsg ] && echo yes)"
	check "$cli: --privileged may write to /proc/sys" status 0 run --privileged busybox sh -c 'cat /proc/sys/kernel/domainname > /proc/sys/kernel/domainname'
	check "$cli: others may not" status 1 run busybox sh -c 'echo x > /proc/sys/kernel/domainname'
	check "$cli: no-new-privileges" equal "$(run --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status)" "$(printf 'NoNewPrivs:\t1')"
	check "$cli: seccomp=unconfined" equal "$(run --security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status)" "$(printf 'Seccomp:\t0')"
	check "$cli: systempaths=unconfined" status 0 run --security-opt systempaths=unconfined busybox sh -c 'cat /proc/sys/kernel/shmmax > /proc/sys/kernel/shmmax'
	check "$cli: a security option of no kind" has "$(run --security-opt nosuch=1 busybox true 2>&1)" 'invalid --security-opt 2: "nosuch=1"'
	[ -e /sys/module/apparmor ] || check "$cli: apparmor where there is none" has "$(run --security-opt apparmor=docker-default busybox true 2>&1)" "AppArmor is not enabled on this machine"
	check "$cli: label" has "$(run --security-opt label=type:x busybox true 2>&1)" "SELinux labels are not supported"
	p="--security-opt seccomp=$tmp/profile.json"
	check "$cli: seccomp profile: errnoRet" has "$(run $p busybox mkdir /x 2>&1)" "not supported"
	check "$cli: seccomp profile: includes.caps not had" status 0 run $p busybox chmod 700 /tmp
	check "$cli: seccomp profile: includes.caps had" status 1 run $p --cap-add SYS_ADMIN busybox chmod 700 /tmp
	check "$cli: seccomp profile: excludes.caps had" status 0 run $p busybox ln -s a /b
	check "$cli: seccomp profile: excludes.caps not had" status 1 run $p --cap-drop CHOWN busybox ln -s a /b
	check "$cli: seccomp profile: another architecture" status 0 run $p busybox ln /etc/passwd /p
	check "$cli: seccomp profile: a later kernel" status 0 run $p --cap-add SYS_ADMIN busybox hostname other
	check "$cli: seccomp profile: arguments" equal "$(run $p busybox sh -c 'kill -10 1 2>/dev/null && echo sent || echo refused; kill -17 1 && echo sent' | tr '\n' ' ')" "refused sent "
	check "$cli: seccomp profile: an action that is not there" has "$(run --security-opt "seccomp=$tmp/bad.json" busybox true 2>&1)" 'action "SCMP_ACT_NOTIFY" is not supported'

	# Devices
	check "$cli: --device" equal "$(run --device /dev/zero:/dev/mine busybox sh -c 'head -c 3 /dev/mine | wc -c')" 3
	check "$cli: a device that was not given" status 1 run busybox sh -c 'mknod /d c 1 11 && head -c 1 </d'
	check "$cli: --device-cgroup-rule" status 0 run --device-cgroup-rule 'c 1:11 rw' busybox sh -c 'mknod /d c 1 11 && echo -n >/d'
	check "$cli: --device without writing" status 1 run --device /dev/kmsg:/dev/kmsg:r busybox sh -c 'echo x >/dev/kmsg'
	check "$cli: --device that is not there" has "$(run --device /dev/nosuch busybox true 2>&1)" 'error gathering device information while adding custom device "/dev/nosuch"'
	check "$cli: a rule of no form" has "$(run --device-cgroup-rule 'x 1' busybox true 2>&1)" "device cgroup"

	# File systems
	check "$cli: --tmpfs" equal "$(run --tmpfs /t:size=1m,mode=0711,exec busybox sh -c 'stat -c %a /t; grep " /t " /proc/mounts | grep -c noexec' | tr '\n' ' ')" "711 0 "
	check "$cli: --tmpfs has noexec, nosuid, nodev" has "$(run --tmpfs /t busybox grep ' /t ' /proc/mounts)" "rw,nosuid,nodev,noexec"
	check "$cli: --read-only" has "$(run --read-only busybox touch /x 2>&1)" "Read-only file system"
	check "$cli: --shm-size" equal "$(run --shm-size 1m busybox df -k /dev/shm | awk 'NR==2{print $2}')" 1024
	check "$cli: --sysctl" equal "$(run --sysctl net.ipv4.ip_default_ttl=77 --sysctl kernel.shmmax=12345 busybox sh -c 'cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/shmmax' | tr '\n' ' ')" "77 12345 "
	check "$cli: --sysctl of the host" has "$(run --sysctl kernel.panic=1 busybox true 2>&1)" "is not allowed"
	check "$cli: --sysctl of the host's network" has "$(run --network host --sysctl net.ipv4.ip_forward=1 busybox true 2>&1)" "is not allowed"

	# Limits
	check "$cli: --ulimit" equal "$(run --ulimit nofile=100:200 busybox sh -c 'ulimit -n; ulimit -Hn' | tr '\n' ' ')" "100 200 "
	if ! grep CapBnd /proc/self/status | grep -qi '[89a-f]....$\|1ffffffffff'; then :; fi
	capsh_has() { (( (16#$(awk '/CapBnd/{print $2}' /proc/self/status) >> $1) & 1 )); }
	hard=$(ulimit -Hn)
	if [ "$hard" != unlimited ] && ! capsh_has 24; then
		check "$cli: --ulimit that cannot be raised is refused at once" has "$($cli create --ulimit nofile=$((hard + 1)):$((hard + 1)) busybox 2>&1)" "the engine may not raise it"
		check "$cli: --cap-add of what the engine has not" has "$($cli create --cap-add SYS_RESOURCE busybox 2>&1)" "capability CAP_SYS_RESOURCE cannot be given"
	fi
	c=$($cli run -d -m 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 50 busybox sleep 1000)
	if [ -n "$v2" ]; then
		d=/sys/fs/cgroup/$id/$c
		check "$cli: limits (v2)" equal "$(cat $d/memory.max $d/memory.low $d/cpu.max $d/cpu.weight $d/cpuset.cpus $d/pids.max | tr '\n' ' ')" "67108864 33554432 50000 100000 20 0 50 "
	else
		check "$cli: limits (v1)" equal "$(cg memory $c memory.limit_in_bytes; cg memory $c memory.soft_limit_in_bytes; cg cpu $c cpu.cfs_quota_us; cg cpu $c cpu.shares; cg cpuset $c cpuset.cpus; cg pids $c pids.max)" "$(printf '67108864\n33554432\n50000\n512\n0\n50')"
		c2=$($cli run -d -m 64m --memory-swappiness 7 --oom-kill-disable busybox sleep 1000)
		check "$cli: swappiness, oom-kill-disable" equal "$(cg memory $c2 memory.swappiness; cg memory $c2 memory.oom_control | head -n 1)" "$(printf '7\noom_kill_disable 1')"
		$cli rm -f $c2 >/dev/null
	fi
	$cli rm -f $c >/dev/null
	check "$cli: too little memory" has "$(run -m 1m busybox true 2>&1)" "Minimum memory limit allowed is 6MB"
	check "$cli: a CPU that is not there" has "$(run --cpuset-cpus 4000 busybox true 2>&1)" "Requested CPUs are not available - requested 4000"
	check "$cli: more CPUs than there are" has "$(run --cpus 9999 busybox true 2>&1)" "range of CPUs is from 0.01"
	check "$cli: --oom-score-adj" equal "$(run --oom-score-adj 500 busybox cat /proc/self/oom_score_adj)" 500
	check "$cli: --cgroup-parent" has "$(run --cgroupns host --cgroup-parent "/$id/sub" busybox cat /proc/self/cgroup)" "/$id/sub/"
	check "$cli: --cgroupns private" equal "$(run --cgroupns private busybox cut -d: -f3 /proc/self/cgroup | sort -u)" /

	# Namespaces
	here() { readlink "/proc/self/ns/$1"; }
	check "$cli: --ipc host" equal "$(run --ipc host busybox readlink /proc/self/ns/ipc)" "$(here ipc)"
	check "$cli: --pid host" equal "$(run --pid host busybox readlink /proc/self/ns/pid)" "$(here pid)"
	check "$cli: --userns host" status 0 run --userns host busybox true
	$cli run -d --name donor --ipc shareable busybox sh -c 'echo hi >/dev/shm/f; sleep 1000' >/dev/null
	$cli run -d --name keeper busybox sleep 1000 >/dev/null
	ns() { readlink "/proc/$($cli inspect -f '{{.State.Pid}}' "$1")/ns/$2"; }
	check "$cli: --ipc container: shares the namespace" equal "$(run --ipc container:donor busybox readlink /proc/self/ns/ipc)" "$(ns donor ipc)"
	check "$cli: --ipc container: shares /dev/shm" until_ok 5 sh -c "[ \"\$('$builddir/kedge' -H unix://$sock run --rm --ipc container:donor busybox cat /dev/shm/f)\" = hi ]"
	check "$cli: --ipc of one that does not share" has "$(run --ipc container:keeper busybox true 2>&1)" "non-shareable IPC"
	check "$cli: --ipc none" equal "$(run --ipc none busybox sh -c 'grep -c /dev/shm /proc/mounts')" 0
	check "$cli: --pid container:" has "$(run --pid container:donor busybox ps)" "sleep 1000"
	check "$cli: --pid container: keeps the other alive" equal "$($cli inspect -f '{{.State.Running}}' donor)" true
	c=$($cli run -d --pid container:donor busybox sleep 999)
	$cli rm -f donor >/dev/null
	check "$cli: with the donor's namespace its guests end" until_ok 5 sh -c "[ \"\$('$builddir/kedge' -H unix://$sock inspect -f '{{.State.Running}}' $c)\" = false ]"
	check "$cli: --pid of one that does not run" has "$($cli start "$c" 2>&1)" "No such container: donor"
	$cli rm -f keeper "$c" >/dev/null
	check "$cli: --ipc of no kind" has "$(run --ipc nosuch busybox true 2>&1)" "nosuch"

	# Other runtimes. crun refuses a machine whose version 2 tree beside version 1 has controllers: here it does not see it.
	[ -n "$v2" ] || umount /sys/fs/cgroup/unified 2>/dev/null || true
	check "$cli: --runtime that is not there" has "$(run --runtime nosuch busybox true 2>&1)" "unknown or invalid runtime name: nosuch"
	for rt in crun runc; do
		[ -n "$(command -v $rt)" ] || continue
		check "$cli: --runtime $rt" equal "$(run --runtime $rt -m 64m -v rtvol:/v --tmpfs /t busybox sh -c 'touch /v/x; hostname | wc -c')" 13
		check "$cli: --runtime $rt: exit code" status 7 run --runtime $rt busybox sh -c 'exit 7'
		check "$cli: --runtime $rt: missing command" status 127 run --runtime $rt busybox /no/such
		check "$cli: --runtime $rt: capabilities" equal "$(run --runtime $rt busybox grep CapEff /proc/self/status)" "$(run busybox grep CapEff /proc/self/status)"
		check "$cli: --runtime $rt: privileged" status 0 run --runtime $rt --privileged busybox true
		check "$cli: --runtime $rt: volume-subpath" status 0 run --runtime $rt --mount type=volume,src=rtvol,dst=/m,volume-subpath=x busybox test -f /m
		c=$($cli run -d --runtime $rt busybox sleep 1000)
		check "$cli: --runtime $rt: exec" equal "$($cli exec "$c" echo hi)" hi
		check "$cli: --runtime $rt: pause" status 0 $cli pause "$c"
		check "$cli: --runtime $rt: unpause" status 0 $cli unpause "$c"
		check "$cli: --runtime $rt: stop" status 0 $cli stop -t 0 "$c"
		$cli rm "$c" >/dev/null
		$cli volume rm rtvol >/dev/null
	done
done

# Over the API: what is refused is refused by name, what is unknown is ignored.
post() { api -X POST -H 'Content-Type: application/json' -d "$1" "http://localhost/v1.50/containers/create"; }
for field in '"StorageOpt":{"size":"1g"}' '"DeviceRequests":[{"Count":1}]' '"CpuCount":1' '"CpuPercent":1' '"IOMaximumIOps":1' '"IOMaximumBandwidth":1' '"Cgroup":"container:x"' '"CpuRealtimeRuntime":1000'; do
	name=${field%%:*}
	[ "$name" != '"CpuRealtimeRuntime"' ] || [ ! -e /sys/fs/cgroup/cpu/cpu.rt_runtime_us ] || continue
	check "API: HostConfig.${name//\"/} is refused by name" has "$(post "{\"Image\":\"busybox\",\"HostConfig\":{$field}}")" "HostConfig.${name//\"/}"
done
check "API: unknown fields are ignored" has "$(post '{"Image":"busybox","Unknown":1,"HostConfig":{"Unknown":{"a":1}}}')" '"Id"'
check "API: an annotation of the engine's own is refused" has "$(post '{"Image":"busybox","HostConfig":{"Annotations":{"kedge.init":"true"}}}')" "the engine's own"
