#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The main job: nginx from an archive, published, fetched from the host and from another machine, over the engine's death.
. "$(dirname "$0")/lib.sh"

engine_start
need_image nginx
need_image busybox

mkdir -p "$tmp/site"
echo '<h1>hello from kedge</h1>' >"$tmp/site/index.html"
cid=$(kedge run -d --name web -p 8080:80 -v "$tmp/site:/usr/share/nginx/html" nginx:alpine-like)
check "run -d prints the id" [ ${#cid} = 64 ]
check "the page comes on 127.0.0.1" until_ok 10 curl -fsS --max-time 2 http://127.0.0.1:8080/
check "the page is the mounted one" has "$(curl -fsS http://127.0.0.1:8080/)" "hello from kedge"
check "the page comes on the host's address" has "$(curl -fsS --max-time 5 http://192.0.2.1:8080/)" "hello from kedge"
check "the page comes to another machine" has "$(client curl -fsS --max-time 5 http://192.0.2.1:8080/)" "hello from kedge"
check "nginx logs the client's own address" until_ok 5 sh -c "'$builddir/kedge' -H unix://$sock logs web | grep -q '^192.0.2.2 '"
check "the container port is closed to neighbours that route to it" status 28 client curl -sS --max-time 2 "http://$(kedge inspect -f '{{.NetworkSettings.IPAddress}}' web):80/"

check "ps shows it" has "$(kedge ps)" "0.0.0.0:8080->80/tcp"
check "port" has "$(kedge port web)" "80/tcp -> 0.0.0.0:8080"
check "top" has "$(kedge top web)" "nginx"
check "inspect" equal "$(kedge inspect -f '{{.State.Running}} {{.Name}}' web)" "true /web"
check "images" has "$(kedge images)" "nginx"

check "a second container on the port is refused with docker's words" has "$(kedge run -d --name other -p 8080:80 nginx:alpine-like 2>&1)" "port is already allocated"
nc -l -k 127.0.0.1 9090 >/dev/null 2>&1 &
nc_pid=$!
until_ok 5 sh -c 'ss -ltn | grep -q :9090'
check "a port held by a host process is refused" has "$(kedge run -d --name other2 -p 9090:80 nginx:alpine-like 2>&1)" "address already in use"
kill $nc_pid

check "run returns the exit code" status 7 kedge run --rm busybox sh -c 'exit 7'
check "run streams output" equal "$(kedge run --rm busybox echo one two)" "one two"
check "missing command: 127" status 127 kedge run --rm busybox /no/such/thing
check "not executable: 126" status 126 kedge run --rm busybox /etc/passwd
check "missing image: 125" status 125 kedge run --rm nosuchimage

# The engine dies in the middle of a download; the download, the container and its log go on.
head -c 200M /dev/urandom >"$tmp/site/big"
sum=$(sha256sum <"$tmp/site/big")
client curl -sS --limit-rate 60M http://192.0.2.1:8080/big -o "$tmp/got" &
dl=$!
until_ok 10 sh -c "[ \$(stat -c %s '$tmp/got' 2>/dev/null || echo 0) -gt 1000000 ]"
engine_kill9
check "the download survives the engine's death" wait $dl
check "and is whole" equal "$(sha256sum <"$tmp/got")" "$sum"
check "new connections too" has "$(client curl -fsS --max-time 5 http://192.0.2.1:8080/while-dead 2>&1 || true)" "404"
engine_start
check "the restarted engine shows it running" equal "$(kedge inspect -f '{{.State.Running}}' web)" "true"
check "its log went on" until_ok 5 sh -c "'$builddir/kedge' -H unix://$sock logs web | grep -q while-dead"
check "published still" has "$(client curl -fsS --max-time 5 http://192.0.2.1:8080/)" "hello from kedge"
check "stop" equal "$(kedge stop web)" "web"
check "nothing answers then" status 7 curl -sS --max-time 2 http://127.0.0.1:8080/
check "start again" equal "$(kedge start web)" "web"
check "answers again" until_ok 5 client curl -fsS --max-time 2 http://192.0.2.1:8080/
check "rm -f" equal "$(kedge rm -f web other other2 | tr '\n' ' ')" "web other other2 "
check "no veth is left" equal "$(ip -br link | grep -c '^kv')" "0"
check "no namespace is left" equal "$(ls "$run/netns" 2>/dev/null | wc -l)" "0"
check "no cgroup is left" equal "$(find /sys/fs/cgroup -maxdepth 3 -mindepth 3 -path "*/$id/*" -type d | wc -l)" "0"
