#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A user at a terminal: runs a command on a PTY, types, waits for words, changes the size, and checks how it ends.

  --size RxC         of the terminal at the start
  --say TEXT         type it (\\n, \\x10 are understood)
  --until TEXT       read until it has come
  --poll TEXT WANT   type TEXT again and again until WANT comes
  --resize RxC       change the size
  --status N         at the end: the command's exit status
  -- COMMAND...
Everything has to happen within 20 seconds.
"""
import fcntl, os, pty, select, signal, struct, sys, termios, time

args, command = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
deadline = time.monotonic() + 20
seen = b""


def size_of(word):
    rows, cols = word.split("x")
    return struct.pack("HHHH", int(rows), int(cols), 0, 0)


def give_up(why):
    print(why, "- seen so far:", seen[-2000:].decode(errors="replace"))
    os.kill(pid, signal.SIGKILL)
    sys.exit(1)


def read_some(until):
    global seen
    left = min(until, deadline) - time.monotonic()
    if left <= 0 or not select.select([fd], [], [], left)[0]:
        return None
    try:
        data = os.read(fd, 65536)
    except OSError:
        data = b""
    seen += data
    return data


def wait_for(word):
    global seen
    want = word.encode().decode("unicode_escape").encode("latin-1")
    while want not in seen:
        data = read_some(deadline)
        if data is None:
            give_up(f"gave up waiting for {word!r}")
        if data == b"":
            give_up(f"ended before {word!r}")
    seen = seen[seen.index(want) + len(want):]


def say(word):
    os.write(fd, word.encode().decode("unicode_escape").encode("latin-1"))


first = args[args.index("--size") + 1] if "--size" in args else "24x80"
ready_r, ready_w = os.pipe()
pid, fd = pty.fork()
if pid == 0:
    os.read(ready_r, 1)     # the terminal has its size by now
    os.execvp(command[0], command)
fcntl.ioctl(fd, termios.TIOCSWINSZ, size_of(first))
os.write(ready_w, b"x")
status = now = None
while args:
    op = args.pop(0)
    if op == "--size":
        args.pop(0)
    elif op == "--say":
        say(args.pop(0))
    elif op == "--until":
        wait_for(args.pop(0))
    elif op == "--resize":
        now = args.pop(0)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, size_of(now))
    elif op == "--poll":
        text, want = args.pop(0), args.pop(0).encode()
        while want not in seen:
            # docker's client looks at the size first and listens for its changes after that: what falls between it misses.
            for size in (now.replace("x", "x1"), now) if now else ():
                fcntl.ioctl(fd, termios.TIOCSWINSZ, size_of(size))
            say(text)
            until = time.monotonic() + 0.3
            while want not in seen and read_some(until):
                pass
            if time.monotonic() > deadline:
                give_up(f"gave up waiting for {want!r}")
        seen = seen[seen.index(want) + len(want):]
    elif op == "--status":
        status = int(args.pop(0))
while True:
    data = read_some(deadline)
    if data is None:
        give_up("does not end")
    if data == b"":
        break
_, raw = os.waitpid(pid, 0)
got = os.waitstatus_to_exitcode(raw)
if status is not None and got != status:
    print("exit status", got, "not", status, "- seen:", seen[-1000:].decode(errors="replace"))
    sys.exit(1)
