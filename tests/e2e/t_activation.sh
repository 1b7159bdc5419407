#!/bin/sh
# roostd on a socket that somebody else has made, as systemd does it: it serves there, takes the place of one that a
# command had started, leaves the socket alone when it ends, and does not end when it is idle. No guest notices any of it.
. "$TOP/tests/e2e/lib.sh"
need pico.raw

roostd=$TOP/build/libexec/roost/roostd
socket=$ROOST_RUN/roostd.sock
systemd=
at_end() {
	[ -z "$systemd" ] || kill "$systemd" 2>/dev/null
}
# activated: our systemd begins to listen
activated() {
	mkdir -p "$ROOST_RUN"
	python3 "$TOP/tests/e2e/activate.py" "$socket" "$roostd" >"$TMPDIR/systemd" 2>&1 &
	systemd=$!
	wait_until 10 grep -q listening "$TMPDIR/systemd"
}
# pass PID WHAT: runs roostd with WHAT as its fd 3, for itself or (PID "other") for another process
pass() {
	python3 - "$roostd" "$@" <<-'END'
		import os, socket, sys
		program, pid, what = sys.argv[1:]
		first = socket.socket(socket.AF_INET if what == "inet-listener" else socket.AF_UNIX)
		if what == "unix-connected":
		    first = socket.socketpair(socket.AF_UNIX)[0]
		elif what == "inet-listener":
		    first.listen()
		elif what in ("unix-listener", "two"):
		    first.bind(os.environ["TMPDIR"] + "/passed." + str(os.getpid()))
		    first.listen()
		fd = os.pipe()[0] if what == "pipe" else first.fileno()
		os.dup2(fd, 3)
		os.dup2(fd, 4)
		os.set_inheritable(3, True)
		os.environ.update(LISTEN_FDS="2" if what == "two" else "1", LISTEN_PID="1" if pid == "other" else str(os.getpid()))
		os.execv(program, [program])
	END
}
inode() {
	stat -c %i "$socket"
}
parent() {
	sed -n 's/^PPid:[[:space:]]*//p' "/proc/$1/status"
}
another_than() {
	another=$(roostd_pids)
	[ -n "$another" ] && [ "$another" != "$1" ]
}

say "nobody runs: the first command finds it listening"
activated
check_eq "none yet" "" "$(roostd_pids)"
started p
daemon=$(roostd_pids)
check_eq "systemd's own" "$systemd" "$(parent "$daemon")"
made=$(inode)
keeper=$(of_status p keeper_pid)
check_no_match "a keeper finds no trace of it" LISTEN_ "$(tr '\0' '\n' <"/proc/$keeper/environ")"

say "it does not end when it is idle"
roost destroy p
wait_until 10 run_is_empty
idle_since=$(now_ms)
# another one, in another folder, is looked at meanwhile: that one does end
(
	export ROOST_RUN="$TMPDIR/other"
	roost define - <<-END
		name: q
		memory: 32M
		disks: []
		interfaces: []
	END
)
other_pids() {
	for other in /proc/[0-9]*; do
		[ "$(cat "$other/comm" 2>/dev/null)" = roostd ] || continue
		! grep -qzx "ROOST_RUN=$TMPDIR/other" "$other/environ" 2>/dev/null || echo "${other#/proc/}"
	done
}
other_ended() {
	[ -z "$(other_pids)" ]
}
[ -n "$(other_pids)" ] || fail "there is no other one"
wait_until 40 other_ended
[ $(($(now_ms) - idle_since)) -gt 15000 ] || fail "the other one ended too early to tell anything"
check_eq "still the same" "$daemon" "$(roostd_pids)"

say "it is restarted: the guest goes on, the socket stays"
started r
daemon=$(roostd_pids)
qemu=$(of_status r qemu_pid)
keeper=$(of_status r keeper_pid)
kill -USR1 $systemd
wait_until 10 ended "$daemon"
check_eq "the socket" "$made" "$(inode)"
check_eq "QEMU" "$qemu" "$(of_status r qemu_pid)"
roost suspend r
roost resume r
roost define "$TMPDIR/r.yaml"
wait_until 10 another_than "$daemon"
ticks_go_on r
check_eq "its keeper" "$keeper" "$(of_status r keeper_pid)"
check_eq "booted once" 1 "$(boots r)"

say "systemd has gone: a command starts one of our own, on the same name"
kill $systemd
wait "$systemd" || :
systemd=
[ -S "$socket" ] || fail "the socket was removed"
roost define "$TMPDIR/r.yaml"
own=$(roostd_pids)
[ "$(inode)" != "$made" ] || fail "the socket is still the old one"

say "systemd comes again: its roostd takes over"
activated
made=$(inode)
since=$(now_ms)
roost define "$TMPDIR/r.yaml"
check_time "taking over" 3000 "$since"
wait_until 10 ended "$own"
check_eq "only one is left" "$systemd" "$(parent "$(roostd_pids)")"
check_eq "the one that left has not taken the socket along" "$made" "$(inode)"
ticks_go_on r
check_eq "booted once" 1 "$(boots r)"
say "one that is started by hand does not"
check_status 4 "$roostd"
check_match "why" "another roostd serves" "$out"
check_eq "the socket" "$made" "$(inode)"
roost define "$TMPDIR/r.yaml"

say "the lock's holder is stopped dead: bounded, and told"
kill $systemd
wait "$systemd" || :
systemd=
roost define "$TMPDIR/r.yaml"
own=$(roostd_pids)
kill -STOP "$own"
since=$(now_ms)
check_status 4 pass own unix-listener
check_time "giving up" 8000 "$since"
check_match "why" "another roostd serves" "$out"
kill -CONT "$own"
roost define "$TMPDIR/r.yaml"
ticks_go_on r
# it has had a SIGTERM, which counts when it goes on
wait_until 10 ended "$own"

say "the real one, where it is"
if command -v systemd-socket-activate >/dev/null; then
	systemd-socket-activate -E ROOST_RUN -E ROOST_STATE -E HOME -l "$socket" "$roostd" >"$TMPDIR/systemd" 2>&1 &
	systemd=$!
	wait_until 10 grep -q "Listening on" "$TMPDIR/systemd"
	own=$(roostd_pids)
	made=$(inode)
	roost define "$TMPDIR/r.yaml"
	wait_until 10 ended "$own"
	check_eq "it has become roostd" "$systemd" "$(roostd_pids)"
	ticks_go_on r
	kill_and_wait TERM $systemd
	check_eq "the socket" "$made" "$(inode)"
	systemd=
fi

say "what is passed is not what it should be"
for what in inet-listener unix-connected pipe two; do
	check_status 2 pass own $what
	check_match "$what" "LISTEN_FDS" "$out"
done
say "meant for another process: not ours to take"
roost define "$TMPDIR/r.yaml"
check_status 4 pass other unix-listener
check_match "why" "another roostd serves" "$out"
ticks_go_on r
