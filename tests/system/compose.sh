#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# docker-compose 1.29 on an application: nginx before two CGI workers, redis, postgres; health, dependencies with conditions, named volumes,
# file secrets, networks, profiles; up, ps, logs, exec, run, scale, restart, pause, top, port, events, kill, stop, start, down.
. "$(dirname "$0")/lib.sh"

command -v docker-compose >/dev/null || skip "docker-compose is not installed"
for i in nginx redis postgres; do [ -s "$images/$i.tar" ] || skip "$images/$i.tar is missing: tools/mkimages $images $i makes it"; done
engine_start
for i in busybox nginx redis postgres; do need_image $i; done
export DOCKER_HOST=unix://$sock COMPOSE_PROJECT_NAME=shop

app=$tmp/shop
mkdir -p "$app/nginx" "$app/cgi/cgi-bin" "$app/secrets"
printf 'correct horse' >"$app/secrets/db_password"
cat >"$app/nginx/default.conf" <<'N'
resolver 127.0.0.11 valid=1s;
upstream workers { zone workers 64k; server worker:8000 resolve; }
server {
	listen 80;
	location = /health { return 200 "well\n"; }
	location / { set $to worker; proxy_pass http://$to:8000; proxy_set_header X-Forwarded-For $remote_addr; }
}
N
# Older nginx has no "resolve" in an upstream without a licence: the variable does it.
sed -i '/^upstream/d' "$app/nginx/default.conf"
cat >"$app/cgi/cgi-bin/hit" <<'C'
#!/bin/sh
n=$(printf 'INCR hits\r\nQUIT\r\n' | nc cache 6379 | head -n 1 | tr -d ':\r')
printf 'Content-Type: text/plain\r\n\r\n%s %s %s\n' "$n" "$(hostname)" "$GREETING"
C
chmod 755 "$app/cgi/cgi-bin/hit"
echo ok >"$app/cgi/ok"
echo 'GREETING=from the env file' >"$app/worker.env"
cat >"$app/docker-compose.yml" <<'Y'
version: "3.9"
x-check: &check
  interval: 400ms
  timeout: 5s
  retries: 100
services:
  web:
    image: nginx:alpine-like
    ports: ["127.0.0.1:8088:80"]
    volumes: ["./nginx/default.conf:/etc/nginx/conf.d/default.conf:ro"]
    networks: [front, back]
    depends_on:
      worker: {condition: service_healthy}
    healthcheck: {<<: *check, test: "wget -q -O - http://127.0.0.1/health"}
    restart: unless-stopped
    ulimits: {nofile: {soft: 1024, hard: 1024}}
    logging: {driver: json-file, options: {max-size: 1m, max-file: "2"}}
  worker:
    image: busybox
    command: httpd -f -v -p 8000 -h /srv
    init: true
    env_file: worker.env
    working_dir: /srv
    volumes: ["./cgi:/srv:ro", {type: tmpfs, target: /scratch, tmpfs: {size: 1048576}}]
    networks: {back: {aliases: [upstream]}}
    depends_on:
      cache: {condition: service_healthy}
      schema: {condition: service_completed_successfully}
    healthcheck: {<<: *check, test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8000/ok"]}
    read_only: true
    cap_drop: [NET_RAW]
    security_opt: ["no-new-privileges:true"]
    deploy: {resources: {limits: {memory: 64M}}}
    stop_grace_period: 1s
  cache:
    image: redis
    command: redis-server --protected-mode no --appendonly yes
    volumes: ["cache-data:/data"]
    networks: [back]
    healthcheck: {<<: *check, test: ["CMD", "redis-cli", "ping"]}
    sysctls: {net.core.somaxconn: 1024}
  db:
    image: postgres
    environment: {POSTGRES_USER: shop, POSTGRES_DB: shop}
    entrypoint: ["sh", "-c", "POSTGRES_PASSWORD=$$(cat /run/secrets/db_password) exec docker-entrypoint.sh postgres -c fsync=off"]
    volumes: ["db-data:/var/lib/postgresql/data"]
    networks: [back]
    secrets: [db_password]
    shm_size: 128m
    healthcheck: {<<: *check, test: ["CMD-SHELL", "pg_isready -h 127.0.0.1 -U shop"]}
  schema:
    image: postgres
    entrypoint: ["sh", "-c", "export PGPASSWORD=$$(cat /run/secrets/password); psql -h db -U shop -c 'CREATE TABLE IF NOT EXISTS orders (n int)' -c 'INSERT INTO orders VALUES (1)'"]
    networks: [back]
    secrets: [{source: db_password, target: password, mode: 0400}]
    depends_on:
      db: {condition: service_healthy}
  shell:
    image: busybox
    command: sleep 1000
    profiles: [tools]
    network_mode: "service:web"
networks:
  front: {}
  back:
    internal: true
    ipam: {config: [{subnet: 10.88.7.0/24}]}
volumes:
  cache-data: {labels: {keep: "yes"}}
  db-data: {}
secrets:
  db_password: {file: ./secrets/db_password}
Y
cd "$app"
dc() { docker-compose --ansi never "$@"; }
state() { kedge inspect -f '{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}' "shop_$1_1"; }
x() { local c=shop_$1_1; shift; kedge exec "$c" "$@"; }
page() { curl -fsS --max-time 5 http://127.0.0.1:8088/cgi-bin/hit; }

check "config" has "$(dc config --services | sort | tr '\n' ' ')" "cache db schema shell web worker"
check "up -d: in the order of the conditions" dc up -d
check "up: the database is healthy" equal "$(state db)" "running healthy"
check "up: the job has run to its end" equal "$(state schema) $(kedge inspect -f '{{.State.ExitCode}}' shop_schema_1)" "exited  0"
check "up: the worker waited for both" equal "$(state worker)" "running healthy"
check "up: the web server is well" until_ok 15 sh -c "[ \"\$('$builddir/kedge' -H unix://$sock inspect -f '{{.State.Health.Status}}' shop_web_1)\" = healthy ]"
check "the page, through nginx, the worker and redis" until_ok 10 sh -c 'curl -fsS --max-time 5 http://127.0.0.1:8088/cgi-bin/hit | grep -q "from the env file"'
one=$(page) two=$(page)
check "it counts in redis" [ "${two%% *}" -gt "${one%% *}" ]
out=$(dc ps -a)
check "ps: a published port" has "$out" "127.0.0.1:8088->80/tcp"
check "ps: healthy" has "$out" "Up (healthy)"
check "ps: the job" has "$out" "Exit 0"
check "ps --filter" equal "$(dc ps --services --filter status=running | sort | tr '\n' ' ')" "cache db web worker "
check "images" has "$(dc images)" "postgres"
check "port" equal "$(dc port web 80)" "127.0.0.1:8088"
check "top" has "$(dc top cache)" "redis-server"
check "logs --tail, --timestamps" equal "$(dc logs --tail 1 -t --no-color schema 2>&1 | grep -c '20[0-9][0-9]-.*INSERT')" 1
check "a secret is a file of the service's alone" equal "$(x db cat /run/secrets/db_password; x worker ls /run/secrets 2>/dev/null | wc -l)" "correct horse0"
check "exec: psql with what the job made" equal "$(dc exec -T -e PGPASSWORD='correct horse' db psql -h 127.0.0.1 -U shop -Atc 'select count(*) from orders' | tr -d '\r')" 1
check "exec: user, exit status" status 9 dc exec -T -u nobody worker sh -c '[ "$(id -un)" = nobody ] && exit 9'
check "options: read-only, tmpfs, memory, init" equal "$(x worker sh -c 'touch /x 2>/dev/null || echo ro; df -k /scratch | awk "NR==2{print \$2}"; cat /proc/1/comm' | tr '\n' ' ') $(kedge inspect -f '{{.HostConfig.Memory}}' shop_worker_1)" \
	"ro 1024 $(kedge exec shop_worker_1 cat /proc/1/comm)  67108864"
check "options: sysctl, ulimit, shm" equal "$(x cache cat /proc/sys/net/core/somaxconn) $(x web sh -c 'ulimit -n') $(kedge inspect -f '{{.HostConfig.ShmSize}}' shop_db_1)" "1024 1024 134217728"
check "names: an alias, a service, of one's networks" equal "$(x web sh -c 'wget -q -O - http://upstream:8000/cgi-bin/hit | wc -l')" 1
check "an internal network leads nowhere" status 1 x worker ping -c 1 -W 1 192.0.2.2

check "up --scale" dc up -d --no-recreate --scale worker=3
check "up --scale: three of them" equal "$(kedge ps -q -f label=com.docker.compose.service=worker | wc -l)" 3
page_of_all() { for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do page; done | cut -d' ' -f2 | sort -u | wc -l; }
check "the name turns among them" until_ok 20 sh -c "$(declare -f page page_of_all); [ \"\$(page_of_all)\" -ge 2 ]"
check "scale down" dc up -d --no-recreate --scale worker=1
check "scale down: one is left" equal "$(kedge ps -q -f label=com.docker.compose.service=worker | wc -l)" 1

check "run --rm with its dependencies" equal "$(dc run --rm -T worker sh -c 'printf "GET hits\r\nQUIT\r\n" | nc cache 6379 | head -n 1 | cut -c1' 2>/dev/null | tr -d '\r')" '$'
check "a profile" dc --profile tools up -d shell
check "a service in another's network" has "$(x shell wget -q -O - http://127.0.0.1/health)" "well"
check "pause" dc pause worker
check "paused" equal "$(state worker)" "paused healthy"
check "unpause" dc unpause worker
n=$(page)
check "restart" dc restart -t 1 worker cache
check "redis kept its numbers on the volume" until_ok 15 sh -c "m=\$(curl -fsS --max-time 5 http://127.0.0.1:8088/cgi-bin/hit | cut -d' ' -f1); [ \"\$m\" -gt ${n%% *} ]"
sed -i 's/from the env file/changed/' worker.env
check "up: a changed service alone is made again" has "$(dc up -d 2>&1)" "Recreating shop_worker_1"
check "and has the new environment" until_ok 15 sh -c 'curl -fsS --max-time 1 http://127.0.0.1:8088/cgi-bin/hit | grep -q changed'

engine_kill9
check "the application goes on without the engine" has "$(curl -fsS --max-time 5 http://127.0.0.1:8088/health)" well
engine_start
check "and is the same to compose" has "$(dc up -d 2>&1)" "shop_web_1 is up-to-date"
check "stop" dc stop -t 1
check "stop: nothing runs" equal "$(kedge ps -q | wc -l)" 0
check "start" dc start
check "the orders are still there" until_ok 20 "$builddir/kedge" -H "unix://$sock" exec -e PGPASSWORD='correct horse' shop_db_1 psql -h 127.0.0.1 -U shop -Atc 'select 1/(count(*)/count(*)) from orders'
check "down" dc --profile tools down -t 1
check "down keeps volumes" equal "$(kedge volume ls -q | sort | grep shop_ | tr '\n' ' ')" "shop_cache-data shop_db-data "
check "up after down" dc up -d cache
check "up after down: the numbers are there" [ "$(x cache redis-cli get hits)" -gt 2 ]
check "down -v" dc --profile tools down -v -t 1
check "nothing is left" equal "$(kedge ps -aq | wc -l) $(kedge volume ls -q | grep -c shop_) $(kedge network ls --format '{{.Name}}' | grep -c shop_)" "0 0 0"
cd /
