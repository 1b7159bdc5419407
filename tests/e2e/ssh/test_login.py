"""roost-ssh: somebody who is asked at his terminal for a password, a passphrase, or whatever the server wants to know."""

import os
import shutil
import signal
import subprocess
import termios
import time

from harness import *  # noqa: F403: the tests' own small language
from servers import *  # noqa: F403

PASSWORD = b"open sesame"
QUESTION = b"tester@web1's password: "
ANY = {"identities": [], "ask": True, "guest": "web1"}


def asked(server, command="echo in; exit 7", **more):
    return Terminal(server, command, **{**ANY, **more})


def silent(t):
    """Nothing of what is typed now is shown."""
    assert not termios.tcgetattr(t.slave)[3] & termios.ECHO, "it is shown"


def test_login_password():
    with Sshd([]) as s:
        t = asked(s)
        t.expect(QUESTION)
        silent(t)
        t.type(PASSWORD + b"\n")
        t.expect(b"in\r\n")
        t.end(7)
        assert PASSWORD not in t.all, t.all
        # wrong, then right; the second way out of an empty line
        t = asked(s)
        for wrong in (b"wrong", b""):
            t.expect(QUESTION)
            t.type(wrong + b"\n")
            t.expect(b"Permission denied, please try again.")
        t.expect(QUESTION)
        t.type(PASSWORD + b"\n")
        t.end(7)
        # three times
        t = asked(s)
        for _ in range(3):
            t.expect(QUESTION)
            t.type(b"wrong\n")
        t.expect(b"login as 'tester' was refused: the server accepts publickey, password")
        t.end(255)
        assert QUESTION not in t.seen, t.seen
        # who thinks about it has the time
        t = asked(s, connect_ms=int(700 * SLOW))
        t.expect(QUESTION)
        time.sleep(SLOW)
        t.type(PASSWORD + b"\n")
        t.end(7)
        # no answer
        t = asked(s)
        t.expect(QUESTION)
        t.type(b"\x04")
        t.expect(b"was refused")
        t.end(255)


def test_login_unasked():
    """Nobody is there, or nobody shall be asked."""
    with Sshd([]) as s:
        o = run("exec", remote(s, command="true", **ANY), start_new_session=True)
        eq(o.status, 255)
        has(o.err, b"was refused: the server accepts publickey, password; offered: no key")
        has(o.err, b"there is no terminal to ask for a password at; at one `roost ssh-copy-id tester@web1` lets your key in")
        t = asked(s, ask=False)
        t.expect(b"was refused")
        t.end(255)
        assert QUESTION not in t.all, t.all
        o = climb(s, ["login"], total=1500, identities=[], guest="web1")
        fails(o, "login", "login-refused")


def test_login_interrupted():
    with Sshd([]) as s:
        for key, number in ((b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT)):
            t = asked(s)
            t.expect(QUESTION)
            silent(t)
            t.type(key)
            t.end(-number)
        for number in (signal.SIGTERM, signal.SIGHUP):
            t = asked(s)
            t.expect(QUESTION)
            t.process.send_signal(number)
            t.end(-number)
        # ^Z: nobody is there who would go on with it, so that it is not put aside; it is asked again
        t = asked(s)
        t.expect(QUESTION)
        t.type(b"\x1a")
        t.expect(QUESTION)
        silent(t)
        t.type(PASSWORD + b"\n")
        t.end(7)


def test_login_questions():
    """keyboard-interactive, by PAM."""
    with Sshd([], pam=True) as s:
        t = asked(s)
        t.expect(b"(tester@web1) Password: ")
        silent(t)
        t.type(b"wrong\n")
        t.expect(b"Permission denied, please try again.")
        t.expect(b"(tester@web1) Password: ")
        t.type(PASSWORD + b"\n")
        t.expect(b"in\r\n")
        t.end(7)


def test_login_two_parts():
    """A key and a password, in either order."""
    for order in ("publickey,password", "password,publickey"):
        with Sshd([USER_PUBLIC], extra=f"AuthenticationMethods {order}") as s:
            t = asked(s, identities=[USER_KEY])
            t.expect(QUESTION)
            t.type(PASSWORD + b"\n")
            t.expect(b"in\r\n")
            t.end(7)


def test_login_passphrase():
    locked, public = keygen("locked", "a phrase")
    question = b"Enter passphrase for key '" + locked.encode() + b"': "
    with Sshd([public]) as s:
        t = asked(s, identities=[locked])
        t.expect(question)
        silent(t)
        t.type(b"wrong\n")
        t.expect(question)
        t.type(b"a phrase\n")
        t.expect(b"in\r\n")
        t.end(7)
        # a key that the server does not want is not asked about; nor is one where another got us in
        other, _ = keygen("locked-other", "a phrase")
        t = asked(s, identities=[other])
        t.expect(QUESTION)
        t.type(b"\x04")
        t.expect(b"needs a passphrase")
        t.end(255)
        assert b"Enter passphrase" not in t.all, t.all
    with Sshd([public, USER_PUBLIC]) as s:
        t = asked(s, identities=[locked, USER_KEY])
        t.expect(b"in\r\n")
        t.end(7)
        assert b"Enter passphrase" not in t.all, t.all


def test_login_hostile_questions():
    """What a server asks is its own text: no escape sequence of it reaches the terminal."""
    with Sshd([], pam=True) as s:
        with open("/etc/pam.d/sshd") as f:
            before = f.read()
        try:
            with open("/etc/pam.d/sshd", "w") as f:
                f.write("auth optional pam_echo.so \033]0;evil\007\n" + before)
            t = asked(s)
            t.expect(b"Password: ")
            t.type(PASSWORD + b"\n")
            t.end(7)
            assert b"\033" not in t.all and b"evil" in t.all, t.all
        finally:
            with open("/etc/pam.d/sshd", "w") as f:
                f.write(before)


def test_login_copy_and_authorize():
    """The others ask as well; their output is not disturbed."""
    with Sshd([]) as s:
        write(os.path.join(DIR, "one"), b"content")
        far("got")
        t = asked(s, None, verb="copy", direction="to", local=[os.path.join(DIR, "one")], remote="got")
        t.expect(QUESTION)
        t.type(PASSWORD + b"\n")
        t.expect(b'"state":"copied"')
        t.end(0)
        eq(read(os.path.join(HOME, "got")), b"content")
        t = asked(s, None, verb="authorize", keys=[USER_PUBLIC])
        t.expect(QUESTION)
        t.type(PASSWORD + b"\n")
        t.expect(b'"added":1')
        t.end(0)
        folder = os.path.join(HOME, ".ssh")
        eq(oct(os.stat(folder).st_mode & 0o777), "0o700")
        eq(oct(os.stat(os.path.join(folder, "authorized_keys")).st_mode & 0o777), "0o600")
        shutil.rmtree(folder)


def test_login_scan():
    with Sshd([]) as s:
        o = run("scan", remote(s, identities=[], host_key=None))
        eq(o.status, 0, o.out)
        eq(o.last["host_key"], " ".join(s.host_key.split()[:2]))
        told = subprocess.run(["ssh-keygen", "-lf", os.path.join(DIR, "host.pub")], capture_output=True, check=True).stdout
        has(told.decode(), " " + o.last["fingerprint"] + " ")
        # whichever it is
        eq(run("scan", remote(s, host_key=OTHER_PUBLIC)).last["host_key"], o.last["host_key"])
