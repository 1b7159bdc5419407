#!/bin/sh
# What a disk stands on is recorded when it is defined and compared at each start: a base that is missing, another one or
# written to is refused by name, with the line that mends it; what a header says later, as a guest that has taken over its
# QEMU may write it, is refused and never followed; loops and chains that are too deep are refused.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
need pico.raw
cd "$TMPDIR"

# definition NAME DISK
definition() {
	printf 'name: %s\nmemory: 32M\ninterfaces: []\ndisks:\n  - %s\n' "$1" "$2"
}
lineage() {
	roost dominfo --json "$1" | jq -c '.disks[0].lineage'
}
# start it, see that it ran from its disk, end it
works() {
	roost start "$1" >/dev/null
	wait_until 20 console_has "$1" PICO-UP
	roost destroy "$1" >/dev/null
}

say "an overlay that people have made, on a relative name"
qemu-img convert -O qcow2 "$GUESTS/pico.raw" base.qcow2
qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 middle.qcow2
qemu-img create -q -f qcow2 -F qcow2 -b middle.qcow2 top.qcow2
definition over "{path: top.qcow2, format: qcow2}" >over.yaml
roost define over.yaml
check_json "it is recorded, down to the bottom" "length == 2 and .[0].path == \"$TMPDIR/middle.qcow2\" and
	.[1] == {path: \"$TMPDIR/base.qcow2\", format: \"qcow2\", size: $(stat -c %s base.qcow2), inode: $(stat -c %i base.qcow2),
	mtime_ns: .[1].mtime_ns}" "$(lineage over)"
before=$(stat -c '%s %i %y' base.qcow2 middle.qcow2)
works over
check_eq "a start changes nothing of it" "$before" "$(stat -c '%s %i %y' base.qcow2 middle.qcow2)"
works over

say "the base is missing"
mkdir moved
mv base.qcow2 moved/
check_status 3 roost start over
check_match "it is named" "'$TMPDIR/middle.qcow2': its backing file '$TMPDIR/base.qcow2' is missing" "$out"
check_match "and the line that mends it" "qemu-img rebase -u -F qcow2 -b /PATH/TO/base.qcow2 $TMPDIR/middle.qcow2" "$out"
check_status 3 roost define over.yaml --rebased
check_match "not as it is" "base.qcow2' is missing" "$out"

say "mended by that line, and said so"
qemu-img rebase -u -f qcow2 -F qcow2 -b "$TMPDIR/moved/base.qcow2" middle.qcow2
check_status 5 roost start over
check_match "the header says something else" "middle.qcow2' names qcow2 .*moved/base.qcow2 as its backing file now" "$out"
roost define over.yaml
check_match "a definition alone changes nothing of it" "\"$TMPDIR/base.qcow2\"" "$(lineage over)"
roost define over.yaml --rebased
check_match "recorded anew" "$TMPDIR/moved/base.qcow2" "$(lineage over)"
works over

say "a base that has changed: written to, of another size, another file"
qemu-io -f qcow2 -c 'write -P 1 4k 512' moved/base.qcow2 >/dev/null
check_status 5 roost start over
check_match "written to" "'$TMPDIR/moved/base.qcow2' has changed since it was recorded" "$out"
check_match "what to do" 'roost dumpyaml over [|] roost define --rebased -' "$out"
roost dumpyaml over | roost define --rebased -
works over
cp moved/base.qcow2 copy
mv copy moved/base.qcow2
check_status 5 roost start over
check_match "another file" "moved/base.qcow2' has changed since it was recorded: it is another file" "$out"
roost define over.yaml --rebased
works over

say "a header that was written to by the guest's QEMU is not followed"
echo "the host's secret" >secret
truncate -s 1M secret
cp top.qcow2 honest.qcow2
for to in "raw $TMPDIR/secret" "raw nbd:unix:$TMPDIR/none" 'raw json:{"driver":"null-co"}' "qcow2 $TMPDIR/moved/base.qcow2" "qcow2 ''"; do
	cp honest.qcow2 top.qcow2
	name=${to#* }
	[ "$name" != "''" ] || name=
	qemu-img rebase -u -f qcow2 ${name:+-F "${to%% *}"} -b "$name" top.qcow2
	check_status 5 roost start over
	check_match "it is refused" "top.qcow2' names .* as its backing file now, and was recorded on $TMPDIR/middle.qcow2" "$out"
done
# an external data file: the feature bit, as its QEMU could set it
cp honest.qcow2 top.qcow2
printf '\004' | dd of=top.qcow2 bs=1 seek=79 conv=notrunc status=none
check_status 5 roost start over
check_match "a data file" "top.qcow2' keeps its data in an external data file" "$out"
cp honest.qcow2 top.qcow2
works over

say "nor in a disk that roost made"
definition own "{image: $TMPDIR/image.qcow2}" >own.yaml
qemu-img convert -O qcow2 "$GUESTS/pico.raw" image.qcow2
roost define own.yaml
check_json "recorded" 'length == 1 and (.[0].path | endswith("/image.qcow2"))' "$(lineage own)"
works own
own=$ROOST_STATE/guests/own/disk0.qcow2
qemu-img rebase -u -f qcow2 -F raw -b "$TMPDIR/secret" "$own"
roost start --paused own
check_no_match "QEMU's files" secret "$(find "/proc/$(of_status own qemu_pid)/fd" -printf '%l\n')"
check_match "it stands on its image" "image.qcow2" "$(find "/proc/$(of_status own qemu_pid)/fd" -printf '%l\n')"
roost destroy own
printf '\004' | dd of="$own" bs=1 seek=79 conv=notrunc status=none
check_status 5 roost start own
check_match "a data file" "disk0.qcow2' keeps its data in an external data file" "$out"
printf '\000' | dd of="$own" bs=1 seek=79 conv=notrunc status=none
qemu-img rebase -u -f qcow2 -F qcow2 -b "$TMPDIR/image.qcow2" "$own"
works own
qemu-io -f qcow2 -c 'write -P 1 4k 512' image.qcow2 >/dev/null
check_status 5 roost start own
check_match "its image was written to" "image.qcow2' has changed since it was recorded" "$out"
roost define own.yaml
check_status 5 roost start own
roost define --rebased own.yaml
works own
rm image.qcow2
check_status 3 roost start own
check_match "its image is missing" "disk 'vda': '$TMPDIR/image.qcow2', which it stands on, is missing" "$out"

say "loops and depth"
qemu-img create -q -f qcow2 one.qcow2 1M
qemu-img create -q -f qcow2 -F qcow2 -b one.qcow2 two.qcow2
qemu-img rebase -u -f qcow2 -F qcow2 -b two.qcow2 one.qcow2
definition loop "{path: two.qcow2, format: qcow2}" >loop.yaml
check_status 5 roost define loop.yaml
check_match "a loop" "the backing chain loops" "$out"
qemu-img create -q -f qcow2 d0.qcow2 1M
n=0
while [ $n -lt 40 ]; do
	qemu-img create -q -f qcow2 -F qcow2 -b "d$n.qcow2" "d$((n + 1)).qcow2" 1M
	n=$((n + 1))
done
definition deep "{path: d40.qcow2, format: qcow2}" >deep.yaml
check_status 5 roost define deep.yaml
check_match "too deep" "the backing chain of '.*d40.qcow2' has more than 32 files" "$out"
definition deep "{path: d31.qcow2, format: qcow2}" >deep.yaml
roost define deep.yaml
roost start --paused deep
check_eq "as deep as may be" 32 "$(find "/proc/$(of_status deep qemu_pid)/fd" -lname "$TMPDIR/d*.qcow2" -printf '%l\n' | sort -u | wc -l)"
roost destroy deep
