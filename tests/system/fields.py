#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every field a container can be created with: its effect, seen in the container, the kernel or inspect; or the sentence that refuses it.

usage: fields.py SOCKET PROOFS CGROUP-PARENT

Writes "effect FIELD" and "refused FIELD" lines to PROOFS, for tools/api-table; prints ok / not ok per field.
"""
import http.client
import json
import os
import socket
import sys
import time

SOCK, PROOFS, PARENT = sys.argv[1:4]
V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
failures = 0
proofs = open(PROOFS, "a")


class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(SOCK)


def call(method, path, body=None):
    c = Unix("localhost")
    c.request(method, "/v1.50" + path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    r = c.getresponse()
    data = r.read()
    c.close()
    try:
        return r.status, json.loads(data) if data else None
    except ValueError:
        return r.status, data


def result(kind, field, ok, detail):
    global failures
    print(f"{'ok' if ok else 'not ok'} - {field}{'' if kind == 'effect' else ' is ' + kind}")
    if ok:
        proofs.write(f"{kind} {field}\n")
    else:
        failures += 1
        print("    " + str(detail)[:600])


def whole(body):
    """A create request from a short form: keys of HostConfig are written with a dot before them, networking ones with a colon."""
    out = {"Image": "busybox", "HostConfig": {"NetworkMode": "none"}, "NetworkingConfig": {"EndpointsConfig": {}}}
    for k, v in body.items():
        if k.startswith("."):
            out["HostConfig"][k[1:]] = v
        elif k.startswith(":"):
            out["NetworkingConfig"]["EndpointsConfig"][k[1:]] = v
        else:
            out[k] = v
    return out


def create(body, name=None):
    status, doc = call("POST", "/containers/create" + (f"?name={name}" if name else ""), whole(body))
    if status != 201:
        raise AssertionError(f"create: {status} {doc}")
    return doc["Id"]


def start(cid):
    status, doc = call("POST", f"/containers/{cid}/start")
    if status not in (204, 304):
        raise AssertionError(f"start: {status} {doc}")
    return cid


def remove(cid):
    call("DELETE", f"/containers/{cid}?force=1&v=1")


def output(cid, tty=False):
    status, raw = call("GET", f"/containers/{cid}/logs?stdout=1&stderr=1")
    raw = raw if isinstance(raw, bytes) else json.dumps(raw).encode() if raw is not None else b""
    if tty:
        return raw.decode(errors="replace")
    text = b""
    while len(raw) >= 8:
        n = int.from_bytes(raw[4:8], "big")
        text += raw[8:8 + n]
        raw = raw[8 + n:]
    return text.decode(errors="replace")


def run(line, body, tty=False):
    """What a shell line, or the image's own command where line is None, prints in a container of body."""
    body = dict(body)
    if line is not None:
        body["Cmd"] = ["sh", "-c", line]
    cid = create(body)
    try:
        start(cid)
        call("POST", f"/containers/{cid}/wait")
        return output(cid, tty)
    finally:
        remove(cid)


def inspect(cid):
    return call("GET", f"/containers/{cid}/json")[1]


def field(name, fn):
    try:
        got = fn()
        result("effect", name, got is True or got is None, got)
    except Exception as x:
        result("effect", name, False, f"{type(x).__name__}: {x}")


def inside(name, line, want, body, tty=False):
    def test():
        got = run(line, body, tty)
        if isinstance(want, str):
            return True if got.strip() == want else f"got {got!r}, want {want!r}"
        return True if want(got) else f"got {got!r}"
    field(name, test)


def kept(name, value, body, where=None):
    """The whole effect is what inspect, and who reads it, sees."""
    def test():
        cid = create(dict(body, Cmd=["true"]))
        try:
            doc = inspect(cid)
            for k in (where or ("HostConfig." if name.startswith("HostConfig.") else "Config.") + name.split(".")[-1]).split("."):
                doc = doc[k]
            return True if doc == value else f"inspect has {doc!r}"
        finally:
            remove(cid)
    field(name, test)


def refused(name, sentence, body):
    status, doc = call("POST", "/containers/create", whole(dict({"Cmd": ["true"]}, **body)))
    if status == 201:
        remove(doc["Id"])
    result("refused", name, 400 <= status < 500 and sentence in doc["message"], f"{status} {doc}")


def cgroup(cid, controller, v1, v2):
    path = f"/sys/fs/cgroup/{PARENT}/{cid}/{v2}" if V2 else f"/sys/fs/cgroup/{controller}/{PARENT}/{cid}/{v1}"
    return open(path).read().strip()


def limit(name, controller, v1, want1, v2, want2, body):
    """A file of the container's cgroup. v1 or v2 a list: one of these files, for kernels that name it differently."""
    def test():
        cid = create(dict(body, Cmd=["sleep", "100"]))
        try:
            start(cid)
            got, want = None, want2 if V2 else want1
            for f1 in v1 if isinstance(v1, list) else [v1]:
                try:
                    got = cgroup(cid, controller, f1, v2)
                    break
                except FileNotFoundError as x:
                    got = x
            return True if got == want or (callable(want) and want(got)) else f"got {got!r}, want {want!r}"
        finally:
            remove(cid)
    field(name, test)


def block_device():
    for name in sorted(os.listdir("/sys/block")):
        number = open(f"/sys/block/{name}/dev").read().strip()
        if os.path.exists("/dev/" + name):
            return "/dev/" + name, number
        return None, number
    return None, None


# ---- Config ----
inside("Hostname", "hostname", "box", {"Hostname": "box"})
inside("Domainname", "cat /proc/sys/kernel/domainname", "lab.example", {"Domainname": "lab.example"})
inside("User", "id -u; id -g", "1234\n4321", {"User": "1234:4321"})
inside("Env", "echo $A", "b c", {"Env": ["A=b c"]})
inside("Cmd", None, "hello", {"Cmd": ["echo", "hello"]})
inside("Image", "ls -d /bin/busybox", "/bin/busybox", {"Image": "busybox"})
inside("WorkingDir", "pwd", "/made/here", {"WorkingDir": "/made/here"})
inside("Entrypoint", None, "one two", {"Entrypoint": ["echo", "one"], "Cmd": ["two"]})
inside("Tty", "tty", "/dev/pts/0", {"Tty": True}, tty=True)
inside("Volumes", "grep -c ' /anon ' /proc/mounts", "1", {"Volumes": {"/anon": {}}})
inside("NetworkDisabled", "ls /sys/class/net", "lo", {"NetworkDisabled": True, ".NetworkMode": "bridge"})
inside("MacAddress", "cat /sys/class/net/eth0/address", "02:42:00:00:00:07", {"MacAddress": "02:42:00:00:00:07", ".NetworkMode": "bridge"})
inside("ArgsEscaped", None, 'a "b" c', {"ArgsEscaped": True, "Cmd": ["echo", 'a "b" c']})
kept("Labels", {"tier": "web"}, {"Labels": {"tier": "web"}})
kept("StopTimeout", 3, {"StopTimeout": 3})


def streams(want):
    """Through an attach: what the container's own streams do is what AttachStdin... and OpenStdin, StdinOnce say."""
    cid = create({"Cmd": ["cat"], "OpenStdin": want["open"], "StdinOnce": True, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True})
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(SOCK)
    try:
        s.sendall(f"POST /v1.50/containers/{cid}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += s.recv(4096)
        start(cid)
        s.sendall(b"typed\n")
        s.shutdown(socket.SHUT_WR)
        while True:
            more = s.recv(4096)
            if not more:
                break
            data += more
        code = call("POST", f"/containers/{cid}/wait")[1]["StatusCode"]
        c = inspect(cid)["Config"]
        ok = (b"typed" in data) == want["open"] and code == 0 and c["AttachStdin"] and c["AttachStdout"] and c["AttachStderr"]
        return True if ok else (data, code, c)
    finally:
        s.close()
        remove(cid)


for f in ("AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin"):
    field(f, lambda: streams({"open": True}))
# cat ends when the one client that was attached has closed its side.
field("StdinOnce", lambda: streams({"open": True}))


def exposed():
    cid = create({"Cmd": ["sleep", "100"], "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, ".NetworkMode": "bridge", ".PublishAllPorts": True})
    try:
        start(cid)
        ports = inspect(cid)["NetworkSettings"]["Ports"]
        return True if ports["80/tcp"] and ports["53/udp"] and int(ports["80/tcp"][0]["HostPort"]) > 1024 else ports
    finally:
        remove(cid)


field("ExposedPorts", exposed)
field("HostConfig.PublishAllPorts", exposed)


def healthy(body):
    cid = create(dict({"Cmd": ["sleep", "100"]}, **body))
    try:
        start(cid)
        end = time.time() + 30
        while time.time() < end:
            h = inspect(cid)["State"]["Health"]
            if h["Log"]:
                return h["Log"][0]["Output"]
            time.sleep(0.05)
        return None
    finally:
        remove(cid)


ns = 1000000000
field("Healthcheck", lambda: (lambda got: True if got and got.strip() == "fine" else repr(got))(healthy({"Healthcheck": {"Test": ["CMD", "echo", "fine"], "StartInterval": ns // 10, "Interval": ns // 5, "StartPeriod": 10 * ns}})))
# What CMD-SHELL is run with.
field("Shell", lambda: (lambda got: True if got and got.strip() == "with fine" else repr(got))(healthy({"Shell": ["echo", "with"], "Healthcheck": {"Test": ["CMD-SHELL", "fine"], "Interval": ns // 5, "StartInterval": ns // 10, "StartPeriod": 10 * ns}})))


def on_build():
    cid = create({"Cmd": ["true"], "OnBuild": ["RUN echo built"]})
    try:
        doc = call("POST", f"/commit?container={cid}&repo=onbuild&tag=1")
        got = call("GET", "/images/onbuild:1/json")[1]["Config"].get("OnBuild")
        return True if got == ["RUN echo built"] else (doc, got)
    finally:
        remove(cid)
        call("DELETE", "/images/onbuild:1")


field("OnBuild", on_build)


def stop_signal():
    cid = create({"Cmd": ["sh", "-c", "trap 'exit 7' USR1; trap '' TERM; echo up; while :; do sleep 0.05; done"], "StopSignal": "SIGUSR1", "StopTimeout": 20})
    try:
        start(cid)
        while "up" not in output(cid):
            time.sleep(0.02)
        call("POST", f"/containers/{cid}/stop")
        code = inspect(cid)["State"]["ExitCode"]
        return True if code == 7 else code
    finally:
        remove(cid)


field("StopSignal", stop_signal)


def stop_timeout():
    cid = create({"Cmd": ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"], "StopTimeout": 1})
    try:
        start(cid)
        while "up" not in output(cid):
            time.sleep(0.02)
        began = time.time()
        call("POST", f"/containers/{cid}/stop")
        took, code = time.time() - began, inspect(cid)["State"]["ExitCode"]
        return True if code == 137 and 0.8 < took < 9 else (took, code)
    finally:
        remove(cid)


field("StopTimeout", stop_timeout)

# ---- limits ----
M = 1 << 20
limit("HostConfig.CpuShares", "cpu", "cpu.shares", "512", "cpu.weight", "20", {".CpuShares": 512})
limit("HostConfig.Memory", "memory", "memory.limit_in_bytes", str(64 * M), "memory.max", str(64 * M), {".Memory": 64 * M})
limit("HostConfig.MemoryReservation", "memory", "memory.soft_limit_in_bytes", str(32 * M), "memory.low", str(32 * M), {".MemoryReservation": 32 * M})
swap_there = V2 or os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
if swap_there:
    limit("HostConfig.MemorySwap", "memory", "memory.memsw.limit_in_bytes", str(96 * M), "memory.swap.max", str(32 * M), {".Memory": 64 * M, ".MemorySwap": 96 * M})
else:
    kept("HostConfig.MemorySwap", -1, {".Memory": 64 * M, ".MemorySwap": 96 * M})
limit("HostConfig.CpuPeriod", "cpu", "cpu.cfs_period_us", "50000", "cpu.max", "max 50000", {".CpuPeriod": 50000})
limit("HostConfig.CpuQuota", "cpu", "cpu.cfs_quota_us", "25000", "cpu.max", "25000 100000", {".CpuQuota": 25000})
limit("HostConfig.NanoCpus", "cpu", "cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000", {".NanoCpus": 500000000})
limit("HostConfig.CpusetCpus", "cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0", {".CpusetCpus": "0"})
limit("HostConfig.CpusetMems", "cpuset", "cpuset.mems", "0", "cpuset.mems", "0", {".CpusetMems": "0"})
limit("HostConfig.PidsLimit", "pids", "pids.max", "50", "pids.max", "50", {".PidsLimit": 50})
if os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"):
    limit("HostConfig.CpuRealtimePeriod", "cpu", "cpu.rt_period_us", "900000", "", "", {".CpuRealtimePeriod": 900000})
    try:
        with open(f"/sys/fs/cgroup/cpu/{PARENT}/cpu.rt_runtime_us", "w") as f:
            f.write("2000")
    except OSError as x:
        print(f"# the parent gets no real-time budget: {x}")
    limit("HostConfig.CpuRealtimeRuntime", "cpu", "cpu.rt_runtime_us", "1000", "", "", {".CpuRealtimePeriod": 900000, ".CpuRealtimeRuntime": 1000})
else:
    refused("HostConfig.CpuRealtimePeriod", "HostConfig.CpuRealtimePeriod", {".CpuRealtimePeriod": 900000})
    refused("HostConfig.CpuRealtimeRuntime", "HostConfig.CpuRealtimeRuntime", {".CpuRealtimeRuntime": 1000})
if V2:
    refused("HostConfig.MemorySwappiness", "HostConfig.MemorySwappiness does not exist", {".MemorySwappiness": 7, ".Memory": 64 * M})
    refused("HostConfig.OomKillDisable", "HostConfig.OomKillDisable does not exist", {".OomKillDisable": True, ".Memory": 64 * M})
    refused("HostConfig.KernelMemoryTCP", "HostConfig.KernelMemoryTCP does not exist", {".KernelMemoryTCP": 16 * M})
else:
    limit("HostConfig.MemorySwappiness", "memory", "memory.swappiness", "7", "", "", {".MemorySwappiness": 7, ".Memory": 64 * M})
    limit("HostConfig.OomKillDisable", "memory", "memory.oom_control", lambda got: got.startswith("oom_kill_disable 1"), "", "", {".OomKillDisable": True, ".Memory": 64 * M})
    limit("HostConfig.KernelMemoryTCP", "memory", "memory.kmem.tcp.limit_in_bytes", str(16 * M), "", "", {".KernelMemoryTCP": 16 * M})
dev, number = block_device()
print(f"# block device {dev} {number}")
for key, f1, f2 in (("ReadBps", "read_bps_device", "rbps"), ("WriteBps", "write_bps_device", "wbps"), ("ReadIOps", "read_iops_device", "riops"), ("WriteIOps", "write_iops_device", "wiops")):
    if dev:
        limit("HostConfig.BlkioDevice" + key, "blkio", "blkio.throttle." + f1, f"{number} 1048576", "io.max", lambda got, f2=f2: f"{f2}=1048576" in got, {".BlkioDevice" + key: [{"Path": dev, "Rate": M}]})
    else:
        refused("HostConfig.BlkioDevice" + key, "is no block device", {".BlkioDevice" + key: [{"Path": "/dev/null", "Rate": M}]})
scheduler = open(f"/sys/dev/block/{number}/queue/scheduler").read() if dev and os.path.exists(f"/sys/dev/block/{number}/queue/scheduler") else ""
if "[bfq]" in scheduler:
    limit("HostConfig.BlkioWeightDevice", "blkio", ["blkio.bfq.weight_device"], lambda got: f"{number} 300" in got, "io.bfq.weight", lambda got: f"{number} 300" in got,
          {".BlkioWeightDevice": [{"Path": dev, "Weight": 300}]})
elif dev and not V2:
    refused("HostConfig.BlkioWeightDevice", "HostConfig.BlkioWeightDevice: the I/O scheduler of '" + dev, {".BlkioWeightDevice": [{"Path": dev, "Weight": 300}]})
else:
    refused("HostConfig.BlkioWeightDevice", "HostConfig.BlkioWeightDevice", {".BlkioWeightDevice": [{"Path": dev or "/dev/null", "Weight": 1}]})
weights = ["blkio.bfq.weight", "blkio.weight"]
if V2 or any(os.path.exists(f"/sys/fs/cgroup/blkio/{PARENT}/{w}") for w in weights):
    limit("HostConfig.BlkioWeight", "blkio", weights, "300", "io.bfq.weight", lambda got: "300" in got, {".BlkioWeight": 300})
else:
    refused("HostConfig.BlkioWeight", "HostConfig.BlkioWeight", {".BlkioWeight": 300})


def ulimit():
    got = run("ulimit -n; ulimit -Hn", {".Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}]})
    return True if got.split() == ["100", "200"] else got


field("HostConfig.Ulimits", ulimit)
inside("HostConfig.OomScoreAdj", "cat /proc/self/oom_score_adj", "500", {".OomScoreAdj": 500})
inside("HostConfig.CgroupParent", "cat /proc/self/cgroup", lambda got: f"/{PARENT}/fields/" in got, {".CgroupParent": f"/{PARENT}/fields", ".CgroupnsMode": "host"})
inside("HostConfig.CgroupnsMode", "cut -d: -f3 /proc/self/cgroup | sort -u", "/", {".CgroupnsMode": "private"})
inside("HostConfig.ShmSize", "df -k /dev/shm | awk 'NR==2{print $2}'", "1024", {".ShmSize": M})
inside("HostConfig.Init", "readlink /proc/1/exe; cat /proc/1/comm; echo $$", lambda got: got.split()[-1] != "1", {".Init": True})

# ---- devices ----
inside("HostConfig.Devices", "stat -c %t:%T /dev/mine; head -c 2 /dev/mine | wc -c", "1:5\n2", {".Devices": [{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/mine", "CgroupPermissions": "r"}]})
inside("HostConfig.DeviceCgroupRules", "mknod /d c 1 11 && { : >/d; } 2>/dev/null && echo may", "may", {".DeviceCgroupRules": ["c 1:11 rw"]})
inside("HostConfig.Privileged", "grep CapEff /proc/self/status | cut -f2", lambda got: int(got, 16) & (1 << 21), {".Privileged": True})

# ---- file systems ----
os.makedirs(os.path.dirname(PROOFS) + "/shared", exist_ok=True)
SHARED = os.path.realpath(os.path.dirname(PROOFS) + "/shared")
with open(SHARED + "/f", "w") as f:
    f.write("from the host\n")
inside("HostConfig.Binds", "cat /b/f", "from the host", {".Binds": [SHARED + ":/b:ro"]})
inside("HostConfig.Mounts", "cat /m/f; touch /m/g 2>&1", lambda got: "from the host" in got and "Read-only" in got, {".Mounts": [{"Type": "bind", "Source": SHARED, "Target": "/m", "ReadOnly": True}]})
inside("HostConfig.Tmpfs", "stat -c %a /t; grep ' /t ' /proc/mounts", lambda got: got.startswith("711") and "tmpfs" in got and "size=1024k" in got, {".Tmpfs": {"/t": "size=1m,mode=0711"}})
inside("HostConfig.ReadonlyRootfs", "touch /x 2>&1", lambda got: "Read-only" in got, {".ReadonlyRootfs": True})
inside("HostConfig.MaskedPaths", "cat /proc/version | wc -c; cat /proc/timer_list | head -c 5 | wc -c", lambda got: got.split()[0] == "0", {".MaskedPaths": ["/proc/version"]})
inside("HostConfig.ReadonlyPaths", "echo own >/proc/sys/kernel/domainname && cat /proc/sys/kernel/domainname; echo 1 2>/dev/null >/proc/sys/vm/drop_caches || echo refused", "own\nrefused", {".ReadonlyPaths": ["/proc/sys/vm"]})


def from_other():
    donor = create({"Cmd": ["sh", "-c", "echo given >/v/f; sleep 100"], "Volumes": {"/v": {}}})
    try:
        start(donor)
        end = time.time() + 10
        got = ""
        while "given" not in got and time.time() < end:
            got = run("cat /v/f", {".VolumesFrom": [donor]})
        return True if got.strip() == "given" else got
    finally:
        remove(donor)


field("HostConfig.VolumesFrom", from_other)


def volume_driver():
    cid = create({"Cmd": ["true"], ".Binds": ["fields-driver:/v"], ".VolumeDriver": "local"})
    try:
        doc = call("GET", "/volumes/fields-driver")[1]
        return True if doc["Driver"] == "local" and inspect(cid)["Mounts"][0]["Driver"] == "local" else doc
    finally:
        remove(cid)
        call("DELETE", "/volumes/fields-driver")


field("HostConfig.VolumeDriver", volume_driver)
refused("HostConfig.VolumeDriver", "nosuch", {".VolumeDriver": "nosuch", ".Binds": ["fields-x:/v"]})


def log_config():
    cid = create({"Cmd": ["sh", "-c", "for i in 1 2 3 4; do head -c 600 /dev/zero | tr '\\0' x; echo; done"], ".LogConfig": {"Type": "json-file", "Config": {"max-size": "1k", "max-file": "2"}}})
    try:
        start(cid)
        call("POST", f"/containers/{cid}/wait")
        path = inspect(cid)["LogPath"]
        return True if os.path.exists(path + ".1") and not os.path.exists(path + ".2") else os.listdir(os.path.dirname(path))
    finally:
        remove(cid)


field("HostConfig.LogConfig", log_config)


def file_with_id():
    # The client writes the file; the engine keeps its name for who asks.
    cid = create({"Cmd": ["true"], ".ContainerIDFile": "/tmp/x.cid"})
    got = inspect(cid)["HostConfig"]["ContainerIDFile"]
    remove(cid)
    return True if got == "/tmp/x.cid" else got


field("HostConfig.ContainerIDFile", file_with_id)


def auto_remove():
    cid = start(create({"Cmd": ["true"], ".AutoRemove": True}))
    call("POST", f"/containers/{cid}/wait?condition=removed")
    return True if call("GET", f"/containers/{cid}/json")[0] == 404 else "it is there"


field("HostConfig.AutoRemove", auto_remove)


def restart_policy():
    cid = start(create({"Cmd": ["sh", "-c", "echo run; exit 3"], ".RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}))
    try:
        end = time.time() + 20
        while time.time() < end:
            doc = inspect(cid)
            if doc["RestartCount"] == 2 and doc["State"]["Status"] == "exited":
                break
            time.sleep(0.05)
        return True if output(cid).count("run") == 3 else (doc["RestartCount"], output(cid))
    finally:
        remove(cid)


field("HostConfig.RestartPolicy", restart_policy)
inside("HostConfig.ConsoleSize", "stty size", "33 99", {"Tty": True, ".ConsoleSize": [33, 99]}, tty=True)
kept("HostConfig.Annotations", {"a": "b"}, {".Annotations": {"a": "b"}})

# ---- what it may ----
inside("HostConfig.CapAdd", "grep CapEff /proc/self/status | cut -f2", "0000000000001001", {".CapDrop": ["ALL"], ".CapAdd": ["NET_ADMIN", "CAP_CHOWN"]})
inside("HostConfig.CapDrop", "grep CapBnd /proc/self/status | cut -f2", "0000000000000000", {".CapDrop": ["ALL"]})
inside("HostConfig.GroupAdd", "id -G", "0 777", {".GroupAdd": ["777"]})
inside("HostConfig.SecurityOpt", "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status | cut -f2", "1\n0", {".SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]})
inside("HostConfig.Sysctls", "cat /proc/sys/net/ipv4/ip_default_ttl", "77", {".Sysctls": {"net.ipv4.ip_default_ttl": "77"}})
here = lambda ns: os.readlink("/proc/self/ns/" + ns)
inside("HostConfig.IpcMode", "readlink /proc/self/ns/ipc", here("ipc"), {".IpcMode": "host"})
inside("HostConfig.PidMode", "readlink /proc/self/ns/pid", here("pid"), {".PidMode": "host"})
inside("HostConfig.UTSMode", "readlink /proc/self/ns/uts", here("uts"), {".UTSMode": "host"})
inside("HostConfig.UsernsMode", "readlink /proc/self/ns/user", here("user"), {".UsernsMode": "host"})
inside("HostConfig.NetworkMode", "readlink /proc/self/ns/net", here("net"), {".NetworkMode": "host"})
kept("HostConfig.Isolation", "default", {".Isolation": "default"})
refused("HostConfig.Isolation", "hyperv", {".Isolation": "hyperv"})
refused("HostConfig.Runtime", "unknown or invalid runtime name: nosuch", {".Runtime": "nosuch"})
inside("HostConfig.Runtime", "echo runs", "runs", {".Runtime": "kedge"})

# ---- the network ----
call("POST", "/networks/create", {"Name": "fields", "IPAM": {"Config": [{"Subnet": "10.77.0.0/24"}, {"Subnet": "fd77::/64"}]}, "EnableIPv6": True})
call("POST", "/networks/create", {"Name": "fields2", "IPAM": {"Config": [{"Subnet": "10.78.0.0/24"}]}})
try:
    inside("HostConfig.Dns", "grep -c 192.0.2.53 /etc/resolv.conf", "1", {".Dns": ["192.0.2.53"], ".NetworkMode": "bridge"})
    inside("HostConfig.DnsOptions", "grep options /etc/resolv.conf", lambda got: "ndots:3" in got, {".DnsOptions": ["ndots:3"], ".NetworkMode": "bridge"})
    inside("HostConfig.DnsSearch", "grep search /etc/resolv.conf", "search lab.example", {".DnsSearch": ["lab.example"], ".NetworkMode": "bridge"})
    inside("HostConfig.ExtraHosts", "grep other /etc/hosts", lambda got: got.split() == ["192.0.2.9", "other"], {".ExtraHosts": ["other:192.0.2.9"], ".NetworkMode": "bridge"})

    def published():
        cid = start(create({"Cmd": ["sh", "-c", "mkdir /w; echo page >/w/index.html; httpd -f -p 80 -h /w"], ".NetworkMode": "bridge", ".PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18977"}]}}))
        try:
            end = time.time() + 10
            while time.time() < end:
                try:
                    c = http.client.HTTPConnection("127.0.0.1", 18977, timeout=2)
                    c.request("GET", "/")
                    return True if c.getresponse().read() == b"page\n" else "another page"
                except OSError:
                    time.sleep(0.05)
            return "nothing answers"
        finally:
            remove(cid)

    field("HostConfig.PortBindings", published)

    def linked(where):
        other = start(create({"Cmd": ["sleep", "100"], ".NetworkMode": where[0]}, "fields-other"))
        try:
            return run("ping -c 1 -W 5 nickname >/dev/null && echo found", dict(where[1])) == "found\n"
        finally:
            remove(other)

    field("HostConfig.Links", lambda: linked(("bridge", {".NetworkMode": "bridge", ".Links": ["fields-other:nickname"]})))
    field("EndpointSettings.Links", lambda: linked(("fields", {".NetworkMode": "fields", ":fields": {"Links": ["fields-other:nickname"]}})))
    ep = lambda name, line, want, settings: inside(name, line, want, {".NetworkMode": "fields", ":fields": settings})
    inside("NetworkingConfig.EndpointsConfig", "ls /sys/class/net | tr '\\n' ' '", "eth0 eth1 lo", {".NetworkMode": "fields", ":fields": {}, ":fields2": {}})
    ep("EndpointSettings.IPAMConfig", "ip -4 addr show eth0", lambda got: "inet 10.77.0.77/24" in got, {"IPAMConfig": {"IPv4Address": "10.77.0.77"}})
    ep("EndpointIPAMConfig.IPv4Address", "ip -4 addr show eth0", lambda got: "inet 10.77.0.78/24" in got, {"IPAMConfig": {"IPv4Address": "10.77.0.78"}})
    ep("EndpointIPAMConfig.IPv6Address", "ip -6 addr show eth0", lambda got: "fd77::77/64" in got, {"IPAMConfig": {"IPv6Address": "fd77::77"}})
    ep("EndpointIPAMConfig.LinkLocalIPs", "ip -4 addr show eth0", lambda got: "inet 169.254.1.1/16" in got, {"IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}})
    ep("EndpointSettings.MacAddress", "cat /sys/class/net/eth0/address", "02:42:00:00:00:08", {"MacAddress": "02:42:00:00:00:08"})
    ep("EndpointSettings.Aliases", "ping -c 1 -W 5 second-name >/dev/null && echo found", "found", {"Aliases": ["second-name"]})
    ep("EndpointSettings.DriverOpts", "cat /proc/sys/net/ipv4/conf/eth0/log_martians", "1", {"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"}})
    inside("EndpointSettings.GwPriority", "ip route | grep default", lambda got: "via 10.78.0.1" in got, {".NetworkMode": "fields", ":fields": {}, ":fields2": {"GwPriority": 5}})
finally:
    call("DELETE", "/networks/fields")
    call("DELETE", "/networks/fields2")

# ---- refused ----
for name, value in (("StorageOpt", {"size": "1g"}), ("DeviceRequests", [{"Count": 1}]), ("CpuCount", 1), ("CpuPercent", 1), ("IOMaximumIOps", 1),
                    ("IOMaximumBandwidth", 1), ("Cgroup", "container:x")):
    refused("HostConfig." + name, f"HostConfig.{name} is not supported", {"." + name: value})


def archive():
    status, data = call("GET", "/images/busybox/get")
    return True if status == 200 and b"manifest.json" in data else status


got = archive()
print("ok - GET /images/{name}/get" if got is True else f"not ok - GET /images/{{name}}/get: {got}")
failures += got is not True


def answered(name, method, path, sentence, body=None):
    status, doc = call(method, path, body)
    result("refused", name, status >= 400 and isinstance(doc, dict) and sentence in doc["message"], f"{status} {doc}")


answered("GET /images/search", "GET", "/images/search?term=x", "search")
answered("PUT /volumes/{name}", "PUT", "/volumes/x?version=1", "cluster volume", {})
answered("POST /session", "POST", "/session", "BuildKit")
sys.exit(1 if failures else 0)
