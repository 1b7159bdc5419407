"""A command at a terminal of its own, for what only happens at one.

    in_terminal.py [expect TEXT | type TEXT]... -- COMMAND...

does so in order, each `expect` behind what was expected before, and then waits for its end. Its status is the command's; what
the terminal showed is printed. "^]" in a text is that key.
"""
import os
import pty
import select
import subprocess
import sys
import time

PATIENCE = 30 * int(os.environ.get("E2E_PATIENCE", "1"))
split = sys.argv.index("--")
steps, command = sys.argv[1:split], sys.argv[split + 1:]
master, slave = pty.openpty()
process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
os.close(slave)
shown = b""


def read():
    """False when nobody has the terminal any more."""
    global shown
    if select.select([master], [], [], 0.1)[0]:
        try:
            shown += os.read(master, 65536)
        except OSError:
            return False
    return True


def give_up(why):
    process.kill()
    sys.stdout.buffer.write(shown)
    sys.exit(f"FAILED: {why}")


at, end = 0, time.monotonic() + PATIENCE
for verb, text in zip(steps[::2], steps[1::2]):
    data = text.replace("^]", "\x1d").encode()
    if verb == "type":
        os.write(master, data)
        continue
    while data not in shown[at:]:
        if not read() or time.monotonic() > end:
            give_up(f"the terminal never shows {text!r}")
    at = shown.index(data, at) + len(data)
while read() and time.monotonic() < end:
    pass
if time.monotonic() >= end:
    give_up("the command does not end")
sys.stdout.buffer.write(shown)
sys.exit(process.wait())
