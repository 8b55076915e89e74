#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Random connects, disconnects, starts, stops, kills, creations, removals and prunes from three clients at once, over kills of the engine too, on each data
# path: links, addresses, routes, namespaces, listeners, maps and tables are what the engine says and nothing else. CHURN_OPS, CHURN_KILLS,
# CHURN_DATAPATH and CHURN_SEED make it a longer one, or the same again.
. "$(dirname "$0")/lib.sh"

ops=${CHURN_OPS:-240} kills=${CHURN_KILLS:-1}

# Before the last client has gone: a run that fails early makes no more marks.
marked() { [ -e "$tmp/mark.$1" ] || ! kill -0 "$churn" 2>/dev/null; }

churn_on() {
	local path=$1 k n
	engine_start --datapath "$path"
	need_image busybox
	rm -f "$tmp"/mark.*
	python3 "$srcdir_top/tests/system/networks_churn.py" "$sock" "$run/netns" "$id" "$ops" "$kills" "$tmp/mark" >"$tmp/churn.out" 2>&1 </dev/null &
	churn=$!
	for ((k = 1; k <= kills; k++)); do
		until_ok 1200 marked $k
		engine_kill9
		engine_start --datapath "$path"
	done
	check "$path: random operations" wait "$churn"
	cat "$tmp/churn.out"
	kedge rm -f $(kedge ps -aq) >/dev/null
	for n in $(kedge network ls -qf type=custom); do kedge network rm "$n" >/dev/null; done
	check "$path: nothing is left: veths" until_ok 5 sh -c '! ip -br link | grep -q ^kv'
	check "$path: nothing is left: bridges" until_ok 5 sh -c '[ "$(ip -br link show type bridge | wc -l)" = 1 ]'
	check "$path: nothing is left: namespaces" equal "$(ls "$run/netns" | wc -l)" 0
	check "$path: nothing is left: ports" equal "$(ss -Hltn | grep -vc ':53 ' || true)" 0
	check "$path: the engine stops" engine_stop
}

paths="auto proxy"
command -v nft >/dev/null && paths="auto nft proxy"
for p in ${CHURN_DATAPATH:-$paths}; do
	churn_on "$p"
done
