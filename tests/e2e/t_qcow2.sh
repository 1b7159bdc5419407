#!/bin/sh
# The image verbs agree with qemu-img over images of every option that qemu-img can make.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
command -v qemu-img >/dev/null || lacking qemu-img
mkdir "$TMPDIR/here"
cd "$TMPDIR/here"

# --- the images ---------------------------------------------------------------------------------------------------
say "the images"
# all of 8M: data of several kinds, zeroes with and without a place, discarded clusters
make() {
	make_name=$1
	shift
	qemu-img create -q -f qcow2 "$@" "$make_name.qcow2" 8M
	qemu-io -f qcow2 -c 'write -P 0x5a 0 512' -c 'write -P 0x5a 1M 64k' -c 'write -P 0x5a 3000k 100k' -c 'write -z 4M 128k' \
		-c 'write -z -u 5M 100k' -c 'write -P 1 6M 256k' -c 'discard 6M 128k' "$make_name.qcow2" >/dev/null
}
for bytes in 512 1k 2k 4k 8k 16k 32k 64k 128k 256k 512k 1M 2M; do
	make "c$bytes" -o "cluster_size=$bytes"
done
for bytes in 512 64k 2M; do
	make "v2-$bytes" -o "compat=0.10,cluster_size=$bytes"
done
for bytes in 16k 64k 2M; do
	make "ext$bytes" -o "extended_l2=on,cluster_size=$bytes"
done
for bits in 1 2 4 8 32 64; do
	make "rc$bits" -o "refcount_bits=$bits"
done
for mode in metadata falloc full; do
	make "pre$mode" -o "preallocation=$mode"
done
make preext -o preallocation=metadata,extended_l2=on
make prev2 -o preallocation=metadata,compat=0.10
make lazy -o lazy_refcounts=on
make extlazy -o extended_l2=on,lazy_refcounts=on
make zstdtype -o compression_type=zstd,extended_l2=on
# packed NAME OPTIONS
packed() {
	qemu-img convert -f qcow2 -O qcow2 -c -o "$2" c64k.qcow2 "$1.qcow2"
}
for type in zlib zstd; do
	for bytes in 512 64k 2M; do
		packed "$type$bytes" "compression_type=$type,cluster_size=$bytes"
	done
	packed "${type}ext" "compression_type=$type,extended_l2=on"
done
packed zlibv2 compat=0.10
# sizes that are no whole clusters, and none at all
for size in 0 1 513 65535 65537 8389120 1T; do
	qemu-img create -q -f qcow2 "s$size.qcow2" "$size"
done
qemu-io -f qcow2 -c 'write -P 1 8389000 120' s8389120.qcow2 >/dev/null
cp c64k.qcow2 snapshots.qcow2
qemu-img snapshot -c first snapshots.qcow2
qemu-io -f qcow2 -c 'write -P 2 2M 128k' snapshots.qcow2 >/dev/null
qemu-img snapshot -c 'zweiter, größer' snapshots.qcow2
qemu-img snapshot -c gone snapshots.qcow2
qemu-img snapshot -d gone snapshots.qcow2
cp v2-64k.qcow2 v2snapshots.qcow2
qemu-img snapshot -c '' v2snapshots.qcow2
make bitmaps
qemu-img bitmap --add bitmaps.qcow2 b0
qemu-img bitmap --add -g 4k bitmaps.qcow2 "a second one"
qemu-img bitmap --add -g 1M --disable bitmaps.qcow2 "$(printf 'n%.0s' $(seq 1023))"
# what was not closed
qemu-img create -q -f qcow2 -o lazy_refcounts=on dirty.qcow2 1M
prlimit --core=0 qemu-io -f qcow2 -c 'write 0 1M' -c abort dirty.qcow2 >/dev/null 2>&1 || :
# chains: upon names of all kinds, raw files, longer and shorter ones
mkdir sub
qemu-img create -q -f qcow2 -b c64k.qcow2 -F qcow2 middle.qcow2
qemu-img create -q -f qcow2 -b "$PWD/middle.qcow2" -F qcow2 -o extended_l2=on top.qcow2 12M
qemu-img create -q -f qcow2 -b c512.qcow2 -F qcow2 -o cluster_size=2M short.qcow2 4194816
qemu-img create -q -f qcow2 -b short.qcow2 -F qcow2 -o compat=0.10 onshort.qcow2 8M
qemu-img create -q -f qcow2 -b ../zstd64k.qcow2 -F qcow2 sub/aside.qcow2
qemu-img create -q -f qcow2 -b sub/aside.qcow2 -F qcow2 through.qcow2
qemu-img create -q -f raw plain.raw 5000000
qemu-io -f raw -c 'write -P 7 1M 70000' plain.raw >/dev/null
qemu-img create -q -f qcow2 -b plain.raw -F raw onraw.qcow2
qemu-img create -q -f qcow2 -b "$PWD/onraw.qcow2" -F qcow2 -o cluster_size=512 onthat.qcow2 9M
qemu-io -f qcow2 -c 'write -P 2 2M 64k' middle.qcow2 >/dev/null
qemu-io -f qcow2 -c 'write -P 3 5M 2k' -c 'write -P 3 11M 4k' -c 'write -z 1M 64k' -c 'write -z -u 2M 32k' top.qcow2 >/dev/null
qemu-io -f qcow2 -c 'write -P 4 1M 4k' onthat.qcow2 >/dev/null

# --- info and map -------------------------------------------------------------------------------------------------
# What is a hole in the file changes as it is written back.
sync ./*.qcow2 plain.raw sub/*
# ask WHAT COMMAND...: of each image, into a file per image
ask() {
	ask_what=$1
	shift
	mkdir -p "$ask_what"
	for image in *.qcow2; do
		"$@" "$image" >"$ask_what/$image" 2>&1 || fail "$ask_what of $image: $(cat "$ask_what/$image")"
	done
}
# agree WHAT [FILTER]: ours/WHAT is what theirs/WHAT is, as JSON, image for image
agree() {
	for side in theirs ours; do
		(cd "$side/$1" && jq -cS "[input_filename, (${2-.})]" ./*) >"$side.json"
	done
	[ "$(wc -l <ours.json)" -gt 50 ] || fail "$1: hardly any image was looked at"
	diff -u theirs.json ours.json || fail "$1: not what qemu-img tells"
}
say "info, as JSON"
mkdir theirs ours
ask theirs/info qemu-img info -f qcow2 --output=json
ask ours/info roost image info --json
agree info
say "info of chains"
ask theirs/chain qemu-img info -f qcow2 --backing-chain --output=json
ask ours/chain roost image info --json --backing-chain
agree chain
check_json "three of a chain" 'map(.filename | split("/") | last) == ["top.qcow2", "middle.qcow2", "c64k.qcow2"]' "$(cat ours/chain/top.qcow2)"
check_eq "info of a raw file" "$(qemu-img info -f raw --output=json plain.raw | jq -S .)" \
	"$(roost image info --json plain.raw | jq -S .)"
check_eq "a qcow2 file taken as raw" "$(qemu-img info -f raw --output=json top.qcow2 | jq -S .)" \
	"$(roost image info --json -f raw top.qcow2 | jq -S .)"
check_eq "by its whole path" "$(qemu-img info -f qcow2 --output=json "$PWD/middle.qcow2" | jq -S .)" \
	"$(roost image info --json "$PWD/middle.qcow2" | jq -S .)"

say "map"
ask theirs/map qemu-img map -f qcow2 --output=json
ask ours/map roost image map --json
agree map 'map(del(.compressed, .filename))'
check_eq "map of a raw file" "$(qemu-img map -f raw --output=json plain.raw | jq -S .)" \
	"$(roost image map --json plain.raw -f raw | jq -S 'map(del(.compressed, .filename))')"
check_json "compressed ones" 'any(.compressed and .data and (has("offset") | not))' "$(cat ours/map/zstd64k.qcow2)"
check_json "the files" 'map(.filename // empty | split("/") | last) | unique == ["c64k.qcow2", "middle.qcow2", "top.qcow2"]' \
	"$(cat ours/map/top.qcow2)"
check_match "for people" '^0xb00000 +0x1000 .* 0$' "$(roost image map top.qcow2)"

say "info of encrypted ones"
mkdir secret
agrees() {
	sync "secret/$1.qcow2" # its size on the disk is compared, too
	check_eq "$1" "$(qemu-img info --output=json "secret/$1.qcow2" | jq -S .)" "$(roost image info --json "secret/$1.qcow2" | jq -S .)"
	check_eq "$1, for people" "$(qemu-img info "secret/$1.qcow2" | sort)" "$(roost image info "secret/$1.qcow2" | sort)"
}
# luks NAME OPTIONS CIPHER MODE HASH KEY-BYTES
luks() {
	qemu-img create -q -f qcow2 -o "$2" "secret/$1.qcow2" 4M
	python3 "$TOP/tests/e2e/luks_header.py" "secret/$1.qcow2" "$3" "$4" "$5" "$6"
	agrees "$1"
}
qemu-img create -q --object secret,id=key,data=abc -f qcow2 -o encrypt.format=aes,encrypt.key-secret=key secret/aes.qcow2 4M
agrees aes
luks luks compat=1.1 aes xts-plain64 sha256 64
luks v2 compat=0.10,cluster_size=512 serpent ctr-plain64 sha256 24
luks essiv cluster_size=2M aes cbc-essiv:sha256 sha1 16
# what qemu-img cannot open because of its LUKS header: of another version, no name, no slot
at=$(grep -abo LUKS secret/luks.qcow2 | cut -d : -f 1)
for where in 0 7 8 208; do
	cp secret/luks.qcow2 secret/broken.qcow2
	printf '\377' | dd of=secret/broken.qcow2 bs=1 seek=$((at + where)) conv=notrunc status=none
	status=0
	out=$(roost image info secret/broken.qcow2 2>&1) || status=$?
	case $where in
	8) check_eq "another cipher is told as it is" 0 $status ;;
	*) check_eq "byte $where" 2 $status && check_match "byte $where" "broken.qcow2': .*LUKS header" "$out" ;;
	esac
done

say "info, for people"
for image in c64k v2-512 ext64k middle top s0 bitmaps; do
	check_eq "info of $image" "$(qemu-img info -f qcow2 "$image.qcow2" | sort)" "$(roost image info "$image.qcow2" | sort)"
done
check_match "not closed" "^cleanly shut down: no$" "$(roost image info dirty.qcow2)"
check_match "snapshots" "^    2: zweiter, größer$" "$(roost image info snapshots.qcow2)"
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
# created OURS THEIRS OPTIONS-OF-QEMU-IMG: the two are alike, and ours is sound
created() {
	clean "$1"
	qemu-img create -q -f qcow2 -o "$3" "$2"
	for created in "$1" "$2"; do
		qemu-img info -f qcow2 --output=json "$created" | jq -S 'del(.filename, .["actual-size"])' >"$created.json"
	done
	diff -u "$2.json" "$1.json" || fail "$1 is not what qemu-img makes"
}
for cluster in 512 1k 4k 64k 256k 2M; do
	for size in 0 513 3G; do
		rm -f new.qcow2
		roost image create new.qcow2 "$size" --cluster-size "$cluster" >/dev/null
		created new.qcow2 theirs.qcow2 "cluster_size=$cluster,size=$size"
	done
done
rm new.qcow2
roost image create new.qcow2 60T >/dev/null
created new.qcow2 theirs.qcow2 size=60T
roost image create over.qcow2 -b c64k.qcow2 -F qcow2
created over.qcow2 theirs.qcow2 backing_file=c64k.qcow2,backing_fmt=qcow2
rm new.qcow2
roost image create new.qcow2 20M -b sub/aside.qcow2 -F qcow2
created new.qcow2 theirs.qcow2 backing_file=sub/aside.qcow2,backing_fmt=qcow2,size=20M
rm new.qcow2
roost image create new.qcow2 -b plain.raw -F raw
created new.qcow2 theirs.qcow2 backing_file=plain.raw,backing_fmt=raw
rm new.qcow2 theirs.qcow2
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
for image in c512 c64k c2M v2-64k ext64k ext2M lazy rc1 rc64 premetadata snapshots bitmaps zlib64k zstd2M s0 s513 s8389120 \
	over short onshort onraw; do
	cp "$image.qcow2" grown.qcow2
	cp "$image.qcow2" theirs.qcow2
	before=$(size_of grown.qcow2)
	for more in 512 20G; do
		roost image resize grown.qcow2 "+$more" >/dev/null
	done
	clean grown.qcow2
	after=$((before + 512 + 21474836480))
	check_eq "the size of $image" $after "$(size_of grown.qcow2)"
	# what a longer base has does not come up in what is new
	qemu-img resize -q -f qcow2 theirs.qcow2 "+$((after - before))"
	qemu-img compare -q -f qcow2 -F qcow2 -s grown.qcow2 theirs.qcow2 || fail "$image holds something else than by qemu-img"
	qemu-io -f qcow2 -c "write -P 1 $((before + 5000000)) 64k" grown.qcow2 >/dev/null
	clean grown.qcow2
done
rm theirs.qcow2
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
# asked of the kernel, for whoever tried it might be in its way: the last one of QEMU's locks, that nobody else resizes it
in_use() {
	grep -q ":$(stat -c %i grown.qcow2) 203 203\$" /proc/locks
}
wait_until 10 in_use
check_status 4 roost image resize grown.qcow2 +1M
check_status 4 roost image check grown.qcow2
check_status 4 roost image convert grown.qcow2 grown.out
check_match "who has it" "disk 'grown.qcow2' is in use by another process, which writes to it" "$out"
kill $user

# --- what qemu-img does for us ------------------------------------------------------------------------------------
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
for image in c512 v2-64k ext64k zstd64k top onraw snapshots; do
	roost image convert "$image.qcow2" "$image.out" --format qcow2 --compress
	clean "$image.out"
	check_match "$image" "identical" "$(roost image compare "$image.qcow2" -f qcow2 "$image.out")"
	roost image convert "$image.qcow2" "$image.rawout" -f qcow2 -O raw
	qemu-img compare -q -f qcow2 -F raw "$image.qcow2" "$image.rawout"
	check_json "with a raw one" '.identical' "$(roost image compare "$image.qcow2" -f qcow2 "$image.rawout" -F raw --json)"
done
roost image convert ext64k.qcow2 by-content.out
check_match "what stands alone may be known by its content" "identical" "$(roost image compare ext64k.qcow2 by-content.out)"
check_status 5 roost image convert top.qcow2 no.out
check_match "what leads to another file not" "top.qcow2' says of itself that it stands on '.*middle.qcow2'" "$out"
check_status 5 roost image compare c64k.qcow2 middle.qcow2
check_status 1 roost image compare c64k.qcow2 middle.qcow2 -F qcow2
check_match "it says so" "different" "$out"
check_status 5 roost image convert c64k.qcow2 v2-64k.out
check_status 5 roost image convert protocol.qcow2 p.out
check_status 2 roost image convert c64k.qcow2 p.out -O vmdk
[ ! -e p.out ] || fail "p.out was made"
check_eq "nothing half made" "" "$(find . -name '.roost-*')"

say "cancelled"
qemu-img create -q -f raw large.raw 8G
for at in 1 2 3 4 5 6 7; do
	dd if=/dev/urandom of=large.raw bs=1M count=24 seek=$((at * 1000)) conv=notrunc status=none
done
nice -n 19 roost image convert large.raw large.out --compress >"$TMPDIR/said" 2>&1 &
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
