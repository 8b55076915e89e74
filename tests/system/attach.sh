#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# attach: terminals, detach keys on either side, websockets, the log first, half-close, and an engine that dies. By kedge, docker and by hand.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
export DOCKER_HOST=unix://$sock DOCKER_CONFIG=$tmp
here=$(dirname "$0")
talk() { python3 "$here/attach_talk.py" "$sock" "$@"; }
user() { python3 "$here/pty_talk.py" "$@"; }
running() { kedge inspect -f '{{.State.Running}}' "$1"; }

for cli in kedge docker; do
	if [ $cli = kedge ]; then c=("$builddir/kedge" -H "unix://$sock"); else c=(docker); fi
	check "$cli run -it: typed, answered, sized, left by exit" user --size 31x99 --poll 'stty size\n' '31 99' --say 'tty\n' --until /dev/ --say 'exit 6\n' --status 6 \
		-- "${c[@]}" run --rm -it busybox sh
	check "$cli run -it: resized" user --size 20x60 --say 'echo re""ady\n' --until ready --resize 44x99 --poll 'stty size\n' '44 99' --say 'exit\n' --status 0 \
		-- "${c[@]}" run --rm -it busybox sh
	check "$cli run -it: ^C reaches the program" user --say 'trap "echo caught it" INT; echo re""ady\n' --until ready --say '\x03' --until 'caught it' --say 'exit 8\n' --status 8 \
		-- "${c[@]}" run --rm -it busybox sh
	check "$cli run -it --init: ^C reaches the program" user --say 'trap "echo caught it" INT; echo re""ady\n' --until ready --say '\x03' --until 'caught it' --say 'exit 8\n' --status 8 \
		-- "${c[@]}" run --rm -it --init busybox sh
	check "$cli run -it: left by the keys" user --say 'echo re""ady\n' --until ready --say '\x10\x11' -- "${c[@]}" run --name box -it busybox sh
	check "$cli run -it: it goes on" equal "$(running box)" true
	check "$cli attach: comes back, leaves again" user --say 'echo ag""ain\n' --until again --say '\x10\x11' --until 'read escape sequence' --status 1 -- "${c[@]}" attach box
	check "$cli attach --detach-keys" user --say 'echo ag""ain\n' --until again --say 'x\x05' --until 'read escape sequence' -- "${c[@]}" attach --detach-keys x,ctrl-e box
	check "$cli attach: keys that only begin go in" user --say 'echo be""gin\n' --until begin --say '\x10echo o""n\n' --until on --say '\x10\x11' -- "${c[@]}" attach box
	check "$cli attach: to the end" user --say 'echo ag""ain\n' --until again --say 'exit 12\n' --status 12 -- "${c[@]}" attach box
	check "$cli attach: not to a stopped one" status 1 "${c[@]}" attach box
	"${c[@]}" rm -f box >/dev/null
	"${c[@]}" create -i --name box busybox sh -c 'while read line; do echo "got $line"; done; echo bye >&2; exit 4' >/dev/null
	"${c[@]}" start box >/dev/null
	check "$cli attach: stdin from a pipe ends with it" equal "$( (echo one; echo two) | "${c[@]}" attach box 2>&1; echo $?)" "got one
got two
bye
4"
	"${c[@]}" rm -f box >/dev/null
done

# The keys are the engine's business too: by a client that does not look for them.
kedge run -dit --name tty busybox sh >/dev/null
all='stream=1&stdin=1&stdout=1&stderr=1'
check "by hand: attach, type, the keys end the stream" has "$(talk raw "/containers/tty/attach?$all" 'say=echo he""re\n' until=here 'say=\x10\x11' end)" here
check "by hand: other keys" has "$(talk raw "/containers/tty/attach?$all&detachKeys=ctrl-a,b" 'say=echo he""re\n' until=here 'say=\x01' say=b end)" here
check "by hand: it goes on" equal "$(running tty)" true
check "by hand: keys that are none" has "$(talk raw "/containers/tty/attach?$all&detachKeys=ctrl-%2B" refused=400)" "Invalid escape keys"
eid=$(api -X POST -H 'Content-Type: application/json' -d '{"AttachStdin":true,"AttachStdout":true,"Tty":true,"Cmd":["sh"],"DetachKeys":"ctrl-x"}' http://localhost/containers/tty/exec | sed 's/.*"Id":"\([0-9a-f]*\)".*/\1/')
kedge events --format '{{.Action}} {{index .Actor.Attributes "execID"}}' >"$tmp/events" &
ev=$!
until_ok 5 kedge events --since 0 --until 1s
python3 - "$sock" "$eid" >"$tmp/out" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(15); s.connect(sys.argv[1])
body = b'{"Detach":false,"Tty":true}'
s.sendall(b"POST /exec/%s/start HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (sys.argv[2].encode(), len(body)) + body)
got = b""
s.sendall(b'echo he""re\n')
while b"here\r" not in got:
    got += s.recv(4096)
s.sendall(b"\x18")
while True:
    data = s.recv(4096)
    if not data:
        break
    got += data
print(got.decode(errors="replace"))
PY
check "by hand: an exec's own keys end its stream" has "$(cat "$tmp/out")" here
check "by hand: the exec goes on" has "$(api "http://localhost/exec/$eid/json")" '"Running":true'
check "by hand: and it is told" until_ok 5 grep -q "exec_detach $eid" "$tmp/events"
kill $ev

# Websockets.
check "websocket: type, be answered, leave by close" has "$(talk ws "/containers/tty/attach/ws?$all" 'say=echo we""b\n' until=web ping close end)" web
check "websocket: the detach keys" has "$(talk ws "/containers/tty/attach/ws?$all" 'say=echo we""b\n' until=web 'say=\x10\x11' end)" web
check "websocket: it goes on" equal "$(running tty)" true
check "websocket: a frame in pieces" has "$(talk ws "/containers/tty/attach/ws?$all" frame=018500000000 frame=6563686f20 frame=8085000000007069650a0a until=pie close end)" pie
check "websocket: a frame without a mask ends it" status 0 talk ws "/containers/tty/attach/ws?$all" frame=820161 end
check "websocket: a reserved bit ends it" status 0 talk ws "/containers/tty/attach/ws?$all" frame=c28000000000 end
check "websocket: a long ping ends it" status 0 talk ws "/containers/tty/attach/ws?$all" frame=89fe00ff00000000 end
check "websocket: no such container" has "$(talk ws "/containers/nosuch/attach/ws?$all" refused=404)" "No such container"
check "websocket: no handshake" equal "$(api -o "$tmp/body" -w '%{http_code}' "http://localhost/containers/tty/attach/ws?$all")" 400
kedge run -di --name plain busybox sh -c 'echo early; while read l; do echo "got $l"; echo "err $l" >&2; done; exit 3' >/dev/null
kedge create -i --name once busybox sh -c 'while read l; do echo "got $l"; done; exit 3' >/dev/null
kedge start once >/dev/null
check "websocket without a terminal: no frames of ours inside" equal "$(talk ws '/containers/plain/attach/ws?stream=1&stdin=1&stdout=1' 'say=a\n' until='got a\n' close end)" "got a"
until_ok 5 sh -c "'$builddir/kedge' -H unix://$sock logs plain 2>&1 | grep -q 'err a'"
check "logs=1 alone: what there is, and the end" equal "$(talk raw '/containers/plain/attach?logs=1&stdout=1' end | tr -d '\000-\011\013-\037')" "early
got a"
check "logs=1 with stream=1: what there is, then what comes" equal "$(talk raw '/containers/plain/attach?logs=1&stream=1&stdin=1&stdout=1' until=early 'say=b\n' 'until=got b' | tr -d '\000-\011\013-\037')" "early
got a
got b"
check "half-close: stdin ends, the output comes to its end" has "$(talk raw '/containers/once/attach?stream=1&stdin=1&stdout=1&stderr=1' 'say=c\n' half-close end | tr -d '\000-\011\013-\037')" "got c"
check "half-close: the program has seen it" equal "$(kedge wait once)" 3

# The engine dies under a terminal: the shell lives, what was typed is there.
user --say 'x=kept; echo re""ady\n' --until ready --say '\x10\x11' -- "$builddir/kedge" -H "unix://$sock" attach tty >/dev/null
engine_kill9
engine_start
check "after the engine's death: the same shell" user --say 'echo $x of o""ld\n' --until 'kept of old' --say '\x10\x11' -- docker attach tty
check "after the engine's death: resized" user --size 17x71 --poll 'stty size\n' '17 71' --say '\x10\x11' -- "$builddir/kedge" -H "unix://$sock" attach tty
check "rm -f" equal "$(kedge rm -f tty plain once | tr '\n' ' ')" "tty plain once "
