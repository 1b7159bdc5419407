"""roost-ssh climb: the ladder, and each way to fall off it."""

import json
import os
import subprocess
import time

from harness import *  # noqa: F403: the tests' own small language
from servers import *  # noqa: F403


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


def rsa_key():
    path = os.path.join(DIR, "rsa")
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", path], check=True)
    return read(path + ".pub").decode()


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
        fails_within(500, "tcp", "connection-refused", lambda total: climb(s, ["tcp"], total=total, address="::1"))


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
            assert 0 < late < 3 * SLOW, f"noticed {late} s after it was ready"
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
            soon(o, 5)
            eq(run("exec", remote(fake, command="exit 5")).status, 5)


def test_climb_overloaded_server():
    """Nobody speaks for 5 s; then connections are served one after the other, in 0.6 s each, also those given up long ago."""
    free = time.monotonic() + 5
    with Sshd([USER_PUBLIC]) as s:

        def talk(sock):
            nonlocal free
            free = max(free, time.monotonic()) + 0.6
            time.sleep(free - time.monotonic())
            forward(sock, s.port)

        with Fake(talk) as fake:
            fake.host_key = s.host_key
            o = climb(fake, ["login"], total=40000)
            eq(o.status, 0, o.out)


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
            time.sleep(1 * SLOW)

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
            soon(o, 4)
            assert o.err.startswith(b"roost: "), o.err


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
        last = fails_within(600, "hostkey", "host-key-mismatch", lambda total: climb(s, ["hostkey"], total=total))
        has(last["error"]["desc"], "expected ssh-rsa")
        # no key issued
        s.host_key = None
        o = climb(s, ["login"], total=20000)
        last = fails(o, "hostkey", "host-key-unknown", status=5, within=3)
        has(last["error"]["desc"], "SHA256:")
        has(last["error"]["hint"], "roost ssh NAME")
        o = climb(s, ["hostkey", "login"], trust="first")
        eq(o.status, 0)
        eq(o.lines[0]["detail"].split()[:2], real.split()[:2])


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
        some = [USER_KEY, locked, "/nonexistent/key", s.host_key]
        last = fails_within(1500, "login", "login-refused", lambda total: climb(s, ["login"], total=total, identities=some), status=5)
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
        last = fails_within(1500, "login", "login-refused", lambda total: climb(s, ["login"], total=total, identities=many))
        has(last["error"]["desc"], "too many")
        # PEM in the old format, and one that needs a passphrase, must not ask at the terminal
        old = os.path.join(DIR, "old.pem")
        subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "secret", "-f", old], check=True)
        last = fails_within(1500, "login", "login-refused", lambda total: climb(s, ["login"], total=total, identities=[old]))
        has(last["error"]["desc"], "needs a passphrase")


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
    for text in ("echo 'status: running'; sleep 60", "echo 'status: not run'"):
        fails_within(1500, "cloud-init", "cloud-init-running", lambda total: one(text, total=total), status=8)
    o = one("echo nonsense")
    fails(o, "cloud-init", "cloud-init-error", status=6)
    with Sshd([USER_PUBLIC]) as s:
        o = climb(s, ["cloud-init"])
        eq((o.status, o.lines[0]["state"], o.lines[0]["detail"]), (0, "skipped", "not installed"))


def test_probes():
    with Sshd([USER_PUBLIC]) as s:
        some = ["true", "echo out; echo err >&2; exit 7"]
        last = fails_within(1500, "probes", "probe-failed", lambda total: climb(s, ["probes"], probes=some, total=total), status=6)
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
        for seconds in 1, 6:
            o = climb(s, ["probes"], probes=["sleep 60"], total=60000, deadlines_ms={"probes": int(seconds * 1000 * SLOW)})
            if "does not end" in str(o.last):
                break
        has(fails(o, "probes", "probe-failed", within=seconds + 3)["error"]["desc"], "does not end")
        o = climb(s, ["probes"], probes=["head -c 100000000 /dev/zero"], total=30000)
        eq(o.status, 0, o.out)


def test_climb_guest_reboots():
    """The server goes away between rungs: the rung that was never reached is the one named."""
    with Sshd([USER_PUBLIC]) as s:
        p = start("climb", remote(s, rungs=["login", "probes"], probes=["false"], total_ms=int(4000 * SLOW)), stdout=subprocess.PIPE)
        # the second probe: the first one has ended
        wait_for(lambda: read(s.log.name).count(b"Starting session") >= 2)
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
