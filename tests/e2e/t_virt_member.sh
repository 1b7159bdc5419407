#!/bin/sh
# The old names as root, as a member of the group `roost` and as somebody else use them: the first two on the system's
# guests, who see and clone each other's; the last one on guests of his own.
# user: root
. "$TOP/tests/e2e/members.sh"

need pico.raw
old_names virsh virt-clone virt-df virt-sysprep virt-install
roost boot
at_end() {
	as bob roost halt --timeout 5s >/dev/null 2>&1
	end_roostd bob
}

# clone WHO FOLDER: his guest `WHO-vm`, whose disk lies there, is cloned beside it
clone() {
	clone_disk=$2/$1-vm.qcow2
	as "$1" qemu-img create -q -f qcow2 "$clone_disk" 4M
	as "$1" virt-install --name "$1-vm" --memory 32 --disk "$clone_disk" --import --os-variant generic --network none \
		--graphics none --noautoconsole --virt-type qemu --noreboot >/dev/null 2>&1 ||
		fail "$1: virt-install"
	as "$1" virsh destroy "$1-vm" >/dev/null 2>&1 || :
	both as "$1" virt-clone --original "$1-vm" --auto-clone
	check_eq "$1: it is made" "Clone '$1-vm-clone' created successfully. 0 " "$(tail -n 1 "$TMPDIR/stdout") $both_status $errors"
	check_eq "$1: beside it" "$2/$1-vm-clone.qcow2" "$(as "$1" roost domblklist "$1-vm-clone" --json | jq -r '.[0].source')"
	check_eq "$1: his own" "$1" "$(stat -c %U "$2/$1-vm-clone.qcow2")"
}
say "a member"
clone alice $images
say "root"
clone root $images
both as alice virt-clone --original root-vm --name two --auto-clone
check_eq "a member clones what is root's" "Clone 'two' created successfully. 0 " "$(tail -n 1 "$TMPDIR/stdout") $both_status $errors"
say "somebody else"
both as bob virt-clone --original root-vm --auto-clone
check_eq "he sees none of that" "ERROR    Domain 'root-vm' was not found. 1" "$errors $both_status"
both as bob virt-clone --connect qemu:///system --original root-vm --auto-clone
check_eq "nor when he names it" 1 "$both_status"
mkdir -p "$TMPDIR/home/bob/img"
chown bob: "$TMPDIR/home/bob/img"
clone bob "$TMPDIR/home/bob/img"

say "what else they may do"
check_match "a member looks into what is root's" '^VirtualMachine,' "$(as alice virt-df --csv -d root-vm)"
mkdir -p "$TMPDIR/system/etc/ssh" "$TMPDIR/system/usr"
echo key >"$TMPDIR/system/etc/ssh/ssh_host_rsa_key"
# cleans WHO FILE: and it is clean
cleans() {
	PATH=$PATH:/usr/sbin mke2fs -q -F -d "$TMPDIR/system" "$2" 16M
	chown "$1:" "$2"
	both as "$1" virt-sysprep -q -a "$2"
	check_eq "$1: it is cleaned" "0 " "$both_status $errors"
	check_match "$1" "File not found" "$(PATH=$PATH:/usr/sbin debugfs -R 'stat /etc/ssh/ssh_host_rsa_key' "$2" 2>&1)"
	check_eq "$1: it is his" "$1" "$(stat -c %U "$2")"
}
cleans alice "$images/a.raw"
cleans bob "$TMPDIR/home/bob/img/b.raw"
cp "$images/a.raw" "$images/r.raw"
chmod 600 "$images/r.raw"
both as alice virt-sysprep -q -a "$images/r.raw"
check_eq "not what only root may" "virt-sysprep: error: cannot open '$images/r.raw': Permission denied 1" "$errors $both_status"
as alice cp "$images/a.raw" "$images/read.raw"
chown root "$images/read.raw"
chmod 644 "$images/read.raw"
both as alice virt-sysprep -q -a "$images/read.raw"
check_eq "nor write to" "virt-sysprep: error: cannot change '$images/read.raw': Permission denied 1" "$errors $both_status"
