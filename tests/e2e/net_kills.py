"""net_kills.py GUEST: what t_net_kills.sh proves. E2E_STEPS kills, E2E_SEED chooses them."""
import collections
import glob
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

from bare_guests import Holder

GUEST = sys.argv[1]
PATIENCE = int(os.environ.get("E2E_PATIENCE", "1"))
STEPS = int(os.environ.get("E2E_STEPS") or 8)
SEED = os.environ.get("E2E_SEED") or str(random.randrange(1000))
RUN = os.environ["ROOST_RUN"]
(HOME,) = glob.glob(RUN + "/n/*")
(STATUS,) = glob.glob(RUN + "/g/*/status")
since = time.monotonic()


def say(text):
    print("-- %.1f s: %s" % (time.monotonic() - since, text), flush=True)


def read(path):
    with open(path, encoding="utf8") as file:
        return json.loads(file.read())


def stat_of(pid):
    """(name, state, parent), or None"""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf8", errors="replace") as file:
            head, tail = file.read().rsplit(")", 1)
    except OSError:
        return None
    state, parent = tail.split()[:2]
    return head.split("(", 1)[1], state, int(parent)


def lives(pid):
    found = stat_of(pid)
    return bool(found) and found[1] != "Z"


def pids():
    return [int(path) for path in os.listdir("/proc") if path.isdigit()]


def ours():
    """{pid: what it is}, of what may be killed."""
    holder = read(HOME + "/holder")
    found = {
        read(RUN + "/roostd.lock")["pid"]: "roostd",
        read(STATUS)["keeper_pid"]: "keeper",
        holder["pid"]: "holder",
        holder["outer"]: "outer",
    }
    for pid in pids():
        known = stat_of(pid)
        if known and known[2] in (holder["pid"], holder["outer"]) and pid not in found:
            found[pid] = known[0]
    return {pid: name for pid, name in found.items() if lives(pid)}


def is_ours(pid):
    try:
        with open("/proc/%d/environ" % pid, encoding="utf8", errors="replace") as file:
            return "ROOST_RUN=" + RUN + "\0" in file.read()
    except OSError:
        return False


def namespace(pid):
    try:
        return os.readlink("/proc/%d/ns/net" % pid)
    except OSError:
        return None


def all_there_is():
    """What must be the same before and after: processes by name, links, tables, files."""
    here = {namespace(os.getpid()), namespace(read(HOME + "/holder")["pid"]), namespace(read(STATUS)["qemu_pid"])} - {None}
    stats = [stat_of(pid) for pid in pids() if namespace(pid) in here]
    names = collections.Counter(stat[0] for stat in stats if stat and stat[1] != "Z")
    names["namespaces"] = len({namespace(pid) for pid in pids() if is_ours(pid)} | here)
    names["links"] = len(socket.if_nameindex())
    if os.geteuid() == 0:
        for line in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout.split("\n"):
            names[line] += 1
    for folder, _, files in os.walk(RUN):
        for file in files:
            names[os.path.join(folder, file)] += 1
    return names


def banner():
    """What the guest's SSH server says by the published port."""
    with socket.create_connection(("127.0.0.1", PORT), 0.5) as s:
        s.settimeout(2)
        return s.recv(4)


def differs(killed):
    """What is not back yet; None: all is."""
    try:
        now = ours()
        missing = sorted(wanted - set(now.values()))
        if missing or killed & set(now):
            return "there is no %s" % (missing or "other one")
        holder = Holder(HOME + "/net.sock")
        status = holder.call("net-status")
        if not status["dnsmasq"] or not status["uplink"]["works"]:
            return status
        wrong = holder.call("net-check")
        return wrong or (None if banner() == b"SSH-" else "no banner")
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        return repr(error)


PORT = read(STATUS)["forwards"][0]["port"]
wanted = set(ours().values())
deadline = time.monotonic() + 2 * PATIENCE
while (why := differs(set())) is not None:
    assert time.monotonic() < deadline, why

# what is there for good: not a proxy of the connection that was just made
before = None
while before != (before := all_there_is()):
    time.sleep(0.5)
say("seed %s, %d kills of %s" % (SEED, STEPS, ", ".join(sorted(wanted))))
chance = random.Random(SEED)
longest = 0
done = 0
while done < STEPS:
    victims = chance.sample(sorted(ours().items()), chance.randint(1, 2))
    for victim, _ in victims:
        try:
            os.kill(victim, signal.SIGKILL)
            done += 1
        except ProcessLookupError:
            pass
        time.sleep(chance.random() * 0.05)
    begun = time.monotonic()
    gone = {victim for victim, _ in victims}
    while True:
        why = differs(gone)
        took = time.monotonic() - begun
        if why is None:
            break
        assert took < 2 * PATIENCE, "%s killed, after %.1f s: %s" % (victims, took, why)
        time.sleep(0.01)
    longest = max(longest, took)
print("took: %d kills, the longest way back %.0f ms" % (done, longest * 1000), flush=True)
deadline = time.monotonic() + 3 * PATIENCE
while True:
    after = all_there_is()
    if after == before:
        break
    assert time.monotonic() < deadline, "left over: %s; lost: %s" % (after - before, before - after)
    time.sleep(0.05)
