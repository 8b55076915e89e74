#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# stats: the numbers of a container that burns a CPU, holds memory and has sent packets; of one that does not run.
. "$(dirname "$0")/lib.sh"

engine_start
need_image busybox
# One busy loop; 24 MiB in a shared memory file; a few packets.
kedge run -d --name busy -m 256m --pids-limit 50 busybox sh -c 'dd if=/dev/zero of=/dev/shm/x bs=1M count=24 2>/dev/null; ping -c 3 -i 0.2 192.0.2.1 >/dev/null; echo ready; while :; do :; done' >/dev/null
kedge create --name idle busybox true >/dev/null
until_ok 20 sh -c "'$builddir/kedge' -H unix://$sock logs busy | grep -q ready"

field() { python3 -c "import json,sys; d=json.load(open('$tmp/$1')); print($2)"; }
# All processors' time in ns, as dockerd sums it: user nice system idle iowait irq softirq.
cpu_ns() { awk -v hz="$(getconf CLK_TCK)" '$1 == "cpu" { for (i = 2; i <= 8; i++) n += $i; printf "%.0f\n", n * (1e9 / hz) }' /proc/stat; }
before=$(cpu_ns)
api "http://localhost/containers/busy/stats?stream=false" >"$tmp/s1"
after=$(cpu_ns)
check "CPU: total moves between precpu and cpu" field s1 "1/(d['cpu_stats']['cpu_usage']['total_usage'] > d['precpu_stats']['cpu_usage']['total_usage'] > 0)"
# Held against the clock: the kernel loses ticks of /proc/stat where the machine itself is kept waiting, and counts a process's time without them.
check "CPU: a busy loop takes up to one CPU" python3 -c "
import json
from datetime import datetime
d = json.load(open('$tmp/s1'))
when = lambda t: datetime.fromisoformat(t[:26].rstrip('Z')).timestamp()
used = d['cpu_stats']['cpu_usage']['total_usage'] - d['precpu_stats']['cpu_usage']['total_usage']
wall = when(d['read']) - when(d['preread'])
assert 0.02 < used / 1e9 / wall < 1.2, (used, wall)"
check "CPU: the system's time is /proc/stat's" python3 -c "
import json
d = json.load(open('$tmp/s1'))
a, b = d['precpu_stats']['system_cpu_usage'], d['cpu_stats']['system_cpu_usage']
slack = 5e7	# idle time is an estimate and may go back
assert $before - slack <= a <= b + slack and b <= $after + slack, ($before, a, b, $after)"
check "CPU: processors" equal "$(field s1 "d['cpu_stats']['online_cpus']")" "$(nproc --all)"
check "memory: limit" equal "$(field s1 "d['memory_stats']['limit']")" "268435456"
check "memory: usage holds the file" field s1 "1/(24<<20 <= d['memory_stats']['usage'] < 256<<20)"
check "memory: stats" field s1 "1/(len(d['memory_stats']['stats']) > 10)"
check "pids" equal "$(field s1 "d['pids_stats']['limit']")" "50"
check "pids: current" field s1 "1/(1 <= d['pids_stats']['current'] < 10)"
check "networks: counted" field s1 "1/(d['networks']['eth0']['rx_packets'] >= 3 and d['networks']['eth0']['tx_bytes'] > 200)"
check "name and id" equal "$(field s1 "d['name'], len(d['id'])")" "/busy 64"
check "blkio is a list" field s1 "1/isinstance(d['blkio_stats']['io_service_bytes_recursive'], list)"
api "http://localhost/containers/busy/stats?stream=false&one-shot=true" >"$tmp/s2"
check "one-shot: precpu is empty" equal "$(field s2 "d['precpu_stats']['cpu_usage']['total_usage'], d['preread']")" "0 0001-01-01T00:00:00Z"
api "http://localhost/containers/idle/stats?stream=false" >"$tmp/s3"
check "not running: name and zeros" equal "$(field s3 "d['name'], d['cpu_stats']['cpu_usage']['total_usage']")" "/idle 0"
check "no such container" has "$(api http://localhost/containers/nope/stats?stream=0)" "No such container: nope"
check "stream and one-shot contradict each other" has "$(api 'http://localhost/containers/busy/stats?stream=1&one-shot=1')" "one-shot"
api -N --max-time 4 "http://localhost/containers/busy/stats" >"$tmp/stream" 2>/dev/null || true
check "the stream gives a document a second" python3 -c "
import json
d=[json.loads(l) for l in open('$tmp/stream') if l.endswith('\n')]
assert 2 <= len(d) <= 5, len(d)
assert d[1]['precpu_stats']['cpu_usage'] == d[0]['cpu_stats']['cpu_usage']"

out=$(kedge stats --no-stream)
check "kedge stats: header" has "$out" "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT"
check "kedge stats: row" has "$out" "/ 256MiB"
check "kedge stats: running ones only" sh -c '! echo "$1" | grep -q idle' _ "$out"
check "kedge stats -a" has "$(kedge stats -a --no-stream)" "0B / 0B"
check "kedge stats --format" equal "$(kedge stats --no-stream --format '{{.Name}} {{.Container}}' busy)" "busy busy"
check "kedge stats of nothing there" has "$(kedge stats --no-stream nope 2>&1)" "No such container: nope"
timeout 4 "$builddir/kedge" -H "unix://$sock" stats --format '{{.Name}}' busy >"$tmp/live" 2>&1 || true
check "kedge stats streams" sh -c "[ \$(grep -c busy '$tmp/live') -ge 2 ]"
if command -v docker >/dev/null; then
	check "docker stats" has "$(docker -H "unix://$sock" stats --no-stream busy)" "/ 256MiB"
fi
# The stream ends with the container.
api -N "http://localhost/containers/busy/stats" >"$tmp/stream" &
curl_pid=$!
until_ok 10 test -s "$tmp/stream"
kedge rm -f busy >/dev/null
check "a removed container ends its streams" wait $curl_pid
