#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# exec: streams, terminal, exit codes, user and the like, events, and an engine that dies in the middle. By kedge and by the docker CLI.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
export DOCKER_HOST=unix://$sock DOCKER_CONFIG=$tmp
kedge run -d --name box -e COLOUR=red -w /tmp busybox sleep 1000 >/dev/null
cid=$(kedge inspect -f '{{.Id}}' box)
ev=$tmp/events
kedge events --format '{{.Action}} {{index .Actor.Attributes "execID"}} {{index .Actor.Attributes "exitCode"}}' >"$ev" 2>/dev/null &
ev_pid=$!

for cli in ${KEDGE_TEST_CLIS:-kedge docker}; do
	x() { if [ $cli = kedge ]; then kedge "$@"; else docker "$@"; fi; }
	check "$cli exec: output" equal "$(x exec box echo one two)" "one two"
	check "$cli exec: streams are kept apart" equal "$(x exec box sh -c 'echo out; echo err >&2' 2>/dev/null)" "out"
	check "$cli exec: stderr" equal "$(x exec box sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" "err"
	check "$cli exec: exit code" status 7 x exec box sh -c 'exit 7'
	check "$cli exec: killed by a signal" status 143 x exec box sh -c 'kill -TERM $$'
	check "$cli exec: no such program" status 127 x exec box /no/such/thing
	check "$cli exec: says so" has "$(x exec box nothing 2>&1)" 'exec: "nothing": executable file not found in $PATH'
	check "$cli exec: not executable" status 126 x exec box /etc/passwd
	check "$cli exec -i: stdin, and its end" equal "$(echo hello | x exec -i box cat)" "hello"
	check "$cli exec -i: a megabyte both ways" equal "$(head -c 1000000 /dev/zero | x exec -i box cat | wc -c)" 1000000
	check "$cli exec without -i has no stdin" equal "$(echo hello | x exec box cat)" ""
	check "$cli exec: environment and directory of the container" equal "$(x exec box sh -c 'echo $COLOUR $PWD')" "red /tmp"
	check "$cli exec -e" equal "$(x exec -e COLOUR=blue -e SIZE=2 box sh -c 'echo $COLOUR $SIZE')" "blue 2"
	check "$cli exec -w" equal "$(x exec -w /etc box pwd)" "/etc"
	check "$cli exec -u name" equal "$(x exec -u www-data box id -un)" "www-data"
	check "$cli exec -u number" equal "$(x exec -u 1234:99 box sh -c 'id -u; id -g' | tr '\n' ' ')" "1234 99 "
	check "$cli exec -u nobody knows" has "$(x exec -u who box id 2>&1)" "unable to find user who: no matching entries in passwd file"
	check "$cli exec has the container's capabilities" equal "$(x exec box grep CapEff /proc/self/status)" "$(x exec box grep CapEff /proc/1/status)"
	check "$cli exec --privileged has more" [ "$(x exec --privileged box grep CapEff /proc/self/status)" != "$(x exec box grep CapEff /proc/1/status)" ]
	check "$cli exec: no descriptor but its own" equal "$(x exec box sh -c 'ls /proc/self/fd | tr "\n" " "')" "0 1 2 3 "
	check "$cli exec is in the container's cgroup" equal "$(x exec box cat /proc/self/cgroup | sort)" "$(x exec box cat /proc/1/cgroup | sort)"
	check "$cli exec -d returns at once" equal "$(x exec -d box sh -c 'echo detached >/tmp/mark-'$cli)" ""
	check "$cli exec -d has run" until_ok 5 kedge exec box grep detached "/tmp/mark-$cli"
	check "$cli exec -d of nothing fails" status 1 x exec -d box nothing
	check "$cli exec in nothing" has "$(x exec nosuch true 2>&1)" "No such container: nosuch"
	check "$cli exec -t: a terminal" has "$(x exec -t box sh -c 'test -t 1 && echo terminal; echo $TERM')" "terminal"
	check "$cli exec -it: typed, answered, sized, left by exit" python3 "$(dirname "$0")/pty_talk.py" --size 33x101 \
		--say 'stty size; tty\n' --until '33 101' --say 'exit 5\n' --status 5 -- $([ $cli = kedge ] && echo "$builddir/kedge" -H "unix://$sock" || echo docker) exec -it box sh
	check "$cli exec -it: resized while it runs" python3 "$(dirname "$0")/pty_talk.py" --size 20x60 --say 'echo re""ady\n' --until ready --resize 44x99 \
		--poll 'stty size\n' '44 99' --say 'exit\n' --status 0 -- $([ $cli = kedge ] && echo "$builddir/kedge" -H "unix://$sock" || echo docker) exec -it box sh
	check "$cli exec -it: the detach keys" python3 "$(dirname "$0")/pty_talk.py" --size 20x60 --say 'echo re""ady\n' --until ready --say '\x10\x11' \
		--until 'read escape sequence' --status 1 -- $([ $cli = kedge ] && echo "$builddir/kedge" -H "unix://$sock" || echo docker) exec -it box sh
done

# By hand.
body='{"AttachStdout":true,"AttachStderr":true,"Cmd":["sh","-c","echo by hand; exit 3"]}'
new_exec() { api -f -X POST -H 'Content-Type: application/json' -d "$1" http://localhost/containers/box/exec | sed 's/.*"Id":"\([0-9a-f]*\)".*/\1/'; }
code() { api -o "$tmp/body" -w '%{http_code}' "$@"; }
post() { code -X POST -H 'Content-Type: application/json' "$@"; }
eid=$(new_exec "$body")
check "an exec that was made is among ExecIDs" has "$(kedge inspect -f '{{json .ExecIDs}}' box)" "\"$eid\""
check "its start over a plain connection" has "$(api -X POST -H 'Content-Type: application/json' -d '{}' "http://localhost/exec/$eid/start" | tr -d '\000')" "by hand"
check "its end can be asked for" has "$(api "http://localhost/exec/$eid/json")" '"Running":false,"ExitCode":3'
check "it is not among ExecIDs then" status 1 has "$(kedge inspect -f '{{json .ExecIDs}}' box)" "$eid"
check "what was left by the keys goes on, and is" equal "$(kedge inspect -f '{{len .ExecIDs}}' box)" "$(wc -w <<<"${KEDGE_TEST_CLIS:-kedge docker}")"
check "a second start is refused" equal "$(post -d '{}' "http://localhost/exec/$eid/start") $(cat "$tmp/body")" "409 {\"message\":\"exec command $eid has already run\"}"
check "an unknown exec" equal "$(post -d '{}' http://localhost/exec/feed/start) $(cat "$tmp/body")" '404 {"message":"No such exec instance: feed"}'
check "no command" equal "$(post -d '{"Cmd":[]}' http://localhost/containers/box/exec) $(cat "$tmp/body")" '400 {"message":"No exec command specified"}'
check "a command that is no list" equal "$(post -d '{"Cmd":"ls"}' http://localhost/containers/box/exec)" 400
check "detach keys that are none" has "$(post -d '{"Cmd":["ls"],"DetachKeys":"ctrl-"}' http://localhost/containers/box/exec) $(cat "$tmp/body")" '400 {"message":"Invalid escape keys'
check "a resize before the start" equal "$(post "http://localhost/exec/$(new_exec "$body")/resize?h=1&w=1")" 409
check "events of an exec, in order" equal "$(grep -F "$eid" "$ev" | sed 's/ [0-9a-f]\{64\}//' | tr '\n' '|' | sed 's/ *|/|/g')" \
	'exec_create: sh -c echo by hand; exit 3|exec_start: sh -c echo by hand; exit 3|exec_die 3|'

kedge pause box >/dev/null
check "not in a paused container" has "$(kedge exec box true 2>&1)" "is paused, unpause the container before exec"
kedge unpause box >/dev/null
kedge create --name idle busybox true >/dev/null
check "not in a stopped container" has "$(kedge exec idle true 2>&1)" "is not running"

# The engine dies while three execs run: one ends meanwhile, one later, one hangs on a terminal. Each ends as it should.
kill $ev_pid 2>/dev/null || true
early=$(new_exec '{"Cmd":["sh","-c","while [ ! -e /tmp/go-early ]; do sleep 0.05; done; exit 11"]}')
late=$(new_exec '{"Cmd":["sh","-c","while [ ! -e /tmp/go-late ]; do sleep 0.05; done; exit 12"]}')
for e in "$early" "$late"; do post -d '{"Detach":true}' "http://localhost/exec/$e/start" >/dev/null; done
mkfifo "$tmp/typed"
kedge exec -i box sh -c 'echo $$ >/tmp/held; cat >/dev/null; echo over >/tmp/held-over' <"$tmp/typed" >/dev/null 2>&1 &
held=$!
exec 9>"$tmp/typed"
until_ok 5 kedge exec box test -s /tmp/held
root=/proc/$(kedge inspect -f '{{.State.Pid}}' box)/root
engine_kill9
wait $held 2>/dev/null || true
touch "$root/tmp/go-early"
check "an exec whose client is gone sees the end of its stdin" until_ok 5 test -e "$root/tmp/held-over"
until_ok 5 sh -c "ls $run/containers/$cid | grep -q '^exec-.*exit'"
engine_start
state_of() { api "http://localhost/exec/$1/json"; }
check "what ended without an engine has its exit code" until_ok 5 sh -c "curl -sS --unix-socket $sock http://localhost/exec/$early/json | grep -q '\"Running\":false,\"ExitCode\":11'"
check "what runs is known to run" has "$(state_of "$late")" '"Running":true,"ExitCode":null'
check "and is among ExecIDs" has "$(kedge inspect -f '{{json .ExecIDs}}' box)" "$late"
kedge events --since "$(date +%s)" --format '{{.Action}} {{index .Actor.Attributes "execID"}} {{index .Actor.Attributes "exitCode"}}' >"$ev" 2>/dev/null &
ev_pid=$!
until_ok 5 sh -c "curl -sS --unix-socket $sock http://localhost/_ping"
kedge exec box touch /tmp/go-late
check "its end is seen" until_ok 5 sh -c "curl -sS --unix-socket $sock http://localhost/exec/$late/json | grep -q '\"Running\":false,\"ExitCode\":12'"
check "and told" until_ok 5 grep -q "^exec_die $late 12" "$ev"
check "what had ended before is still known" has "$(state_of "$eid")" '"ExitCode":3'
check "execs go on" equal "$(kedge exec box echo fine)" fine
kill $ev_pid 2>/dev/null || true
engine_kill9
for at in engine.exec_create:1 engine.exec_start:1 engine.exec_started:1 engine.exec_exit:1; do
	KEDGE_FAULT=$at:kill engine_start
	kedge exec box true >/dev/null 2>&1 || true
	wait "$engine_pid" 2>/dev/null || true
	engine_pid=
	engine_start
	check "killed at $at: execs work" equal "$(kedge exec box echo fine)" fine
	check "killed at $at: what was started is over" until_ok 5 sh -c "! '$builddir/kedge' -H unix://$sock top box | grep -w true"
	engine_stop
done
engine_start
check "the container has not noticed" equal "$(kedge inspect -f '{{.State.Running}} {{.State.Pid}}' box)" "true ${root//[!0-9]/}"
kedge stop -t 0 box >/dev/null
check "execs go with the container" equal "$(kedge rm box; code "http://localhost/exec/$late/json")" "box
404"
