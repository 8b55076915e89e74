# SPDX-License-Identifier: Apache-2.0
"""Random network operations from several clients at once; then the kernel is held against what the engine says. The seed is printed."""
import http.client, json, os, random, socket, subprocess, sys, threading, time

sock, netns, total = sys.argv[1], sys.argv[2], int(sys.argv[3])
seed = int(os.environ.get("CHURN_SEED", time.time_ns() % 1000000))
print("seed", seed)


class Conn(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sock)


def call(method, path, body=None):
    c = Conn("localhost", timeout=60)
    c.request(method, "/v1.48" + path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    r = c.getresponse()
    data = r.read()
    c.close()
    return r.status, json.loads(data) if data.strip() else None


NETS = ["ch0", "ch1", "ch2", "ch3"]
BOXES = ["box%d" % i for i in range(5)]
bad = []


def worker(n):
    rnd = random.Random(seed * 10 + n)
    for _ in range(total):
        net, box = rnd.choice(NETS), rnd.choice(BOXES)
        op = rnd.choice(["connect"] * 4 + ["disconnect"] * 4 + ["start", "stop", "kill", "rm", "create", "restart"])
        if op == "connect":
            s, d = call("POST", "/networks/%s/connect" % net, {"Container": box, "EndpointConfig": {"Aliases": ["x"], "GwPriority": rnd.randrange(-3, 4)}})
        elif op == "disconnect":
            s, d = call("POST", "/networks/%s/disconnect" % net, {"Container": box})
        elif op == "rm":
            s, d = call("DELETE", "/networks/" + net)
        elif op == "create":
            s, d = call("POST", "/networks/create", {"Name": net, "EnableIPv6": rnd.random() < 0.5})
        else:
            s, d = call("POST", "/containers/%s/%s%s" % (box, op, "" if op in ("start", "kill") else "?t=0"))
        if s >= 500 or s == 400:
            bad.append((op, net, box, s, d))


for net in NETS:
    call("POST", "/networks/create", {"Name": net})
for box in BOXES:
    s, d = call("POST", "/containers/create?name=" + box, {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"PortBindings": {"80/tcp": [{}]}}})
    assert s == 201, (s, d)
    call("POST", "/containers/%s/start" % box)
threads = [threading.Thread(target=worker, args=(n,)) for n in range(3)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("%d operations" % (3 * total))
for b in bad[:10]:
    print("unexpected answer:", b)


def run(*a):
    return subprocess.run(a, capture_output=True, text=True).stdout


def compare():
    """What differs between the engine's word and the kernel."""
    diff = []
    nets = {n["Id"]: n for n in call("GET", "/networks")[1]}
    have = {l.split()[0].split("@")[0] for l in run("ip", "-br", "link", "show", "type", "bridge").splitlines()}
    want = {"kedge0"} | {"br-" + i[:12] for i, n in nets.items() if n["Driver"] == "bridge" and n["Name"] != "bridge"}
    if have != want:
        diff.append("bridges: %s, not %s" % (sorted(have), sorted(want)))
    endpoints = 0
    for box in BOXES:
        c = call("GET", "/containers/%s/json" % box)[1]
        eps = c["NetworkSettings"]["Networks"]
        if not c["State"]["Running"]:
            if any(e["IPAddress"] for e in eps.values()):
                diff.append(box + " is stopped and has addresses")
            continue
        endpoints += len(eps)
        ns = os.path.join(netns, c["Id"])
        addrs = run("nsenter", "--net=" + ns, "ip", "-o", "addr")
        if addrs.count(": eth") - addrs.count("fe80:") != sum(1 + bool(e["GlobalIPv6Address"]) for e in eps.values()):
            diff.append("%s: %s for %s" % (box, addrs, eps))
        for e in eps.values():
            if e["NetworkID"] not in nets:
                diff.append("%s is on a network that is not there" % box)
            for a in (e["IPAddress"], e["GlobalIPv6Address"]):
                if a and " %s/" % a not in addrs:
                    diff.append("%s has no %s inside: %s" % (box, a, addrs))
        order = sorted((-e["GwPriority"], n) for n, e in eps.items())
        gw = "default via " + eps[order[0][1]]["Gateway"] if order else ""
        routes = run("nsenter", "--net=" + ns, "ip", "route")
        if gw not in routes or (not order and "default" in routes):
            diff.append("%s: default route by %s, but: %s" % (box, gw, routes))
    veths = run("ip", "-br", "link").count("\nkv") + run("ip", "-br", "link").startswith("kv")
    if veths != endpoints:
        diff.append("%d veths for %d endpoints" % (veths, endpoints))
    return diff


for _ in range(100):
    diff = compare()
    if not diff:
        break
    time.sleep(0.1)
for d in diff:
    print("difference:", d)
sys.exit(1 if diff or bad else 0)
