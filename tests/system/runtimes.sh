#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# crun and runc in the place of kedge's own runtime: a whole life, the engine's restart in it, an init, a user namespace.
. "$(dirname "$0")/lib.sh"

runtimes=
for rt in crun runc; do [ -z "$(command -v $rt)" ] || runtimes="$runtimes $rt"; done
[ -n "$runtimes" ] || skip "neither crun nor runc is installed"
# crun refuses a machine whose version 2 tree beside version 1 has controllers: here it does not see it.
[ -e /sys/fs/cgroup/cgroup.controllers ] || umount /sys/fs/cgroup/unified 2>/dev/null || true

state() { kedge inspect -f "{{.State.$2}}" "$1"; }
engine_start
need_image busybox
check "info names them" has "$(api http://localhost/info)" '"kedge"'
for rt in $runtimes; do
	check "$rt: info" has "$(kedge info -f '{{json .Runtimes}}')" "\"$rt\""
	kedge run -d --name box --runtime $rt -m 64m -p 8077:80 -e A=b -v "$rt-vol:/v" --restart on-failure:3 busybox \
		sh -c 'echo started; trap "echo bye; exit 7" TERM; trap "echo usr" USR1; mkdir -p /w; echo page >/w/index.html; httpd -p 80 -h /w; n=0; while :; do n=$((n+1)); [ ! -e /die ] || { rm /die; exit 9; }; sleep 0.05; done' >/dev/null
	check "$rt: its output is in the log" until_ok 10 sh -c "'$builddir/kedge' -H unix://$sock logs box | grep -q started"
	check "$rt: a published port" until_ok 10 client curl -fsS --max-time 2 http://192.0.2.1:8077/
	check "$rt: inspect" equal "$(kedge inspect -f '{{.HostConfig.Runtime}}' box)" $rt
	check "$rt: exec: output, status, environment" equal "$(kedge exec -e C=d box sh -c 'echo $A $C; exit 5' || echo $?)" "b d
5"
	check "$rt: exec -t" has "$(kedge exec -t box tty)" "/dev/pts/"
	check "$rt: exec -u, -w" equal "$(kedge exec -u 12:34 -w /tmp box sh -c 'id -u; id -g; pwd' | tr '\n' ' ')" "12 34 /tmp "
	check "$rt: exec of nothing" status 127 kedge exec box /no/such
	check "$rt: top" has "$(kedge top box)" "httpd"
	check "$rt: stats" has "$(kedge stats --no-stream --format '{{.MemUsage}}' box)" "/ 64MiB"
	echo hi >"$tmp/f"
	check "$rt: cp" equal "$(kedge cp "$tmp/f" box:/in && kedge exec box cat /in)" hi
	check "$rt: diff" has "$(kedge diff box)" "A /in"
	kedge kill -s USR1 box >/dev/null
	check "$rt: a signal arrives" until_ok 10 sh -c "'$builddir/kedge' -H unix://$sock logs box | grep -q usr"
	check "$rt: update" equal "$(kedge update -m 96m --memory-swap 96m box >/dev/null && kedge stats --no-stream --format '{{.MemUsage}}' box | sed 's/.* //')" 96MiB
	check "$rt: pause, unpause" equal "$(kedge pause box >/dev/null; state box Status; kedge unpause box >/dev/null; state box Status)" "paused
running"
	pid=$(state box Pid)
	engine_kill9
	check "$rt: it outlives the engine" client curl -fsS --max-time 5 http://192.0.2.1:8077/
	engine_start
	check "$rt: and is taken over" equal "$(state box Pid) $(kedge exec box echo in)" "$pid in"
	kedge exec box touch /die
	check "$rt: the restart policy" until_ok 10 sh -c "[ \"\$('$builddir/kedge' -H unix://$sock inspect -f '{{.RestartCount}} {{.State.Status}}' box)\" = '1 running' ]"
	check "$rt: with its log going on" until_ok 10 sh -c "[ \$('$builddir/kedge' -H unix://$sock logs box | grep -c started) = 2 ]"
	check "$rt: stop: the program's own end" equal "$(kedge stop box >/dev/null; state box ExitCode; kedge logs box | tail -n 1)" "7
bye"
	check "$rt: start again" equal "$(kedge start box >/dev/null; state box Status)" running
	check "$rt: kill" equal "$(kedge kill box >/dev/null; state box ExitCode)" 137
	check "$rt: rm -v" equal "$(kedge rm -v box; kedge ps -aq | wc -l)" "box
0"
	kedge volume rm "$rt-vol" >/dev/null
	check "$rt: -i: input" equal "$(echo typed | kedge run --rm -i --runtime $rt busybox cat)" typed
	check "$rt: -t: a terminal of the size asked for" has "$(kedge run --rm -t --runtime $rt busybox tty)" "/dev/pts/"
	check "$rt: --rm leaves nothing" equal "$(kedge ps -aq | wc -l)" 0
	if command -v tini-static >/dev/null || command -v catatonit >/dev/null || command -v docker-init >/dev/null; then
		check "$rt: --init: it reaps and ends as the program does" status 6 kedge run --rm --init --runtime $rt busybox sh -c '[ $$ != 1 ] && (true &); n=0; while ps -o stat | grep -q Z; do n=$((n + 1)); [ $n -lt 100 ] || exit 9; sleep 0.05; done; exit 6'
		check "$rt: --init: signals reach the program" equal "$(c=$(kedge run -d --init --runtime $rt busybox sh -c 'trap "exit 4" TERM; echo up; while :; do sleep 0.05; done'); until_ok 10 sh -c "'$builddir/kedge' -H unix://$sock logs $c | grep -q up"; kedge stop "$c" >/dev/null; state "$c" ExitCode; kedge rm "$c" >/dev/null)" 4
	fi
	check "$rt: a seccomp profile of one's own" has "$(echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}' >"$tmp/p"; kedge run --rm --security-opt "seccomp=$tmp/p" --runtime $rt busybox mkdir /x 2>&1)" "not implemented"
	kedge run -d --name sick --runtime $rt --health-cmd true --health-interval 100ms busybox sleep 100 >/dev/null
	check "$rt: health" until_ok 15 sh -c "[ \"\$('$builddir/kedge' -H unix://$sock inspect -f '{{.State.Health.Status}}' sick)\" = healthy ]"
	kedge rm -f sick >/dev/null
done

# A program that is not one of these, under a name of daemon.json, and as the default.
engine_stop
rt=${runtimes##* }
printf '#!/bin/sh\necho "$@" >>%s/calls\nexec %s "$@"\n' "$tmp" "$(command -v $rt)" >"$tmp/mine"
chmod 755 "$tmp/mine"
echo "{\"runtimes\": {\"mine\": {\"path\": \"$tmp/mine\"}}, \"default-runtime\": \"mine\"}" >"$tmp/daemon.json"
engine_start
check "daemon.json: a runtime of one's own is the default" equal "$(kedge run --rm busybox echo hi)" hi
check "daemon.json: it was called" grep -q create "$tmp/calls"
check "daemon.json: info" equal "$(kedge info -f '{{.DefaultRuntime}}')" mine
check "daemon.json: the engine's own is there by its name" equal "$(kedge run --rm --runtime kedge busybox echo hi)" hi
