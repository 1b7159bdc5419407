#!/bin/sh
# Looking at a guest's display, pressing its keys and its NMI button, speaking to its agent, and cancelling what waits:
# each judged by what the guest itself does, or by somebody else's eyes.
# limit: 420
. "$TOP/tests/e2e/lib.sh"
need pico.raw tiny-vmlinux tiny-initrd
command -v python3 >/dev/null || lacking python3

# --- screenshot -----------------------------------------------------------------------------------------------------
pico v "display: vga" "agent: false"
pico n
check_status 5 roost screenshot v "$TMPDIR/v.png"
check_match "of a guest that does not run" "not running" "$out"
[ ! -e "$TMPDIR/v.png" ] || fail "a file was made of no picture"
roost start v
roost start n
wait_until 30 is_up v
wait_until 30 is_up n

say "a guest without a display"
check_status 5 roost screenshot n "$TMPDIR/n.png"
check_match "what to add" "display: vga" "$out"
[ ! -e "$TMPDIR/n.png" ] || fail "a file was made of no picture"
echo "not a picture" >"$TMPDIR/kept.png"
check_status 5 roost screenshot n "$TMPDIR/kept.png"
check_eq "a file that was there" "not a picture" "$(cat "$TMPDIR/kept.png")"

say "a picture"
# seen FILE: it has the BIOS's text in it: more than one colour, of which text needs two
seen() {
	# shellcheck disable=SC2046 # three words are meant
	set -- $(python3 "$TOP/tests/e2e/png.py" "$1")
	[ "$1" -ge 640 ] && [ "$2" -ge 400 ] && [ "$3" -ge 2 ]
}
check_eq "screenshot" "Screenshot saved to $TMPDIR/v.png, with type of image/png" "$(roost screenshot v "$TMPDIR/v.png")"
seen "$TMPDIR/v.png" || fail "there is nothing to see: $(python3 "$TOP/tests/e2e/png.py" "$TMPDIR/v.png")"
check_eq "only for its owner" 600 "$(stat -c %a "$TMPDIR/v.png")"
roost screenshot v - | cat >"$TMPDIR/out.png"
seen "$TMPDIR/out.png" || fail "nothing to see on standard output"
out=$(roost screenshot v --json "$TMPDIR/v.png")
check_json "--json" ".type == \"image/png\" and .size == $(stat -c %s "$TMPDIR/v.png")" "$out"
(cd "$TMPDIR" && roost screenshot v >/dev/null && ls v-20*.png >/dev/null) || fail "without a name it has none"
roost screenshot v "$TMPDIR/kept.png" >/dev/null
seen "$TMPDIR/kept.png" || fail "the old file is still there"
check_status 3 roost screenshot v "$TMPDIR/nowhere/v.png"
check_eq "QEMU holds none of the files" 0 "$(roost qmp v query-fdsets | jq '[.[].fds[] | select(.opaque == "screenshot")] | length')"
roost suspend v
roost screenshot v "$TMPDIR/v.png" >/dev/null
seen "$TMPDIR/v.png" || fail "nothing to see of a guest that is paused"

# --- keys -----------------------------------------------------------------------------------------------------------
say "send-key: refused"
check_status 5 roost send-key v ret
check_match "it is paused" "paused" "$out"
roost resume v
check_status 2 roost send-key v
check_status 2 roost send-key v crtl
check_match "the nearest" "'ctrl'" "$out"
check_status 2 roost send-key v KEY_NOSUCH
check_status 2 roost send-key v key_a
check_status 2 roost send-key v a --holdtime -1
check_status 2 roost send-key v a --holdtime 2h
check_status 2 roost send-key v a b c d e f g h i j k l m n o p q
check_status 3 roost send-key nobody-there a

say "send-key: the BIOS reboots on ctrl-alt-delete, pressed together"
rebooted() {
	[ "$(boots v)" -gt "$boots" ]
}
boots=$(boots v)
roost send-key v ctrl
roost send-key v alt
roost send-key v delete
sleep 1
check_eq "one after the other they do nothing" "$boots" "$(boots v)"
roost send-key v ctrl alt delete
wait_until 20 rebooted
wait_until 20 is_up v
boots=$(boots v)
check_json "--json" '. == {}' "$(roost send-key --json v KEY_LEFTCTRL KEY_LEFTALT KEY_DELETE --holdtime 200)"
wait_until 20 rebooted

# --- cancel ---------------------------------------------------------------------------------------------------------
say "cancel"
wait_until 20 is_up n
check_status 5 roost cancel n
check_match "nothing to cancel" "no operation" "$out"
deafen n
waits() {
	[ -n "$(of_status n busy)" ]
}
is_idle() {
	[ -z "$(of_status n busy)" ] && is_state n running
}
roost shutdown n --timeout 100s >"$TMPDIR/shutdown" 2>&1 &
shutdown=$!
wait_until 10 waits
check_match "what is cancelled" "roost-shutdown is being cancelled" "$(roost cancel n)"
status=0
wait $shutdown || status=$?
check_eq "the one that waited" 5 "$status"
check_match "it says so" "cancelled" "$(cat "$TMPDIR/shutdown")"
wait_until 5 is_idle

say "a client that goes away, as by ^C"
for signal in TERM KILL; do
	roost shutdown n --timeout 100s >/dev/null 2>&1 &
	shutdown=$!
	wait_until 10 waits
	kill -$signal $shutdown
	wait_until 5 is_idle
done
roost shutdown n --timeout 1s >/dev/null 2>&1 && fail "it went"
roost destroy n
roost destroy v

# --- tiny: NMI and agent --------------------------------------------------------------------------------------------
cat >"$TMPDIR/tiny.yaml" <<-END
	name: tiny
	memory: 192M
	display: vga
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: console=ttyS0 console=tty0 no_timer_check
	interfaces: []
	on_crash: pause
END
roost define "$TMPDIR/tiny.yaml"
roost start tiny
check_status 5 roost agent tiny '{"execute":"guest-ping"}'
check_match "while it boots" "no agent runs" "$out"
agent_answers() {
	roost agent tiny '{"execute":"guest-ping"}'
}
wait_until 90 agent_answers

say "agent: refused"
check_status 2 roost agent tiny guest-ping
check_match "not JSON" "JSON" "$out"
check_status 2 roost agent tiny '"guest-ping"'
check_status 2 roost agent tiny '{"execute":"guest-ping","id":1}'
check_match "the key" "'id'" "$out"
check_status 2 roost agent tiny '{"execute":"guest-ping","arguments":[]}'
check_status 2 roost agent tiny '{"execute":"guest-ping"} {}'
check_status 2 roost agent tiny '{"execute":"guest-ping"}' --timeout soon
check_status 6 roost agent tiny '{"execute":"guest-nosuch"}'
check_match "the agent's own words" "guest-nosuch.*not (been )?found" "$out"

say "agent: answers"
check_eq "guest-ping" '{"return":{}}' "$(roost agent tiny '{"execute":"guest-ping"}')"
check_json "unwrapped" '.["kernel-release"] | length > 3' "$(roost agent tiny --json '{"execute":"guest-get-osinfo"}')"
# no shell of ours has its hands in it
# shellcheck disable=SC2016 # not for our shell
pid=$(roost agent tiny --json '{"execute":"guest-exec","arguments":{"path":"/bin/echo","arg":["$HOME `id` \"é\"\u001b"],"capture-output":true}}' | jq .pid)
exec_done() {
	answer=$(roost agent tiny --json "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$pid}}")
	[ "$(echo "$answer" | jq .exited)" = true ]
}
wait_until 20 exec_done
# shellcheck disable=SC2016 # not for our shell
check_eq "arguments as they are" '$HOME `id` "é"' "$(echo "$answer" | jq -r '."out-data"' | base64 -d | tr -d '\033')"
roost agent tiny '{"execute":"guest-exec","arguments":{"path":"/usr/bin/killall","arg":["-STOP","qemu-ga"]}}' >/dev/null 2>&1 || :
# the answer to the command before may be quicker than what it does
agent_is_silent() {
	! roost agent tiny '{"execute":"guest-ping"}' --timeout 1s
}
wait_until 10 agent_is_silent
since=$(now_ms)
check_status 8 roost agent tiny '{"execute":"guest-ping"}' --timeout 1s
check_time "--timeout" 10000 "$since"

say "keys: what is typed is seen"
python3 "$TOP/tests/e2e/png.py" /dev/null 2>/dev/null && fail "png.py reads nothing as a picture"
roost screenshot tiny "$TMPDIR/before.png" >/dev/null
roost send-key tiny KEY_X
other_picture() {
	roost screenshot tiny "$TMPDIR/after.png" >/dev/null
	! cmp -s "$TMPDIR/before.png" "$TMPDIR/after.png"
}
wait_until 10 other_picture

say "inject-nmi"
roost inject-nmi tiny
wait_until 20 console_has tiny "NMI received"
check_status 5 roost inject-nmi v
roost suspend tiny
check_status 5 roost inject-nmi tiny
roost resume tiny

say "agent: a command that answers nothing"
roost reset tiny
wait_until 90 agent_answers
check_eq "guest-shutdown" '{"return":{}}' "$(roost agent tiny '{"execute":"guest-shutdown"}')"
wait_until 40 is_state tiny "shut off"
check_status 5 roost agent tiny '{"execute":"guest-ping"}'
check_match "it does not run" "not running" "$out"
check_status 5 roost agent v '{"execute":"guest-ping"}'
