#!/bin/sh
# virt-install from the start of the guest to its end: at a terminal, with a viewer, when it waits, when the guest powers off
# instead of a reboot, and what reaches QEMU.
# limit: 150
. "$TOP/tests/e2e/lib.sh"
need pico.raw pico-installer.iso
iso=$(realpath "$GUESTS/pico-installer.iso")
mkdir "$TMPDIR/bin" "$TMPDIR/images"
for name in virt-install virsh; do
	ln -s "$(command -v roost)" "$TMPDIR/bin/$name"
done
PATH=$TMPDIR/bin:$PATH
unset DISPLAY
export ROOST_LIBVIRT_IMAGES="$TMPDIR/images"
uri=qemu:///$([ "$(id -u)" -eq 0 ] && echo system || echo session)

disk() {
	cp "$GUESTS/pico.raw" "$TMPDIR/images/$1.img"
	echo "path=$TMPDIR/images/$1.img"
}
# vi OPTION...: without a terminal; what it says is in $TMPDIR/out and err
vi() {
	virt-install --memory 32 --network none "$@" >"$TMPDIR/out" 2>"$TMPDIR/err" </dev/null ||
		fail "virt-install $*: $(cat "$TMPDIR/err")"
}
# waits NAME OPTION...: in the background; $pid
waits() {
	waits_name=$1
	shift
	virt-install --name "$waits_name" --memory 32 --network none --disk size=0.004 --graphics none --wait -1 "$@" \
		>"$TMPDIR/$waits_name.out" 2>"$TMPDIR/$waits_name.err" </dev/null &
	pid=$!
	wait_until 30 console_has "$waits_name" INSTALLER-UP
	wait_until 10 is_waiting "$waits_name"
}
is_waiting() {
	grep -q '^Waiting for the installation' "$TMPDIR/$1.out"
}
# said NAME: what it said after it had begun to wait
said() {
	sed '1,/^Waiting for the installation/d' "$TMPDIR/$1.out"
}
# terminal STATUS STEP... -- OPTION...: what it showed is in $shown
terminal() {
	terminal_expected=$1 status=0
	shift
	shown=$(python3 "$TOP/tests/e2e/in_terminal.py" "$@") || status=$?
	check_eq "status at a terminal: $shown" "$terminal_expected" $status
}

say "a console, and ^]"
terminal 0 expect "Running text console command: virsh --connect $uri console one" expect PICO-UP type '^]' -- \
	virt-install --name one --memory 32 --network none --import --disk "$(disk one)" --graphics none
check_match "its end" '^Domain creation completed' "$shown"

gone() {
	roost destroy "$1"
	roost undefine "$1" >/dev/null
}
gone one
say "an installer's console: it is come back to after the reboot"
terminal 0 expect INSTALLER-UP type i expect PICO-UP expect tick type x expect x type '^]' -- \
	virt-install --name two --memory 32 --network none --location "$iso" --disk size=0.004 --graphics none
check_match "what is said" 'Restarting guest' "$shown"
check_eq "it runs from its disk" running "$(state two)"
gone two

say "left meanwhile"
terminal 0 expect INSTALLER-UP type '^]' -- \
	virt-install --name three --memory 32 --network none --location "$iso" --disk size=0.004 --autoconsole text
check_match "what is said" 'You can reconnect to the console to complete the installation process' "$shown"
gone three

say "who waits: a reboot, a power-off, --noreboot, a destroy"
waits w1 --location "$iso"
type_to w1 i
wait $pid
check_eq "a reboot" "Domain has shutdown. Continuing.
Domain creation completed.
Restarting guest." "$(said w1)"
wait_until 20 console_has w1 PICO-UP
check_match "how to look, meanwhile" "virsh --connect $uri console w1" "$(cat "$TMPDIR/w1.err")"
waits w2 --cdrom "$iso"
type_to w2 p
wait $pid
gone w1
check_match "a medium's console" "^WARNING  CDROM media does not print to the text console by default" "$(cat "$TMPDIR/w2.err")"
check_eq "a power-off" "$(said w1)" "$(said w2)"
check_eq "it runs" running "$(state w2)"
check_match "the ISO is out" "^ sda +-$" "$(roost domblklist w2)"
gone w2
waits w3 --cdrom "$iso" --noreboot
type_to w3 i
wait $pid
check_eq "--noreboot" "Domain has shutdown. Continuing.
Domain creation completed.
You can restart your domain by running:
  virsh --connect $uri start w3" "$(said w3)"
check_eq "it is off" "shut off" "$(state w3)"
waits w4 --cdrom "$iso"
virsh destroy w4 >/dev/null
wait $pid
check_eq "a destroy" "Domain has shutdown. Continuing.
Domain creation completed.
User stopped the VM. Not rebooting." "$(said w4)"
check_eq "it is off" "shut off" "$(state w4)"
roost undefine w3 >/dev/null
roost undefine w4 >/dev/null

say "who does not wait"
vi --name w5 --cdrom "$iso" --disk size=0.004 --wait 0
check_match "--wait 0" '^WARNING  Treating --wait 0 as --noautoconsole' "$(cat "$TMPDIR/err")"
wait_until 30 console_has w5 INSTALLER-UP
type_to w5 p
wait_until 20 is_state w5 "shut off"

say "--reinstall"
vi --reinstall w5 --cdrom "$iso" --noautoconsole
twice() {
	[ "$(console_log w5 | grep -c INSTALLER-UP)" -eq 2 ]
}
wait_until 30 twice
type_to w5 i
wait_until 30 console_has w5 PICO-UP
gone w5

say "a system that there is, and --wait"
virt-install --name w6 --memory 32 --network none --disk "$(disk w6)" --import --wait --noautoconsole >"$TMPDIR/w6.out" </dev/null &
pid=$!
wait_until 30 is_up w6
wait_until 10 is_waiting w6
virsh shutdown w6 >/dev/null
wait $pid
check_match "how it is started" "virsh --connect $uri start w6" "$(said w6)"

say "--transient"
waits t1 --cdrom "$iso" --transient
transient() {
	virsh dominfo t1 | grep -Eq '^Persistent: +no$'
}
wait_until 20 transient
type_to t1 i
wait $pid
check_eq "its end" "Domain has shutdown. Continuing.
Domain creation completed." "$(said t1)"
is_gone() {
	! roost list --all --name | grep -qx t1
}
wait_until 10 is_gone # its record, too
[ -e "$TMPDIR/images/t1.qcow2" ] || fail "its disk is gone, too"

say "a viewer"
cat >"$TMPDIR/bin/xtigervncviewer" <<END
#!/bin/sh
python3 "$TOP/tests/e2e/vnc_login.py" "\${2-\$1}" sesame >"$TMPDIR/viewer"
END
chmod +x "$TMPDIR/bin/xtigervncviewer"
DISPLAY=:9 vi --name v1 --disk "$(disk v1)" --import --graphics vnc,password=sesame
check_eq "it was let in by the password" admitted "$(cat "$TMPDIR/viewer")"

say "what reaches QEMU"
vi --name q1 --disk "$(disk q1),bus=scsi,cache=none,serial=S1,readonly=on" --disk device=cdrom --import --noautoconsole --virt-type qemu --cpu qemu64,+x2apic \
	--vcpus 1,maxvcpus=3 --network user,model=e1000,mac=52:54:00:11:22:33 --watchdog i6300esb,action=pause --boot network,hd --rng none --machine pc
argv=$(roost dominfo --argv q1)
for word in 'qemu64,\+x2apic' 'maxcpus=3' '"e1000".*"mac": ?"52:54:00:11:22:33"' '"scsi-hd".*"S1"' watchdog=pause i6300esb pc-i440fx '"read-only": ?true' '"cache.direct": ?true|"direct": ?true'; do
	check_match "QEMU's $word" "$word" "$argv"
done
check_no_match "and not" 'virtio-rng' "$argv"

# one of both is enough: it takes the firmware three times
if [ "$(id -u)" -eq 0 ] && [ -r /usr/share/OVMF/OVMF_CODE_4M.fd ] && command -v mkfs.vfat mcopy genisoimage >/dev/null; then
	say "UEFI: from the medium, then from the disk, then from the disk that the firmware remembers"
	# efi FILE TEXT [reset]: a file system whose boot loader is that program
	efi() {
		efi_image=$1
		shift
		python3 "$TOP/tests/e2e/efi_program.py" "$TMPDIR/boot.efi" "$@"
		truncate -s 4M "$efi_image"
		mkfs.vfat "$efi_image" >/dev/null
		mmd -i "$efi_image" ::/EFI ::/EFI/BOOT
		mcopy -i "$efi_image" "$TMPDIR/boot.efi" ::/EFI/BOOT/BOOTX64.EFI
	}
	mkdir "$TMPDIR/cd"
	efi "$TMPDIR/cd/efi.img" EFI-INSTALLER reset
	genisoimage -quiet -R -e efi.img -no-emul-boot -o "$TMPDIR/efi.iso" "$TMPDIR/cd"
	efi "$TMPDIR/images/u1.img" EFI-DISK
	vi --name u1 --memory 128 --disk "path=$TMPDIR/images/u1.img" --cdrom "$TMPDIR/efi.iso" --boot uefi --graphics none \
		--noautoconsole
	wait_until 60 console_has u1 EFI-DISK
	# starts: what the firmware has started, and what has said so
	starts() {
		tr '\r\033' '\n ' <"$ROOST_STATE/guests/u1/console.log" | sed -n 's/.*BdsDxe: starting \(Boot[0-9]*\).*/\1/p; /^EFI-/p' |
			paste -s -d ' ' -
	}
	check_eq "the installer, then the disk" "Boot0001 EFI-INSTALLER Boot0002 EFI-DISK" "$(starts)"
	check_eq "the medium is out" - "$(virsh -q domblklist u1 | awk '$1 == "sda" { print $2 }')"
	roost destroy u1
	roost start u1
	is_started_again() {
		[ "$(starts)" = "Boot0001 EFI-INSTALLER Boot0002 EFI-DISK Boot0002 EFI-DISK" ]
	}
	wait_until 60 is_started_again # 0002: with new variables it would be the first
	roost destroy u1
	qemu-img check -q "$ROOST_STATE/guests/u1/vars.qcow2"
	roost undefine u1 >/dev/null
fi

say "killed when it has made the disk: the next one tells of it"
failing=$TOP/build/fail/bin/roost
[ -x "$failing" ] || {
	echo "not tried for want of build/fail: kill -9 in between"
	exit 0
}
mkdir "$TMPDIR/failing"
ln -s "$failing" "$TMPDIR/failing/virt-install"
die_at virt-install-disks
status=0
"$TMPDIR/failing/virt-install" --name half --memory 32 --network none --disk size=0.004 --import --noreboot \
	>/dev/null 2>&1 || status=$?
has_died virt-install-disks
check_eq "it was killed" 137 $status
check_status 3 roost domstate half
qemu-img check -q "$TMPDIR/images/half.qcow2"
vi --name half --disk size=0.004 --import --noreboot --graphics none
check_match "told" "^WARNING  Disk $TMPDIR/images/half.qcow2 is there already and no guest has it: it is left alone" \
	"$(cat "$TMPDIR/err")"
check_eq "another" "$TMPDIR/images/half-1.qcow2" "$(roost dominfo half --json | jq -r '.disks[0].path')"
roost undefine half >/dev/null
vi --name half --disk "path=$TMPDIR/images/half.qcow2" --import --noreboot --graphics none
check_eq "or that one" "" "$(cat "$TMPDIR/err")"
roost undefine half >/dev/null
