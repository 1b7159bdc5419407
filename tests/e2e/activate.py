#!/usr/bin/env python3
"""activate.py SOCKET PROGRAM...: what systemd does with a .socket and a .service unit, for tests without systemd.

It binds SOCKET and keeps it. Whenever a client waits there and no PROGRAM runs, it runs one with the listener as fd 3,
LISTEN_FDS and LISTEN_PID; after 5 that ended by themselves it gives up. SIGUSR1 ends PROGRAM as `systemctl restart`
would; SIGTERM ends both and leaves the socket's file.
"""
import os
import select
import signal
import socket
import sys

path, program = sys.argv[1], sys.argv[2:]
child = failures = 0


def end(number, _frame):
    global failures
    if child:
        failures -= 1
        os.kill(child, signal.SIGTERM)
    if number == signal.SIGTERM:
        if child:
            os.waitpid(child, 0)
        os._exit(0)


os.umask(0o077)
listener = socket.socket(socket.AF_UNIX)
# into its place at one stroke: a roostd that finds no socket there in between makes one
listener.bind(path + ".new")
listener.listen(128)
os.rename(path + ".new", path)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGUSR1, end)
print("listening", flush=True)
while failures < 5:
    select.select([listener], [], [])
    child = os.fork()
    if child == 0:
        os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="roostd.socket")
        os.execv(program[0], program)
    os.waitpid(child, 0)
    child = 0
    failures += 1
