#!/bin/sh
# The image verbs agree with qemu-img over images of every option that qemu-img can make.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
command -v qemu-img >/dev/null || lacking qemu-img
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

# --- create and resize --------------------------------------------------------------------------------------------
clean() {
	qemu-img check -q -f qcow2 "$1" || fail "qemu-img check of $1"
}
size_of() {
	qemu-img info -f "${2-qcow2}" --output=json "$1" | jq '.["virtual-size"]'
}
say "create"
for cluster in 512 4k 64k 2M; do
	roost image create "new$cluster.qcow2" 1G --cluster-size "$cluster"
	clean "new$cluster.qcow2"
	check_eq "its size" 1073741824 "$(size_of "new$cluster.qcow2")"
done
roost image create over.qcow2 -b c64k.qcow2 -F qcow2
check_eq "the base's size" 8388608 "$(size_of over.qcow2)"
qemu-img compare -q -f qcow2 -F qcow2 over.qcow2 c64k.qcow2
roost image create new.raw 3M -f raw
check_eq "raw" 3145728 "$(size_of new.raw raw)"
check_status 7 roost image create over.qcow2 1G
check_status 2 roost image create bad.qcow2 1G -b c64k.qcow2
check_status 2 roost image create bad.qcow2
check_status 2 roost image create bad.qcow2 10X
check_status 2 roost image create bad.qcow2 1G --cluster-size 100
check_status 3 roost image create bad.qcow2 -b missing.qcow2 -F qcow2
check_status 5 roost image create bad.qcow2 1G -b nbd:x -F raw
check_status 5 roost image create bad.qcow2 -b protocol.qcow2 -F qcow2
[ ! -e bad.qcow2 ] || fail "something was made"

say "resize"
for image in c512 c4k c64k c2M v2 ext ext2M lazy rc1 rc64 premetadata snapshots bitmaps zlib zstd empty over; do
	cp "$image.qcow2" grown.qcow2
	before=$(size_of grown.qcow2)
	for more in 512 10M 20G; do
		roost image resize grown.qcow2 "+$more"
		clean grown.qcow2
	done
	check_eq "the size of $image" $((before + 512 + 10485760 + 21474836480)) "$(size_of grown.qcow2)"
	qemu-img compare -q -f qcow2 -F qcow2 grown.qcow2 "$image.qcow2" || fail "$image is no longer what it was"
	qemu-io -f qcow2 -c "write -P 1 $((before + 5000000)) 64k" grown.qcow2 >/dev/null
	clean grown.qcow2
done
cp c64k.qcow2 grown.qcow2
check_status 5 roost image resize grown.qcow2 1M
check_match "what then" "--shrink" "$out"
check_eq "nothing was changed" "$(cksum <c64k.qcow2)" "$(cksum <grown.qcow2)"
roost image resize grown.qcow2 1M --shrink
check_eq "shrunk" 1048576 "$(size_of grown.qcow2)"
clean grown.qcow2
roost image resize new.raw 5M --format raw
check_eq "raw" 5242880 "$(size_of new.raw raw)"
check_status 2 roost image resize new.raw 6M
check_match "how" "--format raw" "$out"
check_status 2 roost image resize grown.qcow2 +
qemu-io -f qcow2 -c 'sleep 60000' grown.qcow2 >/dev/null &
user=$!
in_use() {
	! roost image resize grown.qcow2 +1M
}
wait_until 10 in_use
check_status 4 roost image resize grown.qcow2 +1M
kill $user

# --- what qemu-img does for us ------------------------------------------------------------------------------------
say "map"
for image in *.qcow2; do
	case $image in
	cut.* | protocol.* | escape.* | bytes.* | grown.*) continue ;;
	esac
	# what is a hole in the file changes as it is written back
	sync "$image"
	check_eq "map of $image" "$(qemu-img map -f qcow2 --output=json "$image" | jq -S 'map(del(.compressed))')" \
		"$(roost image map --json "$image" | jq -S 'map(del(.compressed, .filename))')"
done
check_eq "map of a raw file" "$(qemu-img map -f raw --output=json plain.raw | jq -S .)" \
	"$(roost image map --json plain.raw -f raw | jq -S 'map(del(.compressed, .filename))')"
check_json "compressed ones" 'any(.compressed and .data and (has("offset") | not))' "$(roost image map --json zstd.qcow2)"
check_json "the files" 'map(.filename // empty | split("/") | last) | unique == ["c64k.qcow2", "middle.qcow2", "top.qcow2"]' \
	"$(roost image map --json top.qcow2)"
check_match "for people" '^0xb00000 +0x1000 .* 0$' "$(roost image map top.qcow2)"
check_status 5 roost image map protocol.qcow2

say "check"
check_match "one" "is sound" "$(roost image check top.qcow2)"
check_json "as JSON" '.["check-errors"] == 0 and .filename == "c64k.qcow2"' "$(roost image check c64k.qcow2 --json)"
cp c64k.qcow2 leaky.qcow2
truncate -s +128k leaky.qcow2
# a refcount for the first of those clusters: nothing refers to it
python3 - leaky.qcow2 <<'END'
import struct, sys
with open(sys.argv[1], "r+b") as f:
    table = struct.unpack(">Q", f.read(56)[48:56])[0]
    f.seek(table)
    block = struct.unpack(">Q", f.read(8))[0]
    f.seek(0, 2)
    f.seek(block + 2 * (f.tell() // 65536 - 1))
    f.write(b"\0\1")
END
check_status 3 roost image check leaky.qcow2
check_match "how many" "0 corrupt, 1 leaked" "$out"
check_match "mended" "is sound" "$(roost image check leaky.qcow2 --repair leaks)"
check_status 2 roost image check leaky.qcow2 --repair some
check_status 2 roost image check plain.raw

say "convert and compare"
for image in c512 v2 ext zstd top onraw snapshots; do
	roost image convert "$image.qcow2" "$image.out" --compress
	clean "$image.out"
	check_match "$image" "identical" "$(roost image compare "$image.qcow2" "$image.out")"
	roost image convert "$image.qcow2" "$image.rawout" -O raw
	qemu-img compare -q -f qcow2 -F raw "$image.qcow2" "$image.rawout"
	check_json "with a raw one" '.identical' "$(roost image compare "$image.qcow2" "$image.rawout" -F raw --json)"
done
check_status 1 roost image compare c64k.qcow2 middle.qcow2
check_match "it says so" "different" "$out"
check_status 5 roost image convert c64k.qcow2 v2.out
check_status 5 roost image convert protocol.qcow2 p.out
check_status 2 roost image convert c64k.qcow2 p.out -O vmdk
[ ! -e p.out ] || fail "p.out was made"
check_eq "nothing half made" "" "$(find . -name '.roost-*')"

say "cancelled"
qemu-img create -q -f raw large.raw 8G
for at in 1 2 3 4 5 6 7; do
	dd if=/dev/urandom of=large.raw bs=1M count=24 seek=$((at * 1000)) conv=notrunc status=none
done
roost image convert large.raw large.out --compress >"$TMPDIR/said" 2>&1 &
at_work=$!
half_made() {
	[ -n "$(find . -name '.roost-*')" ]
}
wait_until 10 half_made
kill -TERM $at_work
status=0
wait $at_work || status=$?
check_eq "its end" 9 "$status"
check_match "it says so" "cancelled" "$(cat "$TMPDIR/said")"
check_eq "nothing half made" "" "$(find . -name '.roost-*')"
[ ! -e large.out ] || fail "large.out was made"
