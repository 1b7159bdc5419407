#!/bin/sh
# Disks that are plugged into a running guest: raw, qcow2, a chain, read-only; grown; unplugged from a guest that never
# answers, which must leave a state that a reset completes. Files stay the user's, fds and nodes do not pile up.
. "$TOP/tests/e2e/lib.sh"

nodes() {
	roost qmp one query-named-block-nodes | jq -r '[.[]."node-name"] | sort | join(" ")'
}
sets() {
	roost qmp one query-fdsets | jq -r '[.[] | .fds[0].opaque] | sort | join(" ")'
}
qemu_fds() {
	find "/proc/$(of_status one qemu_pid)/fd" -type l -printf '%l\n' | grep -c '/'
}
targets() {
	roost domblklist one | awk 'NR > 2 { print $1 }' | xargs
}
# virtual_size TARGET
virtual_size() {
	roost qmp one query-named-block-nodes | jq --arg node "$1" '.[] | select(."node-name" == $node).image."virtual-size"'
}
has_open() {
	[ -n "$(find "/proc/$(of_status one qemu_pid)/fd" -lname "$1")" ]
}

pico one
cd "$TMPDIR"
truncate -s 1M a.raw b.raw
qemu-img create -q -f qcow2 c.qcow2 2M
qemu-img create -q -f qcow2 bottom.qcow2 4M
qemu-img create -q -f qcow2 -b bottom.qcow2 -F qcow2 top.qcow2
check_status 5 roost attach-disk one a.raw --format raw
check_match "a guest that does not run" "guest 'one' is not running" "$out"
roost start one
wait_until 20 console_has one PICO-UP
nodes_before=$(nodes)
sets_before=$(sets)
fds_before=$(qemu_fds)

say "refused"
check_status 2 roost attach-disk one a.raw
check_match "no format" "format of 'a.raw' is not said" "$out"
check_status 3 roost attach-disk one none.raw --format raw
check_status 2 roost attach-disk one a.raw --format vmdk
check_status 2 roost attach-disk one a.raw --format raw --target vdx1
check_status 5 roost attach-disk one a.raw --format raw --target vda
check_match "a target that is taken" "has a disk 'vda' already" "$out"
check_status 4 roost attach-disk one one.raw --format raw
check_match "its own boot disk" "one\\.raw' is in use" "$out"
check_status 2 roost attach-disk one a.raw --format qcow2
check_match "no qcow2" "a\\.raw" "$out"
check_status 5 roost attach-disk one a.raw --format raw --bus scsi
check_status 3 roost detach-disk one vdb
check_status 5 roost detach-disk one vda
check_eq "after what was refused" "vda" "$(targets)"
check_eq "nodes" "$nodes_before" "$(nodes)"
check_eq "fdsets" "$sets_before" "$(sets)"
check_eq "fds" "$fds_before" "$(qemu_fds)"

say "plugged"
check_match "raw" "attached as vdb" "$(roost attach-disk one a.raw --format raw --serial plugged)"
check_match "qcow2" "attached as vdc" "$(roost attach-disk one c.qcow2 --format qcow2)"
check_json "a chain" '.target == "vdz"' "$(roost attach-disk --json one top.qcow2 --format qcow2 --target vdz)"
check_match "read-only" "attached as vdd" "$(roost attach-disk one b.raw --format raw --readonly)"
check_eq "targets" "vda vdb vdc vdz vdd" "$(targets)"
check_match "domblklist" "vdz +$TMPDIR/top.qcow2" "$(roost domblklist one)"
check_json "what QEMU has" '[.[] | {(.qdev | split("/") | .[3]): .inserted}] | add |
	(."disk-vdb".drv == "raw" and ."disk-vdc".drv == "qcow2" and ."disk-vdz".drv == "qcow2" and
	 ."disk-vdz".backing_file_depth == 1 and ."disk-vdd".ro and (."disk-vdb".ro | not))' "$(roost qmp one query-block)"
check_eq "its serial number" '"plugged"' "$(roost qmp one qom-get '{"path": "disk-vdb", "property": "serial"}')"
for file in a.raw b.raw c.qcow2 top.qcow2 bottom.qcow2; do
	has_open "$TMPDIR/$file" || fail "QEMU does not have $file"
	flags=$(find "/proc/$(of_status one qemu_pid)/fd" -lname "$TMPDIR/$file" -printf '%f\n' | while read -r fd; do
		sed -n 's/^flags:[[:space:]]*//p' "/proc/$(of_status one qemu_pid)/fdinfo/$fd"
	done)
	for flag in $flags; do
		case $file in
		b.raw | bottom.qcow2) check_eq "$file is open read-only" 0 $((flag & 3)) ;;
		*) check_eq "$file is open for writing" 2 $((flag & 3)) ;;
		esac
	done
done
check_eq "the caller's files" "$(id -u)" "$(stat -c %u a.raw b.raw c.qcow2 top.qcow2 bottom.qcow2 | sort -u)"
for pid in $(of_status one keeper_pid) $(roostd_pids); do
	find "/proc/$pid/fd" \( -lname "$TMPDIR/*.raw" -o -lname "$TMPDIR/*.qcow2" \) -printf '%f\n' | while read -r fd; do
		# it may have been closed since
		flags=$(sed -n 's/^flags:[[:space:]]*//p' "/proc/$pid/fdinfo/$fd" 2>/dev/null) || continue
		[ $((0$flags & 010000000)) -ne 0 ] ||
			fail "process $pid still has $(readlink "/proc/$pid/fd/$fd") open, and so its lock"
	done
done

say "twice"
for file in a.raw:raw c.qcow2:qcow2 top.qcow2:qcow2; do
	check_status 4 roost attach-disk one "${file%:*}" --format "${file#*:}"
	check_match "in use" "${file%:*}' is in use by guest 'one'" "$out"
done
# a base that another disk stands on may be read by others, and must not be written
check_status 4 roost attach-disk one bottom.qcow2 --format qcow2
ln -s a.raw link.raw
check_status 4 roost attach-disk one link.raw --format raw
check_eq "targets" "vda vdb vdc vdz vdd" "$(targets)"

say "grown"
roost blockresize one vdb 3M
check_eq "raw" 3145728 "$(virtual_size vdb)"
check_eq "its file" 3145728 "$(stat -c %s a.raw)"
roost blockresize one vdc 5G
check_eq "qcow2" 5368709120 "$(virtual_size vdc)"
roost blockresize one vdz 6M
check_eq "an overlay, not what is below" "6291456 4194304" "$(virtual_size vdz) $(virtual_size vdz-1)"
check_status 5 roost blockresize one vdb 1M
check_match "smaller" "would cut off" "$out"
check_status 2 roost blockresize one vdb 3
check_status 2 roost blockresize one vdb 4000001B
check_status 3 roost blockresize one vdq 4M
check_status 6 roost blockresize one vdd 4M
check_eq "read-only" 1048576 "$(virtual_size vdd)"
roost blockresize one vda 2M
check_eq "the boot disk" 2097152 "$(virtual_size vda)"
check_eq "what the record kept of it" "$(id -u)" "$(stat -c %u one.raw)"

say "unplugged from a guest that does not answer"
began=$(now_ms)
check_status 8 roost detach-disk one vdb --timeout 1s
check_match "it does not answer" "the guest has not answered in 1 s" "$out"
check_time "its time-out" 2500 "$began"
check_status 8 roost detach-disk one vdb --timeout 500ms
check_status 8 roost detach-disk one "$TMPDIR/top.qcow2" --timeout 500ms
check_eq "still there" "vda vdb vdc vdz vdd" "$(targets)"
check_eq "still running" "running" "$(state one)"
check_status 5 roost attach-disk one b.raw --format raw --readonly --target vdb
check_match "its target is not free" "has a disk 'vdb' already" "$out"
check_status 4 roost attach-disk one a.raw --format raw
has_open "$TMPDIR/a.raw" || fail "it was closed under the guest"
roost reset one
gone() {
	[ "$(targets)" = "vda vdc vdd" ] && ! has_open "$TMPDIR/a.raw" && ! has_open "$TMPDIR/top.qcow2" &&
		! has_open "$TMPDIR/bottom.qcow2"
}
wait_until 10 gone
wait_until 20 console_has one boot=0002
check_no_match "their nodes" 'vdb|vdz' "$(nodes)"
check_no_match "their fdsets" 'vdb|vdz' "$(sets)"
check_match "they are free again" "attached as vdb" "$(roost attach-disk one a.raw --format raw)"

say "no port left"
n=0
while [ $n -lt 5 ]; do
	truncate -s 1M "many$n.raw"
	roost attach-disk one "many$n.raw" --format raw
	n=$((n + 1))
done
check_status 5 roost attach-disk one top.qcow2 --format qcow2
check_match "all are taken" "all 8 places for plugged devices are taken" "$out"
! has_open "$TMPDIR/top.qcow2" || fail "what was refused stayed open"
check_eq "targets" 9 "$(targets | wc -w)"

say "a new keeper knows them all"
before=$(roost domblklist one)
kill_and_wait KILL "$(of_status one keeper_pid)"
roost suspend one
check_eq "after the keeper's death" "$before" "$(roost domblklist one)"
check_status 5 roost attach-disk one top.qcow2 --format qcow2
roost resume one
for target in $(targets); do
	[ "$target" = vda ] || roost detach-disk one "$target" --timeout 100ms >/dev/null 2>&1 || :
done
roost reset one
only_vda() {
	[ "$(targets)" = vda ] && [ "$(sets)" = "$sets_before" ] && [ "$(nodes)" = "$nodes_before" ]
}
wait_until 10 only_vda
as_many_fds() {
	[ "$(qemu_fds)" -eq "$fds_before" ]
}
wait_until 5 as_many_fds

say "for its next start"
check_status 0 roost attach-disk one top.qcow2 --format qcow2 --config
check_eq "not now" "$nodes_before" "$(nodes)"
check_status 5 roost attach-disk one c.qcow2 --format qcow2 --persistent --target vdb
check_match "its target is not free then" "'vdb' at its next start" "$out"
check_eq "nor now" "$nodes_before" "$(nodes)"
check_match "now and then" "attached as vdc" "$(roost attach-disk one c.qcow2 --format qcow2 --persistent)"
has_open "$TMPDIR/c.qcow2" || fail "it is not there now"
roost destroy one
roost start one
wait_until 20 console_has one boot=0003
check_eq "at its next start" 3 "$(targets | wc -w)"
for file in top.qcow2 bottom.qcow2 c.qcow2; do
	has_open "$TMPDIR/$file" || fail "$file is not there"
done
check_status 3 roost detach-disk one vdq --config
check_status 5 roost detach-disk one vdb --persistent
check_match "there since the start" "cannot be unplugged while it runs" "$out"
check_eq "nothing has changed" 3 "$(roost dominfo --json one | jq '.disks | length')"
roost detach-disk one vdb --config
check_json "not at its next start" '[.disks[].target] == ["vda", "vdc"]' "$(roost dominfo --json one)"
has_open "$TMPDIR/top.qcow2" || fail "it went at once"
roost destroy one
roost detach-disk one "$TMPDIR/c.qcow2" --persistent
check_json "by its path" '[.disks[].target] == ["vda"]' "$(roost dominfo --json one)"
for file in top.qcow2 bottom.qcow2 c.qcow2; do
	qemu-img check -q -f qcow2 $file || fail "qemu-img check of $file"
done

say "undefine keeps disks"
printf 'name: two\nmemory: 32M\ninterfaces: []\ndisks: [{size: 1M}, {path: a.raw, format: raw}]\n' >two.yaml
roost define two.yaml
own=$ROOST_STATE/guests/two/disk0.qcow2
check_match "domblklist" "vda +$own" "$(roost domblklist two)"
sum=$(cksum <"$own")
kept=$(roost undefine two | sed -n 's/^kept: //p')
check_eq "the disk that was kept" "$sum" "$(cksum <"$kept")"
check_eq "its owner and mode" "$(id -u) 600" "$(stat -c '%u %a' "$kept")"
[ -f a.raw ] || fail "the user's own disk is gone"
check_status 3 roost domstate two
roost define two.yaml
own=$ROOST_STATE/guests/two/disk0.qcow2
check_eq "nothing is kept if asked" "" "$(roost undefine --remove-all-storage two | sed -n 's/^kept: //p')"
[ ! -e "$own" ] || fail "$own is still there"
[ -f a.raw ] || fail "the user's own disk was removed"
[ -f "$kept" ] || fail "the disk of the former guest is gone"

say "another size for a disk that is there"
with_size() {
	printf 'name: sized\nmemory: 32M\ninterfaces: []\ndisks: [{%s}]\n' "$1" >sized.yaml
}
with_size 'size: 4M'
roost define sized.yaml
disk=$ROOST_STATE/guests/sized/disk0.qcow2
with_size 'size: 8M'
check_status 5 roost define sized.yaml
check_match "a larger one" "disk 'vda': its file 'disk0.qcow2' is there already, and is 4 MiB large, not 8 MiB" "$out"
check_match "and what does it" "roost blockresize sized vda 8388608B" "$out"
with_size 'size: 2M'
check_status 5 roost define sized.yaml
check_match "a smaller one" "never made smaller" "$out"
check_json "nothing has changed" '.disks[0].size == 4194304' "$(roost dominfo --json sized)"
roost start --paused sized
roost blockresize sized vda 8388608B
roost destroy sized
with_size 'size: 4M'
roost define sized.yaml
with_size 'size: 8M'
roost define sized.yaml
check_json "the size that it has is accepted" '.["virtual-size"] == 8388608' "$(qemu-img info --output=json "$disk")"
