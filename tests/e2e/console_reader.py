"""What t_console.sh needs a terminal for, and what looks at every byte.

    terminals NAME   two people at `roost console NAME`, each in a terminal of his own
    trims LOG NAME   200 holes punched into the console's file while two readers follow, one of them slow
"""
import ctypes
import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time

PATIENCE = 20 * int(os.environ.get("E2E_PATIENCE", "1"))


def fail(why):
    sys.exit(f"FAILED: {why}")


class Terminal:
    """`roost console` in a terminal."""

    def __init__(self, *arguments):
        self.master, slave = pty.openpty()
        self.slave = os.dup(slave)
        self.before = termios.tcgetattr(slave)
        self.seen = b""
        self.process = subprocess.Popen(["roost", "console", *arguments], stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.expect(b"Escape character")
        self.until("the terminal is raw", lambda: not termios.tcgetattr(self.slave)[3] & termios.ICANON)

    def until(self, what, look):
        end = time.monotonic() + PATIENCE
        while not look():
            if time.monotonic() > end:
                fail(f"not within {PATIENCE} s: {what}; seen: {self.seen[-300:]!r}")
            self.read(0.05)

    def read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            self.seen += os.read(self.master, 65536)

    def expect(self, text):
        """Waits for it behind what was expected before."""
        self.until(text, lambda: text in self.seen)
        self.seen = self.seen[self.seen.index(text) + len(text):]

    def type(self, text):
        os.write(self.master, text)

    def leaves(self):
        """It ends well and leaves the terminal as it was."""
        self.until("roost console ends", lambda: self.process.poll() is not None)
        if self.process.returncode:
            fail(f"roost console ended with {self.process.returncode}: {self.seen!r}")
        if termios.tcgetattr(self.slave) != self.before:
            fail("the terminal is not as it was before")


def terminals(name):
    one, two = Terminal(name), Terminal("--replay", name)
    two.expect(b"PICO-UP boot=0001")
    looker = Terminal("--read-only", name)
    looker.type(b"Z")
    one.type(b"xyz")
    for terminal in one, two, looker:
        terminal.expect(b"x")
        terminal.expect(b"y")
        terminal.expect(b"z")
    one.type(b"k\x1dl")
    one.leaves()
    for terminal in two, looker:
        terminal.expect(b"k")
        terminal.expect(b"tick=")
    two.type(b"m")
    looker.expect(b"m")
    if b"l" in two.seen or b"Z" in two.seen or b"Z" in looker.seen:
        fail("what came behind ^], or from a reader that may only look, reached the guest")
    # ^C and ^D are the guest's
    two.type(b"\x03\x04")
    two.expect(b"\x03")  # a tick may come between them
    two.expect(b"\x04")
    late = Terminal("--replay", name)
    late.expect(b"PICO-UP boot=0001")
    late.expect(b"m")
    late.type(b"\x1d")
    late.leaves()
    subprocess.run(["roost", "destroy", name], check=True)
    two.leaves()
    looker.type(b"\x1d")
    looker.leaves()


libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
KEEP_SIZE, PUNCH_HOLE = 1, 2
KEEP, TRIMS, BLOCK = 64 * 1024, 200, 4096


def check_lines(what, text, gaps_allowed):
    """Numbered lines, 16 bits wide, from the first to the last; a tick each second is between them."""
    if b"\0" in text:
        fail(f"{what}: zeros of a hole were shown as the guest's words, {text.count(bytes(1))} of them")
    lines = text.split(b"\r\n")
    first = next((i for i, line in enumerate(lines) if line.startswith(b"line=")), None)
    if first is None:
        fail(f"{what}: no numbered lines in {text[:200]!r}")
    numbers, gaps = [], 0
    for line in lines[first:-1]:
        if re.fullmatch(rb"tick=[0-9a-f]{4}", line):
            continue
        match = re.fullmatch(rb"line=([0-9a-f]{4})", line)
        expected = (numbers[-1] + 1) & 0xffff if numbers else None
        if not match or (numbers and int(match[1], 16) != expected):
            gaps += 1
            if gaps > gaps_allowed:
                fail(f"{what}: {line!r} after number {numbers[-1]:04x}, {len(numbers)} lines were right")
            if not match:
                continue
        numbers.append(int(match[1], 16))
    return len(numbers), gaps


def type_to(name, key, sign, fd):
    """Types it, and waits until the guest's log has the sign that it has come."""
    start, end = os.fstat(fd).st_size, time.monotonic() + PATIENCE
    with subprocess.Popen(["roost", "console", name], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as console:
        console.stdin.write(key)
        console.stdin.flush()
        while sign not in os.pread(fd, 1 << 20, start):
            if time.monotonic() > end:
                fail(f"no {sign!r} after {key!r} within {PATIENCE} s")
            time.sleep(0.02)
        console.terminate()


def holds(pipe):
    """How many bytes wait in it."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def trims(log, name):
    out = os.path.join(os.environ["TMPDIR"], "followed")
    with open(out, "wb") as f:
        quick = subprocess.Popen(["roost", "logs", "--follow", name], stdout=f)
    # takes nothing until its pipe is long full and holes have come over what it has not had yet
    slow = subprocess.Popen(["roost", "logs", "--follow", name], stdout=subprocess.PIPE)
    fd = os.open(log, os.O_RDWR)
    end = time.monotonic() + 3 * PATIENCE
    while not os.path.getsize(out) or not holds(slow.stdout):
        if time.monotonic() > end:
            fail("roost logs shows nothing")
        time.sleep(0.02)
    type_to(name, b"c", b"line=", fd)
    done, punched, most, before = 0, 0, 0, 0
    end = time.monotonic() + 3 * PATIENCE
    # what the slow one has not had yet goes for sure, what the quick one has not had never: it may just not have its turn
    while done < TRIMS or punched < 2 * KEEP:
        if time.monotonic() > end:
            fail(f"only {done} trims, the log has {os.fstat(fd).st_size} bytes")
        stat = os.fstat(fd)
        until = min(stat.st_size - KEEP, os.path.getsize(out)) // BLOCK * BLOCK
        if until <= 0 or stat.st_size - before < 512:
            time.sleep(0.002)
            continue
        before = stat.st_size
        if libc.fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, until):
            fail(f"fallocate: {os.strerror(ctypes.get_errno())}")
        done, punched = done + 1, until
        stat = os.fstat(fd)
        most = max(most, stat.st_blocks * 512 - (stat.st_size - until))
    if most > 64 * 1024:
        fail(f"the log took {most} bytes of disk more than was kept")
    type_to(name, b".", b".", fd)
    while os.path.getsize(out) < os.fstat(fd).st_size and time.monotonic() < end:
        time.sleep(0.05)
    subprocess.run(["roost", "destroy", name], check=True)
    if quick.wait(PATIENCE):
        fail(f"roost logs ended with {quick.returncode}")
    with open(out, "rb") as f:
        text = f.read()
    size = os.fstat(fd).st_size
    if len(text) != size:
        fail(f"the reader has {len(text)} bytes of {size}")
    late_text = slow.communicate()[0]
    # up to the dot that ended it
    lines, _ = check_lines("the reader", text[:text.rindex(b".")], 0)
    late, gaps = check_lines("the slow reader", late_text[:late_text.rindex(b".")], 2)
    if not gaps:
        fail("the slow reader was not slow at all: nothing is shown")
    print(f"{TRIMS} trims, {size} bytes, {punched} of them given back, at most {most} more on the disk than was kept; "
          f"{lines} lines followed, {late} by a slow reader who missed {gaps} pieces")


if __name__ == "__main__":
    {"terminals": terminals, "trims": trims}[sys.argv[1]](*sys.argv[2:])
