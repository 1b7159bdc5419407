#!/bin/sh
# The verbs that only look, on guests of a boot sector: their words and columns, their JSON, what they say of a guest
# that does not run, and that they neither wait for a keeper that is stopped dead nor for an operation that is at work.
# Numbers are compared with what QEMU, qemu-img and the kernel say.
# limit: 240
. "$TOP/tests/e2e/lib.sh"
need pico.raw

stopped=
at_end() {
	for pid in $stopped; do
		kill -CONT "$pid" 2>/dev/null
	done
}
stop() {
	kill -STOP "$1"
	stopped="$stopped $1"
}
# value KEY TEXT: of "Key:   value" lines
value() {
	printf '%s\n' "$2" | sed -n "s/^$1: *//p"
}

cp "$GUESTS/pico.raw" "$TMPDIR/one.raw"
truncate -s 3M "$TMPDIR/cd.iso"
qemu-img create -q -f qcow2 "$TMPDIR/data.qcow2" 20M
cat >"$TMPDIR/one.yaml" <<-END
	name: one
	memory: 64M
	max_memory: 128M
	vcpus: 2
	max_vcpus: 3
	disks:
	  - {path: $TMPDIR/one.raw, format: raw}
	  - {size: 10M, bus: scsi}
	  - {path: $TMPDIR/data.qcow2, format: qcow2, bus: sata}
	cdrom: $TMPDIR/cd.iso
	interfaces:
	  - user: {restrict: true, hostfwd: ["-22", "udp:127.0.0.1:-53"]}
	    mac: 52:54:00:00:00:01
	  - user: {restrict: true}
	    mac: 52:54:00:00:00:02
END
roost define "$TMPDIR/one.yaml"
pico two
pico off
uuid_one=$(jq -r .uuid "$ROOST_STATE/guests/one/guest.json")
uuid_off=$(jq -r .uuid "$ROOST_STATE/guests/off/guest.json")

# --- names ----------------------------------------------------------------------------------------------------------
say "domid, domuuid, domname: of guests that do not run"
check_eq "domid" - "$(roost domid one)"
check_json "domid" '. == {"id": null}' "$(roost domid one --json)"
check_eq "domuuid" "$uuid_one" "$(roost domuuid one)"
check_json "domuuid" ". == {\"uuid\": \"$uuid_one\"}" "$(roost domuuid one --json)"
check_eq "domname" one "$(roost domname "$uuid_one")"
check_eq "in capitals" one "$(roost domname "$(echo "$uuid_one" | tr a-f A-F)")"
for verb in domid domuuid domname domblkstat; do
	check_status 3 roost $verb nosuch
	check_match "$verb names it" "there is no guest 'nosuch'" "$out"
done
check_status 3 roost domname 7
check_match "by Id" "no guest runs with Id 7" "$out"
check_status 3 roost domname 00000000-0000-4000-8000-000000000000
check_match "by UUID" "no guest" "$out"

roost start one
roost start --paused two
for guest in one two; do
	id=$(roost domid $guest)
	check_match "an Id" '^[1-9][0-9]*$' "$id"
	check_eq "name of $id" "$guest" "$(roost domname "$id")"
	check_eq "UUID of $id" "$(jq -r .uuid "$ROOST_STATE/guests/$guest/guest.json")" "$(roost domuuid "$id")"
	check_json "as JSON" ". == {\"id\": $id}" "$(roost domid $guest --json)"
done

# --- list -----------------------------------------------------------------------------------------------------------
say "list: columns for scripts, and filters"
check_eq "--id" "$(roost domid one) $(roost domid two)" "$(roost list --id | xargs)"
check_eq "--id --all" "$(roost domid one) $(roost domid two) -" "$(roost list --id --all | xargs)"
check_eq "--uuid" "$uuid_one" "$(roost list --uuid | head -n 1)"
check_eq "--name --uuid is UUID name" "$uuid_one one" "$(roost list --name --uuid | head -n 1)"
check_eq "--inactive" off "$(roost list --inactive --name)"
check_eq "--inactive --uuid" "$uuid_off" "$(roost list --inactive --uuid)"
check_eq "--inactive --all" "one two off" "$(roost list --inactive --all --name | xargs)"
check_eq "--state-running" one "$(roost list --state-running --name)"
check_eq "--state-paused" two "$(roost list --state-paused --name)"
check_eq "--state-shutoff" off "$(roost list --state-shutoff --name)"
check_eq "two of them" "two off" "$(roost list --state-shutoff --state-paused --name | xargs)"
check_eq "--state-other" "" "$(roost list --all --state-other --name)"
check_eq "--inactive --state-running" "" "$(roost list --inactive --state-running --name)"
check_match "a table" '^ -    off +shut off$' "$(roost list --inactive)"
check_json "JSON" 'length == 1 and .[0].name == "off" and (.[0] | has("uuid") | not)' "$(roost list --inactive --json)"
check_json "JSON, with UUIDs" "length == 3 and .[0].uuid == \"$uuid_one\" and .[2].uuid == \"$uuid_off\"" \
	"$(roost list --all --uuid --json)"
check_status 2 roost list --state-bogus
check_status 2 roost list one

# --- disks ----------------------------------------------------------------------------------------------------------
# sizes GUEST TARGET: capacity, allocation, physical
sizes() {
	roost domblkinfo "$1" "$2" --json | jq -r '"\(.capacity) \(.allocation) \(.physical)"'
}
# of_file FILE CAPACITY: what they must be; QEMU counts whole sectors
physical() {
	echo $((($(stat -c %s "$1") + 511) / 512 * 512))
}
of_file() {
	echo "$2 $(($(stat -c %b "$1") * 512)) $(physical "$1")"
}
own=$ROOST_STATE/guests/one/disk0.qcow2
capacity=$(qemu-img info -U --output=json "$own" | jq '."virtual-size"')
check_sizes() {
	check_eq "$1: raw" "$(of_file "$TMPDIR/one.raw" 1048576)" "$(sizes one vda)"
	check_eq "$1: an own one" "$(of_file "$own" "$capacity")" "$(sizes one sda)"
	check_eq "$1: qcow2" "$(of_file "$TMPDIR/data.qcow2" 20971520)" "$(sizes one sdb)"
	check_eq "$1: a CD" "$(of_file "$TMPDIR/cd.iso" 3145728)" "$(sizes one sdc)"
}
say "domblkinfo"
check_sizes "running"
check_eq "by its source" "$(sizes one sdb)" "$(sizes one "$TMPDIR/data.qcow2")"
told=$(roost domblkinfo one sdb)
check_match "virsh's lines" '^Capacity:       20971520$' "$told"
check_match "virsh's lines" "^Allocation:     $(($(stat -c %b "$TMPDIR/data.qcow2") * 512))\$" "$told"
check_match "virsh's lines" "^Physical:       $(physical "$TMPDIR/data.qcow2")\$" "$told"
check_match "--human" '^Capacity:       20.000 MiB$' "$(roost domblkinfo one sdb --human)"
told=$(roost domblkinfo one --all)
check_match "a table" '^ Target   Capacity   Allocation   Physical$' "$told"
check_match "of all" '^ sdb      20971520 ' "$told"
check_eq "rows" 6 "$(printf '%s\n' "$told" | wc -l)"
check_json "as JSON" 'map(.target) == ["vda", "sda", "sdb", "sdc"] and .[2].capacity == 20971520' \
	"$(roost domblkinfo one --all --json)"
qemu-img create -q -f qcow2 "$TMPDIR/more.qcow2" 5M
roost attach-disk two "$TMPDIR/more.qcow2" --format qcow2
check_eq "a plugged one" "$(of_file "$TMPDIR/more.qcow2" 5242880)" "$(sizes two vdb)"
check_status 3 roost domblkinfo one vdz
check_match "which" "guest 'one' has no disk 'vdz'" "$out"
check_status 2 roost domblkinfo one
check_status 2 roost domblkinfo one vda --all

say "domblkstat"
wait_until 30 is_up one
qemus() { # what QEMU itself counted for disk TARGET: KEY
	roost qmp one query-blockstats | jq --arg id "$1" ".[] | select(.qdev | contains(\"disk-\" + \$id)) | .stats.$2"
}
before=$(roost domblkstat one vda --json | jq .wr_req)
# it writes its boot counter again
type_to one w
more() {
	[ "$(roost domblkstat one vda --json | jq .wr_req)" -gt "$before" ]
}
wait_until 10 more
told=$(roost domblkstat one vda)
check_eq "lines" "rd_req rd_bytes wr_req wr_bytes flush_operations rd_total_times wr_total_times flush_total_times" \
	"$(printf '%s\n' "$told" | awk '$1 == "vda" { print $2 }' | xargs)"
check_match "bytes written" "^vda wr_bytes $(qemus vda wr_bytes)\$" "$told"
check_match "requests" "^vda wr_req $(qemus vda wr_operations)\$" "$told"
check_match "bytes read" "^vda rd_bytes $(qemus vda rd_bytes)\$" "$told"
check_match "--human" "^ number of bytes written: +$(qemus vda wr_bytes)\$" "$(roost domblkstat one vda --human)"
check_match "--human names it" '^Device: vda$' "$(roost domblkstat one vda --human)"
all=$(roost domblkstat one --json)
check_json "all together" '(.disks | length) == 4 and .rd_bytes == ([.disks[].rd_bytes] | add)' "$all"
check_match "all together" "^wr_bytes $(qemus vda wr_bytes)\$" "$(roost domblkstat one)"
check_status 3 roost domblkstat one vdz
check_status 5 roost domblkstat off vda
check_match "not running" "guest 'off' is not running" "$out"

# --- of guests that do not run ---------------------------------------------------------------------------------------
say "stopped again"
roost destroy one
check_sizes "stopped"
mv "$TMPDIR/data.qcow2" "$TMPDIR/away"
check_status 3 roost domblkinfo one sdb
check_match "which disk" "guest 'one', disk 'sdb': .*data.qcow2" "$out"
check_eq "the others are told" "$(of_file "$TMPDIR/one.raw" 1048576)" "$(sizes one vda)"
echo "no header at all, but long enough to be one" >"$TMPDIR/data.qcow2"
check_status 2 roost domblkinfo one sdb
mv "$TMPDIR/away" "$TMPDIR/data.qcow2"
