#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# logs: rotation, compression, tail, since, until, details, following; drivers and their options; a full disk.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
count='i=0; while [ $i -lt $N ]; do i=$((i + 1)); echo "line $i of the output"; done'
# in_order FIRST LAST < text: the lines FIRST..LAST, each once.
in_order() { awk -v first="$1" -v last="$2" '{ if ($2 != first + NR - 1) { print "at " NR ": " $0; exit 1 } } END { if (NR != last - first + 1) { print NR " lines"; exit 1 } }'; }

kedge run --name plain -e N=3000 busybox sh -c "$count" >/dev/null
check "all of it" in_order 1 3000 < <(kedge logs plain)
check "tail" in_order 2996 3000 < <(kedge logs --tail 5 plain)
check "tail 0" equal "$(kedge logs --tail 0 plain)" ""
check "more than there is" in_order 1 3000 < <(kedge logs --tail 100000 plain)
check "timestamps" sh -c "'$builddir/kedge' -H unix://$sock logs -t --tail 1 plain | grep -qE '^[0-9-]+T[0-9:]+\.[0-9]{9}Z line 3000'"

kedge run --name rot -e N=3000 --log-opt max-size=20k --log-opt max-file=4 busybox sh -c "$count" >/dev/null
dir=$data/containers/$(kedge inspect -f '{{.Id}}' rot)
check "rotation: files" equal "$(ls "$dir" | grep -c json.log)" "4"
kedge logs rot >"$tmp/rot"
check "rotation: what is kept is whole" in_order "$(awk 'NR==1{print $2}' "$tmp/rot")" 3000 <"$tmp/rot"
check "rotation: ... and more than one file" [ "$(wc -l <"$tmp/rot")" -gt 400 ]
check "rotation: tail over files" in_order 2601 3000 < <(kedge logs --tail 400 rot)

kedge run -d --name gz -e N=6000 --log-opt max-size=20k --log-opt max-file=30 --log-opt compress=true busybox sh -c "$count; sleep 1000" >/dev/null
dir=$data/containers/$(kedge inspect -f '{{.Id}}' gz)
until_ok 20 sh -c "'$builddir/kedge' -H unix://$sock logs --tail 1 gz | grep -q 'line 6000'"
# The monitor writes what it has read in one piece, so that a file may be some larger than asked for, and there are fewer.
until_ok 20 sh -c "! ls '$dir' | grep -qE 'log\.[0-9]+$|tmp'"
check "compression: rotated files" sh -c "[ \$(ls '$dir' | grep -c 'log\.[0-9]*\.gz') -ge 3 ]"
check "compression: all of it" in_order 1 6000 < <(kedge logs gz)
check "compression: tail over files" in_order 3001 6000 < <(kedge logs --tail 3000 gz)
check "compression: gzip can read them" sh -c "zcat '$dir'/*log.1.gz | grep -q '\"stream\":\"stdout\"'"

# Following, with rotation at every few milliseconds.
kedge run -d --name follow -e N=20000 --log-opt max-size=100k --log-opt max-file=100 busybox sh -c "echo line 0; while [ ! -e /go ]; do sleep 0.05; done; $count" >/dev/null
kedge logs -f follow >"$tmp/follow" &
follower=$!
until_ok 10 test -s "$tmp/follow"
kedge exec follow touch /go
check "follow: ends with the container" wait $follower
check "follow: no line is lost over rotations" in_order 0 20000 <"$tmp/follow"

# Times
kedge run -d --name slow busybox sh -c 'echo one; sleep 1.1; echo two; sleep 1.1; echo three; sleep 1000' >/dev/null
until_ok 20 sh -c "'$builddir/kedge' -H unix://$sock logs slow | grep -q three"
at() { kedge logs -t slow | sed -n "s/ $1\$//p"; }
check "since" equal "$(kedge logs --since "$(at two)" slow | tr '\n' ' ')" "two three "
check "until" equal "$(kedge logs --until "$(at two)" slow | tr '\n' ' ')" "one two "
check "since and until" equal "$(kedge logs --since "$(at two)" --until "$(at two)" slow)" "two"
check "since in seconds" equal "$(api "http://localhost/containers/slow/logs?stdout=1&since=4000000000" | wc -c)" "0"
check "follow until" equal "$(timeout 20 "$builddir/kedge" -H "unix://$sock" logs -f --until "$(at two)" slow | tr '\n' ' ')" "one two "
check "streams" equal "$(kedge run --name both busybox sh -c 'echo out; echo err >&2' >/dev/null 2>&1; kedge logs both 2>/dev/null)" "out"
check "no stream chosen" equal "$(api -o /dev/null -w '%{http_code}' "http://localhost/containers/slow/logs")" "400"

# A program that writes as fast as it can: nothing is lost, and what the monitor took for it is given back.
monitor_rss() { awk '/^Rss:/ { print $2 }' "/proc/$(awk '{ print $4 }' "/proc/$(kedge inspect -f '{{.State.Pid}}' "$1")/stat")/smaps_rollup"; }
kedge run -d --name burst --log-opt max-size=1g busybox sh -c 'yes "a \"line\" of a <program> in a hurry" | head -n 400000; echo the end; sleep 1000' >/dev/null
until_ok 60 sh -c "'$builddir/kedge' -H unix://$sock logs --tail 1 burst | grep -q 'the end'"
check "burst: every line" equal "$(kedge logs burst | sort | uniq -c | tr -s ' ')" " 400000 a \"line\" of a <program> in a hurry
 1 the end"
idle=$(monitor_rss slow)
given_back() { [ "$(monitor_rss burst)" -lt $((idle + 400)) ]; }
check "burst: memory is given back" until_ok 20 given_back

kedge run --name attrs -l app=x -l 'odd=a b' -e HOME_OF=y --log-opt labels=app,odd --log-opt env=HOME_OF --log-opt 'tag={{.Name}}/{{.ImageName}}' busybox echo text >/dev/null
check "details" equal "$(kedge logs --details attrs)" "HOME_OF=y,app=x,odd=a+b,tag=attrs%2Fbusybox text"
check "details of none" equal "$(kedge logs --details --tail 1 both 2>/dev/null)" "$(printf ' %s' "$(kedge logs --tail 1 both 2>/dev/null)" | sed 's/^ $//')"
check "attributes are docker's" has "$(cat "$data"/containers/"$(kedge inspect -f '{{.Id}}' attrs)"/*json.log)" '"stream":"stdout","attrs":{"HOME_OF":"y","app":"x","odd":"a b","tag":"attrs/busybox"},"time":"'

# Drivers
kedge run --name local --log-driver local busybox echo kept >/dev/null
check "local: can be read" equal "$(kedge logs local)" "kept"
kedge run --name none --log-driver none busybox echo gone >/dev/null
check "none: cannot" has "$(kedge logs none 2>&1)" "configured logging driver does not support reading"
refused() { check "refused: $*" has "$(kedge create "${@:2}" busybox true 2>&1)" "$1"; }
refused "no log driver named 'fluentd' is registered" --log-driver fluentd
refused "unknown log opt 'foo' for json-file log driver" --log-opt foo=bar
refused "unknown log opt 'tag' for local log driver" --log-driver local --log-opt tag=x
refused "invalid size: 'x'" --log-opt max-size=x
refused "max-file" --log-opt max-file=0
refused "compress cannot be true" --log-opt compress=true --log-opt max-file=1
refused "logging mode not supported" --log-opt mode=x
refused "invalid syslog facility" --log-driver syslog --log-opt syslog-facility=x
refused "Invalid syslog format" --log-driver syslog --log-opt syslog-format=x
refused "syslog-address should be in form proto://address" --log-driver syslog --log-opt syslog-address=foo://x
refused "TLS" --log-driver syslog --log-opt syslog-address=tcp+tls://127.0.0.1:1
refused "'{{.Foo}}' is not known" --log-opt 'tag={{.Foo}}'
[ -e /run/systemd/journal/socket ] || refused "needs systemd's journal" --log-driver journald

# Servers for what is sent: what they get goes to files.
cat >"$tmp/server.py" <<'P'
import os, selectors, socket, sys
tmp = sys.argv[1]
sel = selectors.DefaultSelector()
def add(s, name): sel.register(s, selectors.EVENT_READ, open(f'{tmp}/got.{name}', 'ab', 0))
def dgram(path, name):
    if os.path.exists(path): os.unlink(path)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(path); add(s, name)
dgram(f'{tmp}/log.sock', 'unix')
if os.path.isdir('/run/systemd/journal'): dgram('/run/systemd/journal/socket', 'journal')
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 5140)); add(u, 'udp')
t = socket.socket(); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); t.bind(('127.0.0.1', 5141)); t.listen(); sel.register(t, selectors.EVENT_READ, None)
open(f'{tmp}/servers', 'w').close()
while True:
    for k, _ in sel.select():
        if k.fileobj is t: add(t.accept()[0], 'tcp'); continue
        d = k.fileobj.recv(65536)
        if not d: sel.unregister(k.fileobj); continue
        k.data.write(d if k.fileobj.type == socket.SOCK_STREAM else d + b'\n')
P
mount -t tmpfs none /run/systemd 2>/dev/null && mkdir -p /run/systemd/journal || true
python3 "$tmp/server.py" "$tmp" &
server=$!
until_ok 10 test -e "$tmp/servers"
kedge run --name sys1 --log-driver syslog --log-opt syslog-address="unixgram://$tmp/log.sock" --log-opt tag=mytag busybox sh -c 'echo to syslog; echo bad >&2' >/dev/null 2>&1
check "syslog: a local one" until_ok 5 grep -qE '^<30>[A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} mytag\[[0-9]+\]: to syslog$' "$tmp/got.unix"
check "syslog: stderr is an error" until_ok 5 grep -qE '^<27>.*: bad$' "$tmp/got.unix"
check "syslog: logs can be read all the same" equal "$(kedge logs sys1 2>/dev/null)" "to syslog"
kedge run --name sys2 --log-driver syslog --log-opt syslog-address=udp://127.0.0.1:5140 --log-opt syslog-format=rfc5424micro --log-opt syslog-facility=local3 busybox echo over udp >/dev/null
check "syslog: udp, RFC 5424" until_ok 5 grep -qE "^<158>1 [0-9-]+T[0-9:]+\.[0-9]{6}Z [^ ]+ $(kedge inspect -f '{{.Id}}' sys2 | cut -c1-12) [0-9]+ [0-9a-f]{12} - over udp$" "$tmp/got.udp"
kedge run --name sys3 -e N=500 --log-driver syslog --log-opt syslog-address=tcp://127.0.0.1:5141 --log-opt cache-disabled=true busybox sh -c "$count" >/dev/null
check "syslog: tcp, every line" until_ok 5 sh -c "[ \$(grep -c 'of the output' '$tmp/got.tcp') = 500 ]"
check "syslog: no file, no reading" has "$(kedge logs sys3 2>&1)" "does not support reading"
check "syslog: no server, no start" has "$(kedge run --log-driver syslog --log-opt syslog-address=unix:///no/such/socket busybox true 2>&1)" "failed to initialize logging driver"
if [ -e /run/systemd/journal/socket ]; then
	kedge run --name jd -l app=x --log-driver journald --log-opt labels=app busybox echo to the journal >/dev/null
	check "journald: message" until_ok 5 grep -q '^MESSAGE=to the journal$' "$tmp/got.journal"
	check "journald: fields" sh -c "grep -q '^CONTAINER_NAME=jd$' '$tmp/got.journal' && grep -q '^APP=x$' '$tmp/got.journal' && grep -q '^PRIORITY=6$' '$tmp/got.journal'"
fi
kill $server
wait $server 2>/dev/null || true
kedge run --name sys4 -e N=2000 --log-driver syslog --log-opt syslog-address=udp://127.0.0.1:5140 busybox sh -c "$count" >/dev/null
check "syslog: a server that is gone holds nobody up" equal "$(kedge inspect -f '{{.State.ExitCode}}' sys4)" "0"

# A full disk.
kedge create --name full busybox sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); echo "line $i of the output"; done; exit 7' >/dev/null
dir=$data/containers/$(kedge inspect -f '{{.Id}}' full)
mkdir -p "$dir"
mount -t tmpfs -o size=200k none "$dir"
kedge start full >/dev/null
check "a full disk stops no container" equal "$(timeout 30 "$builddir/kedge" -H "unix://$sock" wait full)" "7"
check "... and what is in the log is whole lines" sh -c "'$builddir/kedge' -H unix://$sock logs full | awk 'NR<100 && \$2 != NR { exit 1 } END { exit NR < 100 }'"
kedge rm full >/dev/null || true
umount "$dir" 2>/dev/null || true
if command -v docker >/dev/null; then
	check "docker logs" in_order 2996 3000 < <(docker -H "unix://$sock" logs --tail 5 rot)
fi

# The engine's own choice for containers that make none.
engine_stop
echo '{"log-driver":"local","log-opts":{"max-size":"50k"}}' >"$tmp/daemon.json"
engine_start
check "the engine's log driver" equal "$(kedge info -f '{{.LoggingDriver}}')" "local"
kedge run --name own busybox echo own >/dev/null
check "... is the containers'" equal "$(kedge inspect -f '{{json .HostConfig.LogConfig}}' own)" '{"Type":"local","Config":{"max-size":"50k"}}'
check "... and works" equal "$(kedge logs own)" "own"
kedge create --name other --log-driver json-file busybox true >/dev/null
check "a container's own choice wins" equal "$(kedge inspect -f '{{json .HostConfig.LogConfig}}' other)" '{"Type":"json-file","Config":{}}'
engine_stop
echo '{"log-opts":{"foo":"x"}}' >"$tmp/daemon.json"
check "the engine does not start with a bad one" has "$("$builddir/kedged" --data-root "$data" --exec-root "$run" --instance "$id" --config-file "$tmp/daemon.json" 2>&1)" "unknown log opt 'foo' for json-file log driver"
echo '{}' >"$tmp/daemon.json"
engine_start
