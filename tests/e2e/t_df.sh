#!/bin/sh
# df: how full a guest's file systems are: of one that runs as its own df says, of one that does not the same, block for
# block, from its disks; through snapshots and compressed clusters; what it says of disks that nobody can read.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
[ -x "$(dirname "$(command -v roost)")/../libexec/roost/roost-disk" ] || lacking "roost-disk (zlib, libzstd)"
PATH=$PATH:/usr/sbin:/sbin
cd "$TMPDIR"

# guest NAME PATH FORMAT
guest() {
	printf 'name: %s\nmemory: 32M\ninterfaces: []\ndisks:\n  - {path: %s, format: %s}\n' "$1" "$2" "$3" >"$1.yaml"
	roost define "$1.yaml"
}

# --- what kinds there are ---------------------------------------------------------------------------------------------
say "a disk with a partition for each kind"
part() { # NUMBER FILE: that file's content into the partition
	start=$(sfdisk --json all.raw | jq ".partitiontable.partitions[] | select(.node | endswith(\".raw$1\")) | .start")
	dd if="$2" of=all.raw bs=512 seek="$start" conv=notrunc,sparse status=none
}
truncate -s 64M all.raw
sfdisk -q all.raw <<-END
	label: dos
	1 : size=16MiB
	2 : size=8MiB, type=8e
	3 : size=30MiB, type=5
	5 : size=4MiB, type=82
	6 : size=8MiB, type=c
	7 : size=4MiB
END
truncate -s 16M ext && mke2fs -q -F -t ext4 -b 1024 -m 5 ext
truncate -s 4M swap && mkswap -q swap 2>/dev/null
truncate -s 8M fat && mkfs.vfat fat >/dev/null
truncate -s 8M lvm && printf 'LABELONE' | dd of=lvm bs=512 seek=1 conv=notrunc status=none
printf 'LVM2 001abcdefghijklmnopqrstuvwxyz012345' | dd of=lvm bs=1 seek=536 conv=notrunc status=none
part 1 ext
part 2 lvm
part 5 swap
part 6 fat
guest all "$TMPDIR/all.raw" raw
told=$(roost df all)
check_match "its head" '^Filesystem                           1K-blocks       Used  Available  Use%$' "$told"
overhead=$(dumpe2fs -h ext 2>/dev/null | sed -n 's/^Overhead clusters: *//p')
free=$(dumpe2fs -h ext 2>/dev/null | sed -n 's/^Free blocks: *//p')
total=$((16384 - overhead))
available=$((free - 16384 / 20 - 16384 / 50))
check_match "ext4" "^all:/dev/vda1 +$total +$((total - free)) +$available +[0-9]+%\$" "$told"
check_match "LVM by its name" '^all:/dev/vda2 +-  LVM2_member$' "$told"
check_match "swap" '^all:/dev/vda5 +4092  swap$' "$told"
clusters=$(fsck.vfat -n fat | sed -n 's/.* files, \([0-9]*\)\/\([0-9]*\) clusters/\1 \2/p')
unit=$(minfo -i fat :: | sed -n 's/^cluster size: \([0-9]*\) sectors/\1/p')
check_eq "vfat" "$(echo "$clusters $unit" | awk '{ print $2 * $3 / 2, $1 * $3 / 2 }')" \
	"$(echo "$told" | awk '$1 == "all:/dev/vda6" { print $2, $3 }')"
check_no_match "the one with nothing on it" vda7 "$told"
check_json "but in JSON" '.[0].filesystems | map(.number) == [1, 2, 5, 6, 7] and (.[4] | has("type") | not) and
	(.[1].purpose == "Linux LVM")' "$(roost df all --json)"
check_eq "--csv" "VirtualMachine,Filesystem,1K-blocks,Used,Available,Use%
all,/dev/vda1,$total,$((total - free)),$available,$(awk "BEGIN { printf \"%.1f\", 100 * ($total - $free) / ($total - $free + $available) }")
all,/dev/vda2,,,,
all,/dev/vda5,4092,,," "$(roost df --csv all | head -n 4)"
check_match "-i" "^all:/dev/vda1 +4096 +11 +4085 +1%\$" "$(roost df -i all)"
check_match "-h" '^all:/dev/vda5 +4.0M  swap$' "$(roost df -h all)"
check_status 2 roost df --csv --json
check_status 3 roost df nosuch

say "through a qcow2 with compressed clusters, a base and a snapshot"
qemu-img convert -q -c -O qcow2 -o compression_type=zstd all.raw base.qcow2
qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 over.qcow2
guest over "$TMPDIR/over.qcow2" qcow2
check_eq "the overlay" "$(roost df --csv all | sed 's/^all,//')" "$(roost df --csv over | sed 's/^over,//')"
roost snapshot-create-as over s1
check_eq "over a snapshot" "$(roost df --csv all | sed 's/^all,//')" "$(roost df --csv over | sed 's/^over,//')"
check_eq "nothing was written" "$(sha256sum <base.qcow2)" "$(qemu-img convert -q -c -O qcow2 -o compression_type=zstd all.raw b2 && sha256sum <b2)"

say "what nobody can read"
truncate -s 64M gpt.raw
printf 'label: gpt\n,\n' | sfdisk -q gpt.raw
guest gpt "$TMPDIR/gpt.raw" raw
check_json "an empty one" '.[0].filesystems | length == 1' "$(roost df gpt --json)"
dd if=/dev/zero of=gpt.raw bs=512 seek=1 count=1 conv=notrunc status=none
check_json "by the copy at its end" '.[0].filesystems[0].number == 1' "$(roost df gpt --json)"
dd if=/dev/zero of=gpt.raw bs=512 seek=131071 count=1 conv=notrunc status=none
check_status 2 roost df gpt
check_match "it is said" "disk 'vda' of guest 'gpt': its GPT is damaged" "$out"
check_status 2 roost df
check_match "it hides no other" '^over:/dev/vda1 ' "$out"
check_match "and is told" "^roost: guest 'gpt': .*its GPT is damaged" "$out"
check_json "in JSON as well" 'map(select(.error) | .name) == ["gpt"]' "$(roost df --json || :)"
rm base.qcow2
check_status 3 roost df over
check_match "its base is missing" 'base.qcow2' "$out"
for name in all over gpt; do
	roost undefine --snapshots-metadata "$name" 2>/dev/null || roost undefine "$name"
done

# --- a cloud image ----------------------------------------------------------------------------------------------------
if [ -r "$GUESTS/cloud.qcow2" ]; then
	say "Debian's cloud image, that has never been booted"
	qemu-img create -q -f qcow2 -F qcow2 -b "$GUESTS/cloud.qcow2" cloud.qcow2
	guest cloud "$TMPDIR/cloud.qcow2" qcow2
	json=$(roost df --json cloud)
	check_json "its partitions" '.[0].filesystems | map([.number, .type, .purpose]) == [[1, "ext4", "Linux root"],
		[14, null, "BIOS boot"], [15, "vfat", "EFI system"]]' "$json"
	start=$(echo "$json" | jq '.[0].filesystems[0].start')
	qemu-img dd -f qcow2 -O raw "if=cloud.qcow2" of=head.raw bs=1M count=$((start / 1048576 + 1))
	dumped() {
		dumpe2fs -h "head.raw?offset=$start" 2>/dev/null | sed -n "s/^$1: *//p"
	}
	check_eq "as dumpe2fs" "$(dumped 'Block count') $(dumped 'Free blocks') $(dumped 'Inode count') $(dumped 'Free inodes')" \
		"$(echo "$json" | jq -r ".[0].filesystems[0] | \"\(.total / .[\"block-size\"] + $(dumped 'Overhead clusters')) \((.total - .used) / .[\"block-size\"]) \(.inodes) \(.inodes - .[\"inodes-used\"])\"")"
	roost undefine cloud
fi

# --- a guest that runs, and stops -------------------------------------------------------------------------------------
need tiny-vmlinux tiny-initrd
say "a guest that runs"
truncate -s 128M data.raw
printf 'label: gpt\n1 : size=60MiB\n2 : size=30MiB\n3 : size=20MiB\n' | sfdisk -q data.raw
cat >tiny.yaml <<-END
	name: tiny
	memory: 256M
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: console=ttyS0 no_timer_check quiet
	disks:
	  - {path: $TMPDIR/data.raw, format: raw}
	interfaces:
	  - user: {restrict: true, hostfwd: ["-22"]}
	cloud_init: {user: root}
END
for number in 1 2 3; do
	start=$(sfdisk --json data.raw | jq ".partitiontable.partitions[$((number - 1))].start")
	case $number in
	1) truncate -s 60M fs && mke2fs -q -F -t ext4 -m 5 fs ;;
	2) truncate -s 30M fs && mke2fs -q -F -t ext3 -b 1024 -m 0 fs ;;
	3) truncate -s 20M fs && mkfs.vfat fs >/dev/null ;;
	esac
	dd if=fs of=data.raw bs=512 seek="$start" conv=notrunc,sparse status=none
	rm fs
done
roost run -q tiny.yaml --timeout 300s
in_guest() {
	roost ssh root@tiny "$@" </dev/null
}
# shellcheck disable=SC2016 # the guest's shell expands it
in_guest 'mkdir -p /1 /2 /3; mount -t ext4 /dev/vda1 /1; mount -t ext3 /dev/vda2 /2; mount -t vfat /dev/vda3 /3
	for to in /1 /2 /3; do for i in 1 2 3 4 5 6; do head -c $((i * 77777)) /dev/zero >$to/file$i; done; rm $to/file2; done; sync'
own=$(in_guest df -kP)
figures() { # of roost df --csv on standard input
	sed -n 's/^tiny,\/dev\/\(vda[123]\),\([0-9]*\),\([0-9]*\),\([0-9]*\),.*/\1 \2 \3 \4/p'
}
expected=$(echo "$own" | sed -n 's/^\/dev\/\(vda[123]\) *\([0-9]*\) *\([0-9]*\) *\([0-9]*\) .*/\1 \2 \3 \4/p')
check_eq "three file systems" 3 "$(echo "$expected" | wc -l)"
wait_until 60 roost domifaddr tiny --source agent
check_eq "by its agent" "$expected" "$(roost df --csv tiny | figures)"
check_match "as df has it" "$(echo "$own" | awk '$1 == "/dev/vda1" { print "^tiny:/dev/vda1 +" $2 " +" $3 " +" $4 " +[0-9]+%$" }')" \
	"$(roost df tiny)"
check_json "where it is mounted" '.[0].running and (.[0].filesystems[] | select(.device == "vda2") | .mounted == "/2" and .type == "ext3")' \
	"$(roost df tiny --json)"
inodes=$(roost df -i --csv tiny | sed -n 's/^tiny,\/dev\/vda1,//p' | cut -d , -f 1-2)
in_guest killall -STOP qemu-ga
check_eq "over SSH, when the agent is silent" "$expected" "$(roost df --csv tiny | figures)"
in_guest killall -CONT qemu-ga

say "the same guest when it has been ended: one is unmounted, of another the journal tells, of the third its FAT"
in_guest 'umount /1; sync'
roost destroy tiny >/dev/null
json=$(roost df --json tiny)
check_json "nothing is missing" '.[0].running == false and all(.[0].filesystems[]; .unclean != true)' "$json"
check_eq "block for block" "$expected" "$(roost df --csv tiny | figures)"
check_eq "inodes" "$inodes" "$(roost df -i --csv tiny | sed -n 's/^tiny,\/dev\/vda1,//p' | cut -d , -f 1-2)"
check_match "its seed" '^tiny:/dev/vdb +[0-9]+ +[0-9]+ +0  100%$' "$(roost df tiny)"
