#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the engine at every commit point of create, start, stop and delete: it starts again by itself, what was acknowledged is
# there, and no mount, namespace, veth, cgroup or port is left of what was not.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
engine_stop

# What a container may leave behind, counted.
leftovers() {
	echo "veth $(ip -br link | grep -c '^kv' || true)"
	echo "netns $(find "$run/netns" -mindepth 1 2>/dev/null | wc -l)"
	echo "cgroup $(find /sys/fs/cgroup -maxdepth 4 -mindepth 2 -path "*/$id/*" -type d 2>/dev/null | wc -l)"
	echo "mount $(grep -c "$tmp/lib" /proc/self/mountinfo || true)"
	echo "dirs $(find "$data/containers" "$run/containers" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)"
	echo "ports $(ss -Hltn 'sport = :8080' | wc -l)"
}
nothing=$(printf 'veth 0\nnetns 0\ncgroup 0\nmount 0\ndirs 0\nports 0')
is_clean() { [ "$(leftovers)" = "$nothing" ] || { leftovers; return 1; }; }
dead() { ! kill -0 "$engine_pid" 2>/dev/null; }

# point NAME NTH COMMAND...: the engine dies when it passes NAME for the NTH time, in the course of the command.
point() {
	local name=$1 nth=$2
	shift 2
	KEDGE_FAULT=$name:$nth:kill engine_start
	"$@" >"$tmp/op.out" 2>&1 || true
	if ! until_ok 5 dead; then
		cat "$tmp/op.out"
		echo "not ok - $name:$nth was not passed by: $*"
		failures=$((failures + 1))
		kill -9 "$engine_pid"
	fi
	wait "$engine_pid" 2>/dev/null || true
	engine_pid=
	engine_start
}

for at in engine.save:1 engine.create:1; do
	point ${at%:*} ${at#*:} kedge create --name box busybox true
	check "create, killed at $at: a name is free or the container is whole" sh -c "'$builddir/kedge' -H unix://$sock inspect box >/dev/null 2>&1 || '$builddir/kedge' -H unix://$sock create --name box busybox true"
	kedge rm -f box >/dev/null
	check "create, killed at $at: nothing is left" until_ok 10 is_clean
	engine_stop
done

for at in engine.launch:1 engine.created:1 engine.save:2 engine.start:1 engine.started:1; do
	point ${at%:*} ${at#*:} kedge run -d --name box -p 8080:80 busybox sleep 1000
	state=$(kedge inspect -f '{{.State.Status}}' box 2>&1)
	check "start, killed at $at: running or not, as it says ($state)" sh -c "case '$state' in running) '$builddir/kedge' -H unix://$sock top box | grep -q sleep ;; created|exited) ! '$builddir/kedge' -H unix://$sock top box 2>/dev/null ;; *) false ;; esac"
	[ "$state" = running ] || check "start, killed at $at: it can be started" until_ok 5 kedge start box
	check "start, killed at $at: its port is held" [ "$(ss -Hltn 'sport = :8080' | wc -l)" -ge 1 ]
	check "start, killed at $at: it can be removed" kedge rm -f box
	check "start, killed at $at: nothing is left" until_ok 10 is_clean
	engine_stop
done

# The first save of a stop notes only that the user wants it; the program has got no signal yet.
engine_start
kedge run -d --name box busybox sleep 1000 >/dev/null
engine_stop
point engine.save 1 kedge stop -t 0 box
check "stop, killed before its signal: the container runs" [ "$(kedge inspect -f '{{.State.Running}}' box)" = true ]
check "stop, killed before its signal: it can be stopped" kedge stop -t 0 box
kedge rm box >/dev/null
check "stop, killed before its signal: nothing is left" until_ok 10 is_clean
engine_stop

for at in engine.exit:1 engine.save:2 engine.rest:1; do
	engine_start
	kedge run -d --name box -p 8080:80 busybox sleep 1000 >/dev/null
	engine_stop
	point ${at%:*} ${at#*:} kedge stop -t 0 box
	check "stop, killed at $at: it comes to rest" until_ok 10 sh -c "[ \"\$('$builddir/kedge' -H unix://$sock inspect -f '{{.State.Running}}' box)\" = false ]"
	check "stop, killed at $at: its exit code is known" has "137 255" "$(kedge inspect -f '{{.State.ExitCode}}' box)"
	kedge rm box >/dev/null
	check "stop, killed at $at: nothing is left" until_ok 10 is_clean
	engine_stop
done

for at in engine.remove:1 engine.removed:1; do
	engine_start
	kedge create --name box busybox true >/dev/null
	engine_stop
	point ${at%:*} ${at#*:} kedge rm box
	kedge rm -f box >/dev/null 2>&1 || true
	check "delete, killed at $at: nothing is left" until_ok 10 is_clean
	engine_stop
done

# The monitor dies: the container ends with it and the engine notices.
engine_start
kedge run -d --name box busybox sleep 1000 >/dev/null
pid=$(kedge inspect -f '{{.State.Pid}}' box)
kill -9 "$(ps -o ppid= -p "$pid" | tr -d ' ')"
check "a killed monitor takes its container along" until_ok 10 sh -c "! kill -0 $pid 2>/dev/null"
check "and the engine says so" until_ok 10 sh -c "[ \"\$('$builddir/kedge' -H unix://$sock inspect -f '{{.State.Running}}' box)\" = false ]"
check "it can be started again" kedge start box
kedge rm -f box >/dev/null
check "nothing is left" until_ok 10 is_clean
