# SPDX-License-Identifier: Apache-2.0
"""What a packet's way costs: CPU time per operation, all sides measured in turns in one run.

  host     the same server in a container on the host's own network; the same engine's in the case of dockerd
  routed   the same server in a bare namespace behind a veth, a bridge and a host that forwards; no engine
  kedge    published by kedge
  dockerd  published by dockerd

Counted is the CPU time of everything that takes part, and of nothing else on the machine: the client, the servers, the engines, their proxies
and what the kernel does in their name, as the scheduler accounts it in nanoseconds. The values are ratios to host, of each side's lower quartile
over the rounds: what disturbs only ever adds. A server's own files, filters and logs are so on both sides of a ratio.
"""
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import time

from engines import BUILD, IMAGES, Api, Dockerd, Kedge, sh, until

PATHS = {}
SECONDS = 1


def path(name, title, unit, bar):
    """Registers a measurement: function(lab) -> {side: number}."""
    def put(f):
        PATHS[name] = (title, unit, bar, f)
        return f
    return put


def enter(ns):
    return ["nsenter", f"--net=/run/netns/{ns}"]


class Lab:
    """Namespaces beside the one we are in, each with a link of its own to the client: plain (routed), dock (dockerd), relay (proxies)."""

    LINKS = {"plain": "198.51.100", "dock": "203.0.113", "relay": "198.18.0"}

    def __init__(self, tmp, rounds, dockerd):
        self.tmp, self.rounds, self.engines, self.procs, self.relaying = tmp, rounds, [], [], False
        for i, (ns, net) in enumerate(self.LINKS.items()):
            sh("sh", "-ec", f"""
                ip netns add {ns}; ip link add up{i + 1} netns {ns} type veth peer name eth{i + 1} netns client
                nsenter --net=/run/netns/client sh -c 'ip addr add {net}.2/24 dev eth{i + 1}; ip link set eth{i + 1} up'
                nsenter --net=/run/netns/{ns} sh -c 'ip link set lo up; ip addr add {net}.1/24 dev up{i + 1}; ip link set up{i + 1} up
                    ip route add default via {net}.2; sysctl -q net.ipv4.ip_forward=1 net.ipv4.tcp_tw_reuse=1'""")
        try:
            self.kedge = self.engine(Kedge, "kedge")
            self.serve(self.kedge)
            self.routed()
            self.dockerd = self.engine(Dockerd, "dockerd", where=enter("dock")) if dockerd else None
            if dockerd:
                self.serve(self.dockerd)
            self.answers("http://192.0.2.1:80/", "http://192.0.2.1:8080/", "http://10.99.0.2/",
                         *(["http://203.0.113.1:80/", "http://203.0.113.1:8080/"] if dockerd else []))
        except BaseException:
            self.stop()
            raise

    def engine(self, make, name, **more):
        tmp = f"{self.tmp}/{name}"
        os.makedirs(tmp)
        e = make(tmp, **more)
        self.engines.append(e)
        for i in ("nginx", "iperf3", "busybox"):
            e.run("load", "-q", "-i", f"{IMAGES}/{i}.tar")
        return e

    @staticmethod
    def run(e, *args):
        return e.run("run", "-d", *args)

    def serve(self, e):
        self.run(e, "--network", "host", "nginx:alpine-like")
        self.run(e, "--network", "host", "iperf3", "-s", "-p", "5300")
        self.run(e, "-p", "8080:80", "nginx:alpine-like")
        self.run(e, "-p", "5301:5201", "-p", "5301:5201/udp", "iperf3")

    def routed(self):
        sh(*enter("plain"), "sh", "-ec", "ip link add br0 type bridge; ip addr add 10.99.0.1/24 dev br0; ip link set br0 up")
        for i, image in enumerate((("nginx:alpine-like",), ("iperf3", "-s", "-p", "5301"))):
            cid = self.run(self.kedge, "--network", "none", *image)
            pid = self.kedge.run("inspect", "--format", "{{.State.Pid}}", cid)
            sh(*enter("plain"), "sh", "-ec", f"""
                ip link add v{i} type veth peer name eth0 netns {pid}; ip link set v{i} master br0; ip link set v{i} up
                nsenter --net=/proc/{pid}/ns/net sh -c 'ip addr add 10.99.0.{i + 2}/24 dev eth0; ip link set eth0 up; ip route add default via 10.99.0.1'""")
        sh(*enter("client"), "ip", "route", "add", "10.99.0.0/24", "via", "198.51.100.1")

    def relay(self):
        """An engine that relays, and docker-proxy, in front of the same server. docker-proxy tells its parent on descriptor 3 that it listens."""
        if not self.relaying:
            e = self.engine(Kedge, "relay", instance="bench-relay", where=enter("relay"), more=("--datapath=proxy",))
            cid = self.run(e, "-p", "8080:80", "nginx:alpine-like")
            ip = e.run("inspect", "--format", "{{.NetworkSettings.IPAddress}}", cid)
            self.procs.append(subprocess.Popen([*enter("relay"), "sh", "-c", f"exec docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 8081 -container-ip {ip} "
                                                "-container-port 80 3>/dev/null"]))
            self.answers("http://198.18.0.1:8080/", "http://198.18.0.1:8081/")
            self.relaying = True

    @staticmethod
    def answers(*urls):
        for u in urls:
            until(20, u, lambda: subprocess.run([*enter("client"), "curl", "-fsS", "-o", "/dev/null", "--max-time", "1", u],
                  stderr=subprocess.DEVNULL).returncode == 0)

    def stop(self):
        for p in self.procs:
            p.kill()
            p.wait()
        for e in reversed(self.engines):
            for cid in e.run("ps", "-aq").split():
                e.run("rm", "-f", cid)
            e.stop()
        for e in self.engines:
            for mounted in ("run", "d/run", "d/lib"):
                subprocess.run(["umount", "-l", f"{e.tmp}/{mounted}"], stderr=subprocess.DEVNULL)

    # ---- accounts ----

    def nets(self):
        """The network namespaces that take part: ours, the named ones and those of their containers."""
        known = {os.stat("/proc/self/ns/net").st_ino} | {os.stat(f"/run/netns/{n}").st_ino for n in ("client", *self.LINKS)}
        for e in self.engines:
            for pid in e.run("inspect", "--format", "{{.State.Pid}}", *e.run("ps", "-q").split()).split():
                known.add(os.stat(f"/proc/{pid}/ns/net").st_ino)
        return known

    @staticmethod
    def spent(nets):
        """pid -> ns of CPU of all its threads."""
        out = {}
        for pid in os.listdir("/proc"):
            try:
                if not pid.isdigit() or int(pid) == os.getpid():
                    continue
                if os.stat(f"/proc/{pid}/ns/net").st_ino not in nets:
                    with open(f"/proc/{pid}/comm") as f:
                        if not f.read().startswith("ksoftirqd"):
                            continue
                total = 0
                for t in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{t}/schedstat") as f:
                        total += int(f.read().split()[0])
                out[pid] = total
            except OSError:
                pass		# gone in this moment
        return out

    def cost(self, nets, cmd):
        """Runs the client: (its output, ns of CPU everywhere)."""
        before, r = self.spent(nets), resource.getrusage(resource.RUSAGE_CHILDREN)
        out = sh(*cmd)
        s, after = resource.getrusage(resource.RUSAGE_CHILDREN), self.spent(nets)
        return out, (s.ru_utime + s.ru_stime - r.ru_utime - r.ru_stime) * 1e9 + sum(v - before.get(p, 0) for p, v in after.items())

    def ratios(self, sides, base="host", between=None):
        """sides: name -> function(nets) -> ns per operation. Each in turn, so many rounds; ratios to base, or to "NAME host"."""
        nets, got = self.nets(), {k: [] for k in sides}
        for _ in range(self.rounds):
            for k, f in sides.items():
                if between:
                    between(k)
                    nets = self.nets()
                got[k].append(f(nets))
        low = {k: statistics.quantiles(v, n=4, method="inclusive")[0] for k, v in got.items()}
        return {k: low[k] / low.get(f"{k} host", low[base]) for k in sides if not k.endswith(base)}

    # ---- clients ----

    def wrk(self, ns, url, close):
        cmd = [*ns, "wrk", "-t1", "-c16", f"-d{SECONDS}s"] + (["-H", "Connection: close"] if close else []) + [url]

        def once(nets):
            out, ns = self.cost(nets, cmd)
            return ns / int(next(line.split()[0] for line in out.splitlines() if "requests in" in line))
        return once

    def iperf(self, address, port, udp):
        cmd = [*enter("client"), "iperf3", "-c", address, "-p", str(port), "-t", str(SECONDS), "-J"] + (["-u", "-b", "0", "-l", "64"] if udp else [])

        def once(nets):
            out, ns = self.cost(nets, cmd)
            r = json.loads(out)["end"]
            return ns / ((r["sum"]["packets"] - r["sum"]["lost_packets"]) if udp else r["sum_received"]["bytes"] / 1e6)
        return once

    def sides(self, make, **where):
        return {k.replace("_", " "): make(*v) for k, v in where.items() if not k.startswith("dockerd") or self.dockerd}


def need(*programs):
    for p in programs:
        if not shutil.which(p):
            raise RuntimeError(f"{p} is not installed")


def requests(lab, close, near):
    """Of a remote client, or of one on the host itself (near), which comes by loopback but to the server that is only routed to."""
    need("wrk")

    def side(ns, address, own, port):
        return lab.wrk(ns if near else enter("client"), f"http://{own if near else address}:{port}/", close)

    dock = (enter("dock"), "203.0.113.1", "127.0.0.1")
    return lab.ratios(lab.sides(side, host=([], "192.0.2.1", "127.0.0.1", 80), kedge=([], "192.0.2.1", "127.0.0.1", 8080),
                                routed=(enter("plain"), "10.99.0.2", "10.99.0.2", 80), dockerd_host=(*dock, 80), dockerd=(*dock, 8080)))


def stream(lab, udp):
    need("iperf3")
    return lab.ratios(lab.sides(lambda a, p: lab.iperf(a, p, udp), host=("192.0.2.1", 5300), kedge=("192.0.2.1", 5301), routed=("10.99.0.3", 5301),
                                dockerd_host=("203.0.113.1", 5300), dockerd=("203.0.113.1", 5301)))


@path("publish", "published port, keep-alive request, remote client: CPU / host's", "x", 1.15)
def publish(lab):
    return requests(lab, False, False)


@path("connect", "published port, new connection, remote client: CPU / host's", "x", 1.08)
def connect(lab):
    return requests(lab, True, False)


@path("bulk", "published port, TCP bulk, remote client: CPU per MB / host's", "x", 1.03)
def bulk(lab):
    return stream(lab, False)


@path("udp", "published port, 64-byte datagram, remote client: CPU / host's", "x", 1.12)
def udp(lab):
    return stream(lab, True)


@path("local", "client on 127.0.0.1, keep-alive request: CPU / host's", "x", 1.08)
def local_keepalive(lab):
    return requests(lab, False, True)


@path("localconnect", "client on 127.0.0.1, new connection: CPU / host's", "x", 1.10)
def local_connect(lab):
    return requests(lab, True, True)


def crowd(lab, close):
    """With 10,000 more ports published, over without."""
    need("wrk")
    api, there = Api(lab.kedge.sock), []

    def between(side):
        if there:
            api.call("DELETE", f"/v1.41/containers/{there.pop()}?force=1")
        if side == "kedge":
            bindings = {f"{30000 + i}/tcp": [{"HostPort": str(20000 + i)}] for i in range(10000)}
            there.append(api.call("POST", "/v1.41/containers/create", {"Image": "busybox", "Cmd": ["sleep", "1000"], "ExposedPorts": {k: {} for k in bindings},
                         "HostConfig": {"PortBindings": bindings}})["Id"])
            api.call("POST", f"/v1.41/containers/{there[0]}/start")

    one = lab.wrk(enter("client"), "http://192.0.2.1:8080/", close)
    out = lab.ratios({"one": one, "kedge": one}, base="one", between=between)
    between("")
    return out


@path("crowd", "keep-alive request with 10,000 ports published: CPU / with 1", "x", 1.03)
def crowd_keepalive(lab):
    return crowd(lab, False)


@path("crowdconnect", "new connection with 10,000 ports published: CPU / with 1", "x", 1.03)
def crowd_connect(lab):
    return crowd(lab, True)


def relayed(lab, close):
    need("wrk", "docker-proxy")
    lab.relay()
    c = enter("client")
    return lab.ratios({"docker-proxy": lab.wrk(c, "http://198.18.0.1:8081/", close), "kedge": lab.wrk(c, "http://198.18.0.1:8080/", close)},
                      base="docker-proxy")


@path("proxy", "userland proxy, keep-alive request: CPU / docker-proxy's", "x", 0.6)
def proxy(lab):
    return relayed(lab, False)


@path("proxyconnect", "userland proxy, new connection: CPU / docker-proxy's", "x", 0.6)
def proxy_connect(lab):
    return relayed(lab, True)


@path("dnat", "the DNAT program alone, per packet of a known flow", "ns", 200)
def dnat(lab):
    sh("make", "-s", "-C", BUILD, "tests/bpf/cost")
    return {"kedge": max(float(line.split()[1]) for line in sh(f"{BUILD}/tests/bpf/cost").splitlines())}
