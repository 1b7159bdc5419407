#!/bin/sh
# alone
# limit: 400
# A QEMU, a keeper, a console reader stopped dead by SIGSTOP: the others do not notice, and destroy works.
. "$TOP/tests/e2e/lib.sh"

stopped=
# whatever happens, nothing stays stopped
at_end() {
	for pid in $stopped; do
		kill -CONT "$pid" 2>/dev/null
	done
}
stop() {
	kill -STOP "$1"
	stopped="$stopped $1"
}
# fastest N COMMAND...: the least of N runs, in microseconds
fastest() {
	python3 - "$@" <<-'END'
		import subprocess, sys, time
		best = 10**9
		for _ in range(int(sys.argv[1])):
		    start = time.monotonic()
		    subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL, timeout=20)
		    best = min(best, time.monotonic() - start)
		print(int(best * 1e6))
	END
}
# quick: list answers in less than 50 ms
quick() {
	took=$(fastest 5 roost list)
	say "list: $took us"
	[ "$took" -lt $((50000 * E2E_PATIENCE)) ] || fail "list took $took us"
	took=$(fastest 3 roost list --all)
	[ "$took" -lt $((50000 * E2E_PATIENCE)) ] || fail "list --all took $took us"
}
running() {
	roost list --json | jq '[.[] | select(.state == "running")] | length'
}

say "20 guests beside the one that will be stopped"
others=$(seq -f g%02g 1 20)
for guest in victim $others; do
	pico "$guest" >/dev/null
	# most of them need not tick: their QEMU answers all the same
	roost start --paused "$guest" >/dev/null 2>&1
done
roost resume victim
roost resume g01
wait_until 30 is_up victim
wait_until 30 is_up g01
quick

say "QEMU is stopped"
qemu=$(of_status victim qemu_pid)
stop "$qemu"
since=$(now_ms)
wait_until 4 is_state victim unresponsive
check_time "unresponsive" 3500 "$since"
quick
check_match "list tells it" 'victim +unresponsive' "$(roost list)"
check_eq "none of the others is" 1 "$(roost list --json | jq '[.[] | select(.state == "unresponsive")] | length')"
ticks_go_on g01
roost suspend g01
roost resume g01
since=$(now_ms)
check_status 5 roost suspend victim
check_time "a refusal" 1000 "$since"
check_match "why" unresponsive "$out"
say "it goes on: no longer unresponsive, and not one tick was lost"
kill -CONT "$qemu"
wait_until 3 is_state victim running
ticks_go_on victim
check_eq "booted once" 1 "$(boots victim)"
say "stopped again: destroy works"
stop "$qemu"
wait_until 4 is_state victim unresponsive
since=$(now_ms)
roost destroy victim
check_time "destroy" 3000 "$since"
ended "$qemu" || fail "QEMU is still there"
check_eq "reason" "shut off (destroyed)" "$(reason victim)"

say "stopped, and destroyed before anybody has noticed"
roost start victim
wait_until 30 is_up victim
qemu=$(of_status victim qemu_pid)
stop "$qemu"
since=$(now_ms)
roost destroy victim
check_time "destroy" 6000 "$since"
ended "$qemu" || fail "QEMU is still there"

say "stopped, with roostd killed"
roost start victim
wait_until 30 is_up victim
qemu=$(of_status victim qemu_pid)
stop "$qemu"
# shellcheck disable=SC2046 # several words are meant
kill_and_wait KILL $(roostd_pids)
roost destroy victim
ended "$qemu" || fail "QEMU is still there"

say "stopped, with roostd and its keeper killed"
roost start victim
wait_until 30 is_up victim
qemu=$(of_status victim qemu_pid)
stop "$qemu"
# shellcheck disable=SC2046 # several words are meant
kill_and_wait KILL $(roostd_pids) "$(of_status victim keeper_pid)"
roost list >/dev/null
wait_until 9 is_state victim unresponsive
roost destroy victim
ended "$qemu" || fail "QEMU is still there"
check_eq "reason" "shut off (destroyed)" "$(reason victim)"

say "a keeper is stopped: its guest goes on"
roost start victim
wait_until 30 is_up victim
booted=$(boots victim)
qemu=$(of_status victim qemu_pid)
keeper=$(of_status victim keeper_pid)
stop "$keeper"
wait_until 4 is_state victim unresponsive
ticks_go_on victim
ticks_go_on victim
quick
check_eq "not booted again" "$booted" "$(boots victim)"
check_eq "the others" 1 "$(roost list --json | jq '[.[] | select(.state == "unresponsive")] | length')"
say "the keeper goes on"
kill -CONT "$keeper"
wait_until 3 is_state victim running
roost suspend victim
roost resume victim
say "stopped for good: destroy works all the same"
stop "$keeper"
since=$(now_ms)
roost destroy victim
check_time "destroy" 10000 "$since"
ended "$qemu" "$keeper" || fail "its QEMU or its keeper is still there"
check_eq "reason" "shut off (destroyed)" "$(reason victim)"

say "a console reader that never reads"
roost start victim
wait_until 30 is_up victim
booted=$(boots victim)
mkfifo "$TMPDIR/unread"
# held open, never read; and a second one that is stopped
# shellcheck disable=SC2217
sleep 1000 <"$TMPDIR/unread" &
holder=$!
roost console --replay victim >"$TMPDIR/unread" </dev/null &
blocked=$!
roost console victim >/dev/null </dev/null &
stopped_reader=$!
sleep 0.2
stop $stopped_reader
type_to victim c
lines() {
	[ "$(console_log victim | grep -ac line=)" -gt 8000 ]
}
wait_until 60 lines
kill -0 $blocked || fail "the blocked reader has ended"
type_to victim x
ticks_go_on victim
check_eq "not booted again" "$booted" "$(boots victim)"
check_eq "obeys" running "$(state victim)"
kill -CONT $stopped_reader
kill $blocked $stopped_reader $holder

say "a client of its socket that never reads"
python3 - "$(run_dir victim)/guest.sock" <<'END' &
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b'{"execute":"qmp_capabilities"}' + b'{"execute":"query-status"}' * 20)
time.sleep(1000)
END
client=$!
sleep 0.3
stop $client
for _ in 1 2 3 4 5 6 7 8 9 10; do
	roost suspend victim >/dev/null
	roost resume victim >/dev/null
done
ticks_go_on victim
kill -CONT $client
kill $client
