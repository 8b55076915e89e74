#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Requests and archives that are wrong: each gets a sentence and the right status, and everything is as it was before.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
[ -s "$images/nginx.tar" ] || need_image nginx

# code METHOD PATH [BODY]: the HTTP status; the body is left in $tmp/body.
code() {
	local args=(-o "$tmp/body" -w '%{http_code}' --max-time 20 -X "$1")
	[ $# -lt 3 ] || args+=(-H 'Content-Type: application/json' --data-binary "$3")
	api "${args[@]}" "http://localhost$2"
}
# refuses NAME STATUS PART METHOD PATH [BODY]
refuses() {
	local name=$1 want=$2 part=$3
	shift 3
	local got
	got=$(code "$@") || got="curl $?"
	check "$name: status" equal "$got" "$want"
	check "$name: sentence" has "$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["message"])' "$tmp/body" 2>&1)" "$part"
}
create() { printf '{"Image":"busybox","Cmd":["true"],%s}' "$1"; }

refuses "no such container" 404 "No such container: nope" GET /v1.41/containers/nope/json
refuses "no such image" 404 "No such image: nope" POST /v1.41/containers/create '{"Image":"nope"}'
refuses "broken JSON" 400 "" POST /v1.41/containers/create '{"Image":'
refuses "not an object" 400 "" POST /v1.41/containers/create '[1,2]'
refuses "a number where a text belongs" 400 "" POST /v1.41/containers/create '{"Image":7}'
refuses "port 65536" 400 "65536" POST /v1.41/containers/create "$(create '"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"65536"}]}}')"
refuses "container port 0" 400 "" POST /v1.41/containers/create "$(create '"HostConfig":{"PortBindings":{"0/tcp":[{"HostPort":"80"}]}}')"
refuses "unknown protocol" 400 "" POST /v1.41/containers/create "$(create '"HostConfig":{"PortBindings":{"80/xyz":[{"HostPort":"80"}]}}')"
refuses "a host address that is none" 400 "" POST /v1.41/containers/create "$(create '"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"1.2.3","HostPort":"80"}]}}')"
refuses "a bind mount without a source" 400 "" POST /v1.41/containers/create "$(create '"HostConfig":{"Binds":["relative:/x:rw:what"]}')"
refuses "memory below the minimum" 400 "" POST /v1.41/containers/create "$(create '"HostConfig":{"Memory":1000}')"
refuses "a bad name" 400 "" POST '/v1.41/containers/create?name=a/b' "$(create '"Tty":false')"
refuses "an API version of the future" 400 "1.99" GET /v1.99/containers/json
refuses "an API version of long ago" 400 "1.12" GET /v1.12/containers/json
refuses "an unknown page" 404 "page not found" GET /v1.41/no/such/page
refuses "a bad filter" 400 "" GET '/v1.41/containers/json?filters=%7Bbroken'
refuses "an unknown filter" 400 "" GET '/v1.41/containers/json?filters=%7B%22nonsense%22%3A%5B%22x%22%5D%7D'
refuses "an unknown signal" 400 "" POST "/v1.41/containers/$(kedge create busybox true)/kill?signal=SIGNOPE"
kedge rm -f $(kedge ps -aq) >/dev/null

deep=$(python3 -c 'print("{\"Image\":\"busybox\",\"Labels\":" + "{\"a\":" * 5000 + "1" + "}" * 5001)')
refuses "JSON of 5,000 levels" 400 "" POST /v1.41/containers/create "$deep"
check "a header of 1 MB is refused" python3 - "$sock" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(20)
try:
    s.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n")
except OSError:
    pass
got = s.recv(100)
assert got[9:12] in (b"431", b"400"), got
PY
check "two lengths are refused" python3 - "$sock" <<'PY'
import socket, sys
for head in (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 3\r\nContent-Length: 4\r\n"):
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(20)
    s.sendall(b"POST /v1.41/containers/create HTTP/1.1\r\nHost: d\r\n" + head + b"\r\n0\r\n\r\n")
    got = s.recv(100)
    assert got[9:12] == b"400", got
PY
check "a body that stops does not hold others up" python3 - "$sock" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(b"POST /v1.41/containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 1000\r\n\r\n{\"Im")
o = socket.socket(socket.AF_UNIX); o.connect(sys.argv[1]); o.settimeout(5)
o.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
assert b"200 OK" in o.recv(500)
PY

before=$(kedge images -q | sort)
state() { find "$data/image" -mindepth 1 -maxdepth 2 -printf '%P\n' | grep 'tmp.*/' | head || true; }
# load FILE: the archive is refused with a sentence.
check_load() {
	local name=$1 file=$2 out rc=0
	out=$(kedge load -i "$file" 2>&1) || rc=$?
	check "$name: refused" [ "$rc" != 0 ]
	check "$name: with a sentence" [ ${#out} -gt 15 ]
	check "$name: nothing was added" equal "$(kedge images -q | sort)" "$before"
}
size=$(stat -c %s "$images/busybox.tar")
for part in 1 2 3 5 8; do
	head -c $((size * part / 9)) "$images/busybox.tar" >"$tmp/cut.tar"
	check_load "cut at $part/9" "$tmp/cut.tar"
done
head -c 3M /dev/urandom >"$tmp/noise.tar"
check_load "noise" "$tmp/noise.tar"
python3 - "$images/busybox.tar" "$tmp" <<'PY'
import hashlib, io, json, sys, tarfile
src, out = sys.argv[1:]

def image(name, members, tweak=None):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as t:
        for m, data in members:
            t.addfile(m, io.BytesIO(data) if data is not None else None)
    raw = layer.getvalue()
    if tweak:
        raw = tweak(raw)
    cfg = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]},
                      "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(raw).hexdigest()]}}).encode()
    cname = hashlib.sha256(cfg).hexdigest() + ".json"
    man = json.dumps([{"Config": cname, "RepoTags": ["evil:latest"], "Layers": ["l/layer.tar"]}]).encode()
    with tarfile.open(f"{out}/{name}.tar", "w") as t:
        for n, d in ((cname, cfg), ("l/layer.tar", raw), ("manifest.json", man)):
            i = tarfile.TarInfo(n); i.size = len(d); t.addfile(i, io.BytesIO(d))

def entry(name, type=tarfile.REGTYPE, data=None, link="", size=None):
    i = tarfile.TarInfo(name); i.type = type; i.linkname = link; i.mode = 0o755
    i.size = len(data) if data is not None else 0
    return (i, data)

image("dotdot", [entry("../../kedge-escape", data=b"x")])
image("hardlink", [entry("passwd", tarfile.LNKTYPE, link="../../../../etc/passwd")])
image("symlink-through", [entry("d", tarfile.SYMTYPE, link="/tmp"), entry("d/kedge-escape", data=b"x")])
def huge(raw):
    i = tarfile.TarInfo("big"); i.size = 10 << 30
    return i.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024
image("declared-10-gb", [], huge)
src = src.replace("busybox", "nginx")	# a layer that is there already is not read again

with tarfile.open(src) as t:
    items = [(m, t.extractfile(m).read() if m.isfile() else None) for m in t.getmembers()]
with tarfile.open(f"{out}/flipped.tar", "w") as t:
    for m, d in items:
        if d and len(d) > 100000:
            d = bytearray(d); d[50000] ^= 0x10; d = bytes(d)
        t.addfile(m, io.BytesIO(d) if d is not None else None)
PY
check_load "a flipped bit in a layer" "$tmp/flipped.tar"
check_load "a name with .." "$tmp/dotdot.tar"
check_load "a hard link out of the root" "$tmp/hardlink.tar"
check_load "10 GB declared" "$tmp/declared-10-gb.tar"
# A link to /tmp inside the image is the image's own /tmp.
kedge load -i "$tmp/symlink-through.tar" >/dev/null 2>&1 || true
check "nothing was written outside" [ ! -e /tmp/kedge-escape ]
kedge rmi evil:latest >/dev/null 2>&1 || true
check "no remains of refused archives" equal "$(state)" ""
check "the engine still answers" has "$(kedge run --rm busybox echo alive)" "alive"

check "unknown flag: 125" status 125 kedge run --no-such-flag busybox true
check "port range that does not match" status 125 kedge run -d -p 8000-8002:80-81 busybox true
check "port out of range" status 125 kedge run -d -p 70000:80 busybox true
check "unknown command" status 1 kedge no-such-command
check "no container is left of all this" equal "$(kedge ps -aq)" ""

# No space left: a data root on a small file system.
engine_stop
mkdir "$tmp/small"
mount -t tmpfs -o size=600k none "$tmp/small"
data=$tmp/small
engine_start
check "a full disk: refused" has "$(kedge load -i "$images/busybox.tar" 2>&1)" "pace"
check "a full disk: no image" equal "$(kedge images -q)" ""
check "a full disk: the engine goes on" equal "$(api http://localhost/_ping)" "OK"
engine_stop
umount -l "$tmp/small"
