"""Guests without QEMU: who holds a tap's open file is at the guest's end of the cable. For tests of networks.

    holder = Holder(path of net.sock)
    web = Guest(holder, "web", "52:54:00:00:00:01", "192.168.122.10")
    web.lease()                 what DHCP gives: {"address", "router", "dns", "domain", "mtu"}
    web.resolve("db.default.internal", "A")
    web.reaches(db)             does a datagram get there, and its answer back?
    web.send(frame), web.next(lambda frame: ...)
"""
import array
import ctypes
import json
import os
import select
import socket
import struct
import time

# as launch.c does it for a user's QEMU: where Yama forbids it, nobody could take a tap from us
PR_SET_PTRACER = 0x59616D61
ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)

BROADCAST = b"\xff" * 6
# how much longer it may take here until what must come has come
PATIENCE = int(os.environ.get("E2E_PATIENCE", "1"))
HEADER = bytes(10)  # struct virtio_net_hdr


class Holder:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5 * PATIENCE)
        self.socket.connect(path)
        self.buffer = b""
        self.fds = []
        self.line()
        self.call("qmp_capabilities")

    def line(self):
        while b"\n" not in self.buffer:
            data, attached, _, _ = self.socket.recvmsg(65536, 4096)
            if not data:
                raise EOFError("the holder has gone")
            for _, _, fds in attached:
                self.fds += array.array("i", fds)
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def call(self, command, fds=(), **arguments):
        """Its return, and the fds that came with it if there were any; an error is a RuntimeError."""
        message = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
        attached = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([message], attached)
        while "event" in (reply := self.line()):
            pass
        if "error" in reply:
            raise RuntimeError(reply["error"]["desc"])
        taken, self.fds = self.fds, []
        return (reply["return"], taken) if taken else reply["return"]


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def name_bytes(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def skip_name(data, at):
    while data[at] and data[at] < 0xC0:
        at += data[at] + 1
    return at + (2 if data[at] else 1)


def read_name(data, at):
    parts = []
    while data[at]:
        if data[at] >= 0xC0:
            at = struct.unpack_from("!H", data, at)[0] & 0x3FFF
            continue
        parts.append(data[at + 1 : at + 1 + data[at]].decode())
        at += data[at] + 1
    return ".".join(parts)


class Guest:
    def __init__(self, holder, name, mac, address, nic=0, **more):
        self.name, self.address = name, address
        self.mac = bytes.fromhex(mac.replace(":", ""))
        self.tap = "t%s%s" % (self.mac.hex(), "%02d" % nic if nic < 100 else "p%d" % (nic - 100))
        arguments = dict(tap=self.tap, guest=name, nic=nic, mac=mac, address=address, **more)
        self.fds = holder.call("net-tap", **arguments)[1]
        self.macs = {}

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    # ---- frames

    def send(self, frame):
        os.write(self.fds[0], HEADER + frame)

    def next(self, wanted, seconds=1.0):
        """The next frame of which `wanted` says something, that; None if none comes in time."""
        end = time.monotonic() + seconds
        # what has come is looked at, however late it is here
        while select.select([self.fds[0]], [], [], max(0, end - time.monotonic()))[0]:
            frame = os.read(self.fds[0], 70000)[len(HEADER) :]
            self.answer_arp(frame)
            if (found := wanted(frame)) is not None:
                return found
        return None

    def arp(self, what, mac, address, to):
        body = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, what, self.mac, socket.inet_aton(self.address), mac, socket.inet_aton(address))
        self.send(to + self.mac + b"\x08\x06" + body)

    def answer_arp(self, frame):
        if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and frame[38:42] == socket.inet_aton(self.address):
            self.arp(2, frame[22:28], socket.inet_ntoa(frame[28:32]), frame[6:12])

    def mac_of(self, address):
        def told(frame):
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and frame[28:32] == socket.inet_aton(address):
                return frame[22:28]
            return None

        if not self.macs.get(address):
            self.arp(1, bytes(6), address, BROADCAST)
            self.macs[address] = self.next(told, 1.0 * PATIENCE)
        return self.macs[address]

    def udp(self, mac, source, target, source_port, target_port, data):
        body = struct.pack("!HHHH", source_port, target_port, 8 + len(data), 0) + data
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(target))
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        self.send(mac + self.mac + b"\x08\0" + head + body)

    def received(self, port, seconds=1.0, good=lambda data: True):
        """The next datagram to that port: what it holds."""

        def told(frame):
            if frame[12:14] == b"\x08\0" and frame[23] == 17 and struct.unpack_from("!H", frame, 36)[0] == port:
                data = frame[42 : 34 + struct.unpack_from("!H", frame, 38)[0]]
                return data if good(data) else None
            return None

        return self.next(told, seconds)

    # ---- what guests do

    def reaches(self, other, seconds=0.2 * PATIENCE):
        """By MAC, as one that has talked with it before: nothing but the bridge and the guards is asked."""
        for one, two, text in ((self, other, b"ping"), (other, self, b"pong")):
            one.udp(two.mac, one.address, two.address, 7007, 7007, text)
            if two.received(7007, seconds) != text:
                return False
        return True

    def dhcp(self, kind, more=b""):
        message = struct.pack("!BBBBIHH4s4s4s4s16s64s128s", 1, 1, 6, 0, 0x5157, 0, 0x8000, b"", b"", b"", b"", self.mac, b"", b"")
        options = b"\x63\x82\x53\x63\x35\x01" + bytes([kind]) + more + b"\x37\x06\x01\x03\x06\x0f\x0c\x1a\xff"
        self.udp(BROADCAST, "0.0.0.0", "255.255.255.255", 68, 67, message + options)
        # the answers to others are broadcast, too
        data = self.received(68, 0.3 * PATIENCE, lambda data: data[28:34] == self.mac)
        if data is None:
            return None
        told, at = {"address": socket.inet_ntoa(data[16:20])}, 240
        while data[at] != 255:
            told[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
            at += 2 + data[at + 1]
        return told

    def lease(self):
        offer = self.dhcp(1)
        if offer is None:
            return None
        told = self.dhcp(3, b"\x32\x04" + socket.inet_aton(offer["address"]) + b"\x36\x04" + offer[54])
        if told is None or told[53] != b"\5":
            return None
        address = lambda option: socket.inet_ntoa(told[option]) if option in told else None
        return {
            "address": told["address"],
            "router": address(3),
            "dns": address(6),
            "server": address(54),
            "domain": told.get(15, b"").decode(),
            "name": told.get(12, b"").decode(),
            "mtu": struct.unpack("!H", told[26])[0] if 26 in told else 1500,
        }

    def resolve(self, name, kind, server):
        """The answers' texts, sorted; None if no answer comes, asked as often as resolvers do."""
        types = {"A": 1, "AAAA": 28, "PTR": 12}
        question = struct.pack("!HHHHHH", 77, 0x100, 1, 0, 0, 0) + name_bytes(name) + struct.pack("!HH", types[kind], 1)
        mac = self.mac_of(server)
        if mac is None:
            return None
        for _ in range(PATIENCE):
            self.udp(mac, self.address, server, 5353, 53, question)
            data = self.received(5353)
            if data is not None:
                break
        else:
            return None
        at, answers = skip_name(data, 12) + 4, []
        for _ in range(struct.unpack_from("!H", data, 6)[0]):
            at = skip_name(data, at)
            found, _, _, length = struct.unpack_from("!HHIH", data, at)
            at += 10
            if found == types["PTR"]:
                answers.append(read_name(data, at))
            elif found == types[kind]:
                answers.append(socket.inet_ntop(socket.AF_INET if length == 4 else socket.AF_INET6, data[at : at + length]))
            at += length
        return sorted(answers)
