#!/bin/sh
# limit: 240
# Snapshots of a guest that does not run: what each has kept comes back bit by bit, deleting one changes none of the
# others nor the guest, and whoever is killed in between leaves the old or the new.
. "$TOP/tests/e2e/lib.sh"
with_failpoints
two_disks

# a write to disk vdb as the guest would do it
scribble() { # PATTERN OFFSET
	qemu-io -f qcow2 -c "write -P $1 $2 64k" "$folder/$(record | jq -r '.tops.vdb // .bottoms.vdb')" >/dev/null
}
# of no guest that runs
settled() {
	nothing_left_over
	all_clean
}
run_once() {
	roost start p
	wait_until 30 is_up p
	roost destroy p
}

say "three snapshots, one on another"
run_once
boot_one=$(boot_number p)
check_match "made" "^Snapshot 's1' of guest 'p' created" "$(roost snapshot-create-as p s1 'the first one')"
s1=$(see vda)$(see vdb)
scribble 1 0
run_once
[ "$boot_one" != "$(boot_number p)" ] || fail "it did not count its boot"
roost snapshot-create-as p --name s2 --description 'the second one' --atomic
s2=$(see vda)$(see vdb)
scribble 2 64k
roost snapshot-create-as p s3
scribble 3 128k
now=$(see vda)$(see vdb)
settled
check_eq "told" "s1 s2 s3" "$(roost snapshot-list p --name | paste -s -d ' ' -)"
check_match "as a table" '^ s2 +20[0-9-]+ [0-9:]+ [+-][0-9]+ +shutoff' "$(roost snapshot-list p)"
check_eq "as a tree" "s1
  |
  +- s2
      |
      +- s3
        " "$(roost snapshot-list p --tree)"
check_match "with parents" '^ s3 .* s2$' "$(roost snapshot-list p --parent)"
check_eq "the first one" s1 "$(roost snapshot-list p --roots --name)"
check_eq "the last one" s3 "$(roost snapshot-list p --leaves --name)"
check_json "as JSON" 'map(.name) == ["s1", "s2", "s3"] and .[2].current and .[1].parent == "s1"' \
	"$(roost snapshot-list p --json)"
check_match "of one" "Description: +the first one" "$(roost snapshot-info p s1)"
check_match "of one" "Descendants: +2" "$(roost snapshot-info p s1)"
check_eq "which it goes on from" s3 "$(roost snapshot-current p)"

say "back, bit by bit"
roost snapshot-revert p s1
check_eq "as s1 kept it" "$s1" "$(see vda)$(see vdb)"
settled
run_once
scribble 9 0
roost snapshot-create-as p other
roost snapshot-revert p s2
check_eq "as s2 kept it" "$s2" "$(see vda)$(see vdb)"
roost snapshot-revert p --current
check_eq "as s2 kept it" "$s2" "$(see vda)$(see vdb)"
roost snapshot-revert p s1
check_eq "the other branch has changed nothing" "$s1" "$(see vda)$(see vdb)"
settled
check_match "branches" "  \+- other" "$(roost snapshot-list p --tree)"

say "deleted: the others, and the guest, stay as they are"
roost snapshot-revert p s3
scribble 3 128k
check_eq "as it was" "$now" "$(see vda)$(see vdb)"
roost snapshot-delete p s2
check_eq "the guest" "$now" "$(see vda)$(see vdb)"
settled
check_json "what stood on it" '.parent == "s1"' "$(roost snapshot-info p s3 --json)"
roost snapshot-delete p s1 # two stand on it: they share what it stands on
check_eq "the guest" "$now" "$(see vda)$(see vdb)"
settled
roost snapshot-delete p other
check_eq "the guest" "$now" "$(see vda)$(see vdb)"
roost snapshot-delete p --current
check_eq "the guest" "$now" "$(see vda)$(see vdb)"
check_eq "none is left" "0 0" "$(record | jq -r '"\(.layers | length) \(.snapshots | length)"')"
settled
run_once

say "bad input changes nothing"
roost snapshot-create-as p a
before=$(record)
for bad in '' a/b ../x -- 'a b' .x "$(head -c 64 /dev/zero | tr '\0' x)"; do
	check_status 2 roost snapshot-create-as -- p "$bad"
done
check_status 5 roost snapshot-create-as p a
check_match "taken" "has a snapshot 'a' already" "$out"
check_status 3 roost snapshot-revert p nosuch
check_status 3 roost snapshot-delete p nosuch
check_status 3 roost snapshot-info nosuch a
check_status 2 roost snapshot-revert p
check_status 2 roost snapshot-revert p a --current
check_status 2 roost snapshot-create-as p b --name c
check_status 2 roost snapshot-list p --tree --roots
check_eq "as it was" "$before" "$(record)"

say "as many as a chain has room for: then they are refused, and the guest still starts"
for i in $(seq 2 40); do
	roost snapshot-create-as p "n$i" >/dev/null 2>"$TMPDIR/refused" || break
done
check_match "why" "stands on 31 files: delete snapshots" "$(cat "$TMPDIR/refused")"
run_once
roost snapshot-delete p a --children-only
settled
check_eq "they are gone" a "$(roost snapshot-list p --name)"

say "killed at each step: the old or the new, and the next one tidies up"
roost snapshot-create-as p b
for step in before-plan planned before-merge merged forgotten; do
	for act in create-as revert delete; do
		scribble 7 0
		before=$(see vda)$(see vdb)
		echo "snapshot-$step" >"$ROOST_RUN/fail"
		case $act in
		create-as) roost snapshot-create-as p "$step" >/dev/null 2>&1 || : ;;
		revert) roost snapshot-revert p b >/dev/null 2>&1 || : ;;
		delete) roost snapshot-delete p b >/dev/null 2>&1 || : ;;
		esac
		case $act-$step in
		create-as-before-merge | create-as-merged | create-as-forgotten) rm -f "$ROOST_RUN/fail" ;; # it merges nothing
		esac
		[ ! -s "$ROOST_RUN/fail" ] || fail "nobody came by snapshot-$step in $act"
		rm -f "$ROOST_RUN/fail"
		! roost snapshot-info p "$step" >/dev/null 2>&1 || roost snapshot-delete p "$step" # what is on b is one branch
		roost snapshot-create-as p after
		[ $act = revert ] || check_eq "$act, $step: the guest" "$before" "$(see vda)$(see vdb)"
		roost snapshot-delete p after
		[ $act = revert ] || check_eq "$act, $step: the guest" "$before" "$(see vda)$(see vdb)"
		settled
		roost snapshot-info p b >/dev/null 2>&1 || roost snapshot-create-as p b
	done
done
run_once

say "a worker whose roostd is killed goes on: until it is done, nobody else changes the guest or starts it"
scribble 8 0
before=$(see vda)$(see vdb)
hold_at snapshot-merged
roost snapshot-delete p b >"$TMPDIR/held" 2>&1 &
deleting=$!
wait_until 10 held_at
for pid in $(roostd_pids); do
	[ "$pid" = "$held" ] || kill_and_wait KILL "$pid"
done
wait $deleting || :
check_status 4 roost start p
check_match "who it is" "guest 'p' is busy: process $held is at work on it" "$out"
check_status 4 roost snapshot-create-as p meanwhile
check_status 4 roost domrename p r
check_status 4 roost define "$TMPDIR/p.yaml"
check_status 4 roost backup p "$TMPDIR/backup"
check_eq "no backup is left" "" "$(find "$TMPDIR" -name "backup*")"
kill -CONT "$held"
wait_until 10 ended "$held"
check_eq "the guest" "$before" "$(see vda)$(see vdb)"
settled
run_once
[ "$before" != "$(see vda)$(see vdb)" ] || fail "what it wrote is gone"
roost snapshot-create-as p b

say "renamed, and undefined"
roost domrename p q
folder=$ROOST_STATE/guests/q
roost snapshot-create-as q renamed
roost snapshot-revert q b
roost start q
roost destroy q
check_status 5 roost undefine q
check_match "told" "has [0-9]+ snapshots" "$out"
check_status 0 roost undefine q --snapshots-metadata
check_status 3 roost domstate q
