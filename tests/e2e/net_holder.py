"""net_holder.py NETWORK: what t_net_holder.sh proves, with guests that are nothing but the other ends of their taps."""
import glob
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

from bare_guests import Guest, Holder

NAME = sys.argv[1]
PATIENCE = int(os.environ.get("E2E_PATIENCE", "1"))
GATEWAY, GATEWAY6 = "10.77.0.1", "fd77::1"
RUN = os.environ["ROOST_RUN"]
since = time.monotonic()


def say(text):
    print("-- %.1f s: %s" % (time.monotonic() - since, text), flush=True)


def roost(*words):
    return subprocess.run(["roost", *words], check=True, capture_output=True, text=True).stdout


def wait_until(what, holds, seconds=2.0):
    end = time.monotonic() + seconds * PATIENCE
    while not holds():
        assert time.monotonic() < end, "not within %s s: %s" % (seconds, what)
        time.sleep(0.005)


def refused(word, holder, command, **arguments):
    try:
        holder.call(command, **arguments)
    except RuntimeError as error:
        assert word in str(error), "%s does not say '%s'" % (error, word)
    else:
        raise AssertionError("%s %s was not refused" % (command, arguments))


def folder():
    for path in glob.glob(RUN + "/n/*/holder"):
        if who(path).get("name") == NAME:
            return os.path.dirname(path)
    raise AssertionError("there is no folder of the network")


def who(path):
    with open(path, encoding="ascii") as file:
        text = file.read()
    return json.loads(text) if text else {}


def connect():
    return Holder(home + "/net.sock")


def roostd():
    """The supervisor's pid, which its lock tells."""
    with open(RUN + "/roostd.lock", encoding="ascii") as file:
        return json.load(file)["pid"]


def lives(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Stream:
    """Datagrams from one guest to another, one each 5 ms: none may be lost."""

    def __init__(self, source, target):
        self.source, self.target = source, target
        self.sent = self.got = 0
        self.over = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over:
            self.source.udp(self.target.mac, self.source.address, self.target.address, 9009, 9009, b"%d" % self.sent)
            self.sent += 1
            self.got += self.target.received(9009, 0.5 * PATIENCE) is not None
            time.sleep(0.005)

    def stop(self):
        self.over = True
        self.thread.join()
        assert self.got == self.sent > 20, "of %d datagrams %d arrived" % (self.sent, self.got)
        say("%d datagrams, none was lost" % self.sent)


home = folder()
holder = connect()
web = Guest(holder, "Web", "52:54:00:00:00:01", "10.77.0.11", address6="fd77::11")
db = Guest(holder, "db", "52:54:00:00:00:02", "10.77.0.12", address6="fd77::12")

say("leases and names")
wait_until("a lease", web.lease)
lease = web.lease()
assert lease == {
    "address": "10.77.0.11", "router": None, "dns": GATEWAY, "server": GATEWAY, "domain": NAME + ".internal", "name": "web", "mtu": 1400,
}, lease
wait_until("another one", lambda: (db.lease() or {}).get("address") == "10.77.0.12")


def names(asker, name, kind="A"):
    return asker.resolve(name, kind, GATEWAY)


assert names(web, "db.lan.internal") == ["10.77.0.12"] == names(web, "db")
assert names(web, "DB.lan.internal", "AAAA") == ["fd77::12"]
assert names(db, "web") == ["10.77.0.11"]
assert names(db, "11.0.77.10.in-addr.arpa", "PTR") == ["web.lan.internal"]
reverse = ".".join(reversed("fd77" + "0" * 26 + "12")) + ".ip6.arpa"
assert names(web, reverse, "PTR") == ["db.lan.internal"]
assert names(db, "gateway") == [GATEWAY] and names(db, "gateway.lan.internal", "AAAA") == [GATEWAY6]
assert names(web, "1.0.77.10.in-addr.arpa", "PTR") == ["gateway.lan.internal"]
assert names(web, "nobody.lan.internal") == []

say("guests that do not run")
holder.call("net-host", mac="52:54:00:00:00:09", guest="later", address="10.77.0.19", address6="fd77::19")
wait_until("later has a name", lambda: names(web, "later") == ["10.77.0.19"])
holder.call("net-host", mac="52:54:00:00:00:09", guest="later", address="10.77.0.20")
wait_until("later has another address", lambda: names(web, "later") == ["10.77.0.20"])
later = Guest(holder, "later", "52:54:00:00:00:09", "10.77.0.20")
wait_until("later has a lease of it", lambda: (later.lease() or {}).get("address") == "10.77.0.20")
holder.call("net-untap", tap=later.tap)
holder.call("net-unhost", mac="52:54:00:00:00:09", address="10.77.0.20")
wait_until("later has no name", lambda: names(web, "later") == [])
refused("no tap", holder, "net-untap", tap=later.tap)

say("taps")
tap = dict(tap="t1", guest="x", nic=0, mac="52:54:00:00:00:05", address="10.77.0.15")
refused("there already", holder, "net-tap", **dict(tap, tap=web.tap))
refused("not the name of a guest's tap", holder, "net-tap", **dict(tap, tap="br0"))
refused("not of this network", holder, "net-tap", **dict(tap, address="10.78.0.15"))
refused("group", holder, "net-tap", **dict(tap, mac="53:54:00:00:00:05"))
refused("1 to 16 queues", holder, "net-tap", **dict(tap, queues=17))
refused("name", holder, "net-tap", **dict(tap, guest="../x"))
many = Guest(holder, "many", "52:54:00:00:00:06", "10.77.0.16", queues=3, mtu=1300)
assert len(many.fds) == 3
many.close()
wait_until("its tap has gone", lambda: len(holder.call("net-status")["taps"]) == 2)
assert sorted(os.listdir(home + "/ports")) == sorted([web.tap, db.tap])
assert names(web, "many") == ["10.77.0.16"], "a guest that has ended keeps its name"
assert web.reaches(db)
_, (dialled,) = holder.call("net-dial", address=GATEWAY, port=53)
os.close(dialled)
refused("not of network", holder, "net-dial", address="10.78.0.1", port=53)
seen = holder.call("net-neighbours")
assert any(n["address"] == web.address and n["mac"] == "52:54:00:00:00:01" for n in seen), seen
web.udp(b"\xff" * 6, "10.77.0.99", "255.255.255.255", 1, 2, b"spoofed")
wait_until("it is counted", lambda: [d["guest"] for d in holder.call("net-drops") if d["reason"] == "ipv4"] == ["Web"])

say("what it may")
# NET_ADMIN, NET_RAW, NET_BIND_SERVICE; SETUID, SETGID, KILL, CHOWN; SYS_ADMIN, which is not in effect
NETWORK, OTHERS, ADMIN = 1 << 12 | 1 << 13 | 1 << 10, 1 << 7 | 1 << 6 | 1 << 5 | 1 << 0, 1 << 21


def rights(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        said = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    sets = {name: int(said["Cap" + name], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    return sets, said["NoNewPrivs"], said["Seccomp"]


def check_rights():
    sets, new, calls = rights(who(home + "/holder")["pid"])
    assert sets == {"Inh": 0, "Prm": NETWORK | OTHERS | ADMIN, "Eff": NETWORK | OTHERS, "Bnd": NETWORK, "Amb": 0}, sets
    assert (new, calls) == ("1", "2"), (new, calls)


check_rights()

say("kill -9 of each, of each two, and of roostd with all of the network")
one = Guest(holder, "one", "52:54:00:00:00:21", "10.77.0.21")
two = Guest(holder, "two", "52:54:00:00:00:22", "10.77.0.22", isolated=False)


def pid_of(part):
    if part == "roostd":
        return roostd()
    if part == "watch":
        return watch()
    if part == "dnsmasq":
        return connect().call("net-status")["dnsmasq"]
    return who(home + "/holder")[part]


def is_back(killed):
    """All taps, guards, leases and names, roostd too, and nobody who was killed. Nobody has given a command for that."""
    try:
        if not lives(roostd()) or not has_watch():
            return False
        if killed & {who(home + "/holder").get("pid"), who(home + "/holder").get("outer")}:
            return False
        status = connect().call("net-status")
    except (OSError, EOFError, RuntimeError, ValueError):
        return False
    if not status["dnsmasq"] or status["dnsmasq"] in killed or len(status["taps"]) != 4:
        return False
    return (web.lease() or {}).get("address") == "10.77.0.11" and names(web, "db") == ["10.77.0.12"]


def ours():
    """All that there is of roost's processes: the supervisor, its workers, the holder, dnsmasq."""
    found = []
    for path in glob.glob("/proc/[0-9]*"):
        try:
            with open(path + "/cmdline", encoding="utf8", errors="replace") as file:
                line = file.read()
            with open(path + "/environ", encoding="utf8", errors="replace") as file:
                environment = file.read()
        except OSError:
            continue
        own = line.startswith(("roost-net", "roostd")) and "ROOST_RUN=" + RUN in environment
        if own or home + "/dnsmasq.conf" in line:
            found.append(int(os.path.basename(path)))
    return found


def watch():
    """What sees to it that there is a roostd: a child of the outer process."""
    outer = who(home + "/holder")["outer"]
    for pid in ours():
        try:
            with open("/proc/%d/status" % pid, encoding="ascii") as file:
                text = file.read()
        except OSError:
            continue
        if text.startswith("Name:\troost-watch\n") and "\nPPid:\t%d\n" % outer in text:
            return pid
    raise AssertionError("there is no watch")


def has_watch():
    try:
        return lives(watch())
    except (AssertionError, OSError, ValueError, KeyError):
        return False


def kill(parts):
    pids = [pid_of(part) for part in parts]
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has gone with the one before
    start = time.monotonic()
    wait_until("back after kill -9 of " + " and ".join(parts), lambda: is_back(set(pids)))
    say("kill -9 of %s: back after %.0f ms" % (" and ".join(parts), (time.monotonic() - start) * 1000))


# a connection makes dnsmasq fork, and what it has forked must not outlive it: the next one could not listen
_, (held,) = connect().call("net-dial", address=GATEWAY, port=53)
parts = ("pid", "outer", "watch", "dnsmasq", "roostd")
assert one.reaches(two)  # else what goes to it would go to all
stream = Stream(one, two)
for part in parts:
    kill([part])
for pair in itertools.permutations(parts, 2):
    kill(pair)
for three in itertools.permutations(("roostd", "outer", "pid")):
    kill(three)

say("a holder that is stopped")
silent = pid_of("pid")
os.kill(silent, signal.SIGSTOP)
start = time.monotonic()
assert json.loads(roost("net-info", NAME, "--json"))["uplink"]["kind"] == "none"
assert time.monotonic() - start < 5 * PATIENCE
wait_until("another holder", lambda: is_back({silent}))
silent = pid_of("pid")
os.kill(silent, signal.SIGSTOP)
roost("net-start", NAME)
wait_until("the network that was started", lambda: is_back({silent}))
assert not lives(silent)

say("its folder vanishes")
before = who(home + "/holder")["pid"]
# at one stroke: a holder that looks in the midst may find that what it makes anew vanishes, too, and ends
os.rename(home, os.environ["TMPDIR"] + "/vanished")
shutil.rmtree(os.environ["TMPDIR"] + "/vanished")


def stands_again():
    try:
        if who(home + "/holder")["pid"] != before:
            return False
    except (OSError, ValueError, KeyError):
        return False
    return is_back(set())


wait_until("the folder is there again", stands_again)
kill(["pid"])

say("kill -9 of anybody, at any moment")
chance = random.Random(os.environ.get("E2E_SEED"))
kills, most = 0, int(os.environ.get("E2E_STEPS") or 30)
while kills < most:
    killed = set()
    for pid in chance.sample(ours(), chance.randint(1, 2)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        killed.add(pid)
        time.sleep(chance.random() * 0.06)
    kills += len(killed)
    wait_until("back after kill -9", lambda: is_back(killed))
stream.stop()
os.close(held)
check_rights()
server = rights(pid_of("dnsmasq"))
assert server[0]["Eff"] == server[0]["Prm"] == NETWORK, server
assert web.reaches(db)
web.udp(db.mac, "10.77.0.99", db.address, 7008, 7008, b"spoofed")
assert db.received(7008, 0.1) is None, "the guards are not what they were"

say("kill -9 while nobody is in it")
for guest in (web, db, one, two):
    guest.close()
wait_until("all taps have gone", lambda: not os.listdir(home + "/ports"))
killed = pid_of("pid")
os.kill(killed, signal.SIGKILL)


def serves():
    try:
        return who(home + "/holder")["pid"] != killed and connect().call("net-status")["dnsmasq"] > 0
    except (OSError, EOFError, RuntimeError, ValueError, KeyError):
        return False


wait_until("it serves", serves)
again = Guest(connect(), "db", "52:54:00:00:00:02", "10.77.0.12")
wait_until("it leases", lambda: (again.lease() or {}).get("address") == "10.77.0.12")
again.close()

say("its end, while its outer process is stopped")
stopped = pid_of("outer")
os.kill(stopped, signal.SIGSTOP)
roost("net-destroy", NAME)
assert not os.path.exists(home), os.listdir(home)
assert not lives(stopped)
