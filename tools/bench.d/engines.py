# SPDX-License-Identifier: Apache-2.0
"""The engines under measurement, and what all measurements need."""
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("KEDGE_BUILD", os.path.join(TOP, "build"))
IMAGES = os.environ.get("KEDGE_IMAGES", f"{BUILD}/images")
BENCHES = {}


def bench(name, title, unit, bar, peers=("dockerd",)):
    """Registers a measurement: function(engine, n) -> number. bar: the project's own target, a number, or "-"."""
    def put(f):
        BENCHES[name] = (title, unit, bar, f, peers)
        return f
    return put


def sh(*cmd, **kw):
    return subprocess.run(cmd, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw).stdout


def until(seconds, what, test):
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            sys.exit(f"bench: gave up waiting for {what}")
        time.sleep(0.02)


def quiet(test):
    try:
        return test()
    except Exception:
        return False


class Api:
    """One keep-alive connection to an engine's socket."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.buf = b""

    def fill(self):
        got = self.sock.recv(65536)
        if not got:
            raise EOFError("the engine closed the connection")
        self.buf += got

    def line(self):
        while b"\r\n" not in self.buf:
            self.fill()
        one, self.buf = self.buf.split(b"\r\n", 1)
        return one

    def take(self, n):
        while len(self.buf) < n:
            self.fill()
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def call(self, method, path, body=None, raw=False):
        data = json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: d\r\nContent-Length: {len(data)}\r\n"
        if data:
            head += "Content-Type: application/json\r\n"
        self.sock.sendall(head.encode() + b"\r\n" + data)
        status = int(self.line().split()[1])
        length, chunked = 0, False
        while h := self.line():
            k, v = h.decode().split(":", 1)
            if k.lower() == "content-length":
                length = int(v)
            if k.lower() == "transfer-encoding":
                chunked = True
        out = b""
        if chunked:
            while n := int(self.line(), 16):
                out += self.take(n)
                self.line()
            self.line()
        elif status not in (204, 304):
            out = self.take(length)
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {out.decode()}")
        if raw:
            return out
        return json.loads(out) if out.strip().startswith((b"{", b"[")) and b"\n{" not in out.strip() else out


class Engine:
    """One engine with roots and a socket of its own."""

    name = cli = sock = None

    def __init__(self, tmp):
        self.tmp, self.procs = tmp, []

    def spawn(self, *cmd):
        log = open(f"{self.tmp}/{self.name}.log", "ab")
        p = subprocess.Popen(cmd, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.procs.append(p)
        return p

    def ready(self):
        until(30, f"{self.name} (see {self.tmp}/{self.name}.log)", lambda: quiet(lambda: Api(self.sock).call("GET", "/_ping") is not None))

    def run(self, *args):
        return sh(*self.cli, *args).strip()

    def rss(self):
        """kB resident of the engine's processes, children that serve it included."""
        return sum(field(p, "status", "VmRSS") for p in self.pids())

    def pids(self):
        return [p.pid for p in self.procs]

    def stop(self):
        for p in reversed(self.procs):
            p.send_signal(signal.SIGTERM)
        for p in reversed(self.procs):
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()


class Kedge(Engine):
    name = "kedge"

    def __init__(self, tmp, instance="bench", where=(), more=()):
        """where: a command before the engine's, which leads to another namespace; more: options."""
        super().__init__(tmp)
        self.sock = f"{tmp}/run/kedge.sock"
        self.cli = [f"{BUILD}/kedge", "-H", f"unix://{self.sock}"]
        os.makedirs(f"{tmp}/run")
        sh("mount", "-t", "tmpfs", "none", f"{tmp}/run")  # as /run is
        with open(f"{tmp}/daemon.json", "w") as f:
            f.write("{}")
        self.spawn(*where, f"{BUILD}/kedged", "--data-root", f"{tmp}/lib", "--exec-root", f"{tmp}/run", "--config-file", f"{tmp}/daemon.json",
                   "--instance", instance, "--cgroup-parent", f"kedge-{instance}", *more)
        self.ready()


class Dockerd(Engine):
    name = "dockerd"

    def __init__(self, tmp, where=()):
        super().__init__(tmp)
        self.sock = f"{tmp}/d/docker.sock"
        self.cli = [shutil.which("docker"), "-H", f"unix://{self.sock}"]
        os.makedirs(f"{tmp}/d/run")
        sh("mount", "-t", "tmpfs", "none", f"{tmp}/d/run")
        self.spawn(*where, "dockerd", "-H", f"unix://{self.sock}", "--data-root", f"{tmp}/d/lib", "--exec-root", f"{tmp}/d/run",
                   "--pidfile", f"{tmp}/d/pid", "--cgroup-parent", "/kedge-bench-d", "--bip", "172.31.0.1/16")
        self.ready()

    def pids(self):
        own = super().pids()
        return own + [int(p) for p in sh("sh", "-c", f"pgrep -P {own[0]} || true").split()]


def one_cgroup_version():
    """crun refuses both at once. The mount namespace is ours, and who comes after dockerd uses version 1."""
    subprocess.run(["umount", "-l", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL)


class Podman(Engine):
    """No daemon: each command is the engine. Without a network: less work than the others do."""

    name = "podman"

    def __init__(self, tmp):
        super().__init__(tmp)
        one_cgroup_version()
        self.cli = [shutil.which("podman"), "--root", f"{tmp}/lib", "--runroot", f"{tmp}/run", "--cgroup-manager", "cgroupfs"]

    def run(self, *args):
        if args[0] == "load":  # it takes no -q before -i of an archive docker made
            return super().run("load", "-i", args[-1])
        return super().run("run", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", *args[1:]) if args[0] == "run" else super().run(*args)


class Crun(Engine):
    """The runtime alone: a bundle that is there already, no image, no layers, no network, no log."""

    name = "crun"

    def __init__(self, tmp):
        super().__init__(tmp)
        one_cgroup_version()

    def run(self, *args):
        if args[0] == "load":
            return self.load(args[-1])
        return sh("crun", "--root", f"{self.tmp}/state", "--cgroup-manager", "cgroupfs", "run", "--bundle", f"{self.tmp}/busybox", "bench")

    def load(self, image):
        if "busybox" not in image:
            return
        root = f"{self.tmp}/busybox/rootfs"
        os.makedirs(root)
        os.makedirs(f"{self.tmp}/image")
        sh("tar", "-xf", image, "-C", f"{self.tmp}/image")
        with open(f"{self.tmp}/image/manifest.json") as f:
            for layer in json.load(f)[0]["Layers"]:
                sh("tar", "-xf", f"{self.tmp}/image/{layer}", "-C", root)
        sh("crun", "spec", cwd=f"{self.tmp}/busybox")
        with open(f"{self.tmp}/busybox/config.json") as f:
            spec = json.load(f)
        spec["process"].update(terminal=False, args=["true"])
        with open(f"{self.tmp}/busybox/config.json", "w") as f:
            json.dump(spec, f)


PEERS = {p.name: p for p in (Dockerd, Podman, Crun)}


def installed(name):
    return all(shutil.which(w) for w in {"dockerd": ("dockerd", "docker")}.get(name, (name,)))


def field(pid, file, name):
    try:
        with open(f"/proc/{pid}/{file}") as f:
            for line in f:
                if line.startswith(name + ":"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def machine_kb():
    """kB in use on the machine that are not page cache: what a container costs whoever holds it."""
    m = {}
    with open("/proc/meminfo") as f:
        for line in f:
            k, v = line.split(":")
            m[k] = int(v.split()[0])
    return m["MemTotal"] - m["MemFree"] - m["Buffers"] - m["Cached"] - m["SReclaimable"]


def steady(measure):
    """What measure() gives once it no longer changes by more than a percent: an engine gives back a moment later what a request took."""
    seen, end = [measure()], time.monotonic() + 20
    while len(seen) < 6 or max(seen[-6:]) - min(seen[-6:]) > max(seen[-6:]) / 100:
        if time.monotonic() > end:
            break
        time.sleep(0.3)
        seen.append(measure())
    return seen[-1]


def tree_pss(root_pids, match):
    total = 0
    for p in os.listdir("/proc"):
        if p.isdigit():
            try:
                with open(f"/proc/{p}/cmdline", "rb") as f:
                    cmd = f.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if match(cmd):
                total += field(p, "smaps_rollup", "Pss")
    return total + sum(field(p, "smaps_rollup", "Pss") for p in root_pids)


def p(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * q / 100))]
