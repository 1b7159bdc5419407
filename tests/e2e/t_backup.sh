#!/bin/sh
# A backup of a running guest is one file, a tar archive, that holds all its disks as they were at one instant, and the
# guest goes on; what fails or is cancelled leaves nothing; what is there is never overwritten; the guest that is defined from it has what was written
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
# unpacked FILE: into a folder of its own, by tar, each disk sound; its name
unpacked() {
	rm -rf "$TMPDIR/unpacked"
	mkdir "$TMPDIR/unpacked"
	tar -C "$TMPDIR/unpacked" -xf "$1" 2>&1
	for image in "$TMPDIR"/unpacked/*.qcow2; do
		qemu-img check -q "$image"
	done
}
u=$TMPDIR/unpacked
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
check_eq "its mode" 600 "$(stat -c %a "$TMPDIR/b1")"
check_eq "its files" "vda.qcow2 vdb.qcow2 backup.json" "$(tar -tf "$TMPDIR/b1" 2>&1 | xargs)"
check_eq "tar has nothing to say" "" "$(unpacked "$TMPDIR/b1")"
check_eq "so does Python's" "['vda.qcow2', 'vdb.qcow2', 'backup.json']" "$(python3 -c 'import sys, tarfile; print(tarfile.open(sys.argv[1]).getnames())' "$TMPDIR/b1")"
check_json "its facts" '."roost-backup" == 1 and .name == "p" and (.quiesced | not) and .definition.description == "first" and
	(.disks | map(.target) == ["vda", "vdb"]) and all(.disks[]; .bitmap == null) and .taken > 1700000000' "$(cat "$u/backup.json")"
check_json "they stand alone" 'has("backing-filename") | not' "$(qemu-img info --output=json "$u/vdb.qcow2")"
check_eq "the counter is in it" 1 "$(counter "$u/vda.qcow2" qcow2)"
qemu-img compare -q -U -f qcow2 -F qcow2 "$u/vdb.qcow2" "$TMPDIR/two.qcow2"
# no more than the images have, and their headers
[ "$(stat -c %s "$TMPDIR/b1")" -lt 4000000 ] || fail "it is $(stat -c %s "$TMPDIR/b1") bytes large"
check_eq "an image ends with its last cluster" "$(stat -c %s "$u/vdb.qcow2")" \
	"$(qemu-img check --output=json "$u/vdb.qcow2" | jq '."image-end-offset"')"
nothing_of_it "after a backup"

say "refused"
check_status 5 roost backup p "$TMPDIR/b1"
check_match "it is there" "exists already" "$out"
check_status 5 roost backup p "$TMPDIR/two.qcow2"
check_status 5 roost backup p "$TMPDIR"
check_status 3 roost backup p "$TMPDIR/nowhere/b-1"
check_status 3 roost backup nobody-there "$TMPDIR/b-1"
check_status 2 roost backup p
check_status 2 roost backup p "$TMPDIR/b-1" --quiesce --no-quiesce
check_status 5 roost backup p "$TMPDIR/b-1" --quiesce
check_match "demanded in vain" "quiesced.*agent" "$out"
nothing_of_it "refused"
said=$(roost backup p --json "$TMPDIR/b2" --compress)
check_json "--json" ".size == $(stat -c %s "$TMPDIR/b2") and .taken and (.disks | length) == 2" "$said"
check_eq "its name" "$TMPDIR/b2" "$(echo "$said" | jq -r .file)"
unpacked "$TMPDIR/b2"
qemu-img compare -q -U -f qcow2 -F qcow2 "$u/vdb.qcow2" "$TMPDIR/two.qcow2"
check_eq "the first boot is in it" 1 "$(counter "$u/vda.qcow2" qcow2)"

say "restored: what was written before, and nothing after"
# the instant lies between two writes of the guest: its second boot is not in b2, which was made in the first
booted_twice() {
	[ "$(boots p)" -ge 2 ]
}
roost reset p
wait_until 30 booted_twice
wait_until 30 is_up p
roost backup p "$TMPDIR/b3" >/dev/null
unpacked "$TMPDIR/b3"
check_eq "the second boot is in b3" 2 "$(counter "$u/vda.qcow2" qcow2)"
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
# refused FILE STATUS: and nothing of it is there afterwards
refused() {
	check_status "$2" roost restore "$1" --name r
	said=$out
	check_status 3 roost domuuid r
	check_eq "no half of a guest" "" "$(find "$ROOST_STATE/guests" -name '.new*')"
}
packed() {
	rm -f "$TMPDIR/bad"
	tar -C "$u" -cf "$TMPDIR/bad" "$@"
}
# spoilt FILTER STATUS: b2 with other facts
spoilt() {
	jq "$1" "$TMPDIR/facts.json" >"$u/backup.json"
	packed .
	refused "$TMPDIR/bad" "$2"
}
unpacked "$TMPDIR/b2"
cp "$u/backup.json" "$TMPDIR/facts.json"
spoilt '."roost-backup" = 2' 5
spoilt '.disks = []' 5
spoilt '.disks[0].file = "../b3/vda.qcow2"' 5
spoilt '.disks[0].bitmap = "b"' 5
check_match "an increment" increment "$said"
spoilt '.disks[0].size = 4096' 5
spoilt '.disks[0].file = "vdz.qcow2"' 5
check_match "which one" "lacks 'vdz.qcow2'" "$said"
spoilt '.disks[0].target = "vdz"' 5
spoilt 'del(.definition)' 5
check_status 2 roost restore "$TMPDIR/b2" --running
check_status 2 roost restore "$TMPDIR/b2" --name ..
cp "$TMPDIR/facts.json" "$u/backup.json"
head -c -600 "$TMPDIR/b2" >"$TMPDIR/bad"
for size in 100 4096 200000 $(($(stat -c %s "$TMPDIR/b2") - 1024)); do
	head -c "$size" "$TMPDIR/b2" >"$TMPDIR/bad"
	refused "$TMPDIR/bad" "$([ "$size" -ge 512 ] && echo 5 || echo 2)"
	[ "$size" -lt 512 ] || check_match "cut after $size" "is cut off" "$said"
done
packed vda.qcow2 vdb.qcow2
refused "$TMPDIR/bad" 5
check_match "a foreign archive" "no backup: it has no 'backup.json'" "$said"
packed -C "$TMPDIR" unpacked
refused "$TMPDIR/bad" 5
check_match "packed with its folder" "must not be in a folder" "$said"
packed --transform 's|vdb|../vdb|' -P .
refused "$TMPDIR/bad" 5
check_match "a name that leads elsewhere" "'../vdb.qcow2'" "$said"
packed vda.qcow2 --hard-dereference vdb.qcow2 backup.json ./vda.qcow2
refused "$TMPDIR/bad" 5
check_match "a file twice" "two files 'vda.qcow2'" "$said"
ln -s /etc/passwd "$u/vdc.qcow2"
packed .
refused "$TMPDIR/bad" 5
rm "$u/vdc.qcow2"
# the first header's size: what ends nowhere, and what would be negative
for size in 77777777777 '\200\377\377\377\377\377\377\377\377\377\377\377' '\200\0\0\0\177\377\377\377\377\377\377\377'; do
	packed vda.qcow2 vdb.qcow2 backup.json
	python3 - "$TMPDIR/bad" "$size" <<'END'
import sys
with open(sys.argv[1], "r+b") as file:
    head = bytearray(file.read(512))
    size = sys.argv[2].encode().decode("unicode_escape").encode("latin1")
    head[124:136] = size.ljust(12, b"\0")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    file.seek(0)
    file.write(head)
END
	refused "$TMPDIR/bad" 5
	check_match "a wild size" "cut off|a size is none" "$said"
done
echo secret >"$TMPDIR/secret"
mv "$u/vda.qcow2" "$TMPDIR/vda.kept"
qemu-img create -q -f qcow2 -F raw -b "$TMPDIR/secret" "$u/vda.qcow2" 1M
packed .
refused "$TMPDIR/bad" 5
check_match "a disk that stands on another file" "backing file" "$said"
mv "$TMPDIR/vda.kept" "$u/vda.qcow2"
packed .
check_eq "packed anew it is one as before" "Guest 'r' defined from the backup $TMPDIR/bad" "$(roost restore "$TMPDIR/bad" --name r)"
qemu-img compare -q -f qcow2 -F qcow2 "$u/vdb.qcow2" "$ROOST_STATE/guests/r/disk1.qcow2"
roost undefine r --remove-all-storage
check_status 2 roost restore "$TMPDIR/secret"
check_match "neither" "neither" "$out"

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
	nothing_of_it "a full disk"
	ticks_go_on p
	say "where nothing can be taken out of a file's middle"
	unshare --mount sh -c "mount -t tmpfs -o size=64M none '$TMPDIR/small' && roost backup p '$TMPDIR/small/b' && cp '$TMPDIR/small/b' '$TMPDIR/b7'"
	rmdir "$TMPDIR/small"
	unpacked "$TMPDIR/b7"
	qemu-img compare -q -U -f raw -F qcow2 "$TMPDIR/large.raw" "$u/vdc.qcow2"
	qemu-img compare -q -U -f qcow2 -F qcow2 "$TMPDIR/two.qcow2" "$u/vdb.qcow2"
	[ "$(stat -c %s "$TMPDIR/b7")" -lt 40000000 ] || fail "it is $(stat -c %s "$TMPDIR/b7") bytes large"
fi

say "whoever keeps what QEMU had open changes nothing"
# what QEMU has of it, which has no name
qemu=$(of_status p qemu_pid)
kept() {
	fd=$(find "/proc/$qemu/fd" -lname "$TMPDIR/*deleted*" | head -n 1)
	# by `command`, for a shell that cannot open what `exec` is told ends
	[ -n "$fd" ] && command exec 8<>"$fd"
}
roost backup p "$TMPDIR/b11" --bandwidth 8M >"$TMPDIR/said" 2>&1 &
backup=$!
wait_until 10 kept
wait $backup
[ "$(stat -Lc %i /proc/self/fd/8)" -ne "$(stat -c %i "$TMPDIR/b11")" ] || fail "it is the same file"
check_eq "that one takes nothing" 0 "$(stat -Lc %b /proc/self/fd/8)"
exec 8>&-
unpacked "$TMPDIR/b11"
qemu-img compare -q -U -f raw -F qcow2 "$TMPDIR/large.raw" "$u/vdc.qcow2"
qemu-img compare -q -U -f qcow2 -F qcow2 "$TMPDIR/two.qcow2" "$u/vdb.qcow2"
roost suspend p
roost backup p "$TMPDIR/b13"
check_eq "QEMU keeps it while it stands still, without a byte" 0 "$(find -L "/proc/$(of_status p qemu_pid)/fd" -links 0 -size +0 -printf '%s\n' 2>/dev/null | wc -l)"
roost resume p
unpacked "$TMPDIR/b13"
qemu-img compare -q -U -f raw -F qcow2 "$TMPDIR/large.raw" "$u/vdc.qcow2"

say "of a guest that does not run"
roost destroy p
check_status 5 roost backup p "$TMPDIR/b-7" --quiesce
check_status 5 roost backup p "$TMPDIR/b1"
roost backup p "$TMPDIR/b8"
unpacked "$TMPDIR/b8"
check_json "its facts" '(.running | not) and (.disks | map(.target) == ["vda", "vdb", "vdc"])' "$(cat "$u/backup.json")"
qemu-img compare -q -f raw -F qcow2 "$TMPDIR/large.raw" "$u/vdc.qcow2"
qemu-img compare -q -f qcow2 -F qcow2 "$ROOST_STATE/guests/p/disk0.qcow2" "$u/vda.qcow2"
roost backup p "$TMPDIR/b10" --compress
unpacked "$TMPDIR/b10"
qemu-img compare -q -f qcow2 -F qcow2 "$ROOST_STATE/guests/p/disk0.qcow2" "$u/vda.qcow2"
check_eq "nothing is left" "" "$(find "$TMPDIR" -name '*.new.*')"
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
			wait_until 20 has_heard
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
unpacked "$TMPDIR/b9"
mv "$u" "$TMPDIR/unpacked9"
unpacked "$TMPDIR/b8"
for disk in vda vdb vdc; do
	qemu-img compare -q -F qcow2 -f qcow2 "$u/$disk.qcow2" "$TMPDIR/unpacked9/$disk.qcow2"
done
roost snapshot-delete p kept
roost undefine p
roost restore "$TMPDIR/b8"
roost start p 2>/dev/null
wait_until 30 is_up p
check_match "it goes on from there" "PICO-UP boot=0005" "$(console_log p)"

[ -r /usr/share/OVMF/OVMF_CODE_4M.fd ] && [ -x /usr/bin/swtpm ] || exit 0
say "UEFI variables, the TPM's state, the SSH host key"
cat >"$TMPDIR/e.yaml" <<END
name: e
memory: 64M
firmware: uefi
tpm: true
cloud_init: true
disks: [{size: 1M}]
interfaces: []
END
roost define "$TMPDIR/e.yaml"
e=$ROOST_STATE/guests/e
roost start e --paused
roost backup e "$TMPDIR/b12"
roost destroy e
# same NAME: what the archive has of it is what the guest has
same() {
	check_eq "$1" "$(sha256sum <"$2")" "$(tar -xOf "$TMPDIR/b12" "$1" 2>&1 | sha256sum)"
}
of_e="vda.qcow2 vars.qcow2 host_key tpm2-00.permall backup.json"
check_eq "of one that runs" "$of_e" "$(tar -tf "$TMPDIR/b12" | xargs)"
same host_key "$e/host_key"
unpacked "$TMPDIR/b12"
qemu-img compare -q "$e/vars.qcow2" "$u/vars.qcow2"
rm "$TMPDIR/b12"
roost backup e "$TMPDIR/b12" --compress
check_eq "of one that does not" "$of_e" "$(tar -tf "$TMPDIR/b12" | xargs)"
same host_key "$e/host_key"
same tpm2-00.permall "$e/tpm/tpm2-00.permall"
roost restore "$TMPDIR/b12" --name f
qemu-img compare -q "$e/vars.qcow2" "$ROOST_STATE/guests/f/vars.qcow2"
[ "$(sha256sum <"$ROOST_STATE/guests/f/host_key")" != "$(sha256sum <"$e/host_key")" ] || fail "two guests of one host key"
roost undefine e --remove-all-storage
roost restore "$TMPDIR/b12"
for name in e f; do
	same tpm2-00.permall "$ROOST_STATE/guests/$name/tpm/tpm2-00.permall"
	check_eq "the folder of $name's" 700 "$(stat -c %a "$ROOST_STATE/guests/$name/tpm")"
	roost start $name --paused
	roost destroy $name
done
same host_key "$e/host_key"
unpacked "$TMPDIR/b12"
rm "$u/tpm2-00.permall"
packed .
check_match "without its state" "it gets a new one" "$(roost restore "$TMPDIR/bad" --name g 2>&1)"
