# shellcheck shell=sh
# What the tests t_*.sh share. They begin with:
#
#	#!/bin/sh
#	# What is proven here, in a sentence or two.
#	. "$TOP/tests/e2e/lib.sh"
#
# and then simply do it: the first command that fails ends the test (set -e), `fail` says why. `roost` is on the PATH,
# ROOST_STATE and ROOST_RUN are the test's own, $TMPDIR is for its files. When it ends, its guests are destroyed and
# its roostd is stopped; run looks whether that left anything.
set -eu

if [ -z "${ROOST_RUN-}" ] || [ -z "${TOP-}" ]; then
	echo "run it by: tests/e2e/run $(basename "$0" .sh)" >&2
	exit 2
fi

# with the time since the test began, in seconds
say_since=$(date +%s)
say() {
	echo "-- $(($(date +%s) - say_since)) s: $*"
}
fail() {
	echo "FAILED: $*" >&2
	exit 1
}
skip() {
	echo "skip: $*"
	exit 77
}

# lacking WHAT: scripts/install-deps brings it, or scripts/test builds it: without it the test is skipped, in the CI it fails
lacking() {
	[ -z "${CI-}" ] || fail "there is no $1, which scripts/install-deps or scripts/test should have brought"
	skip "there is no $1"
}

# check_eq WHAT EXPECTED GOT
check_eq() {
	[ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}
# check_match WHAT REGEX GOT: an extended regular expression, anywhere in it
check_match() {
	printf '%s\n' "$3" | grep -Eq -e "$2" || fail "$1: expected /$2/, got '$3'"
}
check_no_match() {
	! printf '%s\n' "$3" | grep -Eq -e "$2" || fail "$1: did not expect /$2/, got '$3'"
}
# check_status CODE COMMAND...: it must end with just that; what it printed (both streams) is in $out
check_status() {
	check_status_expected=$1
	shift
	check_status_got=0
	out=$("$@" 2>&1) || check_status_got=$?
	[ "$check_status_got" -eq "$check_status_expected" ] ||
		fail "'$*' ended with $check_status_got instead of $check_status_expected: $out"
}
# both COMMAND...: its streams are in $out and $errors (and in the files stdout and stderr), its status in $both_status
# shellcheck disable=SC2034 # for the tests
both() {
	both_status=0
	"$@" >"$TMPDIR/stdout" 2>"$TMPDIR/stderr" || both_status=$?
	out=$(cat "$TMPDIR/stdout")
	errors=$(cat "$TMPDIR/stderr")
}
# check_json WHAT FILTER JSON: jq's filter must give true
check_json() {
	printf '%s\n' "$3" | jq -e "$2" >/dev/null || fail "$1: '$2' does not hold in $3"
}

# of a clock that nobody sets, to 10 ms
now_ms() {
	read -r now_up _ </proc/uptime
	echo "${now_up%.*}${now_up#*.}0"
}
# check_time WHAT MOST_MS SINCE_MS: patient on slow machines
check_time() {
	check_time_took=$(($(now_ms) - $3))
	[ $check_time_took -le $(($2 * E2E_PATIENCE)) ] || fail "$1: took $check_time_took ms, $2 are allowed"
}
# wait_until SECONDS COMMAND...: until it succeeds. A machine that was stopped for seconds, or minutes, and goes on has not waited
# meanwhile: who is waited for was stopped, too.
wait_until() {
	wait_until_last=$(now_ms)
	wait_until_end=$((wait_until_last + $1 * 1000 * E2E_PATIENCE))
	wait_until_seconds=$1
	shift
	until "$@" >/dev/null 2>&1; do
		wait_until_now=$(now_ms)
		# a command may take its time, a short sleep may not
		[ $((wait_until_now - wait_until_last)) -lt 120000 ] ||
			wait_until_end=$((wait_until_end + wait_until_now - wait_until_last))
		[ "$wait_until_now" -lt $wait_until_end ] || fail "not within $wait_until_seconds s: $*"
		sleep 0.05
		wait_until_last=$(now_ms)
		[ $((wait_until_last - wait_until_now)) -lt 1000 ] ||
			wait_until_end=$((wait_until_end + wait_until_last - wait_until_now))
	done
}

# --- guests ---------------------------------------------------------------------------------------------------------

# need_networks: roost-net, what it runs, and taps. In the CI they are there: `run` opens /dev/net/tun for nobody.
need_networks() {
	[ -x "$TOP/build/libexec/roost/roost-net" ] || lacking "roost-net (libmnl, libnftables)"
	[ -x /usr/sbin/dnsmasq ] || lacking dnsmasq-base
	[ -r /dev/net/tun ] || lacking "/dev/net/tun that can be opened"
}

# need FILE...: of $GUESTS (pico.raw, filler.raw, tiny-vmlinuz, tiny-initrd, tiny.qcow2, cloud.qcow2): else it is lacking()
need() {
	for need_file; do
		[ -r "$GUESTS/$need_file" ] || lacking "$need_file (scripts/pico-guest, tiny-guest, cloud-guest, installer-iso)"
	done
}
# pico NAME [KEY...]: defines a guest on its own copy of the pico disk, with these lines added; without "interfaces: ..." it
# has none
pico() {
	need pico.raw
	pico_name=$1
	shift
	cp "$GUESTS/pico.raw" "$TMPDIR/$pico_name.raw"
	cat >"$TMPDIR/$pico_name.yaml" <<-END
		name: $pico_name
		memory: 32M
		disks:
		  - path: $TMPDIR/$pico_name.raw
		    format: raw
	END
	case $* in
	*interfaces:*) ;;
	*) echo 'interfaces: []' >>"$TMPDIR/$pico_name.yaml" ;;
	esac
	[ $# -eq 0 ] || printf '%s\n' "$@" >>"$TMPDIR/$pico_name.yaml"
	roost define "$TMPDIR/$pico_name.yaml"
}
# with_failpoints: roost is the build that dies at the point that $ROOST_RUN/fail names; die_at POINT says so
with_failpoints() {
	failing=$TOP/build/fail/bin
	[ -x "$failing/roost" ] || lacking "build/fail (make BUILD=build/fail EXTRA_CFLAGS=-DROOST_FAILPOINTS)"
	PATH=$failing:$PATH
}
die_at() {
	echo "$1" >"$ROOST_RUN/fail"
	chmod 666 "$ROOST_RUN/fail"
}
# hold_at POINT: who comes by it stops there; $held is its pid, once held_at says so. It goes on by `kill -CONT`.
hold_at() {
	held=
	die_at "hold $1"
}
held_at() {
	[ ! -s "$ROOST_RUN/fail" ] || return 1
	for held_proc in $(roostd_pids); do
		! grep -q '^State:[[:space:]]*T' "/proc/$held_proc/status" || held=$held_proc
	done
	[ -n "${held-}" ]
}
# has_heard: who is held there is to end, as soon as he goes on: SIGTERM waits for him
has_heard() {
	grep -q '^ShdPnd:.*[4-7c-f]...$' "/proc/$held/status"
}
# has_died POINT: somebody did
has_died() {
	[ ! -s "$ROOST_RUN/fail" ] || fail "nobody came by $1"
	rm -f "$ROOST_RUN/fail"
}
# --- snapshots: of the guest `p`, with a second disk of its own, vdb; $folder is its folder
two_disks() {
	need pico.raw
	folder=$ROOST_STATE/guests/p
	cp "$GUESTS/pico.raw" "$TMPDIR/p.raw"
	cat >"$TMPDIR/p.yaml" <<-END
		name: p
		memory: 32M
		disks:
		  - path: $TMPDIR/p.raw
		    format: raw
		  - size: 4M
		interfaces: []
	END
	roost define "$TMPDIR/p.yaml"
}
record() {
	cat "$folder/snapshots.json"
}
# as many files of snapshots as the record names, and no more; no plan, no journal
nothing_left_over() {
	[ ! -e "$folder/snapshots.next" ] || fail "a plan is left"
	[ ! -e "$folder/journal" ] || fail "a journal is left"
	check_eq "the layers' files" "$(record | jq -r '(.layers | keys[]), (.snapshots[].memory | values)' | sort)" \
		"$(find "$folder" \( -name 'disk-*' -o -name 'memory.*' -o -name 'vars.*.qcow2' \) -printf '%f\n' | sort)"
}
# is_taken_over PID: by another keeper than that one, which has finished or undone what it was at
is_taken_over() {
	[ "$(of_status p keeper_pid)" != "$1" ] && [ "$(of_status p state)" = running ] &&
		[ -z "$(of_status p busy)" ] && [ ! -e "$folder/journal" ]
}
# of a guest that does not run
all_clean() {
	for all_clean_file in "$folder"/*.qcow2; do
		qemu-img check -q "$all_clean_file" || fail "$all_clean_file is not clean"
	done
}
# see DISK [SNAPSHOT]: what it holds, or what that snapshot has kept of it
see() {
	see_layer=$(record | jq -r --arg disk "$1" --arg name "${2-}" \
		'(if $name == "" then .tops else (.snapshots[] | select(.name == $name) | .disks) end)[$disk] // empty')
	case $1:$see_layer in
	vda:) qemu-img convert -U -f raw -O raw "$TMPDIR/p.raw" "$TMPDIR/content" ;;
	*) qemu-img convert -U -f qcow2 -O raw "$folder/${see_layer:-disk0.qcow2}" "$TMPDIR/content" ;;
	esac
	sha256sum <"$TMPDIR/content"
}
# boot_number NAME: what the pico guest has counted on its disk
boot_number() {
	console_log "$1" | grep -ao 'boot=[0-9a-f]\{4\}' | tail -n 1
}

state() {
	roost domstate "$1"
}
is_state() {
	[ "$(state "$1")" = "$2" ]
}
# run_dir NAME: $ROOST_RUN/g/ID of a running guest
run_dir() {
	# by grep, for jq would run once for each guest, and this is asked all the time
	run_dir=$(grep -lE "^(\{|  )\"name\": ?\"$1\"" "$ROOST_RUN"/g/*/status 2>/dev/null | head -n 1)
	[ -n "$run_dir" ] && echo "${run_dir%/status}"
}
# the guests' folders, which roostd removes when their keepers have ended
run_is_empty() {
	[ -z "$(find "$ROOST_RUN/g" -mindepth 1)" ]
}
# of_status NAME KEY: "qemu_pid", "keeper_pid", ... as the status file has it
of_status() {
	jq -r ".$2" "$(run_dir "$1")/status"
}
console_log() {
	cat "$ROOST_STATE/guests/$1/console.log"
}
# console_has NAME REGEX
console_has() {
	console_log "$1" | grep -aEq -e "$2"
}
# type_to NAME TEXT: as if typed on its console
type_to() {
	# opening a FIFO whose reader has just gone would wait for ever
	printf %s "$2" | timeout $((10 * E2E_PATIENCE)) tee "$ROOST_STATE/guests/$1/console.in" >/dev/null
}
# shows REGEX TEXT COMMAND...: a command that goes on for ever shows that when TEXT was typed to it; then it is ended. What
# it showed is in $TMPDIR/shown.
shows() {
	shows_regex=$1
	shows_text=$2
	shift 2
	printf %s "$shows_text" | "$@" >"$TMPDIR/shown" &
	shows_pid=$!
	wait_until 20 shows_it
	kill $shows_pid
	wait $shows_pid || :
}
shows_it() {
	grep -aEq -e "$shows_regex" "$TMPDIR/shown"
}
# deafen NAME: the pico guest halts with its interrupts off, and hears no button any more. Its echo is its last word.
deafen() {
	type_to "$1" h
	wait_until 20 is_deaf "$1"
}
is_deaf() {
	[ "$(console_log "$1" | tail -c 1)" = h ]
}
# ticks NAME: how many seconds the pico guest has counted since its start or reset; 0 before the first
ticks() {
	ticks_from=$(of_status "$1" console_from) || ticks_from=0
	ticks_last=$(tail -c "+$((ticks_from + 1))" "$ROOST_STATE/guests/$1/console.log" |
		grep -ao 'PICO-UP\|tick=[0-9a-f]\{4\}' | tail -n 1 | sed -n 's/tick=//p')
	printf '%d\n' "0x${ticks_last:-0}"
}
# boots NAME: how often it has come up, as its console tells; a line that is still being written does not count
boots() {
	console_log "$1" | grep -ac 'PICO-UP boot=[0-9a-f]\{4\}' || :
}
# saves NAME: the pico guest writes its boot counter to its disk again. It echoes the command first, and ticks only when it has done so.
saves() {
	saves_before=$(saves_count "$1")
	type_to "$1" w
	wait_until 20 saves_more "$1"
}
saves_count() {
	console_log "$1" | grep -ac 'wtick=[0-9a-f]' || :
}
saves_more() {
	[ "$(saves_count "$1")" -gt "$saves_before" ]
}
is_up() {
	[ "$(ticks "$1")" -gt 0 ]
}
beyond() {
	[ "$(ticks "$1")" -gt "$2" ]
}
# ticks_go_on NAME...: each still counts, and from where it was: not one was reset meanwhile
ticks_go_on() {
	for ticks_guest; do
		ticks_before=$(ticks "$ticks_guest")
		wait_until 10 beyond "$ticks_guest" "$ticks_before"
		ticks_after=$(ticks "$ticks_guest")
		[ "$ticks_after" -le $((ticks_before + 60)) ] || fail "$ticks_guest: ticks jumped from $ticks_before to $ticks_after"
	done
}
# started NAME...: defines and starts pico guests, and waits until each has ticked
started() {
	for started_guest; do
		pico "$started_guest"
		roost start "$started_guest"
	done
	for started_guest; do
		wait_until 30 is_up "$started_guest"
	done
}
# reason NAME: "state (reason)"
reason() {
	roost domstate --reason "$1"
}
is_reason() {
	reason "$1" | grep -Eq -e "$2"
}
# qmp SOCKET COMMAND [JSON]: one command to any QMP server; prints what it returned
qmp() {
	"$TOP/tests/e2e/qmp" "$@"
}

# The pids of our roostd and its workers, by their environment: not of anybody else's.
roostd_pids() {
	roostd_net=$(readlink /proc/self/ns/net)
	for roostd_proc in /proc/[0-9]*; do
		[ "$(cat "$roostd_proc/comm" 2>/dev/null)" = roostd ] || continue
		# tests of /run/roost have it each in a namespace of its own, with the same name
		[ "$(readlink "$roostd_proc/ns/net")" = "$roostd_net" ] || continue
		! grep -qzx "ROOST_RUN=$ROOST_RUN" "$roostd_proc/environ" 2>/dev/null || echo "${roostd_proc#/proc/}"
	done
}
# supervisor: the one of them that has no parent among them: as its lock tells
supervisor() {
	jq .pid "$ROOST_RUN/roostd.lock"
}
ended() {
	for ended_pid; do
		[ ! -d "/proc/$ended_pid" ] || grep -q '^State:[[:space:]]*Z' "/proc/$ended_pid/status" || return 1
	done
}
# kill_and_wait SIGNAL PID...: who ended in the moment since he was looked for, as a child of roostd's may, needs none
kill_and_wait() {
	kill_signal=$1
	shift
	for kill_pid; do
		kill "-$kill_signal" "$kill_pid" || ended "$kill_pid"
	done
	wait_until 10 ended "$@"
}

# listens_to PID SERVER: that one has reached the other and waits for what it tells: both sleep, so nothing is left to be answered
listens_to() {
	[ -n "$(find "/proc/$1/fd" -lname 'socket:*')" ] || return
	# while the other is looked at it sleeps on: else either could be at work just when the other sleeps
	listens_since=$(asleep "$1") && asleep "$2" && [ "$(asleep "$1")" = "$listens_since" ]
}
# asleep PID: it is; for the how many-th time
asleep() {
	awk '/^State:/ { state = $2 } /^voluntary_ctxt_switches:/ { print $2 } END { exit state != "S" }' "/proc/$1/status"
}

# how_things_stood: what a test that failed tells: how its guests fare or have ended, then the ends of their files
how_things_stood() {
	echo "-- how things stood:"
	roost list --all
	for stood_guest in $(roost list --all --name 2>/dev/null); do
		echo "$stood_guest: $(reason "$stood_guest" 2>&1)"
		[ ! -s "$ROOST_STATE/guests/$stood_guest/journal" ] || echo "its journal: $(cat "$ROOST_STATE/guests/$stood_guest/journal")"
	done
	for stood_file in "$ROOST_RUN"/g/*/qemu.err "$ROOST_STATE"/guests/*/console.log "$ROOST_STATE"/guests/*/events.jsonl; do
		[ ! -s "$stood_file" ] || { echo "-- $stood_file" && tail -c 2000 "$stood_file"; }
	done
}

# What a test must undo however it ends: it may define this anew.
at_end() {
	:
}
finish() {
	finish_status=$?
	set +e
	trap - EXIT
	at_end
	[ $finish_status -eq 0 ] || [ $finish_status -eq 77 ] || how_things_stood
	for finish_guest in $(roost list --name 2>/dev/null); do
		roost destroy "$finish_guest" >/dev/null
	done
	for finish_network in $(roost net-list --name 2>/dev/null); do
		roost net-destroy "$finish_network" >/dev/null
	done
	# shellcheck disable=SC2046 # several words are meant
	set -- $(roostd_pids)
	[ $# -eq 0 ] || kill_and_wait TERM "$@"
	exit $finish_status
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
