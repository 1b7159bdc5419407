#!/bin/sh
# limit: 300
# roost halt: every guest climbs its ladder at the same time, within one bound; what does not obey is destroyed, and it is
# told which was which. Nothing that is stopped dead holds it up, and it gets by without roostd and without keepers.
. "$TOP/tests/e2e/lib.sh"
need pico.raw

stopped=
at_end() {
	for pid in $stopped; do
		kill -CONT "$pid" 2>/dev/null
	done
}
stop() {
	kill -STOP "$1"
	stopped="$stopped $1"
}
# result NAME FIELD: of the answer in $out
result() {
	printf '%s\n' "$out" | jq -r --arg name "$1" ".guests[] | select(.name == \$name).$2"
}
again() {
	for again_guest; do
		again_boots=$(boots "$again_guest")
		roost start "$again_guest"
		wait_until 30 booted_again
		wait_until 30 is_up "$again_guest"
	done
}
booted_again() {
	[ "$(boots "$again_guest")" -gt "$again_boots" ]
}
nothing_runs() {
	check_eq "what runs" "" "$(roost list --name)"
	wait_until 5 run_is_empty
}

say "nothing runs, and nobody is started to find that out"
check_eq "words" "No guest runs" "$(roost halt)"
check_json "in JSON" '. == {"guests": []}' "$(roost halt --json)"
check_eq "roostd" "" "$(roostd_pids)"
check_status 2 roost halt --timeout soon
check_status 2 roost halt --timeout 0s
check_status 2 roost halt now

say "two that obey, with the words for it"
started a b
check_status 2 roost halt --timeout soon
check_eq "wrong words change nothing" running "$(state a)"
since=$(now_ms)
check_eq "words" "Guest 'a' is shut off: guest poweroff, asked by the ACPI button
Guest 'b' is shut off: guest poweroff, asked by the ACPI button" "$(roost halt | sort)"
check_time "halt" 10000 "$since"
check_match "the guest did it itself" PICO-POWEROFF "$(console_log a)"
check_match "its reason" "guest poweroff, asked by the ACPI button" "$(reason b)"
nothing_runs

say "all sorts of guests, and roostd was killed"
again a
started deaf panicked sleeper qemu keeper orphan
pico unborn
roost start --paused unborn
deafen deaf
roost suspend sleeper
type_to panicked p
wait_until 10 is_state panicked crashed
stop "$(of_status qemu qemu_pid)"
orphaned=$(of_status orphan keeper_pid)
# shellcheck disable=SC2046 # several words are meant
kill_and_wait KILL $(roostd_pids)
kill_and_wait KILL "$orphaned"
stop "$(of_status keeper keeper_pid)"
since=$(now_ms)
# time for a button and for another keeper on a busy machine; for the whole of it those wait that do not obey
bound=$((2 + 3 * E2E_PATIENCE))
check_status 0 roost halt --timeout ${bound}s --json
took=$(($(now_ms) - since))
say "it took $took ms"
check_time "halt --timeout ${bound}s" 22000 "$since"
check_eq "all are told, by name" "a deaf keeper orphan panicked qemu sleeper unborn" \
	"$(printf '%s\n' "$out" | jq -r '[.guests[].name] | join(" ")')"
for guest in a sleeper orphan; do
	check_eq "$guest" "shut off" "$(result $guest result)"
	check_eq "$guest's rung" "ACPI button" "$(result $guest rung)"
done
for guest in deaf panicked qemu keeper unborn; do
	check_eq "$guest" destroyed "$(result $guest result)"
	check_eq "$guest has ended" "shut off (destroyed)" "$(reason $guest)"
done
check_match "why deaf" "has not acted on the ACPI button" "$(result deaf error.desc)"
check_match "why panicked" "crashed" "$(result panicked error.desc)"
check_match "why qemu" "unresponsive|has not acted|no answer|answered" "$(result qemu error.desc)"
check_match "why keeper" "." "$(result keeper error.desc)"
check_match "why unborn" "never run" "$(result unborn error.desc)"
check_match "sleeper did it itself" PICO-POWEROFF "$(console_log sleeper)"
nothing_runs
stopped=

say "one that does not obey is not destroyed if that is the wish"
again deaf a
deafen deaf
pid=$(of_status deaf qemu_pid)
check_status 1 roost halt --timeout $((2 * E2E_PATIENCE))s --no-destroy
check_match "told" "^Guest 'deaf' still runs: has not acted on the ACPI button" "$out"
check_match "the other" "^Guest 'a' is shut off" "$out"
check_eq "it goes on" "$pid" "$(of_status deaf qemu_pid)"
check_status 1 roost halt --timeout 1s --no-destroy --json
check_eq "in JSON" running "$(result deaf result)"

say "halt is killed on its ladder: nobody goes on with it, and the guest does"
roost halt --timeout 60s >/dev/null &
halting=$!
wait_until 10 is_state deaf "in shutdown"
children=$(pgrep -P $halting)
[ -n "$children" ] || fail "it has no children"
kill -KILL $halting
wait $halting 2>/dev/null || :
# shellcheck disable=SC2086 # several words are meant
wait_until 5 ended $children
wait_until 10 is_state deaf running
check_eq "it goes on" "$pid" "$(of_status deaf qemu_pid)"

say "in words: destroyed, and why"
check_status 0 roost halt --timeout 2s
check_match "told" "^Guest 'deaf' destroyed: has not acted on the ACPI button" "$out"
nothing_runs

say "roostd and the keeper die on the ladder: it is climbed again"
again a deaf
deafen deaf
roost suspend a
roost halt --timeout $((6 + 2 * E2E_PATIENCE))s --json >"$TMPDIR/halt" 2>&1 &
halting=$!
wait_until 10 is_state deaf "in shutdown"
# shellcheck disable=SC2046 # several words are meant
kill_and_wait KILL $(roostd_pids)
keeper=$(of_status deaf keeper_pid)
kill_and_wait KILL "$keeper"
another_keeper() {
	[ "$(of_status deaf keeper_pid)" != "$keeper" ] && is_state deaf "in shutdown"
}
wait_until 10 another_keeper
status=0
wait $halting || status=$?
out=$(cat "$TMPDIR/halt")
[ $status -eq 0 ] || fail "halt: $status: $out"
check_eq "still bounded" destroyed "$(result deaf result)"
check_match "by the next keeper" "has not acted on the ACPI button" "$(result deaf error.desc)"
check_eq "the other" "shut off" "$(result a result)"
nothing_runs

say "another is shutting it down at the same time"
again a deaf
deafen deaf
roost shutdown deaf --timeout $((2 + E2E_PATIENCE))s >/dev/null 2>&1 &
wait_until 10 is_state deaf "in shutdown"
check_status 0 roost halt --timeout $((3 + 2 * E2E_PATIENCE))s --json
check_eq "told" destroyed "$(result deaf result)"
check_eq "the other" "shut off" "$(result a result)"
nothing_runs
wait

say "roostd is stopped dead: bounded all the same"
again a
stop "$(supervisor)"
since=$(now_ms)
check_status 0 roost halt --timeout $((5 * E2E_PATIENCE))s
check_time "halt" 12000 "$since"
check_match "told" "^Guest 'a' is shut off: guest poweroff" "$out"
at_end
stopped=
check_eq "what runs" "" "$(roost list --name)"
wait_until 10 run_is_empty
