#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client of the attach operations on a Unix socket, by hand.

  attach_talk.py SOCKET raw|ws PATH [STEP...]

Steps: say=TEXT  half-close  until=TEXT  end (the engine ends the stream)  close (websocket: a close frame)  ping (websocket)
       frame=HEX (websocket: bytes as they are, unmasked and all)  refused=STATUS (instead of a stream)
Python's escapes are understood in TEXT. Everything that came is printed at the end. 20 seconds for all.
"""
import base64, hashlib, os, select, socket, struct, sys, time

path, mode, target = sys.argv[1:4]
steps = sys.argv[4:]
deadline = time.monotonic() + 20
s = socket.socket(socket.AF_UNIX)
s.connect(path)
raw, out, ended, pongs = b"", b"", False, 0


def fail(why):
    print(why, "- seen so far:", out[-1000:], raw[-200:])
    sys.exit(1)


def more():
    global raw, ended
    left = deadline - time.monotonic()
    if left <= 0 or not select.select([s], [], [], left)[0]:
        fail("gave up")
    try:
        data = s.recv(65536)
    except ConnectionResetError:
        data = b""
    if not data:
        ended = True
    raw += data


def frames():
    """Websocket frames of the engine into out."""
    global raw, out, ended, pongs
    while len(raw) >= 2:
        op, n, at = raw[0] & 15, raw[1] & 127, 2
        if raw[1] & 128:
            fail("the engine masks its frames")
        if n == 126:
            if len(raw) < 4:
                return
            n, at = struct.unpack(">H", raw[2:4])[0], 4
        elif n == 127:
            if len(raw) < 10:
                return
            n, at = struct.unpack(">Q", raw[2:10])[0], 10
        if len(raw) < at + n:
            return
        data, raw = raw[at:at + n], raw[at + n:]
        if op == 8:
            ended = True
        elif op == 10:
            pongs += 1
        else:
            out += data


def take():
    global raw, out
    if mode == "ws":
        frames()
    else:
        out, raw = out + raw, b""


def send_frame(op, data):
    mask = os.urandom(4)
    head = bytes([0x80 | op]) + (bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data)))
    s.sendall(head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(data)))


key = base64.b64encode(os.urandom(16)).decode()
if mode == "ws":
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
else:
    request = f"POST {target} HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n"
s.sendall(request.encode())
while b"\r\n\r\n" not in raw and not ended:
    more()
head, _, raw = raw.partition(b"\r\n\r\n")
if steps and steps[0].startswith("refused="):
    want = steps[0].split("=")[1]
    print(raw.decode())
    sys.exit(0 if head.split()[1].decode() == want else 1)
if b" 101 " not in head.split(b"\r\n")[0]:
    fail(f"no 101: {head} {raw}")
if mode == "ws":
    want = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
    if b"Sec-WebSocket-Accept: " + want not in head:
        fail(f"wrong Sec-WebSocket-Accept: {head}")
for step in steps:
    word, _, text = step.partition("=")
    text = text.encode().decode("unicode_escape").encode("latin-1")
    if word == "say":
        send_frame(1, text) if mode == "ws" else s.sendall(text)
    elif word == "frame":
        s.sendall(bytes.fromhex(text.decode()))
    elif word == "half-close":
        s.shutdown(socket.SHUT_WR)
    elif word == "close":
        send_frame(8, b"\x03\xe8")
    elif word == "ping":
        send_frame(9, b"hello")
        while not pongs:
            more()
            take()
    elif word == "until":
        take()
        while text not in out:
            if ended:
                fail(f"ended before {text}")
            more()
            take()
    elif word == "end":
        while not ended:
            more()
            take()
take()
sys.stdout.buffer.write(out)
