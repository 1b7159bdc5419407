#!/bin/sh
# limit: 240
# A snapshot of a guest that runs, with its RAM: it goes on at once, and a revert lets it run on from just there, with the
# disks of that instant; whoever is killed in between leaves the old or the new, and the guest running.
. "$TOP/tests/e2e/lib.sh"
with_failpoints
two_disks

# reset_it: the guest writes its next boot number on its disk, and counts its ticks anew
reset_it() {
	before=$(boots p)
	type_to p r
	wait_until 20 has_booted "$before"
	wait_until 20 is_up p
}
has_booted() {
	[ "$(boots p)" -gt "$1" ]
}
lasts() {
	console_log p | grep -ao 'tick=[0-9a-f]\{4\}' | tail -n 1 | sed 's/tick=/0x/'
}
# at_last COMMAND...: in $at are then its last ticks before and after that, between which is what it has kept
at_last() {
	at=$(lasts)
	"$@"
	at="$at $(lasts)"
}
# runs_on_from TICKS COMMAND...: without a boot, and from that tick on, or from one between those two
runs_on_from() {
	from=${1% *} most=${1#* }
	shift
	before=$(boots p)
	lines=$(console_log p | wc -l)
	next=$(lasts)
	"$@" >/dev/null
	wait_until 20 has_ticked
	check_eq "it has not booted" "$before" "$(boots p)"
	ran_on || fail "it went on with tick $tick, not after $((from)) to $((most))"
}
ran_on() {
	[ "$tick" -gt $((from)) ] && [ "$tick" -le $((most + 3)) ]
}
# has_ticked: $tick is the first one since, but for those that followed on the last one: of what ran until the command struck
has_ticked() {
	tick=0
	expected=$next
	for tick in $(console_log p | tail -n "+$((lines + 1))" | grep -ao 'tick=[0-9a-f]\{4\}' | sed 's/tick=/0x/'); do
		tick=$((tick))
		expected=$((expected + 1))
		ran_on || [ $tick -ne $expected ] || continue
		return 0
	done
	return 1
}

say "kept, and it goes on"
roost start p
wait_until 30 is_up p
wait_until 30 beyond p 3
at_last roost snapshot-create-as p m1 'in the middle'
ticks_go_on p
check_match "told" ' m1 .* running' "$(roost snapshot-list p)"
check_match "its file" 'Memory: +memory.1.save' "$(roost snapshot-info p m1)"
check_eq "nobody else reads it" 600 "$(stat -c %a "$folder/memory.1.save")"
nothing_left_over
m1=$(see vda m1)$(see vdb m1)
reset_it
[ "$m1" != "$(see vda)$(see vdb)" ] || fail "it has written nothing"

say "and back: running, and stopped"
check_status 5 roost snapshot-revert p m1
runs_on_from "$at" roost snapshot-revert p m1 --force
check_eq "its state" "running (restored)" "$(reason p)"
check_eq "its disks" "$m1" "$(see vda)$(see vdb)"
reset_it
roost destroy p
runs_on_from "$at" roost snapshot-revert p m1
check_eq "its disks" "$m1" "$(see vda)$(see vdb)"
nothing_left_over

say "renamed: its RAM is the same guest's"
roost destroy p
roost domrename p q
folder=$ROOST_STATE/guests/q
roost snapshot-revert q m1
check_eq "its state" "running (restored)" "$(reason q)"
check_eq "its disks" "$m1" "$(see vda)$(see vdb)"
roost snapshot-create-as q m0
roost destroy q
roost domrename q p
folder=$ROOST_STATE/guests/p
roost snapshot-revert p m0
roost snapshot-delete p m0
runs_on_from "$at" roost snapshot-revert p m1 --force

say "a disk that was plugged is in it, and in the definition from then on"
qemu-img create -q -f qcow2 "$TMPDIR/x.qcow2" 8M
qemu-io -f qcow2 -c "write -P 5 0 64k" "$TMPDIR/x.qcow2" >/dev/null
plugged() {
	plugged_top=$(record | jq -r '.tops.vdd // empty')
	qemu-img convert -U -f qcow2 -O raw "${plugged_top:+$folder/}${plugged_top:-$TMPDIR/x.qcow2}" "$TMPDIR/content"
	sha256sum <"$TMPDIR/content"
}
roost attach-disk p "$TMPDIR/x.qcow2" --format qcow2 --target vdd
defined=$(roost dumpyaml p)
check_status 2 roost snapshot-create-as p a/b
check_status 5 roost snapshot-create-as p x --disk-only --quiesce
check_eq "bad input changes nothing" "$defined" "$(roost dumpyaml p)"
m1_at=$at
at_last roost snapshot-create-as p m3 >"$TMPDIR/told" 2>&1
check_match "told" "disk 'vdd', which was plugged, is the guest's from now on" "$(cat "$TMPDIR/told")"
kept=$(plugged)
check_status 5 roost detach-disk p vdd
roost destroy p
qemu-io -f qcow2 -c "write -P 6 0 64k" "$folder/$(record | jq -r .tops.vdd)" >/dev/null
roost start p
wait_until 30 is_up p
[ "$kept" != "$(plugged)" ] || fail "nothing was written"
runs_on_from "$at" roost snapshot-revert p m3 --force
check_eq "as it was kept" "$kept" "$(plugged)"
at_last roost managedsave p
runs_on_from "$at" roost start p
roost snapshot-delete p m3
check_eq "as it was kept" "$kept" "$(plugged)"
check_eq "in its own file" "" "$(record | jq -r '.tops.vdd // empty')"
nothing_left_over
roost destroy p
roost detach-disk p vdd --config
runs_on_from "$m1_at" roost snapshot-revert p m1

say "paused"
roost suspend p
at=$(lasts)
roost snapshot-create-as p m2
check_eq "it still is" paused "$(state p)"
check_match "told" ' m2 .* paused' "$(roost snapshot-list p)"
roost snapshot-revert p m2 --force
check_eq "it is again" paused "$(state p)"
runs_on_from "$at" roost resume p
runs_on_from "$at" roost snapshot-revert p m2 --force --running

say "who is gone before it is started: the next start goes on from there"
roost destroy p
qmp "$ROOST_RUN/roostd.sock" roost-snapshot-revert '{"name": "p", "snapshot": "m1"}' >/dev/null
check_match "dominfo" "Managed save: +yes" "$(roost dominfo p)"
check_status 5 roost snapshot-delete p m2
check_status 5 roost snapshot-create-as p x
check_match "why" "has been saved" "$out"
check_match "start" "restored from its managed save" "$(roost start p)"
roost destroy p
qmp "$ROOST_RUN/roostd.sock" roost-snapshot-revert '{"name": "p", "snapshot": "m1"}' >/dev/null
touch "$folder/$(record | jq -r .tops.vda)"
check_status 5 roost start p
check_match "why" "has been changed since" "$out"
roost snapshot-revert p m2 --running
wait_until 30 is_up p
roost destroy p
qmp "$ROOST_RUN/roostd.sock" roost-snapshot-revert '{"name": "p", "snapshot": "m1"}' >/dev/null
check_match "given up" "Removed" "$(roost managedsave-remove p)"
before=$(boots p)
roost start p
wait_until 30 has_booted "$before"
wait_until 30 is_up p

say "refused"
check_status 2 roost snapshot-create-as p x --quiesce
check_status 5 roost restore "$folder/memory.1.save"
check_match "what it is" "RAM of the snapshot 'm1'" "$out"
cp "$folder/memory.1.save" "$TMPDIR/kept"
truncate -s -1 "$folder/memory.1.save"
check_status 5 roost snapshot-revert p m1 --force
check_match "why" "truncated" "$out"
ticks_go_on p
cp "$TMPDIR/kept" "$folder/memory.1.save"
roost snapshot-delete p m1
nothing_left_over
ticks_go_on p

say "killed at each step"
count() {
	record | jq '.snapshots | length'
}
for step in snapshot-begin snapshot-nodes snapshot-stopped save-after-getfd save-streaming snapshot-memory-sent save-told \
	snapshot-live-planned snapshot-before-transaction snapshot-taken snapshot-decided snapshot-settled; do
	keeper=$(of_status p keeper_pid)
	was=$(count)
	die_at $step
	roost snapshot-create-as p $step >/dev/null 2>&1 || :
	has_died $step
	wait_until 20 is_taken_over "$keeper"
	case $step in
	*-taken | *-decided | *-settled) check_eq "$step: the new" $((was + 1)) "$(count)" ;;
	*) check_eq "$step: the old" "$was" "$(count)" ;;
	esac
	nothing_left_over
	ticks_go_on p
done
check_eq "what QEMU holds beside the chains" "" \
	"$(roost qmp p query-named-block-nodes | jq -r '.[]."node-name"' | grep 'vd[ab]-s.*top' | sort | uniq -d)"

say "the keeper dies, and QEMU with it: what was planned holds"
at=$(lasts)
die_at snapshot-live-planned
qemu=$(of_status p qemu_pid)
kill -STOP "$(supervisor)"
roost snapshot-create-as p both >/dev/null 2>&1 &
has_struck() {
	[ ! -s "$ROOST_RUN/fail" ]
}
wait_until 20 has_struck
kill -9 "$qemu"
kill -CONT "$(supervisor)"
wait || :
has_died snapshot-live-planned
has_ended() {
	roost domstate p | grep -qE 'shut off|crashed' && [ ! -e "$folder/journal" ]
}
wait_until 20 has_ended
at="$at $(lasts)"
runs_on_from "$at" roost snapshot-revert p both
nothing_left_over
for name in $(roost snapshot-list p --name); do
	roost snapshot-delete p "$name" >/dev/null
done
ticks_go_on p
nothing_left_over

say "its QEMU dies before anything was planned: nothing of it is left, and the next one works"
keeper=$(of_status p keeper_pid)
hold_at snapshot-memory-sent
roost snapshot-create-as p none >/dev/null 2>&1 &
asking=$!
is_held() {
	grep -q '^State:[[:space:]]*T' "/proc/$keeper/status"
}
wait_until 20 is_held
kill -9 "$(of_status p qemu_pid)"
kill -CONT "$keeper"
! wait $asking || fail "it was told as done"
rm -f "$ROOST_RUN/fail"
wait_until 20 has_ended
nothing_left_over
# as it would be if the host had lost its power then
touch "$folder/disk-vda.$(record | jq .next).qcow2" "$folder/memory.$(record | jq .next).save"
roost start p
wait_until 30 is_up p
roost snapshot-create-as p next
roost snapshot-delete p next
nothing_left_over
roost destroy p
all_clean
