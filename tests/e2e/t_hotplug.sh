#!/bin/sh
# What is plugged, changed and taken away while a real Linux guest runs: each change seen from inside it, and from the
# host; and what becomes of it when the keeper dies, the guest clings to it, or there is a next start.
# limit: 480
. "$TOP/tests/e2e/lib.sh"
need tiny-vmlinux tiny-initrd

cat >"$TMPDIR/tiny.yaml" <<-END
	name: tiny
	memory: 256M
	max_memory: 1G
	vcpus: 1
	max_vcpus: 3
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: console=ttyS0 no_timer_check quiet
	disks:
	  - size: 64M
	    serial: BOOT-DISK
	interfaces:
	  - user: {restrict: true, hostfwd: ["-22"]}
	    mac: 52:54:00:00:00:01
	cloud_init: {user: root}
END
roost run -q "$TMPDIR/tiny.yaml" --timeout 300s

guest() {
	roost ssh root@tiny "$@" </dev/null
}
mem_kib() { # mem_kib MemTotal|MemAvailable
	guest cat /proc/meminfo | awk -v key="$1:" '$1 == key { print $2 }'
}
guest_says() { # guest_says VALUE COMMAND
	[ "$(guest "$2")" = "$1" ]
}
memory() {
	roost dominfo --json tiny | jq .current_memory
}
vcpus() {
	roost dominfo --json tiny | jq .current_vcpus
}
kill_keeper() {
	kill_and_wait KILL "$(of_status tiny keeper_pid)"
}

# --- memory ---------------------------------------------------------------------------------------------------------
say "setmem: refused"
check_status 2 roost setmem tiny 200
check_match "no suffix" "200.*(suffix|M)" "$out"
check_status 2 roost setmem tiny 4M
check_match "too little" "16 MiB" "$out"
check_status 5 roost setmem tiny 1100M
check_match "too much: the limit" "1 GiB" "$out"
check_match "too much: the remedy" "setmaxmem" "$out"
check_status 2 roost setmem tiny 257M
check_match "a step of 2 MiB" "2 MiB" "$out"

say "setmem: down and up"
# until it has all its drivers, they take of its memory
wait_until 30 guest "[ -e /var/lib/cloud/instance/boot-finished ]"
total=$(mem_kib MemTotal)
free=$(mem_kib MemAvailable)
roost setmem tiny 176M
check_eq "it is known" $((176 << 20)) "$(memory)"
less_free() {
	[ "$(mem_kib MemAvailable)" -lt $((free - 60000)) ]
}
wait_until 15 less_free
roost setmem tiny 256M
free_again() {
	[ "$(mem_kib MemAvailable)" -gt $((free - 12000)) ]
}
wait_until 15 free_again

say "setmem: above the boot size, and back"
roost setmem tiny 512M
more() {
	[ "$(mem_kib MemTotal)" -ge $((total + 250000)) ]
}
wait_until 15 more
check_eq "it is known" $((512 << 20)) "$(memory)"
check_match "list --wide" '512 MiB' "$(roost list --wide)"
say "a new keeper knows it, too"
kill_keeper
check_eq "state" running "$(state tiny)"
check_eq "memory after adoption" $((512 << 20)) "$(memory)"
roost setmem tiny 256M
no_more() {
	[ "$(mem_kib MemTotal)" -lt $((total + 20000)) ]
}
wait_until 15 no_more
check_eq "it is known" $((256 << 20)) "$(memory)"

say dommemstat
stats=$(roost dommemstat tiny --json)
check_json "dommemstat" '.actual == 262144 and .rss > 30000 and .available > 100000 and .unused < .available' "$stats"
check_match "as virsh prints it" '^actual 262144$' "$(roost dommemstat tiny)"

say "setmaxmem: for the next start only, whoever keeps the guest"
roost setmaxmem tiny 2G
check_status 5 roost setmem tiny 1536M
check_match "the limit is the running guest's" "1 GiB" "$out"
kill_keeper
check_status 5 roost setmem tiny 1536M
check_match "the limit is the running guest's, after an adoption" "1 GiB" "$out"

# --- vCPUs ----------------------------------------------------------------------------------------------------------
say setvcpus
check_status 2 roost setvcpus tiny 0
check_status 5 roost setvcpus tiny 4
check_match "the limit" "1 to 3" "$out"
check_status 2 roost setvcpus tiny two
check_eq "at boot" 1 "$(guest nproc)"
roost setvcpus tiny 3
wait_until 20 guest_says 3 nproc
check_eq "it is known" 3 "$(vcpus)"
agent_runs() {
	roost qmp tiny query-chardev | jq -e 'any(.[]; .label == "agent0" and ."frontend-open")'
}
wait_until 60 agent_runs
roost setvcpus tiny 2
check_eq "one taken away" 2 "$(guest nproc)"
check_eq "it is known" 2 "$(vcpus)"
kill_keeper
check_eq "vCPUs after adoption" 2 "$(roost domstate tiny >/dev/null && vcpus)"
check_eq "in the guest after adoption" 2 "$(guest nproc)"
roost setvcpus tiny 1
check_eq "and another" 1 "$(guest nproc)"
roost setvcpus tiny 3
wait_until 20 guest_says 3 nproc
guest killall -STOP qemu-ga
check_status 5 roost setvcpus tiny 1
check_match "without the agent: why" "agent" "$out"
check_eq "nothing was done" 3 "$(guest nproc)"
check_eq "it is known" 3 "$(vcpus)"
guest killall -CONT qemu-ga
roost setvcpus tiny 2 --config
check_eq "--config changes no running guest" 3 "$(vcpus)"

say "one vCPU moves a device about while the others write to theirs"
# with threads of their own that would be the end of QEMU, before 10.1 (accel.h): its timers are devices, too
# shellcheck disable=SC2016 # for the guest's shell
guest 'for i in 1 2 3; do (while :; do usleep 200; done) & busy="$busy $!"; done
	cd "$(dirname "$(grep -l -e 0x1005 -e 0x1044 /sys/bus/pci/devices/*/device)")" && echo "${PWD##*/}" >driver/unbind
	printf "\\0" >/tmp/off && printf "\\2" >/tmp/on # whether it answers at its addresses
	for i in $(seq 200); do
		for as in off on; do dd if=/tmp/$as of=config bs=1 seek=4 conv=notrunc; done
	done
	kill $busy' >"$TMPDIR/moved" 2>&1 || fail "it is lost: $(reason tiny): $(tail -n 1 "$TMPDIR/moved")"
check_eq "it has been moved" 800 "$(grep -c '^1+0 records' "$TMPDIR/moved")"
check_eq "it runs" running "$(state tiny)"

# --- disks ----------------------------------------------------------------------------------------------------------
# /dev/NAME of the disk with that serial
dev_of() {
	guest "grep -lx '$1' /sys/block/*/serial 2>/dev/null" | cut -d / -f 4
}
has_disk() {
	[ -n "$(dev_of "$1")" ]
}
has_no_disk() {
	[ -z "$(dev_of "$1")" ]
}
# free_to_write FILE: no QEMU holds its lock
free_to_write() {
	qemu-io -f "${2:-qcow2}" -c 'read 0 512' "$1" >/dev/null
}

say "attach-disk: refused"
qemu-img create -q -f qcow2 "$TMPDIR/one.qcow2" 32M
check_status 2 roost attach-disk tiny "$TMPDIR/one.qcow2"
check_match "no format" "format" "$out"
check_status 3 roost attach-disk tiny "$TMPDIR/none.qcow2" --format qcow2
check_status 5 roost attach-disk tiny "$TMPDIR/one.qcow2" --format qcow2 --target vda
check_match "target taken" "'vda' already" "$out"
sets=$(roost qmp tiny query-fdsets | jq -c 'map(.["fdset-id"]) | sort')
head -c 1M /dev/urandom >"$TMPDIR/garbage"
out=$(roost attach-disk tiny "$TMPDIR/garbage" --format qcow2 2>&1) && fail "garbage was attached as qcow2"
check_match "garbage" "garbage" "$out"
check_eq "nothing is left of it" "$sets" "$(roost qmp tiny query-fdsets | jq -c 'map(.["fdset-id"]) | sort')"

say "attach-disk: qcow2"
out=$(roost attach-disk tiny "$TMPDIR/one.qcow2" --format qcow2 --serial ONE)
check_match "where" "as vd[b-z]" "$out"
one=${out##*as }
wait_until 15 has_disk ONE
dev=$(dev_of ONE)
check_eq "its size" $((32 << 11)) "$(guest cat "/sys/block/$dev/size")"
check_match "domblklist" "^ $one +$TMPDIR/one.qcow2$" "$(roost domblklist tiny)"
guest "printf written-by-the-guest | dd of=/dev/$dev bs=1M seek=3 conv=fsync 2>/dev/null"
qemu-img create -q -f qcow2 "$TMPDIR/over.qcow2" -F qcow2 -b "$TMPDIR/one.qcow2"
out=$(roost attach-disk tiny "$TMPDIR/one.qcow2" --format qcow2 2>&1) && fail "a disk was attached twice"
check_match "in use" "in use" "$out"

say "blockresize, live"
roost blockresize tiny "$one" 48M
wait_until 10 guest_says $((48 << 11)) "cat /sys/block/$dev/size"
check_status 5 roost blockresize tiny "$one" 16M
check_status 2 roost blockresize tiny "$one" 48
check_status 2 roost blockresize tiny "$one" $(((48 << 20) + 100))B
check_status 3 roost blockresize tiny vdq 64M
check_eq "as it was" $((48 << 11)) "$(guest cat "/sys/block/$dev/size")"

say "the keeper dies, and detach"
kill_keeper
roost detach-disk tiny "$one"
free_to_write "$TMPDIR/one.qcow2" || fail "the file is still held after detach-disk returned"
wait_until 10 has_no_disk ONE
check_no_match "domblklist" "one.qcow2" "$(roost domblklist tiny)"
qemu-img check -q "$TMPDIR/one.qcow2"
qemu-img convert -O raw "$TMPDIR/one.qcow2" "$TMPDIR/one.raw"
check_eq "what the guest wrote" written-by-the-guest "$(dd if="$TMPDIR/one.raw" bs=1M skip=3 count=1 status=none | tr -d '\0')"
check_eq "its new size" $((48 << 20)) "$(stat -c %s "$TMPDIR/one.raw")"
check_status 3 roost detach-disk tiny "$one"
check_status 5 roost detach-disk tiny vda
check_match "one it booted with" "when guest 'tiny' started" "$out"

say "attach-disk: raw, and read-only"
truncate -s 16M "$TMPDIR/two.raw"
check_match "--target" "as vdk" "$(roost attach-disk tiny "$TMPDIR/two.raw" --format raw --serial TWO --target vdk)"
wait_until 15 has_disk TWO
guest "printf raw-words | dd of=/dev/$(dev_of TWO) bs=512 seek=9 conv=fsync 2>/dev/null"
check_eq "on the host" raw-words "$(dd if="$TMPDIR/two.raw" bs=512 skip=9 count=1 status=none | tr -d '\0')"
sum=$(sha256sum <"$TMPDIR/one.raw")
roost attach-disk tiny "$TMPDIR/one.raw" --format raw --serial RO --readonly --target vdl
wait_until 15 has_disk RO
check_eq "read-only" 1 "$(guest cat "/sys/block/$(dev_of RO)/ro")"
guest "echo no | dd of=/dev/$(dev_of RO) conv=fsync 2>/dev/null" && fail "the guest could write to a read-only disk"
check_eq "it reads it" "$sum" "$(guest "sha256sum </dev/$(dev_of RO)")"
roost detach-disk tiny vdl
check_eq "unchanged" "$sum" "$(sha256sum <"$TMPDIR/one.raw")"

say "attach-disk: a chain"
base=$(sha256sum <"$TMPDIR/one.qcow2")
qemu-img create -q -f qcow2 "$TMPDIR/top.qcow2" -F qcow2 -b "$TMPDIR/over.qcow2" 64M
roost attach-disk tiny "$TMPDIR/top.qcow2" --format qcow2 --serial TOP --target vdm
wait_until 15 has_disk TOP
check_eq "it reads the lowest layer" written-by-the-guest \
	"$(guest "dd if=/dev/$(dev_of TOP) bs=1M skip=3 count=1 2>/dev/null | tr -d '\\0'")"
guest "printf on-top | dd of=/dev/$(dev_of TOP) bs=1M seek=3 conv=fsync 2>/dev/null"
roost detach-disk tiny "$TMPDIR/top.qcow2"
wait_until 10 has_no_disk TOP
qemu-img check -q "$TMPDIR/top.qcow2"
check_eq "the lower layers" "$base" "$(sha256sum <"$TMPDIR/one.qcow2")"
check_match "the top one" on-top "$(qemu-img convert -O raw "$TMPDIR/top.qcow2" "$TMPDIR/top.raw" &&
	dd if="$TMPDIR/top.raw" bs=1M skip=3 count=1 status=none | tr -d '\0')"

say "a disk that the guest holds"
dev=/dev/$(dev_of TWO)
guest "mke2fs $dev >/dev/null && mkdir -p /mnt && mount -t ext4 $dev /mnt && echo kept >/mnt/file && sync"
status=0
roost detach-disk tiny vdk --timeout 20s || status=$?
case $status in
0) free_to_write "$TMPDIR/two.raw" raw || fail "the file is still held after detach-disk returned" ;;
6 | 8) check_match "it is still listed" "vdk" "$(roost domblklist tiny)" ;;
*) fail "detach-disk of a mounted disk: status $status" ;;
esac
guest true

# --- interfaces -----------------------------------------------------------------------------------------------------
nics() {
	guest 'ls /sys/class/net | grep -c ^eth'
}
has_nics() {
	[ "$(nics)" -eq "$1" ]
}
has_address() {
	guest "ip -4 -o addr show" | grep -q ' eth1 .*10\.0\.'
}
say attach-interface
check_status 2 roost attach-interface tiny nosuch
check_status 5 roost attach-interface tiny user --restrict --mac 52:54:00:00:00:01
check_match "the MAC is taken" "already" "$out"
check_match "attached" "52:54:00:00:00:02" "$(roost attach-interface tiny user --restrict --mac 52:54:00:00:00:02)"
wait_until 15 has_nics 2
wait_until 20 has_address
check_match "its MAC" "52:54:00:00:00:02" "$(guest cat /sys/class/net/eth1/address)"
check_match "domiflist" "user +- +virtio +52:54:00:00:00:02" "$(roost domiflist tiny)"
check_match "another model" "52:54:00:00:00:03" "$(roost attach-interface tiny user --restrict --model e1000e --mac 52:54:00:00:00:03)"
wait_until 15 has_nics 3
check_match "domiflist of another model" "user +- +e1000e +52:54:00:00:00:03" "$(roost domiflist tiny)"
kill_keeper
check_match "domiflist after an adoption" "user +- +e1000e +52:54:00:00:00:03" "$(roost domiflist tiny)"
roost detach-interface tiny 52:54:00:00:00:03
wait_until 10 has_nics 2
roost detach-interface tiny 52:54:00:00:00:02
wait_until 10 has_nics 1
check_status 3 roost detach-interface tiny 52:54:00:00:00:02
check_status 5 roost detach-interface tiny 52:54:00:00:00:01
say "attach-interface with a forward"
out=$(roost attach-interface tiny user --restrict --forward -22 --mac 52:54:00:00:00:04 --json)
check_json "the port it got" '.forwards[0] | tostring | test("[0-9]{4,5}")' "$out"
roost detach-interface tiny 52:54:00:00:00:04
check_match "everything is given back" '^1$' "$(roost domiflist tiny | grep -c 52:54)"

# --- the next start -------------------------------------------------------------------------------------------------
say "--persistent"
roost attach-disk tiny "$TMPDIR/one.qcow2" --format qcow2 --serial ONE --persistent --target vdn
wait_until 15 has_disk ONE
check_eq "listed once" 1 "$(roost domblklist tiny | grep -c one.qcow2)"
roost destroy tiny
free_to_write "$TMPDIR/one.qcow2"
roost start tiny
check_json "setmaxmem, setvcpus --config" '.max_memory == 2147483648 and .vcpus == 2' "$(roost dominfo --json tiny)"
roost wait -q tiny --for login --timeout 300s
has_disk ONE || fail "the disk attached with --persistent is not there"
has_disk BOOT-DISK || fail "its own disk is not there"
check_eq "vCPUs" 2 "$(guest nproc)"
check_eq "listed once" 1 "$(roost domblklist tiny | grep -c one.qcow2)"
has_no_disk TWO || fail "a disk attached for one run is there at the next start"

say "a maximum that is not made of whole blocks"
need pico.raw
pico odd "max_memory: 37M"
roost start odd
check_eq "it runs" running "$(state odd)"
pico hair "max_memory: 33M"
roost start hair
check_eq "it runs without any" running "$(state hair)"
