#!/bin/sh
# limit: 240
# A guest that runs goes back to a snapshot: only if that was asked for plainly, to just what was kept, and whoever is
# killed in between leaves it running as it was, or gone back.
. "$TOP/tests/e2e/lib.sh"
with_failpoints
two_disks

kept() {
	check_eq "$1: vda" "$vda" "$(see vda)"
	check_eq "$1: vdb" "$vdb" "$(see vdb)"
	nothing_left_over
	all_clean
}

say "only if it was asked for"
roost start p
wait_until 30 is_up p
check_eq "it counts its starts on its disk" boot=0001 "$(boot_number p)"
roost destroy p
vda=$(see vda)
vdb=$(see vdb)
roost snapshot-create-as p off
roost start p
wait_until 30 is_up p
check_eq "another start" boot=0002 "$(boot_number p)"
check_status 5 roost snapshot-revert p off
check_match "what is lost" "would be lost" "$out"
check_match "what to do" "--force" "$out"
check_status 3 roost snapshot-revert p nosuch --force
check_status 2 roost snapshot-revert p off --force --running --paused
ticks_go_on p
check_match "told" "Reverted to snapshot 'off' of guest 'p'" "$(roost snapshot-revert p off --force)"
check_eq "its state" "shut off (reverted to a snapshot)" "$(reason p)"
kept "back"

say "and goes on from there"
roost snapshot-revert p off --running
wait_until 30 is_up p
check_eq "the second start, anew" boot=0002 "$(boot_number p)"
roost snapshot-create-as p one --disk-only
roost blockresize p vdb 8M
roost snapshot-create-as p two --disk-only
roost snapshot-revert p off --force --paused
check_eq "paused" "paused" "$(state p)"
roost resume p
wait_until 30 is_up p
check_eq "the second start, once more" boot=0002 "$(boot_number p)"
roost snapshot-revert p one --force --running
wait_until 30 is_up p
check_eq "the third" boot=0003 "$(boot_number p)"
check_json "where it stands" '.[] | select(.name == "one") | .current' "$(roost snapshot-list p --json)"
roost snapshot-revert p off --force
kept "back again"
roost snapshot-delete p off --children-only

say "killed at each step"
for step in revert-begin revert-before-plan revert-planned destroy-before-quit destroy-after-quit \
	snapshot-before-merge snapshot-merged snapshot-forgotten; do
	roost start p
	wait_until 30 is_up p
	keeper=$(of_status p keeper_pid)
	die_at $step
	roost snapshot-revert p off --force >/dev/null 2>&1 || :
	has_died $step
	case $step in
	revert-begin | revert-before-plan)
		wait_until 20 is_taken_over "$keeper"
		nothing_left_over
		ticks_go_on p
		roost destroy p
		roost snapshot-revert p off
		;;
	*)
		wait_until 20 is_state p "shut off"
		roost snapshot-create-as p x # it merges what is left to merge
		roost snapshot-delete p x
		;;
	esac
	kept $step
done
