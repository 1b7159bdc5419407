"""roost-ssh exec: streams, endings, terminals."""

import fcntl
import os
import signal
import struct
import subprocess
import termios
import time

from harness import *  # noqa: F403: the tests' own small language
from servers import *  # noqa: F403


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
        for _ in range(round(5 * SLOW)):  # on a busy machine it has perhaps not come so far
            cpu = cpu_seconds(p.pid)
            time.sleep(1)
            spent = cpu_seconds(p.pid) - cpu
            if spent < 0.3:
                break
        assert spent < 0.3, f"burnt {spent} s of CPU while it had to wait"
        with open(f"/proc/{p.pid}/status") as f:
            peak = [int(line.split()[1]) for line in f if line.startswith("VmHWM")][0]
        assert peak < 40000 * (10 if SLOW > 1 else 1), f"{peak} KiB"
        total = 0
        while chunk := p.stdout.read(MIB):
            assert chunk.strip(b"x") == b""
            total += len(chunk)
        eq((total, p.wait(10 * SLOW)), (100000000, 0))


def test_exec_idle_costs_nothing():
    with Sshd([USER_PUBLIC]) as s:
        for command in (f"sleep {2 * SLOW + 1}", f"exec >&- 2>&-; sleep {2 * SLOW + 1}"):
            p = start("exec", remote(s, command=command), stdin=subprocess.DEVNULL)
            time.sleep(1.5 * SLOW)  # for its log-in, which may still take a moment on a busy machine
            for _ in range(round(2 * SLOW)):
                cpu = cpu_seconds(p.pid)
                time.sleep(1)
                spent = cpu_seconds(p.pid) - cpu
                if spent < 0.1:
                    break
            assert spent < 0.1, (command, spent)
            eq(p.wait(20 * SLOW), 0)


def test_exec_endings():
    with Sshd([USER_PUBLIC]) as s:
        # our reader goes away
        p = start("exec", remote(s, command="yes"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        eq(p.stdout.readline(), b"y\n")
        p.stdout.close()
        eq(p.wait(10 * SLOW), 141)
        # a signal reaches the command, then ends us
        mark = far("mark")
        for number, name in ((signal.SIGTERM, "TERM"), (signal.SIGINT, "INT")):
            p = start("exec", remote(s, command=f"trap 'echo {name} > mark; exit 0' {name}; echo up; sleep 60 & wait"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            eq(p.stdout.readline(), b"up\n")
            p.send_signal(number)
            eq(p.wait(10 * SLOW), 128 + number)
            wait_for(lambda: os.path.exists(mark) and read(mark).strip() == name.encode())
            far("mark")
        # the connection is lost
        p = start("exec", remote(s, command="echo $PPID; sleep 60"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.kill(int(p.stdout.readline()), signal.SIGKILL)
        eq(p.wait(10 * SLOW), 255)
        has(p.stderr.read().decode(), "connection was lost")
        # a process that holds the output open is waited for, as ssh does
        o = execute(s, "sleep 1 & echo x")
        assert o.seconds >= 1 and o.out == b"x\n"




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
