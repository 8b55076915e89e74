#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Volumes and mounts: made, filled, shared, read-only, counted, removed; what outlives what; kill -9 at each commit point.
. "$(dirname "$0")/lib.sh"

have_docker=$(docker_recent && command -v docker || true)
docker() { DOCKER_HOST=unix://$sock command docker "$@"; }
clis="kedge${have_docker:+ docker}"

engine_start
need_image busybox

# An image that has content where a volume goes: owner, modes, links, attributes.
mkdir -p "$tmp/ctx/data/sub" "$tmp/ctx/bin" "$tmp/ctx/empty" "$tmp/ctx/etc"
cp -a "$(command -v busybox)" "$tmp/ctx/bin/busybox"
for b in sh ls cat stat touch mkdir mount umount ln id test sleep echo rm readlink df grep dd true; do ln -s busybox "$tmp/ctx/bin/$b"; done
echo 'root:x:0:0::/:/bin/sh' >"$tmp/ctx/etc/passwd"
echo content >"$tmp/ctx/data/file"
ln "$tmp/ctx/data/file" "$tmp/ctx/data/hard"
ln -s /etc/passwd "$tmp/ctx/data/link"
echo run >"$tmp/ctx/data/sub/tool"
chmod 4755 "$tmp/ctx/data/sub/tool"
chown 70:71 "$tmp/ctx/data" "$tmp/ctx/data/file"
chmod 1770 "$tmp/ctx/data"
chown 33:33 "$tmp/ctx/empty"
chmod 700 "$tmp/ctx/empty"
tar -C "$tmp/ctx" -cf - . | kedge import -c 'VOLUME /data' -c 'CMD ["sleep", "1000"]' - filled >/dev/null

for cli in $clis; do
	check "$cli: create" equal "$($cli volume create --label a=b vol1)" vol1
	check "$cli: create again is the same" equal "$($cli volume create vol1)" vol1
	check "$cli: inspect" equal "$($cli volume inspect -f '{{.Name}} {{.Driver}} {{.Scope}} {{.Labels.a}} {{.Mountpoint}}' vol1)" "vol1 local local b $data/volumes/vol1/_data"
	check "$cli: ls" has "$($cli volume ls)" "local     vol1"
	check "$cli: ls by label" equal "$($cli volume ls -q -f label=a=b)" vol1
	check "$cli: ls by a name that is not there" equal "$($cli volume ls -q -f name=nosuch)" ""
	check "$cli: ls dangling" equal "$($cli volume ls -q -f dangling=true)" vol1
	check "$cli: ls of another driver" equal "$($cli volume ls -q -f driver=other)" ""
	check "$cli: an unknown filter" has "$($cli volume ls -f nosuch=1 2>&1)" "invalid filter 'nosuch'"
	check "$cli: a bad name" has "$($cli volume create 'a/b' 2>&1)" 'includes invalid characters for a local volume name'
	check "$cli: a short name" has "$($cli volume create a 2>&1)" 'volume name is too short, names should be at least two alphanumeric characters'
	check "$cli: an unknown driver" has "$($cli volume create -d nosuch x1 2>&1)" 'error looking up volume plugin nosuch: plugin "nosuch" not found'
	check "$cli: an unknown option" has "$($cli volume create -o foo=bar x1 2>&1)" 'invalid option: "foo"'
	check "$cli: a missing option" has "$($cli volume create -o type=tmpfs x1 2>&1)" 'missing required option: "device"'
	check "$cli: inspect of none" has "$($cli volume inspect nosuch 2>&1)" "no such volume"
	check "$cli: rm of none" has "$($cli volume rm nosuch 2>&1)" "get nosuch: no such volume"
	check "$cli: rm -f of none" status 0 $cli volume rm -f nosuch
	cid=$($cli create -v vol1:/v busybox true)
	check "$cli: in use" has "$($cli volume rm vol1 2>&1)" "remove vol1: volume is in use - [$cid]"
	check "$cli: not dangling any more" equal "$($cli volume ls -q -f dangling=false)" vol1
	$cli rm -v "$cid" >/dev/null
	check "$cli: rm -v keeps a named volume" equal "$($cli volume ls -q)" vol1
	check "$cli: update is refused" has "$($cli volume update vol1 2>&1)" "cluster volumes"
	check "$cli: rm" equal "$($cli volume rm vol1)" vol1
	check "$cli: its directory is gone" [ ! -e "$data/volumes/vol1" ]

	# Filling
	$cli run --rm -v fill1:/data filled true
	at=$data/volumes/fill1/_data
	check "$cli: a new volume has the image's content" equal "$(cat "$at/file")" content
	check "$cli: with owner and mode of the directory" equal "$(stat -c '%u:%g %a' "$at")" "70:71 1770"
	check "$cli: and of the files" equal "$(stat -c '%u:%g' "$at/file") $(stat -c %a "$at/sub/tool")" "70:71 4755"
	check "$cli: hard links stay hard links" equal "$(stat -c %i "$at/file")" "$(stat -c %i "$at/hard")"
	check "$cli: links are copied as links" equal "$(readlink "$at/link")" /etc/passwd
	echo changed >"$at/file"
	$cli run --rm -v fill1:/data filled true
	check "$cli: a volume with content is left as it is" equal "$(cat "$at/file")" changed
	$cli run --rm -v fill2:/data:nocopy filled true
	check "$cli: nocopy" equal "$(ls "$data/volumes/fill2/_data")" ""
	$cli run --rm --mount type=volume,src=fill3,dst=/data,volume-nocopy filled true
	check "$cli: volume-nocopy" equal "$(ls "$data/volumes/fill3/_data")" ""
	$cli run --rm -v fill4:/empty filled true
	check "$cli: an empty directory's owner and mode" equal "$(stat -c '%u:%g %a' "$data/volumes/fill4/_data")" "33:33 700"
	check "$cli: not over a file" has "$($cli run --rm -v fill5:/data/file filled true 2>&1)" "cannot mount volume over existing file, file exists /data/file"
	check "$cli: and no volume is left of that" status 1 $cli volume inspect fill5

	# Anonymous volumes
	cid=$($cli create -v /more filled)
	anon=$($cli inspect -f '{{range .Mounts}}{{.Name}} {{end}}' "$cid")
	check "$cli: anonymous volumes of VOLUME and of -v" equal "$(echo $anon | wc -w)" 2
	check "$cli: they say so" equal "$($cli volume inspect -f '{{json .Labels}}' $anon | sort -u)" '{"com.docker.volume.anonymous":""}'
	$cli rm "$cid" >/dev/null
	check "$cli: rm keeps them" equal "$($cli volume ls -q | grep -cE '^[0-9a-f]{64}$')" 2
	$cli volume create keep1 >/dev/null
	pruned=$($cli volume prune -f)
	check "$cli: prune removes anonymous ones" equal "$($cli volume ls -q | grep -cE '^[0-9a-f]{64}$' || true)" 0
	check "$cli: and tells how much" has "$pruned" "Total reclaimed space: "
	check "$cli: prune keeps named ones" has "$($cli volume ls -q)" keep1
	cid=$($cli create filled)
	$cli rm -v "$cid" >/dev/null
	check "$cli: rm -v removes them" equal "$($cli volume ls -q | grep -cE '^[0-9a-f]{64}$' || true)" 0
	$cli run --rm filled true
	check "$cli: --rm too" until_ok 5 sh -c "[ -z \"\$(ls $data/volumes | grep -E '^[0-9a-f]{64}$')\" ]"
	$cli volume prune -af --filter label!=x >/dev/null
	check "$cli: prune -a removes all" equal "$($cli volume ls -q)" ""

	# Sharing
	$cli run -d --name one -v shared:/s -v "$tmp/ctx:/ctx:ro" -v /anon busybox sleep 1000 >/dev/null
	$cli run --rm --volumes-from one busybox sh -c 'echo hello >/s/greeting'
	check "$cli: volumes-from" equal "$($cli run --rm -v shared:/x busybox cat /x/greeting)" hello
	check "$cli: volumes-from :ro" status 1 $cli run --rm --volumes-from one:ro busybox sh -c 'echo x >/s/greeting'
	check "$cli: volumes-from keeps read-only what was" status 1 $cli run --rm --volumes-from one busybox touch /ctx/x
	check "$cli: volumes-from of none" has "$($cli run --rm --volumes-from nosuch busybox true 2>&1)" "No such container: nosuch"
	check "$cli: its --rm does not take the other's anonymous volume" equal "$($cli volume ls -q | grep -cE '^[0-9a-f]{64}$')" 1
	check "$cli: Mounts of a volume" equal "$($cli inspect -f '{{range .Mounts}}{{if eq .Destination "/s"}}{{json .}}{{end}}{{end}}' one)" \
		"{\"Type\":\"volume\",\"Name\":\"shared\",\"Source\":\"$data/volumes/shared/_data\",\"Destination\":\"/s\",\"Driver\":\"local\",\"Mode\":\"z\",\"RW\":true,\"Propagation\":\"\"}"
	check "$cli: Mounts of a bind" equal "$($cli inspect -f '{{range .Mounts}}{{if eq .Destination "/ctx"}}{{json .}}{{end}}{{end}}' one)" \
		"{\"Type\":\"bind\",\"Source\":\"$tmp/ctx\",\"Destination\":\"/ctx\",\"Mode\":\"ro\",\"RW\":false,\"Propagation\":\"rprivate\"}"
	check "$cli: ps --filter volume" equal "$($cli ps -q --filter volume=shared)" "$($cli inspect -f '{{slice .Id 0 12}}' one)"
	check "$cli: ps shows mounts" has "$($cli ps --format '{{.Mounts}}')" shared
	$cli rm -fv one >/dev/null
	check "$cli: rm -fv" equal "$($cli volume ls -q)" shared

	# --mount
	mkdir -p "$tmp/src/below"
	check "$cli: -v makes a missing source" status 0 $cli run --rm -v "$tmp/new-$cli/deep:/m" busybox test -d /m
	check "$cli: it is there" [ -d "$tmp/new-$cli/deep" ]
	check "$cli: --mount does not" has "$($cli run --rm --mount "type=bind,src=$tmp/nosuch,dst=/m" busybox true 2>&1)" \
		"invalid mount config for type \"bind\": bind source path does not exist: $tmp/nosuch"
	check "$cli: --mount readonly" status 1 $cli run --rm --mount "type=bind,src=$tmp/src,dst=/m,readonly" busybox touch /m/x
	check "$cli: --mount volume readonly" status 1 $cli run --rm --mount type=volume,src=shared,dst=/m,readonly busybox touch /m/x
	check "$cli: --mount tmpfs size and mode" equal "$($cli run --rm --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0711 busybox sh -c 'stat -c %a /t; df -k /t | grep -o " 1024 " | head -n 1')" "$(printf '711\n 1024 ')"
	check "$cli: --mount tmpfs is in Mounts" equal "$($cli inspect -f '{{json .Mounts}}' "$($cli create --name tm --mount type=tmpfs,dst=/t busybox true)")" \
		'[{"Type":"tmpfs","Source":"","Destination":"/t","Mode":"","RW":true,"Propagation":""}]'
	$cli rm tm >/dev/null
	check "$cli: twice at one place" has "$($cli create -v shared:/m --mount type=tmpfs,dst=/m busybox 2>&1)" "Duplicate mount point: /m"
	check "$cli: not at /" has "$($cli create -v shared:/ busybox 2>&1)" "destination can't be '/'"
	check "$cli: a volume inside a volume" equal "$($cli run --rm -v "inner:/m/in" -v shared:/m busybox sh -c 'touch /m/in/here; ls /m')" "$(printf 'greeting\nin')"
	check "$cli: a mode that is none" has "$($cli create -v shared:/m:nosuch busybox 2>&1)" "invalid mode: nosuch"
	check "$cli: volume-label" equal "$($cli rm "$($cli create --mount type=volume,src=lab,dst=/m,volume-label=k=v busybox)" >/dev/null; $cli volume inspect -f '{{.Labels.k}}' lab)" v

	# A path inside a volume
	at=$data/volumes/shared/_data
	mkdir -p "$at/deep/er"
	echo inside >"$at/deep/er/f"
	ln -sfn / "$at/out"
	ln -sfn deep "$at/alias"
	sub() { $cli run --rm --mount "type=volume,src=shared,dst=/m,volume-subpath=$1" busybox "${@:2}" 2>&1; }
	check "$cli: volume-subpath" equal "$(sub deep/er cat /m/f)" inside
	check "$cli: volume-subpath of a file" equal "$(sub deep/er/f cat /m)" inside
	check "$cli: volume-subpath over a link inside" equal "$(sub alias/er cat /m/f)" inside
	check "$cli: volume-subpath never leaves the volume" has "$(sub out/etc true)" "cannot access path $at/out/etc: No such file or directory"
	check "$cli: a subpath that climbs" has "$(sub ../x true)" "subpath must be a relative path within the volume"
	check "$cli: a subpath of nothing" has "$(sub nosuch true)" "cannot access path $at/nosuch: No such file or directory"
	# A container that cannot be made may be told so before or after its network is there.
	always() { for _ in $(seq 40); do has "$(sub nosuch true)" "cannot access path $at/nosuch: No such file or directory" || return 1; done; }
	check "$cli: a subpath of nothing, each time" always

	# Options of the local driver
	$cli volume create -o type=tmpfs -o device=tmpfs -o o=size=1m,uid=1000 tmpvol >/dev/null
	$cli run -d --name t1 -v tmpvol:/t busybox sleep 1000 >/dev/null
	$cli run --rm -v tmpvol:/t busybox touch /t/together
	check "$cli: mounted once for all" status 0 $cli run --rm -v tmpvol:/t busybox test -e /t/together
	check "$cli: with its options" equal "$(stat -c %u "$data/volumes/tmpvol/_data") $(df -k --output=size "$data/volumes/tmpvol/_data" | tail -n 1 | tr -d ' ')" "1000 1024"
	$cli rm -f t1 >/dev/null
	check "$cli: unmounted after the last" until_ok 5 sh -c "! grep -q ' $data/volumes/tmpvol/_data ' /proc/self/mountinfo"
	$cli volume create -o type=none -o o=bind,ro -o "device=$tmp/src" bindvol >/dev/null
	check "$cli: o=bind" equal "$($cli run --rm -v bindvol:/t busybox ls /t)" below
	check "$cli: o=bind,ro" status 1 $cli run --rm -v bindvol:/t busybox touch /t/x
	$cli volume create -o type=none -o o=bind -o device=/no/such badvol >/dev/null
	check "$cli: a mount that fails" has "$($cli run --rm -v badvol:/t busybox true 2>&1)" "failed to mount local volume"
	check "$cli: options that fail leave it removable" equal "$($cli volume rm badvol)" badvol

	$cli volume prune -af >/dev/null
	check "$cli: everything is gone" equal "$(ls -A "$data/volumes")" ""
done

# Propagation
mount -t tmpfs none "$tmp/src"
mount --make-rshared "$tmp/src"
mkdir -p "$tmp/src/in" "$tmp/src/out"
kedge run -d --name prop --privileged --mount "type=bind,src=$tmp/src,dst=/m,bind-propagation=rshared" busybox sleep 1000 >/dev/null
pid=$(kedge inspect -f '{{.State.Pid}}' prop)
mount -t tmpfs mark "$tmp/src/in"
touch "$tmp/src/in/seen"
check "rshared: the host's mounts arrive" [ -e "/proc/$pid/root/m/in/seen" ]
nsenter -t "$pid" -m mount -t tmpfs mark /m/out
check "rshared: the container's mounts get out" grep -q " $tmp/src/out " /proc/self/mountinfo
kedge rm -f prop >/dev/null
umount "$tmp/src/out" 2>/dev/null || true
kedge run -d --name prop --mount "type=bind,src=$tmp/src,dst=/m,bind-propagation=rslave" busybox sleep 1000 >/dev/null
umount "$tmp/src/in"
mount -t tmpfs mark "$tmp/src/in"
touch "$tmp/src/in/later"
check "rslave: the host's mounts arrive" [ -e "/proc/$(kedge inspect -f '{{.State.Pid}}' prop)/root/m/in/later" ]
kedge rm -f prop >/dev/null
check "a read-only bind is read-only below too" status 1 kedge run --rm -v "$tmp/src:/m:ro" busybox touch /m/in/x
umount -R "$tmp/src"
check "rshared wants a shared mount" has "$(kedge run --rm --mount "type=bind,src=$tmp/src,dst=/m,bind-propagation=rshared" busybox true 2>&1)" "but it is not a shared mount"

# Events
since=$(date +%s)
kedge run --rm --name ev -v evvol:/v busybox true
kedge volume rm evvol >/dev/null
events=$(kedge events --since "$since" --until "$(($(date +%s) + 1))" --filter type=volume --filter volume=evvol --format '{{.Action}}' | tr '\n' ' ')
check "events" equal "$events" "create mount unmount destroy "

# Sizes over the API
kedge run --rm -v big1:/v busybox dd if=/dev/zero of=/v/f bs=1024 count=100 2>/dev/null
check "prune says what it gave back" has "$(kedge volume prune -af)" "Total reclaimed space: 102.4kB"

# The engine dies. What was acknowledged is there, nothing is there by half.
dead() { ! kill -0 "$engine_pid" 2>/dev/null; }
point() {
	local name=$1 nth=$2
	shift 2
	engine_stop || true
	KEDGE_FAULT=$name:$nth:kill engine_start
	"$@" >"$tmp/op.out" 2>&1 || true
	check "killed at $name" until_ok 5 dead
	wait "$engine_pid" 2>/dev/null || true
	engine_pid=
	engine_start
}
for at in volume.dir volume.create volume.created; do
	point $at 1 kedge volume create kp1
	check "create, killed at $at: it can be made" equal "$(kedge volume create kp1)" kp1
	check "create, killed at $at: and removed" equal "$(kedge volume rm kp1)" kp1
	check "create, killed at $at: nothing is left" equal "$(ls -A "$data/volumes")" ""
done
for at in volume.remove volume.removed volume.trash; do
	kedge run --rm -v kp2:/v busybox touch /v/x
	point $at 1 kedge volume rm kp2
	kedge volume rm -f kp2 >/dev/null
	check "remove, killed at $at: nothing is left" equal "$(ls -A "$data/volumes")" ""
done
for at in volume.copy volume.fill engine.save; do
	point $at 1 kedge create --name kp -v kp3:/data -v kp4:/other filled
	kedge rm -fv kp >/dev/null 2>&1 || true
	check "fill, killed at $at: no half container" status 1 kedge inspect kp
	check "fill, killed at $at: no half volume" equal "$(ls -A "$data/volumes")" ""
	kedge run --rm -v kp3:/data filled test -u /data/sub/tool
	check "fill, killed at $at: the next one is whole" [ -u "$data/volumes/kp3/_data/sub/tool" ]
	kedge volume prune -af >/dev/null
done
for at in engine.remove engine.removed; do
	kedge create --name kp filled >/dev/null
	point $at 1 kedge rm -v kp
	kedge rm -v kp >/dev/null 2>&1 || true
	check "rm -v, killed at $at: the anonymous volume is gone with it" equal "$(ls -A "$data/volumes")" ""
done
kedge volume create -o type=tmpfs -o device=tmpfs tmpvol >/dev/null
kedge run -d --name t1 -v tmpvol:/t busybox sleep 1000 >/dev/null
engine_kill9
engine_start
check "a mounted volume outlives the engine" grep -q " $data/volumes/tmpvol/_data " /proc/self/mountinfo
check "in use after the engine's death" has "$(kedge volume rm tmpvol 2>&1)" "volume is in use"
engine_kill9
kill -9 "$(ps -o ppid= -p "$(cat "$run"/containers/*/pid)" | tr -d ' ')"
engine_start
check "unmounted when its container ended meanwhile" until_ok 5 sh -c "! grep -q ' $data/volumes/tmpvol/_data ' /proc/self/mountinfo"
kedge rm t1 >/dev/null
kedge volume rm tmpvol >/dev/null
mkdir -p "$data/volumes/stray/_data"
echo precious >"$data/volumes/stray/_data/f"
engine_kill9
engine_start
check "files nobody knows are kept" equal "$(cat "$data/volumes/stray/_data/f")" precious
check "and found again under the name" equal "$(kedge volume create stray; kedge run --rm -v stray:/v busybox cat /v/f)" "$(printf 'stray\nprecious')"
kedge volume rm stray >/dev/null

# A data base: killed in the middle of transactions, removed, a new one on the volume has everything that was committed.
need_image postgres
pg=$(kedge images --format '{{.Repository}}:{{.Tag}}' | grep postgres | head -n 1)
pg_start() {
	kedge run -d --name db -v pgdata:/var/lib/postgresql/data -e POSTGRES_PASSWORD=secret -e POSTGRES_HOST_AUTH_METHOD=trust -p 127.0.0.1:5432:5432 "$pg" >/dev/null
	if ! until_ok 60 sql 'select 1'; then kedge logs db | tail -n 20; return 1; fi
}
db_pid() { kedge inspect -f '{{.State.Pid}}' db; }
sql() { nsenter -t "$(db_pid)" -m -n -p -u -i psql -h 127.0.0.1 -U postgres -Atqc "$1"; }
if check "postgres starts on a named volume" pg_start && [ "$failures" = 0 ]; then
	sql 'create table t (n int primary key)'
	: >"$tmp/acked"
	(n=0; while sql "insert into t values ($n)" >/dev/null 2>&1; do echo $n >>"$tmp/acked"; n=$((n + 1)); done) &
	writer=$!
	check "transactions go on" until_ok 30 sh -c "[ \$(wc -l <'$tmp/acked') -ge 20 ]"
	kedge kill -s KILL db >/dev/null
	wait $writer || true
	kedge rm -v db >/dev/null
	check "the volume is still there" equal "$(kedge volume ls -q)" pgdata
	check "postgres starts on what is left" pg_start
	last=$(tail -n 1 "$tmp/acked")
	got=$(sql 'select count(*) from t where n <= '"$last")
	check "every committed row of $((last + 1)) is there" equal "$got" "$((last + 1))"
	kedge rm -f db >/dev/null
fi
