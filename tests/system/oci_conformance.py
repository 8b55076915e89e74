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
os.chmod(BASE, 0o711)
ROOT = os.path.join(BASE, "state")
failures = 0
serial = 0
clauses = 0


def check(name, ok, detail=""):
    global failures, clauses
    clauses += 1
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


def more_process():
    def out(name, args, want, **changes):
        code, text = Bundle(args, **changes).run()
        check(name, code == 0 and want in text, f"status {code}: {text}")

    sh = lambda line: ["/bin/sh", "-c", line]
    out("domainname", sh("cat /proc/sys/kernel/domainname"), "lab.example", domainname="lab.example")
    caps = {k: ["CAP_CHOWN", "CAP_KILL"] for k in ("bounding", "effective", "permitted", "inheritable", "ambient")}
    out("process.capabilities.ambient and inheritable", sh("grep -E 'Cap(Inh|Amb)' /proc/self/status"), "CapInh:\t0000000000000021\nCapAmb:\t0000000000000021", process__capabilities=caps)
    out("ambient capabilities reach another user's program", sh("grep CapEff /proc/self/status"), "0000000000000021", process__capabilities=caps, process__user={"uid": 1000, "gid": 1000})
    out("without capabilities there are none", sh("grep CapBnd /proc/self/status"), "0000000000000000", process__capabilities={})
    out("process.rlimits: several, unlimited ones too", sh("ulimit -f; ulimit -c; ulimit -s"), "200\n0\n", process__rlimits=[
        {"type": "RLIMIT_FSIZE", "soft": 102400, "hard": 102400}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}])
    out("process.user: no groups but those named", sh("grep Groups /proc/self/status | tr -s '\\t ' ' '"), "Groups: \n", process__user={"uid": 5, "gid": 5})
    out("linux.personality LINUX32", ["/bin/busybox", "uname", "-m"], "i686" if os.uname().machine == "x86_64" else "", linux__personality={"domain": "LINUX32"})
    out("linux.devices: mode and owner", sh("stat -c '%a %u:%g %F' /dev/mine"), "640 5:6 character", linux__devices=[
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 5, "gid": 6}])
    out("linux.devices: a fifo", sh("stat -c %F /dev/pipe"), "fifo", linux__devices=[{"path": "/dev/pipe", "type": "p", "fileMode": 0o600}])
    out("linux.maskedPaths: a directory, and what is not there", sh("ls /proc/bus | busybox wc -l; echo on".replace("busybox", "/bin/busybox")), "0\non", linux__maskedPaths=["/proc/bus", "/proc/no/such"])
    out("linux.readonlyPaths: a directory of one's own", sh("touch /data/x 2>/dev/null || echo refused"), "refused", linux__readonlyPaths=["/data"])
    out("user namespace", sh("cat /proc/self/uid_map"), "0     100000       1000", linux__namespaces=[{"type": t} for t in ("pid", "mount", "ipc", "uts", "network", "user")],
        linux__uidMappings=[{"containerID": 0, "hostID": 100000, "size": 1000}], linux__gidMappings=[{"containerID": 0, "hostID": 100000, "size": 1000}])
    out("cgroup namespace", sh("/bin/busybox cut -d: -f3 /proc/self/cgroup | /bin/busybox sort -u"), "/\n", linux__namespaces=[{"type": t} for t in ("pid", "mount", "ipc", "uts", "network", "cgroup")])
    for t in ("uts", "ipc"):
        kinds = [{"type": k} for k in ("pid", "mount", "ipc", "uts", "network") if k != t] + [{"type": t, "path": f"/proc/self/ns/{t}"}]
        b = Bundle(["/bin/busybox", "readlink", f"/proc/self/ns/{t}"], linux__namespaces=kinds)
        b.spec.pop("hostname")
        code, text = b.run()
        check(f"{t} namespace by path", code == 0 and os.readlink(f"/proc/self/ns/{t}") in text, text)
    for value, mark in (("private", None), ("slave", "master:"), ("shared", "shared:")):
        code, text = Bundle(sh("grep -E '^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ / ' /proc/self/mountinfo"), linux__rootfsPropagation=value).run()
        check(f"linux.rootfsPropagation {value}", code == 0 and ("shared:" in text) == (mark == "shared:"), text)
    b = Bundle(["/bin/sleep", "100"], annotations={"com.example.key": "value", "empty": ""})
    b.create()
    check("annotations are in the state", (b.state() or {}).get("annotations", {}).get("com.example.key") == "value", b.state())
    rt("delete", "--force", b.id)


def more_mounts():
    def mounted(name, mount, line, want, prepare=None, absent=None):
        b = Bundle(["/bin/sh", "-c", line])
        src = os.path.join(b.dir, "src")
        os.makedirs(os.path.join(src, "sub"))
        open(os.path.join(src, "f"), "w").write("here\n")
        if prepare:
            prepare(src)
        m = dict(mount)
        if m.get("source") == "SRC":
            m["source"] = src
        b.spec["mounts"].append(m)
        code, text = b.run()
        check(name, code == 0 and want in text and not (absent and absent in text), f"status {code}: {text}")
        subprocess.run(["umount", "-l", os.path.join(src, "sub")], stderr=subprocess.DEVNULL)

    sub = lambda src: subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "inner", os.path.join(src, "sub")], check=True)
    bind = lambda *options: {"destination": "/data", "type": "bind", "source": "SRC", "options": list(options)}
    mounted("bind: without what is mounted below", bind("bind"), "grep -c inner /proc/self/mounts; echo over", "0\nover", sub)
    mounted("rbind: with what is mounted below", bind("rbind"), "grep -c inner /proc/self/mounts", "1\n", sub)
    mounted("rbind, ro: the mount itself", bind("rbind", "ro"), "touch /data/x || echo refused", "refused")
    mounted("nosuid, nodev, noexec, noatime", bind("rbind", "nosuid", "nodev", "noexec", "noatime"), "grep ' /data ' /proc/self/mounts", "nosuid,nodev,noexec,noatime")
    mounted("a file onto a file", {"destination": "/etc/f", "type": "bind", "source": "/etc/hostname", "options": ["bind", "ro"]}, "test -f /etc/f && echo yes", "yes")
    mounted("rprivate", bind("rbind", "rprivate"), "grep ' /data ' /proc/self/mountinfo", "/data", absent="shared:")
    mounted("rshared", bind("rbind", "rshared"), "grep ' /data ' /proc/self/mountinfo", "shared:")
    mounted("rslave", bind("rbind", "rslave"), "grep ' /data ' /proc/self/mountinfo", "/data", absent="shared:")
    mounted("mounts in order: the later one is seen", {"destination": "/data/made", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "mode=700"]}, "stat -c %a /data/made", "700")
    mounted("mqueue", {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid"]}, "grep -c ' /dev/mqueue mqueue ' /proc/self/mounts", "1")
    mounted("cgroup, read-only", {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]}, "ls /sys/fs/cgroup | grep -c . >/dev/null && echo there", "there")


def more_hooks():
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    b = Bundle(["/bin/true"])
    log = os.path.join(b.dir, "hooks.log")
    two = lambda name: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {name}{i} $WORD >>{log}"], "env": ["PATH=/bin:/usr/bin", f"WORD=w{i}"]} for i in (1, 2)]
    b.spec["hooks"] = {k: two(k) for k in kinds if k != "startContainer"}
    b.spec["hooks"]["startContainer"] = [{"path": "/bin/sh", "args": ["sh", "-c", "echo inside >/data/ran; hostname >>/data/ran"], "env": ["PATH=/bin"]}]
    code, text = b.run()
    seen = open(log).read().split() if os.path.exists(log) else []
    want = [w for k in kinds if k != "startContainer" for i in (1, 2) for w in (f"{k}{i}", f"w{i}")]
    check("hooks: several of a kind in their order, with their own environment", code == 0 and seen == want, (code, text, seen))
    ran = os.path.join(b.rootfs, "data/ran")
    check("hooks: startContainer runs inside, before the program", os.path.exists(ran) and open(ran).read() == "inside\nconform\n", text)
    for kind in ("prestart", "createRuntime", "createContainer", "startContainer"):
        b = Bundle(["/bin/touch", "/data/ran"])
        path = "/bin/false" if kind != "startContainer" else "/bin/sh"
        b.spec["hooks"] = {kind: [{"path": path, "args": ["sh", "-c", "exit 3"] if kind == "startContainer" else ["false"]}]}
        code, text = b.run()
        check(f"hooks: a failing {kind} ends it before the program", code != 0 and not os.path.exists(os.path.join(b.rootfs, "data/ran")) and text.strip(), (code, text))
        check(f"hooks: a failing {kind} leaves nothing", rt("state", b.id).returncode != 0)
    for kind in ("poststart", "poststop"):
        b = Bundle(["/bin/touch", "/data/ran"])
        b.spec["hooks"] = {kind: [{"path": "/bin/false", "args": ["false"]}]}
        code, text = b.run()
        check(f"hooks: a failing {kind} is no end", os.path.exists(os.path.join(b.rootfs, "data/ran")), (code, text))
        rt("delete", "--force", b.id)
    b = Bundle(["/bin/true"])
    b.spec["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]}
    code, text = b.run()
    check("hooks: the timeout", code != 0 and text.strip(), text)
    b = Bundle(["/bin/true"], hooks={"createRuntime": [{"path": "relative"}]})
    code, text = b.run()
    check("hooks: a path that is not absolute is refused", code != 0 and "path" in text, text)


def more_errors():
    def refused(name, part, **changes):
        b = Bundle(["/bin/true"], **changes)
        code, text = b.run()
        check(f"refused by name: {name}", code != 0 and part in text, f"status {code}: {text}")
        check(f"refused by name: {name}: nothing is left", rt("state", b.id).returncode != 0)

    every = [{"type": k} for k in ("pid", "mount", "ipc", "uts", "network")]
    refused("process.scheduler", "process.scheduler", process__scheduler={"policy": "SCHED_BATCH"})
    refused("process.ioPriority", "process.ioPriority", process__ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0})
    refused("process.execCPUAffinity", "process.execCPUAffinity", process__execCPUAffinity={"initial": "0"})
    refused("process.selinuxLabel", "selinuxLabel", process__selinuxLabel="x:y:z")
    refused("linux.mountLabel", "mountLabel", linux__mountLabel="x:y:z")
    refused("linux.intelRdt", "linux.intelRdt", linux__intelRdt={"closID": "x"})
    refused("linux.timeOffsets", "linux.timeOffsets", linux__timeOffsets={"boottime": {"secs": 1}})
    refused("the time namespace", "time", linux__namespaces=every + [{"type": "time"}])
    refused("linux.personality of no kind", "NOSUCH", linux__personality={"domain": "NOSUCH"})
    refused("linux.rootfsPropagation of no kind", "nosuch", linux__rootfsPropagation="nosuch")
    refused("mappings of a mount", "mappings", mounts=[{"destination": "/data", "type": "bind", "source": "/tmp", "options": ["bind"],
                                                        "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}])
    refused("a mount source that is not there", "/no/such", mounts=[{"destination": "/data", "type": "bind", "source": "/no/such", "options": ["bind"]}])
    refused("a mount destination that is not absolute", "data", mounts=[{"destination": "data", "type": "tmpfs", "source": "tmpfs"}, ])
    refused("a namespace's path that is not there", "/no/such", linux__namespaces=[{"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/no/such"}])
    refused("a namespace's path of another kind", "/proc/self/ns/ipc", linux__namespaces=[{"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/proc/self/ns/ipc"}])
    refused("a sysctl that is not there", "no_such_key", linux__sysctl={"net.ipv4.no_such_key": "1"})
    refused("a sysctl of the host", "kernel.panic", linux__sysctl={"kernel.panic": "1"})
    refused("a hostname without a namespace for it", "hostname", linux__namespaces=[{"type": "mount"}, {"type": "pid"}])
    refused("a seccomp action of no kind", "SCMP_ACT_X", linux__seccomp={"defaultAction": "SCMP_ACT_X"})
    refused("an id map without a user namespace", "Mappings", linux__uidMappings=[{"containerID": 0, "hostID": 1, "size": 1}])
    refused("a limit that is no number", "pids", linux__resources={"pids": {"limit": "x"}})
    refused("a rate of no device", "rate", linux__resources={"blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 1}]}})
    b = Bundle(["/bin/true"], process__terminal=True)
    p = b.create()
    check("a terminal without a socket for it is refused", p.returncode != 0, open(b.out).read())
    for verb, args in (("start", []), ("kill", ["KILL"]), ("delete", []), ("pause", []), ("resume", []), ("state", [])):
        p = rt(verb, "nobody", *args)
        check(f"{verb} of a container that is not there names it", p.returncode != 0 and "nobody" in p.stderr, p.stderr)
    check("delete --force of a container that is not there is no error", rt("delete", "--force", "nobody").returncode == 0)
    p = rt("create", "--bundle", "/no/such", "x")
    check("create without a bundle names it", p.returncode != 0 and "/no/such" in p.stderr, p.stderr)
    p = rt("nosuch")
    check("a command that is none", p.returncode != 0 and "nosuch" in p.stderr, p.stderr)
    b = Bundle(["/bin/sleep", "100"])
    b.create()
    check("kill of a created container ends it", rt("kill", b.id, "KILL").returncode == 0 and b.until("stopped"))
    check("exec in a stopped container is refused", rt("exec", b.id, "/bin/true").returncode != 0)
    rt("delete", "--force", b.id)


def resources():
    v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    b = Bundle(["/bin/sleep", "100"], linux__resources={"memory": {"limit": 64 << 20}, "cpu": {"shares": 512, "quota": 25000, "period": 50000}, "pids": {"limit": 40}})
    check("linux.resources: create", b.create().returncode == 0, open(b.out).read())
    files = {"memory.max": str(64 << 20), "cpu.max": "25000 50000", "pids.max": "40"} if v2 else {
        "memory/memory.limit_in_bytes": str(64 << 20), "cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.shares": "512", "pids/pids.max": "40"}
    for f, want in files.items():
        way = f"/sys/fs/cgroup/kedge-oci/{b.id}/{f}" if v2 else f"/sys/fs/cgroup/{f.split('/')[0]}/kedge-oci/{b.id}/{f.split('/')[1]}"
        try:
            got = open(way).read().strip()
        except OSError as x:
            got = x
        check(f"linux.resources: {f}", got == want, got)
    new = os.path.join(b.dir, "new.json")
    json.dump({"pids": {"limit": 41}}, open(new, "w"))
    check("update", rt("update", "--resources", new, b.id).returncode == 0)
    way = f"/sys/fs/cgroup/kedge-oci/{b.id}/pids.max" if v2 else f"/sys/fs/cgroup/pids/kedge-oci/{b.id}/pids.max"
    check("update: the new limit", open(way).read().strip() == "41")
    rt("delete", "--force", b.id)


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


for part in (lifecycle, configuration, more_process, more_mounts, hooks, more_hooks, errors, more_errors, resources, features, execs):
    part()
subprocess.run(["rm", "-rf", "--one-file-system", BASE])
for d in subprocess.run(["find", "/sys/fs/cgroup", "-maxdepth", "2", "-name", "kedge-oci"], stdout=subprocess.PIPE, text=True).stdout.split():
    try:
        os.rmdir(d)
    except OSError:
        pass
print(f"# {clauses} clauses of the runtime specification tested, {failures} failed")
sys.exit(1 if failures else 0)
