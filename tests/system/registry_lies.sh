#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Registries that lie, stall, break off or expand without end: each gets a sentence, and nothing of it is left. kill -9 of the engine at
# each commit point of a pull: the image is there with all its layers or not at all.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/registry_lib.sh"
L=127.0.0.1:5010 R=127.0.0.1:5000

python3 "$srcdir_top/tests/system/registry_liar.py" 5010 >"$tmp/liar.log" 2>&1 </dev/null &
registry_pids="$registry_pids $!"
until_ok 10 sh -c "ss -Hltn 'sport = :5010' | grep -q ."
echo '{"max-download-attempts": 2}' >"$tmp/daemon.json"
engine_start
need_image busybox
before=$(kedge images -aq --no-trunc; ls "$data/image/layers" "$data/image/l")
now() { kedge images -aq --no-trunc; ls "$data/image/layers" "$data/image/l"; }
tmp_empty() { [ -z "$(ls -A "$data/image/tmp")" ]; }

# lies REPOSITORY PART: the pull fails and says PART; everything is as before.
lies() {
	local out rc=0
	out=$(timeout 60 "$builddir/kedge" -H "unix://$sock" pull $L/$1 2>&1) || rc=$?
	check "$1: refused" equal "$rc" 1
	check "$1: says why" has "$out" "$2"
	check "$1: nothing is left" equal "$(now)" "$before"
}
lies not-json "the manifest: line 1"
lies no-object "no JSON object"
lies schema1 "schema 1 are not supported"
lies helm "vnd.cncf.helm.config.v1+json"
lies odd-layer "text/html"
lies negative-size "no size from 0 to 1 TiB"
lies bad-digest "which is not sha256:<64 hex digits>"
lies two-layers "names 2 layers"
lies both "both an image and a list"
lies nested "another list"
lies deep "the manifest"
lies big "larger than 4194304 bytes"
lies short-config "not the 10 that the manifest names"
lies long-config "bytes, not the"
lies wrong-config "is not what the registry sent"
lies short-layer "sends more than"
lies long-layer "the registry sent"
lies other-diff "is not the one that the image's config names"
lies deny "pull access denied for $L/deny, repository does not exist or may require 'docker login'"
lies down "503 Service Unavailable"
lies loop "redirects"
lies headers "64 KiB of headers"
lies flip "verification failed"
lies flip-middle "layer"
lies gone "blob unknown"
lies nowhere "127.0.0.1"
lies file "rotocol"
lies down-layer "500 Internal Server Error"
lies endless "sends more than"
lies cut-always "transfer closed"
lies cut-badrange "another range"
lies tok "unauthorized: incorrect username or password"
lies tok-garbage "the token server's reply"
lies bomb "expands to more than 250 times its size, the limit above 1 GiB"
wrong=sha256:$(printf x | sha256sum | cut -d' ' -f1)
out=$(kedge pull $L/pinned@$wrong 2>&1) || true
check "a manifest of another digest" has "$out" "manifest verification failed for digest $wrong"
check "tmp is empty" until_ok 10 tmp_empty

# Faults that pass.
for repo in busy cut cut-norange; do
	check "$repo: comes through" has "$(kedge pull $L/$repo 2>&1)" "Status: Downloaded newer image for $L/$repo"
	kedge rmi $L/$repo >/dev/null
done
mkdir -p "$tmp/home/.docker"
printf '{"auths":{"%s":{"auth":"dXNlcjpzZWNyZXQ="}}}' $L >"$tmp/home/.docker/config.json"
check "a token, and a new one when it has run out" has "$(kedge pull $L/tok 2>&1)" "Status: Downloaded newer image"
kedge rmi $L/tok >/dev/null

# The client goes away in the middle.
"$builddir/kedge" -H "unix://$sock" pull $L/slow >"$tmp/slow.out" 2>&1 &
slow=$!
until_ok 10 grep -q "Pulling fs layer" "$tmp/slow.out"
check "others go on meanwhile" equal "$(timeout 5 curl -sS --unix-socket "$sock" http://localhost/_ping)" OK
kill -9 $slow
wait $slow 2>/dev/null || true
check "a pull without its client is given up" until_ok 10 tmp_empty
check "and leaves nothing" equal "$(now)" "$before"
"$builddir/kedge" -H "unix://$sock" pull $L/slow >"$tmp/slow.out" 2>&1 &
until_ok 10 grep -q "Pulling fs layer" "$tmp/slow.out"
slow=$!
check "the engine stops with a pull under way" engine_stop
wait $slow || true

# kill -9 at each commit point.
registry plain 5000
engine_start
kedge tag busybox $R/box
kedge push -q $R/box >/dev/null
kedge rmi -f $(kedge images -q | sort -u) >/dev/null
engine_stop
dead() { ! kill -0 "$engine_pid" 2>/dev/null; }
for at in image.layer image.sync image.publish image.sync_names image.commit image.committed; do
	KEDGE_FAULT=$at:1:kill engine_start
	kedge pull $R/box >"$tmp/op.out" 2>&1 || true
	check "$at: the engine died there" until_ok 5 dead
	wait "$engine_pid" 2>/dev/null || true
	engine_pid=
	engine_start
	if [ -n "$(kedge images -q)" ]; then
		check "$at: the image that is there is whole" equal "$(kedge run --rm $R/box echo whole)" whole
	else
		check "$at: no layer without an image" equal "$(ls "$data/image/layers" "$data/image/l" | grep -c .)" "$(printf '%s\n' "$data/image/layers:" "$data/image/l:" | grep -c .)"
		check "$at: it can be pulled again" has "$(kedge pull $R/box)" "Status: Downloaded newer image"
	fi
	kedge rmi $R/box >/dev/null
	check "$at: nothing unfinished" until_ok 10 tmp_empty
	engine_stop
done

# A full disk.
mkdir "$tmp/small"
mount -t tmpfs -o size=1200k none "$tmp/small"
data=$tmp/small
engine_start
check "a full disk: refused" has "$(kedge pull $R/box 2>&1)" "No space left on device"
check "a full disk: no image" equal "$(kedge images -aq)" ""
check "a full disk: tmp is empty" until_ok 10 sh -c "[ -z \"\$(ls -A '$data/image/tmp')\" ]"
engine_stop
umount -l "$tmp/small"
