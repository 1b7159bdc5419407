#!/bin/sh
# A keeper is a QMP server for anybody: a short python program and socat drive it, two at once, each with its own ids;
# an event reaches both; what is malformed or refused is answered and harms nobody.
. "$TOP/tests/e2e/lib.sh"

pico guest
roost start guest
socket=$(run_dir guest)/guest.sock

say "a client of nobody's making"
cat >"$TMPDIR/clients.py" <<'END'
import json
import os
import socket
import sys


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10 * int(os.environ["E2E_PATIENCE"]))
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")
        self.events = []
        self.greeting = json.loads(self.lines.readline())

    def send(self, text):
        self.socket.sendall(text.encode() + b"\n")

    def message(self):
        return json.loads(self.lines.readline())

    def answer(self, id_):
        while True:
            message = self.message()
            if "event" in message:
                self.events.append(message)
            elif message.get("id") == id_:
                return message
            else:
                sys.exit(f"an answer to somebody else: {message}")

    def refusal(self):
        """the next message that is no event: what is malformed has no id to be known by"""
        while "event" in (message := self.message()):
            self.events.append(message)
        return message

    def call(self, command, id_=None, **arguments):
        self.send(json.dumps({"execute": command, "arguments": arguments, "id": id_}))
        return self.answer(id_)

    def wait(self, event):
        for e in self.events:
            if e["event"] == event:
                return e
        while True:
            message = self.message()
            if message.get("event") == event:
                return message


def check(what, held):
    if not held:
        sys.exit(f"does not hold: {what}")


one, two = Client(sys.argv[1]), Client(sys.argv[1])
check("a greeting as QMP has it", "version" in one.greeting["QMP"] and one.greeting["QMP"]["capabilities"] == [])
check("nothing before qmp_capabilities", "error" in one.call("query-status", 1))
check("qmp_capabilities", one.call("qmp_capabilities", 2)["return"] == {})
check("qmp_capabilities", two.call("qmp_capabilities", 2)["return"] == {})
check("query-status", one.call("query-status", "text")["return"]["status"] == "running")
check("an object for an id", two.call("query-status", {"a": [1, 2]})["return"]["running"] is True)

# the same id at the same time: to each his own answer
one.send('{"execute": "query-name", "id": 7}')
two.send('{"execute": "query-uuid", "id": 7}')
check("to each his own answer", one.answer(7)["return"]["name"] == "guest")
check("to each his own answer", "UUID" in two.answer(7)["return"])

check("stop", one.call("stop", 8)["return"] == {})
check("both see the event", one.wait("STOP") and two.wait("STOP"))
check("it is stopped", two.call("query-status", 9)["return"]["status"] == "paused")
check("cont", two.call("cont", 10)["return"] == {})
check("both see the event", one.wait("RESUME") and two.wait("RESUME"))

one.send("this is not JSON")
check("malformed input is answered", "error" in one.refusal())
check("and the client goes on", one.call("query-status", 11)["return"]["running"])
one.send('{"execute": 5}')
check("a command that is no text", "error" in one.refusal())
one.send('{"execute": "query-status", "arguments": []}')
check("arguments that are no object", "error" in one.refusal())

for command, arguments in (
    ("quit", {}),
    ("migrate", {"uri": "exec:touch /tmp/no"}),
    ("pmemsave", {"val": 0, "size": 1, "filename": "/tmp/no"}),
    ("human-monitor-command", {"command-line": "info status"}),
    ("blockdev-add", {"driver": "file", "filename": "/etc/shadow", "node-name": "no"}),
    ("device_add", {"driver": "pvpanic"}),
    ("screendump", {"filename": "/tmp/no"}),
    ("no-such-command", {}),
):
    answer = one.call(command, command, **arguments)
    check(f"'{command}' is refused", answer["error"]["class"] == "refused")
check("QEMU's own refusal passes", "error" in one.call("qom-get", 12, path="/nowhere", property="x"))
check("the rows are told", any(row["name"] == "roost-destroy" for row in one.call("query-commands", 13)["return"]))

# fds that nobody asked for are closed, and the next command is served
socket.send_fds(two.socket, [b'{"execute": "query-status", "id": 14}\n'], [os.open("/dev/null", os.O_RDONLY)])
check("an fd with a command that wants none", two.answer(14)["return"]["running"])

# a client that goes in the middle of a command leaves the others alone
two.send('{"execute": "query-block')
two.socket.close()
check("the other goes on", one.call("query-status", 15)["return"]["running"])
END
python3 "$TMPDIR/clients.py" "$socket"

say "socat"
out=$(printf '%s\n' '{"execute":"qmp_capabilities"}' '{"execute":"query-status","id":1}' |
	socat -t $((5 * E2E_PATIENCE)) - "UNIX-CONNECT:$socket")
check_match "socat's answer" '"status": ?"running"' "$out"

say "roostd speaks the same"
out=$(qmp "$ROOST_RUN/roostd.sock" query-commands)
check_json "its rows" 'any(.[]; .name == "roost-start")' "$out"
check_status 5 roost qmp guest quit
check_match "what to use instead" 'roost destroy' "$out"
is_state guest running || fail "the guest was harmed"
