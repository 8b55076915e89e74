#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# docker's Python SDK and docker-compose 1.29, as Debian has them, against the socket.
. "$(dirname "$0")/lib.sh"

py=/usr/bin/python3
$py -c 'import docker' 2>/dev/null || py=python3
$py -c 'import docker' 2>/dev/null || skip "python3-docker is not installed"
engine_start
need_image busybox
need_image nginx
export DOCKER_HOST=unix://$sock

rc=0
$py "$srcdir_top/tests/system/sdk.py" >"$tmp/sdk.out" 2>&1 || rc=$?
cat "$tmp/sdk.out"
[ $rc = 0 ] || failures=$((failures + 1))

command -v docker-compose >/dev/null || skip "docker-compose is not installed"
mkdir -p "$tmp/app/html"
echo composed >"$tmp/app/html/index.html"
echo hidden >"$tmp/app/token"
cat >"$tmp/app/docker-compose.yml" <<'Y'
version: "3.7"
services:
  web:
    image: nginx:alpine-like
    ports: ["127.0.0.1:8086:80"]
    volumes: ["./html:/usr/share/nginx/html:ro"]
    depends_on: [worker]
    labels: {role: front}
  worker:
    image: busybox
    command: sh -c 'echo "worker is up"; cat /run/secrets/token; echo $$KIND >/data/kind; exec sleep 1000'
    environment: {KIND: batch}
    volumes: ["data:/data"]
    secrets: [token]
volumes: {data: {}}
secrets: {token: {file: ./token}}
Y
cd "$tmp/app"
dc() { docker-compose -p app "$@"; }
check "compose: up -d" dc up -d
check "compose: ps" sh -c "docker-compose -p app ps | grep -E 'app_web_1 .* Up .*127.0.0.1:8086->80/tcp'"
check "compose: ps -q" equal "$(dc ps -q | wc -l)" "2"
check "compose: the page" equal "$(until_ok 10 curl -fsS http://127.0.0.1:8086/ && curl -fsS http://127.0.0.1:8086/)" "composed"
check "compose: logs" has "$(dc logs worker 2>&1)" "worker is up"
check "compose: a secret" has "$(dc logs worker 2>&1)" "hidden"
check "compose: exec" equal "$(dc exec -T worker cat /data/kind)" "batch"
# Names are the business of the engine's own DNS, where there is one.
! dc exec -T worker grep -q '^nameserver 127.0.0.11' /etc/resolv.conf || check "compose: a service's name" has "$(dc exec -T worker wget -q -O - http://web/ 2>&1)" "composed"
check "compose: up again changes nothing" has "$(dc up -d 2>&1)" "up-to-date"
check "compose: scale" sh -c "docker-compose -p app up -d --scale worker=3 && [ \$(docker-compose -p app ps -q worker | wc -l) = 3 ]"
check "compose: restart" dc restart -t 0 worker
check "compose: run" equal "$(dc run --rm -T worker echo once 2>/dev/null)" "once"
check "compose: stop and start" sh -c "docker-compose -p app stop -t 0 && docker-compose -p app start"
check "compose: top" has "$(dc top worker)" "sleep"
check "compose: down -v" dc down -v -t 0
check "compose: nothing is left" equal "$(kedge ps -aq | wc -l) $(kedge volume ls -q | grep -c app_) $(kedge network ls --format '{{.Name}}' | grep -c app_)" "0 0 0"
cd /
