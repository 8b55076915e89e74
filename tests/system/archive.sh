#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cp both ways, export, diff and commit, of containers that run and that do not; and that no link and no race leads out of a root.
. "$(dirname "$0")/lib.sh"
# Older clients of docker have a sentence of their own for the status.
not_found() { case $1 in *"No such container:path: $3:$2"*) ;; *) has "$1" "Could not find the file $2 in container $3" ;; esac; }

engine_start
need_image busybox
dk() { docker -H "unix://$sock" "$@"; }

w=$tmp/work
mkdir -p "$w/src/sub"
cd "$w"
printf hello >file
printf a >src/a
ln -s a src/link
ln src/a src/hard
printf s >src/sub/s
chmod 640 src/sub/s
chown 1234:4321 src/sub/s
mkfifo src/fifo

# The rules of cp, for a client: $1 its name, $2 the container.
rules() {
	local cp=$1 c=$2 x
	$cp cp file "$c:/tmp/new"
	check "$cp $c: file to a new name" equal "$($cp cp "$c:/tmp/new" - | tar xO)" "hello"
	$cp cp file "$c:/tmp"
	check "$cp $c: file into a folder" equal "$($cp cp "$c:/tmp/file" - | tar xO)" "hello"
	printf other >other
	$cp cp other "$c:/tmp/file"
	check "$cp $c: file over a file" equal "$($cp cp "$c:/tmp/file" - | tar xO)" "other"
	check "$cp $c: to a folder that is not there" has "$($cp cp file "$c:/none/" 2>&1)" "no such directory"
	check "$cp $c: below one that is not there" not_found "$($cp cp file "$c:/none/x" 2>&1)" /none "$c"
	check "$cp $c: a folder over a file" has "$($cp cp src "$c:/tmp/file" 2>&1)" "cannot copy directory"
	$cp cp src "$c:/tmp/tree"
	x=$($cp cp "$c:/tmp/tree" - | tar tv)
	check "$cp $c: folder to a new name" has "$x" "tree/sub/s"
	check "$cp $c: links stay links" has "$x" "tree/link -> a"
	check "$cp $c: hard links stay" sh -c 'echo "$1" | grep -qE "^h.* link to tree/"' _ "$x"
	check "$cp $c: owners and modes stay" sh -c 'echo "$1" | grep -qE "^-rw-r----- 1234/4321 .*tree/sub/s"' _ "$x"
	check "$cp $c: pipes stay" sh -c 'echo "$1" | grep -qE "^prw.* tree/fifo"' _ "$x"
	$cp cp src "$c:/tmp/tree"
	check "$cp $c: folder into a folder" has "$($cp cp "$c:/tmp/tree/src/sub/s" - | tar xO)" "s"
	mkdir -p dots && printf d >dots/d
	$cp cp dots/. "$c:/tmp/tree"
	check "$cp $c: SRC/. into a folder" equal "$($cp cp "$c:/tmp/tree/d" - | tar xO)" "d"
	check "$cp $c: a folder does not replace a file" has "$(mkdir -p clash/a; $cp cp clash/. "$c:/tmp/tree" 2>&1)" "cannot overwrite non-directory"
	tar cf - file | $cp cp - "$c:/tmp/tree/sub"
	check "$cp $c: an archive from stdin" equal "$($cp cp "$c:/tmp/tree/sub/file" - | tar xO)" "hello"
	check "$cp $c: ... wants a folder" has "$(tar cf - file | $cp cp - "$c:/tmp/tree/a" 2>&1)" "must be a directory"
	rm -rf back
	$cp cp "$c:/tmp/tree" back
	check "$cp $c: back: folder to a new name" equal "$(cat back/sub/s)" "s"
	check "$cp $c: back: mode" equal "$(stat -c %a back/sub/s)" "640"
	check "$cp $c: back: link" equal "$(readlink back/link)" "a"
	$cp cp "$c:/tmp/tree" back
	check "$cp $c: back: folder into a folder" test -f back/tree/a
	mkdir -p back2
	$cp cp "$c:/tmp/tree/." back2
	check "$cp $c: back: SRC/." test -f back2/sub/s
	$cp cp "$c:/tmp/tree/a" back2/renamed
	check "$cp $c: back: file to a new name" equal "$(cat back2/renamed)" "a"
	$cp cp "$c:/tmp/tree/link" back2/asis
	check "$cp $c: back: a link itself" equal "$(readlink back2/asis)" "a"
	$cp cp -L "$c:/tmp/tree/link" back2/followed
	check "$cp $c: back: -L" sh -c '[ ! -L back2/followed ] && [ "$(cat back2/followed)" = a ]'
	check "$cp $c: back: nothing there" not_found "$($cp cp "$c:/nope" back2 2>&1)" /nope "$c"
	check "$cp $c: back: no folder to put it" has "$($cp cp "$c:/tmp/tree" none/x 2>&1)" "does not exist"
	ln -sfn src tolink
	$cp cp -L tolink "$c:/tmp/tree/ll"
	check "$cp $c: -L of a local link" equal "$($cp cp "$c:/tmp/tree/ll/sub/s" - | tar xO)" "s"
	rm -rf back back2
}

mkdir -p vol
printf v >vol/inside
kedge create --name rest -v "$w/vol:/vol" -v "$w/src:/ro:ro" busybox sleep 1000 >/dev/null
kedge run -d --name runs -v "$w/vol:/vol" -v "$w/src:/ro:ro" --tmpfs /fast busybox sh -c 'echo here >/fast/x; sleep 1000' >/dev/null
rules kedge rest
rules kedge runs
if command -v docker >/dev/null; then
	docker() { command docker -H "unix://$sock" "$@"; }
	rules docker rest
	rules docker runs
fi
check "clients: both remote" has "$(kedge cp rest:/a runs:/b 2>&1)" "copying between containers is not supported"
check "clients: none remote" has "$(kedge cp /a /b 2>&1)" "must specify at least one container source"
check "no such container" has "$(kedge cp nope:/a . 2>&1)" "No such container: nope"

for c in rest runs; do
	check "$c: a volume is seen" equal "$(kedge cp $c:/vol/inside - | tar xO)" "v"
	kedge cp file $c:/vol/put-$c
	check "$c: a volume is written" equal "$(cat vol/put-$c)" "hello"
	check "$c: a read-only mount is refused" has "$(kedge cp file $c:/ro/x 2>&1)" "mounted volume is marked read-only"
	check "$c: ... with 403" equal "$(tar cf - file | api -o /dev/null -w '%{http_code}' -T - "http://localhost/containers/$c/archive?path=/ro")" "403"
	check "$c: /proc has no content" equal "$(kedge cp $c:/proc - | tar t)" "proc/"
done
check "a tmpfs of a running container is seen" equal "$(kedge cp runs:/fast/x - | tar xO)" "here"
check "nothing is put into /proc" has "$(kedge cp file runs:/proc/x 2>&1)" "file system of the kernel's"
kedge create --name sealed --read-only busybox true >/dev/null
check "a read-only root is refused" has "$(kedge cp file sealed:/tmp/x 2>&1)" "container rootfs is marked read-only"

# The head says what it is.
path_stat() { api -I "http://localhost/containers/$1/archive?path=$2" | sed -n 's/^X-Docker-Container-Path-Stat: //pi' | base64 -d 2>/dev/null; }
check "HEAD: a folder's mode is Go's" has "$(path_stat runs /tmp)" '"name":"tmp"'
check "HEAD: mode" equal "$(path_stat runs /tmp | python3 -c 'import json,sys; print(oct(json.load(sys.stdin)["mode"]))')" "0o20004000777"
check "HEAD: a link's target" has "$(path_stat runs /tmp/tree/link)" '"linkTarget":"/tmp/tree/a"'
check "HEAD: 404" equal "$(api -o /dev/null -w '%{http_code}' -I "http://localhost/containers/runs/archive?path=/nope")" "404"
check "GET without path: 400" equal "$(api -o /dev/null -w '%{http_code}' "http://localhost/containers/runs/archive")" "400"
check "a bad archive: 400" equal "$(head -c 2000 /dev/urandom | api -o /dev/null -w '%{http_code}' -T - "http://localhost/containers/runs/archive?path=/tmp")" "400"
python3 - "$w" <<'P'
import tarfile, io, sys
def tar(name, *members):
    with tarfile.open(sys.argv[1] + '/' + name, 'w') as t:
        for m in members:
            i = tarfile.TarInfo(m[0]); i.type = m[1]
            if m[1] == tarfile.REGTYPE: i.size = len(m[2]); t.addfile(i, io.BytesIO(m[2]))
            else: i.linkname = m[2]; t.addfile(i)
tar('dotdot.tar', ('../../../../../../../tmp/kedge-dotdot', tarfile.REGTYPE, b'x'))
tar('throughlink.tar', ('out', tarfile.SYMTYPE, sys.argv[1] + '/host'), ('out/pwned', tarfile.REGTYPE, b'x'))
tar('hardlink.tar', ('out', tarfile.SYMTYPE, sys.argv[1] + '/host'), ('h', tarfile.LNKTYPE, 'out/secret'))
P
mkdir -p host && echo HOST-SECRET >host/secret
check "an archive with ..: refused" equal "$(api -o /dev/null -w '%{http_code}' -T dotdot.tar "http://localhost/containers/runs/archive?path=/tmp")" "400"
api -o /dev/null -T throughlink.tar "http://localhost/containers/runs/archive?path=/tmp" || true
api -o /dev/null -T hardlink.tar "http://localhost/containers/runs/archive?path=/tmp" || true
check "a link in an archive leads nowhere" equal "$(ls host)" "secret"
check "a hard link of an archive leads nowhere" sh -c "! '$builddir/kedge' -H unix://$sock cp runs:/tmp/h - 2>/dev/null | grep -q HOST-SECRET"

# Copying ids: the container's user owns what comes.
kedge create --name user --user 42:43 busybox true >/dev/null
kedge cp -a file user:/tmp/mine
check "cp -a: the container's user owns it" has "$(kedge cp user:/tmp/mine - | tar tvn)" "42/43"

# Races: a folder of the container's changes places with a link to the host's path, as fast as it can.
mkdir -p vol/race/d
echo INSIDE >vol/race/d/secret
ln -s "$w/host" vol/race/l
ln -s ../../../../../../../../../../../../../..$w/host vol/race/m
cat >swap.py <<'P'
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
os.chdir(sys.argv[1])
end = os.times().elapsed + float(sys.argv[2])
n = 0
while n % 1000 or os.times().elapsed < end:
    libc.renameat2(-100, b"d", -100, b"l" if n & 1 else b"m", 2)	# RENAME_EXCHANGE
    n += 1
print(n)
P
tar cf pwn.tar --transform s/file/pwned/ file
for c in rest runs; do
	python3 swap.py "$w/vol/race" 4 >swaps &
	swapper=$!
	leaked=0 inside=0
	n=0
	while kill -0 $swapper 2>/dev/null; do
		got=$(api "http://localhost/containers/$c/archive?path=/vol/race/d/secret" 2>/dev/null | tr -d '\0' || true)
		case $got in *HOST-SECRET*) leaked=$((leaked + 1)) ;; *INSIDE*) inside=$((inside + 1)) ;; esac
		got=$(api "http://localhost/containers/$c/archive?path=/vol/race/d/" 2>/dev/null | tr -d '\0' || true)
		case $got in *HOST-SECRET*) leaked=$((leaked + 1)) ;; *INSIDE*) inside=$((inside + 1)) ;; esac
		api -o /dev/null -T pwn.tar "http://localhost/containers/$c/archive?path=/vol/race/d" 2>/dev/null || true
		n=$((n + 1))
	done
	wait $swapper
	check "$c: $n rounds against $(cat swaps) swaps: nothing of the host's was read" equal "$leaked" "0"
	check "$c: ... and the race was one" [ $inside -gt 0 ]
	check "$c: ... nothing of the host's was written" equal "$(ls host)" "secret"
done

check "the hosts file of a running container" has "$(kedge cp runs:/etc/hosts - | tar xO)" "localhost"
kedge run --name ended busybox true >/dev/null
check "the hosts file of one that has ended" has "$(kedge cp ended:/etc/hosts - | tar xO)" "localhost"

# export: the root without what is mounted in it.
kedge export runs >export.tar
check "export: files" has "$(tar tf export.tar)" "tmp/tree/sub/s"
check "export: no volumes" sh -c '! tar tf export.tar | grep -q "^vol/."'
check "export: nothing of proc" sh -c '! tar tf export.tar | grep -q "^proc/."'
kedge export -o export2.tar rest
check "export -o of one at rest" has "$(tar tf export2.tar)" "tmp/tree/sub/s"
check "an export is an image" has "$(kedge import export.tar again:1)" "sha256:"
check "... that runs" equal "$(kedge run --rm again:1 /bin/busybox cat /tmp/tree/sub/s)" "s"

# diff
kedge create --name fresh busybox true >/dev/null
check "diff: never started" equal "$(kedge diff fresh)" ""
kedge run --name changed busybox sh -c 'echo x >/etc/passwd; rm /etc/group; mkdir -p /new/dir; touch /new/dir/f; rm -rf /root; mkdir /root; touch /root/r' >/dev/null
check "diff" equal "$(kedge diff changed)" "C /etc
D /etc/group
C /etc/passwd
A /new
A /new/dir
A /new/dir/f
C /root
A /root/r"
check "diff: its shape" has "$(api http://localhost/containers/changed/changes)" '{"Path":"/etc","Kind":0}'

# What is mounted on comes from a layer below the image's: an image need not have it, a container makes nothing of it.
own() { ls -A "$data/containers/$(kedge inspect -f '{{.Id}}' "$1")/upper"; }
kedge run -d --name plain busybox sleep 1000 >/dev/null
check "nothing is made for what is mounted" equal "$(own plain)" ""
check "it is there" has "$(kedge exec plain cat /etc/hosts)" "localhost"
kedge rm -f plain >/dev/null
mkdir -p bare/bin bare/conf
kedge cp "$(kedge create busybox)":/bin/busybox bare/bin/busybox
tar cf bare.tar -C bare bin
check "an image of one program" has "$(kedge import bare.tar bare:1 && kedge run --name bare bare:1 /bin/busybox cat /etc/hosts)" "localhost"
check "its folders" equal "$(kedge run --rm bare:1 /bin/busybox ls / | tr '\n' ' ')" "bin dev etc proc sys "
check "the container has made nothing" equal "$(own bare)$(kedge diff bare)" ""
ln -s conf bare/etc
tar cf linked.tar -C bare bin conf etc
check "an image whose etc is a link" has "$(kedge import linked.tar linked:1 && kedge run --rm linked:1 /bin/busybox cat /conf/hosts)" "localhost"

# commit
id=$(kedge commit -m 'a message' -a 'An Author' -c 'ENV A=b' -c 'CMD ["cat", "/new/dir/f", "/root/r"]' changed my/img:tag)
check "commit prints the id" sh -c 'case $1 in sha256:*) ;; *) exit 1 ;; esac' _ "$id"
check "commit: removals hold" status 1 kedge run --rm my/img:tag test -e /etc/group
check "commit: changes hold" equal "$(kedge run --rm my/img:tag cat /etc/passwd)" "x"
check "commit: --change" equal "$(kedge run --rm my/img:tag sh -c 'echo $A')" "b"
check "commit: comment and author" equal "$(kedge image inspect -f '{{.Comment}} {{.Author}}' my/img:tag)" "a message An Author"
check "commit: a replaced folder is the new one" equal "$(kedge run --rm my/img:tag ls -A /root)" "r"
kedge run -d --name ticks busybox sh -c 'i=0; while :; do i=$((i + 1)); echo $i >/new; mv /new /tick; done' >/dev/null
check "commit: of a running one" has "$(kedge commit ticks ticks)" "sha256:"
ticks() { kedge cp ticks:/tick - | tar xO; }
first=
until [ -n "$first" ]; do first=$(ticks); done
moved() { local now; now=$(ticks); [ -n "$now" ] && [ "$now" != "$first" ]; }
check "commit: it runs on" until_ok 10 moved
check "commit: nothing changed" has "$(kedge commit fresh same)" "sha256:"
check "commit: no such container" has "$(kedge commit nope 2>&1)" "No such container: nope"

# A start waits for who writes, and starts then.
kedge create --name both busybox cat /big >/dev/null
head -c 30M /dev/zero | tr '\0' x >big
mkfifo slow
{ tar cf - big | head -c 10M || true; until [ -e go ]; do read -r -t 0.1 _ <> <(:) || true; done; tar cf - big | tail -c +10485761; } >slow &
kedge cp - both:/ <slow &
cp_pid=$!
until_ok 20 test -e "$data/containers/$(kedge inspect -f '{{.Id}}' both)/upper/big"
kedge start -a both >got &
start_pid=$!
check "a start waits for an upload" equal "$(read -r -t 1 _ <> <(:) || true; kedge inspect -f '{{.State.Status}}' both)" "created"
touch go
wait $cp_pid
check "... and works then" wait $start_pid
check "... with what came" equal "$(wc -c <got)" "31457280"
check "no descriptor is left behind" until_ok 5 sh -c "[ \$(ls -l /proc/$engine_pid/fd | grep -c overlay) = 0 ]"
cd /
