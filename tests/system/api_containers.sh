#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every operation on containers and execs answers with every status that the Engine API's document gives it. See api_shapes.sh.
. "$(dirname "$0")/lib.sh"

spec=${KEDGE_API_SPEC:-$srcdir_top/../shared/reference/engine-api-v1.50.yaml}
[ -f "$spec" ] || skip "the Engine API document (KEDGE_API_SPEC=engine-api-v1.50.yaml) is not there"
python3 -c 'import yaml, jsonschema' 2>/dev/null || skip "python3-yaml and python3-jsonschema are not installed"
engine_start
need_image busybox
kedge run -d --name up busybox sleep 1000 >/dev/null
kedge run -d --name tty -t busybox sleep 1000 >/dev/null
kedge run -d --name paused busybox sleep 1000 >/dev/null
kedge run --name done busybox true
kedge create --name sealed --read-only busybox true >/dev/null
for n in a b c; do kedge create --name gone$n busybox true >/dev/null; done
exec_id() { api -H 'Content-Type: application/json' -d '{"Cmd":["sleep","100"],"Tty":true}' "http://localhost/containers/$1/exec" | sed 's/.*"Id":"\([0-9a-f]*\)".*/\1/'; }
x=$(exec_id up) xp=$(exec_id paused)
xd=$(api -H 'Content-Type: application/json' -d '{"Cmd":["true"]}' "http://localhost/containers/up/exec" | sed 's/.*"Id":"\([0-9a-f]*\)".*/\1/')
api -H 'Content-Type: application/json' -d '{"Detach":false}' "http://localhost/exec/$xd/start"
kedge pause paused >/dev/null
(cd "$tmp" && echo x >f && tar cf f.tar f)
v=/v1.50/containers
check "the table is answered as documented" python3 "$srcdir_top/tests/system/api_shapes.py" "$spec" "$sock" /containers /exec /commit /events /system/df /info /version /_ping <<T
GET /v1.50/info /info 200
GET /v1.50/version /version 200
GET /_ping /_ping 200
HEAD /_ping /_ping 200
GET $v/json /containers/json 200
GET $v/json?all=1&size=1&limit=2 /containers/json 200
GET $v/json?filters={x /containers/json 400
GET $v/json?limit=x /containers/json 400
POST $v/create?name=new /containers/create 201 {"Image":"busybox","Cmd":["true"]}
POST $v/create?name=new /containers/create 409 {"Image":"busybox","Cmd":["true"]}
POST $v/create?name=other /containers/create 404 {"Image":"no/such","Cmd":["true"]}
POST $v/create?name=other /containers/create 400 {"Image":"busybox","Cmd":["true"],"HostConfig":{"Memory":1}}
POST $v/create?name=other /containers/create 400 {"Image":
POST $v/create?name=.bad /containers/create 400 {"Image":"busybox"}
GET $v/up/json /containers/{id}/json 200
GET $v/nope/json /containers/{id}/json 404
GET $v/up/top /containers/{id}/top 200
GET $v/up/top?ps_args=-o%20pid,comm /containers/{id}/top 200
GET $v/nope/top /containers/{id}/top 404
GET $v/done/logs?stdout=1&timestamps=1 /containers/{id}/logs 200
GET $v/nope/logs?stdout=1 /containers/{id}/logs 404
GET $v/done/changes /containers/{id}/changes 200
GET $v/nope/changes /containers/{id}/changes 404
GET $v/done/export /containers/{id}/export 200
GET $v/nope/export /containers/{id}/export 404
GET $v/up/stats?stream=0&one-shot=1 /containers/{id}/stats 200
GET $v/done/stats?stream=0 /containers/{id}/stats 200
GET $v/nope/stats /containers/{id}/stats 404
POST $v/tty/resize?h=20&w=40 /containers/{id}/resize 200
POST $v/nope/resize?h=20&w=40 /containers/{id}/resize 404
POST $v/gonea/start /containers/{id}/start 204
POST $v/up/start /containers/{id}/start 304
POST $v/gonea/start /containers/{id}/start 400 {"Binds":["/:/host"]}
POST $v/nope/start /containers/{id}/start 404
POST $v/gonea/wait /containers/{id}/wait 200
POST $v/gonea/stop /containers/{id}/stop 304
POST $v/nope/stop /containers/{id}/stop 404
POST $v/nope/restart /containers/{id}/restart 404
POST $v/done/kill /containers/{id}/kill 409
POST $v/nope/kill /containers/{id}/kill 404
POST $v/up/update /containers/{id}/update 200 {"Memory":67108864,"MemorySwap":67108864}
POST $v/nope/update /containers/{id}/update 404 {"Memory":67108864}
POST $v/goneb/rename?name=renamed /containers/{id}/rename 204
POST $v/renamed/rename?name=up /containers/{id}/rename 409
POST $v/nope/rename?name=x /containers/{id}/rename 404
POST $v/paused/unpause /containers/{id}/unpause 204
POST $v/nope/unpause /containers/{id}/unpause 404
POST $v/paused/pause /containers/{id}/pause 204
POST $v/nope/pause /containers/{id}/pause 404
POST $v/up/attach?stream=1&stdout=1 /containers/{id}/attach 101
POST $v/done/attach?logs=1&stdout=1 /containers/{id}/attach 200
POST $v/up/attach?stream=1&detachKeys=ctrl-%5E%5E%5E /containers/{id}/attach 400
POST $v/nope/attach?stream=1 /containers/{id}/attach 404
GET $v/up/attach/ws?stream=1&stdout=1 /containers/{id}/attach/ws 101
GET $v/done/attach/ws?logs=1&stdout=1 /containers/{id}/attach/ws 400
GET $v/nope/attach/ws?stream=1 /containers/{id}/attach/ws 404
POST $v/up/wait?condition=x /containers/{id}/wait 400
POST $v/nope/wait /containers/{id}/wait 404
HEAD $v/up/archive?path=/etc /containers/{id}/archive 200
HEAD $v/up/archive /containers/{id}/archive 400
HEAD $v/up/archive?path=/nope /containers/{id}/archive 404
GET $v/up/archive?path=/etc /containers/{id}/archive 200
GET $v/up/archive /containers/{id}/archive 400
GET $v/nope/archive?path=/etc /containers/{id}/archive 404
PUT $v/up/archive?path=/tmp /containers/{id}/archive 200 @$tmp/f.tar
PUT $v/up/archive?path=/etc/passwd /containers/{id}/archive 400 @$tmp/f.tar
PUT $v/sealed/archive?path=/tmp /containers/{id}/archive 403 @$tmp/f.tar
PUT $v/up/archive?path=/nope /containers/{id}/archive 404 @$tmp/f.tar
POST $v/up/exec /containers/{id}/exec 201 {"Cmd":["true"]}
POST $v/nope/exec /containers/{id}/exec 404 {"Cmd":["true"]}
POST $v/done/exec /containers/{id}/exec 409 {"Cmd":["true"]}
POST $v/paused/exec /containers/{id}/exec 409 {"Cmd":["true"]}
GET /v1.50/exec/$xd/json /exec/{id}/json 200
GET /v1.50/exec/0123456789ab/json /exec/{id}/json 404
POST /v1.50/exec/$x/start /exec/{id}/start 200 {"Detach":true,"Tty":true}
POST /v1.50/exec/0123456789ab/start /exec/{id}/start 404 {"Detach":true}
POST /v1.50/exec/$xp/start /exec/{id}/start 409 {"Detach":true,"Tty":true}
POST /v1.50/exec/$x/resize?h=10&w=20 /exec/{id}/resize 200
POST /v1.50/exec/$x/resize?h=x&w=20 /exec/{id}/resize 400
POST /v1.50/exec/0123456789ab/resize?h=10&w=20 /exec/{id}/resize 404
POST /v1.50/commit?container=done /commit 201 {}
POST /v1.50/commit?container=nope /commit 404 {}
GET /v1.50/events?until=1 /events 200
GET /v1.50/events?since=x /events 400
GET /v1.50/system/df /system/df 200
DELETE $v/renamed /containers/{id} 204
DELETE $v/gonec?link=1 /containers/{id} 400
DELETE $v/nope /containers/{id} 404
DELETE $v/up /containers/{id} 409
POST $v/up/restart?t=0 /containers/{id}/restart 204
POST $v/up/kill /containers/{id}/kill 204
POST $v/up/start /containers/{id}/start 204
POST $v/up/stop?t=0 /containers/{id}/stop 204
POST $v/prune /containers/prune 200
T
cat "$tmp/check.out"

# Whatever is not there is told in one shape.
for what in "GET /v1.50/nope" "POST /v1.50/nope" "DELETE /v1.50/containers" "PUT /v1.50/containers/up/json" "GET /" "GET /v1.50/containers/up/nope" "PATCH /v1.50/info"; do
	check "page not found: $what" equal "$(api -w ' %{http_code}' -X "${what% *}" "http://localhost${what#* }" | tr -d '\n')" '{"message":"page not found"} 404'
done
