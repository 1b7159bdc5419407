#!/bin/sh
# A chain of the user's own files is committed into one of them while its guest runs: the guest goes on from that file,
# which has what the chain had, now and at its next start. What is cancelled, or cut off by its keeper's death, has
# changed nothing; what others stand on is not touched.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
with_failpoints
need pico.raw
command -v qemu-img >/dev/null || lacking qemu-img

nodes() {
	roost qmp p query-named-block-nodes | jq -r '.[]."node-name"' | sort | xargs
}
held() {
	roost qmp p query-fdsets | jq -r '.[].fds[].opaque | select(startswith("vd"))' | sort | xargs
}
jobs() {
	roost qmp p query-jobs | jq length
}
disk() {
	jq -c '.disks[] | select(.target == "'"$1"'") | [.path, (.lineage // [] | .[].path), (.. | .commit? // empty)]' \
		"$ROOST_STATE/guests/p/guest.json"
}

# vda: the guest writes to it at each boot; vdb: 32 MiB of noise in the middle
T=$(realpath "$TMPDIR")
qemu-img convert -f raw -O qcow2 "$GUESTS/pico.raw" "$T/boot.qcow2"
qemu-img create -q -f qcow2 -F qcow2 -b boot.qcow2 "$T/boot-top.qcow2"
qemu-img create -q -f raw "$T/base.raw" 48M
dd if=/dev/urandom of="$T/noise.raw" bs=1M count=32 status=none
qemu-img convert -f raw -O qcow2 "$T/noise.raw" "$T/middle.qcow2"
qemu-img resize -q "$T/middle.qcow2" 48M
qemu-img rebase -u -F raw -b base.raw "$T/middle.qcow2"
qemu-img create -q -f qcow2 -F qcow2 -b middle.qcow2 "$T/top.qcow2"
qemu-io -f qcow2 -c 'write -q -P 0x77 2M 64k' -c 'write -q -P 0x78 40M 64k' "$T/top.qcow2"
qemu-img convert -f qcow2 -O raw "$T/top.qcow2" "$T/expected.raw"
cat >"$T/p.yaml" <<END
name: p
memory: 32M
interfaces: []
disks:
  - {path: $T/boot-top.qcow2, format: qcow2}
  - {path: $T/top.qcow2, format: qcow2}
END
roost define "$T/p.yaml"
roost start p 2>/dev/null
wait_until 30 is_up p
before=$(nodes)

say "refused"
refused() {
	why=$1
	shift
	status=0
	out=$("$@" 2>&1) || status=$?
	[ $status -ne 0 ] || fail "$*: it did it"
	check_match "$*" "$why" "$out"
}
qemu-img create -q -f qcow2 -F qcow2 -b middle.qcow2 "$T/other.qcow2"
refused "other.qcow2' stands on it" roost blockcommit p vdb
rm "$T/other.qcow2"
qemu-img create -q -f qcow2 -F qcow2 -b "$T/boot.qcow2" "$T/q.qcow2"
roost define - <<END
{name: q, memory: 32M, interfaces: [], disks: [{path: $T/q.qcow2, format: qcow2}]}
END
rm "$T/q.qcow2"
refused "guest 'q' stands on it" roost blockcommit p vda
roost undefine q >/dev/null
refused "does not stand on" roost blockcommit p vdb --base "$T/boot.qcow2"
refused "not both" roost blockcommit p vdb --base "$T/base.raw" --shallow
roost snapshot-create-as p s >/dev/null
refused "no chain of your own files" roost blockcommit p vdb --base "$T/base.raw"
refused "has no layer that could be merged" roost blockcommit p vdb
roost snapshot-delete p s >/dev/null
check_eq "the graph" "$before" "$(nodes)"
check_eq "no mark is left" "[\"$T/top.qcow2\",\"$T/middle.qcow2\",\"$T/base.raw\"]" "$(disk vdb)"

say "cancelled, and cut off"
slowly() {
	exec roost blockcommit p vdb --base "$T/base.raw" --bandwidth 1M
}
commits() {
	roost qmp p query-jobs | jq -e 'any(.[]; .id == "commit-vdb" and .status == "running" and ."current-progress" > 0)'
}
nothing_is_at_work() {
	[ "$(roost qmp p roost-status | jq -r .busy)" = "" ] && roost list >/dev/null && [ "$(jobs)" -eq 0 ]
}
cut() {
	(slowly) >"$T/said" 2>&1 &
	commit=$!
	wait_until 30 commits
	"$@"
	status=0
	wait $commit || status=$?
	[ $status -ne 0 ] || fail "$*: it says that it is done"
	wait_until 30 nothing_is_at_work
	check_eq "$*: the graph is as it was" "$before" "$(nodes)"
	check_eq "$*: the record is as it was" "[\"$T/top.qcow2\",\"$T/middle.qcow2\",\"$T/base.raw\"]" "$(disk vdb)"
	[ ! -e "$ROOST_STATE/guests/p/journal" ] || fail "$*: the journal is still there"
	ticks_go_on p
}
interrupt() {
	kill -INT $commit
}
end_keeper() {
	kill_and_wait KILL "$(of_status p keeper_pid)"
}
cut interrupt
check_match "it says so" "cancelled" "$(cat "$T/said")"
cut end_keeper
check_no_match "nothing of it may be written to" "rw" "$(held)"

say "what was cut off starts as it was"
roost destroy p
qemu-img compare -q -f raw -F qcow2 "$T/expected.raw" "$T/top.qcow2"
roost start p 2>/dev/null
wait_until 30 is_up p

say "done"
check_eq "told" "Disk 'vda' of guest 'p' is committed into '$T/boot.qcow2'" "$(roost blockcommit p vda 2>/dev/null)"
check_eq "the record" "[\"$T/boot.qcow2\"]" "$(disk vda)"
check_json "--json" '.base == "'"$T/base.raw"'" and .deleted and (.needless | length) == 2' \
	"$(roost blockcommit p vdb --base "$T/base.raw" --active --pivot --delete --json)"
check_eq "the record" "[\"$T/base.raw\"]" "$(disk vdb)"
check_eq "its nodes" "vda-1 vda-1-rw vdb-2 vdb-2-rw" "$(nodes)"
check_eq "its files" "vda-1-rw vdb-2-rw" "$(held)"
check_eq "no job is left" 0 "$(jobs)"
for name in top middle; do
	[ ! -e "$T/$name.qcow2" ] || fail "--delete left $name.qcow2"
done
refused "has no layer that could be merged" roost blockcommit p vda
ticks_go_on p
rm "$T/boot-top.qcow2"
booted_thrice() {
	[ "$(boots p)" -eq 3 ]
}
roost reset p
wait_until 30 booted_thrice
end_keeper
roost list >/dev/null
check_match "a new keeper goes by it, too" "boot.qcow2" "$(roost domblklist p)"
roost snapshot-create-as p s >/dev/null
roost snapshot-delete p s >/dev/null
roost destroy p
qemu-img check -q "$T/boot.qcow2"
qemu-img compare -q -f raw -F raw "$T/expected.raw" "$T/base.raw"
roost start p 2>/dev/null
wait_until 30 is_up p
check_eq "it goes on from there" boot=0004 "$(console_log p | grep -ao "boot=[0-9a-f]*" | tail -n 1)"
roost destroy p

say "from below the top: that stays, and stands on the lower one"
# chain COUNT: so many overlays over its disk; it boots from them
chain() {
	below=boot.qcow2
	for n in $(seq "$1"); do
		qemu-img create -q -f qcow2 -F qcow2 -b "$below" "$T/$n.qcow2"
		below=$n.qcow2
	done
	printf '{name: p, memory: 32M, interfaces: [], disks: [{path: %s, format: qcow2}]}' "$T/$below" | roost define --rebased -
	roost start p 2>/dev/null
	wait_until 30 is_up p
	number=$((number + 1))
}
# counts: what it writes to its disk from here on is there at its next boot
counts() {
	up=$(boots p)
	up_again() {
		[ "$(boots p)" -eq $((up + 1)) ]
	}
	roost reset p
	wait_until 30 up_again
	number=$((number + 1))
	check_eq "$step: its boots" "$(printf 'boot=%04x' $number)" "$(boot_number p)"
}
# top_alone: what --top has made of a chain of three over its disk, for QEMU, the record and the next start
top_alone() {
	check_eq "$step: the record" "[\"$T/3.qcow2\",\"$T/boot.qcow2\"]" "$(disk vda)"
	check_eq "$step: its header" "$T/boot.qcow2" "$(qemu-img info -U --output=json "$T/3.qcow2" | jq -r '."full-backing-filename"')"
	check_eq "$step: its nodes" "vda vda-3 vda-3-file vda-file" "$(nodes)"
	check_eq "$step: its files" "vda-3-file vda-file" "$(held)"
	check_eq "$step: what may be written to" 2 "$(roost qmp p query-named-block-nodes | jq '[.[] | select(.ro | not)] | length')"
	counts
	roost destroy p
	rm "$T/1.qcow2" "$T/2.qcow2"
	qemu-img check -q "$T/3.qcow2"
	qemu-img check -q "$T/boot.qcow2"
	roost start p 2>/dev/null
	wait_until 30 is_up p
	number=$((number + 1))
	check_eq "$step: its boots" "$(printf 'boot=%04x' $number)" "$(boot_number p)"
	roost destroy p
}
number=4 step=whole # of its boots
chain 3
check_eq "told" "'$T/2.qcow2' of guest 'p' is committed into '$T/boot.qcow2'" \
	"$(roost blockcommit p vda --top 'vda[1]' --base "$T/boot.qcow2" 2>/dev/null)"
top_alone

[ "$(id -u)" -eq 0 ] || exit 0 # what follows goes the same ways
say "killed at each step"
number=4
folder=$ROOST_STATE/guests/p
steps="commit-begin commit-after-fd commit-after-node commit-reopened commit-began commit-ready commit-stopped \
	commit-changed commit-recorded commit-before-end commit-record-written"
# two nodes and one open file for each file, of which one may be written to
only_its_files() {
	files=$(jq ".disks[0].lineage | length + 1" "$ROOST_STATE/guests/p/guest.json")
	check_eq "$step: what QEMU holds" "$((2 * files)) $files" "$(nodes | wc -w) $(held | wc -w)"
	check_eq "$step: what may be written to" 2 "$(roost qmp p query-named-block-nodes | jq '[.[] | select(.ro | not)] | length')"
}
chain "$(echo "$steps" | wc -w)"
for step in $steps; do
	top=$(roost domblklist p | awk '$1 == "vda" { print $2 }')
	keeper=$(of_status p keeper_pid)
	die_at "$step"
	roost blockcommit p vda >/dev/null 2>&1 || :
	has_died "$step"
	[ "$step" = commit-record-written ] || wait_until 20 is_taken_over "$keeper"
	case $step in # only where the file that is written to changes
	commit-stopped | commit-changed | commit-recorded) counts ;;
	esac
	if [ "$(roost domblklist p | awk '$1 == "vda" { print $2 }')" = "$top" ]; then
		only_its_files
		roost blockcommit p vda >/dev/null 2>&1
	fi
	rm "$top"
	only_its_files
done
ticks_go_on p
counts
check_eq "it stands on one file" "[\"$T/boot.qcow2\"]" "$(disk vda)"
roost destroy p
qemu-img check -q "$T/boot.qcow2"

say "killed at each step of the same from below the top"
below_number=$number
for step in commit-ready commit-named commit-record-written; do
	number=$below_number
	chain 3
	keeper=$(of_status p keeper_pid)
	die_at "$step"
	roost blockcommit p vda --top 'vda[1]' --base "$T/boot.qcow2" >/dev/null 2>&1 || :
	has_died "$step"
	[ "$step" = commit-record-written ] || wait_until 20 is_taken_over "$keeper"
	[ "$(roost qmp p query-named-block-nodes | jq length)" -eq 4 ] ||
		roost blockcommit p vda --top 'vda[1]' --base "$T/boot.qcow2" >/dev/null 2>&1 || fail "$step: it cannot be done again"
	if [ "$step" = commit-named ]; then # its next start puts the record right
		roost destroy p
		roost start p 2>/dev/null
		wait_until 30 is_up p
		check_eq "$step: its nodes" "vda vda-1 vda-1-file vda-file" "$(nodes)"
		check_eq "$step: the record" "[\"$T/3.qcow2\",\"$T/boot.qcow2\"]" "$(disk vda)"
		roost destroy p
	else
		top_alone
	fi
	rm -f "$T/1.qcow2" "$T/2.qcow2" "$T/3.qcow2"
done
number=$below_number

say "its keeper and QEMU die in the middle"
for step in commit-ready commit-changed commit-recorded; do
	chain 1
	qemu=$(of_status p qemu_pid)
	die_at "$step"
	roost blockcommit p vda >/dev/null 2>&1 &
	committing=$!
	has_struck() {
		[ ! -s "$ROOST_RUN/fail" ]
	}
	wait_until 20 has_struck
	kill -9 "$qemu"
	wait $committing || :
	has_died "$step"
	has_ended() {
		roost domstate p | grep -qE 'shut off|crashed'
	}
	wait_until 20 has_ended
	qemu-img check -q "$T/boot.qcow2"
	roost start p 2>/dev/null
	wait_until 30 is_up p
	number=$((number + 1))
	check_eq "$step: its boots" "$(printf 'boot=%04x' $number)" "$(boot_number p)"
	roost blockcommit p vda >/dev/null 2>&1 || check_eq "it was done" "[\"$T/boot.qcow2\"]" "$(disk vda)"
	roost destroy p
done
