#!/bin/sh
# A guest's whole life by the verbs: each state and its reason, the small Ids, what is refused when, and exit codes.
. "$TOP/tests/e2e/lib.sh"

# --- defined, not yet running
check_status 3 roost domstate a
check_status 3 roost start a
pico a
pico b
check_eq "state" "shut off" "$(state a)"
check_eq "nothing runs" "" "$(roost list --name)"
check_eq "both are listed" "a b" "$(roost list --all --name | sort | xargs)"
check_json "list --all" 'length == 2 and all(.state == "shut off" and .id == null)' "$(roost list --all --json)"
check_status 5 roost suspend a
check_match "suspend of a stopped one" "not running" "$out"
check_status 5 roost destroy a
check_status 5 roost console a
check_status 3 roost undefine nobody-there
check_status 2 roost start
check_status 2 roost start a --no-such-option
check_status 2 roost no-such-verb

# --- start
say start
since=$(now_ms)
roost start a
check_time "start" 3000 "$since"
check_eq "state" running "$(state a)"
check_eq "reason" "running (booted)" "$(reason a)"
check_status 5 roost start a
check_match "second start" "running already" "$out"
check_status 5 roost undefine a
wait_until 20 is_up a
check_eq "booted once" 1 "$(boots a)"
check_json "list" 'length == 1 and .[0].name == "a" and .[0].id == 1 and .[0].memory == 33554432' "$(roost list --json)"
check_match "list" '^ 1 +a +running$' "$(roost list)"
check_match "list --wide" '^ 1 +a +running +(kvm|tcg) +1 +32 MiB$' "$(roost list --wide)"
check_eq "list --name" a "$(roost list --name)"
check_json "dominfo" ".state == \"running\" and .number == 1 and .qemu_pid == $(of_status a qemu_pid)" "$(roost dominfo --json a)"
check_match "dominfo --argv" '^/.*qemu-system.*-nodefaults' "$(roost dominfo --argv a | tr -d '\\\n')"
check_eq "by its Id" running "$(state 1)"
check_eq "by its UUID" running "$(state "$(roost dominfo --json a | jq -r .uuid)")"
check_match "the console is logged" 'tick=0001' "$(roost logs a)"

# --- suspend: its seconds stand still; resume: they count on
say suspend
roost suspend a
check_eq "suspended" "paused (user)" "$(reason a)"
roost suspend a
still=$(ticks a)
sleep 2.2
check_eq "no tick while suspended" "$still" "$(ticks a)"
roost resume a
check_eq "resumed" "running (unpaused)" "$(reason a)"
roost resume a
ticks_go_on a
check_eq "not booted again" 1 "$(boots a)"

# --- reset: boots again, under the same Id and the same QEMU
say reset
pid=$(of_status a qemu_pid)
roost reset a
up_twice() {
	[ "$(boots a)" -eq 2 ]
}
wait_until 20 up_twice
check_eq "the same QEMU" "$pid" "$(of_status a qemu_pid)"
check_eq "state after reset" running "$(state a)"

# --- start --paused: no instruction runs before resume
say "start --paused"
roost start --paused b
check_eq "paused start" "paused (user)" "$(reason b)"
check_match "Ids count up" '^ 2 +b +paused$' "$(roost list)"
sleep 1
check_eq "nothing on its console" "" "$(console_log b)"
check_json "QEMU says so itself" '.status == "prelaunch" and .running == false' "$(roost qmp b query-status)"
roost resume b
wait_until 20 is_up b

# --- destroy, --graceful
say destroy
id=$(basename "$(run_dir a)")
since=$(now_ms)
roost destroy a
[ ! -e "$ROOST_RUN/g/$id" ] || fail "destroy answers while the guest's folder is still there"
check_time "destroy" 2000 "$since"
ended "$pid" || fail "QEMU is still there after destroy"
check_eq "destroyed" "shut off (destroyed)" "$(reason a)"
check_status 5 roost destroy a
check_status 5 roost dominfo --argv a
check_eq "only b runs" b "$(roost list --name)"
roost destroy --graceful b
check_eq "gracefully" "shut off (destroyed)" "$(reason b)"
wait_until 2 run_is_empty

# --- Ids are never used twice; a name may be started as soon as it has ended
say "again and again"
for number in 3 4 5; do
	roost start --paused a
	check_json "Id $number" ".[0].id == $number" "$(roost list --json)"
	roost destroy a
done
check_json "the command's own JSON" '.number == 6 and .name == "a"' "$(roost start --json a 2>/dev/null)"
check_json "destroy --json" '.state == "shut off" and .reason == "destroyed"' "$(roost destroy --json a)"

# --- errors as JSON
check_status 5 roost destroy --json a
check_json "an error as JSON" '.error.class == "refused" and (.error.desc | test("not running"))' "$out"

# --- undefine
roost undefine a
check_status 3 roost domstate a
check_eq "b is left" b "$(roost list --all --name)"
[ -f "$TMPDIR/a.raw" ] || fail "undefine took a disk that roost did not make"
roost undefine b
check_eq "no folder is left" "" "$(ls "$ROOST_STATE/guests")"
