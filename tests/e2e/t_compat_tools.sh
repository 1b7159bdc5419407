#!/bin/sh
# The old names but virsh and virt-install: virt-host-validate, cloud-localds, virt-df, virt-viewer, virt-clone, virt-sysprep say what the real ones
# say, word by word; roost compat installs the names, for one shell or for all.
. "$TOP/tests/e2e/lib.sh"

say "for one shell"
eval "$(roost compat)"
check_eq "where they are" "$HOME/.local/share/roost/compat/virt-df" "$(command -v virt-df)"
check_json "in JSON" ".folder == \"$HOME/.local/share/roost/compat\"" "$(roost compat --json)"
check_status 2 roost compat --force

uri=qemu:///session
[ "$(id -u)" -ne 0 ] || uri=qemu:///system

# both streams of a command, apart, and its status
both() {
	both_status=0
	"$@" >"$TMPDIR/stdout" 2>"$TMPDIR/stderr" || both_status=$?
	out=$(cat "$TMPDIR/stdout")
	errors=$(cat "$TMPDIR/stderr")
}

say virt-host-validate
both virt-host-validate qemu
check_match "its first line" '^  QEMU: Checking for hardware virtualization                                 : (PASS|FAIL \(.+\))$' "$(head -n 1 "$TMPDIR/stdout")"
check_match "the WARN of IOMMU" '^  QEMU: Checking for device assignment IOMMU support                         : ' "$out"
check_match "the last line" '^  QEMU: Checking for secure guest support                                    : WARN \(Unknown if this platform has Secure Guest support\)$' "$(tail -n 1 "$TMPDIR/stdout")"
check_eq "the order" "cpu cpuacct cpuset memory devices blkio" "$(sed -n "s/.*for cgroup '\([a-z]*\)'.*/\1/p" "$TMPDIR/stdout" | paste -sd ' ')"
! grep -v '^  QEMU: .\{69\}: ' "$TMPDIR/stdout" || fail "lines of another form"
expected=0
! grep -q ': FAIL' "$TMPDIR/stdout" || expected=1
check_eq "1 only if something fails" $expected $both_status
check_eq "KVM is what roost proves" "$(roost validate --json | jq -r 'if (.[] | select(.name == "kvm").result) == "PASS" then "PASS" else "FAIL" end')" \
	"$(sed -n '1s/.*: \(PASS\|FAIL\).*/\1/p' "$TMPDIR/stdout")"
both virt-host-validate -q qemu
check_eq "quiet" " $expected" "$out $both_status"
both virt-host-validate
check_match "without an argument" '^   LXC: Checking for Linux >= 2.6.26 +: PASS$' "$out"
both virt-host-validate xen
check_match "no such type" "^virt-host-validate: unsupported hypervisor name xen$" "$errors"
both virt-host-validate --quit
check_eq "the nearest" "virt-host-validate: unrecognized option '--quit'; did you mean --quiet? 1" "$errors $both_status"

say cloud-localds
cd "$TMPDIR"
touch user-data meta-data
both cloud-localds -v ubuntu-provisioning.qcow2 user-data meta-data
check_eq "what it says" "wrote ubuntu-provisioning.qcow2 with filesystem=iso9660 and diskformat=raw" "$(tail -n 1 stderr)"
check_eq "on standard error, 0" " 0" "$out $both_status"
check_eq "whatever its suffix, ISO 9660 of that label" "CD001 cidata" \
	"$(dd if=ubuntu-provisioning.qcow2 bs=1 skip=32769 count=5 2>/dev/null) $(dd if=ubuntu-provisioning.qcow2 bs=1 skip=32808 count=6 2>/dev/null)"
printf '#cloud-config\n{}\n' >u
both cloud-localds -d qcow2 -f vfat -H web1 -m local seed u
check_eq "without -v not a word" "  0" "$out $errors $both_status"
check_eq "its format" qcow2 "$(roost image info seed --json | jq -r .format)"
both cloud-localds
check_eq "no arguments" "must provide output, userdata 1" "$(tail -n 1 stderr) $both_status"
check_match "the usage" '^Usage: cloud-localds ' "$errors"
both cloud-localds x nofile
check_eq "a missing file" "cp: cannot stat 'nofile': No such file or directory nofile: failed to copy 1" "$(paste -sd ' ' stderr) $both_status"
both cloud-localds x u -N nofile
check_eq "a missing network-config" "nofile: failed to copy 1" "$(tail -n 1 stderr) $both_status"
[ ! -e x ] || fail "something was made all the same"
both cloud-localds -d vmdk x u
check_match "a format that is not made" "'vmdk' is not there: roost makes disks of the formats raw and qcow2" "$errors"

say virt-df
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
both virt-df --blocksize=4096 -a fs.raw
check_match "by its name" "option '--blocksize=4096' is not there" "$errors"
both virt-df --human
check_eq "it may be cut short" 0 $both_status

say virt-viewer
both virt-viewer --connect "$uri" vm01
check_eq "not running" "virt-viewer: guest 'vm01' is not running; \`roost start vm01\` starts it 1" "$errors $both_status"
pico screen 'vnc: true' 'display: vga' >/dev/null
roost start screen
both virt-viewer -c "$uri" --attach screen
check_match "the ways that there are" "ssh -N -L 5901:$(run_dir screen)/vnc.sock " "$out"
check_eq "which is no failure" 0 $both_status
both virt-viewer --zoom 150 screen
check_match "what it has not" "option '150' is not there|option '--zoom' is not there" "$errors"
both virt-viewer
check_match "which" 'which guest\?$' "$errors"
roost destroy screen

say virt-clone
both virt-clone --original nosuch --auto-clone
check_eq "no such guest" "ERROR    Domain 'nosuch' was not found. 1" "$errors $both_status"
both virt-clone --original vm01
check_eq "no file" "ERROR    Either --auto-clone or --file is required, use '--auto-clone or --file' and try again. 1" "$errors $both_status"
both virt-clone --original vm01 --name screen --auto-clone
check_eq "a name that is taken" "ERROR    Invalid name for new guest: Guest name 'screen' is already in use. 1" "$errors $both_status"
both virt-clone --original vm01 --auto-klone
check_match "the nearest" "virt-clone: error: unrecognized option '--auto-klone'; did you mean --auto-clone" "$errors"
check_eq "as argparse" 2 $both_status
both virt-clone --original vm01 --auto-clone --skip-copy vda
check_match "by its name" "option '--skip-copy' is not there" "$errors"
both virt-clone --original vm01 --auto-clone
check_eq "what it says" "Allocating 'fs-clone.raw'                                   |    0 B  00:00 ... 

Clone 'vm01-clone' created successfully." "$out"
check_eq "not a word besides" " 0" "$errors $both_status"
cmp fs.raw fs-clone.raw
check_eq "its disk; the CD is shared" "$TMPDIR/fs-clone.raw $TMPDIR/ubuntu-provisioning.qcow2" \
	"$(roost domblklist vm01-clone --json | jq -r '.[].source' | paste -sd ' ')"
[ "$(roost domuuid vm01)" != "$(roost domuuid vm01-clone)" ] || fail "the two have one UUID"
both virt-clone -o vm01 --auto-clone -q
check_eq "quiet" " 0" "$out $both_status"
check_eq "the next names" "$TMPDIR/fs-clone1.raw" "$(roost domblklist vm01-clone1 --json | jq -r '.[0].source')"
uuid=65ea8d96-af9b-4d0b-a199-a12415c1dab4
both virt-clone -o vm01 -n third --file third.raw --uuid $uuid
check_eq "a file of one's own" "$TMPDIR/third.raw $uuid" "$(roost domblklist third --json | jq -r '.[0].source') $(roost domuuid third --json | jq -r .uuid)"
both virt-clone -o vm01 -n fourth --file third.raw
check_match "it is not overwritten" 'third.raw' "$errors"
both virt-clone -o vm01 -n fourth --file a.raw --file b.raw
check_match "as many as disks" 'has 1 disks to copy, 2 files are named' "$errors"
check_eq "no file is left of a clone that was not made" "" "$(find . -name '[ab].raw')"
cmp fs.raw third.raw
roost start screen
both virt-clone -o screen --auto-clone
check_eq "it runs" "ERROR    Domain to clone must be shutoff. 1" "$errors $both_status"
roost suspend screen
both virt-clone -o screen --auto-clone
check_eq "or is paused" "ERROR    Domain to clone must be shutoff. 1" "$errors $both_status"
roost resume screen
wait_until 30 is_up screen
roost shutdown screen >/dev/null 2>&1 &
shutdown=$!
shuts_down() {
	! is_state screen running
}
wait_until 10 shuts_down
both virt-clone -o screen -n picture --auto-clone
check_eq "one that is shutting down is waited for" "Clone 'picture' created successfully. 0" "$(tail -n 1 stdout) $both_status"
wait $shutdown
check_eq "a disk that is called as the guest" "$TMPDIR/picture.raw" "$(roost domblklist picture --json | jq -r '.[0].source')"
printf 'name: inside\ndisks: [{size: 8M}]\ninterfaces: []\n' >inside.yaml
roost define inside.yaml
both virt-clone -o inside -n inside2 --auto-clone
check_eq "disks in the guest's folder" "Clone 'inside2' created successfully. 0" "$(tail -n 1 stdout) $both_status"

say virt-sysprep
both virt-sysprep -d nosuch
check_match "no such guest" "virt-sysprep: error: libguestfs error: no libvirt domain called ‘nosuch’" "$errors"
both virt-sysprep
check_match "which" 'you must give either -a or -d options' "$errors"
both virt-sysprep -d third --hostname web1
check_match "by its name" "option '--hostname' is not there: a cloud-init seed does that" "$errors"
both virt-sysprep --list-operations
check_match "its operations" '^ssh-hostkeys \* ' "$out"
mkdir -p system/etc/ssh system/usr system/var/log
echo key >system/etc/ssh/ssh_host_rsa_key
PATH=$PATH:/usr/sbin:/sbin mke2fs -q -F -d system third.raw
both virt-sysprep -d third --operations ssh-hostkeys,machine-id
check_eq "what it says" '[ 0.0] Examining the guest ...
[ N.N] Performing "machine-id" ...
[ N.N] Performing "ssh-hostkeys" ...' "$(sed 's/^\[ *0\.0\] Ex/[ 0.0] Ex/; s/^\[ *[0-9]*\.[0-9]\] P/[ N.N] P/' stdout)"
check_match "stamped so" '^\[   0\.0\] Examining' "$out"
check_eq "not a word besides" " 0" "$errors $both_status"
check_match "it is done" 'File not found' "$(PATH=$PATH:/usr/sbin:/sbin debugfs -R 'stat /etc/ssh/ssh_host_rsa_key' third.raw 2>&1)"

# --- for all ------------------------------------------------------------------------------------------------------
if [ "$(id -u)" -ne 0 ]; then
	check_status 5 roost compat --install
	check_match "only root" 'sudo roost compat --install' "$out"
	exit 0
fi
say "for all"
PATH=${PATH#*:} # not those of one shell
at_end() {
	umount -l /usr/local /var/lib 2>/dev/null
}
mount -t tmpfs none /usr/local
mount -t tmpfs none /var/lib
mkdir /usr/local/bin
real=$(command -v virt-df || command -v virsh || :)
[ -n "$real" ] || { mkdir tools && printf '#!/bin/sh\n' >tools/virsh && chmod +x tools/virsh && PATH=$TMPDIR/tools:$PATH; }
check_status 5 roost compat --install
check_match "the real ones" 'the real .* is installed' "$out"
[ -z "$(ls /usr/local/bin)" ] || fail "links were made all the same"
[ -n "$real" ] || PATH=${PATH#*:}
roost compat --install --force
check_eq "a name" "$(realpath "$TOP/build/bin/roost")" "$(readlink /usr/local/bin/virsh)"
for name in virsh virt-clone virt-sysprep virt-df virt-host-validate virt-viewer cloud-localds; do
	[ -x "/usr/local/bin/$name" ] || fail "there is no $name"
done
if getent group roost >/dev/null; then
	check_eq "its folder" "root roost 2771" "$(stat -c '%U %G %a' /var/lib/libvirt/images)"
else
	check_eq "its folder" "root root 711" "$(stat -c '%U %G %a' /var/lib/libvirt/images)"
fi
check_eq "it answers" vm01 "$(/usr/local/bin/virt-df -d vm01 --csv | sed -n '2s/,.*//p')"
roost compat --install --force >/dev/null
check_match "undone" 'removed /usr/local/bin/virsh' "$(roost compat --remove)"
check_eq "nothing is left" " " "$(ls /usr/local/bin) $(ls /var/lib)"
check_status 3 roost compat --remove

say "what is somebody's stays"
mkdir -p /var/lib/libvirt/images
echo mine >/usr/local/bin/virsh
check_status 5 roost compat --install --force
check_match "which" "'/usr/local/bin/virsh' is there, and is not roost" "$out"
rm /usr/local/bin/virsh
roost compat --install --force >/dev/null
rm /usr/local/bin/virsh && echo mine >/usr/local/bin/virsh
check_match "it is told" 'still in use, or changed since: /usr/local/bin/virsh' "$(roost compat --remove)"
check_eq "they are there" "mine libvirt virsh" "$(cat /usr/local/bin/virsh) $(ls /var/lib) $(ls /usr/local/bin)"
umount /usr/local /var/lib
