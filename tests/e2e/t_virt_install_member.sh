#!/bin/sh
# virt-install by a member of the group `roost`: on the system's guests, on his own by -c qemu:///session; by somebody else:
# on his own, and what he cannot have is told.
# user: root
# limit: 120
. "$TOP/tests/e2e/members.sh"
need pico.raw pico-installer.iso
old_names virsh virt-install
roost boot
for who in alice bob; do
	cp "$GUESTS/pico-installer.iso" "$TMPDIR/home/$who/own.iso"
	chown $who: "$TMPDIR/home/$who/own.iso"
	chmod 600 "$TMPDIR/home/$who/own.iso"
	chmod 700 "$TMPDIR/home/$who"
done
at_end() {
	for who in alice bob; do
		as $who roost -c qemu:///session halt --timeout 5s >/dev/null 2>&1
		end_roostd $who
	done
}
# vi WHO OPTION...: in $TMPDIR/out, err and $status
vi() {
	vi_who=$1 status=0
	shift
	(cd "$TMPDIR/home/$vi_who" && as "$vi_who" virt-install --memory 32 --noautoconsole --virt-type qemu "$@") \
		>"$TMPDIR/out" 2>"$TMPDIR/err" </dev/null || status=$?
}
# installs WHO NAME FOLDER OPTION...: a new disk, from an ISO that he alone may read
installs() {
	installs_who=$1 installs_name=$2 installs_folder=$3
	shift 3
	vi "$installs_who" --name "$installs_name" --cdrom own.iso --disk size=0.004 "$@"
	check_eq "$installs_who: $(cat "$TMPDIR/err")" 0 $status
	[ -e "$installs_folder/$installs_name.qcow2" ] || fail "$installs_who: no disk in $installs_folder"
	check_eq "$installs_who: it is his" "$installs_who" "$(stat -c %U "$installs_folder/$installs_name.qcow2")"
	# shellcheck disable=SC2086 # several words
	check_eq "$installs_who: it runs" running "$(as "$installs_who" virsh $connect domstate "$installs_name" | head -n 1)"
}

say "a member, on the system's guests"
connect=
installs alice sys $images --network none
check_eq "root sees it" "running" "$(state sys)"
wait_until 30 console_has sys INSTALLER-UP
type_to sys i
wait_until 30 console_has sys PICO-UP

say "the same, on guests of his own"
connect="-c qemu:///session"
installs alice own "$TMPDIR/home/alice/.local/share/libvirt/images" --connect qemu:///session
check_eq "root does not" "sys" "$(roost list --all --name)"
check_match "user networking" user "$(as alice virsh -c qemu:///session domiflist own)"
as alice virsh -c qemu:///session destroy own >/dev/null

say "somebody else"
connect=
installs bob his "$TMPDIR/home/bob/.local/share/libvirt/images"
as bob virsh destroy his >/dev/null
vi bob --connect qemu:///system --name x --disk size=0.004 --cdrom own.iso
check_eq "the system's guests" 1 $status
check_match "what is said" '^ERROR .*(group|permission|not a member|may)' "$(cat "$TMPDIR/err")"
vi bob --name x --disk none --import --network bridge=br0
check_eq "a bridge of the host's" 1 $status
check_match "what is said" '^ERROR .*bridge' "$(cat "$TMPDIR/err")"
check_eq "no such guest" his "$(as bob virsh -q list --all --name)"

say "a folder that a member may not write to"
chmod 755 $images
vi alice --name no --disk size=0.004 --cdrom own.iso --network none
check_eq "status" 1 $status
check_match "what is said" "^ERROR    cannot make the disk '$images/no.qcow2': Permission denied" "$(cat "$TMPDIR/err")"
check_match "what to do" "sudo chgrp roost $images" "$(cat "$TMPDIR/err")"
check_eq "no guest" sys "$(roost list --all --name)"
