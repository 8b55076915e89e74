#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the engine at every commit point of network create, rm, connect and disconnect: it starts again by itself, what was acknowledged is
# there, what the kernel has is what the engine says.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
engine_stop
dead() { ! kill -0 "$engine_pid" 2>/dev/null; }
point() {
	local name=$1
	shift
	KEDGE_FAULT=$name:1:kill engine_start
	"$@" >"$tmp/op.out" 2>&1 || true
	until_ok 5 dead || { echo "not ok - $name was not passed by: $*"; failures=$((failures + 1)); kill -9 "$engine_pid"; }
	wait "$engine_pid" 2>/dev/null || true
	engine_pid=
	engine_start
}
bridges() { ip -br link show type bridge | grep -c '^br-' || true; }
custom() { kedge network ls -qf type=custom | wc -l; }
consistent() { [ "$(bridges)" = "$(custom)" ] && [ "$(ip -br link | grep -c '^kv')" = "$(kedge inspect -f '{{len .NetworkSettings.Networks}}' box)" ]; }

engine_start
kedge run -d --name box busybox sleep 1000 >/dev/null
engine_stop
for at in net.network.make net.network.made; do
	point $at kedge network create lab
	check "create, killed at $at: there as a whole or not at all" until_ok 5 consistent
	check "create, killed at $at: it can be made, or was" sh -c "'$builddir/kedge' -H unix://$sock network create lab || [ \$('$builddir/kedge' -H unix://$sock network ls -qf name=lab | wc -l) = 1 ]"
	kedge network rm lab >/dev/null
	engine_stop
done
for at in net.network.remove net.network.removed; do
	engine_start
	kedge network create lab >/dev/null
	engine_stop
	point $at kedge network rm lab
	check "rm, killed at $at: there as a whole or not at all" until_ok 5 consistent
	kedge network rm lab >/dev/null 2>&1 || true
	engine_stop
done
engine_start
kedge network create lab >/dev/null
engine_stop
for at in engine.connect engine.connected; do
	point $at kedge network connect lab box
	check "connect, killed at $at: the interface is there when the engine says so" until_ok 5 consistent
	check "connect, killed at $at: can be connected, or is" sh -c "'$builddir/kedge' -H unix://$sock network connect lab box || '$builddir/kedge' -H unix://$sock exec box ip link show eth1"
	kedge network disconnect lab box
	engine_stop
done
for at in engine.disconnect engine.disconnected; do
	engine_start
	kedge network connect lab box
	engine_stop
	point $at kedge network disconnect lab box
	check "disconnect, killed at $at: the interface is there when the engine says so" until_ok 5 consistent
	kedge network disconnect lab box >/dev/null 2>&1 || true
	check "disconnect, killed at $at: it can be disconnected, or is" equal "$(kedge inspect -f '{{len .NetworkSettings.Networks}}' box)" 1
	engine_stop
done
engine_start
check "in the end the box has its first network" has "$(kedge exec box ip addr)" "172.17.0."
