#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Replies against the Engine API's own document. KEDGE_API_SPEC names it; it is not part of this tree.
. "$(dirname "$0")/lib.sh"

spec=${KEDGE_API_SPEC:-$srcdir_top/../shared/reference/engine-api-v1.50.yaml}
[ -f "$spec" ] || skip "the Engine API document (KEDGE_API_SPEC=engine-api-v1.50.yaml) is not there"
python3 -c 'import yaml, jsonschema' 2>/dev/null || skip "python3-yaml and python3-jsonschema are not installed"
engine_start
need_image busybox
id=$(kedge run -d --name web -p 8081:80 -e A=b --label x=y busybox sleep 1000)
kedge run --name done busybox true
check "replies have the documented shapes" python3 "$srcdir_top/tests/system/api_shapes.py" "$spec" "$sock" <<T
GET /v1.50/version /version 200
GET /v1.50/info /info 200
GET /_ping /_ping 200
GET /v1.50/containers/json?all=1 /containers/json 200
GET /v1.50/containers/json?all=1&size=1 /containers/json 200
GET /v1.50/containers/$id/json /containers/{id}/json 200
GET /v1.50/containers/done/json?size=1 /containers/{id}/json 200
GET /v1.50/containers/web/top /containers/{id}/top 200
GET /v1.50/containers/nope/json /containers/{id}/json 404
GET /v1.50/images/json /images/json 200
GET /v1.50/images/busybox/json /images/{name}/json 200
GET /v1.50/images/busybox/history /images/{name}/history 200
GET /v1.50/images/nope/json /images/{name}/json 404
GET /v1.50/networks /networks 200
GET /v1.50/networks/bridge /networks/{id} 200
GET /v1.50/networks/nope /networks/{id} 404
POST /v1.50/containers/web/kill?signal=KILL /containers/{id}/kill 204
POST /v1.50/containers/web/kill?signal=KILL /containers/{id}/kill 409
POST /v1.50/containers/nope/start /containers/{id}/start 404
DELETE /v1.50/containers/nope /containers/{id} 404
T
cat "$tmp/check.out"
