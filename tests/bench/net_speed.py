"""net_speed.py GUEST SOCKET ADDRESS: how fast the guest sends to the host, by its network to ADDRESS and by a bare tap.

The bare tap is in the host's namespace, without bridge, guards or router; it is plugged into the same running guest, whose keeper's
socket is SOCKET. Prints {"network": MB/s, "bare": MB/s, "ratio":}: medians, taking turns.
"""
import fcntl
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.environ["TOP"] + "/tests/e2e")
from bare_guests import Holder  # noqa: E402

GUEST, SOCKET, ADDRESS = sys.argv[1:]
MIB, TURNS = 64, 5
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 0x0002, 0x1000, 0x4000  # linux/if_tun.h


def bare_tap():
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"bare0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    for words in ("addr add 10.99.0.1/24 dev bare0", "link set bare0 up"):
        subprocess.run(["ip", *words.split()], check=True)
    return fd


def inside(command):
    subprocess.run(["roost", "ssh", "root@" + GUEST, command], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def speed(address):
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        sender = subprocess.Popen(
            ["roost", "ssh", "root@" + GUEST, "dd if=/dev/zero bs=65536 count=%d 2>/dev/null | nc %s %d" % (MIB * 16, address, port)],
            stdin=subprocess.DEVNULL,
        )
        listener.settimeout(30)
        connection, _ = listener.accept()
        got, start = 0, time.monotonic()
        while got < MIB << 20:
            data = connection.recv(1 << 20)
            assert data, "it ended after %d bytes" % got
            got += len(data)
        took = time.monotonic() - start
        connection.close()
        sender.wait(30)
    return got / took / 1e6


keeper = Holder(SOCKET)
keeper.call(
    "roost-attach-interface", fds=[bare_tap()], interface={"bridge": "bare0", "mac": "52:54:00:99:00:02", "model": "virtio"}, port=0, forwards=[]
)
inside("until ip link show eth1; do :; done; ip addr flush dev eth1; ip addr add 10.99.0.2/24 dev eth1 && ip link set eth1 up")
speeds = {ADDRESS: [], "10.99.0.1": []}
for _ in range(TURNS):
    for address, measured in speeds.items():
        measured.append(speed(address))
network, bare = (statistics.median(measured) for measured in speeds.values())
print(json.dumps({"network": round(network, 1), "bare": round(bare, 1), "ratio": round(network / bare, 2)}))
