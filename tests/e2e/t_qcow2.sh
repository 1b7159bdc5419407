#!/bin/sh
# The image verbs agree with qemu-img over images of every option that qemu-img can make.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
command -v qemu-img >/dev/null || skip "there is no qemu-img"
mkdir "$TMPDIR/here"
cd "$TMPDIR/here"

# --- the images ---------------------------------------------------------------------------------------------------
# fill IMAGE OFFSET=BYTES...: patterns into it
fill() {
	fill_image=$1
	shift
	for fill_at; do
		qemu-io -f qcow2 -c "write -P 0x5a ${fill_at%=*} ${fill_at#*=}" "$fill_image" >/dev/null
	done
}
make() {
	make_name=$1
	shift
	qemu-img create -q -f qcow2 "$@" "$make_name.qcow2" 8M
	fill "$make_name.qcow2" 0=512 1M=64k 3000k=100k
}
for bits in 512 1k 4k 64k 256k 1M 2M; do
	make "c$bits" -o "cluster_size=$bits"
done
make v2 -o compat=0.10
make ext -o extended_l2=on
make ext2M -o extended_l2=on,cluster_size=2M
make lazy -o lazy_refcounts=on
for bits in 1 2 4 8 32 64; do
	make "rc$bits" -o "refcount_bits=$bits"
done
for mode in metadata falloc full; do
	make "pre$mode" -o "preallocation=$mode"
done
make snapshots
qemu-img snapshot -c first snapshots.qcow2
fill snapshots.qcow2 2M=128k
qemu-img snapshot -c 'second one' snapshots.qcow2
make bitmaps
qemu-img bitmap --add bitmaps.qcow2 b0
qemu-img convert -O qcow2 -c c64k.qcow2 zlib.qcow2
qemu-img convert -O qcow2 -c -o compression_type=zstd c64k.qcow2 zstd.qcow2
qemu-img convert -O qcow2 -c -o cluster_size=512 c64k.qcow2 zlib512.qcow2
qemu-img create -q -f qcow2 -b c64k.qcow2 -F qcow2 middle.qcow2
fill middle.qcow2 2M=64k
qemu-img create -q -f qcow2 -b "$PWD/middle.qcow2" -F qcow2 -o extended_l2=on top.qcow2 12M
fill top.qcow2 5M=2k 11M=4k
qemu-io -f qcow2 -c 'write -z 1M 64k' -c 'write -z -u 2M 32k' top.qcow2 >/dev/null
qemu-img create -q -f raw plain.raw 5000000
qemu-img create -q -f qcow2 -b plain.raw -F raw onraw.qcow2
qemu-img create -q -f qcow2 empty.qcow2 0

# --- info ---------------------------------------------------------------------------------------------------------
say "info, as JSON"
# only what roost tells: bitmaps it does not read, and which jq sorts
for image in *.qcow2; do
	check_eq "info of $image" \
		"$(qemu-img info -f qcow2 --output=json "$image" | jq -S 'del(.["format-specific"].data.bitmaps)')" \
		"$(roost image info --json "$image" | jq -S .)"
done
check_eq "info of a raw file" "$(qemu-img info -f raw --output=json plain.raw | jq -S .)" \
	"$(roost image info --json plain.raw | jq -S .)"
check_eq "a qcow2 file taken as raw" "$(qemu-img info -f raw --output=json top.qcow2 | jq -S .)" \
	"$(roost image info --json -f raw top.qcow2 | jq -S .)"
check_eq "by its whole path" "$(qemu-img info -f qcow2 --output=json "$PWD/middle.qcow2" | jq -S .)" \
	"$(roost image info --json "$PWD/middle.qcow2" | jq -S .)"
check_eq "a chain" "$(qemu-img info -f qcow2 --backing-chain --output=json top.qcow2 | jq -S 'map(del(.filename, .["full-backing-filename"]))')" \
	"$(roost image info --json --backing-chain top.qcow2 | jq -S 'map(del(.filename, .["full-backing-filename"]))')"
check_json "its files" 'map(.filename | split("/") | last) == ["top.qcow2", "middle.qcow2", "c64k.qcow2"]' \
	"$(roost image info --json --backing-chain top.qcow2)"

say "info, for people"
for image in c64k v2 ext middle top empty; do
	check_eq "info of $image" "$(qemu-img info -f qcow2 "$image.qcow2" | sort)" "$(roost image info "$image.qcow2" | sort)"
done
check_match "snapshots" "^    2: second one$" "$(roost image info snapshots.qcow2)"
check_eq "three of a chain" 3 "$(roost image info --backing-chain top.qcow2 | grep -c '^image: ')"

say "info, bad input"
check_status 3 roost image info no-such-file
check_status 5 roost image info .
check_status 2 roost image info c64k.qcow2 --format vmdk
check_status 2 roost image info plain.raw --format qcow2
printf 'KDMV and more' >x.vmdk
check_status 5 roost image info x.vmdk
check_match "by its name" "VMDK" "$out"
head -c 60 c64k.qcow2 >cut.qcow2
check_status 2 roost image info cut.qcow2
qemu-img create -q -u -f qcow2 -b nbd://host/x -F raw protocol.qcow2 1M
check_eq "a protocol is told" nbd://host/x "$(roost image info --json protocol.qcow2 | jq -r '.["full-backing-filename"]')"
check_status 5 roost image info --backing-chain protocol.qcow2
qemu-img create -q -u -f qcow2 -b "$(printf 'a\033[2Jb')" -F raw escape.qcow2 1M
check_no_match "nothing for the terminal" "$(printf '\033')" "$(roost image info escape.qcow2)"
check_match "but seen" 'backing file: a.x1b\[2Jb' "$(roost image info escape.qcow2)"
qemu-img create -q -u -f qcow2 -b "$(printf 'a\377b')" -F raw bytes.qcow2 1M
check_json "no UTF-8" '.["backing-filename"] == "a\\xffb"' "$(roost image info --json bytes.qcow2)"
