#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Health checks: results, events, lists, time limits, start periods, from flags and images, over the engine's death.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
export DOCKER_HOST=unix://$sock DOCKER_CONFIG=$tmp
health() { kedge inspect -f '{{.State.Health.Status}}' "$1"; }
is() { [ "$(kedge inspect -f "$2" "$1" 2>&1)" = "$3" ]; }
ev=$tmp/events
watch_events() {
	kedge events --filter type=container --format '{{.Actor.Attributes.name}} {{.Action}} {{index .Actor.Attributes "exitCode"}}' >>"$ev" 2>/dev/null &
	until_ok 5 kedge events --since 0 --until 1s
}
touch "$ev"
watch_events

for cli in ${KEDGE_TEST_CLIS:-kedge docker}; do
	x() { if [ $cli = kedge ]; then kedge "$@"; else docker "$@"; fi; }
	n=$cli
	x run -d --name $n --health-cmd 'echo looking; test -e /tmp/well' --health-interval 200ms --health-retries 2 --health-timeout 5s busybox sleep 1000 >/dev/null
	check "$cli: starting at first" equal "$(health $n)" starting
	check "$cli: starting in the list" has "$(x ps)" "(health: starting)"
	check "$cli: unhealthy after its retries" until_ok 10 is $n '{{.State.Health.Status}}' unhealthy
	check "$cli: its streak" [ "$(kedge inspect -f '{{.State.Health.FailingStreak}}' $n)" -ge 2 ]
	check "$cli: its log" equal "$(kedge inspect -f '{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}' $n)" "1 looking"
	check "$cli: unhealthy in the list" has "$(x ps)" "(unhealthy)"
	x exec $n touch /tmp/well
	check "$cli: healthy once it is well" until_ok 10 is $n '{{.State.Health.Status}} {{.State.Health.FailingStreak}}' "healthy 0"
	check "$cli: healthy in the list" has "$(x ps)" "(healthy)"
	check "$cli: no more than five results" until_ok 10 is $n '{{len .State.Health.Log}}' 5
	check "$cli: paused, nobody looks" equal "$(x pause $n >/dev/null; a=$(grep -c "^$n exec_die" "$ev"); read -r -t 0.7 _ <> <(:) || true; [ $(($(grep -c "^$n exec_die" "$ev") - a)) -le 1 ] && echo quiet)" quiet
	check "$cli: unpaused, somebody does" until_ok 5 sh -c "a=\$(grep -c '^$n exec_die' $ev); '$builddir/kedge' -H unix://$sock unpause $n 2>/dev/null; sleep 0.5; [ \$(grep -c '^$n exec_die' $ev) -gt \$a ]"
	check "$cli: events" equal "$(grep "^$n health_status" "$ev" | tr -s ' ' | tr '\n' '|')" "$n health_status: unhealthy |$n health_status: healthy |"
	check "$cli: a probe's events are those of an exec" has "$(grep "^$n exec" "$ev" | head -n 3 | tr '\n' '|')" "$n exec_create: /bin/sh -c echo looking; test -e /tmp/well |$n exec_start: /bin/sh -c echo looking; test -e /tmp/well |$n exec_die 1|"
	check "$cli: stopped" equal "$(x stop -t 0 $n >/dev/null; health $n)" unhealthy
	check "$cli: started anew" equal "$(x start $n >/dev/null; health $n)" starting
	x rm -f $n >/dev/null
	check "$cli run --no-healthcheck" equal "$(x run -d --name $n --no-healthcheck busybox sleep 1000 >/dev/null; kedge inspect -f '{{json .State.Health}}' $n)" null
	x rm -f $n >/dev/null
done

# A probe that hangs, says much, does not exist; a start period; an image's check.
kedge run -d --name hangs --health-cmd 'echo before; sleep 1000' --health-interval 200ms --health-timeout 300ms --health-retries 1 busybox sleep 1000 >/dev/null
check "a probe that hangs" until_ok 10 is hangs '{{.State.Health.Status}}' unhealthy
check "a probe that hangs: its result" equal "$(kedge inspect -f '{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}' hangs)" "-1 Health check exceeded timeout (300ms): before"
check "a probe that hangs is killed" until_ok 5 sh -c "[ \$('$builddir/kedge' -H unix://$sock top hangs | grep -c 'sleep 1000') = 1 ]"
kedge run -d --name talks --health-cmd 'head -c 100000 /dev/zero | tr "\\0" x' --health-interval 200ms busybox sleep 1000 >/dev/null
check "a probe that says much" until_ok 10 is talks '{{.State.Health.Status}}' healthy
check "a probe that says much is cut" equal "$(kedge inspect -f '{{len (index .State.Health.Log 0).Output}}' talks)" 4099
api -X POST -H 'Content-Type: application/json' -d '{"Image":"busybox","Cmd":["sleep","1000"],"Healthcheck":{"Test":["CMD","/no/such/probe"],"Interval":200000000,"Retries":1}}' \
	'http://localhost/containers/create?name=absent' >/dev/null
kedge start absent >/dev/null
check "a probe that is not there" until_ok 10 is absent '{{.State.Health.Status}}' unhealthy
check "a probe that is not there: its result" has "$(kedge inspect -f '{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}' absent)" '-1 OCI runtime exec failed: exec failed: unable to start container process: exec: "/no/such/probe"'
kedge run -d --name slow --health-cmd 'test -e /tmp/up' --health-interval 60s --health-start-period 60s --health-start-interval 200ms --health-retries 1 busybox sleep 1000 >/dev/null
check "start period: failures do not count" until_ok 10 is slow '{{len .State.Health.Log}} {{.State.Health.Status}} {{.State.Health.FailingStreak}}' "3 starting 0"
kedge exec slow touch /tmp/up
check "start period: a success does" until_ok 10 is slow '{{.State.Health.Status}}' healthy
check "filter health=healthy" equal "$(kedge ps --filter health=healthy --format '{{.Names}}' | sort | tr '\n' ' ')" "slow talks "
check "filter health=unhealthy" equal "$(kedge ps --filter health=unhealthy --format '{{.Names}}' | sort | tr '\n' ' ')" "absent hangs "
check "an interval below a millisecond" has "$(kedge run --health-cmd true --health-interval 10us busybox true 2>&1)" "Interval in Healthcheck cannot be less than 1ms"
check "retries below nothing" has "$(kedge run --health-cmd true --health-retries=-1 busybox true 2>&1)" "egative"
kedge export slow 2>/dev/null | kedge import --change 'HEALTHCHECK --interval=200ms --retries=1 CMD test -e /etc/passwd' - checked >/dev/null
if [ -n "$(kedge image inspect -f '{{json .Config.Healthcheck}}' checked 2>/dev/null)" ]; then
	kedge run -d --name ofimage checked sleep 1000 >/dev/null
	check "an image's check" until_ok 10 is ofimage '{{.State.Health.Status}}' healthy
	kedge rm -f ofimage >/dev/null
fi

# The engine dies with a probe under way, and with results nobody has written to the store.
kedge rm -f hangs absent slow >/dev/null
kedge run -d --name long --health-cmd 'echo $$ >>/tmp/probes; sleep 1000' --health-interval 200ms --health-timeout 60s busybox sleep 1000 >/dev/null
pid=$(kedge inspect -f '{{.State.Pid}}' long)
check "a long probe begins" until_ok 10 test -s "/proc/$pid/root/tmp/probes"
engine_kill9
engine_start
watch_events
check "after the engine's death: the status" equal "$(health talks)" healthy
check "after the engine's death: the log" [ "$(kedge inspect -f '{{len .State.Health.Log}}' talks)" -ge 1 ]
check "after the engine's death: the probe that nobody watched is ended" until_ok 10 sh -c "! '$builddir/kedge' -H unix://$sock top long | grep -c 'sleep 1000' | grep -q 2 || [ \$(wc -l <'/proc/$pid/root/tmp/probes') -ge 2 ]"
check "after the engine's death: the next one comes" until_ok 10 sh -c "[ \$(wc -l <'/proc/$pid/root/tmp/probes') -ge 2 ]"
check "after the engine's death: one at a time" equal "$(kedge top long | grep -c 'sleep 1000')" 2
engine_kill9
KEDGE_FAULT=engine.health:1:kill engine_start
kedge run -d --name dies --health-cmd true --health-interval 100ms busybox sleep 1000 >/dev/null 2>&1 || true
wait "$engine_pid" 2>/dev/null || true
engine_pid=
engine_start
check "killed as a status changes: it changes" until_ok 10 is dies '{{.State.Health.Status}}' healthy
