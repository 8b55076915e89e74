# SPDX-License-Identifier: Apache-2.0
"""
Random network operations from several clients at once; then the kernel is held against what the engine says. The seed is printed.

networks_churn.py SOCKET NETNS-DIRECTORY INSTANCE OPERATIONS [MARKS [SIGN]]: when another of MARKS parts of the operations is done, the file SIGN.<n> is
made; somebody may kill the engine then and start another. What was under way at that moment may have happened or not.
"""
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time

sock, netns, instance, total = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
marks, sign = int(sys.argv[5]) if len(sys.argv) > 5 else 0, sys.argv[6] if len(sys.argv) > 6 else ""
seed = int(os.environ.get("CHURN_SEED", time.time_ns() % 1000000))
print("seed", seed)


class Conn(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        end = time.monotonic() + 60
        while True:
            try:
                self.sock.connect(sock)
                return
            except OSError:
                if not marks or time.monotonic() > end:
                    raise
                time.sleep(0.05)


def call(method, path, body=None):
    """Status and answer; 0 when the engine was killed over it."""
    c = Conn("localhost", timeout=60)
    try:
        c.request(method, path if path.startswith("/kedge") else "/v1.48" + path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        r = c.getresponse()
        data = r.read()
    except (OSError, http.client.HTTPException) as e:
        if not marks or isinstance(e, TimeoutError):
            raise
        return 0, None
    finally:
        c.close()
    return r.status, json.loads(data) if data.strip() else None


NETS = ["ch0", "ch1", "ch2", "ch3"]
BOXES = ["box%d" % i for i in range(5)]
CLIENTS = 3
bad = []
done, part = 0, threading.Lock()


def one(rnd):
    net, box = rnd.choice(NETS), rnd.choice(BOXES)
    op = rnd.choice(["connect"] * 8 + ["disconnect"] * 8 + ["start", "stop", "kill", "rm", "create", "restart"] * 2 + ["prune"])
    if op == "connect":
        ep = {"Aliases": ["x"], "GwPriority": rnd.randrange(-3, 4)}
        s, d = call("POST", "/networks/%s/connect" % net, {"Container": box, "EndpointConfig": ep})
    elif op == "disconnect":
        s, d = call("POST", "/networks/%s/disconnect" % net, {"Container": box})
    elif op == "rm":
        s, d = call("DELETE", "/networks/" + net)
    elif op == "create":
        s, d = call("POST", "/networks/create", {"Name": net, "EnableIPv6": rnd.random() < 0.5})
    elif op == "prune":
        s, d = call("POST", "/networks/prune")
    else:
        s, d = call("POST", "/containers/%s/%s%s" % (box, op, "" if op in ("start", "kill") else "?t=0"))
    if s >= 500 or s == 400:
        bad.append((op, net, box, s, d))


def worker(n):
    global done
    rnd = random.Random(seed * 10 + n)
    for _ in range(total // CLIENTS):
        try:
            one(rnd)
        except Exception as e:
            bad.append((repr(e),))
            return
        with part:
            done += 1
            if marks and done % (total // (marks + 1)) == 0:
                open("%s.%d" % (sign, done // (total // (marks + 1))), "w").close()


for net in NETS:
    call("POST", "/networks/create", {"Name": net})
for box in BOXES:
    s, d = call("POST", "/containers/create?name=" + box, {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"PortBindings": {"80/tcp": [{}]}}})
    assert s == 201, (s, d)
    call("POST", "/containers/%s/start" % box)
threads = [threading.Thread(target=worker, args=(n,)) for n in range(CLIENTS)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("%d operations" % done)
for b in bad[:10]:
    print("unexpected answer:", b)


def run(*a):
    return subprocess.run(a, capture_output=True, text=True).stdout


def differ(diff, what, have, want):
    if have != want:
        diff.append("%s: has %s, misses %s" % (what, sorted(have - want), sorted(want - have)))


def gateway(eps, field):
    """The endpoint that gives the default route of a family."""
    order = sorted((-e["GwPriority"], n) for n, e in eps.items() if e[field])
    return eps[order[0][1]] if order else None


def box_compare(diff, box, c, nets):
    eps = c["NetworkSettings"]["Networks"]
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
    for args, field in (("-4", "Gateway"), ("-6", "IPv6Gateway")):
        gw = gateway(eps, field)
        routes = [r for r in run("nsenter", "--net=" + ns, "ip", args, "route").splitlines() if r.startswith("default")]
        if len(routes) != bool(gw) or (gw and "default via %s " % gw[field] not in routes[0] + " "):
            diff.append("%s: default route by %s, but: %s" % (box, gw and gw[field], routes))


def plain(text):
    """An address or prefix, as Python writes it."""
    import ipaddress
    return str(ipaddress.ip_network(text, strict=False) if "/" in text else ipaddress.ip_address(text))


def ebpf_compare(diff, want):
    s, maps = call("GET", "/kedge/net/maps")
    entries = {k: v["Entries"] for k, v in maps.items()}
    differ(diff, "map of endpoints", {plain(e["Address"]) for e in entries["endpoints"]}, {plain(a) for a in want["addresses"]})
    differ(diff, "map of networks", {plain(e["Subnet"]) for e in entries["nets"]}, {plain(a) for a in want["subnets"]})
    differ(diff, "map of ports", {(plain(e["Address"]), e["Port"], plain(e["Container"])) for e in entries["published"]},
           {("::" if ":" in a else "0.0.0.0", p, plain(a)) for p, a in want["ports"]})
    links = {l.split()[0].split("@")[0] for l in run("ip", "-br", "link").splitlines()}
    for e in entries["endpoints"]:
        if e["Interface"] not in links or e["Bridge"] not in links:
            diff.append("map of endpoints: %s" % e)


def nft_value(v):
    """An element as nft's JSON has it: a value, a prefix, a concatenation."""
    if isinstance(v, dict) and "prefix" in v:
        return plain("%s/%d" % (v["prefix"]["addr"], v["prefix"]["len"]))
    if isinstance(v, dict) and "concat" in v:
        return tuple(nft_value(x) for x in v["concat"])
    return v


def nft_compare(diff, want):
    table = json.loads(run("nft", "-j", "list", "table", "inet", "kedge-" + instance))["nftables"]
    sets = {x["name"]: x.get("elem", []) for o in table for k, x in o.items() if k in ("set", "map")}
    # nft does not know that indices of interfaces are in the machine's own byte order.
    names = {int(l.split(":")[0]): l.split(": ")[1].split("@")[0] for l in run("ip", "-o", "link").splitlines()}
    bridges = {names.get(int.from_bytes((int(e) & 0xffffffff).to_bytes(4, "big"), sys.byteorder), e) for e in sets["bridges"]}
    differ(diff, "set of bridges", bridges, want["bridges"])
    differ(diff, "sets of masqueraded subnets", {nft_value(e) for k in ("masq4", "masq6") for e in sets[k]}, {plain(a) for a in want["subnets"]})
    for name, six in (("any4", False), ("any6", True)):
        differ(diff, name, {(nft_value(k)[1], plain(nft_value(v)[0])) for k, v in sets[name]}, {(p, plain(a)) for p, a in want["ports"] if (":" in a) == six})


def compare():
    """What differs between the engine's word and the kernel."""
    diff = []
    nets = {n["Id"]: n for n in call("GET", "/networks")[1]}
    bridged = [n for n in nets.values() if n["Driver"] == "bridge"]
    want = {"bridges": {"kedge0" if n["Name"] == "bridge" else "br-" + n["Id"][:12] for n in bridged}, "addresses": set(), "ports": set(),
            "subnets": {c["Subnet"] for n in bridged for c in n["IPAM"]["Config"]}}
    differ(diff, "bridges", {l.split()[0].split("@")[0] for l in run("ip", "-br", "link", "show", "type", "bridge").splitlines()}, want["bridges"])
    endpoints, spaces, listening = 0, set(), set()
    for box in BOXES:
        c = call("GET", "/containers/%s/json" % box)[1]
        eps = c["NetworkSettings"]["Networks"]
        if not c["State"]["Running"]:
            if any(e["IPAddress"] for e in eps.values()):
                diff.append(box + " is stopped and has addresses")
            continue
        endpoints += len(eps)
        spaces.add(c["Id"])
        box_compare(diff, box, c, nets)
        want["addresses"] |= {a for e in eps.values() for a in (e["IPAddress"], e["GlobalIPv6Address"]) if a}
        for b in c["NetworkSettings"]["Ports"].get("80/tcp") or []:
            listening.add(int(b["HostPort"]))
            gw = gateway(eps, "IPv6Gateway" if ":" in b["HostIp"] else "Gateway")
            if gw:
                want["ports"].add((int(b["HostPort"]), gw["GlobalIPv6Address" if ":" in b["HostIp"] else "IPAddress"]))
    differ(diff, "listeners", {int(l.split()[3].rsplit(":", 1)[1]) for l in run("ss", "-Hltn").splitlines() if ":53 " not in l}, listening)
    differ(diff, "namespaces", set(os.listdir(netns)), spaces)
    veths = sum(l.startswith("kv") for l in run("ip", "-br", "link").splitlines())
    if veths != endpoints:
        diff.append("%d veths for %d endpoints" % (veths, endpoints))
    path = dict(call("GET", "/info")[1]["DriverStatus"]).get("Datapath", "")
    if "ebpf" in path:
        ebpf_compare(diff, want)
    elif "nft" in path:
        nft_compare(diff, want)
    return path, diff


for _ in range(100):
    path, diff = compare()
    if not diff:
        break
    time.sleep(0.1)
print("compared on the data path", path)
for d in diff:
    print("difference:", d)
sys.exit(1 if diff or bad else 0)
