#!/bin/sh
# limit: 200
# sysprep of a guest with XFS, which is not read here: it is booted alone for it by itself, and it is said.
. "$TOP/tests/e2e/lib.sh"
need tiny-vmlinux tiny-initrd tiny-xfs
PATH=$PATH:/usr/sbin:/sbin
command -v mkfs.xfs >/dev/null || lacking "mkfs.xfs (xfsprogs)"
cd "$TMPDIR"

say "a system on XFS: the tiny guest's files, on a partition"
mkdir root
lz4 -dc "$GUESTS/tiny-initrd" | (cd root && cpio --quiet -id)
mkdir -p root/root/.ssh root/var/log root/etc/ssh
for file in etc/ssh/ssh_host_rsa_key root/.bash_history var/log/syslog etc/shadow- root/letter; do
	echo "SECRET of $file" >"root/$file"
done
echo 0123456789abcdef0123456789abcdef >root/etc/machine-id
# files_of DIR: what is in it, in the words of mkfs.xfs -p
files_of() {
	for file in "$1"/* "$1"/.[!.]*; do
		if [ -L "$file" ]; then
			echo "${file##*/} l--777 0 0 $(readlink "$file")"
		elif [ -d "$file" ]; then
			echo "${file##*/} d--755 0 0"
			files_of "$file"
			echo '$'
		elif [ -x "$file" ]; then
			echo "${file##*/} ---755 0 0 $file"
		elif [ -f "$file" ]; then
			echo "${file##*/} ---600 0 0 $file"
		fi
	done
}
{
	printf 'none\n1 1\nd--755 0 0\n'
	files_of root
	echo '$'
} >words
truncate -s 320M xfs.raw
mkfs.xfs -q -p words xfs.raw
truncate -s 324M disk.raw
printf 'label: gpt\nstart=2048, size=655360\n' | sfdisk -q disk.raw
dd if=xfs.raw of=disk.raw bs=1M seek=1 conv=notrunc,sparse 2>/dev/null
cat >x.yaml <<END
name: x
memory: 256M
kernel: $GUESTS/tiny-vmlinux
initrd: $GUESTS/tiny-xfs
cmdline: console=ttyS0 no_timer_check quiet cryptomgr.notests root=/dev/vda1
disks: [{path: $TMPDIR/disk.raw, format: raw}]
interfaces: []
cloud_init: true
ready: {user: root}
END
roost define x.yaml
check_json "df knows it" 'any(.[0].filesystems[]; .device == "vda1" and .type == "xfs")' "$(roost df x --json)"

say "sysprep boots it"
echo copied >copied
roost sysprep x --run-command 'stat -f -c %T / >/root/type; : >/root/made' --copy-in copied:/root >said
check_match "the way it took" "Guest 'x' was cleaned by booting it alone, over SSH, in [0-9]+ ms" "$(cat said)"
dd if=disk.raw of=xfs.raw bs=1M skip=1 count=320 conv=sparse 2>/dev/null
xfs_repair -n xfs.raw >repair 2>&1 || fail "xfs_repair: $(cat repair)"
has() { # PATH
	xfs_db -r -c "path $1" -c "print core.size" xfs.raw 2>/dev/null | grep -q ^core.size
}
size() { # PATH
	xfs_db -r -c "path $1" -c "print core.size" xfs.raw | sed -n 's/^core.size = //p'
}
for path in /etc/ssh/ssh_host_rsa_key /root/.bash_history /root/.ssh /var/log/syslog /etc/shadow-; do
	! has $path || fail "$path is still there"
done
for path in /root/letter /root/made /etc/shadow /var/log; do
	has $path || fail "$path is gone"
done
check_eq "the machine's id" 0 "$(size /etc/machine-id)"
check_eq "it was on XFS that it ran" 4 "$(size /root/type)"
check_eq "what was copied in" 7 "$(size /root/copied)"
check_eq "no file is left" "" "$(find "$ROOST_STATE/guests/x" -name 'disk-*' -o -name '*.sock')"
