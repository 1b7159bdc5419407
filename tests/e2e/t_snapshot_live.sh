#!/bin/sh
# limit: 240
# Snapshots of the disks of a guest that runs: it goes on, its disks are kept as they were at that instant, and whoever is
# killed in between leaves the old or the new.
. "$TOP/tests/e2e/lib.sh"
with_failpoints
two_disks
roost start p
wait_until 30 is_up p

# what QEMU writes to, and what the record says that it does
top_of_qemu() {
	qmp "$(run_dir p)/guest.sock" query-block |
		jq -r '[.[] | select(.qdev // "" | test("disk-vda")) | .inserted."node-name"] | first'
}
count() {
	record 2>/dev/null | jq '.snapshots | length' || echo 0
}

say "it goes on"
before=$(sha256sum <"$TMPDIR/p.raw")
roost snapshot-create-as p s1 --disk-only
ticks_go_on p
check_json "told" '.[0].name == "s1" and .[0].state == "disk-snapshot"' "$(roost snapshot-list p --json)"
check_eq "on top" vda-s1.top "$(top_of_qemu)"
nothing_left_over
saves p
ticks_go_on p
check_eq "what is kept is not written to" "$before" "$(sha256sum <"$TMPDIR/p.raw")"
roost blockresize p vdb 8M
check_status 5 roost snapshot-create-as p s1 --disk-only
check_status 2 roost snapshot-create-as p 'a b' --disk-only
check_status 5 roost snapshot-revert p s1
roost snapshot-create-as p s2 --disk-only
check_status 5 roost snapshot-create-as p s3 --disk-only --quiesce
check_match "told" "was not quiesced" "$out"
nothing_left_over

say "what is told of a disk is its top"
top=$folder/$(record | jq -r .tops.vdb)
of_disk() { # of_disk COMMAND...: the row of vdb, and its size
	roost domblklist p | awk '$1 == "vdb" { print $2 }'
	roost domblkinfo p vdb --json | jq .capacity
}
check_eq "while it runs" "$top 8388608" "$(of_disk | paste -s -d ' ' -)"
check_match "its path is still one of its names" "Capacity:" "$(roost domblkinfo p "$TMPDIR/p.raw")"
cat >"$TMPDIR/q.yaml" <<-END
	name: q
	memory: 32M
	disks:
	  - path: $top
	    format: qcow2
	interfaces: []
END
check_status 4 roost run "$TMPDIR/q.yaml"
check_match "who has it" "in use by guest 'p'" "$out"
! roost domstate q 2>/dev/null || roost undefine q
roost destroy p
check_eq "when it does not" "$top 8388608" "$(of_disk | paste -s -d ' ' -)"
sed 's/size: 4M/size: 8M/' "$TMPDIR/p.yaml" >"$TMPDIR/larger.yaml"
roost define "$TMPDIR/larger.yaml"
sed 's/size: 4M/size: 16M/' "$TMPDIR/p.yaml" >"$TMPDIR/larger.yaml"
check_status 5 roost define "$TMPDIR/larger.yaml"
check_match "its size" "is 8 MiB large" "$out"
roost start p
wait_until 30 is_up p

say "killed at each step"
for step in begin live-planned nodes before-transaction taken settled; do
	keeper=$(of_status p keeper_pid)
	was=$(count)
	echo "snapshot-$step" >"$ROOST_RUN/fail"
	chmod 666 "$ROOST_RUN/fail"
	roost snapshot-create-as p "$step" --disk-only >/dev/null 2>&1 || :
	[ ! -s "$ROOST_RUN/fail" ] || fail "nobody came by snapshot-$step"
	rm -f "$ROOST_RUN/fail"
	wait_until 20 is_taken_over "$keeper"
	case $step in
	taken | settled) check_eq "$step: the new" $((was + 1)) "$(count)" ;;
	*) check_eq "$step: the old" "$was" "$(count)" ;;
	esac
	nothing_left_over
	roost snapshot-create-as p "after-$step" --disk-only
	ticks_go_on p
done

say "the keeper dies, and QEMU with it: what was planned holds"
echo snapshot-before-transaction >"$ROOST_RUN/fail"
chmod 666 "$ROOST_RUN/fail"
qemu=$(of_status p qemu_pid)
was=$(count)
roost snapshot-create-as p both --disk-only >/dev/null 2>&1 &
wait_until 20 test ! -s "$ROOST_RUN/fail"
kill -9 "$qemu"
wait || :
rm -f "$ROOST_RUN/fail"
has_ended() {
	is_reason p 'signal 9|unsupervised|shut off|crashed'
}
wait_until 20 has_ended
roost start p
wait_until 30 is_up p
nothing_left_over

say "started on its layers, and back"
roost destroy p
all_clean
roost start p
wait_until 30 is_up p
roost snapshot-create-as p last --disk-only
roost destroy p
roost snapshot-revert p s1
roost snapshot-delete p s1 --children-only
roost snapshot-delete p s1
check_eq "none is left" "0 0" "$(record | jq -r '"\(.layers | length) \(.snapshots | length)"')"
nothing_left_over
check_eq "as it was kept" "$before" "$(sha256sum <"$TMPDIR/p.raw")"
roost start p
wait_until 30 is_up p

say "a save file knows what its disks stood on"
roost snapshot-create-as p again --disk-only
roost save p "$TMPDIR/p.save"
roost snapshot-create-as p since
check_status 5 roost restore "$TMPDIR/p.save"
check_match "told" "stand on other snapshots" "$out"
roost snapshot-delete p since
roost restore "$TMPDIR/p.save" # nothing had been written since
wait_until 30 is_up p
