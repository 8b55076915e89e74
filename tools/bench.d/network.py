# SPDX-License-Identifier: Apache-2.0
"""The network, as CPU time of the whole machine per operation over the same server on the host's network."""
import json
import shutil
import statistics
import subprocess
import time

from engines import IMAGES, Api, bench, busy_us, client, field, sh, until

HOST, CONT = 80, 8080


def wrk(where, url, seconds, close):
    cmd = ["wrk", "-t1", "-c16", f"-d{seconds}s"] + (["-H", "Connection: close"] if close else []) + [url]
    before = busy_us()
    out = client(*cmd) if where == "client" else sh(*cmd)
    busy = busy_us() - before
    return busy / int(next(line.split()[0] for line in out.splitlines() if "requests in" in line))


def pair(e, where, address, close):
    if not shutil.which("wrk"):
        raise RuntimeError("wrk is not installed")
    host = e.run("run", "-d", "--network", "host", "nginx:alpine-like")
    cont = e.run("run", "-d", "-p", f"{CONT}:80", "nginx:alpine-like")
    try:
        for port in (HOST, CONT):
            until(10, f"nginx on port {port}", lambda: subprocess.run(["nsenter", "--net=/run/netns/client", "curl", "-fsS", "-o", "/dev/null",
                  "--max-time", "1", f"http://192.0.2.1:{port}/"], stderr=subprocess.DEVNULL).returncode == 0)
        a, b = [], []
        for _ in range(3):
            a.append(wrk(where, f"http://{address}:{HOST}/", 3, close))
            b.append(wrk(where, f"http://{address}:{CONT}/", 3, close))
    finally:
        e.run("rm", "-f", host, cont)
    return statistics.median(b) / statistics.median(a)


@bench("publish", "published port, keep-alive request, remote client: CPU / host's", "x", 1.15)
def keepalive(e, n):
    return pair(e, "client", "192.0.2.1", False)


@bench("connect", "published port, new connection, remote client: CPU / host's", "x", 1.08)
def connect(e, n):
    return pair(e, "client", "192.0.2.1", True)


@bench("local", "the same from 127.0.0.1, keep-alive", "x", 1.08)
def local(e, n):
    return pair(e, "host", "127.0.0.1", False)


@bench("localconnect", "the same from 127.0.0.1, new connection", "x", 1.10)
def local_connect(e, n):
    return pair(e, "host", "127.0.0.1", True)


def iperf(port, udp):
    cmd = ["iperf3", "-c", "192.0.2.1", "-p", str(port), "-t", "3", "-J"] + (["-u", "-b", "0", "-l", "64"] if udp else [])
    before = busy_us()
    r = json.loads(client(*cmd))["end"]
    busy = busy_us() - before
    if udp:
        return busy / (r["sum"]["packets"] - r["sum"]["lost_packets"])
    return busy / (r["sum_received"]["bytes"] / 1e6)


def iperf_pair(e, udp):
    if not shutil.which("iperf3"):
        raise RuntimeError("iperf3 is not installed")
    e.run("load", "-q", "-i", f"{IMAGES}/iperf3.tar")
    host = e.run("run", "-d", "--network", "host", "iperf3", "-s", "-p", "5300")
    cont = e.run("run", "-d", "-p", "5301:5201", "-p", "5301:5201/udp", "iperf3")
    try:
        until(10, "iperf3", lambda: all(subprocess.run(["nsenter", "--net=/run/netns/client", "iperf3", "-c", "192.0.2.1", "-p", q, "-n", "1K"],
              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0 for q in ("5300", "5301")))
        a, b = [], []
        for _ in range(3):
            a.append(iperf(5300, udp))
            b.append(iperf(5301, udp))
    finally:
        e.run("rm", "-f", host, cont)
    return statistics.median(b) / statistics.median(a)


@bench("bulk", "published port, TCP bulk, remote client: CPU per MB / host's", "x", 1.03)
def bulk(e, n):
    return iperf_pair(e, False)


@bench("udp", "published port, 64-byte datagram, remote client: CPU / host's", "x", 1.12)
def udp(e, n):
    return iperf_pair(e, True)


@bench("netcreate", "network create over the API, p50", "ms", 5)
def net_create(e, n):
    api, out, gone = Api(e.sock), [], []
    # All made, then all removed: the kernel takes 30 ms to let go of a bridge, which whoever comes next would wait for.
    ids = []
    for i in range(12):
        t = time.perf_counter()
        ids.append(api.call("POST", "/v1.41/networks/create", {"Name": f"bench{i}"})["Id"])
        out.append((time.perf_counter() - t) * 1e3)
    for nid in ids:
        t = time.perf_counter()
        api.call("DELETE", f"/v1.41/networks/{nid}")
        gone.append((time.perf_counter() - t) * 1e3)
    e.net_rm = statistics.median(gone)
    return statistics.median(out)


@bench("netrm", "network rm over the API, p50", "ms", 5)
def net_rm(e, n):
    if not getattr(e, "net_rm", None):
        net_create(e, n)
    return e.net_rm


def start_with(e, ports):
    api, out = Api(e.sock), []
    for _ in range(5):
        bindings = {f"{30000 + i}/tcp": [{"HostPort": str(20000 + i)}] for i in range(ports)}
        cid = api.call("POST", "/v1.41/containers/create", {"Image": "busybox", "Cmd": ["sleep", "100"], "ExposedPorts": {k: {} for k in bindings},
                       "HostConfig": {"PortBindings": bindings}})["Id"]
        t = time.perf_counter()
        api.call("POST", f"/v1.41/containers/{cid}/start")
        out.append((time.perf_counter() - t) * 1e3)
        api.call("DELETE", f"/v1.41/containers/{cid}?force=1")
    return statistics.median(out)


@bench("ports1000", "start with 1,000 published ports, over one without", "ms", 20, peers=())
def ports_1000(e, n):
    return start_with(e, 1000) - start_with(e, 0)


@bench("ports10000", "start with 10,000 published ports, over one without", "ms", 100, peers=())
def ports_10000(e, n):
    return start_with(e, 10000) - start_with(e, 0)


def pss(e):
    return sum(field(p, "smaps_rollup", "Pss") for p in e.pids())


@bench("ports10000mem", "engine with 10,000 published ports: PSS over without", "MB", 4, peers=())
def ports_10000_memory(e, n):
    api = Api(e.sock)
    bindings = {f"{30000 + i}/tcp": [{"HostPort": str(20000 + i)}] for i in range(10000)}

    def make(ports):
        cid = api.call("POST", "/v1.41/containers/create", {"Image": "busybox", "Cmd": ["sleep", "100"], "ExposedPorts": {k: {} for k in ports},
                       "HostConfig": {"PortBindings": ports}})["Id"]
        api.call("POST", f"/v1.41/containers/{cid}/start")
        return cid

    # Both sides with a container and with everything looked at, so that only the ports differ. What a large request took is given back a moment later.
    first = make({})
    api.call("GET", "/v1.41/containers/json", raw=True)
    time.sleep(3)
    before = pss(e)
    second = make(bindings)
    try:
        assert len(api.call("GET", f"/v1.41/containers/{second}/json")["NetworkSettings"]["Ports"]) == 10000
        assert len(api.call("GET", "/v1.41/containers/json")[0]["Ports"]) == 20000
        time.sleep(3)
        return (pss(e) - before) / 1024
    finally:
        e.run("rm", "-f", first, second)


@bench("ports10000ps", "inspect and list with 10,000 published ports, p50", "ms", "-", peers=())
def ports_10000_looks(e, n):
    api, out = Api(e.sock), []
    bindings = {f"{30000 + i}/tcp": [{"HostPort": str(20000 + i)}] for i in range(10000)}
    cid = api.call("POST", "/v1.41/containers/create", {"Image": "busybox", "Cmd": ["sleep", "100"], "HostConfig": {"PortBindings": bindings}})["Id"]
    api.call("POST", f"/v1.41/containers/{cid}/start")
    for _ in range(9):
        t = time.perf_counter()
        api.call("GET", f"/v1.41/containers/{cid}/json", raw=True)
        api.call("GET", "/v1.41/containers/json", raw=True)
        out.append((time.perf_counter() - t) * 1e3)
    api.call("DELETE", f"/v1.41/containers/{cid}?force=1")
    return statistics.median(out)
