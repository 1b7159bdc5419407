"""Tests of roost-ssh. Run by ssh.sh in namespaces of their own."""

import fcntl
import hashlib
import json
import os
import pty
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

from ssh_servers import DIR, HOME, Dropbear, Fake, Server, Sshd, forward, keygen, until_closed

SSH = os.environ["ROOST_SSH"]
# everything that the tests wait for is multiplied on a slow machine or under a sanitizer
SLOW = float(os.environ.get("ROOST_TEST_SLOW", "1"))
USER_KEY, USER_PUBLIC = keygen("user")
OTHER_KEY, OTHER_PUBLIC = keygen("other")
MIB = 1024 * 1024


# ---- running it --------------------------------------------------------------------------------


def remote(server, **more):
    p = {
        "address": "127.0.0.1",
        "port": server.port,
        "host_key": server.host_key,
        "user": "tester",
        "identities": [USER_KEY],
        "agent": False,
    }
    p.update(more)
    return p


def start(command, params, **how):
    """Popen with the parameters on a pipe of their own."""
    r, w = os.pipe()
    env = dict(os.environ, HOME=os.path.join(DIR, "caller"))
    env.update(how.pop("env", {}))
    try:
        process = subprocess.Popen(
            [SSH, "--params-fd", str(r), command], pass_fds=(r,), env=env, **how
        )
    finally:
        os.close(r)
    os.write(w, json.dumps(params).encode())
    os.close(w)
    return process


class Outcome:
    def __init__(self, process, out, err, seconds):
        self.status, self.out, self.err, self.seconds = process.returncode, out, err, seconds

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.decode().splitlines()]

    @property
    def last(self):
        return self.lines[-1]


def run(command, params, stdin=b"", seconds=30, **how):
    begin = time.monotonic()
    process = start(
        command, params, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how
    )
    try:
        out, err = process.communicate(stdin, timeout=seconds * SLOW)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{command} did not end in {seconds} s: {out[-500:]!r} {err[-500:]!r}")
    return Outcome(process, out, err, time.monotonic() - begin)


def climb(server, rungs, total=3000, **more):
    return run("climb", remote(server, rungs=rungs, total_ms=int(total * SLOW), **more))


def execute(server, command, stdin=b"", **more):
    seconds = more.pop("seconds", 60)
    return run("exec", remote(server, command=command, **more), stdin=stdin, seconds=seconds)


def copy(server, direction, local, far, **more):
    env = more.pop("env", {})
    params = remote(server, direction=direction, local=local, remote=far, **more)
    return run("copy", params, seconds=60, env=env)


def eq(got, want, about=""):
    if got != want:
        raise AssertionError(f"{about} got {got!r}, want {want!r}")


def has(text, part):
    if part not in text:
        raise AssertionError(f"{part!r} is not in {text!r}")


def fails(outcome, rung, reason, status=None, within=None):
    """The last line of a climb is this failure."""
    last = outcome.last
    eq((last.get("rung"), last.get("reason")), (rung, reason), json.dumps(last))
    assert last["cause"] and last["evidence"], last
    if status is not None:
        eq(outcome.status, status, json.dumps(last))
    if within is not None:
        assert outcome.seconds < within * SLOW, f"took {outcome.seconds} s"
    return last


def sha(data):
    return hashlib.sha256(data).hexdigest()


def scratch(name):
    path = os.path.join(DIR, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def far(name, content=None):
    """A path in the guest's home, made with that content, or wiped."""
    path = os.path.join(HOME, name)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    if content is not None:
        write(path, content)
        os.chown(path, 54321, 54321)
    return path


def write(path, content):
    with open(path, "wb") as f:
        f.write(content)


def read(path):
    with open(path, "rb") as f:
        return f.read()


# ---- keys and parameters -----------------------------------------------------------------------


def test_keygen():
    o = run("keygen", {"comment": "a guest"})
    eq(o.status, 0)
    path = os.path.join(DIR, "made")
    write(path, o.last["private"].encode())
    os.chmod(path, 0o600)
    public = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, check=True).stdout
    eq(public.decode().split()[:2], o.last["public"].split()[:2])
    assert o.last["public"].endswith(" a guest")
    with Sshd([o.last["public"]]) as s:
        eq(execute(s, "true", identities=[o.last["private"]]).status, 0)
    assert run("keygen", {}).last["public"] != o.last["public"]


def test_bad_parameters():
    server = Server()
    server.host_key = keygen("host")[1]
    for key, value, words in (
        ("address", "localhost", "literal"),
        ("address", "127.0.0.1 -oProxyCommand=x", "literal"),
        ("port", 70000, "not a port"),
        ("port", "22", "whole number"),
        ("host_key", "nonsense", "public key"),
        ("trust", "always", "trust"),
        ("identities", [1], "not a text"),
        ("identitis", [], "identities"),
        ("total_ms", -1, "total_ms"),
        ("rungs", [], "rungs"),
        ("rungs", ["moon"], "moon"),
        ("rungs", ["probes"], "probes"),
        ("user", "", "user"),
    ):
        o = run("climb", dict(remote(server, rungs=["tcp"]), **{key: value}))
        eq(o.status, 2, f"{key}={value}:")
        has(json.dumps(o.last["error"]), words)
    for text in (b"", b"[]", b"{", b'{"a":1,"a":2}', b"[" * 5000):
        p = subprocess.run([SSH, "climb"], input=text, capture_output=True, timeout=20)
        eq(p.returncode, 2)
        eq(json.loads(p.stdout)["error"]["class"], "usage")
    p = subprocess.run([SSH, "exec"], input=b"{}", capture_output=True, timeout=20)
    eq(p.returncode, 255)
    has(p.stderr.decode(), "--params-fd")
    eq(subprocess.run([SSH, "dance"], capture_output=True).returncode, 2)


# ---- the ladder --------------------------------------------------------------------------------


def fake_path(name, **programs):
    """A PATH with programs of ours in front."""
    folder = scratch(name)
    for program, text in programs.items():
        path = os.path.join(folder, program.replace("_", "-"))
        write(path, b"#!/bin/sh\n" + text.encode())
        os.chmod(path, 0o755)
    return folder + ":/usr/bin:/bin"


ALL = ["tcp", "banner", "hostkey", "login", "cloud-init", "probes"]


def test_climb_all():
    path = fake_path("cloud-done", cloud_init="echo ....; echo 'status: done'; echo detail:; echo DataSourceX")
    with Sshd([USER_PUBLIC], path=path) as s:
        o = climb(s, ALL, probes=["true", "test $((1+1)) = 2"], total=20000)
        eq(o.status, 0, o.out)
        eq([line["rung"] for line in o.lines if line["state"] == "reached"], ALL + ["probes"])
        ms = [line["ms"] for line in o.lines]
        eq(ms, sorted(ms))
        rungs = {line["rung"]: line["detail"] for line in o.lines[:-1]}
        has(rungs["banner"], "SSH-2.0-OpenSSH")
        eq(rungs["hostkey"].split()[:2], s.host_key.split()[:2])
        has(rungs["login"], "SHA256:")
        has(rungs["cloud-init"], "DataSourceX")
        # only what is named is told, and nothing above it is tried
        o = climb(s, ["login"])
        eq([line["rung"] for line in o.lines], ["login", "login"])
        o = climb(s, ["banner"], user="nobody-like-that", identities=[])
        eq(o.status, 0)
        # IPv6 is an address like any other; here nobody listens on it
        fails(climb(s, ["tcp"], total=500, address="::1"), "tcp", "connection-refused")


def test_climb_refused():
    server = Server()
    server.host_key = keygen("host")[1]
    o = climb(server, ALL, probes=["true"], total=1500)
    last = fails(o, "tcp", "connection-refused", status=8, within=3)
    has(last["cause"], "nothing listens")
    trying = [line for line in o.lines if line.get("state") == "trying"]
    assert 1 <= len(trying) <= 4 * SLOW, trying
    has(last["evidence"][0], "times")


def test_climb_silent_until_ready():
    ready = time.monotonic() + 2.5 * SLOW
    with Sshd([USER_PUBLIC]) as s:

        def talk(sock):
            if time.monotonic() < ready:
                until_closed(sock)
            else:
                forward(sock, s.port)

        with Fake(talk) as fake:
            fake.host_key = s.host_key
            o = climb(fake, ["tcp", "login"], total=20000)
            eq(o.status, 0, o.out)
            late = time.monotonic() - ready
            assert 0 < late < 1.5 * SLOW, f"noticed {late} s after it was ready"
            eq([line["rung"] for line in o.lines if line["state"] == "reached"], ["tcp", "login", "login"])
        with Fake(until_closed) as fake:
            last = fails(climb(fake, ["login"], total=1500), "banner", "silent", status=8, within=3)
            has(last["cause"], "forwarded port")
            assert fake.connections <= 8 * SLOW, fake.connections


def test_climb_slow_banner():
    """Every connection takes 1.2 s for its banner: longer than a fresh one is listened to."""
    with Sshd([USER_PUBLIC]) as s:

        def talk(sock):
            time.sleep(1.2)
            forward(sock, s.port)

        with Fake(talk) as fake:
            fake.host_key = s.host_key
            o = climb(fake, ["login"], total=20000)
            eq(o.status, 0, o.out)
            assert o.seconds < 5 * SLOW
            eq(run("exec", remote(fake, command="exit 5")).status, 5)


def test_climb_strange_servers():
    def dribble(sock):
        for c in b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n":
            sock.sendall(bytes([c]))
            time.sleep(1)

    def http(sock):
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>")
        until_closed(sock)

    def binary(sock):
        sock.sendall(b"\xff\xfd\x18\xff\xfd\x20\0\1\2" * 1000)
        until_closed(sock)

    def turned_away(sock):
        sock.sendall(b"Not allowed at this time\r\n")

    def endless(sock):
        while True:
            sock.sendall(b"SSH-2.0-" + b"x" * 60000)

    def half(sock):
        sock.sendall(b"SSH-2.0-Op")

    def no_exchange(sock):
        sock.sendall(b"SSH-2.0-x\r\n")
        sock.recv(100)

    def garbage(sock):
        sock.sendall(b"SSH-2.0-x\r\n" + os.urandom(4000))
        until_closed(sock)

    def mute(sock):
        sock.sendall(b"SSH-2.0-x\r\n")
        until_closed(sock)

    def dribble_later(sock):
        sock.sendall(b"SSH-2.0-x\r\n")
        while True:
            sock.sendall(b"\0")
            time.sleep(1)

    for talk, rung, reason, status in (
        (lambda sock: None, "banner", "closed", 8),
        (dribble, "banner", "dribble", 8),
        (http, "banner", "not-ssh", 5),
        (binary, "banner", "not-ssh", 5),
        (turned_away, "banner", "turned-away", 8),
        (endless, "banner", "not-ssh", 5),
        (half, "banner", "closed", 8),
        (no_exchange, "hostkey", "key-exchange", 6),
        (garbage, "hostkey", "key-exchange", 6),
        (mute, "hostkey", "slow", 8),
        (dribble_later, "hostkey", "slow", 8),
    ):
        with Fake(talk) as fake:
            fake.host_key = keygen("host")[1]
            o = climb(fake, ["login"], total=2000)
            fails(o, rung, reason, status=status, within=4)
            o = run("exec", remote(fake, command="true", connect_ms=int(2000 * SLOW)))
            eq(o.status, 255)
            assert o.seconds < 4 * SLOW and o.err.startswith(b"roost: "), (o.seconds, o.err)


def test_climb_impostor():
    right = keygen("host")[1]
    with Sshd([USER_PUBLIC], host_key="impostor") as s, Sshd([USER_PUBLIC]) as good:
        real = s.host_key
        s.host_key = right
        o = climb(s, ["login"], total=2500)
        last = fails(o, "hostkey", "host-key-mismatch", status=5, within=5)
        has(last["error"]["desc"], "expected ssh-ed25519 SHA256:")
        has(last["error"]["desc"], "got ssh-ed25519 SHA256:")
        s.log.flush()
        assert b"Accepted" not in read(s.log.name), "logged in to an impostor"
        for command, extra in (("exec", {"command": "true"}), ("copy", {"direction": "to", "local": USER_KEY, "remote": "x"})):
            o = run(command, remote(s, **extra))
            assert o.status in (5, 255), o.status
            has((o.out + o.err).decode(), "host key mismatch")
        # the image's own key first, the issued one later: as when cloud-init installs it
        begin = time.monotonic()
        with Fake(lambda sock: forward(sock, s.port if time.monotonic() < begin + 1 else good.port)) as fake:
            fake.host_key = right
            o = climb(fake, ["hostkey"], total=20000)
            eq(o.status, 0, o.out)
        # another type of key
        s.host_key = read(os.path.join(DIR, "rsa.pub")).decode() if os.path.exists(os.path.join(DIR, "rsa.pub")) else rsa_key()
        o = climb(s, ["hostkey"], total=600)
        has(fails(o, "hostkey", "host-key-mismatch")["error"]["desc"], "expected ssh-rsa")
        # no key issued
        s.host_key = None
        o = climb(s, ["login"], total=20000)
        last = fails(o, "hostkey", "host-key-unknown", status=5, within=3)
        has(last["error"]["desc"], "SHA256:")
        o = climb(s, ["hostkey", "login"], trust="first")
        eq(o.status, 0)
        eq(o.lines[0]["detail"].split()[:2], real.split()[:2])


def rsa_key():
    path = os.path.join(DIR, "rsa")
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", path], check=True)
    return read(path + ".pub").decode()


def test_host_key_types():
    """A server with several keys shows the one that was issued."""
    rsa_key() if not os.path.exists(os.path.join(DIR, "rsa")) else None
    ecdsa = os.path.join(DIR, "ecdsa")
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", ecdsa], check=True)
    with Sshd([USER_PUBLIC], extra=f"HostKey {DIR}/rsa\nHostKey {ecdsa}") as s:
        for key in (s.host_key, read(f"{DIR}/rsa.pub").decode(), read(ecdsa + ".pub").decode()):
            s.host_key = key
            o = climb(s, ["hostkey"])
            eq(o.status, 0, o.out)
            eq(o.lines[0]["detail"].split()[:2], key.split()[:2])


def test_climb_login_refused():
    locked, _ = keygen("locked", passphrase="secret")
    with Sshd([OTHER_PUBLIC]) as s:
        o = climb(s, ["login"], total=1500, identities=[USER_KEY, locked, "/nonexistent/key", s.host_key])
        last = fails(o, "login", "login-refused", status=5, within=5)
        for part in ("publickey", "password", USER_KEY, "SHA256:", "needs a passphrase", "/nonexistent/key", "'tester'"):
            has(last["error"]["desc"], part)
        has(last["cause"], "authorized_keys")
        o = execute(s, "true")
        eq(o.status, 255)
        has(o.err.decode(), "refused")
        # the second identity is the one
        o = climb(s, ["login"], identities=[USER_KEY, read(OTHER_KEY).decode()])
        eq(o.status, 0)
        # too many of them
        many = [keygen(f"many{i}")[0] for i in range(10)]
        o = climb(s, ["login"], total=1500, identities=many)
        has(fails(o, "login", "login-refused")["error"]["desc"], "too many")
        # PEM in the old format, and one that needs a passphrase, must not ask at the terminal
        old = os.path.join(DIR, "old.pem")
        subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "secret", "-f", old], check=True)
        o = climb(s, ["login"], total=1500, identities=[old])
        has(fails(o, "login", "login-refused")["error"]["desc"], "needs a passphrase")


def test_cloud_init():
    def one(text, total=3000, rungs=("cloud-init",)):
        with Sshd([USER_PUBLIC], path=fake_path("cloud", cloud_init=text)) as s:
            return climb(s, list(rungs), total=total, probes=["true"])

    o = one("echo 'status: error'; echo 'detail:'; echo \"('ssh', ProcessExecutionError)\"; exit 1", total=20000)
    last = fails(o, "cloud-init", "cloud-init-error", status=6, within=5)
    has(last["error"]["desc"], "ProcessExecutionError")
    o = one("echo 'status: done'; echo 'extended_status: degraded done'; echo 'recoverable_errors:'; echo 'WARNING:'; echo '\t- old key'; exit 2")
    eq(o.status, 0, o.out)
    has(o.lines[0]["detail"], "degraded")
    has(o.lines[0]["detail"], "old key")
    for text in ("echo 'status: disabled'", "exit 127"):
        o = one(text, rungs=["cloud-init", "probes"]) if "disabled" in text else None
        if o:
            eq((o.status, o.lines[0]["state"]), (0, "skipped"), o.out)
    o = one("echo 'status: running'; sleep 60", total=1500)
    fails(o, "cloud-init", "cloud-init-running", status=8, within=4)
    o = one("echo 'status: not run'", total=1500)
    fails(o, "cloud-init", "cloud-init-running", status=8, within=4)
    o = one("echo nonsense")
    fails(o, "cloud-init", "cloud-init-error", status=6)
    with Sshd([USER_PUBLIC]) as s:
        o = climb(s, ["cloud-init"])
        eq((o.status, o.lines[0]["state"], o.lines[0]["detail"]), (0, "skipped", "not installed"))


def test_probes():
    with Sshd([USER_PUBLIC]) as s:
        o = climb(s, ["probes"], probes=["true", "echo out; echo err >&2; exit 7"], total=1500)
        last = fails(o, "probes", "probe-failed", status=6, within=4)
        has(last["error"]["desc"], "status 7")
        has(last["evidence"][-1], "out")
        has(last["evidence"][-1], "err")
        # one that succeeds in the end
        flag = far("flag")
        o = climb(s, ["probes"], probes=[f"test -e flag || {{ touch flag.$$; test $(ls flag.* | wc -l) -ge 3; }}"], total=20000)
        eq(o.status, 0, o.out)
        for name in os.listdir(HOME):
            if name.startswith("flag"):
                far(name)
        # a rung's own deadline, and a probe that does not end
        o = climb(s, ["probes"], probes=["sleep 60"], total=60000, deadlines_ms={"probes": int(1000 * SLOW)})
        has(fails(o, "probes", "probe-failed", within=4)["error"]["desc"], "does not end")
        o = climb(s, ["probes"], probes=["head -c 100000000 /dev/zero"], total=30000)
        eq(o.status, 0, o.out)


def test_climb_guest_reboots():
    """The server goes away between rungs: the rung that was never reached is the one named."""
    with Sshd([USER_PUBLIC]) as s:
        p = start("climb", remote(s, rungs=["login", "probes"], probes=["false"], total_ms=int(4000 * SLOW)), stdout=subprocess.PIPE)
        time.sleep(1 * SLOW)
        s.close()
        out = p.communicate(timeout=20 * SLOW)[0]
        last = json.loads(out.splitlines()[-1])
        eq((last["rung"], last["reason"]), ("probes", "connection-refused"), out)
        has(" ".join(last["evidence"]), "status 1")


def test_reader_gone():
    """Nobody reads our lines any more: no reason to go on."""
    server = Server()
    server.host_key = keygen("host")[1]
    p = start("climb", remote(server, rungs=["tcp"], total_ms=60000), stdout=subprocess.PIPE)
    p.stdout.close()
    eq(p.wait(10 * SLOW), 9)


# ---- exec --------------------------------------------------------------------------------------


def test_exec_status():
    with Sshd([USER_PUBLIC]) as s:
        for command, status in (
            ("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -SEGV $$", 139),
            ("kill -KILL $$", 137), ("/nonexistent", 127),
        ):
            eq(execute(s, command).status, status, command)
        o = execute(s, "echo out; echo err >&2; exit 4")
        eq((o.out, o.err, o.status), (b"out\n", b"err\n", 4))
        eq(execute(s, "printf 'a\\0b\\377'").out, b"a\0b\xff")
        eq(execute(s, None, stdin=b"echo from a shell; exit 9\n").status, 9)
        eq(execute(s, 'echo "$ROOST_X"', env={"ROOST_X": "a b", "OTHER": "no"}).out, b"a b\n")
        eq(execute(s, "cat", stdin=b"").out, b"")


def test_exec_streams():
    with Sshd([USER_PUBLIC]) as s:
        data = os.urandom(50 * MIB)
        write(far("blob", b""), data)
        eq(sha(execute(s, "cat blob").out), sha(data))
        o = execute(s, "sha256sum", stdin=data)
        eq(o.out.split()[0].decode(), sha(data))
        # both ways at once, and after the end of the input there is still output
        o = execute(s, "cat; echo end; echo err >&2; exit 6", stdin=data)
        eq((sha(o.out), o.err, o.status), (sha(data + b"end\n"), b"err\n", 6))
        # much of both outputs
        o = execute(s, "head -c 20000000 /dev/zero >&2 & head -c 20000000 /dev/zero; wait")
        eq((len(o.out), len(o.err)), (20000000, 20000000))
        # the command does not want the input
        eq(execute(s, "exit 2", stdin=data).status, 2)
        eq(execute(s, "head -c 10", stdin=data).out, data[:10])
        far("blob")


def test_exec_slow_reader():
    """100 MB for somebody who does not read: memory stays small, and nothing is lost."""
    with Sshd([USER_PUBLIC]) as s:
        p = start("exec", remote(s, command="head -c 100000000 /dev/zero | tr '\\0' x"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        time.sleep(2)
        cpu = cpu_seconds(p.pid)
        time.sleep(1)
        spent = cpu_seconds(p.pid) - cpu
        assert spent < 0.3, f"burnt {spent} s of CPU while it had to wait"
        with open(f"/proc/{p.pid}/status") as f:
            peak = [int(line.split()[1]) for line in f if line.startswith("VmHWM")][0]
        assert peak < 40000 * (10 if SLOW > 1 else 1), f"{peak} KiB"
        total = 0
        while chunk := p.stdout.read(MIB):
            assert chunk.strip(b"x") == b""
            total += len(chunk)
        eq((total, p.wait(10)), (100000000, 0))


def cpu_seconds(pid):
    fields = read(f"/proc/{pid}/stat").decode().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_exec_idle_costs_nothing():
    with Sshd([USER_PUBLIC]) as s:
        for command in ("sleep 3", "exec >&- 2>&-; sleep 3"):
            p = start("exec", remote(s, command=command), stdin=subprocess.DEVNULL)
            time.sleep(1.5)
            cpu = cpu_seconds(p.pid)
            time.sleep(1)
            assert cpu_seconds(p.pid) - cpu < 0.1, command
            eq(p.wait(20), 0)


def test_exec_endings():
    with Sshd([USER_PUBLIC]) as s:
        # our reader goes away
        p = start("exec", remote(s, command="yes"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        eq(p.stdout.readline(), b"y\n")
        p.stdout.close()
        eq(p.wait(10), 141)
        # a signal reaches the command, then ends us
        mark = far("mark")
        for number, name in ((signal.SIGTERM, "TERM"), (signal.SIGINT, "INT")):
            p = start("exec", remote(s, command=f"trap 'echo {name} > mark; exit 0' {name}; echo up; sleep 60 & wait"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            eq(p.stdout.readline(), b"up\n")
            p.send_signal(number)
            eq(p.wait(10), 128 + number)
            wait_for(lambda: os.path.exists(mark) and read(mark).strip() == name.encode())
            far("mark")
        # the connection is lost
        p = start("exec", remote(s, command="echo $PPID; sleep 60"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.kill(int(p.stdout.readline()), signal.SIGKILL)
        eq(p.wait(10), 255)
        has(p.stderr.read().decode(), "connection was lost")
        # a process that holds the output open is waited for, as ssh does
        o = execute(s, "sleep 1 & echo x")
        assert o.seconds >= 1 and o.out == b"x\n"


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds * SLOW
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


# ---- terminals ---------------------------------------------------------------------------------


class Terminal:
    """roost-ssh exec at a terminal of its own."""

    def __init__(self, server, command, rows=33, columns=101, **more):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.seen = b""
        params = remote(server, command=command, **more)

        def own_session():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = start("exec", params, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_session)

    def expect(self, text, seconds=15):
        end = time.monotonic() + seconds * SLOW
        while text not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                raise AssertionError(f"{text!r} did not come: {self.seen!r}")
            self.seen += os.read(self.master, 65536)
        self.seen = self.seen.split(text, 1)[1]

    def type(self, text):
        os.write(self.master, text)

    def end(self, status):
        eq(self.process.wait(15 * SLOW), status)
        eq(termios.tcgetattr(self.slave), self.before, "terminal:")
        os.close(self.slave)
        os.close(self.master)


def test_terminal():
    with Sshd([USER_PUBLIC]) as s:
        t = Terminal(s, "stty size; echo $TERM; tty; read x; stty size; exit 4", pty=True, term="vt220")
        t.expect(b"33 101\r\n")
        t.expect(b"vt220")
        t.expect(b"/dev/pts/")
        assert termios.tcgetattr(t.slave) != t.before, "not raw"
        fcntl.ioctl(t.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        time.sleep(0.5 * SLOW)
        t.type(b"\r")
        t.expect(b"50 120\r\n")
        t.end(4)
        # a shell at a terminal gets one by itself; ^C goes there
        t = Terminal(s, None)
        t.expect(b"$ ")
        t.type(b"sleep 100\r")
        time.sleep(0.5 * SLOW)
        t.type(b"\x03")
        t.expect(b"$ ")
        t.type(b"echo $((40+2))\r")
        t.expect(b"42\r\n")
        t.type(b"exit 3\r")
        t.end(3)
        # a command does not
        t = Terminal(s, "tty; exit 1")
        t.expect(b"not a tty")
        t.end(1)


def test_terminal_restored():
    with Sshd([USER_PUBLIC]) as s:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            t = Terminal(s, "echo up; sleep 60", pty=True)
            t.expect(b"up")
            t.process.send_signal(number)
            t.end(128 + number)
        # out of a guest that hangs
        t = Terminal(s, "echo $PPID up; sleep 60", pty=True)
        t.expect(b" up")
        s.process.send_signal(signal.SIGSTOP)
        t.type(b"x\r~.")
        t.expect(b"disconnected")
        t.end(255)
        s.process.send_signal(signal.SIGCONT)
        # ~ is an ordinary character elsewhere
        t = Terminal(s, "read a; echo \"<$a>\"", pty=True)
        t.type(b"~~a~.b\r")
        t.expect(b"<~a~.b>")
        t.end(0)
        # the connection is lost
        t = Terminal(s, "echo pid $PPID.; sleep 60", pty=True)
        t.expect(b"pid ")
        while b"." not in t.seen:
            t.seen += os.read(t.master, 100)
        os.kill(int(t.seen.split(b".")[0]), signal.SIGKILL)
        t.expect(b"lost")
        t.end(255)


def test_terminal_refused():
    with Sshd([USER_PUBLIC], extra="PermitTTY no") as s:
        t = Terminal(s, "tty; exit 5", pty=True)
        t.expect(b"gives no terminal")
        t.expect(b"not a tty")
        t.end(5)


# ---- copy --------------------------------------------------------------------------------------

ODD = [b"plain", b"with space", b"'quotes\"", b"-rf", b"$HOME `id` ;", b"caf\xc3\xa9", b"*", b".hidden", b"back\\slash", b"#", b"~"]
WORSE = [b"new\nline", b"bytes\xff\xfe", b"\x1b[31m"]


def tree(path, names):
    """A tree with all of these as files and as folders."""
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    base = os.fsencode(path)
    for i, name in enumerate(names):
        write(os.path.join(base, name), b"content %d" % i)
        folder = os.path.join(base, b"d", b"d" + name)
        os.makedirs(folder)
        write(os.path.join(folder, name), name * 1000)
    write(os.path.join(base, b"empty"), b"")
    os.makedirs(os.path.join(base, b"empty folder"))
    os.chmod(os.path.join(base, b"empty"), 0o755)


def same(a, b):
    p = subprocess.run(["diff", "-r", "--no-dereference", a, b], capture_output=True)
    eq(p.returncode, 0, p.stdout.decode(errors="replace"))


def give(path):
    subprocess.run(["chown", "-R", "54321:54321", path], check=True)


def check_trees(s, names, protocol):
    here = os.path.join(DIR, "tree")
    tree(here, names)
    far("t")
    for _ in range(2):  # the second time into what is there
        o = copy(s, "to", here, "t" if not os.path.exists(f"{HOME}/t") else ".", recursive=True)
        eq(o.status, 0, o.out)
        eq(o.last["protocol"], protocol)
    same(here, f"{HOME}/t")
    same(here, f"{HOME}/tree")
    assert os.stat(f"{HOME}/t/empty").st_mode & 0o777 == 0o755
    back = scratch("back")
    eq(copy(s, "from", back + "/new", "t", recursive=True).status, 0)
    same(here, back + "/new")
    eq(copy(s, "from", back, "~/t/", recursive=True).status, 0)
    same(here, back + "/t")
    # one by one
    for name in names:
        text = os.fsdecode(name)
        try:
            text.encode()
        except UnicodeEncodeError:
            continue  # JSON cannot say it
        o = copy(s, "from", back, "t/" + text)
        eq(o.status, 0, o.out)
        eq(read(os.path.join(os.fsencode(back), name)), read(os.path.join(os.fsencode(here), name)))
        far("single")
        eq(copy(s, "to", os.path.join(here, text), "single").status, 0)
        eq(read(f"{HOME}/single"), read(os.path.join(os.fsencode(here), name)))
    far("t")
    far("tree")
    far("single")


def test_copy_trees_sftp():
    with Sshd([USER_PUBLIC]) as s:
        check_trees(s, ODD + WORSE, "sftp")


def test_copy_trees_scp():
    with Sshd([USER_PUBLIC], sftp=False) as s:
        check_trees(s, ODD, "scp")
        here = os.path.join(DIR, "tree")
        tree(here, [b"new\nline"])
        o = copy(s, "to", here, "x", recursive=True)
        eq(o.status, 5)
        has(o.last["error"]["desc"], "new line")
        far("x")


def check_errors(s):
    here = scratch("errors")
    write(here + "/f", b"content")
    write(here + "/g", b"other")
    for args, status, part in (
        (("to", here + "/missing", "x"), 3, "missing"),
        (("from", here + "/x", "missing file"), 3, "missing file"),
        (("to", here, "x"), 2, here),
        (("from", here + "/x", "."), 2, "folder"),
        (("to", here + "/f", "/root/x"), 5, "/root/x"),
        (("from", here + "/x", "/etc/shadow"), 5, "/etc/shadow"),
        (("to", here + "/f", "no/such/folder/x"), 3, "no/such/folder"),
        (("from", here + "/no/such/x", "ok"), 3, "no/such/x"),
        (("to", [here + "/f", here + "/g"], "no folder"), None, "no folder"),
        (("from", here + "/f", ["ok", "ok"]), 7, here + "/f"),
        (("to", "/dev/null", "x"), 5, "/dev/null"),
        (("from", "/dev/null", "ok"), 5, "/dev/null"),
        (("to", "/", "x"), 2, "/"),
    ):
        far("ok", b"fine")
        o = copy(s, *args)
        assert o.status == status if status else o.status, (args, o.status, o.out)
        has(o.last["error"]["desc"], part)
        eq(sorted(os.listdir(here)), ["f", "g"], f"{args}:")
    eq(read(here + "/f"), b"content")
    assert os.path.exists("/dev/null") and not os.path.isfile("/dev/null")
    far("ok")


def test_copy_errors_sftp():
    with Sshd([USER_PUBLIC]) as s:
        check_errors(s)
        # a folder where a file shall go, a file where a folder shall go
        here = scratch("kinds")
        os.makedirs(here + "/thing")
        write(here + "/file", b"")
        far("thing", b"file")
        o = copy(s, "from", here, "thing")
        has(o.last["error"]["desc"], "is a folder")
        o = copy(s, "to", here + "/thing", "thing", recursive=True)
        assert o.status
        o = copy(s, "to", here + "/file", "thing/")
        assert o.status
        far("thing")


def test_copy_errors_scp():
    with Sshd([USER_PUBLIC], sftp=False) as s:
        o = copy(s, "from", scratch("x") + "/y", "no such")
        eq((o.status, "No such file" in o.last["error"]["desc"]), (3, True), o.out)
        o = copy(s, "from", scratch("x") + "/y", "/etc/shadow")
        eq(o.status, 5, o.out)
        o = copy(s, "to", keygen("host")[0], "/root/x")
        eq(o.status, 5, o.out)
    with Sshd([USER_PUBLIC], sftp=False, path=fake_path("empty")) as s:
        pass
    with Sshd([USER_PUBLIC], sftp=False, path="/nonexistent") as s:
        for direction in ("to", "from"):
            o = copy(s, direction, USER_KEY + ".pub", "y")
            eq(o.status, 6, o.out)
            has(o.last["error"]["desc"], "no SFTP")
            has(o.last["error"]["desc"], "not found")


def check_facts(s):
    here = scratch("facts")
    os.makedirs(here + "/d")
    write(here + "/d/f", b"x")
    os.chmod(here + "/d/f", 0o4751)
    os.utime(here + "/d/f", (1000000000, 1100000000))
    os.chmod(here + "/d", 0o750)
    os.utime(here + "/d", (1000000000, 1200000000))
    far("kept")
    eq(copy(s, "to", here + "/d", "kept", recursive=True, preserve=True).status, 0)
    eq(copy(s, "from", here + "/back", "kept", recursive=True, preserve=True).status, 0)
    for base in (f"{HOME}/kept", here + "/back"):
        st = os.stat(base + "/f")
        eq((oct(st.st_mode & 0o7777), st.st_mtime), (oct(0o751), 1100000000), base)
        st = os.stat(base)
        eq((oct(st.st_mode & 0o7777), st.st_mtime), (oct(0o750), 1200000000), base)
    # not kept: a fresh file gets the mode less the umask, an old one keeps its own
    os.chmod(f"{HOME}/kept/f", 0o666)
    eq(copy(s, "from", here + "/fresh", "kept/f").status, 0)
    eq(oct(os.stat(here + "/fresh").st_mode & 0o777), oct(0o644))
    os.chmod(here + "/fresh", 0o600)
    eq(copy(s, "from", here + "/fresh", "kept/f").status, 0)
    eq(oct(os.stat(here + "/fresh").st_mode & 0o777), oct(0o600))
    far("kept")


def test_copy_facts():
    with Sshd([USER_PUBLIC]) as s:
        check_facts(s)
    with Sshd([USER_PUBLIC], sftp=False) as s:
        check_facts(s)


def test_copy_links():
    here = scratch("links")
    os.makedirs(here + "/t/sub")
    write(here + "/secret", b"secret")
    os.symlink(here + "/secret", here + "/t/link")
    os.symlink("..", here + "/t/sub/loop")
    os.mkfifo(here + "/t/fifo")
    with Sshd([USER_PUBLIC]) as s:
        o = copy(s, "to", here + "/t", "t", recursive=True)
        eq((o.status, len([line for line in o.lines if "note" in line])), (0, 3), o.out)
        eq(sorted(os.listdir(f"{HOME}/t")), ["sub"])
        os.symlink("/etc/passwd", f"{HOME}/t/link")
        o = copy(s, "from", here + "/back", "t", recursive=True)
        eq((o.status, len([line for line in o.lines if "note" in line])), (0, 1), o.out)
        eq(sorted(os.listdir(here + "/back")), ["sub"])
        # a link of ours inside the target is not followed to another folder
        os.makedirs(here + "/elsewhere")
        os.rmdir(here + "/back/sub")
        os.symlink(here + "/elsewhere", here + "/back/sub")
        write(f"{HOME}/t/sub/f", b"x")
        far("t2")
        os.rename(f"{HOME}/t", f"{HOME}/back")
        o = copy(s, "from", here, "back", recursive=True)
        assert o.status, o.out
        eq(os.listdir(here + "/elsewhere"), [])
        far("back")
        # one named by the user is
        write(here + "/f", b"linked")
        os.symlink("f", here + "/l")
        eq(copy(s, "to", here + "/l", "l").status, 0)
        eq(read(f"{HOME}/l"), b"linked")
        far("l")


def test_copy_big():
    data = os.urandom(60 * MIB)
    here = scratch("big")
    write(here + "/f", data)
    for sftp in (True, False):
        with Sshd([USER_PUBLIC], sftp=sftp) as s:
            far("big")
            o = copy(s, "to", here + "/f", "big")
            eq((o.status, o.last["bytes"], o.last["files"]), (0, len(data), 1), o.out[-500:])
            eq(sha(read(f"{HOME}/big")), sha(data))
            o = copy(s, "from", here + "/g", "big")
            eq((o.status, o.last["bytes"]), (0, len(data)))
            eq(sha(read(here + "/g")), sha(data))
            first = o.lines[0]
            eq((first["file"], first["total"]), ("big", len(data)), o.out[:300])
            os.unlink(here + "/g")
    far("big")


def test_copy_no_space():
    here = scratch("full")
    write(here + "/f", b"x" * 8 * MIB)
    write(far("big", b""), b"x" * 8 * MIB)
    for folder in (here + "/small", f"{HOME}/small"):
        os.makedirs(folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "none", folder], check=True)
    try:
        for sftp in (True, False):
            with Sshd([USER_PUBLIC], sftp=sftp) as s:
                o = copy(s, "from", here + "/small/f", "big")
                eq(o.status, 7, o.out)
                has(o.last["error"]["desc"], "No space left")
                eq(os.listdir(here + "/small"), [])
                o = copy(s, "to", here + "/f", "small/f")
                eq(o.status, 6, o.out)
                has(o.last["error"]["desc"], "small/f")
                has(o.last["error"]["desc"].lower(), "no space left")
                far("small/f")
    finally:
        for folder in (here + "/small", f"{HOME}/small"):
            subprocess.run(["umount", folder], check=True)
        far("small")
        far("big")


def test_copy_interrupted():
    here = scratch("cut")
    write(far("big", b""), b"")
    os.truncate(f"{HOME}/big", 4000 * MIB)
    with Sshd([USER_PUBLIC]) as s:
        write(here + "/old", b"old content")
        for number in (signal.SIGTERM, signal.SIGINT):
            p = start("copy", remote(s, direction="from", local=here + "/old", remote="big"), stdout=subprocess.PIPE)
            p.stdout.readline()
            eq(len(os.listdir(here)), 2)
            p.send_signal(number)
            out = p.communicate(timeout=10)[0]
            eq(p.returncode, 128 + number, out)
            has(json.loads(out.splitlines()[-1])["error"]["desc"], "interrupted")
            eq(os.listdir(here), ["old"])
        eq(read(here + "/old"), b"old content")
        # a guest that stops in the middle
        p = start("copy", remote(s, direction="from", local=here + "/old", remote="big", stall_ms=int(1000 * SLOW)), stdout=subprocess.PIPE)
        p.stdout.readline()
        child = int(subprocess.run(["pgrep", "-n", "-u", "tester", "sshd"], capture_output=True, check=True).stdout.split()[0])
        os.kill(child, signal.SIGSTOP)
        out = p.communicate(timeout=20)[0]
        os.kill(child, signal.SIGKILL)
        eq(p.returncode, 8, out[-300:])
        eq(os.listdir(here), ["old"])
    far("big")


def test_copy_evil_scp():
    """A guest whose scp sends what nobody asked for."""
    ack = "ack() { dd bs=1 count=1 >/dev/null 2>&1; }\n"
    for text, part in (
        ("printf 'C0644 3 ../evil\\n'; ack; printf 'abc\\0'", "evil"),
        ("printf 'D0755 0 ..\\n'; ack; printf 'C0644 3 evil\\n'; ack; printf 'abc\\0'", ".."),
        ("printf 'D0755 0 d\\n'; ack; printf 'C0644 3 evil\\n'; ack; printf 'abc\\0'", "not asked for"),
        ("ack; printf 'C0644 3 f\\n'; ack; printf 'abc\\0'; ack; printf 'C0644 3 evil\\n'; ack; printf 'abc\\0'", "more than"),
        ("ack; printf 'E\\n'", "more than"),
        ("head -c 100000 /dev/zero | tr '\\0' C", "without an end"),
        ("printf 'C0644 -1 f\\n'", "no record"),
        ("printf 'C0644 99999999999999999999 f\\n'", "no record"),
        ("printf 'C0644 100 f\\n'; ack; printf abc", "in the middle"),
    ):
        here = scratch("evil")
        with Sshd([USER_PUBLIC], sftp=False, path=fake_path("evil-scp", scp=ack + text)) as s:
            far("evil")
            o = copy(s, "from", here + "/f", "f")
            assert o.status, (text, o.out)
            has(o.last["error"]["desc"], part)
            left = set(os.listdir(here)) - {"f"}
            assert not left and not os.path.exists(os.path.join(DIR, "evil", "evil")), left


# ---- agents, other servers, and what must not matter -------------------------------------------


def test_agent():
    socket_path = os.path.join(DIR, "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket_path], stdout=subprocess.DEVNULL)
    env = {"SSH_AUTH_SOCK": socket_path}
    try:
        wait_for(lambda: os.path.exists(socket_path))
        subprocess.run(["ssh-add", "-q", USER_KEY], env=dict(os.environ, **env), check=True)
        with Sshd([USER_PUBLIC]) as s:
            for keys in ([], [OTHER_KEY]):
                eq(run("exec", remote(s, command="exit 3", identities=keys, agent=True), env=env).status, 3)
            o = run("exec", remote(s, command="exit 3", identities=[]), env=env)
            eq(o.status, 255)
    finally:
        agent.terminate()
        agent.wait()


def test_agent_that_hangs():
    path = os.path.join(DIR, "hanging-agent")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(10)
    with Sshd([USER_PUBLIC]) as s:
        env = {"SSH_AUTH_SOCK": path}
        o = run("exec", remote(s, command="true", identities=[], agent=True, connect_ms=1000), env=env)
        eq(o.status, 255)
        assert o.seconds < 8 * SLOW
        o = run("climb", remote(s, rungs=["login"], identities=[], agent=True, total_ms=1000), env=env)
        eq((o.status, o.last["error"]["class"]), (8, "timeout"))
    listener.close()


def test_dropbear():
    with Dropbear([USER_PUBLIC]) as s:
        o = climb(s, ALL, probes=["test -d /"], total=20000)
        eq(o.status, 0, o.out)
        has(o.lines[1]["detail"], "dropbear")
        for command, status in (("exit 3", 3), ("kill -TERM $$", 143)):
            eq(execute(s, command).status, status)
        data = os.urandom(20 * MIB)
        o = execute(s, "cat; echo end", stdin=data)
        eq(sha(o.out), sha(data + b"end\n"))
        t = Terminal(s, "stty size; exit 7", pty=True)
        t.expect(b"33 101")
        t.end(7)
        here = os.path.join(DIR, "tree")
        tree(here, ODD)
        eq(copy(s, "to", here, "t", recursive=True).status, 0)
        same(here, f"{HOME}/t")
        back = scratch("back")
        eq(copy(s, "from", back, "t", recursive=True).status, 0)
        same(here, back + "/t")
        far("t")
        wrong = keygen("impostor")[1]
        s.host_key, right = wrong, s.host_key
        has(execute(s, "true").err.decode(), "mismatch")
        s.host_key = right
        has(execute(s, "true", identities=[OTHER_KEY]).err.decode(), "refused")


def test_callers_configuration():
    """Nothing in the caller's ~/.ssh matters."""
    home = scratch("caller")
    os.makedirs(home + "/.ssh")
    touched = os.path.join(DIR, "touched")
    write(home + "/.ssh/config", f"Host *\nProxyCommand touch {touched}\nUser root\nPort 1\n".encode())
    key, public = keygen("host")
    with Sshd([USER_PUBLIC]) as s:
        wrong = keygen("impostor")[1]
        write(home + "/.ssh/known_hosts", f"[127.0.0.1]:{s.port} {wrong}\n".encode())
        shutil.copy(OTHER_KEY, home + "/.ssh/id_ed25519")
        eq(execute(s, "id -un").out, b"tester\n")
        eq(sorted(os.listdir(home + "/.ssh")), ["config", "id_ed25519", "known_hosts"])
    with Sshd([OTHER_PUBLIC]) as s:
        eq(execute(s, "true").status, 255)
    assert not os.path.exists(touched)


def test_nothing_secret_in_view():
    with Sshd([USER_PUBLIC]) as s:
        p = start("exec", remote(s, command="sleep 5", identities=[read(USER_KEY).decode()]), stdin=subprocess.DEVNULL)
        time.sleep(1)
        for name in ("cmdline", "environ"):
            assert b"PRIVATE KEY" not in read(f"/proc/{p.pid}/{name}")
        p.terminate()
        p.wait(10)


def main():
    names = sys.argv[1:]
    tests = [(k, v) for k, v in globals().items() if k.startswith("test_") and (not names or k[5:] in names)]
    failed = 0
    os.makedirs(os.path.join(DIR, "caller"), exist_ok=True)
    for name, test in tests:
        begin = time.monotonic()
        try:
            test()
            print(f"ok   {name[5:]} ({time.monotonic() - begin:.1f} s)", flush=True)
        except Exception as e:  # the next test tells more
            failed += 1
            import traceback

            line = traceback.extract_tb(e.__traceback__)
            where = [f"{f.name}:{f.lineno}" for f in line if f.filename.endswith("ssh_tests.py")]
            print(f"FAIL {name[5:]}: {' '.join(where)}: {type(e).__name__}: {str(e)[:1500]}", flush=True)
    print(f"ssh: {len(tests) - failed} of {len(tests)} passed")
    return 1 if failed else 0


sys.exit(main())
