#!/bin/sh
# virt-sysprep says what guestfs-tools' says, and does it, in guests and in images that are no guest's.
. "$TOP/tests/e2e/lib.sh"
eval "$(roost compat)"
cd "$TMPDIR"
PATH=$PATH:/usr/sbin:/sbin
mkdir -p system/etc/ssh system/usr system/root/.ssh system/var/log system/tmp
echo key >system/etc/ssh/ssh_host_rsa_key
echo 0123456789abcdef0123456789abcdef >system/etc/machine-id
printf 'root:*:19700:0:99999:7:::\nann:!:19700::::::\n' >system/etc/shadow
chmod 640 system/etc/shadow
echo old >system/root/.ssh/authorized_keys
echo template >system/etc/hostname
echo x >system/etc/some.conf
mkdir system/var/cache
echo x >system/var/cache/app
# image FILE [FORMAT]: with that system
image() {
	rm -f "$1"
	truncate -s 16M "$1"
	mke2fs -q -F -d system "$1"
	[ "${2-raw}" = raw ] || { qemu-img convert -O "$2" "$1" "$1.new" && mv "$1.new" "$1"; }
}
# holds FILE PATH: the content of that file
holds() {
	debugfs -R "cat $2" "$1" 2>/dev/null
}
gone() {
	debugfs -R "stat $2" "$1" 2>&1 | grep -q 'File not found' || fail "$2 is in $1"
}
# as it was said, with the times masked
said() {
	sed 's/^\[ *[0-9]*\.[0-9]\] Ex/[ 0.0] Ex/; s/^\[ *[0-9]*\.[0-9]\] P/[ N.N] P/' "$TMPDIR/stdout"
}
image third.raw
printf 'name: third\ndisks: [{path: third.raw, format: raw}]\ninterfaces: []\n' >third.yaml
roost define third.yaml

say "what is asked for"
both virt-sysprep -d third --root-password file:/nonexistent
check_match "of a file, not of the guest" "^virt-sysprep: error: .*/nonexistent.*No such file or directory" "$errors"
both virt-sysprep -d third -d nosuch
check_eq "one guest" "virt-sysprep: error: --domain option can only be given once" "$errors"
both virt-sysprep -d nosuch
check_match "no such guest" "virt-sysprep: error: libguestfs error: no libvirt domain called ‘nosuch’" "$errors"
both virt-sysprep
check_match "which" 'you must give either -a or -d options' "$errors"
both virt-sysprep -d third -a third.raw
check_match "not both" 'you cannot give -a and -d options together' "$errors"
both virt-sysprep -a nosuch.img
check_eq "no such image" "virt-sysprep: error: cannot open 'nosuch.img': No such file or directory 1" "$errors $both_status"
both virt-sysprep -a third.raw
check_match "a guest's" "third" "$errors"
check_eq "which has it" 1 $both_status
both virt-sysprep --list-operations
check_match "its operations" '^ssh-hostkeys \* ' "$out"
for option in --install=x --network --edit=x --update --scrub=/x --keep-user-accounts=ann; do
	both virt-sysprep -d third "$option"
	check_match "by its name" "^virt-sysprep: option '${option%=*}' is not there: " "$errors"
	check_eq "$option" 1 $both_status
done
both virt-sysprep -d third --hostnam3 x
check_match "the nearest" "did you mean --hostname" "$errors"
both virt-sysprep -d third --updat3
check_match "one of the last" "did you mean --update" "$errors"
both virt-sysprep -d third --operations nosuch
check_match "no such operation" "virt-sysprep: error: sysprep has no operation 'nosuch'" "$errors"

if [ -x /usr/bin/virt-sysprep ]; then # each option of the real one is known by its name
	for option in $(/usr/bin/virt-sysprep --long-options | grep -v -e --dump-pod -e --debug-gc); do
		both virt-sysprep "$option"
		check_no_match "$option" 'unrecognized' "$errors"
	done
fi

say "a guest"
before=$(sha256sum <third.raw)
both virt-sysprep -n -d third
check_match "it tells" 'Performing "ssh-hostkeys"' "$out"
check_eq "a dry run changes nothing" "$before 0" "$(sha256sum <third.raw) $both_status"
both virt-sysprep -d third --operations ssh-hostkeys,machine-id
check_eq "what it says" '[ 0.0] Examining the guest ...
[ N.N] Performing "machine-id" ...
[ N.N] Performing "ssh-hostkeys" ...' "$(said)"
check_match "stamped so" '^\[ {1,3}[0-9]+\.[0-9]\] Examining' "$out"
check_eq "not a word besides" " 0" "$errors $both_status"
gone third.raw /etc/ssh/ssh_host_rsa_key
check_eq "the rest stays" "old x" "$(holds third.raw /root/.ssh/authorized_keys) $(holds third.raw /etc/some.conf)"
both virt-sysprep -d third --operations ssh-hostkeys --ssh-inject "root:string:x"
check_match "keys of root stay" "take the place of the keys that root has" "$errors"
check_eq "so they do" "old" "$(holds third.raw /root/.ssh/authorized_keys)"

say "an image of no guest, and what is put into it"
image own.qcow2 qcow2
echo "ssh-ed25519 AAAA me" >key.pub
echo "secret word" >password
printf '#!/bin/sh\necho first\n' >first.sh
echo payload >payload
both virt-sysprep -q -a own.qcow2 --hostname web1 --timezone Europe/Berlin --root-password file:password \
	--password ann:password:annas --ssh-inject root:file:key.pub --ssh-inject root:string:two --firstboot first.sh \
	--firstboot-command 'echo second' --upload payload:/etc/payload --write /etc/note:hello --mkdir /var/new \
	--delete '/var/cache/*' --delete /etc/some.conf
check_eq "quiet" " 0" "$out$errors $both_status"
check_eq "no guest is left of it" third "$(roost list --all --name | sed '/^$/d')"
check_eq "nor a file" "" "$(find "$TMPDIR" -name 'virt-sysprep*')"
qemu-img check -q own.qcow2
qemu-img convert -O raw own.qcow2 own.raw
e2fsck -fn own.raw >/dev/null 2>&1 || fail "it is not clean"
gone own.raw /etc/ssh/ssh_host_rsa_key
gone own.raw /etc/some.conf
gone own.raw /var/cache/app
check_eq "the host's name" web1 "$(holds own.raw /etc/hostname)"
check_eq "keys" "ssh-ed25519 AAAA me
two" "$(holds own.raw /root/.ssh/authorized_keys)"
check_match "closed to others" "Mode:  0600" "$(debugfs -R 'stat /root/.ssh/authorized_keys' own.raw 2>&1)"
check_match "the zone" 'Fast link dest: "/usr/share/zoneinfo/Europe/Berlin"' "$(debugfs -R 'stat /etc/localtime' own.raw 2>&1)"
check_eq "files" "payload hello" "$(holds own.raw /etc/payload) $(holds own.raw /etc/note)"
check_match "a folder" "Type: directory" "$(debugfs -R 'stat /var/new' own.raw 2>&1)"
# crypt USER PASSWORD: is it that, as the hash in shadow has it?
crypts() {
	hash=$(holds own.raw /etc/shadow | sed -n "s/^$1:\([^:]*\):19700.*/\1/p")
	salt=$(echo "$hash" | cut -d '$' -f 3)
	check_eq "$1's password" "$hash" "$(openssl passwd -6 -salt "$salt" "$2")"
}
if command -v openssl >/dev/null; then
	crypts root "secret word"
	crypts ann annas
fi
check_match "its file is as closed as it was" "Mode:  0640" "$(debugfs -R 'stat /etc/shadow' own.raw 2>&1)"

say "the first boot runs what it was told to, once"
mkdir -p boot/etc/virt-sysprep-firstboot boot/root
for name in run 0001 0002; do
	holds own.raw /etc/virt-sysprep-firstboot/$name | sed "s|/etc/virt|$TMPDIR/boot/etc/virt|; s|/root|$TMPDIR/boot/root|" \
		>boot/etc/virt-sysprep-firstboot/$name
	chmod 755 boot/etc/virt-sysprep-firstboot/$name
done
sh boot/etc/virt-sysprep-firstboot/run
sh boot/etc/virt-sysprep-firstboot/run
check_eq "both, in their order" "first second" "$(grep -v === boot/root/virt-sysprep-firstboot.log | paste -s -d ' ')"
check_match "systemd starts it" 'ExecStart=/bin/sh /etc/virt-sysprep-firstboot/run' "$(holds own.raw /etc/systemd/system/virt-sysprep-firstboot.service)"
check_match "it is wanted" 'Type: symlink' "$(debugfs -R 'stat /etc/systemd/system/multi-user.target.wants/virt-sysprep-firstboot.service' own.raw 2>&1)"

say "one that was killed leaves nothing behind for long"
image own.raw
(
	echo 'name: virt-sysprep-4194999'
	echo 'title: images of virt-sysprep -a'
	echo "disks: [{path: own.raw, format: raw}]"
	echo 'interfaces: []'
) >left.yaml
roost define left.yaml
printf 'name: virt-sysprep-4194998\ndisks: []\ninterfaces: []\n' >mine.yaml
roost define mine.yaml
image other.raw
both virt-sysprep -q -a other.raw
check_eq "not what is somebody's" "third virt-sysprep-4194998" "$(roost list --all --name | sed '/^$/d' | sort | paste -s -d ' ')"
roost undefine virt-sysprep-4194998
[ -f own.raw ] || fail "the disk is gone"

say "what cannot be, changes nothing"
image own.raw
before=$(sha256sum <own.raw)
for bad in "--password bob:password:x" "--delete etc/x" "--delete /etc/../x" "--root-password random" "--ssh-inject ann:string:x" \
	"--hostname a_b" "--timezone ../x" "--upload nosuch:/etc/x" "--mkdir /nosuch/folder"; do
	# shellcheck disable=SC2086 # two words are meant
	both virt-sysprep -a own.raw $bad
	check_eq "$bad" "1 $before" "$both_status $(sha256sum <own.raw)"
	check_match "$bad: why" '^virt-sysprep: error: .' "$errors"
done
check_eq "no guest is left" third "$(roost list --all --name | sed '/^$/d')"
truncate -s 4M empty.raw
both virt-sysprep -a empty.raw
check_match "no system" 'there is no ext2, ext3 or ext4 with a system' "$errors"
