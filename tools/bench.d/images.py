# SPDX-License-Identifier: Apache-2.0
"""Images: how fast they come from a registry and out of an archive, and what that costs."""
import atexit
import hashlib
import io
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

from engines import Api, bench, quiet, sh, until

LAYERS, LAYER_MB = 10, int(os.environ.get("KEDGE_BENCH_LAYER_MB", "50"))
registry_tmp = None


def registry():
    """docker-registry on loopback with an image of 10 layers (half noise, half text), and the same image as an archive; made once."""
    global registry_tmp
    if registry_tmp:
        return registry_tmp
    if not shutil.which("docker-registry") or not shutil.which("skopeo"):
        raise RuntimeError("docker-registry or skopeo is not installed")
    registry_tmp = tempfile.mkdtemp(prefix="kedge-bench-registry.")
    r, diffs, rnd = registry_tmp, [], random.Random(1)
    words = [bytes(rnd.choices(b"abcdefghijklmnopqrstuvwxyz", k=8)) + b" " for _ in range(4096)]
    with tarfile.open(f"{r}/image.tar", "w") as out:
        def add(name, data):
            i = tarfile.TarInfo(name)
            i.size = len(data)
            out.addfile(i, io.BytesIO(data))
        for n in range(LAYERS):
            o = io.BytesIO()
            with tarfile.open(fileobj=o, mode="w") as t:
                for k in range(LAYER_MB):
                    i = tarfile.TarInfo(f"layer{n}/file{k}")
                    i.size = 1 << 20
                    t.addfile(i, io.BytesIO((rnd.randbytes(512 << 10) + b"".join(rnd.choices(words, k=(512 << 10) // 9 + 1)))[:1 << 20]))
            diffs.append("sha256:" + hashlib.sha256(o.getvalue()).hexdigest())
            add(f"{n}/layer.tar", o.getvalue())
        cfg = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}}).encode()
        add("config.json", cfg)
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["127.0.0.1:5000/bench:1"],
                                          "Layers": [f"{n}/layer.tar" for n in range(LAYERS)]}]).encode())
    with open(f"{r}/config.yml", "w") as f:
        f.write(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {r}/data}}}}\n"
                "http: {addr: '127.0.0.1:5000'}\n")
    with open(f"{r}/policy.json", "w") as f:
        f.write('{"default":[{"type":"insecureAcceptAnything"}]}')
    log = open(f"{r}/log", "ab")
    registry.proc = subprocess.Popen(["docker-registry", "serve", f"{r}/config.yml"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    until(10, "docker-registry", lambda: quiet(lambda: socket.create_connection(("127.0.0.1", 5000), 1)))
    sh("skopeo", "--policy", f"{r}/policy.json", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{r}/image.tar", "docker://127.0.0.1:5000/bench:1")
    return r


@atexit.register
def registry_stop():
    if registry_tmp:
        if getattr(registry, "proc", None):
            registry.proc.terminate()
            registry.proc.wait()
        shutil.rmtree(registry_tmp, ignore_errors=True)


def drop(e):
    subprocess.run(e.cli + ["rmi", "-f", "127.0.0.1:5000/bench:1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.sync()


def pull_plain():
    """The work itself, for comparison: curl | gzip -d | tar x of all layers, three at a time. Seconds."""
    r = registry()
    m = json.loads(sh("curl", "-fsS", "-H", "Accept: application/vnd.docker.distribution.manifest.v2+json", "http://127.0.0.1:5000/v2/bench/manifests/1"))
    with open(f"{r}/digests", "w") as f:
        f.write("".join(d["digest"] + "\n" for d in m["layers"]))
    t = time.perf_counter()
    sh("sh", "-c", f"xargs -P3 -I@ sh -c 'mkdir -p {r}/x/@; curl -fsS http://127.0.0.1:5000/v2/bench/blobs/@ | gzip -d | tar -x -C {r}/x/@' <{r}/digests; sync")
    t = time.perf_counter() - t
    shutil.rmtree(f"{r}/x")
    return t


@bench("pull", f"pull of {LAYERS * LAYER_MB} MB in {LAYERS} layers from a loopback registry", "s", "0.67x")
def pull(e, n):
    registry()
    out = []
    for _ in range(3):
        drop(e)
        t = time.perf_counter()
        e.run("pull", "-q", "127.0.0.1:5000/bench:1")
        out.append(time.perf_counter() - t)
    if e.name == "kedge":
        print(f"# pull: curl | gzip -d | tar x, three at a time: {pull_plain():.2f} s", file=sys.stderr)
    drop(e)
    return statistics.median(out)


@bench("load", "load of the same archive", "s", "0.67x")
def load(e, n):
    r, out = registry(), []
    for _ in range(3):
        drop(e)
        t = time.perf_counter()
        e.run("load", "-q", "-i", f"{r}/image.tar")
        out.append(time.perf_counter() - t)
    drop(e)
    return statistics.median(out)


@bench("pullmem", "memory of a pull, over idle", "MB", 40)
def pull_memory(e, n):
    """Peak of the engine's resident memory while it pulls, over what it was before, in MB."""
    registry()
    drop(e)
    before, peak = e.rss(), 0
    p = subprocess.Popen(e.cli + ["pull", "-q", "127.0.0.1:5000/bench:1"], stdout=subprocess.DEVNULL)
    while p.poll() is None:
        peak = max(peak, e.rss())
        time.sleep(0.01)
    drop(e)
    return (peak - before) / 1024


@bench("pullapi", "API latency while pulling, p99", "ms", 20)
def pull_latency(e, n):
    """p99 of GET /_ping while a pull is under way, in ms."""
    registry()
    drop(e)
    p = subprocess.Popen(e.cli + ["pull", "-q", "127.0.0.1:5000/bench:1"], stdout=subprocess.DEVNULL)
    api, out = Api(e.sock), []
    while p.poll() is None:
        t = time.perf_counter()
        api.call("GET", "/_ping")
        out.append((time.perf_counter() - t) * 1e3)
        time.sleep(0.002)
    drop(e)
    return sorted(out)[int(len(out) * 0.99)]
