#!/bin/sh
# A backup of a running guest holds all its disks as they were at one instant, and the guest goes on; what fails or is
# cancelled leaves nothing; what is there is never overwritten; the guest that is defined from it has what was written
# before that instant, and nothing of what was written after.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
need pico.raw filler.raw
command -v qemu-img >/dev/null || lacking qemu-img

# counter FILE FORMAT: pico's boot counter, in the second sector of its disk
counter() {
	qemu-img dd -f "$2" -O raw bs=512 count=2 if="$1" of="$TMPDIR/sectors"
	tail -c 512 "$TMPDIR/sectors" | od -An -tu2 -N2 | tr -d ' '
}
nothing_of_it() {
	check_eq "$1: nothing is left" "" "$(find "$TMPDIR" -name 'b-*' -print)"
	check_eq "$1: no node is left" 0 "$(roost qmp p query-named-block-nodes | jq '[.[] | select(."node-name" | startswith("backup-"))] | length')"
	check_eq "$1: no file is held" 0 "$(roost qmp p query-fdsets | jq '[.[].fds[].opaque | select(startswith("backup-"))] | length')"
	check_eq "$1: no job is left" 0 "$(roost qmp p query-jobs | jq length)"
	[ ! -e "$ROOST_STATE/guests/p/journal" ] || fail "$1: the journal is still there"
}

say "of a running guest"
pico p "description: first"
qemu-img create -q -f qcow2 "$TMPDIR/two.qcow2" 8M
qemu-io -f qcow2 -c 'write -q -P 0x5a 1M 64k' "$TMPDIR/two.qcow2"
roost attach-disk p "$TMPDIR/two.qcow2" --format qcow2 --config >/dev/null
roost start p 2>/dev/null
wait_until 30 is_up p
out=$(roost backup p "$TMPDIR/b1")
check_match "what it says" "^Guest 'p' backed up to $TMPDIR/b1$" "$out"
check_match "pico has no agent" "^Not quiesced: .*agent" "$out"
ticks_go_on p
check_eq "its mode" 700 "$(stat -c %a "$TMPDIR/b1")"
check_eq "its files" "backup.json vda.qcow2 vdb.qcow2" "$(cd "$TMPDIR/b1" && echo ./* | sed "s|\./||g")"
check_json "its facts" '."roost-backup" == 1 and .name == "p" and (.quiesced | not) and .definition.description == "first" and
	(.disks | map(.target) == ["vda", "vdb"]) and all(.disks[]; .bitmap == null) and .taken > 1700000000' "$(cat "$TMPDIR/b1/backup.json")"
for disk in vda vdb; do
	qemu-img check -q "$TMPDIR/b1/$disk.qcow2"
done
check_json "they stand alone" 'has("backing-filename") | not' "$(qemu-img info --output=json "$TMPDIR/b1/vdb.qcow2")"
check_eq "the counter is in it" 1 "$(counter "$TMPDIR/b1/vda.qcow2" qcow2)"
qemu-img compare -q -U -f qcow2 -F qcow2 "$TMPDIR/b1/vdb.qcow2" "$TMPDIR/two.qcow2"
nothing_of_it "after a backup"

say "refused"
check_status 5 roost backup p "$TMPDIR/b1"
check_match "it is there" "exists already" "$out"
check_status 5 roost backup p "$TMPDIR/two.qcow2"
check_status 3 roost backup p "$TMPDIR/nowhere/b-1"
check_status 3 roost backup nobody-there "$TMPDIR/b-1"
check_status 2 roost backup p
check_status 2 roost backup p "$TMPDIR/b-1" --quiesce --no-quiesce
check_status 5 roost backup p "$TMPDIR/b-1" --quiesce
check_match "demanded in vain" "quiesced.*agent" "$out"
mkdir "$TMPDIR/b2.part"
check_status 5 roost backup p "$TMPDIR/b2"
check_match "another is being written" "remove it" "$out"
rmdir "$TMPDIR/b2.part"
nothing_of_it "refused"
check_json "--json" '.folder and .taken and (.disks | length) == 2' "$(roost backup p --json "$TMPDIR/b2" --compress)"
qemu-img compare -q -U -f qcow2 -F qcow2 "$TMPDIR/b2/vdb.qcow2" "$TMPDIR/two.qcow2"

say "restored: what was written before, and nothing after"
# the instant lies between two writes of the guest: its second boot is not in b2, which was made in the first
booted_twice() {
	[ "$(boots p)" -ge 2 ]
}
roost reset p
wait_until 30 booted_twice
wait_until 30 is_up p
roost backup p "$TMPDIR/b3" >/dev/null
check_eq "the second boot is in b3" 2 "$(counter "$TMPDIR/b3/vda.qcow2" qcow2)"
check_eq "and not in b2" 1 "$(counter "$TMPDIR/b2/vda.qcow2" qcow2)"
check_status 5 roost restore "$TMPDIR/b2"
check_match "the guest is there" "'p' exists already" "$out"
check_match "what to do" "--name" "$out"
check_status 5 roost restore "$TMPDIR/b2" --name p
check_eq "restore" "Guest 'q' defined from the backup $TMPDIR/b2" "$(roost restore "$TMPDIR/b2" --name q)"
[ "$(roost domuuid p)" != "$(roost domuuid q)" ] || fail "two guests of one UUID"
check_match "its description" first "$(roost dumpyaml q)"
check_no_match "its disks are its own" "path:" "$(roost dumpyaml q)"
qemu-img compare -q -U -f qcow2 -F qcow2 "$ROOST_STATE/guests/q/disk1.qcow2" "$TMPDIR/two.qcow2"
roost start q 2>/dev/null
wait_until 30 is_up q
check_match "it goes on from there" "PICO-UP boot=0002" "$(console_log q)"
roost destroy q
roost undefine q --remove-all-storage
uuid=$(roost domuuid p)
roost destroy p
roost undefine p
roost restore "$TMPDIR/b3"
check_eq "it is the same guest" "$uuid" "$(roost domuuid p)"
roost start p 2>/dev/null
wait_until 30 is_up p
check_match "and goes on from there" "PICO-UP boot=0003" "$(console_log p)"
check_json "--json" '.name == "q"' "$(roost restore --json "$TMPDIR/b2" --name q)"

say "restored: refused"
# spoilt NAME FILTER: b2 with other facts
spoilt() {
	cp -r "$TMPDIR/b2" "$TMPDIR/$1"
	jq "$2" "$TMPDIR/b2/backup.json" >"$TMPDIR/$1/backup.json"
	check_status "$3" roost restore "$TMPDIR/$1" --name r
	said=$out
	check_status 3 roost domuuid r
	rm -r "${TMPDIR:?}/$1"
}
spoilt bad '."roost-backup" = 2' 5
spoilt bad '.disks = []' 5
spoilt bad '.disks[0].file = "../b3/vda.qcow2"' 5
spoilt bad '.disks[0].bitmap = "b"' 5
check_match "an increment" increment "$said"
spoilt bad '.disks[0].size = 4096' 5
spoilt bad '.disks[0].file = "vdz.qcow2"' 3
spoilt bad '.disks[0].target = "vdz"' 5
spoilt bad 'del(.definition)' 5
check_status 2 roost restore "$TMPDIR/b2" --running
check_status 2 roost restore "$TMPDIR/b2" --name ..
cp -r "$TMPDIR/b2" "$TMPDIR/evil"
echo secret >"$TMPDIR/secret"
qemu-img create -q -f qcow2 -F raw -b "$TMPDIR/secret" "$TMPDIR/evil/vda.qcow2" 1M
check_status 5 roost restore "$TMPDIR/evil" --name r
check_match "a disk that stands on another file" "backing file" "$out"
check_status 3 roost domuuid r
check_eq "no half of a guest" "" "$(find "$ROOST_STATE/guests" -name '.new*')"

say "cancelled, and cut off"
# a disk that takes minutes at this rate
dd if=/dev/urandom of="$TMPDIR/large.raw" bs=1M count=32 status=none
roost attach-disk p "$TMPDIR/large.raw" --format raw --config >/dev/null
roost destroy p
roost start p 2>/dev/null
wait_until 30 is_up p
slowly() {
	exec roost backup p "$TMPDIR/b-4" --bandwidth 256K
}
copies() {
	roost qmp p query-jobs | jq -e 'any(.[]; .id == "backup-vdc" and .status == "running" and ."current-progress" > 0)'
}
# cut WAY COMMAND...: what becomes of the backup when COMMAND has run
cut() {
	(slowly) >"$TMPDIR/said" 2>&1 &
	backup=$!
	wait_until 30 copies
	check_match "it is told as busy" "^roost-backup: copying" "$(roost qmp p roost-status | jq -r .busy)"
	check_status 4 roost backup p "$TMPDIR/b-5"
	"$@"
	status=0
	wait $backup || status=$?
	[ $status -ne 0 ] || fail "$*: it says that it is done"
	nothing_is_at_work() {
		[ -z "$(of_status p busy)" ] && roost list >/dev/null && [ "$(roost qmp p query-jobs | jq length)" -eq 0 ]
	}
	wait_until 30 nothing_is_at_work
	nothing_of_it "$*"
	ticks_go_on p
}
interrupt() {
	kill -INT $backup
}
cut interrupt
check_match "it says so" "cancelled" "$(cat "$TMPDIR/said")"
cut roost cancel p
check_match "it says so, too" "cancelled" "$(cat "$TMPDIR/said")"
end_keeper() {
	kill_and_wait KILL "$(of_status p keeper_pid)"
}
cut end_keeper

say "its target is full"
if [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then
	check_status 6 unshare --mount sh -c "mkdir '$TMPDIR/small' && mount -t tmpfs -o size=4M none '$TMPDIR/small' && exec roost backup p '$TMPDIR/small/b-6'"
	check_match "why" "No space left" "$out"
	rmdir "$TMPDIR/small"
	nothing_of_it "a full disk"
	ticks_go_on p
fi

say "of a guest that does not run"
roost destroy p
check_status 5 roost backup p "$TMPDIR/b-7" --quiesce
check_status 5 roost backup p "$TMPDIR/b1"
roost backup p "$TMPDIR/b8"
check_json "its facts" '(.running | not) and (.disks | map(.target) == ["vda", "vdb", "vdc"])' "$(cat "$TMPDIR/b8/backup.json")"
qemu-img compare -q -f raw -F qcow2 "$TMPDIR/large.raw" "$TMPDIR/b8/vdc.qcow2"
qemu-img compare -q -f qcow2 -F qcow2 "$ROOST_STATE/guests/p/disk0.qcow2" "$TMPDIR/b8/vda.qcow2"
check_eq "nothing is left" "" "$(find "$TMPDIR" -name '*.part')"
nothing_half_made() {
	[ -z "$(find "$ROOST_STATE/guests" -name '.new*')" ]
}
say "a restore that is cancelled, and one whose client is killed"
if [ -x "$TOP/build/fail/bin/roost" ]; then
	(
		PATH=$TOP/build/fail/bin:$PATH
		# shellcheck disable=SC2046 # several pids
		kill_and_wait TERM $(roostd_pids)
		for signal in INT TERM KILL; do
			hold_at restore-copying
			# a shell's background command ignores ^C
			python3 -c 'import os, signal, sys; signal.signal(2, signal.SIG_DFL); os.execvp("roost", ["roost"] + sys.argv[1:])' \
				restore "$TMPDIR/b8" --name r >"$TMPDIR/said" 2>&1 &
			restoring=$!
			wait_until 20 held_at
			kill -$signal $restoring
			[ $signal != KILL ] || wait $restoring || :
			kill -CONT "$held"
			held=
			status=0
			wait $restoring || status=$?
			[ $signal = KILL ] || check_eq "$signal: its end" 9 $status
			[ $signal = KILL ] || check_match "$signal: it says so" "^roost: .*cancelled$" "$(cat "$TMPDIR/said")"
			wait_until 10 nothing_half_made
			check_status 3 roost domstate r
		done
		# shellcheck disable=SC2046 # several pids
		kill_and_wait TERM $(roostd_pids)
	)
else
	say "(not tried: there is no build/fail)"
fi
say "and of one with snapshots: what it writes to"
roost snapshot-create-as p kept
roost backup p "$TMPDIR/b9"
for disk in vda vdb vdc; do
	qemu-img compare -q -F qcow2 -f qcow2 "$TMPDIR/b8/$disk.qcow2" "$TMPDIR/b9/$disk.qcow2"
done
roost snapshot-delete p kept
roost undefine p
roost restore "$TMPDIR/b8"
roost start p 2>/dev/null
wait_until 30 is_up p
check_match "it goes on from there" "PICO-UP boot=0005" "$(console_log p)"
