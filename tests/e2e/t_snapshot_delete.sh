#!/bin/sh
# limit: 240
# A guest that runs gives up snapshots: it goes on, its disks and the other snapshots hold what they held, the chain is as
# long as the snapshots need and no longer; whoever is killed in between leaves nothing wrong behind.
. "$TOP/tests/e2e/lib.sh"
with_failpoints
two_disks

# the guest writes its next boot number on its disk
writes() {
	writes_before=$(boots p)
	type_to p r
	wait_until 20 has_booted "$writes_before"
}
has_booted() {
	[ "$(boots p)" -gt "$1" ]
}
layers() {
	record | jq '.layers | length'
}
# what the guest would find if it stopped now
now() {
	sync "$folder"/*.qcow2
	echo "$(see vda)$(see vdb)"
}

say "a chain: zero, base, one, two, three, and the guest on top"
roost start p
wait_until 30 is_up p
roost destroy p
roost snapshot-create-as p zero
qemu-io -f qcow2 -c 'write -P 7 0 2M' "$folder/$(record | jq -r .tops.vdb)" >/dev/null
roost snapshot-create-as p base
roost start p
wait_until 30 is_up p
for name in one two three; do
	roost snapshot-create-as p $name --disk-only
	writes
done
base=$(see vda base)$(see vdb base)
three=$(see vda three)$(see vdb three)
guest=$(now)
check_eq "layers" 10 "$(layers)"

say "one in between; it can be cancelled"
roost snapshot-delete p two
check_eq "layers" 8 "$(layers)"
check_eq "a layer" "$three" "$(see vda three)$(see vdb three)"
nothing_left_over
roost snapshot-delete p one
roost snapshot-delete p zero --bandwidth 64K >/dev/null 2>&1 &
slow=$!
merges() {
	roost qmp p query-jobs | jq -e 'any(.[]; .id == "snapdel-vdb" and .status == "running")'
}
wait_until 20 merges
check_status 4 roost suspend p
roost cancel p
! wait $slow || fail "it was not cancelled"
check_status 3 roost snapshot-info p zero
check_eq "the others" "$base$three" "$(see vda base)$(see vdb base)$(see vda three)$(see vdb three)"
check_eq "the guest" "$guest" "$(now)"
ticks_go_on p
keeper=$(of_status p keeper_pid)
kill_and_wait KILL "$keeper"
wait_until 20 is_taken_over "$keeper"

say "the last one, and with it what was left: the top goes down"
roost snapshot-delete p three
check_eq "layers" 2 "$(layers)"
check_eq "the guest" "$guest" "$(now)"
nothing_left_over
roost snapshot-create-as p again --disk-only
writes
guest=$(now)

say "another branch"
roost snapshot-revert p base --force
roost start p
wait_until 30 is_up p
roost snapshot-create-as p other --disk-only
writes
guest=$(now)
roost snapshot-delete p again # it stands beside us: nothing stands on it
check_eq "layers" 4 "$(layers)"
check_eq "the guest" "$guest" "$(now)"
nothing_left_over
roost snapshot-create-as p leaf --disk-only
roost destroy p
roost snapshot-create-as p leaf2
roost snapshot-revert p base --running
wait_until 30 is_up p
leaf=$(see vda leaf2)$(see vdb leaf2)
roost snapshot-delete p leaf # merged beside us
check_eq "merged beside us" "$leaf" "$(see vda leaf2)$(see vdb leaf2)"
roost snapshot-delete p other
check_eq "merged beside us" "$leaf" "$(see vda leaf2)$(see vdb leaf2)"
nothing_left_over
roost snapshot-delete p base --children-only
roost snapshot-delete p base
check_eq "none is left" "0 0" "$(record | jq -r '"\(.layers | length) \(.snapshots | length)"')"
nothing_left_over
ticks_go_on p
writes
guest=$(now)
roost destroy p
all_clean
check_eq "the guest's own files" "$guest" "$(now)"
check_eq "stand alone" null "$(qemu-img info --output=json "$folder/disk0.qcow2" | jq '."backing-filename"')"

say "killed at each step"
roost start p
wait_until 30 is_up p
held() {
	echo "$(roost qmp p query-named-block-nodes | jq length) nodes, $(roost qmp p query-fdsets | jq length) files"
}
held=$(held)
for step in begin written before-merge merging ready stopped changed change-recorded merged before-end; do
	roost snapshot-create-as p below --disk-only
	writes
	roost snapshot-create-as p above --disk-only
	writes
	above=$(see vda above)$(see vdb above)
	guest=$(now)
	for name in below above; do
		# only where the top goes down do its CPUs stand still
		case $name-$step in
		below-ready | below-stopped | below-change* | below-before-end | above-begin | above-written | above-before-merge) continue ;;
		esac
		keeper=$(of_status p keeper_pid)
		die_at "snapdel-$step"
		roost snapshot-delete p $name >/dev/null 2>&1 || :
		has_died "snapdel-$step ($name)"
		wait_until 20 is_taken_over "$keeper"
		case $step in
		begin) roost snapshot-info p $name >/dev/null ;;
		*) check_status 3 roost snapshot-info p $name ;;
		esac
		nothing_left_over
		check_eq "$step: the guest" "$guest" "$(now)"
		[ $name = above ] || check_eq "$step: the other one" "$above" "$(see vda above)$(see vdb above)"
	done
	ticks_go_on p
	roost snapshot-create-as p last --disk-only
	for name in last above below; do
		roost snapshot-delete p $name 2>/dev/null || :
	done
	check_eq "$step: none is left" 0 "$(layers)"
	check_eq "$step: what QEMU holds" "$held" "$(held)"
	check_eq "$step: the guest" "$guest" "$(now)"
done

say "its keeper and QEMU die in the middle"
for step in ready changed change-recorded; do
	roost snapshot-create-as p last --disk-only
	writes
	guest=$(now)
	qemu=$(of_status p qemu_pid)
	die_at "snapdel-$step"
	kill -STOP "$(supervisor)"
	roost snapshot-delete p last >/dev/null 2>&1 &
	deleting=$!
	has_struck() {
		[ ! -s "$ROOST_RUN/fail" ]
	}
	wait_until 20 has_struck
	kill -9 "$qemu"
	kill -CONT "$(supervisor)"
	wait $deleting || :
	has_died "$step"
	has_ended() {
		roost domstate p | grep -qE 'shut off|crashed' && [ ! -e "$folder/journal" ]
	}
	wait_until 20 has_ended
	check_eq "$step: the guest" "$guest" "$(now)"
	roost snapshot-create-as p x
	roost snapshot-delete p x
	all_clean
	check_eq "$step: the guest" "$guest" "$(now)"
	nothing_left_over
	roost start p
	wait_until 30 is_up p
done
