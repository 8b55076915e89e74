# SPDX-License-Identifier: Apache-2.0
"""Both ends of a cell of tests/system/net_table.sh.

serve PORT: answers TCP and UDP, both families, with the sender's address.
ask ADDRESS4,... ADDRESS6,... PORT: asks over each; prints a line "PROTO FAMILY ANSWER" each, the answer of all addresses or "-".
Several addresses of a family have to give the same answer.
"""
import socket
import sys
import threading

WAIT = 1.5


def plain(a):
    return a[7:] if a.startswith("::ffff:") else a


def serve(port):
    def udp(family, addr):
        s = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((addr, port))
        while True:
            _, a = s.recvfrom(2000)
            s.sendto(a[0].encode(), a)

    def tcp(c, a):
        c.recv(16)
        c.sendall(plain(a[0]).encode())
        c.close()

    for family, addr in (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"):
        threading.Thread(target=udp, args=(family, addr), daemon=True).start()
    s = socket.socket(socket.AF_INET6)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", port))
    s.listen(50)
    while True:
        threading.Thread(target=tcp, args=s.accept(), daemon=True).start()


def ask(proto, host, port):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(WAIT)
    try:
        s.connect((host, port))
        s.sendall(b"x")
        return s.recv(100).decode() or "-"
    except OSError:
        return "-"


def main():
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    port = int(sys.argv[4])
    cells = {}

    def cell(proto, family, hosts):
        got = {ask(proto, h, port) for h in hosts.split(",")}
        cells[proto, family] = got.pop() if len(got) == 1 else "differs:" + "/".join(sorted(got))

    threads = [threading.Thread(target=cell, args=(p, f, h)) for p in ("tcp", "udp") for f, h in ((4, sys.argv[2]), (6, sys.argv[3]))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for (proto, family), got in sorted(cells.items()):
        print(proto, family, got)


main()
