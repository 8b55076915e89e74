# SPDX-License-Identifier: Apache-2.0
"""Networks and published ports over the API. What packets cost is in paths.py."""
import statistics
import time

from engines import Api, bench, field, steady


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
    before = steady(lambda: pss(e))
    second = make(bindings)
    try:
        assert len(api.call("GET", f"/v1.41/containers/{second}/json")["NetworkSettings"]["Ports"]) == 10000
        assert len(api.call("GET", "/v1.41/containers/json")[0]["Ports"]) == 20000
        return (steady(lambda: pss(e)) - before) / 1024
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
