#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What programs written against docker's Python SDK do, on the engine at DOCKER_HOST. Prints ok / not ok per case."""
import io
import tarfile
import threading
import time
import traceback

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

client = docker.from_env(timeout=30)
failed = 0


def case(fn):
    global failed
    began = time.time()
    try:
        fn()
        print(f"ok - {fn.__doc__} ({time.time() - began:.1f} s)")
    except Exception:
        failed += 1
        print(f"not ok - {fn.__doc__}")
        print("    " + traceback.format_exc().replace("\n", "\n    "))
    return fn


def raises(kind, fn, *args, **kw):
    try:
        fn(*args, **kw)
    except kind as e:
        return e
    raise AssertionError(f"{kind.__name__} did not come")


@case
def version():
    "ping, version, info"
    assert client.ping()
    assert client.version()["ApiVersion"]
    assert client.info()["OSType"] == "linux"


@case
def run():
    "run: output, errors, exit codes"
    assert client.containers.run("busybox", "echo hello", remove=True) == b"hello\n"
    assert client.containers.run("busybox", ["sh", "-c", "echo err >&2"], stderr=True, stdout=False, remove=True) == b"err\n"
    e = raises(ContainerError, client.containers.run, "busybox", "sh -c 'exit 5'", remove=True)
    assert e.exit_status == 5
    raises(ImageNotFound, client.images.get, "no/such:image")
    raises(APIError, client.containers.run, "busybox", "/no/such/program")
    c = client.containers.run("busybox", "env", environment={"A": "b c"}, working_dir="/tmp", detach=True)
    assert c.wait()["StatusCode"] == 0
    assert b"A=b c" in c.logs()
    c.remove()
    raises(NotFound, client.containers.get, c.id)


@case
def lists():
    "list and filters, labels, rename, reload"
    c = client.containers.run("busybox", "sleep 100", name="sdk-a", labels={"who": "sdk"}, detach=True)
    assert [x.id for x in client.containers.list(filters={"label": "who=sdk"})] == [c.id]
    assert [x.name for x in client.containers.list(filters={"name": "sdk-"})] == ["sdk-a"]
    assert client.containers.list(filters={"label": ["who=sdk", "x"]}) == []
    c.rename("sdk-b")
    c.reload()
    assert c.name == "sdk-b" and c.status == "running"
    assert c.short_id == c.id[:len(c.short_id)]
    assert any("sleep" in " ".join(p) for p in c.top()["Processes"])
    c.stop(timeout=0)
    c.reload()
    assert c.status == "exited"
    c.start()
    c.restart(timeout=0)
    c.kill()
    c.remove(force=True)


@case
def logs():
    "logs: whole, streamed, since, timestamps"
    c = client.containers.run("busybox", ["sh", "-c", "for i in 1 2 3; do echo line $i; done; echo err >&2; sleep 0.2; echo last"], detach=True)
    assert b"".join(c.logs(stream=True, follow=True)).endswith(b"last\n")
    assert c.logs(stdout=False) == b"err\n"
    assert c.logs(tail=1, stderr=False) == b"last\n"
    assert b"Z line 1\n" in c.logs(timestamps=True)
    assert c.logs(since=int(time.time()) + 1000) == b""
    c.remove(force=True)


@case
def execs():
    "exec_run: output, demultiplexed, streamed, user, environment, sockets"
    c = client.containers.run("busybox", "sleep 100", detach=True)
    assert c.exec_run("echo hi") == (0, b"hi\n")
    code, (out, err) = c.exec_run(["sh", "-c", "echo o; echo e >&2; exit 3"], demux=True)
    assert (code, out, err) == (3, b"o\n", b"e\n")
    assert b"".join(c.exec_run("echo streamed", stream=True).output) == b"streamed\n"
    assert c.exec_run("id -u", user="7").output == b"7\n"
    assert c.exec_run("sh -c 'echo $X; pwd'", environment={"X": "y"}, workdir="/tmp").output == b"y\n/tmp\n"
    assert c.exec_run("/no/such")[0] in (126, 127)
    ex = client.api.exec_create(c.id, "cat", stdin=True)
    sock = client.api.exec_start(ex["Id"], socket=True)
    raw = getattr(sock, "_sock", sock)
    raw.sendall(b"through\n")
    raw.shutdown(1)
    data = b""
    while True:
        d = raw.recv(4096)
        if not d:
            break
        data += d
    assert data.endswith(b"through\n"), data
    for _ in range(100):
        if not client.api.exec_inspect(ex["Id"])["Running"]:
            break
        time.sleep(0.05)
    assert client.api.exec_inspect(ex["Id"])["ExitCode"] == 0
    c.remove(force=True)


@case
def archives():
    "put_archive, get_archive, export, diff, commit"
    c = client.containers.run("busybox", "sleep 100", detach=True)
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w") as t:
        i = tarfile.TarInfo("dir/file")
        i.size = 5
        t.addfile(i, io.BytesIO(b"hello"))
    assert c.put_archive("/tmp", b.getvalue())
    assert c.exec_run("cat /tmp/dir/file").output == b"hello"
    stream, stat = c.get_archive("/tmp/dir")
    assert stat["name"] == "dir" and stat["linkTarget"] == ""
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as t:
        assert t.extractfile("dir/file").read() == b"hello"
    raises(NotFound, c.get_archive, "/no/such")
    assert {"Path": "/tmp/dir", "Kind": 1} in c.diff()
    with tarfile.open(fileobj=io.BytesIO(b"".join(c.export()))) as t:
        assert "tmp/dir/file" in t.getnames()
    image = c.commit("sdk/image", tag="1", message="from the sdk")
    assert image.tags == ["sdk/image:1"]
    assert client.containers.run("sdk/image:1", "cat /tmp/dir/file", remove=True) == b"hello"
    client.images.remove("sdk/image:1")
    c.remove(force=True)


@case
def stats():
    "stats: one, and a stream"
    c = client.containers.run("busybox", "sleep 100", detach=True)
    s = c.stats(stream=False)
    assert s["memory_stats"]["usage"] > 0 and s["cpu_stats"]["online_cpus"] > 0
    n = 0
    for s in c.stats(stream=True, decode=True):
        n += 1
        if n == 2:
            break
    assert s["precpu_stats"]["cpu_usage"]["total_usage"] > 0
    c.remove(force=True)


@case
def events():
    "events: live ones decoded, and history"
    got = []
    stream = client.events(decode=True, filters={"type": "container"})
    thread = threading.Thread(target=lambda: [got.append(e) for e in stream])
    thread.start()
    began = int(time.time()) - 1
    client.containers.run("busybox", "true", name="sdk-events", remove=True)
    for _ in range(100):
        if any(e["Action"] == "destroy" for e in got):
            break
        time.sleep(0.05)
    stream.close()
    thread.join(10)
    mine = [e["Action"] for e in got if e["Actor"]["Attributes"].get("name") == "sdk-events"]
    assert [a for a in mine if a in ("create", "start", "die", "destroy")] == ["create", "start", "die", "destroy"], mine
    past = client.events(decode=True, since=began, until=int(time.time()) + 1, filters={"container": "sdk-events", "event": ["die"]})
    assert [e["Action"] for e in past] == ["die"]


@case
def networks():
    "networks: create, connect, names, disconnect, prune"
    n = client.networks.create("sdk-net", driver="bridge", labels={"who": "sdk"})
    assert [x.name for x in client.networks.list(names=["sdk-net"])] == ["sdk-net"]
    a = client.containers.run("busybox", "sleep 100", name="sdk-one", network="sdk-net", detach=True)
    b = client.containers.run("busybox", "sleep 100", name="sdk-two", detach=True)
    n.connect(b, aliases=["alias"])
    b.reload()
    assert "sdk-net" in b.attrs["NetworkSettings"]["Networks"]
    n.reload()
    assert {c.name for c in n.containers} == {"sdk-one", "sdk-two"}
    ip = b.attrs["NetworkSettings"]["Networks"]["sdk-net"]["IPAddress"]
    assert a.exec_run(f"ping -c 1 -W 2 {ip}")[0] == 0
    n.disconnect(b)
    b.reload()
    assert "sdk-net" not in b.attrs["NetworkSettings"]["Networks"]
    a.remove(force=True)
    b.remove(force=True)
    n.remove()
    raises(NotFound, client.networks.get, "sdk-net")


@case
def volumes():
    "volumes: create, mount, list, remove"
    v = client.volumes.create("sdk-vol", labels={"who": "sdk"})
    client.containers.run("busybox", "sh -c 'echo kept >/data/f'", volumes={"sdk-vol": {"bind": "/data", "mode": "rw"}}, remove=True)
    out = client.containers.run("busybox", "cat /data/f", volumes={"sdk-vol": {"bind": "/data", "mode": "ro"}}, remove=True)
    assert out == b"kept\n"
    assert [x.name for x in client.volumes.list(filters={"label": "who=sdk"})] == ["sdk-vol"]
    v.remove()


@case
def attach():
    "attach: a socket with stdin, resize, wait, pause and unpause, update"
    c = client.containers.create("busybox", "cat", stdin_open=True)
    sock = c.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    c.start()
    raw = getattr(sock, "_sock", sock)
    raw.sendall(b"echoed\n")
    assert raw.recv(4096).endswith(b"echoed\n") or raw.recv(4096).endswith(b"echoed\n")
    raw.shutdown(1)
    assert c.wait(timeout=10)["StatusCode"] == 0
    c.remove()
    c = client.containers.run("busybox", "sleep 100", detach=True, tty=True)
    c.resize(40, 100)
    c.pause()
    c.reload()
    assert c.status == "paused"
    c.unpause()
    c.update(mem_limit="64m", memswap_limit="64m")
    c.reload()
    assert c.attrs["HostConfig"]["Memory"] == 64 << 20
    c.remove(force=True)


@case
def ports():
    "published ports, prune, df"
    c = client.containers.run("busybox", "nc -l -p 80", ports={"80/tcp": ("127.0.0.1", 8085)}, detach=True)
    c.reload()
    assert c.ports["80/tcp"][0]["HostPort"] == "8085"
    c.kill()
    c.wait()
    assert c.id in client.containers.prune()["ContainersDeleted"]
    assert "LayersSize" in client.df()


raise SystemExit(1 if failed else 0)
