#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# pause, rename, wait, update, kill, restart, restart policies, --init, --rm: by kedge and the docker CLI, and over the engine's death.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
export DOCKER_HOST=unix://$sock DOCKER_CONFIG=$tmp
x() { if [ "$cli" = kedge ]; then kedge "$@"; else docker "$@"; fi; }
state() { kedge inspect -f "{{.State.$2}}" "$1"; }
is() { [ "$(kedge inspect -f "$2" "$1" 2>&1)" = "$3" ]; }
# A file of the container's cgroup, in the hierarchy that has it.
cgroup_file() { cat "$(find /sys/fs/cgroup -path "*/$id/$1/$2" -print -quit)"; }
code() { curl -sS --unix-socket "$sock" -o "$tmp/body" -w '%{http_code}' "$@"; }
post() { code -X POST -H 'Content-Type: application/json' "$@"; }

for cli in ${KEDGE_TEST_CLIS:-kedge docker}; do
	n=$cli
	cid=$(x run -d --name $n --stop-timeout 1 busybox sh -c 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done')
	# pause
	check "$cli pause" equal "$(x pause $n)" $n
	check "$cli pause: its state" equal "$(kedge inspect -f '{{.State.Status}} {{.State.Running}} {{.State.Paused}}' $n)" "paused true true"
	a=$(kedge logs -n 1 $n)
	check "$cli pause: ps" has "$(x ps)" "(Paused)"
	check "$cli pause: nothing runs" equal "$(read -r -t 0.3 _ <> <(:) || true; kedge logs -n 1 $n)" "$a"
	check "$cli pause: twice" has "$(x pause $n 2>&1)" "Container $cid is already paused"
	engine_kill9
	engine_start
	check "$cli pause: over the engine's death" equal "$(kedge inspect -f '{{.State.Status}} {{.State.Paused}}' $n)" "paused true"
	check "$cli unpause" equal "$(x unpause $n)" $n
	check "$cli unpause: it runs" until_ok 5 sh -c "[ \$('$builddir/kedge' -H unix://$sock logs -n 1 $n) -gt $a ]"
	check "$cli unpause: twice" has "$(x unpause $n 2>&1)" "Container $cid is not paused"
	x pause $n >/dev/null
	check "$cli stop of a paused container" equal "$(timeout 10 "$builddir/kedge" -H "unix://$sock" stop -t 0 $n)" $n
	check "$cli pause of a stopped one" has "$(x pause $n 2>&1)" "Container $cid is not running"
	x start $n >/dev/null
	x pause $n >/dev/null
	check "$cli rm -f of a paused container" equal "$(x rm -f $n)" $n

	# rename, kill, wait, restart
	cid=$(x run -d --name $n busybox sh -c 'trap "echo usr1; exit 3" USR1; trap "" TERM; echo ready; while :; do sleep 0.02; done')
	x create --name other-$n busybox true >/dev/null
	check "$cli rename" status 0 x rename $n new-$n
	check "$cli rename: the new name" equal "$(state new-$n Running)" true
	check "$cli rename: the old name is gone" has "$(x inspect $n 2>&1)" "No such"
	check "$cli rename: to a name in use" has "$(x rename new-$n other-$n 2>&1)" "is already in use by container"
	check "$cli rename: to no name" has "$(x rename new-$n 'a b' 2>&1)" "Invalid container name"
	check "$cli rename: and back" status 0 x rename new-$n $n
	x wait $n >"$tmp/wait.$cli" &
	waiter=$!
	until_ok 5 sh -c "'$builddir/kedge' -H unix://$sock logs $n | grep -q ready"
	check "$cli kill -s: no such signal" has "$(x kill -s NOSUCH $n 2>&1)" "nvalid signal: NOSUCH"
	check "$cli kill -s: one that is ignored" equal "$(x kill -s TERM $n; state $n Running)" "$n
true"
	check "$cli kill -s" equal "$(x kill -s USR1 $n)" $n
	wait $waiter
	check "$cli wait: the exit code" equal "$(cat "$tmp/wait.$cli")" 3
	check "$cli wait: it has ended already" equal "$(x wait $n)" 3
	check "$cli kill of what does not run" has "$(x kill $n 2>&1)" "is not running"
	check "$cli restart: starts what is stopped" equal "$(x restart $n; state $n Running)" "$n
true"
	pid=$(state $n Pid)
	check "$cli restart: a new process" equal "$(x restart -t 0 $n; [ "$(state $n Pid)" != "$pid" ] && state $n Running)" "$n
true"
	check "$cli kill" equal "$(x kill $n; state $n ExitCode)" "$n
137"
	check "$cli rm" equal "$(x rm $n other-$n | tr '\n' ' ')" "$n other-$n "

	# update
	cid=$(x run -d --name $n -m 64m --pids-limit 100 busybox sleep 1000)
	check "$cli update: memory" equal "$(x update -m 128m --memory-swap 256m $n)" $n
	check "$cli update: in the cgroup" has "$(cgroup_file "$cid" memory.limit_in_bytes 2>/dev/null || cgroup_file "$cid" memory.max)" 134217728
	check "$cli update: smaller again" status 0 x update -m 32m --memory-swap 64m $n
	check "$cli update: in the cgroup, again" has "$(cgroup_file "$cid" memory.limit_in_bytes 2>/dev/null || cgroup_file "$cid" memory.max)" 33554432
	check "$cli update: cpus, shares" status 0 x update --cpus 0.5 --cpu-shares 512 $n
	check "$cli update: quota in the cgroup" has "$(cgroup_file "$cid" cpu.cfs_quota_us 2>/dev/null || cgroup_file "$cid" cpu.max)" 50000
	check "$cli update: cpuset" status 0 x update --cpuset-cpus 0 $n
	check "$cli update: cpuset in the cgroup" equal "$(cgroup_file "$cid" cpuset.cpus)" 0
	check "$cli update: pids" status 0 x update --pids-limit 50 $n
	check "$cli update: pids in the cgroup" equal "$(cgroup_file "$cid" pids.max)" 50
	check "$cli update: no pids limit" equal "$(x update --pids-limit -1 $n; cgroup_file "$cid" pids.max)" "$n
max"
	if [ -b /dev/loop0 ] && [ -e /sys/fs/cgroup/blkio/blkio.throttle.read_bps_device ]; then
		check "$cli run: device rates, in the cgroup" equal "$(x run -d --name rated --device-read-bps /dev/loop0:1mb --device-write-iops /dev/loop0:70 busybox sleep 1000 >/dev/null
			cgroup_file "$(kedge inspect -f '{{.Id}}' rated)" blkio.throttle.read_bps_device; cgroup_file "$(kedge inspect -f '{{.Id}}' rated)" blkio.throttle.write_iops_device)" "7:0 1048576
7:0 70"
		check "update: device rates, in the cgroup" equal "$(post -d '{"BlkioDeviceReadBps":[{"Path":"/dev/loop0","Rate":2048}]}' http://localhost/containers/rated/update
			cgroup_file "$(kedge inspect -f '{{.Id}}' rated)" blkio.throttle.read_bps_device)" "2007:0 2048"
		x rm -f rated >/dev/null
	fi
	check "$cli update: too little memory" has "$(x update -m 1m $n 2>&1)" "Minimum memory limit allowed is 6MB"
	check "$cli update: conflicting CPU options" has "$(x update --cpu-quota 10000 $n 2>&1)" "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"
	check "$cli update: a CPU that is not there" status 1 x update --cpuset-cpus 999 $n
	check "$cli update: what was refused is not kept" equal "$(kedge inspect -f '{{.HostConfig.CpusetCpus}}' $n)" 0
	check "$cli update: restart policy" equal "$(x update --restart on-failure:3 $n; kedge inspect -f '{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}' $n)" "$n
on-failure 3"
	engine_kill9
	engine_start
	check "$cli update: over the engine's death" equal "$(kedge inspect -f '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}}' $n)" "33554432 500000000 512"
	x stop -t 0 $n >/dev/null
	check "$cli update: of a stopped one" equal "$(x update -m 100m --memory-swap -1 $n)" $n
	x start $n >/dev/null
	check "$cli update: is there at the next start" has "$(cgroup_file "$cid" memory.limit_in_bytes 2>/dev/null || cgroup_file "$cid" memory.max)" 104857600
	x rm -f $n >/dev/null

	# --init
	check "$cli run --init: exit code" status 9 x run --rm --init busybox sh -c 'exit 9'
	check "$cli run --init: killed by a signal" status 143 x run --rm --init busybox sh -c 'kill -TERM $$'
	check "$cli run --init: no such program" status 127 x run --rm --init busybox nothing
	check "$cli run --init: who is 1" equal "$(x run --rm --init busybox sh -c 'cat /proc/1/comm; tr -s "\0" " " </proc/1/cmdline; echo $$')" "kedge-init
kedge-init -- sh -c cat /proc/1/comm; tr -s \"\\0\" \" \" </proc/1/cmdline; echo \$\$ 2"
	check "$cli run --init: orphans are reaped" equal "$(x run --rm --init busybox sh -c '(sleep 0.1 &) ; sleep 0.5; ps -o stat | grep -c Z')" 0
	x run -d --init --name $n busybox sh -c 'trap "exit 21" TERM; echo ready; while :; do sleep 0.02; done' >/dev/null
	until_ok 5 sh -c "'$builddir/kedge' -H unix://$sock logs $n | grep -q ready"
	check "$cli run --init: signals are passed on" equal "$(x stop $n; state $n ExitCode)" "$n
21"
	x rm $n >/dev/null
	check "$cli run --stop-signal" equal "$(x run -d --name $n --stop-signal USR1 busybox sh -c 'trap "exit 22" USR1; echo ready; while :; do sleep 0.02; done' >/dev/null
		until_ok 5 sh -c "'$builddir/kedge' -H unix://$sock logs $n | grep -q ready"; x stop $n >/dev/null; state $n ExitCode)" 22
	x rm $n >/dev/null
done
cli=kedge
kedge create --name ww busybox true >/dev/null
curl -sSN --unix-socket "$sock" -D "$tmp/head" -o "$tmp/waited" -X POST 'http://localhost/containers/ww/wait?condition=removed' &
waiter=$!
until_ok 5 grep -q '200 OK' "$tmp/head"
kedge rm ww >/dev/null
wait $waiter
check "wait: removed" equal "$(cat "$tmp/waited")" '{"StatusCode":0}'
check "wait: an unknown condition" equal "$(kedge create --name ww busybox true >/dev/null; code -X POST 'http://localhost/containers/ww/wait?condition=never'; kedge rm ww >/dev/null)" 400
check "update: what cannot be updated" equal "$(kedge create --name ww busybox true >/dev/null; post -d '{"CgroupParent":"/x"}' http://localhost/containers/ww/update; cat "$tmp/body"; kedge rm ww >/dev/null)" \
	'400{"message":"CgroupParent cannot be updated"}'

# The engine dies in the middle: what it says afterwards is so.
kedge run -d --name mid -m 64m busybox sleep 1000 >/dev/null
cid=$(kedge inspect -f '{{.Id}}' mid)
frozen() { grep -q FROZEN "$(find /sys/fs/cgroup -path "*/$id/$cid/freezer.state" -print -quit)" 2>/dev/null || grep -q 'frozen 1' "$(find /sys/fs/cgroup -path "*/$id/$cid/cgroup.events" -print -quit)"; }
engine_stop
for at in engine.paused engine.save engine.update; do
	KEDGE_FAULT=$at:1:kill engine_start
	case $at in
	engine.update) kedge update -m 96m --memory-swap 192m mid >/dev/null 2>&1 || true ;;
	engine.paused) kedge pause mid >/dev/null 2>&1 || true ;;
	*) kedge unpause mid >/dev/null 2>&1 || true ;;
	esac
	wait "$engine_pid" 2>/dev/null || true
	engine_pid=
	engine_start
	check "killed at $at: paused or not, as it says" equal "$(state mid Paused)" "$(frozen && echo true || echo false)"
	[ "$(state mid Paused)" = false ] || [ $at = engine.paused ] || kedge unpause mid >/dev/null
	check "killed at $at: it can be updated" equal "$(kedge update -m 80m --memory-swap 160m mid; cat "$(find /sys/fs/cgroup \( -path "*/$id/$cid/memory.limit_in_bytes" -o -path "*/$id/$cid/memory.max" \) -print -quit)")" "mid
83886080"
	engine_stop
done
engine_start
kedge rm -f mid >/dev/null

# Started again and again, whichever moment of its end that meets.
kedge create --name brief busybox true >/dev/null
often() { for _ in $(seq 30); do kedge start brief >/dev/null || return 1; done; }
check "start of one that is just ending" often
kedge rm -f brief >/dev/null

# Restart policies.
count() { kedge inspect -f '{{.RestartCount}}' "$1"; }
kedge run -d --name fails --restart on-failure:2 busybox sh -c 'echo run; exit 4' >/dev/null
check "on-failure: as often as told" until_ok 10 is fails '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}' "2 exited 4"
check "on-failure: three runs" equal "$(kedge logs fails | grep -c run)" 3
kedge run -d --name succeeds --restart on-failure busybox true >/dev/null
check "on-failure: not after success" equal "$(kedge wait succeeds; count succeeds)" "0
0"
kedge run -d --name always --restart always busybox sh -c 'echo run; exit 0' >/dev/null
check "always: again and again" until_ok 10 sh -c "[ \$('$builddir/kedge' -H unix://$sock inspect -f '{{.RestartCount}}' always) -ge 3 ]"
check "wait ends with a run, whatever the policy" equal "$(timeout 10 "$builddir/kedge" -H "unix://$sock" wait always)" 0
check "always: stopped is stopped" equal "$(kedge stop always; state always Status)" "always
exited"
n=$(kedge logs always | grep -c run)
kedge run -d --name unless --restart unless-stopped busybox sleep 1000 >/dev/null
kedge run -d --name unless-not --restart unless-stopped busybox sleep 1000 >/dev/null
kedge run -d --name auto --rm busybox sh -c 'while [ ! -e /tmp/go ]; do sleep 0.05; done' >/dev/null
kedge stop -t 0 unless-not >/dev/null
pid=$(state unless Pid) root=/proc/$(state auto Pid)/root
check "the pauses grow" [ "$n" -lt 12 ]
engine_kill9
kill -9 "$pid"
touch "$root/tmp/go"
until_ok 5 sh -c "[ ! -e /proc/$pid ] && [ ! -e $root ]"
engine_start
check "after a start of the engine: unless-stopped comes back" until_ok 10 is unless '{{.State.Running}} {{.RestartCount}}' "true 1"
check "after a start of the engine: what its user stopped stays so" equal "$(state unless-not Status)" exited
check "after a start of the engine: always means that" until_ok 10 sh -c "[ \$('$builddir/kedge' -H unix://$sock logs always | grep -c run) -gt $n ]"
check "after a start of the engine: what was to be removed is" until_ok 10 sh -c "! '$builddir/kedge' -H unix://$sock inspect auto"
check "after a start of the engine: on-failure had its tries" equal "$(state fails Status) $(count fails)" "exited 2"
kedge rm -f always unless unless-not fails succeeds >/dev/null
engine_stop
for at in engine.rest:1 engine.remove:1 engine.removed:1; do
	KEDGE_FAULT=$at:kill engine_start
	kedge run -d --name auto --rm busybox true >/dev/null 2>&1 || true
	wait "$engine_pid" 2>/dev/null || true
	engine_pid=
	engine_start
	check "--rm, killed at $at: nothing is left" until_ok 10 sh -c "[ -z \"\$('$builddir/kedge' -H unix://$sock ps -aq)\" ]"
	engine_stop
done

# Killed between two tries, or in one: it comes back no more.
engine_start
kedge run -d --name loop --restart always busybox false >/dev/null
until_ok 10 sh -c "[ \"\$('$builddir/kedge' -H unix://$sock inspect -f '{{.State.Status}}' loop)\" = restarting ]"
check "kill of one that is restarting" until_ok 10 "$builddir/kedge" -H "unix://$sock" kill loop
n=$(kedge inspect -f '{{.RestartCount}}' loop)
check "kill of one that is restarting: it is not started again" equal "$(timeout 3 "$builddir/kedge" -H "unix://$sock" events --filter container=loop --filter event=start 2>/dev/null | wc -l; kedge inspect -f '{{.State.Status}} {{.RestartCount}}' loop)" "0
exited $n"
kedge rm loop >/dev/null
engine_stop

# A crowd that crashes leaves the engine alive, and a reboot brings it back a few at a time.
engine_start
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do kedge create --name crowd$i --restart always busybox sh -c 'exit 1' >/dev/null; done
kedge start crowd1 crowd2 crowd3 crowd4 crowd5 crowd6 crowd7 crowd8 crowd9 crowd10 crowd11 crowd12 >/dev/null
check "crash loops: all of them come back" until_ok 20 sh -c "! '$builddir/kedge' -H unix://$sock inspect -f '{{.RestartCount}}' crowd1 crowd2 crowd3 crowd4 crowd5 crowd6 crowd7 crowd8 crowd9 crowd10 crowd11 crowd12 | grep -x 0"
check "crash loops: stop" status 0 kedge stop crowd1 crowd2 crowd3 crowd4 crowd5 crowd6 crowd7 crowd8 crowd9 crowd10 crowd11 crowd12
check "crash loops: rm" status 0 kedge rm crowd1 crowd2 crowd3 crowd4 crowd5 crowd6 crowd7 crowd8 crowd9 crowd10 crowd11 crowd12

# A restart that a removal overtakes is answered.
kedge run -d --name stubborn busybox sh -c 'trap "" TERM; while true; do sleep 1; done' >/dev/null
timeout 20 "$builddir/kedge" -H "unix://$sock" restart -t 60 stubborn >"$tmp/restart.out" 2>&1 &
restart=$!
until_ok 10 grep -q "POST /containers/stubborn/restart" "$tmp/kedged.log"
kedge rm -f stubborn >/dev/null
check "a restart that a removal overtakes is answered" status 1 wait $restart
check "and told why" has "$(cat "$tmp/restart.out")" "is being removed"

# --- one engine to a data root; one that is on its way out is waited for
engine_stop
mkfifo "$tmp/go"
python3 - "$data/kedged.lock" "$tmp/locked" "$tmp/go" <<'PY' &
import fcntl, struct, sys
lock = open(sys.argv[1], "r+")
fcntl.fcntl(lock, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))  # F_OFD_SETLK
open(sys.argv[2], "w").close()
open(sys.argv[3]).close()
PY
holder=$!
until_ok 10 test -e "$tmp/locked"
second() { "$builddir/kedged" --data-root "$data" --exec-root "$run" --instance "$id" --config-file "$tmp/daemon.json" 2>&1; }
check "another engine is refused" has "$(second || echo "status $?")" "another kedged works on $data"
: >"$tmp/kedged.log"
waits() { grep -q "waiting a moment for its end" "$tmp/kedged.log"; }
{ until_ok 20 waits; : >"$tmp/go"; } &
engine_start
check "one that ends meanwhile is waited for" waits
wait $holder
