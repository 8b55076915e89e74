#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Random connects, disconnects, starts, stops, kills, creations and removals from three clients at once, over a kill of the engine too: the kernel
# has what the engine says and nothing else.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
check "random operations" python3 "$srcdir_top/tests/system/networks_churn.py" "$sock" "$run/netns" "${CHURN_OPS:-60}"
cat "$tmp/check.out"
kedge rm -f $(kedge ps -aq) >/dev/null
for n in $(kedge network ls -qf type=custom); do kedge network rm "$n" >/dev/null; done
check "nothing is left: veths" until_ok 5 sh -c '! ip -br link | grep -q ^kv'
check "nothing is left: bridges" until_ok 5 sh -c '[ "$(ip -br link show type bridge | wc -l)" = 1 ]'
check "nothing is left: namespaces" equal "$(ls "$run/netns" | wc -l)" 0
check "nothing is left: ports" equal "$(ss -Hltn | grep -vc ':53 ' || true)" 0
