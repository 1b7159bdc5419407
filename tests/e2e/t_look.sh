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
roost desc two --title A short title >/dev/null
check_match "--title" '^ [0-9]+ +two +paused +A short title$' "$(roost list --title)"
check_match "its head" '^ Id +Name +State +Title$' "$(roost list --title)"
check_json "--title as JSON" 'map(.title) == ["", "A short title", ""]' "$(roost list --all --title --json)"
# each column is as wide as its widest cell, and 3; the rule is as long as all of them
check_eq "the rule" $((2 + 3 + 4 + 3 + 8 + 3)) "$(roost list --all | sed -n 2p | tr -d '\n' | wc -c)"
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

# --- vCPUs and CPU time -----------------------------------------------------------------------------------------------
say "vcpuinfo"
told=$(roost vcpuinfo one)
check_eq "vCPUs" "0 1" "$(value VCPU "$told" | xargs)"
check_eq "states" "running running" "$(value State "$told" | xargs)"
check_match "CPU time" '^CPU time:       [0-9]+[.][0-9]s$' "$told"
check_match "affinity" '^CPU Affinity:   [y-]+$' "$told"
check_eq "of each of the host's CPUs" "$(getconf _NPROCESSORS_CONF)" "$(value 'CPU Affinity' "$told" | head -n 1 | tr -d '\n' | wc -c)"
vcpus=$(roost vcpuinfo one --json)
qemu=$(of_status one qemu_pid)
thread=$(roost qmp one query-cpus-fast | jq '.[] | select(."cpu-index" == 0) | ."thread-id"')
check_json "threads" "length == 2 and .[0].thread == $thread" "$vcpus"
# between two looks at the kernel's own figure, in ticks of 10 ms
ticks_of() {
	awk '{ print ($14 + $15) * 10000000 }' "/proc/$qemu/task/$thread/stat"
}
low=$(ticks_of)
time=$(roost vcpuinfo one --json | jq '.[0].time')
high=$(ticks_of)
{ [ "$low" -le "$time" ] && [ "$time" -le "$high" ]; } || fail "CPU time: $time is not within $low and $high"
check_match "dominfo has all of it" '^CPU time:       [0-9]+[.][0-9]s$' "$(roost dominfo one)"
check_json "dominfo --json" ".cpu_time >= $high" "$(roost dominfo one --json)"
told=$(roost vcpuinfo off)
check_eq "of one that does not run" "0 N/A N/A N/A" \
	"$(value VCPU "$told") $(value CPU "$told") $(value State "$told") $(value 'CPU time' "$told")"
check_json "the same as JSON" '. == [{"vcpu": 0, "cpu": null, "state": null, "time": null}]' "$(roost vcpuinfo off --json)"

say "vcpucount"
check_eq "running" "maximum      config         3
maximum      live           3
current      config         2
current      live           2" "$(roost vcpucount one)"
roost setvcpus one 3 --config
check_eq "changed for the next start" "3 2" "$(roost vcpucount one --config) $(roost vcpucount one --live)"
check_eq "at this moment" 2 "$(roost vcpucount one --current)"
check_eq "maximum" 3 "$(roost vcpucount one --maximum --live)"
check_json "as JSON" '. == {"maximum": {"config": 3, "live": 3}, "current": {"config": 3, "live": 2}}' "$(roost vcpucount one --json)"
check_json "one number" '. == {"vcpus": 2}' "$(roost vcpucount one --active --json)"
check_eq "stopped: two lines" "config config" "$(roost vcpucount off | awk '{ print $2 }' | xargs)"
check_eq "stopped" 1 "$(roost vcpucount off --current)"
check_status 5 roost vcpucount off --live
check_match "not running" "guest 'off' is not running" "$out"
check_status 2 roost vcpucount one --live --config
check_status 5 roost vcpucount one --guest
check_match "nobody to ask" "no agent runs in guest 'one'" "$out"
check_status 2 roost vcpucount one --guest --maximum
check_status 2 roost vcpucount one --maximum --active

# --- the network -----------------------------------------------------------------------------------------------------
say "domifaddr: what roost knows of user networking"
port=$(of_status one 'forwards[0].port')
told=$(roost domifaddr one)
check_eq "the head" " Name       MAC address          Protocol     Address" "$(printf '%s\n' "$told" | head -n 1)"
check_eq "the rule" 79 "$(printf '%s\n' "$told" | sed -n 2p | tr -d '\n' | wc -c)"
check_match "the first forward" "^ nic0       52:54:00:00:00:01    tcp          127.0.0.1:$port->22\$" "$told"
check_match "the second" "^ -          -                    udp          127.0.0.1:[0-9]+->53\$" "$told"
check_eq "rows" 4 "$(printf '%s\n' "$told" | wc -l)"
check_eq "--full" 2 "$(roost domifaddr one --full | grep -c 'nic0 *52:54:00:00:00:01 ')"
check_eq "--interface" 2 "$(roost domifaddr one --interface nic1 | wc -l)"
check_eq "by its MAC" 4 "$(roost domifaddr one --interface 52:54:00:00:00:01 | wc -l)"
check_eq "one that does not exist" 2 "$(roost domifaddr one --interface vnet7 | wc -l)"
check_json "as JSON" ".[0] == {interface: \"nic0\", mac: \"52:54:00:00:00:01\", source: \"forward\", protocol: \"tcp\",
	address: \"127.0.0.1\", port: $port, guest_port: 22}" "$(roost domifaddr one --json)"
roost attach-interface one user --restrict --forward 127.0.0.1:-80 --mac 52:54:00:00:00:09
check_match "a plugged one" '52:54:00:00:00:09 +tcp +127.0.0.1:[0-9]+->80' "$(roost domifaddr one)"
check_eq "a guest without interfaces" 2 "$(roost domifaddr two | wc -l)"

say "domifaddr: what it refuses"
check_status 5 roost domifaddr one --source lease
check_match "no leases" "leases" "$out"
check_status 5 roost domifaddr one --source arp
check_match "no neighbour" "neighbour" "$out"
check_match "what there is" "--source agent" "$out"
check_status 2 roost domifaddr one --source bogus
check_match "unknown" "source 'bogus' is unknown" "$out"
check_status 5 roost domifaddr one --source agent
check_match "nobody there" "no agent runs in guest 'one'" "$out"
check_status 5 roost domifaddr off
check_match "not running" "guest 'off' is not running" "$out"

say "domifstat"
check_status 5 roost domifstat one nic0
check_match "why" "only the guest counts .* no agent runs in guest 'one'" "$out"
check_match "what to do" "install qemu-guest-agent" "$out"
check_status 3 roost domifstat one nic7
check_match "which" "guest 'one' has no interface 'nic7'" "$out"
check_status 3 roost domifstat off nic0
check_status 2 roost domifstat one

# --- the host --------------------------------------------------------------------------------------------------------
say "nodeinfo"
told=$(roost nodeinfo)
check_eq "model" "$(uname -m)" "$(value 'CPU model' "$told")"
check_eq "CPUs" "$(nproc --all)" "$(value 'CPU(s)' "$told")"
check_eq "memory" "$(awk '$1 == "MemTotal:" { print $2 " KiB" }' /proc/meminfo)" "$(value 'Memory size' "$told")"
check_eq "sockets" "$(lscpu -p=SOCKET | grep -v '^#' | sort -u | wc -l)" \
	"$(($(value 'CPU socket(s)' "$told") * $(value 'NUMA cell(s)' "$told")))"
check_eq "cores" "$(lscpu -p=CORE,SOCKET | grep -v '^#' | sort -u | awk -F , '$2 == 0' | wc -l)" "$(value 'Core(s) per socket' "$told")"
# others are at work here, too, who may take or leave much between two looks
free_memory() {
	free=$(awk '$1 == "MemFree:" { print $2 * 1024 }' /proc/meminfo)
	roost nodeinfo --json | jq -e "(.memory_free - $free | fabs) < 1073741824" # 1 GiB
}
wait_until 5 free_memory
check_json "what there is" ".memory_available <= .memory and (.cells | length) == $(value 'NUMA cell(s)' "$told")" "$(roost nodeinfo --json)"

say "domcapabilities: what QEMU itself says"
# without how fast KVM was seen to be, which a busy host asks anew
capable() {
	roost domcapabilities --json | jq -S 'del(.accelerators.kvm.reason)'
}
capabilities=$(capable)
qemu_says() {
	"${ROOST_QEMU:-/usr/bin/qemu-system-x86_64}" "$@"
}
check_eq "version" "$(qemu_says --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p')" "$(echo "$capabilities" | jq -r .version)"
check_eq "machines" "$(qemu_says -machine help | awk 'NR > 1 && !/alias of/ { print $1 }' | sort)" \
	"$(echo "$capabilities" | jq -r '.machines[].name' | sort)"
check_json "an alias" '.machines[] | select(.alias == "q35") | .name | startswith("pc-q35-")' "$capabilities"
check_json "all that roost needs" '[.devices[][]] | length > 15 and all' "$capabilities"
check_json "CPU models" '.cpu_models | map(.name) | contains(["max", "qemu64"])' "$capabilities"
check_json "accelerators" '.accelerators | .tcg == {built_in: true, usable: true} and (.kvm | has("usable") and .built_in)' "$capabilities"
check_json "drivers" '(.block_drivers | contains(["qcow2", "raw", "file"])) and (.net_backends | contains(["user", "tap"]))' "$capabilities"
check_json "firmware" '.firmware | .bios and has("uefi") and has("secure_boot")' "$capabilities"
check_json "the sandbox" .sandbox "$capabilities"
told=$(roost domcapabilities)
check_eq "plain" "$(echo "$capabilities" | jq -r .version)" "$(value Version "$told" | head -n 1)"
check_match "plain" '^Machines: .*[(]pc[)]' "$(printf '%s\n' "$told" | tr -s ' \n' '  ' | sed 's/ \([A-Z][A-Za-z ]*: \)/\n\1/g')"
check_eq "asked once, and kept" "$capabilities" "$(capable)"
# a cache that is spoilt, or of another QEMU, is no answer
printf '{"identity": {}, "capabilities": {}}' >"$ROOST_STATE/capabilities.json"
check_eq "asked again" "$capabilities" "$(capable)"

# --- all of it at once -------------------------------------------------------------------------------------------------
say "domstats"
stat_of() { # stat_of KEY TEXT
	printf '%s\n' "$2" | sed -n "s/^  $1=//p"
}
told=$(roost domstats one)
check_eq "head" "Guest: 'one'" "$(printf '%s\n' "$told" | head -n 1)"
check_eq "state" "1 1 running" "$(stat_of state.state "$told") $(stat_of state.reason "$told") $(stat_of state.name "$told")"
check_eq "memory" "65536 131072" "$(stat_of balloon.current "$told") $(stat_of balloon.maximum "$told")"
check_match "RAM on the host" '^[1-9][0-9]+$' "$(stat_of balloon.rss "$told")"
check_eq "vCPUs" "2 3 1 1" \
	"$(stat_of vcpu.current "$told") $(stat_of vcpu.maximum "$told") $(stat_of vcpu.0.state "$told") $(stat_of vcpu.1.state "$told")"
low=$(stat_of cpu.time "$told")
high=$(awk '{ print ($14 + $15) * 10000000 }' "/proc/$(of_status one qemu_pid)/stat")
{ [ "$low" -gt 0 ] && [ "$low" -le "$high" ]; } || fail "cpu.time=$low is not within 1 and $high"
check_eq "its parts" "$low" $(($(stat_of cpu.user "$told") + $(stat_of cpu.system "$told")))
check_eq "interfaces" "3 nic0 52:54:00:00:00:01" \
	"$(stat_of net.count "$told") $(stat_of net.0.name "$told") $(stat_of net.0.mac "$told")"
check_eq "no counters: nobody counts" "" "$(stat_of 'net.0.rx.*' "$told")"
check_eq "disks" "4 vda $TMPDIR/one.raw" \
	"$(stat_of block.count "$told") $(stat_of block.0.name "$told") $(stat_of block.0.path "$told")"
check_eq "sizes" "$(sizes one sdb)" \
	"$(stat_of block.2.capacity "$told") $(stat_of block.2.allocation "$told") $(stat_of block.2.physical "$told")"
check_eq "bytes written" "$(qemus vda wr_bytes)" "$(stat_of block.0.wr.bytes "$told")"
check_json "as JSON" 'length == 1 and .[0].name == "one" and .[0]["vcpu.maximum"] == 3 and .[0]["block.2.name"] == "sdb"' \
	"$(roost domstats one --json)"
check_eq "only a group" "balloon.current balloon.maximum balloon.rss" \
	"$(roost domstats one --balloon | sed -n 's/^  \(.*\)=.*/\1/p' | xargs)"
check_eq "two groups" "state vcpu" "$(roost domstats one --vcpu --state | sed -n 's/^  \([a-z]*\)[.].*/\1/p' | uniq | xargs)"
of_all() { # of_all WORD...: the guests that are told
	roost domstats --state "$@" | sed -n "s/^Guest: '\(.*\)'/\1/p" | xargs
}
check_eq "those that run" "one two" "$(of_all)"
check_eq "those named, in this order" "two off" "$(of_all two off)"
check_eq "--list-inactive" off "$(of_all --list-inactive)"
check_eq "--list-paused" two "$(of_all --list-paused)"
check_eq "--list-running --list-shutoff" "off one" "$(of_all --list-running --list-shutoff)"
check_eq "--list-active" "one two" "$(of_all --list-active)"
check_eq "--list-other" "" "$(of_all --list-other)"
told=$(roost domstats off)
check_eq "one that does not run" "5 shut off 32768" \
	"$(stat_of state.state "$told") $(stat_of state.name "$told") $(stat_of balloon.current "$told")"
check_eq "its disk" 1048576 "$(stat_of block.0.capacity "$told")"
check_eq "nothing of its CPU" "" "$(stat_of cpu.time "$told")$(stat_of balloon.rss "$told")"
check_status 3 roost domstats one nosuch
check_match "which" "there is no guest 'nosuch'" "$out"
check_status 2 roost domstats one --list-active
check_status 2 roost domstats --bogus

# in_time WHAT MOST_MS COMMAND...: of three times the quickest counts, for others are at work here, too
in_time() {
	in_time_what="$1, three times"
	in_time_most=$2
	shift 2
	for _ in 1 2 3; do
		since=$(now_ms)
		"$@"
		[ $(($(now_ms) - since)) -gt $((in_time_most * E2E_PATIENCE)) ] || return 0
	done
	check_time "$in_time_what" "$in_time_most" "$since"
}
# --- while something is at work ----------------------------------------------------------------------------------------
looks() {
	roost domblkstat one vda
	roost domblkinfo one vda
	roost vcpuinfo one
	roost vcpucount one
	roost domifaddr one
	roost domid one
	roost domstats one
	roost list --uuid
}
say "an operation is at work: everybody may look"
deafen one
roost shutdown one --timeout 60s >/dev/null 2>&1 &
asking=$!
in_shutdown() {
	roost list --json | jq -e '.[] | select(.name == "one") | .busy | startswith("roost-shutdown")'
}
wait_until 10 in_shutdown
in_time "eight looks" 1000 looks >/dev/null
in_shutdown >/dev/null || fail "it was no longer at work"
roost qmp one roost-cancel >/dev/null
! wait $asking || fail "the shutdown was not cancelled"
roost reset one

# slow VERB...: it must not wait, and tell that the guest is unresponsive
slow() {
	in_time "$1" 900 check_status 8 roost "$@"
	check_match "$1" "guest 'one' is unresponsive: .*does not answer" "$out"
}
all_told() {
	told=$(roost domstats)
}
others_are_told() {
	all_told
	printf '%s\n' "$told" | grep '^  block.0.rd.reqs='
}
all_slow() {
	slow domblkstat one vda
	slow domblkinfo one vda
	slow vcpuinfo one
	slow domifaddr one --source agent
	slow domifstat one nic0
	check_eq "what the files tell" "$(roost vcpucount one --live) one $uuid_one" "2 $(roost domname "$(roost domid one)") $(roost domuuid one)"
	check_match "the forwards" "127.0.0.1:$port->22" "$(roost domifaddr one)"
	in_time "domstats" 900 all_told
	wait_until 5 others_are_told # in full
	told=$(roost domstats one)
	check_eq "it says so" "0 unresponsive" "$(stat_of state.state "$told") $(stat_of state.name "$told")"
	check_match "and what the kernel knows" '^[1-9]' "$(stat_of cpu.time "$told")"
	check_eq "and no more" "" "$(stat_of block.0.rd.reqs "$told")$(stat_of vcpu.0.time "$told")"
}
# what is at work is told by the file until its next stamp, and silence is no sign meanwhile
idle() {
	[ -z "$(of_status one busy)" ]
}
for what in keeper_pid qemu_pid; do
	wait_until 5 idle
	say "stopped dead, a moment ago and for long: $what"
	pid=$(of_status one $what)
	stop "$pid"
	slow domblkstat one vda
	wait_until 5 is_state one unresponsive
	all_slow
	kill -CONT "$pid"
	wait_until 5 is_state one running
	wait_until 5 roost domblkstat one vda
done

say "the keeper is killed: another one answers"
kill_and_wait KILL "$(of_status one keeper_pid)"
roost domblkstat one vda >/dev/null

# --- of guests that do not run ---------------------------------------------------------------------------------------
say "stopped again"
roost destroy one
check_sizes "stopped"
check_status 5 roost domifstat one nic0
check_match "not running" "guest 'one' is not running" "$out"
mv "$TMPDIR/data.qcow2" "$TMPDIR/away"
check_status 3 roost domblkinfo one sdb
check_match "which disk" "guest 'one', disk 'sdb': .*data.qcow2" "$out"
check_eq "the others are told" "$(of_file "$TMPDIR/one.raw" 1048576)" "$(sizes one vda)"
echo "no header at all, but long enough to be one" >"$TMPDIR/data.qcow2"
check_status 2 roost domblkinfo one sdb
mv "$TMPDIR/away" "$TMPDIR/data.qcow2"
