"""answer.py REGEX ANSWER COMMAND...: runs the command at a terminal of its own, types the answer when its output matches
the expression (once), prints what it has said, and ends as it does.
"""
import os
import pty
import re
import sys

question, answer, command = re.compile(sys.argv[1].encode()), sys.argv[2], sys.argv[3:]
seen = b""
answered = False


def read(fd):
    global seen, answered
    data = os.read(fd, 4096)
    seen += data
    if not answered and question.search(seen):
        answered = True
        os.write(fd, answer.encode() + b"\n")
    return data


sys.exit(os.waitstatus_to_exitcode(pty.spawn(command, read, lambda fd: b"")))
