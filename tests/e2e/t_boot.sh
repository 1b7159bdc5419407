#!/bin/sh
# limit: 300
# roost boot: guests marked autostart start in their order and with their delays, one that fails or hangs keeps none of the
# others, a second boot harms nothing, and roostd stays. Then the host loses power: all processes gone, another boot id, a
# fresh $ROOST_RUN or a stale one. Just the right guests come back, and of the others the truth is told.
. "$TOP/tests/e2e/lib.sh"
need pico.raw

ours=$(id -u):$(id -g)
# with_boot_id FILE COMMAND...: in a mount namespace where that is the host's boot id. Who is not root is so in a user
# namespace, to be allowed to mount, and himself again in the next.
with_boot_id() {
	with_file=$1
	shift
	# shellcheck disable=SC2016 # for the inner shells
	if [ "$(id -u)" -eq 0 ]; then
		unshare --mount sh -c 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"' "$with_file" "$@"
	else
		unshare --user --map-root-user --mount sh -c 'mount --bind "$0" /proc/sys/kernel/random/boot_id && ours=$1 &&
			shift && exec unshare --user --map-user="${ours%:*}" --map-group="${ours#*:}" "$@"' "$with_file" "$ours" "$@"
	fi
}
id_file() {
	cat /proc/sys/kernel/random/uuid >"$TMPDIR/$1"
	chmod 644 "$TMPDIR/$1"
	echo "$TMPDIR/$1"
}
probe=$(id_file probe)
out=$(with_boot_id "$probe" cat /proc/sys/kernel/random/boot_id 2>&1) || skip "no other boot id can be had here: $out"
check_eq "the other boot id" "$(cat "$probe")" "$out"

# --- what roostd does in another folder meanwhile -------------------------------------------------------------------
# daemon FOLDER: the pid of its roostd
daemon() {
	for daemon_proc in /proc/[0-9]*; do
		[ "$(cat "$daemon_proc/comm" 2>/dev/null)" = roostd ] || continue
		! grep -qzx "ROOST_RUN=$1" "$daemon_proc/environ" 2>/dev/null || echo "${daemon_proc#/proc/}"
	done
}
has_no_daemon() {
	[ -z "$(daemon "$1")" ]
}
at_end() {
	for at_end_pid in $(daemon "$TMPDIR/stay") $(daemon "$TMPDIR/go"); do
		kill "$at_end_pid"
	done
}
say "nothing to start"
check_eq "words" "No guest is marked as autostarted" "$(ROOST_RUN=$TMPDIR/stay roost boot)"
check_json "in JSON" '. == {"guests": [], "networks": []}' "$(ROOST_RUN=$TMPDIR/go roost boot --json)"
check_eq "halt lets it go" "No guest runs" "$(ROOST_RUN=$TMPDIR/go roost halt)"
idle_since=$(now_ms)
[ -n "$(daemon "$TMPDIR/stay")" ] || fail "there is no roostd"
[ -n "$(daemon "$TMPDIR/go")" ] || fail "there is no roostd to go"

# --- before the power goes ------------------------------------------------------------------------------------------
say "12 guests, 5 of them marked"
mark() {
	case $1 in
	g03) echo "autostart: {order: 1, delay: 1200ms}" ;;
	g07) echo "autostart: {order: 2}" ;;
	g01 | g05) echo "autostart: true" ;;
	g11) echo "autostart: {order: 200}" ;;
	*) echo "autostart: false" ;;
	esac
}
guests=$(seq -f g%02g 1 12)
for guest in $guests stays-off shut crashed; do
	pico "$guest" "$(mark "$guest")" >/dev/null
done
# in_order JSON: the names in the order of their Ids
in_order() {
	roost list --json | jq -r 'sort_by(.id) | map(.name) | join(" ")'
}
started() {
	jq .started "$(run_dir "$1")/status"
}
# waited A B MS: B started at least so much later than A
waited() {
	[ $(($(started "$2") - $(started "$1"))) -ge "$3" ]
}
out=$(roost boot)
check_eq "told in their order" "Guest 'g03' started
Guest 'g07' started
Guest 'g01' started
Guest 'g05' started
Guest 'g11' started" "$out"
check_eq "started in their order" "g03 g07 g01 g05 g11" "$(in_order)"
waited g03 g07 1200 || fail "g03's delay was not waited: $(started g03), $(started g07)"
# a busy machine may take as long for one, but not for each
waited g07 g01 1200 && waited g01 g05 1200 && waited g05 g11 1200 && fail "a delay that nobody has asked for"

say "two more boots at the same time harm nothing"
number=$(of_status g07 number)
roost suspend g05
roost boot >"$TMPDIR/second" 2>&1 &
second=$!
check_json "in JSON" '.guests | map(.name + " " + .result + " " + .state) ==
	["g03 already running", "g07 already running", "g01 already running", "g05 already paused", "g11 already running"]' \
	"$(roost boot --json)"
wait $second || fail "the other one: $(cat "$TMPDIR/second")"
check_match "words" "^Guest 'g05' is paused already" "$(cat "$TMPDIR/second")"
check_eq "still the same run" "$number" "$(of_status g07 number)"
check_eq "started in their order" "g03 g07 g01 g05 g11" "$(in_order)"
roost destroy g01
roost boot >"$TMPDIR/second" 2>&1 &
second=$!
out=$(roost boot)
wait $second || fail "the other one: $(cat "$TMPDIR/second")"
check_eq "one of them has started it" 1 "$(printf '%s\n' "$out" | cat - "$TMPDIR/second" | grep -c "'g01' started")"

say "all run"
for guest in $guests shut crashed; do
	roost start "$guest" >/dev/null 2>&1 || is_state "$guest" running || is_state "$guest" paused
done
for guest in $guests shut; do
	[ "$guest" = g05 ] || wait_until 60 is_up "$guest"
done
roost shutdown shut >/dev/null
kill_and_wait KILL "$(of_status crashed qemu_pid)"
wait_until 10 is_state crashed crashed
# one whose former run ended otherwise than this one will
roost destroy g02
roost start g02
check_eq "12 run" 12 "$(roost list --name | wc -l)"
reason_crashed=$(reason crashed)
reason_shut=$(reason shut)

# --- power cuts -----------------------------------------------------------------------------------------------------
power_cut() {
	# shellcheck disable=SC2046 # several words are meant
	kill_and_wait KILL $(roostd_pids)
	# shellcheck disable=SC2046
	kill_and_wait KILL $(jq -r '.keeper_pid, .qemu_pid' "$ROOST_RUN"/g/*/status)
}
state_of() {
	with_boot_id "$boot" roost domstate --reason "$1"
}
# now: roost in this boot of the host
now() {
	with_boot_id "$boot" roost "$@"
}
say "power cut; the run folder goes with it"
power_cut
rm -rf "$ROOST_RUN"
boot=$(id_file boot2)
check_eq "nothing runs" "" "$(now list --name)"
check_eq "all are told to be off" "14 shut off, 1 crashed" \
	"$(now list --all --json | jq -r 'map(.state) | "\(map(select(. == "shut off")) | length) shut off, \(map(select(. == "crashed")) | length) crashed"')"
out=$(now boot)
check_eq "the right five, in their order" "Guest 'g03' started
Guest 'g07' started
Guest 'g01' started
Guest 'g05' started
Guest 'g11' started" "$out"
check_eq "Ids begin anew" "1 2 3 4 5" "$(now list --json | jq -r 'map(.id) | sort | join(" ")')"
check_eq "they run" "g01 g03 g05 g07 g11" "$(now list --json | jq -r 'map(select(.state == "running") | .name) | sort | join(" ")')"
for guest in g01 g03 g05 g07 g11; do
	wait_until 60 is_up "$guest"
	[ "$(boots "$guest")" -gt 1 ] || fail "$guest has not booted again"
done
for guest in g02 g04 g06 g08 g09 g10 g12; do
	check_eq "$guest" "shut off (the host went down while it ran)" "$(state_of "$guest")"
done
check_eq "one that never ran" "shut off" "$(state_of stays-off)"
check_eq "one that was shut down before" "$reason_shut" "$(state_of shut)"
check_eq "one that crashed before" "$reason_crashed" "$(state_of crashed)"
check_json "list --all" 'map(select(.state == "running")) | length == 5' "$(now list --all --json)"
check_json "list --all" '.[] | select(.name == "crashed") | .state == "crashed"' "$(now list --all --json)"
now start g02 >/dev/null 2>&1
check_match "which starts as ever" "^running" "$(state_of g02)"

say "another one; a run folder that is no tmpfs stays as it was"
# what must not be taken for a guest's: their numbers are others' in the next boot
power_cut
boot=$(id_file boot3)
check_eq "nothing runs" "" "$(now list --name)"
check_eq "all are off" "shut off (the host went down while it ran)" "$(state_of g07)"
check_status 5 now suspend g07
check_match "why" "not running" "$out"

say "one whose disk is gone, one that hangs, one whose record is broken: the others start"
rm "$TMPDIR/g03.raw"
printf 'spoilt' >"$ROOST_STATE/guests/g01/guest.json"
mkfifo -m 666 "$TMPDIR/hangs"
cat >"$TMPDIR/hangs.yaml" <<-END
	name: hangs
	memory: 32M
	disks: []
	interfaces: []
	autostart: {order: 3, delay: 100s}
	qemu_args: ["-object", "secret,id=hangs,file=$TMPDIR/hangs"]
END
now define "$TMPDIR/hangs.yaml"
since=$(now_ms)
bound=$((2 * E2E_PATIENCE + 1))
check_status 1 now boot --timeout ${bound}s
check_time "bounded" 12000 "$since"
check_eq "how many lines" 6 "$(printf '%s\n' "$out" | grep -c '^Guest ')"
check_match "no disk" "^Guest 'g03' failed: .*g03.raw" "$out"
check_match "no record" "^Guest 'g01' failed: is broken" "$out"
check_match "hangs" "^Guest 'hangs' failed: has not started within $bound s$" "$out"
for guest in g07 g05 g11; do
	check_match "$guest" "^Guest '$guest' started" "$out"
	check_match "$guest" "^running" "$(state_of $guest)"
done
check_status 1 now boot --json --timeout 1s
check_json "in JSON" '.guests[] | select(.name == "g03") | .result == "failed" and (.error.desc | test("g03.raw"))' "$out"
check_json "in JSON" '.guests | map(select(.result == "already") | .name) | contains(["g07", "g05", "g11"])' "$out"
now destroy hangs >/dev/null
check_status 2 now boot --timeout soon
check_status 2 now boot g07

say "halt after a power cut"
check_status 0 now halt --timeout $((10 * E2E_PATIENCE))s
check_eq "nothing runs" "" "$(now list --name)"

say "roostd: the one that was asked to stay has, the other one has gone"
wait_until 30 has_no_daemon "$TMPDIR/go"
[ $(($(now_ms) - idle_since)) -gt 21000 ] || wait_until 30 sleep 21
[ -n "$(daemon "$TMPDIR/stay")" ] || fail "roostd has not stayed"
# the next one that halts lets it go, too
check_eq "halt" "No guest runs" "$(ROOST_RUN=$TMPDIR/stay roost halt)"
wait_until 40 has_no_daemon "$TMPDIR/stay"
