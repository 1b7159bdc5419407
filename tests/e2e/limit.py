"""limit.py SECONDS COMMAND...: as `timeout -k 5 SECONDS COMMAND...`, but for a machine whose clocks jump while it is stopped: the
seconds are counted one by one, so that of such a pause one counts. Ends as the command does, and with 142, the shell's word for
SIGALRM, when it took too long: a `timeout` in a test gives 124.
"""
import os
import select
import signal
import subprocess
import sys


def waited(seconds):
    """Has it ended within these?"""
    for _ in range(seconds):
        if select.select([pidfd], [], [], 1)[0]:
            process.wait()
            return True
    return False


def tell(number):
    """To it, and to what it has started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


process = subprocess.Popen(sys.argv[2:], preexec_fn=os.setpgrp)
pidfd = os.pidfd_open(process.pid)
for asked in signal.SIGHUP, signal.SIGINT, signal.SIGTERM:
    signal.signal(asked, lambda number, frame: tell(number))
if waited(int(sys.argv[1])):
    sys.exit(process.returncode if process.returncode >= 0 else 128 - process.returncode)
tell(signal.SIGTERM)
if not waited(5):
    tell(signal.SIGKILL)
    process.wait()
sys.exit(142)
