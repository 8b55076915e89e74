# SPDX-License-Identifier: Apache-2.0
"""Containers: how fast they come and go, what they and the engine cost."""
import os
import statistics
import threading
import time

from engines import Api, bench, field, p, sh, steady, tree_pss


def create(api, **body):
    return api.call("POST", "/v1.41/containers/create", {"Image": "busybox", **body})["Id"]


@bench("api", "API create+start+wait+delete of `true`, bridge, p50", "ms", 10)
def api_cycle(e, n):
    api, out = Api(e.sock), []
    for _ in range(n):
        t = time.perf_counter()
        cid = create(api, Cmd=["true"])
        api.call("POST", f"/v1.41/containers/{cid}/start")
        api.call("POST", f"/v1.41/containers/{cid}/wait")
        api.call("DELETE", f"/v1.41/containers/{cid}")
        out.append((time.perf_counter() - t) * 1e3)
    return statistics.median(out)


@bench("run", "`run --rm busybox true`, whole process, p50", "ms", 15, peers=("dockerd", "podman", "crun"))
def cli_run(e, n):
    out = []
    for _ in range(n):
        t = time.perf_counter()
        e.run("run", "--rm", "busybox", "true")
        out.append((time.perf_counter() - t) * 1e3)
    return statistics.median(out)


@bench("exec", "exec of `true` over the API, p50", "ms", 5)
def exec_true(e, n):
    api, out = Api(e.sock), []
    cid = create(api, Cmd=["sleep", "1000"])
    api.call("POST", f"/v1.41/containers/{cid}/start")
    for _ in range(n):
        t = time.perf_counter()
        x = api.call("POST", f"/v1.41/containers/{cid}/exec", {"Cmd": ["true"], "AttachStdout": True})["Id"]
        one = Api(e.sock)
        body = b'{"Detach": false, "Tty": false}'
        one.sock.sendall(f"POST /v1.41/exec/{x}/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        while one.sock.recv(65536):
            pass
        assert api.call("GET", f"/v1.41/exec/{x}/json")["ExitCode"] == 0
        out.append((time.perf_counter() - t) * 1e3)
    api.call("DELETE", f"/v1.41/containers/{cid}?force=1")
    return statistics.median(out)


def many(e, count, clients, step):
    """step(api, i) for each i, spread over parallel clients; seconds."""
    todo, lock, failed = list(range(count)), threading.Lock(), []

    def work():
        api = Api(e.sock)
        while True:
            with lock:
                if not todo:
                    return
                i = todo.pop()
            try:
                step(api, i)
            except Exception as x:  # told at the end
                failed.append(x)

    t = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    if failed:
        raise RuntimeError(failed[0])
    return time.perf_counter() - t


def fleet(e, count, **body):
    ids = [None] * count
    api = Api(e.sock)
    for i in range(count):
        ids[i] = create(api, **body)
    return ids


def sweep(e, ids):
    many(e, len(ids), 8, lambda api, i: api.call("DELETE", f"/v1.41/containers/{ids[i]}?force=1"))


@bench("burst", "100 containers started by 16 parallel clients", "/s", ">= 100")
def burst(e, n):
    ids = fleet(e, 100, Cmd=["sleep", "1000"])
    took = many(e, 100, 16, lambda api, i: api.call("POST", f"/v1.41/containers/{ids[i]}/start"))
    e.hundred = ids
    e.hundred_kb = [field(pid, "status", "VmRSS") for pid in e.pids()]
    sweep(e, ids)
    return 100 / took


@bench("engine100", "engine's memory with 100 running containers, RSS", "MB", 15)
def engine_100(e, n):
    if not getattr(e, "hundred_kb", None):
        burst(e, n)
    return sum(e.hundred_kb) / 1024


@bench("idle", "idle engine, RSS", "MB", 12)
def idle_rss(e, n):
    return e.rss() / 1024


@bench("container", "each idle container with a published port, PSS", "MB", 0.35)
def per_container(e, n):
    """PSS growth of engine and helper processes for each container, in MB."""
    count, names = 20, []
    helper = lambda cmd: ("kedge-runtime" in cmd or "containerd-shim" in cmd or "docker-proxy" in cmd)
    before = steady(lambda: tree_pss(e.pids(), helper))
    for i in range(count):
        names.append(e.run("run", "-d", "-p", f"{20000 + i}:80", "busybox", "sleep", "1000"))
    after = steady(lambda: tree_pss(e.pids(), helper))
    e.run("rm", "-f", *names)
    return (after - before) / count / 1024


@bench("list", "list of 500 containers over the API, p99", "ms", 10)
def list_500(e, n):
    ids = fleet(e, 500, Cmd=["true"])
    api, out = Api(e.sock), []
    for _ in range(100):
        t = time.perf_counter()
        assert len(api.call("GET", "/v1.41/containers/json?all=1", raw=True)) > 100000
        out.append((time.perf_counter() - t) * 1e3)
    sweep(e, ids)
    return p(out, 99)


@bench("crash", "200 crash-looping containers: API ping p99 meanwhile", "ms", 50)
def crash_loop(e, n):
    ids = fleet(e, 200, Cmd=["false"], HostConfig={"RestartPolicy": {"Name": "always"}})
    many(e, 200, 8, lambda api, i: api.call("POST", f"/v1.41/containers/{ids[i]}/start"))
    api, out, end = Api(e.sock), [], time.monotonic() + 10
    while time.monotonic() < end:
        t = time.perf_counter()
        api.call("GET", "/_ping")
        out.append((time.perf_counter() - t) * 1e3)
        time.sleep(0.01)
    sweep(e, ids)
    return p(out, 99)


@bench("logs", "a container's output through the monitor to json-file", "MB/s", ">= 500")
def log_throughput(e, n):
    path, size = f"{e.tmp}/lines", 300 << 20
    line = b"2026-01-01T00:00:00 the quick brown fox jumps over the lazy dog and writes a line of one hundred bytes.\n"
    with open(path, "wb") as f:
        f.write(line * (size // len(line)))
    size = os.path.getsize(path)
    api = Api(e.sock)
    cid = create(api, Cmd=["cat", "/lines"], HostConfig={"Binds": [f"{path}:/lines:ro"], "LogConfig": {"Type": "json-file", "Config": {"max-size": "4g"}}})
    t = time.perf_counter()
    api.call("POST", f"/v1.41/containers/{cid}/start")
    api.call("POST", f"/v1.41/containers/{cid}/wait")
    took = time.perf_counter() - t
    log = api.call("GET", f"/v1.41/containers/{cid}/json")["LogPath"]
    got = int(sh("sh", "-c", f"wc -l <'{log}'"))
    api.call("DELETE", f"/v1.41/containers/{cid}")
    os.unlink(path)
    if got != size // len(line):
        raise RuntimeError(f"{size // len(line) - got} lines were lost")
    return size / took / 1e6
