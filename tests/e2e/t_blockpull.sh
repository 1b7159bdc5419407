#!/bin/sh
# limit: 200
# blockpull of disks that have been through something: a snapshot that was given up while the guest ran, clones that share
# what it stands on; of guests that run and that do not. What it had it has, nothing below is needed, nobody else notices.
. "$TOP/tests/e2e/lib.sh"
need pico.raw
with_failpoints

guests=$ROOST_STATE/guests
nodes() {
	roost qmp a query-named-block-nodes | jq -r '.[]."node-name"' | sort | xargs
}
held() {
	roost qmp a query-fdsets | jq -r '.[].fds[].opaque | select(startswith("vd"))' | sort | xargs
}
qemu-img convert -q -f raw -O qcow2 "$GUESTS/pico.raw" "$TMPDIR/base.qcow2"
roost image import "$TMPDIR/base.qcow2" --name base >/dev/null
printf 'name: a\nmemory: 32M\ndisks: [{image: base, size: 4M}]\ninterfaces: []\n' >"$TMPDIR/a.yaml"
roost define "$TMPDIR/a.yaml"

say "a snapshot was given up while it ran: its top is called otherwise"
roost snapshot-create-as a s >/dev/null
roost start a 2>/dev/null
wait_until 30 is_up a
roost snapshot-delete a s >/dev/null
check_eq "its nodes" "vda-1 vda-1-file vda-2 vda-2-file" "$(nodes)"
check_eq "its files" "vda-1-file vda-2-file" "$(held)"
roost blockpull a vda 2>/dev/null
check_eq "its nodes" "vda-1 vda-1-file" "$(nodes)"
check_eq "its files" "vda-1-file" "$(held)"
ticks_go_on a
roost destroy a
check_eq "its record" "null []" "$(jq -r '.disks[0] | "\(.image) \(.lineage)"' "$guests/a/guest.json")"
roost undefine a --remove-all-storage

# what a guest's disk shows to QEMU: by the layers that the record tells, whatever the headers say
top() {
	top_layer=$(jq -r '.tops.vda // empty' "$guests/$1/snapshots.json" 2>/dev/null) || top_layer=
	echo "$guests/$1/${top_layer:-disk0.qcow2}"
}
content() {
	qemu-img convert -U -O raw "$(top "$1")" "$TMPDIR/content"
	sha256sum <"$TMPDIR/content"
}
write() { # GUEST BYTE OFFSET
	qemu-io -f qcow2 -c "write -q -P $2 $3 64k" "$(top "$1")"
}
works() {
	roost start "$1" >/dev/null 2>&1
	wait_until 30 is_up "$1"
	roost destroy "$1" >/dev/null
}
stands_alone() {
	check_eq "$1: its header" null "$(qemu-img info -U --output=json "$(top "$1")" | jq '."backing-filename"')"
	check_eq "$1: its record" "null []" "$(jq -r '.disks[0] | "\(.image) \(.lineage)"' "$guests/$1/guest.json")"
	check_eq "$1: nothing is left" "" "$(find "$guests/$1" -name '*.new' -o -name '.*roost*' -o -name 'disk-disk*')"
	for stands_file in "$guests/$1"/*.qcow2; do
		qemu-img check -q -U "$stands_file" || fail "$stands_file is not sound"
	done
}
# a, which b and c were cloned of; each has written since
family() {
	for family_guest in a b c; do
		! roost domstate $family_guest >/dev/null 2>&1 || roost undefine $family_guest --remove-all-storage >/dev/null
	done
	roost define "$TMPDIR/a.yaml" >/dev/null
	write a 1 1M
	roost clone a b >/dev/null
	write a 2 2M
	write b 3 2M
	roost clone a c >/dev/null
	write a 4 3M
	a=$(content a) b=$(content b) c=$(content c)
}
untouched() {
	check_eq "b has what it had" "$b" "$(content b)"
	check_eq "c has what it had" "$c" "$(content c)"
}

say "the original of clones, running"
family
roost start --paused a >/dev/null 2>&1
roost blockpull a vda >/dev/null 2>&1
check_eq "what QEMU has" 2 "$(nodes | wc -w)"
roost snapshot-create-as a s --disk-only >/dev/null
roost snapshot-delete a s >/dev/null
roost destroy a
check_eq "it has what it had" "$a" "$(content a)"
stands_alone a
untouched
works a
a=$(content a) b=$(content b) c=$(content c)

say "it is cloned again, beside the bases of the others; they are pulled off them, running or not"
roost clone a d
check_eq "the clone" "$a" "$(content d)"
works d
roost undefine d --remove-all-storage
check_eq "told" "Disk 'vda' of guest 'b' stands alone now" "$(roost blockpull b vda)"
roost start --paused c >/dev/null 2>&1
roost blockpull c vda >/dev/null 2>&1
roost destroy c
stands_alone b
stands_alone c
untouched
check_eq "no base is left" "" "$(roost image gc >/dev/null && find "$ROOST_STATE/bases" -type f ! -name lock)"
roost image rm base
works b
roost image import "$TMPDIR/base.qcow2" --name base >/dev/null

say "killed at each step, one after the other"
family
for point in a-remake-made a-remake-named a-remake-settled a-pull-bottom a-pull-forgotten a-pull-recorded \
	b-remake-settled b-pull-recorded; do
	guest=${point%%-*} step=${point#*-}
	was=$(content "$guest")
	die_at "$step"
	roost blockpull "$guest" vda >/dev/null 2>&1 || :
	has_died "$step"
	check_eq "$point: it has what it had" "$was" "$(content "$guest")"
	qemu-img check -q "$(top "$guest")"
	untouched
	case $step in *settled | pull-*)
		roost start --paused "$guest" >/dev/null 2>&1
		roost destroy "$guest" >/dev/null
		;;
	esac
done
for guest in a b; do
	roost blockpull $guest vda >/dev/null
	stands_alone $guest
done
check_eq "a has what it had" "$a" "$(content a)"
untouched

say "a file of the user's; refused"
cd "$TMPDIR"
qemu-img create -q -f raw under.raw 1M
qemu-img create -q -f qcow2 -F raw -b under.raw over.qcow2
printf 'name: p\nmemory: 32M\ndisks: [{path: over.qcow2, format: qcow2}]\ninterfaces: []\n' >p.yaml
roost define p.yaml
roost snapshot-create-as p s >/dev/null
check_status 5 roost blockpull p vda
check_match "it has snapshots" "guest 'p' has snapshots, which its disks stand on" "$out"
roost snapshot-delete p s >/dev/null
for step in remake-made remake-settled; do
	die_at $step
	roost blockpull p vda >/dev/null 2>&1 || :
	has_died $step
	qemu-img check -q over.qcow2
done
roost blockpull p vda >/dev/null
check_eq "it stands alone" null "$(qemu-img info --output=json over.qcow2 | jq '."backing-filename"')"
rm under.raw
roost start --paused p >/dev/null 2>&1
roost destroy p
check_status 3 roost blockpull p vdz
roost start --paused p >/dev/null 2>&1
qemu-img create -q -f qcow2 plain.qcow2 1M
qemu-img create -q -f qcow2 -F qcow2 -b plain.qcow2 plugged.qcow2
roost attach-disk p "$PWD/plugged.qcow2" --format qcow2 --target vdc >/dev/null
roost snapshot-create-as p s --disk-only >/dev/null
check_status 5 roost blockpull p vdc
check_match "plugged, and held by a snapshot" "guest 'p' has snapshots, which its disks stand on" "$out"
roost destroy p
roost template b
check_status 5 roost blockpull b vda
check_match "a template" "guest 'b' is a template" "$out"

say "blockcommit: what the clones of a guest have left is merged when they are gone"
roost template --undo b
for guest in a b c; do
	roost undefine $guest --remove-all-storage >/dev/null
done
roost define "$TMPDIR/a.yaml"
qemu-io -f qcow2 -c 'write -q -P 5 1M 3M' "$(top a)"
roost clone a b >/dev/null
write a 6 2M
was=$(content a)
roost start --paused a >/dev/null 2>&1
check_status 5 roost blockcommit a vda
check_match "b stands on it" "disk 'vda' of guest 'a' has no layer that could be merged" "$out"
roost destroy a
roost undefine b --remove-all-storage >/dev/null
roost start --paused a >/dev/null 2>&1
check_eq "its nodes" 6 "$(nodes | wc -w)"
roost blockcommit a vda --bandwidth 16K >/dev/null 2>&1 &
slow=$!
commits() {
	roost qmp a query-jobs | jq -e 'any(.[]; .id == "snapdel-vda" and ."current-progress" > 0)'
}
wait_until 20 commits
roost cancel a >/dev/null
! wait $slow || fail "it was not cancelled"
check_eq "its nodes" 6 "$(nodes | wc -w)"
check_eq "told" "Layers of disk 'vda' of guest 'a' are merged" "$(roost blockcommit a vda --active --pivot 2>/dev/null)"
check_eq "its nodes" "vda-1 vda-1-file vda-2 vda-2-file" "$(nodes)"
check_status 5 roost blockcommit a vda
check_match "the image is not its own" "roost blockpull a vda" "$out"
roost destroy a
check_eq "no layer is left" 0 "$(jq '.layers | length' "$guests/a/snapshots.json")"
check_eq "it has what it had" "$was" "$(content a)"
qemu-img check -q "$guests/a/disk0.qcow2"

say "of one that does not run: the named disk alone, and until it is cancelled"
sed 's/size: 4M}/&, {size: 8M}/' "$TMPDIR/a.yaml" | roost define - >/dev/null
qemu-io -f qcow2 -c 'write -q -P 7 0 4M' "$guests/a/disk1.qcow2"
roost clone a b >/dev/null
qemu-io -f qcow2 -c 'write -q -P 8 1M 2M' "$guests/a/disk-vdb.$(jq -r '.tops.vdb | split(".")[1]' "$guests/a/snapshots.json").qcow2"
roost undefine b --remove-all-storage >/dev/null
check_status 2 roost blockcommit a vda --bandwidth 1M
roost blockcommit a vda >/dev/null
check_eq "the other disk" '["vdb"]' "$(jq -c '[.layers[].disk]' "$guests/a/snapshots.json")"
check_eq "it has what it had" "$was" "$(content a)"
hold_at snapshot-merging
roost blockcommit a vdb >"$TMPDIR/said" 2>&1 &
slow=$!
wait_until 20 held_at
kill -TERM $slow
wait_until 20 has_heard
kill -CONT "$held"
! wait $slow || fail "it was not cancelled"
check_match "it says so" "cancelled" "$(cat "$TMPDIR/said")"
check_eq "it is still to be merged" '["vdb"]' "$(jq -c '[.layers[].disk]' "$guests/a/snapshots.json")"
qemu-img check -q "$guests/a/disk1.qcow2"
roost blockcommit a vdb >/dev/null
check_eq "no layer is left" 0 "$(jq '.layers | length' "$guests/a/snapshots.json")"
qemu-img check -q "$guests/a/disk1.qcow2"
qemu-io -r -f qcow2 -c 'read -q -P 8 1M 2M' -c 'read -q -P 7 3M 1M' "$guests/a/disk1.qcow2" >"$TMPDIR/said"
check_no_match "it has what it had" fail "$(cat "$TMPDIR/said")"
