#!/bin/sh
# limit: 200
# sysprep: what makes a guest that does not run the one it is goes from its disks, without booting it, wholly or not at all.
. "$TOP/tests/e2e/lib.sh"
[ -x "$(dirname "$(command -v roost)")/../libexec/roost/roost-sysprep" ] || lacking "roost-sysprep (libext2fs)"
PATH=$PATH:/usr/sbin:/sbin
cd "$TMPDIR"
guests=$ROOST_STATE/guests

# --- a system to be cleaned -------------------------------------------------------------------------------------------
mkdir -p root
(
	cd root
	mkdir -p etc/ssh etc/sysconfig/network-scripts etc/udev/rules.d root/.ssh home/ann/.ssh usr var/log/journal/abc \
		var/log/nginx var/lib/dhcp var/lib/cloud/instances/i-1 var/lib/cloud/scripts/per-boot var/lib/systemd \
		var/lib/dbus var/cache/apt/archives/partial var/cache/man/fr var/lib/AccountsService/users var/mail var/spool/cron/crontabs tmp/a/b var/tmp boot
	echo 0123456789abcdef0123456789abcdef >etc/machine-id
	ln -s /etc/machine-id var/lib/dbus/machine-id
	echo SECRET-HOST-KEY >etc/ssh/ssh_host_ed25519_key
	echo key >etc/ssh/ssh_host_ed25519_key.pub
	echo conf >etc/ssh/sshd_config
	printf 'DEVICE=eth0\nHWADDR=52:54:00:00:00:01\nONBOOT=yes\n' >etc/sysconfig/network-scripts/ifcfg-eth0
	echo rule >etc/udev/rules.d/70-persistent-net.rules
	echo x >etc/shadow-
	echo x >etc/motd~
	echo ls >root/.bash_history
	echo ls >home/ann/.zsh_history
	echo ssh >home/ann/.ssh/authorized_keys
	echo stays >home/ann/letter
	for i in $(seq 300); do echo "$i" >"var/log/journal/abc/system@$i.journal"; done
	dd if=/dev/urandom of=var/log/syslog bs=1k count=600 2>/dev/null
	ln var/log/syslog var/linked
	echo x >var/log/nginx/access.log
	echo x >var/lib/dhcp/dhclient.leases
	echo x >var/lib/cloud/instances/i-1/user-data.txt
	ln -s instances/i-1 var/lib/cloud/instance
	echo x >var/lib/cloud/scripts/per-boot/mine
	echo x >var/lib/systemd/random-seed
	echo x >var/cache/apt/archives/vim.deb
	echo x >var/mail/ann
	echo x >var/cache/man/fr/index.db
	echo x >var/lib/AccountsService/users/ann
	echo x >var/spool/cron/crontabs/ann
	echo x >tmp/a/b/c
	ln -s /etc/motd tmp/link
	echo motd >etc/motd
	mkfifo tmp/fifo
)
# system FILE [OPTION...]: it on a file system of its own
system() {
	system_file=$1
	shift
	rm -f "$system_file"
	truncate -s 48M "$system_file"
	mke2fs -q -F -d root "$@" "$system_file"
}
# guest NAME PATH FORMAT
guest() {
	printf 'name: %s\nmemory: 32M\ninterfaces: []\ndisks:\n  - {path: %s, format: %s}\n' "$1" "$2" "$3" >"$1.yaml"
	roost define "$1.yaml"
}
has() { # FILE PATH
	debugfs -R "stat \"$2\"" "$1" 2>&1 | grep -q ^Inode:
}
# cleaned FILE: what is gone and what is not
cleaned() {
	e2fsck -fn "$1" >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
	for path in /etc/ssh/ssh_host_ed25519_key /etc/ssh/ssh_host_ed25519_key.pub /etc/udev/rules.d/70-persistent-net.rules \
		/etc/shadow- /etc/motd~ /root/.ssh /root/.bash_history /home/ann/.ssh /home/ann/.zsh_history /var/log/journal/abc \
		/var/log/syslog /var/log/nginx/access.log /var/lib/dhcp/dhclient.leases /var/lib/cloud/instances \
		/var/lib/cloud/instance /var/lib/systemd/random-seed /var/cache/apt/archives/vim.deb /var/mail/ann \
		/var/cache/man/fr/index.db /var/lib/AccountsService/users/ann \
		/var/spool/cron/crontabs/ann /tmp/a /tmp/link /tmp/fifo; do
		! has "$1" "$path" || fail "$path is still there"
	done
	for path in /etc/ssh/sshd_config /etc/motd /home/ann/letter /var/log/nginx /var/log/journal /var/linked \
		/var/lib/cloud/scripts/per-boot/mine /var/cache/apt/archives/partial /var/cache/man/fr /var/lib/dbus/machine-id /lost+found; do
		has "$1" "$path" || fail "$path is gone"
	done
	check_eq "the machine's id" "" "$(debugfs -R 'cat /etc/machine-id' "$1" 2>/dev/null)"
	check_eq "no MAC address" "DEVICE=eth0 ONBOOT=yes" \
		"$(debugfs -R 'cat /etc/sysconfig/network-scripts/ifcfg-eth0' "$1" 2>/dev/null | paste -s -d ' ' -)"
	! grep -aq SECRET-HOST-KEY "$1" || fail "the host's key is still on the disk"
}

say "a raw disk of the user's"
system a.raw -t ext4
guest a "$TMPDIR/a.raw" raw
roost sysprep a >said
cat said
check_match "the way it took" "Guest 'a' was cleaned offline \(ext4 on vda\) in [0-9]+ ms" "$(cat said)"
cleaned a.raw
[ "$(debugfs -R 'stat /var/linked' a.raw 2>/dev/null | sed -n 's/.*Links: \([0-9]*\).*/\1/p')" = 1 ] || fail "a link too many"

say "what is done can be chosen"
check_status 2 roost sysprep a --operations logfile
check_match "the nearest one" "did you mean 'logfiles'" "$out"
check_json "the list" 'length > 30 and any(.name == "logfiles" and .default) and any(.name == "firewall-rules" and (.default | not))' \
	"$(roost sysprep --list-operations --json)"
roost sysprep --list-operations | grep -qx 'tmp-files \* temporary files' || fail "not as virt-sysprep lists them"
# virt-sysprep 1.48's, of which each is there or told why not
for op in abrt-data backup-files bash-history blkid-tab ca-certificates crash-data cron-spool customize dhcp-client-state \
	dhcp-server-state dovecot-data firewall-rules flag-reconfiguration fs-uuids ipa-client kerberos-data kerberos-hostkeytab \
	logfiles lvm-system-devices lvm-uuids machine-id mail-spool net-hostname net-hwaddr net-nmconn pacct-log \
	package-manager-cache pam-data passwd-backups puppet-data-log rh-subscription-manager rhn-systemid rpm-db samba-db-log \
	script smolt-uuid ssh-hostkeys ssh-userdir sssd-db-log tmp-files udev-persistent-net user-account utmp yum-uuid; do
	echo "$op"
done >virt-sysprep
check_eq "all of virt-sysprep's" "" "$(roost sysprep --list-operations | cut -d ' ' -f 1 | sort | comm -13 - virt-sysprep)"
check_status 2 roost sysprep a --operations defaults,lvm-uuids
check_match "why not" "sysprep does not do 'lvm-uuids'" "$out"
check_match "what to do" "vgimportclone" "$out"
check_json "to leave it out is nothing" '.changed == []' \
	"$(roost sysprep a --operations yum-uuid,-lvm-uuids --skip user-account --json)"
check_status 2 roost sysprep
check_status 3 roost sysprep nosuch
system a.raw -t ext2 # and another file system: no journal, no extents
roost sysprep a --operations defaults,-tmp-files --skip ssh-userdir,machine-id --json >json
check_json "--json" '.way == "offline" and .filesystems == [{device: "vda", type: "ext2", mounted: "/"}] and
	.changed == ["vda"] and ([.operations[].name] | contains(["logfiles"]) and (contains(["machine-id"]) | not))' "$(cat json)"
for path in /tmp/a/b/c /tmp/link /root/.ssh/authorized_keys /home/ann/.ssh; do
	[ "$path" = /root/.ssh/authorized_keys ] || has a.raw "$path" || fail "$path is gone"
done
check_eq "the machine's id stays" "$(cat root/etc/machine-id)" "$(debugfs -R 'cat /etc/machine-id' a.raw 2>/dev/null)"
! has a.raw /var/log/syslog || fail "a log is still there"
e2fsck -fn a.raw >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
roost sysprep a --enable tmp-files >/dev/null
! has a.raw /tmp/a || fail "a temporary file is still there"

say "nothing to do changes nothing"
was=$(sha256sum a.raw)
check_json "no disk" '.changed == []' "$(roost sysprep a --enable tmp-files --json)"
check_eq "the disk" "$was" "$(sha256sum a.raw)"

say "files are copied in"
mkdir -p conf.d/deep
for i in $(seq 400); do echo "$i" >"conf.d/deep/a-name-that-is-rather-long-$i"; done
ln -s deep/x conf.d/link
echo hidden >conf.d/.hidden
chmod 750 conf.d
dd if=/dev/urandom of=big bs=1k count=3000 2>/dev/null
echo new >motd
for format in ext2 ext4; do
	system a.raw -t $format
	check_json "two" '.copied == 2' "$(roost sysprep a --enable tmp-files --copy-in motd:/etc --copy-in "$TMPDIR/big":/home/ann --json)"
	check_json "how many" '.copied == 404' "$(roost sysprep a --enable tmp-files --copy-in conf.d:/etc/ --json)"
	e2fsck -fn a.raw >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
	check_eq "what was there is replaced" new "$(debugfs -R 'cat /etc/motd' a.raw 2>/dev/null)"
	check_eq "a large one" "$(sha256sum <big)" "$(debugfs -R 'cat /home/ann/big' a.raw 2>/dev/null | sha256sum)"
	check_eq "one in a folder" 400 "$(debugfs -R 'cat /etc/conf.d/deep/a-name-that-is-rather-long-400' a.raw 2>/dev/null)"
	check_match "a link" 'Fast link dest: "deep/x"' "$(debugfs -R 'stat /etc/conf.d/link' a.raw 2>/dev/null)"
	check_match "root's, with its mode" 'Mode: +0750 .*User: +0 +Group: +0 ' \
		"$(debugfs -R 'stat /etc/conf.d' a.raw 2>/dev/null | paste -s -d ' ' -)"
done
was=$(sha256sum a.raw)
check_status 3 roost sysprep a --copy-in motd:/nosuch
check_match "no folder" "there is no folder '/nosuch' in it" "$out"
check_status 3 roost sysprep a --copy-in nosuch:/etc
check_status 2 roost sysprep a --copy-in motd
mkdir etc
check_status 3 roost sysprep a --copy-in etc:/etc/motd
echo x >ann
check_status 5 roost sysprep a --copy-in ann:/home
check_match "a folder of that name" "'ann' is a folder there" "$out"
check_eq "the disk" "$was" "$(sha256sum a.raw)"
roost undefine a

say "file systems of a disk with partitions, as fstab has them: an image of the store, on an overlay"
printf 'LABEL=var /var ext4 defaults 0 2\n' >root/etc/fstab
truncate -s 200M p.raw
printf 'label: gpt\nstart=2048, size=98304\nstart=104448, size=98304\nstart=206848, size=98304\n' | sfdisk -q p.raw
system part.raw -t ext4 -b 1024 -O ^64bit,inline_data
dd if=part.raw of=p.raw bs=512 seek=2048 conv=notrunc,sparse 2>/dev/null
mv root root.whole
mkdir -p root
cp -a root.whole/var/. root/
system part.raw -t ext4 -L var
dd if=part.raw of=p.raw bs=512 seek=104448 conv=notrunc,sparse 2>/dev/null
rm -r root
mv root.whole root
qemu-img convert -f raw -O qcow2 p.raw p.qcow2
roost image import p.qcow2 --name base >/dev/null
printf 'name: b\nmemory: 32M\ninterfaces: []\ndisks: [{image: base}, {size: 1M}]\n' >b.yaml
roost define b.yaml
image=$(sha256sum <"$ROOST_STATE/images/base/disk.qcow2")
roost sysprep b --json >json || fail "$(cat json)"
check_json "where" '.filesystems == [{device: "vda1", type: "ext4", mounted: "/"}, {device: "vda2", type: "ext4", mounted: "/var"}]' \
	"$(cat json)"
part() { # FIRST_SECTOR: into part.raw
	qemu-img convert -f qcow2 -O raw "$guests/b/disk0.qcow2" now.raw
	dd if=now.raw of=part.raw bs=512 skip="$1" count=98304 2>/dev/null
	e2fsck -fn part.raw >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
}
part 2048
! has part.raw /etc/ssh/ssh_host_ed25519_key || fail "a host key is still there"
has part.raw /var/log/syslog || fail "what another file system is mounted over was changed"
part 104448
! has part.raw /log/syslog || fail "a log is still there"
has part.raw /log/nginx || fail "a folder of logs is gone"
check_eq "the image" "$image" "$(sha256sum <"$ROOST_STATE/images/base/disk.qcow2")"
qemu-img check -q "$guests/b/disk0.qcow2"
check_eq "no file is left" "disk0.qcow2 disk1.qcow2 guest.json" \
	"$(find "$guests/b" -type f ! -name events.jsonl ! -name snapshots.json ! -name lock -printf '%f\n' | sort | paste -s -d ' ' -)"

say "snapshots stay what they are"
cp part.raw was.raw
roost snapshot-create-as b clean >/dev/null
roost sysprep b >/dev/null
roost snapshot-delete b clean >/dev/null
part 104448
roost template b >/dev/null
check_status 5 roost sysprep b
check_match "a template" "guest 'b': it is a template" "$out"
roost template --undo b >/dev/null
roost undefine b --remove-all-storage

say "the journal of a guest that was ended is replayed, as e2fsck does it"
system j.raw -t ext4
guest j "$TMPDIR/j.raw" raw
# a file that begins as a block of the journal does
printf '\300\073\071\230 and so on' >magic
# dirty OPTION...: j.raw, whose journal holds folders that are not in it yet; one of their blocks was freed afterwards
dirty() {
	system before.raw "$@"
	cp before.raw after.raw
	seq 40 | sed 's/.*/mkdir \/etc\/d&\nwrite magic \/etc\/d&\/magic/' | debugfs -w -f - after.raw >/dev/null 2>&1
	size=$(dumpe2fs -h before.raw 2>/dev/null | sed -n 's/^Block size: *//p')
	cmp -l before.raw after.raw | awk -v size="$size" '
		{ n = int(($1 - 1) / size) }
		n != last && n != int(1024 / size) { print n }
		{ last = n }' >blocks
	while read -r n; do dd if=after.raw bs="$size" skip="$n" count=1 2>/dev/null; done <blocks >content
	cp before.raw j.raw
	debugfs -w -f - j.raw >/dev/null 2>&1 <<-END
		journal_open $checksums
		journal_write -b $(paste -s -d , blocks) content
		journal_write -r $(tail -n 1 blocks) -b $(head -n 1 blocks) content
		journal_close
	END
}
for options in "-t ext3 -b 4096" "-t ext4"; do
	[ "$options" = "-t ext4" ] && checksums=-c || checksums=
	# shellcheck disable=SC2086 # several words are meant
	dirty $options
	df=$(roost df j 2>&1 && roost df -i j 2>&1)
	cp j.raw theirs.raw
	e2fsck -y -E journal_only theirs.raw >/dev/null 2>&1 || :
	check_json "replayed" ".filesystems[0].recovered == {blocks: $(wc -l <blocks), orphans: 0}" \
		"$(roost sysprep j --enable smolt-uuid --json)"
	e2fsck -fn j.raw >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
	has j.raw /etc/d40/magic || fail "what the journal held is not there"
	check_eq "but for sums and dates of the superblock, every byte" "" "$(cmp -l j.raw theirs.raw | awk '$1 <= 1024 || $1 > 2048' | head -n 3)"
	check_eq "df has told what is there now" "$df" "$(roost df j 2>&1 && roost df -i j 2>&1)"
done
dirty -t ext4
check_match "it is said" "The ext4 on vda had not been unmounted: its journal was replayed \([0-9]+ blocks, 0 open files" "$(roost sysprep j)"
cleaned j.raw
dirty -t ext4
content=$(grep -abo ' and so on' j.raw | head -n 1 | cut -d : -f 1)
printf x | dd of=j.raw bs=1 seek="$content" conv=notrunc 2>/dev/null
was=$(sha256sum j.raw)
check_match "df says it" "guest 'j': /dev/vda was not unmounted, and what its journal holds" "$(roost df j 2>&1 >/dev/null)"
check_status 5 roost sysprep j
check_match "a damaged one" "the ext4 on vda was not unmounted: its journal is damaged: the checksum of a block does not hold" "$out"
check_match "what to do" "roost shutdown" "$out"
check_eq "the disk" "$was" "$(sha256sum j.raw)"
roost undefine j

say "what is refused"
refused() { # STATUS TEXT
	was=$(sha256sum c.raw)
	check_status "$1" roost sysprep c
	check_match "$2" "$2" "$out"
	check_eq "the disk" "$was" "$(sha256sum c.raw)"
}
system c.raw -t ext4
guest c "$TMPDIR/c.raw" raw
debugfs -w -R 'set_super_value state 3' c.raw >/dev/null 2>&1
refused 5 "marked as having errors"
system c.raw -t ext2
debugfs -w -R 'set_super_value state 0' c.raw >/dev/null 2>&1
refused 5 "the ext2 on vda was not unmounted, and has no journal"
system c.raw -t ext4 -O quota
refused 5 "quota"
truncate -s 0 c.raw
truncate -s 48M c.raw
refused 3 "no ext2, ext3 or ext4 with a system"
system c.raw -t ext4
dd if=/dev/urandom of=c.raw bs=1024 seek=1 count=1 conv=notrunc 2>/dev/null
printf '\123\357' | dd of=c.raw bs=1 seek=1080 conv=notrunc 2>/dev/null
refused 5 "vda: not a sound ext file system"
system c.raw -t ext4
roost start c
check_status 5 roost sysprep c
check_match "running" "guest 'c' is running" "$out"
roost suspend c
check_status 5 roost sysprep c
roost destroy c
roost undefine c

if [ -r "$GUESTS/cloud.qcow2" ]; then
	say "a real cloud image, as if it had been booted"
	qemu-img create -q -f qcow2 -F qcow2 -b "$GUESTS/cloud.qcow2" cloud.qcow2
	printf 'name: cloud\nmemory: 256M\ninterfaces: []\ndisks: [{path: %s/cloud.qcow2, format: qcow2}]\n' "$TMPDIR" >cloud.yaml
	roost define cloud.yaml
	roost sysprep cloud
	qemu-img check -q cloud.qcow2
	qemu-img convert -f qcow2 -O raw cloud.qcow2 now.raw
	first=$(sfdisk -J now.raw | jq '.partitiontable.partitions[] | select(.type == "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709").start * 512')
	e2fsck -fn "now.raw?offset=$first" >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
	! debugfs -R 'stat /etc/shadow-' "now.raw?offset=$first" 2>&1 | grep ^Inode: || fail "/etc/shadow- is still there"
	debugfs -R 'stat /etc/shadow' "now.raw?offset=$first" 2>&1 | grep -q ^Inode: || fail "/etc/shadow is gone"
	rm now.raw
	roost undefine cloud
fi

# --- killed in between ------------------------------------------------------------------------------------------------
failing=$TOP/build/fail/bin
[ -x "$failing/roost" ] || {
	echo "not tried for want of build/fail: kill -9 in between"
	exit 0
}
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(roostd_pids)
PATH=$failing:$PATH
system part.raw -t ext4
qemu-img convert -f raw -O qcow2 part.raw k.qcow2
roost image import k.qcow2 --name kept >/dev/null
printf 'name: k\nmemory: 32M\ninterfaces: []\ndisks: [{image: kept}]\n' >k.yaml
disk_of_k() { # what the guest's disk shows, into part.raw
	# what is planned holds
	record=$guests/k/snapshots.next
	[ -e "$record" ] || record=$guests/k/snapshots.json
	top=$(jq -r '.tops.vda // empty' "$record" 2>/dev/null || :)
	qemu-img check -q "$guests/k/${top:-disk0.qcow2}"
	qemu-img check -q "$guests/k/disk0.qcow2"
	qemu-img convert -f qcow2 -O raw "$guests/k/${top:-disk0.qcow2}" part.raw
	e2fsck -fn part.raw >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
}
# none of its QEMU, which runs in a namespace and as a user of its own, and of roost-sysprep: they die with who started them
no_helper() {
	! pgrep -x roost-sysprep --ns $$ --nslist net >/dev/null &&
		[ -z "$(find /proc/[0-9]*/fd -lname "$guests/k/*" 2>/dev/null)" ]
}
killed_at() { # FAILPOINT old|new
	say "kill -9 at $1"
	roost define k.yaml >/dev/null
	echo "$1" >"$ROOST_RUN/fail"
	check_status 7 roost sysprep k
	[ ! -s "$ROOST_RUN/fail" ] || fail "it did not come past $1"
	rm -f "$ROOST_RUN/fail"
	wait_until 5 no_helper
	disk_of_k
	if [ "$2" = old ]; then
		has part.raw /etc/ssh/ssh_host_ed25519_key || fail "something was changed"
	else
		cleaned part.raw
	fi
	roost sysprep k >/dev/null
	disk_of_k
	cleaned part.raw
	check_eq "no file is left" "disk0.qcow2 guest.json" \
		"$(find "$guests/k" -mindepth 1 ! -name events.jsonl ! -name snapshots.json ! -name lock -printf '%f\n' | sort | paste -s -d ' ' -)"
	roost undefine k --remove-all-storage >/dev/null
}
for point in sysprep-layered sysprep-served sysprep-started sysprep-cleaned snapshot-before-plan; do
	killed_at $point old
done
for point in snapshot-planned snapshot-before-merge snapshot-merged snapshot-forgotten; do
	killed_at $point new
done
