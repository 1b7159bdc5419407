"""net_guard.py NETWORK SOCKET: what t_net_guard.sh proves of frames, with guests that are nothing but the other ends of their taps."""
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time

from bare_guests import BROADCAST, Guest, Holder, checksum

NAME, SOCKET = sys.argv[1:]
PATIENCE = int(os.environ.get("E2E_PATIENCE", "1"))
MANY = 300
holder = Holder(SOCKET)
PID = holder.call("net-status")["pid"]
since = time.monotonic()


def say(text):
    print("-- %.1f s: %s" % (time.monotonic() - since, text), flush=True)


def roost(*words):
    return subprocess.run(["roost", *words], check=True, capture_output=True, text=True).stdout


def ethernet(to, source, kind, body):
    return to + source + struct.pack("!H", kind) + body


def ip4(source, target, protocol, body):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0, socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def udp(source_port, port, data=b"guarded!"):
    return struct.pack("!HHHH", source_port, port, 8 + len(data), 0) + data


def ip6(source, target, following, body):
    return struct.pack("!IHBB", 6 << 28, len(body), following, 255) + socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target) + body


def icmp6(kind):
    return struct.pack("!BBHI16s", kind, 0, 0, 0, bytes(16))


def arp(mac, address):
    return struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, mac, socket.inet_aton(address), bytes(6), socket.inet_aton("10.77.0.12"))


def frames_of(g, other):
    """(what, the frame, why it is dropped or None)"""
    mac, own, to = g.mac, g.address, other.mac
    foreign = bytes.fromhex("525400666666")
    link = "fe80::5054:ff:fe00:1"
    return [
        ("IPv4", ethernet(to, mac, 0x800, ip4(own, other.address, 17, udp(1, 9))), None),
        ("ARP", ethernet(BROADCAST, mac, 0x806, arp(mac, own)), None),
        ("an ARP probe", ethernet(BROADCAST, mac, 0x806, arp(mac, "0.0.0.0")), None),
        ("a DHCP request", ethernet(BROADCAST, mac, 0x800, ip4("0.0.0.0", "255.255.255.255", 17, udp(68, 67))), None),
        ("IPv6", ethernet(to, mac, 0x86DD, ip6("fd77::1234", "fd77::12", 17, udp(1, 9))), None),
        ("IPv6, link-local", ethernet(to, mac, 0x86DD, ip6(link, "ff02::1", 58, icmp6(135))), None),
        ("a foreign MAC", ethernet(to, foreign, 0x800, ip4(own, other.address, 17, udp(1, 9))), "mac"),
        ("the other's MAC", ethernet(BROADCAST, to, 0x806, arp(to, other.address)), "mac"),
        ("ARP for the gateway", ethernet(BROADCAST, mac, 0x806, arp(mac, "10.77.0.1")), "arp"),
        ("ARP with another MAC in it", ethernet(BROADCAST, mac, 0x806, arp(foreign, own)), "arp"),
        ("the other's IPv4", ethernet(to, mac, 0x800, ip4(other.address, other.address, 17, udp(1, 9))), "ipv4"),
        ("the world's IPv4", ethernet(to, mac, 0x800, ip4("8.8.8.8", other.address, 17, udp(1, 9))), "ipv4"),
        ("the world's IPv6", ethernet(to, mac, 0x86DD, ip6("2001:db8::1", "fd77::12", 17, udp(1, 9))), "ipv6"),
        ("a DHCP server", ethernet(BROADCAST, mac, 0x800, ip4(own, "255.255.255.255", 17, udp(67, 68))), "dhcp-server"),
        ("a DHCP server from another port", ethernet(BROADCAST, mac, 0x800, ip4(own, "255.255.255.255", 17, udp(1067, 68))), "dhcp-server"),
        ("a DHCPv6 server", ethernet(to, mac, 0x86DD, ip6(link, "ff02::1:2", 17, udp(547, 546))), "dhcp-server"),
        ("a DHCPv6 server from another port", ethernet(to, mac, 0x86DD, ip6(link, "ff02::1:2", 17, udp(1547, 546))), "dhcp-server"),
        ("a router advertisement", ethernet(to, mac, 0x86DD, ip6(link, "ff02::1", 58, icmp6(134))), "router"),
        ("a redirect", ethernet(to, mac, 0x86DD, ip6(link, "ff02::1", 58, icmp6(137))), "router"),
        ("a VLAN tag", ethernet(to, mac, 0x8100, struct.pack("!HH", 5, 0x800) + ip4(own, other.address, 17, udp(1, 9))), "protocol"),
        ("a VLAN tag before TCP", ethernet(to, mac, 0x8100, struct.pack("!HH", 5, 0x800) + ip4(own, other.address, 6, bytes(20))), "protocol"),
        ("spanning tree", ethernet(bytes.fromhex("0180c2000000"), mac, 38, bytes.fromhex("424203") + bytes(35)), "protocol"),
        ("an unknown protocol", ethernet(to, mac, 0x88B5, bytes(46)), "protocol"),
    ]


def dropped(g):
    """{why: how many} of that tap, as the counters say."""
    return {d["reason"]: d["packets"] for d in json.loads(roost("net-guard", NAME, "--json")) if d["tap"] == g.tap}


def wait_until(what, holds):
    end = time.monotonic() + 2 * PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def check_dropped(g, why, count):
    """So many of that sort, no more: the kernel may count a frame a moment after it was sent."""
    wait_until("%d of '%s' in %s" % (count, why, dropped(g)), lambda: dropped(g).get(why, 0) >= count)
    assert dropped(g)[why] == count, dropped(g)


def arrives(g, frame, seconds):
    return g.next(lambda got: True if got == frame else None, seconds) is not None


def send_all(g, other):
    expected = {}
    for what, frame, why in frames_of(g, other):
        g.send(frame)
        assert arrives(other, frame, 0.02 if why else 1.0 * PATIENCE) == (why is None), what
        if why:
            expected[why] = expected.get(why, 0) + 1
    wait_until("%s instead of %s" % (dropped(g), expected), lambda: dropped(g) == expected)


say("twenty-three frames: only the legal ones arrive, and the counters say why not")
web = Guest(holder, "web", "52:54:00:00:00:01", "10.77.0.11", address6="fd77::11")
db = Guest(holder, "db", "52:54:00:00:00:02", "10.77.0.12", address6="fd77::12")
send_all(web, db)
plugged = Guest(holder, "web", "52:54:00:00:00:03", "10.77.0.13", nic=100, address6="fd77::13")
send_all(plugged, db)
for g, address in ((plugged, web.address), (web, plugged.address)):
    for frame in (ethernet(db.mac, g.mac, 0x800, ip4(address, db.address, 17, udp(1, 9))), ethernet(BROADCAST, g.mac, 0x806, arp(g.mac, address))):
        g.send(frame)
        assert arrives(db, frame, 1.0 * PATIENCE), "a guest answers by one of its interfaces for the other"
text = roost("net-guard", NAME)
assert " web     nic0        mac " in text and " web     nic100      mac " in text, text

say("an isolated guest has no way to its neighbour")
one = Guest(holder, "one", "52:54:00:00:00:21", "10.77.0.21", address6="fd77::21", isolated=True)
two = Guest(holder, "two", "52:54:00:00:00:22", "10.77.0.22", address6="fd77::22", isolated=True)
gateway = one.mac_of("10.77.0.1")
assert gateway and two.mac_of("10.77.0.1") == gateway, "the gateway is reached"
assert one.resolve("two", "A", "10.77.0.1") == ["10.77.0.22"]
for guest in (two, web, db):
    guest.udp(gateway, guest.address, "10.77.0.1", 1, 9, b"so that the gateway knows it")


def none_arrives(source, target, address6):
    while target.next(lambda frame: frame, 0.01):
        pass  # what came before
    for what, frame in (
        ("a direct frame", ethernet(target.mac, source.mac, 0x800, ip4(source.address, target.address, 17, udp(1, 9)))),
        ("around by the gateway", ethernet(gateway, source.mac, 0x800, ip4(source.address, target.address, 17, udp(1, 9)))),
        ("a broadcast", ethernet(BROADCAST, source.mac, 0x800, ip4(source.address, "10.77.0.255", 17, udp(1, 9)))),
        ("ARP", ethernet(BROADCAST, source.mac, 0x806, arp(source.mac, source.address))),
        ("IPv6 multicast", ethernet(bytes.fromhex("333300000001"), source.mac, 0x86DD, ip6("fe80::5054:ff:fe00:21", "ff02::1", 58, icmp6(136)))),
        ("IPv6 around by the gateway", ethernet(gateway, source.mac, 0x86DD, ip6("fd77::21", address6, 17, udp(1, 9)))),
    ):
        source.send(frame)
        # what the router sends on has another MAC and a shorter life, but the same data
        got = target.next(lambda got: True if got == frame or b"guarded!" in got or got[6:12] == source.mac else None, 0.1)
        assert got is None, "%s from %s to %s" % (what, source.name, target.name)


none_arrives(one, two, "fd77::22")
none_arrives(one, web, "fd77::11")  # which is not isolated
none_arrives(web, one, "fd77::21")
assert web.reaches(db)

say("what was dropped stays counted when the holder is killed, and goes with the tap")
was = dropped(web)
assert was and plugged.tap in roost("net-guard", NAME, "--json")
os.kill(PID, signal.SIGKILL)
end = time.monotonic() + 5 * PATIENCE
while True:
    try:
        holder = Holder(SOCKET)
        if holder.call("net-status")["pid"] != PID:
            break
    except (OSError, EOFError):
        pass
    assert time.monotonic() < end, "the holder does not come back"
    time.sleep(0.02)
PID = holder.call("net-status")["pid"]
assert dropped(web) == was, "%s instead of %s" % (dropped(web), was)
assert not holder.call("net-check"), holder.call("net-check")
none_arrives(one, web, "fd77::11")
web.send(ethernet(db.mac, bytes.fromhex("525400666666"), 0x800, ip4(web.address, db.address, 17, udp(1, 9))))
check_dropped(web, "mac", was["mac"] + 1)
holder.call("net-untap", tap=plugged.tap)
holder.call("net-unhost", mac="52:54:00:00:00:03")  # as roostd says it: its name and lease are nobody's now
assert plugged.tap not in roost("net-guard", NAME, "--json")
web.send(ethernet(db.mac, web.mac, 0x800, ip4(plugged.address, db.address, 17, udp(1, 9))))
check_dropped(web, "ipv4", was["ipv4"] + 1)  # what it no longer has is no longer its own
assert not holder.call("net-check"), holder.call("net-check")

say("%d interfaces: the last one costs what the first one does" % MANY)


def busy():
    """How long the holder has been at work, in seconds: the same whoever else is on the machine."""
    with open("/proc/%d/schedstat" % PID, encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def timed(what):
    begun = busy()
    result = what()
    return result, busy() - begun


guests, added, removed = [], [], []
for i in range(MANY):
    number = 40 + i
    guest, took = timed(
        lambda: Guest(holder, "g%d" % i, "52:54:00:00:%02x:%02x" % (1 + number // 256, number % 256), "10.77.%d.%d" % (1 + number // 250, number % 250))
    )
    guests.append(guest)
    added.append(took)
for g in guests[:: MANY // 20]:
    # dnsmasq may be busy for a moment
    assert any((g.lease() or {}).get("address") == g.address for _ in range(5)), g.name


def remove(g):
    removed.append(timed(lambda: holder.call("net-untap", tap=g.tap))[1])
    g.close()


def taps():
    return len(holder.call("net-status")["taps"])


for g in guests[:50]:
    remove(g)
for g in guests[50:-50]:
    g.close()
end = time.monotonic() + 10 * PATIENCE
while taps() > 54:
    assert time.monotonic() < end, "taps whose last file is closed do not go"
for g in guests[-50:]:
    remove(g)


def first_and_last(times):
    """The medians of the first and of the last 50, in ms of the holder's time."""
    return [sorted(part)[25] * 1000 for part in (times[:50], times[-50:])]


for what, (first, last) in (("added", first_and_last(added)), ("removed", first_and_last(removed[::-1]))):
    say("%s in %.2f ms of the holder's time when there are few, %.2f ms when there are %d" % (what, first, last, MANY))
    assert last < 3 * first + 1, "it is not O(1)"
assert taps() == 4
