"""virsh_keys.py: types into a virsh at a terminal, each line of the standard input "KEYS => EXPECTED": the keys with
Python's escapes, and what must appear on the screen thereafter.
"""
import os
import pty
import select
import sys
import time

PATIENCE = 20 * int(os.environ.get("E2E_PATIENCE", "1"))
PROMPT = b"virsh # "


def until(terminal, what, keys):
    """Reads until the screen has shown it, and then a prompt: before that the line editor is not there."""
    seen, end = b"", time.monotonic() + PATIENCE
    while what not in seen or PROMPT not in seen[seen.index(what):]:
        if not select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
            sys.exit(f"after {keys!r}: no {what!r} in {seen!r}")
        seen += os.read(terminal, 4096)


def main():
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.execvp("virsh", ["virsh"])
    until(terminal, b"", "")
    for line in sys.stdin:
        keys, expected = (s.encode().decode("unicode_escape").encode() for s in line.rstrip("\n").split(" => "))
        os.write(terminal, keys)
        until(terminal, expected, keys)
    os.write(terminal, b"quit\n")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


main()
