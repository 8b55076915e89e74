#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pull, push, login against Debian's docker-registry: plain, with TLS and a CA of its own, with passwords. Other people's tools (docker's
# CLI, skopeo, umoci) work on the same registries and archives.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/registry_lib.sh"
command -v docker >/dev/null && docker=1 || docker=
export DOCKER_HOST=unix://$sock
# pull and friends by docker's own client where it is installed, else by ours
cli() { if [ -n "$docker" ]; then timeout 60 docker "$@"; else kedge "$@"; fi; }
R=127.0.0.1:5000 T=localhost:5001 P=127.0.0.1:5002

openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/ca.key" -out "$tmp/ca.crt" -days 2 -subj /CN=ca -addext basicConstraints=critical,CA:TRUE 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout "$tmp/reg.key" -out "$tmp/reg.csr" -subj /CN=localhost 2>/dev/null
printf 'subjectAltName=DNS:reg.test,IP:192.0.2.1' >"$tmp/ext"
openssl x509 -req -in "$tmp/reg.csr" -CA "$tmp/ca.crt" -CAkey "$tmp/ca.key" -CAcreateserial -days 2 -extfile "$tmp/ext" -out "$tmp/reg.crt" 2>/dev/null
htpasswd -Bbn user secret >"$tmp/htpasswd" 2>/dev/null

engine_start
need_image busybox
need_image nginx
image_id=$(kedge inspect -f '{{.Id}}' busybox)
registry plain 5000
registry auth 5002 "auth: {htpasswd: {realm: test, path: $tmp/htpasswd}}"

# Push.
kedge tag busybox $R/lib/box:1
kedge tag nginx $R/lib/web:1
push=$(cli push $R/lib/box:1)
check "push names the repository" has "$push" "The push refers to repository [$R/lib/box]"
check "push ends with the digest" has "$push" "1: digest: sha256:"
digest=$(sed -n 's/.*digest: \(sha256:[0-9a-f]*\).*/\1/p' <<<"$push")
check "push again: it is there" has "$(cli push $R/lib/box:1)" "Layer already exists"
check "the image has its digest now" has "$(kedge inspect -f '{{.RepoDigests}}' busybox)" "$R/lib/box@$digest"
kedge tag busybox $R/other/box:2
check "push to another repository mounts" has "$(cli push $R/other/box:2)" "Mounted from lib/box"
cli push $R/lib/web:1 >/dev/null
check "skopeo reads it" has "$(skop inspect --tls-verify=false docker://$R/lib/web:1)" '"Os": "linux"'
check "push of what is not there" has "$(cli push $R/no/such:1 2>&1)" "An image does not exist locally with the tag: $R/no/such"

# Pull.
check "rmi takes tag and digest" has "$(kedge rmi $R/lib/box:1)" "Untagged: $R/lib/box@$digest"
kedge rmi -f $(kedge images -q | sort -u) >/dev/null
check "nothing is left" equal "$(kedge images -aq)" ""
pull=$(cli pull $R/lib/box:1)
check "pull: where from" has "$pull" "1: Pulling from lib/box"
check "pull: layers" has "$pull" ": Pull complete"
check "pull: digest" has "$pull" "Digest: $digest"
check "pull: status" has "$pull" "Status: Downloaded newer image for $R/lib/box:1"
check "the same image" equal "$(kedge inspect -f '{{.Id}}' $R/lib/box:1)" "$image_id"
check "pull again" has "$(cli pull $R/lib/box:1)" "Status: Image is up to date for $R/lib/box:1"
check "it runs" equal "$(kedge run --rm $R/lib/box:1 echo hello)" "hello"
check "pull by digest" has "$(cli pull $R/lib/box@$digest)" "Digest: $digest"
check "images --digests" has "$(kedge images --digests)" "$digest"
check "pull of a tag that is not there" has "$(cli pull $R/lib/box:nope 2>&1)" "manifest for $R/lib/box:nope not found: manifest unknown"
check "pull of a repository that is not there" has "$(cli pull $R/nope/nope 2>&1)" "not found"
check "pull from nowhere" has "$(cli pull 127.0.0.1:5099/x 2>&1)" "127.0.0.1:5099/v2/"
cli pull -q -a $R/lib/box >/dev/null
check "all tags" has "$(kedge images $R/lib/box)" "$R/lib/box"
check "distribution inspect" has "$(api "http://localhost/v1.50/distribution/$R/lib/box:1/json")" "\"digest\":\"$digest\""
check "events" has "$(kedge events --since 1m --until 0s --filter type=image)" "image pull $R/lib/box:1"
if [ -n "$docker" ]; then
	check "search is answered" has "$(docker search nginx 2>&1)" "the registry protocol has no search"
	check "docker manifest inspect" has "$(docker manifest inspect --insecure $R/lib/box:1)" '"schemaVersion": 2'
fi

# What others push: an index of two platforms, zstd layers, OCI types.
kedge tag $R/lib/box:1 busybox:latest
kedge save -o "$tmp/box.tar" busybox:latest
skop copy -q --dest-tls-verify=false --dest-compress-format zstd -f oci docker-archive:"$tmp/box.tar" docker://$R/oci/box:zstd 2>"$tmp/skopeo.err" || cat "$tmp/skopeo.err"
check "zstd layers of an OCI image" has "$(cli pull $R/oci/box:zstd)" "zstd: Pulling from oci/box"
check "they run" equal "$(kedge run --rm $R/oci/box:zstd echo zstd)" "zstd"
python3 - "$R" <<'PY'
import hashlib, json, sys, urllib.request
reg = sys.argv[1]
def put(path, data, type):
    r = urllib.request.Request(f"http://{reg}/v2/{path}", data, {"Content-Type": type}, method="PUT"); urllib.request.urlopen(r)
def get(path, accept):
    return urllib.request.urlopen(urllib.request.Request(f"http://{reg}/v2/{path}", headers={"Accept": accept})).read()
docker = "application/vnd.docker.distribution.manifest.v2+json"
m = get("lib/box/manifests/1", docker)
put("lib/box/manifests/amd", m, docker)
def d(arch, **kw): return {"mediaType": docker, "size": len(m), "digest": "sha256:" + hashlib.sha256(m).hexdigest(), "platform": {"os": "linux", "architecture": arch, **kw}}
put("lib/box/manifests/list", json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json", "manifests": [
    d("unknown"), d("amd64"), d("arm64", variant="v8")]}).encode(), "application/vnd.docker.distribution.manifest.list.v2+json")
put("lib/box/manifests/armonly", json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
    d("s390x")]}).encode(), "application/vnd.oci.image.index.v1+json")
PY
check "a manifest list: this machine's" has "$(cli pull $R/lib/box:list)" "list: Pulling from lib/box"
check "a list without this machine" has "$(cli pull $R/lib/box:armonly 2>&1)" "no matching manifest for linux/"
check "another platform than the image's" has "$(cli pull --platform linux/s390x $R/lib/box:1 2>&1)" "does not provide the specified platform"

# skopeo and umoci on what we push and save.
check "skopeo copies from the registry to an OCI layout" skop copy -q --src-tls-verify=false docker://$R/lib/web:1 oci:"$tmp/oci":web
check "umoci unpacks it" umoci unpack --image "$tmp/oci":web "$tmp/bundle"
check "with its files" [ -e "$tmp/bundle/rootfs/usr/sbin/nginx" ]
check "skopeo reads what we save" skop copy -q docker-archive:"$tmp/box.tar" dir:"$tmp/dir"
mkdir "$tmp/layout" && tar -xf "$tmp/box.tar" -C "$tmp/layout"
check "which is an OCI layout, too" skop inspect oci:"$tmp/layout"
skop copy -q oci:"$tmp/oci":web oci-archive:"$tmp/web.tar":$R/lib/web:9
check "we load what skopeo writes" has "$(cli load -i "$tmp/web.tar")" "Loaded image"

# As many layers as there may be, and one more.
python3 - "$tmp/layout" "$tmp" <<'PY'
import hashlib, io, json, sys, tarfile
src, out = sys.argv[1:]
man = json.load(open(f"{src}/manifest.json"))[0]
base = open(f"{src}/{man['Layers'][0]}", "rb").read()
def layer(k):
    o = io.BytesIO()
    with tarfile.open(fileobj=o, mode="w") as t:
        i = tarfile.TarInfo(f"layer{k}"); t.addfile(i)
        i = tarfile.TarInfo("last"); d = str(k).encode(); i.size = len(d); t.addfile(i, io.BytesIO(d))
    return o.getvalue()
for n in (128, 129):
    layers = [base] + [layer(k) for k in range(1, n)]
    cfg = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]},
                      "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(l).hexdigest() for l in layers]}}).encode()
    with tarfile.open(f"{out}/deep{n}.tar", "w") as t:
        for name, d in [("c.json", cfg)] + [(f"{k}.tar", l) for k, l in enumerate(layers)] + [("manifest.json", json.dumps(
                [{"Config": "c.json", "RepoTags": [f"deep:{n}"], "Layers": [f"{k}.tar" for k in range(n)]}]).encode())]:
            i = tarfile.TarInfo(name); i.size = len(d); t.addfile(i, io.BytesIO(d))
PY
kedge load -q -i "$tmp/deep128.tar" >/dev/null
check "128 layers run" equal "$(kedge run --rm deep:128 sh -c 'ls -d /layer* | wc -l; cat /last' | tr '\n' ' ')" "127 127"
check "129 are refused" has "$(kedge load -i "$tmp/deep129.tar" 2>&1)" "has 129 layers, more than 128"

# TLS: a registry whose CA nobody knows, then everybody who reads certs.d.
registry tls 5001 "  tls: {certificate: $tmp/reg.crt, key: $tmp/reg.key}"
registry_pids_before=$registry_pids
sed "s/127.0.0.1:5001/192.0.2.1:5003/" "$tmp/tls.yml" >"$tmp/tls2.yml"
docker-registry serve "$tmp/tls2.yml" >"$tmp/tls2.log" 2>&1 </dev/null &
registry_pids="$registry_pids $!"
until_ok 10 sh -c "ss -Hltn 'sport = :5003' | grep -q ."
check "loopback is taken without a known CA" has "$(kedge tag busybox $T/box:1 && cli push $T/box:1)" "digest: sha256:"
check "an unknown CA is refused" has "$(cli pull 192.0.2.1:5003/box:1 2>&1)" "certificate"
mkdir -p "$tmp/certs.d/192.0.2.1:5003"
cp "$tmp/ca.crt" "$tmp/certs.d/192.0.2.1:5003/ca.crt"
check "certs.d makes it known" has "$(cli pull 192.0.2.1:5003/box:1)" "Digest: "
engine_stop
echo '{"insecure-registries": ["192.0.2.0/24"], "registry-mirrors": ["http://127.0.0.1:5000"]}' >"$tmp/daemon.json"
rm -r "$tmp/certs.d"
engine_start
check "an insecure registry by daemon.json" has "$(cli pull 192.0.2.1:5003/box:1)" "Digest: "
kedge tag busybox $R/library/mirrored && cli push -q $R/library/mirrored >/dev/null && kedge rmi $R/library/mirrored >/dev/null
check "a mirror of docker.io" has "$(cli pull mirrored)" "Pulling from library/mirrored"
check "under docker.io's name" has "$(kedge images mirrored)" "mirrored"

# Passwords.
kedge tag busybox $P/box:1
check "push without a login" has "$(cli push $P/box:1 2>&1)" "no basic auth credentials"
check "pull without a login" has "$(cli pull $P/box:1 2>&1)" "no basic auth credentials"
check "a wrong password" has "$(cli login -u user -p wrong $P 2>&1)" "unauthorized"
check "login" has "$(echo secret | cli login -u user --password-stdin $P 2>&1)" "Login Succeeded"
check "push after it" has "$(cli push $P/box:1)" "1: digest: sha256:"
kedge rmi $P/box:1 >/dev/null
check "pull after it" has "$(cli pull $P/box:1)" "Digest: "
check "kedge's login is docker's" has "$(echo secret | kedge login -u user --password-stdin $P 2>&1)" "Login Succeeded"
check "kedge pulls with it" has "$(kedge pull $P/box:1)" "Status: Image is up to date"
check "kedge pushes with it" has "$(kedge push $P/box:1)" "Layer already exists"
check "logout" has "$(kedge logout $P)" "Removing login credentials for $P"
check "no password after it" has "$(kedge pull $P/box:1 2>&1)" "no basic auth credentials"
