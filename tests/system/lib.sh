# SPDX-License-Identifier: Apache-2.0
# For system tests: a host, a client and an engine of one's own.
#
# Sourcing this re-executes the script in a mount and a network namespace of its own: that namespace is "the host". The client is a
# second one, wired by a veth pair: host 192.0.2.1 <-> client 192.0.2.2 (RFC 5737), the client's default route through the host.
# Everything is gone when the script ends. Exit status: 0 passed, 1 failed, 77 skipped with the missing capability named.
# shellcheck shell=bash
set -euo pipefail

skip() { echo "SKIP: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"

if [ -z "${KEDGE_TEST_NS-}" ]; then
	KEDGE_TEST_NS=1 exec unshare --mount --net --propagation private bash "$0" "$@"
fi

builddir=${KEDGE_BUILD:-$(pwd)}
# Docker's own client; where the machine has none, tools/check has unpacked Debian's.
command -v docker >/dev/null || PATH=$PATH:$builddir/docker-client/usr/bin
srcdir_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
images=${KEDGE_IMAGES:-$builddir/images}
for b in kedged kedge kedge-runtime; do
	[ -x "$builddir/$b" ] || { echo "$builddir/$b has not been built"; exit 1; }
done
tmp=$(mktemp -d /tmp/kedge-test.XXXXXX)
id=$(basename "$tmp" | tr -c 'a-zA-Z0-9\n' -)
run=$tmp/run data=$tmp/lib sock=$tmp/run/kedge.sock
engine_pid=
failures=0

ip link set lo up
mount -t tmpfs none /run/netns 2>/dev/null || { mkdir -p /run/netns && mount -t tmpfs none /run/netns; }
mount -t bpf none /sys/fs/bpf 2>/dev/null || true
ip netns add client
ip link add up0 type veth peer name eth0 netns client
ip addr add 192.0.2.1/24 dev up0
ip link set up0 up
nsenter --net=/run/netns/client sh -c 'ip link set lo up; ip addr add 192.0.2.2/24 dev eth0; ip link set eth0 up; ip route add default via 192.0.2.1'

client() { nsenter --net=/run/netns/client "$@"; }
kedge() { "$builddir/kedge" -H "unix://$sock" "$@"; }
api() { curl -sS --unix-socket "$sock" "$@"; }

# Docker's command, recent enough that its own words are the ones to compare with? KEDGE_TEST_CLIS=kedge leaves docker's client out, where it is slow.
docker_recent() { [ "${KEDGE_TEST_CLIS-}" != kedge ] && command -v docker >/dev/null && [ "$(docker --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -ge 28 ]; }

# until_ok SECONDS COMMAND...: waits for a state, looking ten times a second.
until_ok() {
	local n=$(($1 * 10))
	shift
	while ! "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ $n -gt 0 ] || { echo "gave up waiting for: $*"; return 1; }
		read -r -t 0.1 _ <> <(:) || true
	done
}

engine_start() {
	mkdir -p "$run" "$data"
	"$builddir/kedged" --data-root "$data" --exec-root "$run" --instance "$id" --cgroup-parent "$id" --config-file "$tmp/daemon.json" --debug-for api,http "$@" \
		>>"$tmp/kedged.log" 2>&1 </dev/null &
	engine_pid=$!
	until_ok 20 api -f http://localhost/_ping || { cat "$tmp/kedged.log"; exit 1; }
}
echo '{}' >"$tmp/daemon.json"

engine_stop() {
	[ -n "$engine_pid" ] || return 0
	kill "$engine_pid" 2>/dev/null || true
	local rc=0
	wait "$engine_pid" || rc=$?
	engine_pid=
	return $rc
}

engine_kill9() {
	kill -9 "$engine_pid"
	wait "$engine_pid" 2>/dev/null || true
	engine_pid=
}

# check NAME COMMAND...: one assertion; goes on after a failure.
check() {
	local name=$1
	shift
	if "$@" >"$tmp/check.out" 2>&1; then
		echo "ok - $name"
	else
		echo "not ok - $name"
		sed 's/^/    /' "$tmp/check.out" | head -n 20
		failures=$((failures + 1))
	fi
}
# equal GOT WANT / has TEXT PART: for check.
equal() { [ "$1" = "$2" ] || { printf 'got:  %s\nwant: %s\n' "$1" "$2"; return 1; }; }
has() { case $1 in *"$2"*) ;; *) printf 'no "%s" in: %s\n' "$2" "$1"; return 1 ;; esac; }
# status CODE COMMAND...: the command ends with that exit status.
status() {
	local want=$1 got=0
	shift
	"$@" || got=$?
	[ "$got" = "$want" ] || { echo "exit status $got, not $want"; return 1; }
}

need_image() {
	[ -s "$images/$1.tar" ] || { echo "$images/$1.tar is missing: tools/mkimages $images $1 makes it"; exit 1; }
	kedge load -q -i "$images/$1.tar" >/dev/null
}

# The end, however it came. A test that has more to end defines a function cleanup for it: a trap of its own would lose the status.
finish() {
	local rc=$?
	trap - EXIT
	[ "$(type -t cleanup)" != function ] || cleanup || true
	if [ -n "$engine_pid" ]; then
		kedge rm -f $(kedge ps -aq 2>/dev/null) >/dev/null 2>&1 || true
		engine_stop || { echo "not ok - the engine ended with status $?"; failures=$((failures + 1)); }
	fi
	if grep -E 'ERROR: (Address|Leak|Undefined)Sanitizer|runtime error:' "$tmp/kedged.log" 2>/dev/null; then
		echo "not ok - sanitizers found something:"
		failures=$((failures + 1))
	fi
	if [ "$failures" != 0 ] || { [ $rc != 0 ] && [ $rc != 77 ]; }; then
		echo "--- engine's log"
		tail -n 60 "$tmp/kedged.log" 2>/dev/null || true
	fi
	# What this test asked of the API, for tools/api-table.
	mkdir -p "$builddir/tests/api"
	{
		sed -n 's/^[^ ]* debug \(api\|http\): \(create sets .*\|[A-Z]* [^ ]* [0-9]*\)$/\2/p' "$tmp/kedged.log" 2>/dev/null || true
		cat "$tmp/proofs" 2>/dev/null || true
	} | sort -u >"$builddir/tests/api/$(basename "$0" .sh)" || true
	find /sys/fs/cgroup -maxdepth 2 -type d -name "$id" -exec rmdir {} + 2>/dev/null || true
	[ -n "${KEDGE_KEEP-}" ] || rm -rf --one-file-system "$tmp"
	[ $rc = 0 ] && [ "$failures" != 0 ] && rc=1
	exit $rc
}
trap finish EXIT
