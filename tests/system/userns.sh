#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# userns-remap: every container's root is nobody on the host; images, volumes, networks and exec work as ever.
. "$(dirname "$0")/lib.sh"

chmod 711 "$tmp"
mount -t tmpfs etc /mnt
cp -a /etc/passwd /etc/group /mnt/
echo 'kedgemap:x:4242:4242::/:/bin/false' >>/mnt/passwd
echo 'kedgemap:x:4242:' >>/mnt/group
echo 'kedgemap:1000000:65536' >/mnt/subuid
echo 'kedgemap:2000000:65536' >/mnt/subgid
for f in passwd group subuid subgid; do
	[ -e /etc/$f ] || skip "there is no /etc/$f to lie over"
	mount --bind /mnt/$f /etc/$f
done
check "an unknown user is refused by name" has "$("$builddir/kedged" --data-root "$data" --exec-root "$run" --userns-remap nosuch --config-file "$tmp/daemon.json" 2>&1 || true)" "there is no user 'nosuch'"
check "one without ids too" has "$("$builddir/kedged" --data-root "$data" --exec-root "$run" --userns-remap nobody --config-file "$tmp/daemon.json" 2>&1 || true)" "has no range of ids in /etc/subuid"
echo '{"userns-remap": "kedgemap"}' >"$tmp/daemon.json"
engine_start
need_image busybox
out=$(kedge run --rm busybox true 2>&1) || true
case $out in *"map the ids of the files"*) skip "the file system of $tmp has no id-mapped mounts" ;; esac

kedge run -d --name box -v vol:/v -p 8080:80 busybox sh -c 'touch /mine /v/mine; echo hello >/tmp/index.html; httpd -f -p 80 -h /tmp' >/dev/null
pid=$(kedge inspect -f '{{.State.Pid}}' box)
check "root inside is nobody outside" equal "$(stat -c '%u:%g' "/proc/$pid")" "1000000:2000000"
check "it has a user namespace" [ "$(readlink "/proc/$pid/ns/user")" != "$(readlink /proc/self/ns/user)" ]
check "inside it is root" equal "$(kedge exec box id -u)" 0
check "an init of ours reaps and ends as the program does" status 6 kedge run --rm --init busybox sh -c '(true &); n=0; while ps -o stat | grep -q Z; do n=$((n + 1)); [ $n -lt 100 ] || exit 9; sleep 0.05; done; exit 6'
check "a terminal of an exec" has "$(kedge exec -t box sh -c 'tty; id -u')" "/dev/pts/"
check "files of the image are root's" equal "$(kedge exec box stat -c '%u:%g' /bin/busybox)" "0:0"
check "what it writes has its own ids on disk" equal "$(stat -c '%u:%g' "$data/containers/$(kedge inspect -f '{{.Id}}' box)/upper/mine")" "0:0"
check "volumes are its root's" equal "$(stat -c '%u:%g' "$data/volumes/vol/_data" "$data/volumes/vol/_data/mine" | sort -u)" "1000000:2000000"
check "a published port works" until_ok 10 sh -c 'curl -fsS --max-time 2 http://127.0.0.1:8080/ | grep -q hello'
check "low ports and ping need no privilege" equal "$(kedge exec box cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" 0
check "/etc/hosts is its own to write" status 0 kedge exec box sh -c 'echo "192.0.2.9 x" >>/etc/hosts'
check "its output can be opened again" equal "$(kedge run --rm busybox sh -c 'echo again >/dev/stdout')" again
check "a terminal" has "$(kedge run --rm -t busybox tty)" "/dev/pts/0"
check "another user" equal "$(kedge run --rm -u 1000:1000 busybox sh -c 'id -u; stat -L -c %u /proc/self' | tr '\n' ' ')" "1000 1000 "
check "devices are there" status 0 kedge run --rm busybox sh -c 'head -c 1 /dev/urandom >/dev/null && echo x >/dev/null'
check "the host's files stay the host's" status 1 kedge run --rm -v /etc/shadow:/s busybox cat /s
check "a sysctl of its network" equal "$(kedge run --rm --sysctl net.ipv4.ip_default_ttl=77 busybox cat /proc/sys/net/ipv4/ip_default_ttl)" 77
check "privileged is refused" has "$(kedge run --rm --privileged busybox true 2>&1)" "privileged mode is incompatible with user namespaces"
check "the host's network is refused" has "$(kedge run --rm --network host busybox true 2>&1)" "cannot share the host's network namespace when user namespaces are enabled"
check "--userns host is not remapped" equal "$(kedge run --rm --userns host busybox cat /proc/self/uid_map | awk '{ print $2 }')" 0
check "--userns host may be privileged" status 0 kedge run --rm --userns host --privileged busybox true
check "info says so" has "$(kedge info 2>/dev/null || api http://localhost/info)" "userns"
mkdir -p "$tmp/ctx/data" "$tmp/ctx/bin"
cp "$(command -v busybox)" "$tmp/ctx/bin/busybox"
ln -s busybox "$tmp/ctx/bin/true"
echo x >"$tmp/ctx/data/f"
chown 70:71 "$tmp/ctx/data/f"
tar -C "$tmp/ctx" -cf - . | kedge import - filled >/dev/null
kedge run --rm -v filled:/data filled true
check "a volume is filled with shifted owners" equal "$(stat -c '%u:%g' "$data/volumes/filled/_data/f")" "1000070:2000071"
kedge cp "$tmp/ctx/data" box:/put
check "cp in: owners are those inside" equal "$(kedge exec box stat -c '%u:%g' /put/f /put | tr '\n' ' ')" "70:71 0:0 "
check "cp out: owners are those inside" has "$(kedge cp box:/put - | tar tvn)" "70/71"
check "export: owners are those inside" has "$(kedge export box | tar tvn | grep ' mine$')" "0/0"
kedge stop -t 0 box >/dev/null
kedge cp "$tmp/ctx/data/f" box:/rest
kedge cp "$tmp/ctx/data" box:/v/put
check "cp at rest into a volume: owners on disk are the container's" equal "$(stat -c '%u:%g' "$data/volumes/vol/_data/put/f" "$data/volumes/vol/_data/put" | tr '\n' ' ')" "1000070:2000071 1000000:2000000 "
check "cp at rest out of a volume: owners are those inside" has "$(kedge cp box:/v/put - | tar tvn | grep put/f)" "70/71"
kedge start box >/dev/null
check "cp at rest into a volume: owners inside" equal "$(kedge exec box stat -c '%u:%g' /v/put/f)" "70:71"
check "cp at rest: owners are those inside" equal "$(kedge exec box stat -c '%u:%g' /rest)" "70:71"
engine_kill9
engine_start
check "it outlives the engine" equal "$(kedge exec box id -u)" 0
kedge rm -f box >/dev/null
check "nothing stays mounted" equal "$(grep -c "$tmp/lib" /proc/self/mountinfo || true)" 0
