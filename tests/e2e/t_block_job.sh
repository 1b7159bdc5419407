#!/bin/sh
# A disk of a running guest is made to stand alone: it has what it had, nothing of what was below is needed any more, and
# the record says so. What is cancelled, or cut off by its keeper's death, has changed nothing for the guest.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
need pico.raw
command -v qemu-img >/dev/null || lacking qemu-img

backing() {
	qemu-img info -U --output=json "$1" | jq -r '."backing-filename" // "none"'
}
nodes() {
	roost qmp p query-named-block-nodes | jq -r '.[]."node-name"' | sort | xargs
}
held() {
	roost qmp p query-fdsets | jq -r '.[].fds[].opaque | select(startswith("vd"))' | sort | xargs
}
jobs() {
	roost qmp p query-jobs | jq length
}

# vda: an overlay of an image; vdb: the user's own, on two files, 32 MiB of noise below
cp "$GUESTS/pico.raw" "$TMPDIR/image.raw"
dd if=/dev/urandom of="$TMPDIR/noise.raw" bs=1M count=32 status=none
qemu-img create -q -f qcow2 -F raw -b noise.raw "$TMPDIR/middle.qcow2"
qemu-io -f qcow2 -c 'write -q -P 0x5a 1M 1M' "$TMPDIR/middle.qcow2"
qemu-img create -q -f qcow2 -F qcow2 -b middle.qcow2 "$TMPDIR/top.qcow2"
qemu-io -f qcow2 -c 'write -q -P 0x77 2M 64k' "$TMPDIR/top.qcow2"
qemu-img convert -f qcow2 -O raw "$TMPDIR/top.qcow2" "$TMPDIR/expected.raw"
cat >"$TMPDIR/p.yaml" <<END
name: p
memory: 32M
interfaces: []
disks:
  - image: $TMPDIR/image.raw
    size: 4M
  - path: $TMPDIR/top.qcow2
    format: qcow2
END
roost define "$TMPDIR/p.yaml"
own=$ROOST_STATE/guests/p/disk0.qcow2

say "refused"
check_status 2 roost blockpull p vdb --bandwidth 1M
check_match "it does not run" "--bandwidth is for guests that run" "$out"
roost start p 2>/dev/null
wait_until 30 is_up p
check_status 3 roost blockpull p vdz
check_status 2 roost blockpull p
check_status 2 roost blockpull p vdb --bandwidth fast
before=$(nodes)
check_eq "the graph" "vda vda-1 vda-1-file vda-file vdb vdb-1 vdb-1-file vdb-2 vdb-2-file vdb-file" "$before"

say "cancelled, and cut off"
slowly() {
	exec roost blockpull p vdb --bandwidth 256K
}
pulls() {
	roost qmp p query-jobs | jq -e 'any(.[]; .id == "pull-vdb" and .status == "running" and ."current-progress" > 0)'
}
nothing_is_at_work() {
	[ "$(roost qmp p roost-status | jq -r .busy)" = "" ] && roost list >/dev/null && [ "$(jobs)" -eq 0 ]
}
# cut COMMAND...: what becomes of it when COMMAND has run
cut() {
	(slowly) >"$TMPDIR/said" 2>&1 &
	pull=$!
	wait_until 30 pulls
	"$@"
	status=0
	wait $pull || status=$?
	[ $status -ne 0 ] || fail "$*: it says that it is done"
	wait_until 30 nothing_is_at_work
	check_eq "$*: the graph is as it was" "$before" "$(nodes)"
	check_eq "$*: it stands on what it stood on" middle.qcow2 "$(backing "$TMPDIR/top.qcow2")"
	[ ! -e "$ROOST_STATE/guests/p/journal" ] || fail "$*: the journal is still there"
	ticks_go_on p
}
interrupt() {
	kill -INT $pull
}
end_keeper() {
	kill_and_wait KILL "$(of_status p keeper_pid)"
}
cut interrupt
check_match "it says so" "cancelled" "$(cat "$TMPDIR/said")"
cut roost cancel p
cut end_keeper

say "done"
check_eq "blockpull" "Disk 'vdb' of guest 'p' stands alone now" "$(roost blockpull p vdb 2>/dev/null)"
check_eq "its nodes" "vda vda-1 vda-1-file vda-file vdb vdb-file" "$(nodes)"
check_eq "its files" "vda-1-file vda-file vdb-file" "$(held)"
check_eq "its header" none "$(backing "$TMPDIR/top.qcow2")"
check_json "--json" '.target == "vda"' "$(roost blockpull p vda --json)"
check_eq "its nodes" "vda vda-file vdb vdb-file" "$(nodes)"
check_eq "no job is left" 0 "$(jobs)"
ticks_go_on p
check_no_match "the record names no image" "image:" "$(roost dumpyaml p)"
check_match "again" "stands alone" "$(roost blockpull p vda)"
roost destroy p
check_eq "its header" none "$(backing "$own")"
qemu-img check -q "$own"
qemu-img check -q "$TMPDIR/top.qcow2"
qemu-img compare -q -f raw -F qcow2 "$TMPDIR/expected.raw" "$TMPDIR/top.qcow2"

say "nothing below is needed any more"
rm "$TMPDIR/image.raw" "$TMPDIR/noise.raw" "$TMPDIR/middle.qcow2"
roost start p 2>/dev/null
wait_until 30 is_up p
check_match "its disk has what it had" "PICO-UP boot=0002" "$(console_log p)"
