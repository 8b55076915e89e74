#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Containers where cgroup version 2 is the only one: namespaces, limits in the kernel's files and in force, updates, memory, freezing, devices,
# parents, groups of a container's own, numbers, and nothing left behind.
. "$(dirname "$0")/lib.sh"
[ -e /sys/fs/cgroup/cgroup.controllers ] || skip "needs cgroup version 2 alone at /sys/fs/cgroup"
for c in cpu cpuset io memory pids; do
	grep -qw $c /sys/fs/cgroup/cgroup.controllers || skip "needs the cgroup controller $c"
done

engine_start
need_image busybox
top=/sys/fs/cgroup/$id
# of CONTAINER FILE...: what its group says
of() {
	local c f
	c=$(kedge inspect -f '{{.Id}}' "$1")
	shift
	for f; do cat "$top/$c/$f"; done | tr '\n' ' '
}
info() { api http://localhost/info | python3 -c "import json,sys; d=json.load(sys.stdin); print($1)"; }

check "info: version and driver" equal "$(info "d['CgroupVersion'], d['CgroupDriver']")" "2 cgroupfs"
check "info: what can be limited" equal "$(info "d['MemoryLimit'], d['CpuCfsQuota'], d['CPUShares'], d['CPUSet'], d['PidsLimit'], d['OomKillDisable']")" "True True True True True False"

# Namespaces
check "a group namespace of its own is the default" equal "$(kedge run --rm busybox cat /proc/self/cgroup)" "0::/"
check "its group is the root of what it sees" has "$(kedge run --rm -m 64m busybox cat /sys/fs/cgroup/memory.max)" "67108864"
check "and read-only" status 1 kedge run --rm busybox mkdir /sys/fs/cgroup/x
check "--cgroupns host: the whole path" equal "$(kedge run --rm --cgroupns host busybox cat /proc/self/cgroup | sed 's|/[0-9a-f]*$||')" "0::/$id"
check "--cgroupns host: the whole tree" status 0 kedge run --rm --cgroupns host busybox test -d "$top"
check "--cgroupns is told" equal "$(kedge inspect -f '{{.HostConfig.CgroupnsMode}}' "$(kedge create --name ns busybox)")" private
kedge rm ns >/dev/null
check "an exec is in the same group" equal "$(kedge run -d --name ns busybox sleep 1000 >/dev/null; kedge exec ns cat /proc/self/cgroup)" "0::/"
kedge rm -f ns >/dev/null

# Limits
kedge run -d --name lim -m 64m --memory-swap 96m --memory-reservation 32m --cpus 0.5 --cpu-shares 1024 --cpuset-cpus 0 --cpuset-mems 0 --pids-limit 50 busybox sleep 1000 >/dev/null
check "memory" equal "$(of lim memory.max memory.low)" "67108864 33554432 "
swap=
[ ! -e "$top/$(kedge inspect -f '{{.Id}}' lim)/memory.swap.max" ] || swap=1
[ -z "$swap" ] || check "swap is what is above memory" equal "$(of lim memory.swap.max)" "33554432 "
check "info: swap" equal "$(info "d['SwapLimit']")" "$([ -n "$swap" ] && echo True || echo False)"
check "cpu" equal "$(of lim cpu.max cpu.weight cpuset.cpus cpuset.mems)" "50000 100000 39 0 0 "
check "pids" equal "$(of lim pids.max)" "50 "
check "limits hold for children, too" has "$(cat "$top/cgroup.subtree_control")" "memory"
kedge update -m 80m --memory-swap -1 --cpus 0.25 --cpu-shares 2 --pids-limit 60 --memory-reservation 40m lim >/dev/null
check "update: memory" equal "$(of lim memory.max memory.low)" "83886080 41943040 "
[ -z "$swap" ] || check "update: swap without end" equal "$(of lim memory.swap.max)" "max "
check "update: cpu" equal "$(of lim cpu.max cpu.weight)" "25000 100000 1 "
check "update: pids" equal "$(of lim pids.max)" "60 "
kedge update --pids-limit -1 --cpu-shares 262144 lim >/dev/null
check "update: no limit of pids" equal "$(of lim pids.max cpu.weight)" "max 10000 "
kedge restart -t 0 lim >/dev/null
check "a restart keeps them" equal "$(of lim memory.max cpu.max cpu.weight pids.max)" "83886080 25000 100000 10000 max "
kedge rm -f lim >/dev/null
check "a memory limit without more gives as much swap" equal "$(kedge run -d --name lim -m 32m busybox sleep 1000 >/dev/null; of lim memory.max ${swap:+memory.swap.max})" "33554432 ${swap:+33554432 }"
kedge rm -f lim >/dev/null
check "swappiness is refused by name" has "$(kedge run --memory-swappiness 10 busybox true 2>&1)" "HostConfig.MemorySwappiness does not exist with cgroup version 2"
check "no OOM killer, too" has "$(kedge run -m 64m --oom-kill-disable busybox true 2>&1)" "HostConfig.OomKillDisable does not exist with cgroup version 2"
check "a real-time budget, too" has "$(kedge run --cpu-rt-runtime 1000 busybox true 2>&1)" "CpuRealtimeRuntime"

# Block I/O. A disk that tests may slow down is there only in a machine made for tests.
disk=${KEDGE_SPARE_DISK-}
if [ -b "$disk" ]; then
	number=$((16#$(stat -c %t "$disk"))):$((16#$(stat -c %T "$disk")))
	kedge run -d --name io --device "$disk" --device-write-bps "$disk:1mb" --device-read-bps "$disk:2mb" --device-write-iops "$disk:900" --device-read-iops "$disk:800" busybox sleep 1000 >/dev/null
	check "block I/O: limits" equal "$(of io io.max)" "$number rbps=2097152 wbps=1048576 riops=800 wiops=900 "
	start=$(date +%s%N)
	check "block I/O: writes" status 0 kedge exec io dd if=/dev/zero of="$disk" bs=64k count=48 conv=fsync
	check "block I/O: in force" [ $(($(date +%s%N) - start)) -ge 2000000000 ]
	api "http://localhost/containers/io/stats?stream=false&one-shot=true" >"$tmp/io"
	check "block I/O: counted" python3 -c "
import json
major, minor = map(int, '$number'.split(':'))
l = json.load(open('$tmp/io'))['blkio_stats']['io_service_bytes_recursive']
assert [e['value'] for e in l if (e['major'], e['minor'], e['op']) == (major, minor, 'write')][0] >= 48 * 65536, l"
	check "block I/O: shown" sh -c "! '$builddir/kedge' -H unix://$sock stats --no-stream --format '{{.BlockIO}}' io | grep -q '/ 0B'"
	kedge rm -f io >/dev/null
	weight=io.weight
	[ ! -e "$top/io.bfq.weight" ] || weight=io.bfq.weight
	kedge run -d --name io --blkio-weight 100 busybox sleep 1000 >/dev/null
	case $weight in io.weight) want="default $((1 + 90 * 9999 / 990)) " ;; *) want="default 100 " ;; esac
	check "block I/O: weight ($weight)" has "$(of io $weight) default $(of io $weight)" "$want"
	kedge rm -f io >/dev/null
fi

# Memory
kedge events --since 0s >"$tmp/events" 2>&1 &
events=$!
check "a memory limit kills" status 137 kedge run --name fat -m 16m --memory-swap 16m busybox sh -c 'x=a; while :; do x=$x$x; done'
check "which is told" equal "$(kedge inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' fat)" "true 137"
check "and an event" until_ok 5 grep -q 'container oom ' "$tmp/events"
kill $events
wait $events 2>/dev/null || true
kedge rm fat >/dev/null
check "one child killed for memory is not the container's end" equal "$(kedge run --rm -m 16m --memory-swap 16m busybox sh -c '(x=a; while :; do x=$x$x; done); echo $?' 2>/dev/null)" 137
# Where there is swap to be had.
if [ -n "$swap" ] && [ "$(wc -l </proc/swaps)" -gt 1 ]; then
	hog='dd if=/dev/zero of=/dev/shm/x bs=1M count=30 2>/dev/null && echo whole'
	check "swap may be used up to its limit" equal "$(kedge run --rm --shm-size 40m -m 16m --memory-swap 64m busybox sh -c "$hog")" whole
	check "and no further" equal "$(kedge run --rm --shm-size 40m -m 16m --memory-swap 16m busybox sh -c "$hog" 2>/dev/null)" ""
fi

# Freezing
kedge run -d --name cold busybox sh -c 'sleep 1000 & wait' >/dev/null
kedge pause cold >/dev/null
check "paused" equal "$(of cold cgroup.freeze) $(kedge inspect -f '{{.State.Status}}' cold)" "1  paused"
check "and the kernel says so" has "$(of cold cgroup.events)" "frozen 1"
check "no exec then" status 1 kedge exec cold true
kedge update -m 64m cold >/dev/null
check "limits change all the same" equal "$(of cold memory.max)" "67108864 "
kedge unpause cold >/dev/null
check "unpaused" has "$(of cold cgroup.events)" "frozen 0"
kedge pause cold >/dev/null
engine_kill9
engine_start
check "paused over the engine's end" equal "$(kedge inspect -f '{{.State.Status}}' cold)" paused
check "a paused one can be killed" status 0 kedge kill cold
kedge rm -f cold >/dev/null

# Devices: a BPF program on the group.
[ -e /dev/loop-control ] || modprobe -q loop || true
kedge run -d --name dev --device /dev/loop-control:/dev/mine:r --device-cgroup-rule 'c 1:8 rw' busybox sleep 1000 >/dev/null
dev() { kedge exec dev sh -c "$1" >/dev/null 2>&1; }
check "devices: given to read" status 0 dev ': </dev/mine'
check "devices: not given to write" status 1 dev ': >/dev/mine'
check "devices: null, of the usual" status 0 dev 'echo >/dev/null'
check "devices: by a rule" status 0 dev 'mknod /r c 1 8 && head -c 1 /r'
check "devices: another one is not to be opened" status 1 dev 'mknod /k c 1 11 && head -c 1 </k'
check "devices: nor a disk" status 1 dev 'mknod /d b 7 0 && head -c 1 </d'
if command -v bpftool >/dev/null; then
	check "devices: there is one program" has "$(bpftool cgroup show "$top/$(kedge inspect -f '{{.Id}}' dev)" 2>&1)" cgroup_device
fi
kedge restart -t 0 dev >/dev/null
check "devices: after a restart, too" status 1 dev 'head -c 1 </k'
kedge rm -f dev >/dev/null
check "devices: privileged has all" status 0 kedge run --rm --privileged busybox sh -c 'mknod /k c 1 11 && : </k'

# Parents
mkdir -p "$top/far"
check "--cgroup-parent, absolute" has "$(kedge run --rm --cgroupns host --cgroup-parent "/$id/far" -m 32m busybox cat /proc/self/cgroup)" "0::/$id/far/"
kedge run -d --name kid --cgroup-parent "/$id/far/made" -m 32m busybox sleep 1000 >/dev/null
kid=$(kedge inspect -f '{{.Id}}' kid)
check "--cgroup-parent is made" equal "$(cat "$top/far/made/$kid/memory.max")" 33554432
echo 3 >"$top/far/made/pids.max"
check "the parent's limits hold" has "$(kedge exec kid sh -c 'for i in 1 2 3 4 5; do sleep 5 & done' 2>&1)" "fork"
kedge rm -f kid >/dev/null
# Version 2 gives no controllers to the children of a group that holds processes.
mkdir "$top/full"
sleep 1000 &
sleeper=$!
echo $sleeper >"$top/full/cgroup.procs"
check "a parent that holds processes is named" has "$(kedge run --rm --cgroup-parent "/$id/full" -m 32m busybox true 2>&1)" "holds processes itself"
kill $sleeper
wait $sleeper 2>/dev/null || true

# Groups of a container's own, as systemd or an engine in it makes them.
kedge run -d --name boss --privileged -m 64m --health-cmd 'test -e /ok' --health-interval 1s busybox sh -c '
	mkdir /sys/fs/cgroup/init /sys/fs/cgroup/work && echo 1 >/sys/fs/cgroup/init/cgroup.procs && echo "+memory +pids" >/sys/fs/cgroup/cgroup.subtree_control &&
	echo 20 >/sys/fs/cgroup/work/pids.max && touch /ok && exec sleep 1000' >/dev/null
check "a container governs its groups" until_ok 10 kedge exec boss test -e /ok
check "exec into a container whose own group is closed" equal "$(kedge exec boss sh -c 'cat /proc/self/cgroup' 2>&1)" "0::/init"
check "health checks, too" until_ok 15 sh -c "[ \"\$('$builddir/kedge' -H unix://$sock inspect -f '{{.State.Health.Status}}' boss)\" = healthy ]"
check "top sees them all" has "$(kedge top boss)" "sleep 1000"
kedge pause boss >/dev/null
check "pause, too" has "$(of boss cgroup.events)" "frozen 1"
kedge unpause boss >/dev/null
kedge update -m 96m boss >/dev/null
check "update, too" equal "$(of boss memory.max)" "100663296 "
boss=$(kedge inspect -f '{{.Id}}' boss)
kedge exec -d boss sh -c 'echo 0 >/sys/fs/cgroup/work/cgroup.procs; trap "" TERM; while :; do sleep 1; done'
until_ok 5 grep -q . "$top/$boss/work/cgroup.procs"
check "stop ends what is in them" status 0 kedge stop -t 1 boss
kedge rm -f boss >/dev/null
check "nothing of it is left" status 1 test -e "$top/$boss"

# Other runtimes take the same path and the same limits.
for rt in crun runc; do
	command -v $rt >/dev/null || continue
	kedge run -d --name other --runtime $rt -m 64m --cpus 0.5 --pids-limit 50 busybox sleep 1000 >/dev/null
	check "$rt: limits" equal "$(of other memory.max cpu.max pids.max)" "67108864 50000 100000 50 "
	check "$rt: update" equal "$(kedge update -m 80m other >/dev/null; of other memory.max)" "83886080 "
	check "$rt: stats" has "$(kedge stats --no-stream other)" "/ 80MiB"
	kedge rm -f other >/dev/null
done

# Numbers
kedge run -d --name num -m 64m busybox sh -c 'dd if=/dev/zero of=/f bs=1M count=16 2>/dev/null; cat /f >/dev/null; dd if=/dev/zero of=/dev/shm/x bs=1M count=10 2>/dev/null; echo ready; exec sleep 1000' >/dev/null
until_ok 20 sh -c "'$builddir/kedge' -H unix://$sock logs num | grep -q ready"
api "http://localhost/containers/num/stats?stream=false" >"$tmp/num"
check "stats: memory without what can be dropped" python3 -c "
import json
m = json.load(open('$tmp/num'))['memory_stats']
used = m['usage'] - m['stats']['inactive_file']
assert 10 << 20 <= used <= 20 << 20, (m['usage'], used)
assert m['limit'] == 64 << 20 and 'file' in m['stats'] and 'anon' in m['stats'], m"
check "stats: usage is the kernel's" python3 -c "
import json
d = json.load(open('$tmp/num'))
assert d['cpu_stats']['cpu_usage']['total_usage'] <= 1000 * int([l.split()[1] for l in open('$top/$(kedge inspect -f '{{.Id}}' num)/cpu.stat') if l.startswith('usage_usec')][0])
assert d['pids_stats']['current'] == 1, d['pids_stats']"
kedge rm -f num >/dev/null

rmdir "$top/far/made" "$top/far" "$top/full"
check "no group is left but the parent" equal "$(find "$top" -mindepth 1 -type d)" ""
