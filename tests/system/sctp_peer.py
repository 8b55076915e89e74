# SPDX-License-Identifier: Apache-2.0
"""An SCTP server and clients by the kernel's one-to-one sockets, for tests.

serve PORT [UP [LOG [STREAMS]]]   over both families; echoes each message on its stream, with its identifier and order. Makes the file UP when it listens;
                                  writes into LOG what each association was: "ADDRESS IN/OUT-streams N-messages end". Messages that are orders: "who" is
                                  answered with the client's address, "status" with the numbers of streams, "close" and "abort" with an end; "stall FIFO" is
                                  not followed by reading before somebody has opened that, "big N" answered with a message of N bytes.
ask HOST PORT [TEXT]              the answer to "who", and TEXT's if there is one; fails after $ASK_S seconds, 3
echo HOST PORT                    messages of all sizes, streams, identifiers, ordered and not: each has to come back as it was, and whole
streams HOST PORT OUT IN          what both ends have agreed to, when the client asks for so many
beyond HOST PORT SID              a message on a stream the server has not agreed to, by a client that has it: how it ends
end HOST PORT shutdown|abort|close-please|abort-please    how the association ends, as the client sees it
stall HOST PORT MOST              how much is taken while nobody reads there: at least something, at most MOST bytes; all comes back afterwards
hoard HOST PORT N                 N associations, each with the beginning of a message that never ends; then an orderly one
restart HOST PORT                 begins anew on the ports of an association whose end nobody has heard of
"""
import errno
import os
import select
import shutil
import socket
import struct
import sys
import tempfile
import threading

SCTP, INITMSG, STATUS, NODELAY, RECVRCVINFO = socket.IPPROTO_SCTP, 2, 14, 3, 32
SNDINFO, RCVINFO, UNORDERED, MSG_EOR = 2, 3, 1, socket.MSG_EOR
SO_SNDBUFFORCE = 32


def plain(a):
    return a[7:] if a.startswith("::ffff:") else a


def status(s):
    """(streams in, streams out)"""
    raw = s.getsockopt(SCTP, STATUS, 300)
    return struct.unpack_from("=iiIHHHH", raw)[5:7]


def send(s, data, sid=0, ppid=0, flags=0):
    s.sendmsg([data], [(SCTP, SNDINFO, struct.pack("=HHIIi", sid, flags, ppid, 0, 0))])


def receive(s):
    """(message, sid, ppid, unordered), or None at the end"""
    data, how = b"", None
    while True:
        part, anc, flags, _ = s.recvmsg(1 << 21, 256)
        if not part:
            return None
        for level, kind, raw in anc:
            if level == SCTP and kind == RCVINFO:
                sid, _, f, ppid = struct.unpack_from("=HHHxxI", raw)
                how = sid, ppid, f & UNORDERED
        data += part
        if flags & MSG_EOR:
            return (data,) + how


def setup(s, out=10, inn=2048):
    s.setsockopt(SCTP, INITMSG, struct.pack("=HHHH", out, inn, 0, 0))
    s.setsockopt(SCTP, NODELAY, struct.pack("i", 1))
    s.setsockopt(SCTP, RECVRCVINFO, struct.pack("i", 1))
    s.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 20)  # no message may be larger
    return s


def sock(host, **kw):
    return setup(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, SCTP), **kw)


def call(host, port, **kw):
    s = sock(host, **kw)
    s.settimeout(float(os.environ.get("ASK_S", 3)))
    s.connect((host, port))
    s.settimeout(max(20, float(os.environ.get("ASK_S", 3))))
    return s


def abort(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def one(s, peer, log):
    n, end = 0, "shutdown"
    inn, out = status(s)
    try:
        while True:
            m = receive(s)
            if m is None:
                break
            n += 1
            data = m[0]
            if data == b"who":
                data = plain(peer[0]).encode()
            elif data == b"status":
                data = b"%d/%d" % (inn, out)
            elif data == b"close":
                break
            elif data == b"abort":
                end = "aborted by us"
                abort(s)
                break
            elif data.startswith(b"stall "):
                open(data[6:]).close()
                continue
            elif data.startswith(b"big "):
                data = bytes(int(data[4:]))
            try:
                send(s, data, m[1], m[2], m[3])
            except OSError as e:
                if e.errno not in (errno.EPIPE, errno.ESHUTDOWN):  # it has begun to end; what it had sent is still here
                    raise
    except ConnectionResetError:
        end = "abort"
    except OSError as e:
        end = errno.errorcode.get(e.errno, str(e))
    s.close()
    if log:
        with open(log, "a") as f:
            f.write("%s %d/%d %d %s\n" % (plain(peer[0]), inn, out, n, end))


def serve(port, up=None, log=None, streams="2048"):
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, SCTP)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    setup(s, int(streams), int(streams))
    s.bind(("::", int(port)))
    s.listen(64)
    if up:
        open(up, "w").close()
    while True:
        c, peer = s.accept()
        setup(c)
        threading.Thread(target=one, args=(c, peer, log), daemon=True).start()


def ask(host, port, text=None):
    s = call(host, int(port))
    send(s, b"who")
    print(receive(s)[0].decode(), end="" if text else "\n")
    if text:
        send(s, text.encode())
        print(" " + receive(s)[0].decode())
    s.close()


def echo(host, port):
    s = call(host, int(port), out=64, inn=64)
    sizes = [1, 3, 1400, 1500, 65535, 65536, 65537, 200000, 1000000] + [n * 40 for n in range(1, 100)]
    for n, size in enumerate(sizes):
        want = (os.urandom(997) * (size // 997 + 1))[:size], n % 64, 0xdead0000 + n, n % 3 == 0
        send(s, want[0], want[1], want[2], UNORDERED if want[3] else 0)
        got = receive(s)
        assert got == want, (n, size, got and (len(got[0]), got[1:]), want[1:])
    # Many under way at a time: each stream's in order.
    for n in range(640):
        send(s, b"%d" % n, n % 64, n)
    last = {}
    for n in range(640):
        data, sid, ppid, _ = receive(s)
        assert int(data) == ppid and ppid % 64 == sid and last.get(sid, -1) < ppid, (data, sid, ppid)
        last[sid] = ppid
    s.close()
    print("%d echoed" % (len(sizes) + 640))


def streams(host, port, out, inn):
    s = call(host, int(port), out=int(out), inn=int(inn))
    send(s, b"status")
    print("%d/%d" % status(s)[::-1], receive(s)[0].decode())


def outcome(s):
    try:
        return "shutdown" if receive(s) is None else "goes on"
    except ConnectionResetError:
        return "abort"


def beyond(host, port, sid):
    s = call(host, int(port), out=int(sid) + 1)
    send(s, b"x", int(sid))
    print(outcome(s))


def end(host, port, how):
    s = call(host, int(port), inn=10)
    for n in range(50):
        send(s, b"%d" % n * 1000, n % 10)
    for n in range(50):
        receive(s)
    if how == "shutdown":
        for n in range(50):
            send(s, b"%d" % n * 1000, n % 10)
        # To close it with answers unread would be an ABORT.
        s.shutdown(socket.SHUT_WR)
        s.settimeout(2)
        try:
            while receive(s):
                pass
        except OSError:
            pass  # who ends first is not told of the end
    elif how == "abort":
        abort(s)
    else:
        send(s, how.split("-")[0].encode())
        print(outcome(s))


def stall(host, port, most):
    s, go, sent = call(host, int(port)), os.path.join(tempfile.mkdtemp(), "go"), 0
    os.mkfifo(go)
    send(s, b"stall " + go.encode())
    s.settimeout(1)
    try:
        while True:
            send(s, bytes(50000), 1)
            sent += 1
    except (TimeoutError, BlockingIOError):
        pass  # full, and stays so
    open(go, "w").close()
    shutil.rmtree(os.path.dirname(go))
    print("%d messages" % sent)
    assert 0 < sent * 50000 <= int(most), sent * 50000
    s.settimeout(60)
    for n in range(sent):
        assert len(receive(s)[0]) == 50000, n
    print("all back")


def hoard(host, port, n):
    held = []
    for _ in range(int(n)):
        s = call(host, int(port))
        s.setblocking(False)
        # More than any window, and nobody reads the answers.
        send(s, b"big 900000")
        held.append(s)
    for s in held:
        assert select.select([s], [], [], 30)[0], "no answer has begun"
    ask(host, port)
    for s in held:
        abort(s)


def restart(host, port):
    s = call(host, int(port))
    mine = s.getsockname()
    send(s, b"first", 1)
    assert receive(s)[0] == b"first"
    # Its end does not get out.
    os.system("nft 'add table inet mute; add chain inet mute out { type filter hook output priority 0; }; add rule inet mute out meta l4proto 132 drop'")
    abort(s)
    os.system("nft delete table inet mute")
    s = sock(host)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(mine[:2])
    s.settimeout(10)
    s.connect((host, int(port)))
    s.settimeout(20)
    send(s, b"second", 1)
    assert receive(s)[0] == b"second"
    s.close()
    print("restarted")


globals()[sys.argv[1]](*sys.argv[2:])
