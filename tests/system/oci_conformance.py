#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds an OCI runtime to the runtime specification (1.2): life cycle, state, configuration, hooks, errors.

usage: oci_conformance.py RUNTIME BUSYBOX SCHEMAS-DIR|-

Runs in namespaces of its own (the caller's). Prints ok / not ok per clause; exit status 1 when one failed.
"""
import json
import os
import subprocess
import sys
import tempfile

RUNTIME, BUSYBOX, SCHEMAS = sys.argv[1:4]
BASE = tempfile.mkdtemp(prefix="kedge-oci.")
ROOT = os.path.join(BASE, "state")
failures = 0
serial = 0


def check(name, ok, detail=""):
    global failures
    print(("ok - " if ok else "not ok - ") + name)
    if not ok:
        failures += 1
        if detail:
            print("    " + str(detail)[:600])


def rt(*args, stdin=None, **kw):
    return subprocess.run([RUNTIME, "--root", ROOT, *args], stdin=subprocess.DEVNULL if stdin is None else stdin,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **kw)


def schema(name):
    if SCHEMAS == "-":
        return None
    import jsonschema
    with open(os.path.join(SCHEMAS, name)) as f:
        top = json.load(f)
    store = {}
    for n in os.listdir(SCHEMAS):
        with open(os.path.join(SCHEMAS, n)) as f:
            store["file://" + os.path.join(SCHEMAS, n)] = json.load(f)
    return lambda doc: jsonschema.Draft4Validator(top, resolver=jsonschema.RefResolver("file://" + os.path.join(SCHEMAS, name), top, store=store)).validate(doc)


def valid(name, doc):
    test = schema(name)
    if not test:
        return True, ""
    try:
        test(doc)
        return True, ""
    except Exception as x:
        return False, f"{type(x).__name__}: {getattr(x, 'message', x)} at {list(getattr(x, 'path', []))}"


class Bundle:
    def __init__(self, args, **changes):
        global serial
        serial += 1
        self.id = f"oci-{os.getpid()}-{serial}"
        self.dir = os.path.join(BASE, self.id)
        self.rootfs = os.path.join(self.dir, "rootfs")
        for d in ("bin", "proc", "sys", "dev", "tmp", "etc", "data"):
            os.makedirs(os.path.join(self.rootfs, d))
        subprocess.run(["cp", BUSYBOX, os.path.join(self.rootfs, "bin/busybox")], check=True)
        for a in ("sh", "cat", "id", "ls", "sleep", "true", "hostname", "mount", "pwd", "env", "ulimit", "kill", "touch", "stat", "test", "grep"):
            os.symlink("busybox", os.path.join(self.rootfs, "bin", a))
        self.spec = {
            "ociVersion": "1.2.0", "hostname": "conform", "root": {"path": "rootfs"},
            "process": {"args": args, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid", "noexec", "nodev"]},
            ],
            "linux": {"namespaces": [{"type": t} for t in ("pid", "mount", "ipc", "uts", "network")], "cgroupsPath": "/kedge-oci/" + self.id},
        }
        for path, value in changes.items():
            node = self.spec
            *way, last = path.split("__")
            for w in way:
                node = node.setdefault(w, {})
            node[last] = value
        self.out = os.path.join(self.dir, "out")

    def write(self):
        with open(os.path.join(self.dir, "config.json"), "w") as f:
            json.dump(self.spec, f)

    def create(self):
        self.write()
        with open(self.out, "ab") as f:
            return subprocess.run([RUNTIME, "--root", ROOT, "create", "--bundle", self.dir, "--pid-file", os.path.join(self.dir, "pid"), self.id],
                                  stdin=subprocess.DEVNULL, stdout=f, stderr=f, timeout=60)

    def run(self):
        """Whole life; (exit status, output)."""
        self.write()
        p = rt("run", "--bundle", self.dir, self.id)
        return p.returncode, p.stdout + p.stderr

    def state(self):
        p = rt("state", self.id)
        return json.loads(p.stdout) if p.returncode == 0 else None

    def pid(self):
        with open(os.path.join(self.dir, "pid")) as f:
            return int(f.read())

    def until(self, status):
        """The state has no event to wait for: the container's init has, through its pidfd."""
        if status == "stopped":
            try:
                fd = os.pidfd_open(self.pid())
            except ProcessLookupError:
                return True
            import select
            ok = bool(select.select([fd], [], [], 20)[0])
            os.close(fd)
            return ok
        return self.state()["status"] == status


def lifecycle():
    b = Bundle(["/bin/sleep", "1000"])
    check("create succeeds", b.create().returncode == 0, open(b.out).read())
    s = b.state()
    check("state after create: created, with a pid", s and s["status"] == "created" and s["pid"] == b.pid(), s)
    check("state names id, bundle, version", s["id"] == b.id and s["bundle"] == b.dir and s["ociVersion"].startswith("1."), s)
    check("state has the specification's shape", *valid("state-schema.json", s))
    check("create did not run the program", "sleep" not in open(f"/proc/{b.pid()}/cmdline").read())
    check("a second create with the id is refused", b.create().returncode != 0)
    check("start succeeds", rt("start", b.id).returncode == 0)
    check("state after start: running", b.state()["status"] == "running")
    check("the program runs", "sleep" in open(f"/proc/{b.pid()}/cmdline").read())
    check("start of a running container is refused", rt("start", b.id).returncode != 0)
    check("delete of a running container is refused", rt("delete", b.id).returncode != 0)
    check("kill with a bad signal is refused", rt("kill", b.id, "NOSUCH").returncode != 0)
    check("pause", rt("pause", b.id).returncode == 0 and b.state()["status"] == "paused")
    check("resume", rt("resume", b.id).returncode == 0 and b.state()["status"] == "running")
    check("kill", rt("kill", b.id, "KILL").returncode == 0)
    check("it stops", b.until("stopped"))
    check("state after the end: stopped", b.state()["status"] == "stopped", b.state())
    check("kill of a stopped container is refused", rt("kill", b.id, "TERM").returncode != 0)
    check("start of a stopped container is refused", rt("start", b.id).returncode != 0)
    check("delete", rt("delete", b.id).returncode == 0)
    check("state of a deleted container is an error", rt("state", b.id).returncode != 0)
    check("delete of a deleted container is an error", rt("delete", b.id).returncode != 0)
    b = Bundle(["/bin/true"])
    b.create()
    check("delete of a created container ends its init, as other runtimes do", rt("delete", b.id).returncode == 0 and b.state() is None)
    left = subprocess.run(["find", "/sys/fs/cgroup", "-name", b.id], stdout=subprocess.PIPE, text=True).stdout
    check("no cgroup is left", left == "", left)


def configuration():
    def out(name, args, want, **changes):
        code, text = Bundle(args, **changes).run()
        check(name, code == 0 and want in text, f"status {code}: {text}")

    sh = lambda line: ["/bin/sh", "-c", line]
    out("process.args, exit status 0", ["/bin/sh", "-c", "echo $0 $1", "a", "b c"], "a b c")
    code, _ = Bundle(sh("exit 7")).run()
    check("exit status is the program's", code == 7, code)
    out("process.cwd", ["/bin/pwd"], "/tmp\n", process__cwd="/tmp")
    out("process.env", ["/bin/env"], "X=y z", process__env=["PATH=/bin", "X=y z"])
    out("process.user", ["/bin/id"], "uid=1000 gid=1001", process__user={"uid": 1000, "gid": 1001, "additionalGids": [27]})
    out("process.user.additionalGids", sh("grep Groups /proc/self/status"), "27", process__user={"uid": 1000, "gid": 1001, "additionalGids": [27]})
    out("process.user.umask", sh("umask"), "0027", process__user={"uid": 0, "gid": 0, "umask": 0o27})
    out("process.rlimits", sh("ulimit -n"), "123", process__rlimits=[{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 200}])
    out("process.noNewPrivileges", sh("grep NoNewPrivs /proc/self/status"), "1", process__noNewPrivileges=True)
    caps = {k: ["CAP_CHOWN"] for k in ("bounding", "effective", "permitted")}
    out("process.capabilities", sh("grep -E 'Cap(Eff|Bnd)' /proc/self/status"), "CapEff:\t0000000000000001\nCapBnd:\t0000000000000001", process__capabilities=caps)
    out("process.oomScoreAdj", sh("cat /proc/self/oom_score_adj"), "77", process__oomScoreAdj=77)
    out("hostname", ["/bin/hostname"], "conform")
    out("root.readonly", sh("touch /x || echo refused"), "refused", root__readonly=True)
    out("pid namespace: the program is 1", sh("echo $$"), "1\n")
    out("default devices", sh("for d in null zero full random urandom tty; do test -c /dev/$d || exit 1; done; echo all"), "all")
    out("default links", sh("ls -l /dev/fd /dev/stdin /dev/stdout /dev/stderr /dev/ptmx"), "/proc/self/fd")
    out("linux.maskedPaths", sh("cat /proc/kcore | head -c 1 | wc -c; cat /proc/keys; echo masked"), "masked", linux__maskedPaths=["/proc/keys", "/proc/kcore"])
    out("linux.readonlyPaths", sh("echo 1 2>/dev/null >/proc/sys/kernel/core_pattern || echo refused"), "refused", linux__readonlyPaths=["/proc/sys"])
    out("linux.sysctl", sh("cat /proc/sys/net/ipv4/ip_forward"), "1", linux__sysctl={"net.ipv4.ip_forward": "1"})
    out("linux.devices", sh("stat -c %t:%T /dev/mine"), "1:3", linux__devices=[{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}])
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}
    code, text = Bundle(["/bin/busybox", "mkdir", "/tmp/a"], linux__seccomp=seccomp).run()
    check("linux.seccomp", code != 0 and "not implemented" in text, f"status {code}: {text}")
    cache = ROOT + ".cache"
    files = os.listdir(cache)
    check("a compiled profile is kept", len(files) == 1, files)
    forms = {"cut": lambda d: d[:len(d) // 2], "empty": lambda d: b"", "of another profile": lambda d: d.replace(b"mkdirat", b"mkdirxx"),
             "one bit off in the program": lambda d: d[:-20] + bytes([d[-20] ^ 1]) + d[-19:], "as it was": lambda d: d}
    for name, change in forms.items():
        path = os.path.join(cache, files[0])
        data = open(path, "rb").read()
        with open(path, "wb") as f:
            f.write(change(data))
        code, text = Bundle(["/bin/busybox", "mkdir", "/tmp/a"], linux__seccomp=seccomp).run()
        check(f"a kept profile that is {name}: the filter holds", code != 0 and "not implemented" in text, f"status {code}: {text}")
        check(f"and the file is whole again", open(path, "rb").read() == data)
    os.chmod(cache, 0o777)
    code, text = Bundle(["/bin/busybox", "mkdir", "/tmp/a"], linux__seccomp=seccomp).run()
    check("a cache that others can write to is not used, the filter holds", code != 0 and "not implemented" in text, f"status {code}: {text}")
    b = Bundle(sh("cat /data/f; touch /data/g || echo read-only"))
    src = os.path.join(b.dir, "src")
    os.mkdir(src)
    with open(os.path.join(src, "f"), "w") as f:
        f.write("from the host\n")
    b.spec["mounts"].append({"destination": "/data", "type": "bind", "source": src, "options": ["rbind", "ro"]})
    code, text = b.run()
    check("bind mount, read-only", code == 0 and "from the host" in text and "read-only" in text, text)
    b = Bundle(sh("mount | grep ' /tmp '"))
    b.spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]})
    code, text = b.run()
    check("tmpfs mount with a size", code == 0 and "size=64k" in text, text)
    b = Bundle(["/bin/true"])
    os.symlink("/", os.path.join(b.rootfs, "escape"))
    b.spec["mounts"].append({"destination": "/escape/made-by-mount", "type": "tmpfs", "source": "tmpfs"})
    b.run()
    check("a link in the root file system leads nowhere else", not os.path.exists("/made-by-mount") and os.path.isdir(os.path.join(b.rootfs, "made-by-mount")))
    ns = Bundle(["/bin/busybox", "readlink", "/proc/self/ns/net"], linux__namespaces=[{"type": "mount"}, {"type": "network", "path": "/proc/self/ns/net"}])
    del ns.spec["hostname"]
    code, text = ns.run()
    check("namespace by path", code == 0 and os.readlink("/proc/self/ns/net") in text, text)


def hooks():
    b = Bundle(["/bin/true"])
    log = os.path.join(b.dir, "hooks.log")
    tell = lambda name: [{"path": "/bin/sh", "args": ["sh", "-c", f"cat >{log}.{name}; echo {name} >>{log}"], "env": ["PATH=/bin:/usr/bin"]}]
    b.spec["hooks"] = {k: tell(k) for k in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")}
    code, text = b.run()
    seen = open(log).read().split() if os.path.exists(log) else []
    check("hooks run in the specification's order", code == 0 and seen == ["prestart", "createRuntime", "createContainer", "poststart", "poststop"], (code, text, seen))
    state = json.load(open(log + ".createRuntime")) if os.path.exists(log + ".createRuntime") else {}
    check("a hook gets the state on its standard input", state.get("id") == b.id and state.get("status") in ("creating", "created"), state)
    check("and it has the specification's shape", *valid("state-schema.json", state))
    b = Bundle(["/bin/touch", "/data/ran"])
    b.spec["hooks"] = {"createRuntime": [{"path": "/bin/false", "args": ["false"]}]}
    code, text = b.run()
    check("a failing createRuntime hook ends it", code != 0 and not os.path.exists(os.path.join(b.rootfs, "data/ran")), text)
    check("and leaves nothing", rt("state", b.id).returncode != 0)


def errors():
    def refused(name, b, part=""):
        p = b.create()
        text = open(b.out).read()
        check(name, p.returncode != 0 and part in text and text.strip(), f"status {p.returncode}: {text}")
        check(name + ": nothing is left", rt("state", b.id).returncode != 0)

    b = Bundle(["/bin/no-such-program"])
    p = b.create()
    if p.returncode == 0:
        p = rt("start", b.id)
        rt("delete", "--force", b.id)
    check("a program that does not exist is an error at create or start", p.returncode != 0)
    refused("empty args", Bundle([]))
    refused("relative cwd", Bundle(["/bin/true"], process__cwd="tmp"), "cwd")
    refused("unknown capability", Bundle(["/bin/true"], process__capabilities={"bounding": ["CAP_NOTHING"]}), "CAP_NOTHING")
    refused("unknown rlimit", Bundle(["/bin/true"], process__rlimits=[{"type": "RLIMIT_X", "soft": 1, "hard": 1}]), "RLIMIT_X")
    refused("unknown namespace", Bundle(["/bin/true"], linux__namespaces=[{"type": "moon"}]), "moon")
    refused("a namespace twice", Bundle(["/bin/true"], linux__namespaces=[{"type": "mount"}, {"type": "mount"}]))
    refused("root that does not exist", Bundle(["/bin/true"], root__path="nowhere"), "nowhere")
    refused("unknown device type", Bundle(["/bin/true"], linux__devices=[{"path": "/dev/x", "type": "z"}]))
    refused("a version of the future", Bundle(["/bin/true"], ociVersion="9.0.0"), "9.0.0")
    b = Bundle(["/bin/true"])
    with open(os.path.join(b.dir, "config.json"), "w") as f:
        f.write('{"ociVersion": "1.0.2", ')
    p = rt("create", "--bundle", b.dir, b.id)
    check("broken JSON is an error with its place", p.returncode != 0 and "line" in p.stderr, p.stderr)
    for bad in ("", "..", "a/b", "a b"):
        p = rt("state", bad)
        check(f"the id '{bad}' is refused", p.returncode != 0 and p.stderr.strip(), p.stderr)
    p = subprocess.run([RUNTIME, "--root", ROOT, "--log", os.path.join(BASE, "log"), "--log-format", "json", "state", "none"], stderr=subprocess.DEVNULL)
    line = json.loads(open(os.path.join(BASE, "log")).read().splitlines()[-1])
    check("--log-format json", p.returncode != 0 and line["level"] == "error" and "none" in line["msg"], line)


def features():
    p = rt("features")
    doc = json.loads(p.stdout)
    check("features", p.returncode == 0)
    check("features has the specification's shape", *valid("features-schema.json", doc))
    check("features names namespaces and capabilities", {"pid", "mount"} <= set(doc["linux"]["namespaces"]) and "CAP_CHOWN" in doc["linux"]["capabilities"])


def execs():
    b = Bundle(["/bin/sleep", "1000"])
    b.create()
    rt("start", b.id)
    p = rt("exec", b.id, "/bin/sh", "-c", "echo in; exit 3")
    check("exec: output and status", p.returncode == 3 and p.stdout == "in\n", p)
    p = rt("exec", "--cwd", "/tmp", "-e", "A=b", "-u", "1000:1000", b.id, "/bin/sh", "-c", "pwd; echo $A; id -u")
    check("exec: cwd, env, user", p.stdout.split() == ["/tmp", "b", "1000"], p)
    p = rt("ps", "--format", "json", b.id)
    check("ps", b.pid() in json.loads(p.stdout), p)
    p = rt("list")
    check("list", any(c["id"] == b.id for c in json.loads(p.stdout)), p)
    rt("delete", "--force", b.id)
    check("delete --force ends and removes it", b.state() is None)


for part in (lifecycle, configuration, hooks, errors, features, execs):
    part()
subprocess.run(["rm", "-rf", "--one-file-system", BASE])
for d in subprocess.run(["find", "/sys/fs/cgroup", "-maxdepth", "2", "-name", "kedge-oci"], stdout=subprocess.PIPE, text=True).stdout.split():
    try:
        os.rmdir(d)
    except OSError:
        pass
sys.exit(1 if failures else 0)
