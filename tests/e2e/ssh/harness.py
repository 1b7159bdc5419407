"""What the tests of roost-ssh share: running it, its terminal, files on both sides, checks."""

import fcntl
import hashlib
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

from servers import DIR, HOME, SLOW, keygen

SSH = os.environ["ROOST_SSH"]
USER_KEY, USER_PUBLIC = keygen("user")
OTHER_KEY, OTHER_PUBLIC = keygen("other")
MIB = 1024 * 1024
ALL = ["tcp", "banner", "hostkey", "login", "cloud-init", "probes"]
ODD = [b"plain", b"with space", b"'quotes\"", b"-rf", b"$HOME `id` ;", b"caf\xc3\xa9", b"*", b".hidden", b"back\\slash", b"#", b"~"]

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
        soon(outcome, within)
    return last


def soon(outcome, seconds):
    """It took less, but for what a machine that needs patience stands still."""
    most = seconds * SLOW + (10 if SLOW > 1 else 0)
    assert outcome.seconds < most, f"took {outcome.seconds} s, not {most} s: {outcome.err[-500:]!r}"


def fails_within(total, rung, reason, climb_for, **more):
    """climb_for(total) goes on trying until that time is over, and fails so: with four times as much if it did not even come so far."""
    outcome = climb_for(total)
    if (outcome.last.get("rung"), outcome.last.get("reason")) != (rung, reason):
        total *= 4
        outcome = climb_for(total)
    return fails(outcome, rung, reason, within=total / 1000 + 3, **more)


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


def fake_path(name, **programs):
    """A PATH with programs of ours in front."""
    folder = scratch(name)
    for program, text in programs.items():
        path = os.path.join(folder, program.replace("_", "-"))
        write(path, b"#!/bin/sh\n" + text.encode())
        os.chmod(path, 0o755)
    return folder + ":/usr/bin:/bin"


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds * SLOW
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def cpu_seconds(pid):
    fields = read(f"/proc/{pid}/stat").decode().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Terminal:
    """roost-ssh at a terminal of its own: exec, or another verb without a command."""

    def __init__(self, server, command, rows=33, columns=101, verb="exec", **more):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.seen = self.all = b""
        params = remote(server, **more)
        if verb == "exec":
            params["command"] = command

        def own_session():
            os.setsid()
            for number in (signal.SIGINT, signal.SIGQUIT):  # a shell may have had them ignored in what it runs beside it
                signal.signal(number, signal.SIG_DFL)
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = start(verb, params, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_session)

    def expect(self, text, seconds=15):
        end = time.monotonic() + seconds * SLOW
        while text not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                raise AssertionError(f"{text!r} did not come: {self.seen!r}")
            self.read()
        self.seen = self.seen.split(text, 1)[1]

    def read(self):
        data = os.read(self.master, 65536)
        self.seen += data
        self.all += data

    def type(self, text):
        os.write(self.master, text)

    def end(self, status):
        eq(self.process.wait(15 * SLOW), status)
        while select.select([self.master], [], [], 0)[0]:
            self.read()
        eq(termios.tcgetattr(self.slave), self.before, "terminal:")
        os.close(self.slave)
        os.close(self.master)


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
