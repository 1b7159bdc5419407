#!/bin/sh
# limit: 240
# How a guest ended, told apart: power-off, panic, resets in a loop, SIGTERM, quit, signals, no supervisor, no start, OOM.
. "$TOP/tests/e2e/lib.sh"

is_root() {
	[ "$(id -u)" -eq 0 ]
}
# defined NAME KEY VALUE: a pico guest with one more line in its definition
defined() {
	need pico.raw
	cp "$GUESTS/pico.raw" "$TMPDIR/$1.raw"
	printf 'name: %s\nmemory: 32M\ninterfaces: []\ndisks: [{path: %s, format: raw}]\n%s: %s\n' \
		"$1" "$TMPDIR/$1.raw" "$2" "$3" >"$TMPDIR/$1.yaml"
	roost define "$TMPDIR/$1.yaml"
}
up() {
	roost start "$1"
	wait_until 30 is_up "$1"
}
# kill_unsupervised SIGNAL NAME: its QEMU, when neither roostd nor its keeper is there to see it
kill_unsupervised() {
	unsupervised=$(of_status "$2" qemu_pid)
	# shellcheck disable=SC2046 # several words are meant
	kill_and_wait KILL $(roostd_pids) $(keepers)
	kill_and_wait "$1" "$unsupervised"
}
keepers() {
	for keepers_status in "$ROOST_RUN"/g/*/status; do
		jq .keeper_pid "$keepers_status"
	done
}

# --- the guest's own end
say "power-off"
started a
roost qmp a system_powerdown >/dev/null
wait_until 20 is_reason a '^shut off \(guest poweroff\)$'
check_match "the guest did it itself" PICO-POWEROFF "$(console_log a)"

say "panic: kept for inspection"
defined kept on_crash pause
up kept
type_to kept p
wait_until 10 is_state kept crashed
check_eq "reason" "crashed (panic)" "$(reason kept)"
check_match "list tells it" 'kept +crashed \(panic\)' "$(roost list)"
check_json "QEMU is still there" '.status == "guest-panicked"' "$(roost qmp kept query-status)"
check_status 5 roost resume kept
roost reset kept
twice() {
	[ "$(boots "$1")" -ge 2 ]
}
wait_until 20 twice kept
# reset brings it back
wait_until 5 is_state kept running
roost destroy kept

say "panic: destroyed"
defined gone on_crash destroy
up gone
type_to gone p
wait_until 10 is_reason gone '^crashed \(panic\)$'
runs_no_longer() {
	[ -z "$(roost list --name)" ]
}
wait_until 5 runs_no_longer

say "panic: restarted"
defined again on_crash restart
up again
pid=$(of_status again qemu_pid)
type_to again p
wait_until 20 twice again
wait_until 5 is_state again running
check_eq "the same QEMU" "$pid" "$(of_status again qemu_pid)"
roost destroy again

# --- resets
say "one reboot is no loop"
up a
booted=$(boots a)
again() {
	[ "$(boots a)" -gt "$booted" ]
}
type_to a r
wait_until 20 again
sleep 1.2 # its keeper looks about every second
check_eq "rebooted" "running (booted)" "$(reason a)"
say "resets in a loop"
# again as soon as it listens: what it is told while it boots is lost
loops() {
	type_to a r
	sleep 0.3
	is_reason a 'reset loop: ([5-9]|[1-9][0-9]) resets in the last 15 s'
}
wait_until 20 loops
check_eq "and goes on" running "$(state a)"
wait_until 25 is_reason a '^running( \(\))?$'
roost destroy a

say "on_reboot: destroy"
defined once on_reboot destroy
up once
roost reset once
wait_until 20 twice once
sleep 1
check_eq "our own reset is none of the guest's" running "$(state once)"
sleep 3
type_to once r
wait_until 10 is_reason once '^shut off \(guest reset'

# --- from outside
say SIGTERM
up a
kill_and_wait TERM "$(of_status a qemu_pid)"
wait_until 10 is_reason a '^shut off \(QEMU got SIGTERM\)$'
for signal in SEGV:11 KILL:9 ABRT:6; do
	say "signal ${signal#*:}"
	up a
	kill_and_wait "${signal%:*}" "$(of_status a qemu_pid)"
	wait_until 10 is_state a crashed
	check_eq "reason" "crashed (signal ${signal#*:})" "$(reason a)"
	check_match "list --all tells it" "a +crashed \(signal ${signal#*:}\)" "$(roost list --all)"
done

say "an assertion that fails, in QEMU's own words"
printf '#!/bin/sh\necho "qemu: spoilt.c:7: Assertion failed" >&2\nexec /usr/bin/qemu-system-x86_64 "$@"\n' >"$TMPDIR/asserts"
chmod 755 "$TMPDIR/asserts"
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(roostd_pids)
ROOST_QEMU=$TMPDIR/asserts roost start a
wait_until 30 is_up a
kill_and_wait ABRT "$(of_status a qemu_pid)"
wait_until 10 is_state a crashed
check_eq "reason" "crashed (signal 6: qemu: spoilt.c:7: Assertion failed)" "$(reason a)"
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(roostd_pids)

say "quit, by somebody who talks to QEMU himself"
up a
pid=$(of_status a qemu_pid)
# shellcheck disable=SC2046 # several words are meant
kill_and_wait KILL $(roostd_pids) $(keepers)
qmp "$ROOST_STATE/guests/a/qmp.sock" quit >/dev/null
wait_until 5 ended "$pid"
check_eq "told by the next command" "shut off (quit)" "$(reason a)"

say "ended unsupervised"
up a
kill_unsupervised KILL a
wait_until 10 is_reason a '^crashed \(ended unsupervised; last event: [A-Z_]+\)$'
check_eq "not listed as running" "" "$(roost list --name)"
say "SIGTERM, unsupervised: QEMU's own log tells"
up a
kill_unsupervised TERM a
wait_until 10 is_reason a '^shut off \(QEMU got SIGTERM\)$'
say "a line of that log is spoilt: begun twice, as a chardev may do that had to wait"
up a
run=$(run_dir a)
pid=$(of_status a qemu_pid)
# shellcheck disable=SC2046 # several words are meant
kill_and_wait KILL $(roostd_pids) $(keepers)
printf '%s\n' '{"timestamp": {"seco{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-panic"}}' \
	>>"$run/qmp.log"
kill_and_wait KILL "$pid"
wait_until 10 is_reason a '^crashed \(panic\)$'
say "power-off, unsupervised: QEMU stays for us to see it"
up a
pid=$(of_status a qemu_pid)
# shellcheck disable=SC2046 # several words are meant
kill_and_wait KILL $(roostd_pids) $(keepers)
offs() {
	console_log a | grep -ac PICO-POWEROFF || :
}
before=$(offs)
qmp "$ROOST_STATE/guests/a/qmp.sock" system_powerdown >/dev/null
off() {
	[ "$(offs)" -gt "$before" ]
}
wait_until 20 off
wait_until 5 is_reason a '^shut off \(guest poweroff\)$'
wait_until 5 ended "$pid"

say "killed while only its keeper was away: roostd, the sub-reaper, knows the signal"
up a
pid=$(of_status a qemu_pid)
keeper=$(of_status a keeper_pid)
kill -KILL "$keeper" "$pid"
wait_until 5 ended "$pid" "$keeper"
wait_until 10 is_state a crashed
check_eq "reason" "crashed (signal 9)" "$(reason a)"

# --- no start
say "QEMU's own words when it does not start"
defined words qemu_args '["-device", "no-such-device"]'
check_status 6 roost start words
check_match "its own words" "QEMU did not start: .*no-such-device.*is not a valid device model name" "$out"
check_eq "state" "shut off (failed to start)" "$(reason words)"
defined option qemu_args '["-no-such-option"]'
check_status 6 roost start option
check_match "its own words" "invalid option" "$out"
wait_until 10 run_is_empty

# --- out of memory
memory=$(sed -n 's/^[^ ]* \([^ ]*\) cgroup [^ ]*\bmemory\b.*/\1/p' /proc/mounts)
if ! is_root || [ -z "$memory" ] || ! mkdir "$memory/roost-e2e-$$" 2>/dev/null; then
	say "OOM: not tried: no memory cgroup (v1) can be made here"
	exit
fi
say "out of memory"
# whatever comes, the group goes
at_end() {
	while read -r left; do
		kill -KILL "$left"
	done <"$memory/roost-e2e-$$/cgroup.procs"
	sleep 0.3
	rmdir "$memory/roost-e2e-$$"
}
if grep -q ':memory:/$' /proc/self/cgroup; then
	say "of a QEMU in no group, the host's counter tells"
	up a
	echo 8388608 >"$memory/roost-e2e-$$/memory.limit_in_bytes"
	sh -c "echo \$\$ >$memory/roost-e2e-$$/cgroup.procs && exec tail /dev/zero" >/dev/null 2>&1 || :
	kill -KILL "$(of_status a qemu_pid)"
	wait_until 10 is_state a crashed
	check_eq "reason" "crashed (signal 9, the host's oom_kill rose: out of memory)" "$(reason a)"
	echo -1 >"$memory/roost-e2e-$$/memory.limit_in_bytes"
	say "of one in a group, that of the group"
fi
up a
pid=$(of_status a qemu_pid)
echo "$pid" >"$memory/roost-e2e-$$/cgroup.procs"
# its keeper looks now and then where QEMU is; another one does when it comes
kill_and_wait KILL "$(of_status a keeper_pid)"
wait_until 10 roost suspend a
roost resume a
echo 1 >"$memory/roost-e2e-$$/memory.force_empty" 2>/dev/null || :
echo 1048576 >"$memory/roost-e2e-$$/memory.limit_in_bytes"
# what a guest touches is charged to the group; a reset makes QEMU touch enough, perhaps at once
roost reset a || :
type_to a c || :
wait_until 30 ended "$pid"
wait_until 10 is_state a crashed
check_eq "reason" "crashed (signal 9, its cgroup's oom_kill rose: out of memory)" "$(reason a)"
