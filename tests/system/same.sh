#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `docker` and `kedge` on the same engine: the same flags, the same words on standard output and error, the same exit status.
. "$(dirname "$0")/lib.sh"

docker_recent || skip "the docker client is older than 28 or not there"
engine_start
need_image busybox
docker() { DOCKER_HOST=unix://$sock DOCKER_CLI_HINTS=false command docker "$@"; }

# The flags of each command.
flags() { sed -nE 's/^ *(-[a-zA-Z], )?(--[a-z0-9-]+).*/\1\2/p' | grep -v -e '--help' | sort -u; }
for c in attach commit cp create diff exec export inspect kill logs ls pause port prune rename restart rm run start stats stop top unpause update wait; do
	check "container $c: flags" equal "$(comm -23 <(docker container $c --help | flags) <(kedge container $c --help | flags) | tr '\n' ' ')" ""
done

# What they say. ids, ages and names of programs are made equal.
plain() { sed -E -e 's/\b[0-9a-f]{64}\b/ID/g; s/\b[0-9a-f]{12}\b/ID/g' -e "s/kedge|docker/CLI/g" -e 's/[0-9]+ (second|minute)s? ago/AGO/g; s/(About|Less than) a (second|minute)( ago)?/AGO/g; s/Up [0-9]+ seconds?/Up AGO/g; s/ +/ /g' -e 's/ +$//'; }
said() { local rc=0; "$@" >"$tmp/said.out" 2>"$tmp/said.err" </dev/null || rc=$?; echo "status $rc"; plain <"$tmp/said.out"; echo "-- stderr"; plain <"$tmp/said.err"; }
same() {
	local d k
	d=$(said docker "$@")
	k=$(said kedge "$@")
	check "same: $*" equal "$k" "$d"
}
kedge run -d --name box -p 127.0.0.1:8099:80 -l a=b busybox sleep 1000 >/dev/null
kedge create --name still -v vol:/v busybox echo hi >/dev/null
while read -r line; do
	[ -n "$line" ] || continue
	eval "same $line"
done <<'L'
ps
ps -a
ps -aq
ps --no-trunc
ps -a -n 1
ps -al
ps --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Ports}} {{.Labels}} {{.Mounts}} {{.Networks}}'
ps --format 'table {{.Names}}\t{{.Status}}'
ps -a --format json --filter name=still
ps -a --filter status=nosuch
port box
port box 80
port box 80/tcp
port box 81
port still
port nosuch
top box
top box -o pid,comm
top still
top nosuch
diff still
inspect -f '{{.Name}} {{json .Config.Cmd}} {{index .Config.Labels "a"}}' box
inspect -f '{{range $k, $v := .NetworkSettings.Ports}}{{$k}} {{len $v}}{{end}}' box
inspect -f '{{.Nosuch}}' box
inspect nosuch
inspect --type volume nosuch
inspect --type volume -f '{{.Name}} {{.Driver}} {{.Scope}}' vol
container inspect nosuch
logs nosuch
logs --tail x box
logs --since nosuch box
kill nosuch
kill -s NOSUCH box
kill still
stop nosuch
stop -t x box
start nosuch
start -a nosuch
start still box
restart nosuch
rm nosuch
rm box
rm -f nosuch
rename box
rename box still
rename nosuch x
rename box ''
pause still
pause nosuch
unpause box
wait nosuch
exec nosuch true
exec still true
exec box /no/such
exec box sh -c 'exit 5'
exec -w /nosuch box true
exec -u nosuch box true
exec -e A=b box sh -c 'echo $A'
exec box
attach still
attach nosuch
cp nosuch:/x /tmp
cp box:/nosuch -
cp a b
cp box:/a still:/b
commit nosuch
export nosuch
update nosuch
update --memory 1m box
update --restart always box
update --restart no box
run --rm busybox sh -c 'echo out; echo err >&2; exit 4'
run --rm nosuchimage:x true
run --rm --pull never nosuchimage:x true
run --rm busybox /no/such
run --rm busybox /etc
run --rm --name box busybox true
run --rm --name 'bad name' busybox true
run --rm -p 8099:80 -p x busybox true
run --rm -p 70000:80 busybox true
run --rm --network nosuch busybox true
run --rm -v relative:x busybox true
run --rm -v /nosuch:/x:foo busybox true
run --rm --mount type=bind,src=/nosuch,dst=/x busybox true
run --rm --mount type=nosuch,dst=/x busybox true
run --rm --mount dst=/x,foo=bar busybox true
run --rm -e =x busybox true
run --rm --env-file /nosuch busybox true
run --rm --memory 1k busybox true
run --rm --memory x busybox true
run --rm --cpus 1000 busybox true
run --rm --cpus x busybox true
run --rm --restart nosuch busybox true
run --rm --restart always busybox true
run -d --restart on-failure:x busybox true
run --rm --ulimit nosuch=1 busybox true
run --rm --ulimit nofile=5:1 busybox true
run --rm --user nosuch busybox true
run --rm --workdir relative busybox true
run --rm --stop-signal NOSUCH busybox true
run --rm --ip 10.0.0.1 busybox true
run --rm --link nosuch:x busybox true
run --rm --volumes-from nosuch busybox true
run --rm --device /nosuch busybox true
run --rm --cap-add NOSUCH busybox true
run --rm --log-driver nosuch busybox true
run --rm --ipc container:nosuch busybox true
run --rm --pid nosuch busybox true
run --rm --runtime nosuch busybox true
run --rm --health-cmd true --no-healthcheck busybox true
run --rm --hostname -bad- busybox true
run --rm --add-host nosuch busybox true
run --rm --dns nosuch busybox true
run --rm --mac-address nosuch busybox true
run --rm --platform linux/s390x --pull never busybox true
run --rm --gpus all busybox true
run --rm --isolation hyperv busybox true
run --rm --storage-opt size=1g busybox true
run --rm --tmpfs /x:nosuch=1 busybox true
run --rm --sysctl nosuch=1 busybox true
run --rm --security-opt nosuch busybox true
run --rm --shm-size x busybox true
run --rm -a nosuch busybox true
run --nosuch busybox true
run
run -d -a stdout busybox true
create --name box busybox
container nosuch
volume create vol
volume inspect nosuch
volume rm nosuch
volume rm vol
volume ls
volume ls -q
volume ls --filter nosuch=1
network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'
network inspect nosuch
network connect nosuch box
network connect bridge nosuch
network disconnect bridge nosuch
images
images -q
images --filter nosuch=1
rmi nosuch
history nosuch
tag nosuch x
search busybox
events --until 0 --filter nosuch=1
events --since nosuch --until 0
system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'
info -f '{{.Containers}} {{.ContainersRunning}} {{.Driver}} {{.CgroupDriver}}'
stats --no-stream nosuch
stats --no-stream --format '{{.Name}} {{.PIDs}}' box
L
