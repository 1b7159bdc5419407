#!/bin/sh
# Asking a guest to go, and to come again: which rung of the ladder worked, when nothing does, and what is left then.
# limit: 420
. "$TOP/tests/e2e/lib.sh"
need tiny-vmlinux tiny-initrd pico.raw

cat >"$TMPDIR/tiny.yaml" <<-END
	name: tiny
	memory: 192M
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: console=ttyS0 no_timer_check quiet
	interfaces:
	  - user: {restrict: true, hostfwd: ["-22"]}
	cloud_init: {user: root}
END
roost define "$TMPDIR/tiny.yaml"

# --- while it is still booting: nobody listens to the button yet ----------------------------------------------------
say "shutdown of a guest that is booting, beside the others"
roost start tiny
roost shutdown tiny --mode acpi --timeout 200s >"$TMPDIR/early" 2>&1 &
early=$!

# --- pico: no agent, a button that can be made deaf ---------------------------------------------------------------
# up_anew NAME BOOT: it ticks, in its BOOTth life
up_anew() {
	[ "$(boots "$1")" -eq "$2" ] &&
		console_log "$1" | tr -d '\r' | awk '/PICO-UP/ { up = 0 } /tick=/ { up = 1 } END { exit !up }'
}
again() {
	again_boot=$(($(boots "$1") + 1))
	roost start "$1"
	wait_until 30 up_anew "$1" "$again_boot"
}
say "nothing to shut down"
pico p
check_status 5 roost shutdown p
check_status 5 roost reboot p
check_status 3 roost shutdown nobody-there
again p
check_status 2 roost shutdown p --mode telepathy
check_status 2 roost shutdown p --timeout soon
check_eq "it goes on" running "$(state p)"

say "the agent alone, of a guest that has none"
since=$(now_ms)
check_status 5 roost shutdown p --mode agent
check_time "no agent" 10000 "$since"
check_match "why" "agent" "$out"
check_eq "it goes on" running "$(state p)"
ticks_go_on p

say "both rungs"
since=$(now_ms)
out=$(roost shutdown p 2>&1)
check_match "the rung that worked" "^Guest 'p' is shut off: .*ACPI button$" "$out"
check_match "and why not the first" "not by its agent: no agent runs in guest 'p'" "$out"
check_time "shutdown" 15000 "$since"
check_match "its reason" '^shut off \(guest poweroff.*ACPI button\)$' "$(reason p)"
check_match "the guest did it itself" PICO-POWEROFF "$(console_log p)"

say "--no-wait"
again p
out=$(roost shutdown p --no-wait)
check_match "--no-wait" "is being shut down: asked by the ACPI button" "$out"
wait_until 10 is_state p "shut off"

say "in JSON"
again p
check_json "shutdown --json" '.state == "shut off" and (.reason | test("ACPI button"))' "$(roost shutdown p --json)"

say "--timeout that passes: the guest goes on"
again p
pid=$(of_status p qemu_pid)
deafen p
since=$(now_ms)
check_status 8 roost shutdown p --timeout 4s
check_time "--timeout" 9000 "$since"
check_match "which rungs, and why not the first" "not acted on the ACPI button in time; its agent: no agent runs" "$out"
check_match "and what now" "roost destroy p" "$out"
check_eq "it goes on" running "$(state p)"
check_eq "the same QEMU" "$pid" "$(of_status p qemu_pid)"
check_status 8 roost shutdown p --timeout 2s --mode acpi
check_no_match "the agent was not asked" "agent" "$out"
check_status 8 roost reboot p --timeout 2s
check_eq "it goes on" running "$(state p)"
# as its events tell, for in 2 s it is over
begun() {
	grep -c '"in shutdown"' "$ROOST_STATE/guests/p/events.jsonl"
}
before=$(begun)
roost shutdown p --no-wait --timeout 2s
check_eq "after a button that nobody hears" $((before + 1)) "$(begun)"
wait_until 5 is_reason p '^running \(did not shut down\)$'
roost shutdown p --no-wait
check_eq "after another one" "in shutdown" "$(state p)"
booted=$(boots p)
roost reset p
wait_until 30 up_anew p $((booted + 1))
check_eq "a reset ends its shutdown" running "$(state p)"

say "a shutdown that is cancelled: the guest goes on"
deafen p
roost shutdown p --timeout 100s >"$TMPDIR/cancelled" 2>&1 &
asking=$!
wait_until 10 is_state p "in shutdown"
check_status 4 roost suspend p
check_match "an operation is at work" "shutdown" "$out"
qmp "$(run_dir p)/guest.sock" roost-cancel
status=0
wait $asking || status=$?
check_eq "who waited is told" 5 "$status"
check_match "who waited is told" "no longer waited for|cancelled" "$(cat "$TMPDIR/cancelled")"
check_eq "it goes on" running "$(state p)"
roost reset p
wait_until 30 up_anew p $((booted + 2))

say "paused"
roost suspend p
check_status 5 roost shutdown p
check_match "why" "paused" "$out"
roost resume p

say "reboot of one that takes the button as power-off: it is reset afterwards"
booted=$(boots p)
pid=$(of_status p qemu_pid)
check_match "reboot" "reboots: asked by the ACPI button" "$(roost reboot p --timeout 30s)"
wait_until 30 up_anew p $((booted + 1))
check_eq "running" running "$(state p)"
check_eq "the same QEMU" "$pid" "$(of_status p qemu_pid)"
ticks_go_on p
check_match "afterwards a power-off is a power-off" "shut off" "$(roost shutdown p)"

# --- the early one --------------------------------------------------------------------------------------------------
say "the one that was booting"
status=0
wait $early || status=$?
[ $status -eq 0 ] || fail "shutdown while booting: $status: $(cat "$TMPDIR/early")"
check_match "its rung" "is shut off: .*ACPI button" "$(cat "$TMPDIR/early")"
presses=$(grep -c '"POWERDOWN"' "$ROOST_STATE/guests/tiny/events.jsonl")
[ "$presses" -gt 1 ] || fail "the button was pressed $presses times while it booted"

# --- tiny: an agent --------------------------------------------------------------------------------------------------
guest() {
	roost ssh root@tiny "$@" </dev/null
}
uptime_s() {
	guest cat /proc/uptime | cut -d . -f 1
}
agent_runs() {
	roost qmp tiny query-chardev | jq -e 'any(.[]; .label == "agent0" and ."frontend-open")'
}
say "reboot by the agent"
roost start tiny
roost wait -q tiny --for login --timeout 250s
wait_until 60 agent_runs
guest touch /run/before-the-reboot
pid=$(of_status tiny qemu_pid)
since=$(now_ms)
check_match "reboot" "reboots: asked by the agent" "$(roost reboot tiny --mode agent --timeout $((60 * E2E_PATIENCE))s 2>&1)"
check_eq "still it" running "$(state tiny)"
roost wait -q tiny --for login --timeout 250s
check_eq "the same QEMU" "$pid" "$(of_status tiny qemu_pid)"
check_status 1 roost ssh root@tiny test -e /run/before-the-reboot
[ "$(uptime_s)" -le $((($(now_ms) - since) / 1000 + 2)) ] || fail "its uptime has not begun anew"

say "shutdown by the agent"
wait_until 60 agent_runs
check_match "the rung that worked" "^Guest 'tiny' is shut off: guest poweroff, asked by the agent$" "$(roost shutdown tiny --timeout $((60 * E2E_PATIENCE))s)"
check_match "its reason" 'agent' "$(reason tiny)"

say "an agent that hangs leaves the button its half of a short time"
roost start tiny
roost wait -q tiny --for login --timeout 250s
wait_until 60 agent_runs
guest killall -STOP qemu-ga
# its half here; where patience is needed, the agent's share ends by itself and the button has more
out=$(roost shutdown tiny --timeout $((6 * E2E_PATIENCE * E2E_PATIENCE))s 2>&1)
check_match "the rung that worked" "is shut off: guest poweroff, asked by the ACPI button" "$out"
