#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Filters of container lists, sizes, prune, disk usage; events with filters and history, for many who listen.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
began=$(date +%s.%N)
kedge run -d --name one -l tier=web -l app --expose 53/udp -p 127.0.0.1:8081:80 -v named:/data busybox sleep 1000 >/dev/null
kedge run -d --name two -l tier=db --network none busybox sleep 1000 >/dev/null
kedge run --name done3 busybox sh -c 'head -c 100000 /dev/zero >/big; exit 3' >/dev/null || true
kedge create --name later busybox true >/dev/null
kedge commit done3 derived:1 >/dev/null
kedge create --name child derived:1 true >/dev/null
id=$(kedge inspect -f '{{.Id}}' one)

ls_() { kedge ps -a --format '{{.Names}}' "$@" | sort | tr '\n' ' '; }
check "all" equal "$(ls_)" "child done3 later one two "
check "running" equal "$(kedge ps --format '{{.Names}}' | sort | tr '\n' ' ')" "one two "
check "id" equal "$(ls_ -f id="${id:0:10}")" "one "
check "name: a part" equal "$(ls_ -f name=o)" "done3 one two "
check "name: a regular expression" equal "$(ls_ -f 'name=^(one|two)$')" "one two "
check "name: with the slash" equal "$(ls_ -f 'name=^/one$')" "one "
check "name: no regular expression" equal "$(ls_ -f 'name=one(')" ""
check "label" equal "$(ls_ -f label=app)" "one "
check "label=value" equal "$(ls_ -f label=tier=db)" "two "
check "two labels are both wanted" equal "$(ls_ -f label=tier=web -f label=app)" "one "
check "two labels, one missing" equal "$(ls_ -f label=tier=db -f label=app)" ""
check "status" equal "$(kedge ps -f status=exited --format '{{.Names}}')" "done3"
check "status: several" equal "$(ls_ -f status=exited -f status=created)" "child done3 later "
check "exited" equal "$(ls_ -f exited=3)" "done3 "
check "exited: another code" equal "$(ls_ -f exited=0)" ""
check "ancestor" equal "$(ls_ -f ancestor=derived:1)" "child "
check "ancestor: what was built on it too" equal "$(ls_ -f ancestor=busybox)" "child done3 later one two "
check "before" equal "$(ls_ -f before=done3)" "one two "
check "since" equal "$(ls_ -f since=done3)" "child later "
check "before what is not there" has "$(kedge ps -a -f before=nope 2>&1)" "No such container: nope"
check "volume by name" equal "$(ls_ -f volume=named)" "one "
check "volume by place" equal "$(ls_ -f volume=/data)" "one "
check "network" equal "$(ls_ -f network=none)" "two "
check "publish" equal "$(ls_ -f publish=8081)" "one "
check "publish: a range" equal "$(ls_ -f publish=8000-8100/tcp)" "one "
check "publish: another protocol" equal "$(ls_ -f publish=8081/udp)" ""
check "expose" equal "$(ls_ -f expose=53/udp)" "one "
check "health" equal "$(ls_ -f health=none)" "child done3 later one two "
check "health: none of these" equal "$(ls_ -f health=healthy)" ""
check "is-task" equal "$(ls_ -f is-task=true)" ""
check "several filters are all wanted" equal "$(ls_ -f status=running -f name=two)" "two "
check "last" equal "$(kedge ps -n 2 --format '{{.Names}}' | tr '\n' ' ')" "child later "
for bad in isolation=default health=x status=x exited=x publish=x is-task=x foo=x; do
	check "refused: $bad" has "$(kedge ps -f $bad 2>&1)" "invalid filter '${bad%%=*}"
done
check "old clients' form of filters" has "$(api -G --data-urlencode 'filters={"name":["one"]}' http://localhost/containers/json)" '/one'
check "not JSON" has "$(api -G --data-urlencode 'filters={x' http://localhost/containers/json)" 'invalid filter'

check "size" has "$(kedge ps -as --filter name=done3 --format '{{.Size}}')" "100kB (virtual 2"
check "inspect --size" equal "$(kedge inspect -s -f '{{.SizeRw}}' done3)" "100000"

check "df: images" has "$(kedge system df --format '{{.Type}} {{.TotalCount}} {{.Active}}')" "Images 2 2"
check "df: containers" has "$(kedge system df --format '{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}')" "Containers 5 2 100kB 100kB (100%)"
check "df: volumes" has "$(kedge system df --format '{{.Type}} {{.TotalCount}} {{.Active}}')" "Local Volumes 1 1"
check "df: header" has "$(kedge system df)" "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE"
check "df -v" has "$(kedge system df -v)" "Containers space usage:"
check "df by type" equal "$(api 'http://localhost/system/df?type=container' | python3 -c 'import json,sys; d=json.load(sys.stdin); print(len(d["Containers"]), d["Images"])')" "5 None"
check "df: no such type" equal "$(api -o /dev/null -w '%{http_code}' 'http://localhost/system/df?type=x')" "400"
if command -v docker >/dev/null; then
	check "docker system df" has "$(docker -H "unix://$sock" system df)" "Containers      5         2"
	check "docker ps with filters" equal "$(docker -H "unix://$sock" ps -aq --no-trunc -f label=tier=web -f status=running)" "$id"
fi

check "prune: nothing without a yes" equal "$(echo n | kedge container prune 2>/dev/null | tail -n 1 | grep -c Total)" "0"
check "prune: by age" equal "$(kedge container prune -f --filter until=1h | tail -n 1)" "Total reclaimed space: 0B"
check "prune: by label" equal "$(kedge container prune -f --filter label=none | tail -n 1)" "Total reclaimed space: 0B"
check "prune: not by label" equal "$(kedge container prune -f --filter label!=x --filter until=1h | tail -n 1)" "Total reclaimed space: 0B"
check "prune: a bad filter" has "$(kedge container prune -f --filter foo=1 2>&1)" "invalid filter 'foo'"
out=$(kedge container prune -f)
check "prune: lists what went" has "$out" "Deleted Containers:"
check "prune: the sum" has "$out" "Total reclaimed space: 100kB"
check "prune: who runs stays" equal "$(ls_)" "one two "

# Events: history in order, filters, and the same text for all.
until_=$(date +%s.%N)
ev() { kedge events --since "$began" --until "$until_" --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}' "$@"; }
check "events: a container's life in order" equal "$(ev -f container=done3 -f type=container | tr '\n' '|')" \
	"container create done3|container attach done3|container start done3|container die done3|container commit done3|container destroy done3|"
check "events: by action" equal "$(ev -f event=die | tr '\n' '|')" "container die done3|"
check "events: by label" equal "$(ev -f label=tier=db -f event=start)" "container start two"
check "events: by image" equal "$(ev -f image=derived:1 -f type=container -f event=create)" "container create child"
check "events: by image without tag" equal "$(ev -f image=derived -f type=container -f event=create)" "container create child"
check "events: by type" has "$(ev -f type=volume)" "volume create"
check "events: by scope" equal "$(ev -f scope=swarm)" ""
check "events: prune" has "$(ev -f event=prune)" "container prune"
check "events: exit code and duration" has "$(kedge events --since "$began" --until "$until_" -f event=die)" "exitCode=3"
check "events: since after until" equal "$(api -o /dev/null -w '%{http_code}' 'http://localhost/events?since=20&until=10')" "400"
check "events: bad filter" has "$(kedge events -f foo=x --until 0 2>&1 || true)" "invalid filter 'foo'"

python3 - "$sock" >"$tmp/many" <<'P' &
import selectors, socket, sys, time
# 900 who listen to everything; each must get every event, in order.
N = 900
sel = selectors.DefaultSelector()
text = {}
for i in range(N):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(b'GET /events HTTP/1.1\r\nHost: x\r\n\r\n')
    text[s] = b''
    sel.register(s, selectors.EVENT_READ)
end = time.time() + 60
heads = 0
def done(): return all(b'"destroy"' in t for t in text.values())
ready = False
while time.time() < end and not done():
    for k, _ in sel.select(1):
        text[k.fileobj] += k.fileobj.recv(65536)
    if not ready and all(b'\r\n\r\n' in t for t in text.values()):
        ready = True
        open(sys.argv[1] + '.ready', 'w').close()
want = None
for t in text.values():
    body = b''.join(l for l in t.split(b'\r\n\r\n', 1)[1].split(b'\r\n') if l.startswith(b'{'))
    want = want or body
    assert body == want, 'they differ'
print(N, want.count(b'"create"'), want.count(b'"destroy"'))
P
many=$!
until_ok 60 test -e "$sock.ready"
check "events: the engine knows how many listen" equal "$(kedge info -f '{{.NEventsListener}}')" "900"
kedge run --rm busybox true
check "events: each of 900 gets all, in order" wait $many
check "events: ..." equal "$(cut -d' ' -f1,2,3 "$tmp/many")" "900 2 2"

# system prune asks every kind.
kedge run --name stopped busybox true >/dev/null
kedge network create unused >/dev/null
kedge tag busybox:latest spare:1
out=$(kedge system prune -f)
check "system prune: containers" has "$out" "Deleted Containers:"
check "system prune: networks" has "$out" "unused"
check "system prune: the sum" has "$out" "Total reclaimed space:"
kedge rm -f one two >/dev/null
check "system prune -a: images" has "$(kedge system prune -af)" "untagged: spare:1"
check "system prune: nothing is left" equal "$(kedge ps -aq | wc -l) $(kedge images -q | wc -l)" "0 0"
