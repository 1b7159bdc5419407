#!/bin/sh
# virt-df says what guestfs-tools' says, of guests and of images.
. "$TOP/tests/e2e/lib.sh"
eval "$(roost compat)"
uri=qemu:///session
[ "$(id -u)" -ne 0 ] || uri=qemu:///system
cd "$TMPDIR"

touch user-data meta-data
cloud-localds ubuntu-provisioning.qcow2 user-data meta-data 2>/dev/null
mkdir system
dd if=/dev/urandom of=system/noise bs=1K count=3000 2>/dev/null
truncate -s 16M fs.raw
PATH=$PATH:/usr/sbin:/sbin mke2fs -q -F -d system fs.raw
cat >vm01.yaml <<END
name: vm01
disks: [{path: $TMPDIR/fs.raw, format: raw}]
cdrom: $TMPDIR/ubuntu-provisioning.qcow2
interfaces: []
END
roost define vm01.yaml
ours=$(roost df vm01 --json | jq -c '.[0].filesystems[] | select(.device == "vda")')
kib() {
	printf '%s\n' "$ours" | jq ".$1 / 1024 | floor"
}
both virt-df -d vm01
check_eq "the head" "Filesystem                           1K-blocks       Used  Available  Use%" "$(head -n 1 stdout)"
check_eq "a row" "$(printf 'vm01:/dev/sda                       %10s %10s %10s' "$(kib total)" "$(kib used)" "$(kib available)")" \
	"$(sed -n 's/ *[0-9]*%$//; /sda /p' stdout)"
check_match "the CD is listed, by the appliance's name" '^vm01:/dev/sdb +[0-9]+ +[0-9]+ +0  100%$' "$out"
check_eq "nothing else" "3 0" "$(wc -l <stdout) $both_status"
both virt-df -c "$uri" -d vm01 -h
check_eq "for people" "Filesystem                                Size       Used  Available  Use%" "$(head -n 1 stdout)"
check_match "rounded to the nearest" '^vm01:/dev/sda +15M +3.0M +11M +20%$' "$out"
both virt-df --csv
check_eq "values" "VirtualMachine,Filesystem,1K-blocks,Used,Available,Use%" "$(head -n 1 stdout)"
check_eq "a share of all" "vm01,/dev/sda,$(kib total),$(kib used),$(kib available),$(printf '%s\n' "$ours" | jq '1000 * .used / .total | round / 10' | sed 's/^\([0-9]*\)$/\1.0/')" \
	"$(sed -n '/sda/p' stdout)"
both virt-df -i -d vm01
check_match "inodes" '^Filesystem +Inodes +IUsed +IFree IUse%$' "$(head -n 1 stdout)"
both virt-df --uuid -d vm01
check_match "UUIDs" "^$(roost domuuid vm01 | head -n 1):/dev/sda\$" "$out"
both virt-df -d nosuch
check_eq "no such guest" "libguestfs: error: no libvirt domain called ‘nosuch’: Domain not found: no domain with matching name 'nosuch' 1" "$errors $both_status"
table=$(virt-df -d vm01 | sed -n 's/^vm01:\/dev\/sda  *//p')
both virt-df -a fs.raw
check_eq "an image" "2 0" "$(wc -l <stdout) $both_status"
check_eq "the same figures" "$table" "$(sed -n 's/^fs.raw:\/dev\/sda  *//p' stdout)"
qemu-img create -q -f qcow2 -F raw -b fs.raw over.qcow2
both virt-df --format=qcow2 -a over.qcow2 -a ubuntu-provisioning.qcow2
check_match "of one format" 'ubuntu-provisioning.qcow2' "$errors"
both virt-df --format=qcow2 -a over.qcow2
check_eq "with what it stands on" "$table" "$(sed -n 's/^over.qcow2:\/dev\/sda  *//p' stdout)"
check_status 3 roost df --image nosuch.img
both virt-df fs.raw
check_eq "its oldest form, of a file" "$table" "$(sed -n 's/^fs.raw:\/dev\/sda  *//p' stdout)"
both virt-df vm01
check_eq "and of a guest" "$table" "$(sed -n 's/^vm01:\/dev\/sda  *//p' stdout)"
both virt-df -a fs.raw -a ubuntu-provisioning.qcow2
check_eq "several are one machine's" "fs.raw+1:/dev/sda fs.raw+1:/dev/sdb" "$(sed '1d; s/  .*//' stdout | paste -s -d ' ')"
both virt-df -a nosuch.img
check_eq "no such file" "virt-df: access: nosuch.img: No such file or directory 1" "$errors $both_status"
both virt-df -a fs.raw --format=raw
check_match "too late" "option '--format' is not there: one for all images" "$errors"
both virt-df -d vm01 --format=raw
check_eq "of nothing" "virt-df: --format parameter must appear before -a parameter 1" "$errors $both_status"
both virt-df --csv -h
check_eq "not both" "virt-df: you cannot use -h and --csv options together. 1" "$errors $both_status"
both virt-df -P 4 -x -v --one-per-guest -d vm01
check_eq "what there is no appliance for" "$table" "$(sed -n 's/^vm01:\/dev\/sda  *//p' stdout)"
both virt-df -P many -d vm01
check_eq "a number of threads" 1 $both_status
uuid=$(roost domuuid vm01 --json | jq -r .uuid)
both virt-df -d "$uuid" -d vm01
check_eq "by UUID, and more than one" "vm01:/dev/sda vm01:/dev/sdb vm01:/dev/sda vm01:/dev/sdb" "$(sed '1d; s/  .*//' stdout | paste -s -d ' ')"
both virt-df -d vm01 -d nosuch
check_eq "one that is not there" " 1" "$out $both_status"
both virt-df --blocksize=4096 -a fs.raw
check_match "by its name" "option '--blocksize=4096' is not there" "$errors"

say "one that runs, and has neither agent nor login, is looked at from outside"
need pico.raw
qemu-img convert -O qcow2 fs.raw data.qcow2
cp "$GUESTS/pico.raw" boot.raw
cat >up.yaml <<END
name: up
memory: 32M
disks: [{path: $TMPDIR/boot.raw, format: raw}, {path: $TMPDIR/data.qcow2, format: qcow2}]
interfaces: []
agent: false
END
roost define up.yaml
roost start up
since=$(now_ms)
both virt-df -d up
check_time "at once" 1000 "$since"
check_eq "the same figures" "$table 0" "$(sed -n 's/^up:\/dev\/sdb  *//p' stdout) $both_status"
check_eq "not a word besides" "" "$errors"
roost snapshot-create-as up s1 >/dev/null
both virt-df -d up
check_eq "through its layers" "$table 0" "$(sed -n 's/^up:\/dev\/sdb  *//p' stdout) $both_status"
roost destroy up
both virt-df --human
check_eq "it may be cut short" 0 $both_status

