#!/bin/sh
# A guest from an image: the overlay boots by BIOS and by UEFI, its root grows to the size that was asked for, its data
# outlives stop and redefinition; the image stays as it was, and a start says so when it is gone or no image any more.
# limit: 500
. "$TOP/tests/e2e/lib.sh"
need tiny.qcow2

cp "$GUESTS/tiny.qcow2" "$TMPDIR/base.qcow2"
sum=$(sha256sum <"$TMPDIR/base.qcow2")
# definition NAME FIRMWARE MEMORY
definition() {
	cat <<-END
		name: $1
		memory: $3
		firmware: $2
		disks:
		  - image: $TMPDIR/base.qcow2
		    size: 1G
		interfaces:
		  - user: {restrict: true, hostfwd: ["-22"]}
		cloud_init: {user: root}
	END
}
guest() {
	guest_name=$1
	shift
	roost ssh "root@$guest_name" "$@" </dev/null
}
overlay() {
	roost domblklist "$1" --json | jq -r '.[0].source'
}
root_kib() {
	guest "$1" df -k / | awk 'NR == 2 { print $2 }'
}
root_grew() {
	[ "$(root_kib "$1")" -gt 900000 ]
}
unchanged() {
	check_eq "the image" "$sum" "$(sha256sum <"$TMPDIR/base.qcow2")"
}

say "refused"
definition small bios 192M | sed 's/size: 1G/size: 1M/' >"$TMPDIR/small.yaml"
check_status 2 roost define "$TMPDIR/small.yaml"
check_match "less than the image" "1 MiB is less than the 128 MiB of the image .*base.qcow2" "$out"
definition none bios 192M | sed 's/base.qcow2/none.qcow2/' >"$TMPDIR/none.yaml"
check_status 3 roost define "$TMPDIR/none.yaml"
check_match "it is named" "none.qcow2" "$out"
check_eq "nothing was made" "" "$(roost list --all --name)"

say "an image that stands on another: it must stand alone, when defined and when started"
need pico.raw
cp "$GUESTS/pico.raw" "$TMPDIR/bottom.raw"
qemu-img convert -O qcow2 "$TMPDIR/bottom.raw" "$TMPDIR/middle.qcow2"
printf 'name: stands\nmemory: 32M\ndisks:\n  - image: %s\n' "$TMPDIR/middle.qcow2" >"$TMPDIR/stands.yaml"
roost define "$TMPDIR/stands.yaml"
qemu-img create -q -f qcow2 -F raw -b "$TMPDIR/bottom.raw" "$TMPDIR/middle.qcow2"
out=$(roost start stands 2>&1) && fail "a guest started on an image that stands on another"
check_match "it is named" "middle.qcow2' names raw .*bottom.raw as its backing file now, and was recorded on nothing" "$out"
roost undefine stands --remove-all-storage
check_status 5 roost define "$TMPDIR/stands.yaml"
check_match "they are named" "middle.qcow2' has a backing file.*bottom.raw" "$out"

say "by UEFI, beside the other"
if ls /usr/share/OVMF/*CODE*.fd /usr/share/qemu/firmware/*.json >/dev/null 2>&1; then
	definition uefi uefi 512M >"$TMPDIR/uefi.yaml"
	roost run -q "$TMPDIR/uefi.yaml" --timeout 400s >"$TMPDIR/uefi.out" 2>&1 &
	uefi=$!
else
	uefi=
	say "(there is no UEFI firmware here)"
fi

say "by BIOS"
definition bios bios 192M >"$TMPDIR/bios.yaml"
roost define "$TMPDIR/bios.yaml"
check_json "its disk" '."virtual-size" == 1073741824 and ."backing-filename-format" == "qcow2"' \
	"$(qemu-img info --output json "$(overlay bios)")"
roost start bios
roost wait -q bios --for login --timeout 300s
wait_until 30 root_grew bios
check_eq "by BIOS" none "$(guest bios 'ls /sys/firmware/efi 2>/dev/null | head -n 1 | grep . || echo none')"
guest bios 'echo kept over a stop >/root/kept && sync'
roost shutdown bios --timeout 60s
qemu-img check -q "$(overlay bios)"
unchanged

say "defined anew: the disk stays"
inode=$(stat -c %i "$(overlay bios)")
definition bios bios 224M >"$TMPDIR/bios.yaml"
check_match "defined anew" "changed" "$(roost define "$TMPDIR/bios.yaml")"
check_eq "the same file" "$inode" "$(stat -c %i "$(overlay bios)")"

say "the image is missing"
mv "$TMPDIR/base.qcow2" "$TMPDIR/away.qcow2"
out=$(roost start bios 2>&1) && fail "a guest started without its image"
check_match "it is named" "base.qcow2" "$out"
check_eq "shut off" "shut off" "$(state bios)"
say "the image is no qcow2 any more"
head -c 200000 /dev/urandom >"$TMPDIR/base.qcow2"
out=$(roost start bios 2>&1) && fail "a guest started on garbage"
check_match "it is named" "base.qcow2" "$out"
mv "$TMPDIR/away.qcow2" "$TMPDIR/base.qcow2"

say "again, with its data"
roost start bios
roost wait -q bios --for login --timeout 300s
check_eq "what it wrote" "kept over a stop" "$(guest bios cat /root/kept)"
memory=$(guest bios cat /proc/meminfo | awk '/^MemTotal/ { print $2 }')
[ "$memory" -gt 160000 ] || fail "it has $memory KiB of memory, not its new 224 MiB"
path=$(overlay bios)
roost destroy bios
qemu-img check -q "$path"
say "undefine keeps the disk, --remove-all-storage does not"
check_match "kept" "kept: " "$(roost undefine bios)"

if [ -n "$uefi" ]; then
	say "the one by UEFI"
	status=0
	wait "$uefi" || status=$?
	[ $status -eq 0 ] || fail "by UEFI: $status: $(cat "$TMPDIR/uefi.out")"
	guest uefi test -d /sys/firmware/efi
	wait_until 60 root_grew uefi
	path=$(overlay uefi)
	roost shutdown uefi --timeout 100s
	qemu-img check -q "$path"
	roost undefine uefi --remove-all-storage
	[ ! -e "$path" ] || fail "--remove-all-storage has kept $path"
fi
unchanged
