"""zsh_tab.py SCRIPT: types each line of the standard input, "TYPED<tab>=> EXPECTED", into a zsh at a terminal that has
sourced the completion SCRIPT, presses the tab key, and looks what stands on the command line then.
"""
import os
import pty
import select
import sys
import time

PATIENCE = 20 * int(os.environ.get("E2E_PATIENCE", "1"))

# What stands on the line after the tab is written to a file when ^X^X is pressed, so no screen need be understood.
SETUP = """
PS1='ready> '
autoload -Uz compinit && compinit -D -u
source {script}
_tell() {{ print -r -- "$BUFFER" >{answer}.new && mv {answer}.new {answer}; BUFFER=; }}
zle -N _tell
bindkey '^I' complete-word
bindkey '^X^X' _tell
unsetopt beep
print up-and-"listening"
"""


class Zsh:
    def __init__(self, script):
        self.answer = os.environ["TMPDIR"] + "/zsh.answer"
        setup = os.environ["TMPDIR"] + "/zsh.setup"
        with open(setup, "w") as f:
            f.write(SETUP.format(script=script, answer=self.answer))
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.environ["TERM"] = "dumb"
            os.execvp("zsh", ["zsh", "-f", "-i"])
        self.seen = b""
        self.type(f"source {setup}\n")
        self.until("zsh is up", lambda: b"up-and-listening" in self.seen)

    def type(self, text):
        os.write(self.terminal, text.encode())

    def until(self, what, look):
        end = time.monotonic() + PATIENCE
        while not look():
            if time.monotonic() > end:
                sys.exit(f"FAILED: not within {PATIENCE} s: {what}; seen: {self.seen[-600:]!r}")
            if select.select([self.terminal], [], [], 0.05)[0]:
                self.seen += os.read(self.terminal, 4096)

    def complete(self, typed):
        if os.path.exists(self.answer):
            os.unlink(self.answer)
        self.type(typed + "\t\x18\x18")
        self.until(f"completing {typed!r}", lambda: os.path.exists(self.answer))
        with open(self.answer) as f:
            return f.read().rstrip("\n")


def main():
    zsh = Zsh(sys.argv[1])
    for line in sys.stdin:
        typed, expected = line.rstrip("\n").split("\t=> ")
        got = zsh.complete(typed).rstrip(" ")
        if got != expected:
            sys.exit(f"FAILED: zsh: {typed!r} became {got!r}, expected {expected!r}")
    os.close(zsh.terminal)


main()
