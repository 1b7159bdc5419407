#!/bin/sh
# limit: 400
# kill -9 of roostd, of keepers, of both: guests run on and are found again; what is stale, foreign or spoilt harms nobody.
. "$TOP/tests/e2e/lib.sh"

guests="a b c d e"

snapshot() {
	roost list --json | jq -S '[.[] | {name, id, state, memory, vcpus}]'
}
keepers() {
	for keepers_guest in $guests; do
		of_status "$keepers_guest" keeper_pid
	done
}
qemus() {
	for qemus_guest in $guests; do
		of_status "$qemus_guest" qemu_pid
	done
}
# The QEMUs of this test there really are, by their console's folder
count_qemus() {
	count=0
	for proc in /proc/[0-9]*; do
		[ "$(cut -c 1-6 "$proc/comm" 2>/dev/null)" = qemu-s ] || continue
		[ "$(readlink "$proc/ns/net")" = "$(readlink /proc/self/ns/net)" ] || continue
		grep -q '^State:[[:space:]]*Z' "$proc/status" 2>/dev/null || count=$((count + 1))
	done
	echo $count
}
# whoever has answered, for it has workers, may be just ending
one_roostd() {
	[ "$(roostd_pids | wc -l)" -eq 1 ]
}
# unharmed: all as it was, every guest obeys, ticks go on, nothing booted or started a second time
unharmed() {
	check_eq "the same list" "$before" "$(snapshot)"
	check_eq "the same QEMUs" "$pids" "$(qemus)"
	check_eq "no QEMU more or less" 5 "$(count_qemus)"
	for unharmed_guest in $guests; do
		roost suspend "$unharmed_guest" >/dev/null
		check_eq "$unharmed_guest obeys" paused "$(state "$unharmed_guest")"
		roost resume "$unharmed_guest" >/dev/null
		check_eq "$unharmed_guest booted once" 1 "$(boots "$unharmed_guest")"
	done
	# shellcheck disable=SC2086 # several words are meant
	ticks_go_on $guests
	for unharmed_guest in $guests; do
		check_status 5 roost start "$unharmed_guest"
	done
	wait_until 5 one_roostd
}

# shellcheck disable=SC2086 # several words are meant
started $guests
before=$(snapshot)
pids=$(qemus)

# --- killed
say "kill -9 roostd"
# shellcheck disable=SC2046
kill_and_wait KILL $(roostd_pids)
unharmed
say "kill -9 every keeper: roostd puts others in their place by itself"
old=$(keepers)
# shellcheck disable=SC2046,SC2086
kill_and_wait KILL $old
new_keepers() {
	for new_pid in $(keepers); do
		[ -d "/proc/$new_pid" ] || return 1
	done
	[ "$(keepers)" != "$old" ]
}
wait_until 5 new_keepers
unharmed
say "kill -9 both"
for _ in 1 2 3; do
	# shellcheck disable=SC2046
	kill_and_wait KILL $(roostd_pids) $(keepers)
	since=$(now_ms)
	check_eq "the next command works" "$before" "$(snapshot)"
	check_time "the next command" 1500 "$since"
done
unharmed
say "kill -9 both: the first command is a change"
# shellcheck disable=SC2046
kill_and_wait KILL $(roostd_pids) $(keepers)
roost suspend a
check_eq "it was done" "paused (user)" "$(reason a)"
# shellcheck disable=SC2046
kill_and_wait KILL $(roostd_pids) $(keepers)
check_eq "paused stays paused" "paused (user)" "$(reason a)"
roost resume a
say "several first commands at once"
# shellcheck disable=SC2046
kill_and_wait KILL $(roostd_pids) $(keepers)
jobs=
for guest in $guests; do
	roost dominfo "$guest" >"$TMPDIR/dominfo.$guest" &
	jobs="$jobs $!"
done
for job in $jobs; do
	wait "$job" || fail "one of several first commands failed"
done
unharmed
say "SIGTERM to roostd and the keepers: an upgrade"
# a keeper that was spawned by a roostd that is just ending must not stand in the way of the next one
for _ in 1 2 3 4 5 6; do
	# shellcheck disable=SC2046
	kill_and_wait TERM $(roostd_pids) $(keepers)
	since=$(now_ms)
	check_eq "the next command works" "$before" "$(snapshot)"
	check_time "the next command" 3000 "$since"
done
unharmed

# --- roostd twice
say "roostd twice"
roostd=$TOP/build/libexec/roost/roostd
[ -x "$roostd" ] || roostd=$(dirname "$(readlink -f "$(command -v roost)")")/../libexec/roost/roostd
first=$(supervisor)
check_status 4 "$roostd"
check_match "the second says why" "another roostd" "$out"
wait_until 5 one_roostd
check_eq "the first goes on" "$first" "$(roostd_pids)"
unharmed

# --- what is spoilt: that guest only
say "a status file that cannot be read"
for spoil in empty truncated flipped garbage; do
	status=$(run_dir a)/status
	# one moment at which it is bad must not make anybody forget the guest; its keeper writes it anew
	case $spoil in
	empty) : >"$status" ;;
	truncated) printf '{"name":"a","id"' >"$status" ;;
	flipped) sed -i 's/"state"/"stbte"/' "$status" ;;
	garbage) head -c 300 /dev/urandom >"$status" ;;
	esac
	roost list >/dev/null
	healed() {
		[ "$(snapshot)" = "$before" ]
	}
	wait_until 10 healed
done
unharmed

say "records that are spoilt while the guests run, and after"
for guest in b c d e; do
	cp "$ROOST_STATE/guests/$guest/guest.json" "$TMPDIR/$guest.json"
done
record() {
	echo "$ROOST_STATE/guests/$1/guest.json"
}
size=$(stat -c %s "$(record b)")
truncate -s $((size / 2)) "$(record b)"
: >"$(record c)"
# a bit of the first key's name
sed -i '1,2s/"name"/"nbme"/' "$(record d)"
jq '.roost = 99' "$TMPDIR/e.json" >"$TMPDIR/future" && cat "$TMPDIR/future" >"$(record e)"
check_eq "running guests run on" "$before" "$(snapshot)"
# shellcheck disable=SC2086
ticks_go_on $guests
for guest in b c d e; do
	roost destroy "$guest"
done
for guest in b c d e; do
	check_eq "$guest" broken "$(state "$guest")"
	check_match "$guest: why" '^broken \(.*its record.*\)$' "$(reason "$guest")"
	check_status 5 roost start "$guest"
	check_match "$guest: why it does not start" "guest '$guest' is broken: its record" "$out"
done
check_match "the list tells of the obvious ones" '^ - +b +broken' "$(roost list --all)"
check_match "the list tells of the obvious ones" '^ - +c +broken' "$(roost list --all)"
check_eq "all are still listed" "a b c d e" "$(roost list --all --name | sort | xargs)"
check_eq "the other one runs" running "$(state a)"
ticks_go_on a
say "a mended record is a guest again"
for guest in b c d e; do
	cat "$TMPDIR/$guest.json" >"$(record "$guest")"
	check_eq "$guest" "shut off (destroyed)" "$(reason "$guest")"
done
say "a broken one can be undefined"
: >"$(record c)"
roost undefine c
check_status 3 roost domstate c

# --- what is stale
say "a run folder of an earlier boot, with a foreign process's number in it"
roost destroy a
sleep 1000 &
foreign=$!
id=$(jq -r .issued.id "$(record b)")
uid=$(jq -r '.issued.keeper_uid // 0' "$(record b)")
starts=1
# as root even with the right start time: the process is not of the uid that was issued for this guest's QEMU
[ "$(id -u)" -ne 0 ] || starts="1 $(cut -d ' ' -f 22 /proc/$foreign/stat)"
for start in $starts; do
	mkdir -m 700 "$ROOST_RUN/g/$id"
	jq -n --arg id "$id" --argjson pid $foreign --argjson start "$start" '{name: "b", $id, number: 7, state: "running",
		reason: "booted", keeper_pid: $pid, keeper_start: $start, qemu_pid: $pid, qemu_start: $start,
		stamp: 1, started: 1}' >"$ROOST_RUN/g/$id/status"
	[ "$(id -u)" -ne 0 ] || chown -R "$uid:$uid" "$ROOST_RUN/g/$id"
	gone() {
		! roost list --name | grep -qx b
	}
	case $start in
	1)
		wait_until 10 gone
		wait_until 5 is_reason b "^crashed \(ended unsupervised"
		;;
	*)
		# it may be shown as unresponsive, but nothing may be done to the process
		roost list >/dev/null
		roost destroy b || :
		;;
	esac
	sleep 0.5
	kill -0 $foreign || fail "a foreign process was signalled"
	# whoever serves it may just be writing there
	wait_until 5 rm -rf "$ROOST_RUN/g/$id"
	# shellcheck disable=SC2046
	kill_and_wait KILL $(roostd_pids)
done
kill $foreign
say "a run folder of nobody"
mkdir "$ROOST_RUN/g/0123456789ab"
echo '{"name":"nobody-there","id":"0123456789ab","number":9,"state":"running"}' >"$ROOST_RUN/g/0123456789ab/status"
roost list >/dev/null || :
roost start b
wait_until 30 is_up b
check_status 3 roost domstate nobody-there
rm -r "$ROOST_RUN/g/0123456789ab"
roost destroy b
