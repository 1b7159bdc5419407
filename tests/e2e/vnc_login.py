#!/usr/bin/env python3
"""vnc_login.py SOCKET|PORT PASSWORD: says whether VNC on that unix socket, or that port of 127.0.0.1, admits who knows the
password: `admitted`, `refused`.

The protocol is RFC 6143. Its authentication encrypts a challenge by DES, for which openssl is asked.
"""
import os
import socket
import subprocess
import sys

NONE, VNC_AUTH = 1, 2


def des(password, challenge):
    key = password.encode()[:8].ljust(8, b"\0")
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in key)  # VNC counts a byte's bits from the other end
    return subprocess.run(
        ["openssl", "enc", "-des-ecb", "-nopad", "-K", mirrored.hex(), "-provider", "legacy", "-provider", "default"],
        input=challenge, stdout=subprocess.PIPE, check=True).stdout


def read(s, count):
    data = b""
    while len(data) < count:
        more = s.recv(count - len(data))
        if not more:
            sys.exit("VNC has closed the connection")
        data += more
    return data


where = ("127.0.0.1", int(sys.argv[1])) if sys.argv[1].isdigit() else sys.argv[1]
with socket.socket(socket.AF_UNIX if where == sys.argv[1] else socket.AF_INET) as s:
    s.settimeout(20 * int(os.environ.get("E2E_PATIENCE", "1")))
    s.connect(where)
    s.sendall(read(s, 12))  # the version that is offered
    offered = read(s, read(s, 1)[0])
    kind = VNC_AUTH if VNC_AUTH in offered else NONE
    s.sendall(bytes([kind]))
    if kind == VNC_AUTH:
        s.sendall(des(sys.argv[2], read(s, 16)))
    print("refused" if int.from_bytes(read(s, 4), "big") else "admitted")
