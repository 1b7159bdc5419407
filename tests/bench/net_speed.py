"""net_speed.py GUEST SOCKET ADDRESS: how fast the guest sends to the host, from its ADDRESS on a network and by a bare tap.

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
MIB, TURNS = 64, 41
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
    with socket.create_connection((address, 8000), timeout=30) as connection:
        connection.sendall(b"GET /zeros HTTP/1.0\r\n\r\n")
        got, start = 0, time.monotonic()
        while data := connection.recv(1 << 20):
            got += len(data)
        took = time.monotonic() - start
    assert got >= MIB << 20, "it ended after %d bytes" % got
    return got / took / 1e6


# the guest would ask for a lease on what is plugged, and take the bare tap's address away again
inside("kill $(pidof uevent); while [ -e /sys/class/net/eth1 ]; do usleep 50000; done; kill $(cat /run/dhcp.eth1/pid) || true")
keeper = Holder(SOCKET)
keeper.call(
    "roost-attach-interface", fds=[bare_tap()], interface={"bridge": "bare0", "mac": "52:54:00:99:00:02", "model": "virtio"}, port=0, forwards=[]
)
inside("until ip addr add 10.99.0.2/24 dev eth1; do usleep 50000; done; ip link set eth1 up")
# busybox's httpd sends a file by sendfile(): the guest's own share of the time stays small under TCG
inside("mkdir /run/www && dd if=/dev/zero of=/run/www/zeros bs=1M count=%d && httpd -p 8000 -h /run/www" % MIB)
speeds = {ADDRESS: [], "10.99.0.2": []}
for _ in range(TURNS):
    for address, measured in speeds.items():
        measured.append(speed(address))
network, bare = (statistics.median(measured) for measured in speeds.values())
print(json.dumps({"network": round(network, 1), "bare": round(bare, 1), "ratio": round(network / bare, 2)}))
