#!/bin/sh
# The chapter's commands in the chapter's order, as printed, by a member of the group with Debian's sudo: what each did is
# looked up, inside the guest where there is one. Where libvirt's own tools fail at a line of it, ours say clearly why, and the
# mended line follows. Its part on cloud images is t_chapter_cloud.sh.
# user: root
# limit: 900
. "$TOP/tests/e2e/chapter/host.sh"
grep -qx 'ID=debian' /etc/os-release || skip "the installer is made of Debian's own packages"
need debian-installer.iso tiny.qcow2

# --- the host -----------------------------------------------------------------------------------------------------------
say "virt-host-validate"
typed virt-host-validate
check_match "its verdict on KVM" '^  QEMU: Checking for hardware virtualization +: (PASS|FAIL \(.+\))$' "$out"
check_eq "1 if something fails, else 0" "$(echo "$out" | grep -c ': FAIL' | sed 's/^[1-9].*/1/')" $status
check_match "QEMU runs without it, too" '^  QEMU: Checking if device /dev/net/tun exists +: PASS$' "$out"

say "the network"
line 'virsh net-list'
check_no_match "it is not active yet" default "$out"
line 'sudo virsh net-start default'
check_match "its word" '^Network default started$' "$out"
line 'sudo virsh net-autostart default'
check_match "its word" '^Network default marked as autostarted$' "$out"
line 'virsh net-list'
check_match "there it is" '^ default   active   yes         yes$' "$out"
check_match "the host has a way there" '^192\.168\.122\.0/24 ' "$(ip -4 route show)"

say "an installer"
offer "$GUESTS/debian-installer.iso" debian-12-netinst.iso
line 'wget -nv http://downloads.example/debian-12-netinst.iso'
line 'mv debian-12-netinst.iso /var/lib/libvirt/images/'
remark 'sudo systemctl start libvirtd && sudo systemctl enable libvirtd: nothing to do, no daemon of ours need be started'
iso=$images/debian-12-netinst.iso
cmp "$GUESTS/debian-installer.iso" "$iso"

# --- a guest ------------------------------------------------------------------------------------------------------------
say "virt-install"
asks_for_kvm ubuntu-vm1 'virt-install --virt-type=kvm --name ubuntu-vm1 --vcpus=2 --memory=2048 --os-variant=ubuntufocal --cdrom=/var/lib/libvirt/images/debian-12-netinst.iso --network=default --disk size=20'
check_match "how it ends" '^Domain is still running. Installation may be in progress.$' "$out"
check_match "how to look at it" 'roost viewer ubuntu-vm1' "$out"
disk=$images/ubuntu-vm1.qcow2
check_json "its disk: thin, qcow2, of 20 GiB" ".format == \"qcow2\" and .[\"virtual-size\"] == $((20 << 30)) and .[\"actual-size\"] < $((1 << 20))" \
	"$(qemu-img info -U --output=json "$disk")"
line 'virsh list'
check_match "it runs" '^ [0-9]+ +ubuntu-vm1   running$' "$out"
wait_until 240 console_has ubuntu-vm1 '\[!!\] Select a language'
say "its first screen is on the serial console"
shows_language() {
	su - alice -c 'virsh screenshot ubuntu-vm1 screen.png' >/dev/null &&
		python3 "$TOP/tests/e2e/png.py" "$home/screen.png" "[!!] Select a language" >/dev/null 2>&1
}
wait_until 100 shows_language
say "and on the VGA screen"
line 'virsh screenshot ubuntu-vm1 screen.png'
check_match "its word" '^Screenshot saved to screen.png, with type of image/png$' "$out"
line 'virsh destroy ubuntu-vm1'
check_eq "it is off at once" "shut off (destroyed)" "$(reason ubuntu-vm1)"
line 'virsh list'
check_no_match "and not listed" ubuntu-vm1 "$out"
line 'virsh list --all'
check_match "but here" '^ -    ubuntu-vm1   shut off$' "$out"

remark 'the rest of an installation takes an hour: its disk gets what it would have laid there, and the CD-ROM drive tells that system which user its installer was asked for'
line 'ssh-keygen -q -t ed25519 -N "" -f ~/.ssh/id_ed25519'
printf '#cloud-config\nusers: [{name: username, ssh_authorized_keys: ["%s"]}]\n' "$(cat "$home/.ssh/id_ed25519.pub")" >"$TMPDIR/user-data"
roost seed "$images/answers.iso" "$TMPDIR/user-data" >/dev/null
qemu-img convert -n -O qcow2 "$GUESTS/tiny.qcow2" "$disk"
virsh change-media ubuntu-vm1 sda "$images/answers.iso" --config >/dev/null

# in_guest ADDRESS COMMAND: as `username`; nothing of it is shown
in_guest() {
	su - alice -c "ssh -o BatchMode=yes -o ConnectTimeout=$((4 * E2E_PATIENCE)) -o StrictHostKeyChecking=accept-new username@$1 '$2'" </dev/null 2>/dev/null
}
# what makes it the one it is
identity() {
	in_guest "$1" 'cat /etc/machine-id; cat /sys/class/net/eth0/address; hostname'
	ssh-keyscan -T 60 -t ed25519 "$1" 2>/dev/null | cut -d ' ' -f 2-
}
boot_id() {
	in_guest "$address" 'cat /proc/sys/kernel/random/boot_id'
}
is_another_boot() {
	boot_now=$(boot_id) && [ -n "$boot_now" ] && [ "$boot_now" != "$boot" ]
}
# address_of NAME: as domifaddr tells it
address_of() {
	virsh domifaddr "$1" | awk '$3 == "ipv4" { sub("/.*", "", $4); print $4 }'
}
# speaks ADDRESS: SSH does
speaks() {
	[ "$(timeout 3 socat -u "TCP:$1:22,readbytes=4" - 2>/dev/null)" = SSH- ]
}

say "start, and its address"
line 'virsh start ubuntu-vm1'
line 'virsh domifaddr ubuntu-vm1'
address=$(echo "$out" | awk '$3 == "ipv4" { sub("/.*", "", $4); print $4 }')
check_match "its address" '^192\.168\.122\.[0-9]+$' "$address"
wait_until 60 speaks "$address"
dialogue "ssh username@$address id -un" expect 'continue connecting' type "yes
"
check_eq "who she is there" username "$(echo "$out" | tail -n 1)"
check_eq "it has what was asked for" "2 $address" \
	"$(in_guest "$address" 'nproc; ip -4 -o addr show dev eth0 | sed "s/.*inet //; s/\/.*//"' | xargs)"
kib=$(in_guest "$address" 'sed -n "s/^MemTotal: *\([0-9]*\) kB/\1/p" /proc/meminfo')
if [ "$kib" -le $((1900 << 10)) ] || [ "$kib" -gt $((2048 << 10)) ]; then
	fail "of 2048 MiB it has $kib KiB"
fi
line 'virsh net-dhcp-leases default'
check_match "its lease" " ipv4 +$address/24 " "$out"

say "reboot, suspend, resume"
boot=$(boot_id)
line 'virsh reboot ubuntu-vm1'
wait_until 60 is_another_boot
line 'virsh suspend ubuntu-vm1'
! speaks "$address" || fail "it speaks"
line 'virsh list'
check_match "it is paused" '^ [0-9]+ +ubuntu-vm1   paused$' "$out"
line 'virsh resume ubuntu-vm1'
wait_until 10 speaks "$address"
boot=$boot_now
check_eq "it goes on" "$boot" "$(boot_id)"

say "a viewer"
line 'virt-viewer --connect qemu:///system ubuntu-vm1'
socket=$(echo "$out" | sed -n 's/.*ssh -N -L [0-9]*:\([^ ]*\) .*/\1/p')
check_eq "VNC is behind the way that it tells" "RFB" "$(timeout $((3 * E2E_PATIENCE)) socat -u "UNIX:$socket,readbytes=3" -)"

# --- clones and templates -----------------------------------------------------------------------------------------------
say "a clone, right after the button was pressed"
line 'virsh shutdown ubuntu-vm1'
check_match "its word" "^Domain 'ubuntu-vm1' is being shutdown$" "$out"
line 'virt-clone --original ubuntu-vm1 --name ubuntu-vm1-clone1 --auto-clone'
check_match "its word" "^Clone 'ubuntu-vm1-clone1' created successfully.$" "$out"
check_match "it has waited" '^shut off \((shutdown|guest poweroff)' "$(reason ubuntu-vm1)"
qemu-img compare -q "$disk" "$images/ubuntu-vm1-clone1.qcow2"
say "a template"
remark 'ubuntu-template is installed as ubuntu-vm1 was'
line 'sudo virt-clone --original ubuntu-vm1 --name ubuntu-template --auto-clone'
line 'sudo cp /var/lib/libvirt/images/ubuntu-template.qcow2 /var/lib/libvirt/images/back.qcow2'
line 'sudo virt-sysprep -d ubuntu-template'
check_match "its words" '^\[ +[0-9.]+\] Performing "ssh-hostkeys" \.\.\.$' "$out"
! qemu-img compare -q "$images/back.qcow2" "$images/ubuntu-template.qcow2" || fail "nothing was cleaned"
qemu-img compare -q "$images/back.qcow2" "$disk"
line 'virt-clone --original ubuntu-template --name ubuntu-vm2 --auto-clone'
line 'virsh list --all'
for name in ubuntu-template ubuntu-vm1 ubuntu-vm1-clone1 ubuntu-vm2; do
	check_match "$name" "^ -    $name +shut off\$" "$out"
done
for name in ubuntu-vm1 ubuntu-vm1-clone1 ubuntu-vm2; do
	line "virsh start $name"
done
say "three systems beside each other"
# identified NAME: all four lines of it, in a file of that name; while the others boot one log-in may fail
identified() {
	identity "$(address_of "$1")" >"$TMPDIR/$1"
	[ "$(wc -l <"$TMPDIR/$1")" -eq 4 ]
}
for name in ubuntu-vm1 ubuntu-vm1-clone1 ubuntu-vm2; do
	wait_until 90 speaks "$(address_of $name)"
	wait_until 60 identified $name
	cat "$TMPDIR/$name"
done
part() { # NAME LINE: of its identity: 1 machine-id, 2 MAC, 3 host name, 4 host key
	sed -n "$2p" "$TMPDIR/$1"
}
for number in 1 4; do
	for name in ubuntu-vm1 ubuntu-vm1-clone1 ubuntu-vm2; do
		part $name $number
	done >"$TMPDIR/three"
	check_eq "three other systems" 3 "$(grep . "$TMPDIR/three" | sort -u | wc -l)"
done
check_eq "a clone's host key is known" "$(part ubuntu-vm1-clone1 4)" \
	"$(roost ssh-config ubuntu-vm1-clone1 --json | jq -r '.[].host_key' | cut -d ' ' -f 1-2)"
check_eq "three MAC addresses, as issued" \
	"$(for name in ubuntu-vm1 ubuntu-vm1-clone1 ubuntu-vm2; do virsh domiflist $name | awk '$2 == "network" { print $5 }'; done)" \
	"$(for name in ubuntu-vm1 ubuntu-vm1-clone1 ubuntu-vm2; do part $name 2; done)"
check_eq "nothing is twice there" "" "$(for name in ubuntu-vm1 ubuntu-vm1-clone1 ubuntu-vm2; do
	address_of $name
	part $name 2
done | sort | uniq -d)"
line 'virsh destroy ubuntu-vm2'
line 'virsh destroy ubuntu-vm1-clone1'

# --- what there is, and more or less of it ------------------------------------------------------------------------------
say "nodeinfo, dominfo, virt-df"
line 'virsh nodeinfo'
check_match "its CPUs" "^CPU\(s\): +$(nproc --all)\$" "$out"
check_match "its memory" '^Memory size: +[0-9]+ KiB$' "$out"
line 'virsh dominfo ubuntu-vm1'
check_match "its state" '^State: +running$' "$out"
check_match "its vCPUs" '^CPU\(s\): +2$' "$out"
check_match "its memory" '^Used memory: +2097152 KiB$' "$out"
wait_until 60 virsh domifaddr ubuntu-vm1 --source agent
line 'sudo virt-df -d ubuntu-vm1 -h'
check_match "its root" '^ubuntu-vm1:/dev/sda2 +19G +' "$out"
own=$(in_guest "$(address_of ubuntu-vm1)" 'df -kP /' | awk 'NR == 2 { print $2 }')
line 'virt-df -d ubuntu-vm1'
check_eq "as its own df has it" "$own" "$(echo "$out" | awk '$1 == "ubuntu-vm1:/dev/sda2" { print $2 }')"
line 'sudo virt-df -d ubuntu-template -h'
check_match "of one that is off" '^ubuntu-template:/dev/sda2 +19G +' "$out"

say "setvcpus"
address=$(address_of ubuntu-vm1)
most=$(virsh vcpucount ubuntu-vm1 --maximum --live)
more=$((most + 1))
line_fails 1 "virsh setvcpus ubuntu-vm1 $more"
check_match "why" "^error: invalid argument: requested vcpus is greater than max allowable vcpus for the live domain: $more > $most\$" "$out"
line "virsh setvcpus ubuntu-vm1 $more --maximum --config"
say "setmaxmem"
line_fails 1 'virsh setmaxmem ubuntu-vm1 3145728'
check_match "why" '^error: Requested operation is not valid: cannot resize the maximum memory on an active domain$' "$out"
line 'virsh setmaxmem ubuntu-vm1 3145728 --config'
line 'virsh shutdown ubuntu-vm1'
wait_until 60 is_state ubuntu-vm1 "shut off"
line 'virsh start ubuntu-vm1'
wait_until 90 speaks "$address"
line "virsh setvcpus ubuntu-vm1 $more"
has_more() {
	[ "$(in_guest "$address" nproc)" -eq "$more" ]
}
wait_until 10 has_more # as its kernel brings it online
line 'virsh dominfo ubuntu-vm1'
check_match "its maximum" '^Max memory: +3145728 KiB$' "$out"

say "setmem"
total() {
	in_guest "$address" 'sed -n "s/^MemTotal: *\([0-9]*\) kB/\1/p;s/^MemAvailable: *\([0-9]*\) kB/\1/p" /proc/meminfo' | xargs
}
before=$(total)
line_fails 1 'virsh setmem ubuntu-vm1 2048'
check_match "that would be 2 MiB; what was meant" 'say 2048M' "$out"
check_eq "it keeps what it has" "Used memory:    2097152 KiB" "$(virsh dominfo ubuntu-vm1 | grep '^Used')"
line 'virsh setmem ubuntu-vm1 1048576'
check_match "as told" '^Used memory: +1048576 KiB$' "$(virsh dominfo ubuntu-vm1)"
after=$(total)
[ "${after#* }" -lt $((${before#* } - 900000)) ] || fail "the guest had $before KiB, and has $after"
line 'virsh setmem ubuntu-vm1 3G'
has_grown() {
	after=$(total)
	[ "${after% *}" -gt $((${before% *} + 900000)) ]
}
wait_until 10 has_grown # as its kernel brings it online

# --- the end ------------------------------------------------------------------------------------------------------------
say "undefine"
line 'virsh undefine ubuntu-vm1'
check_match "its word" "^Domain 'ubuntu-vm1' has been undefined\$" "$out"
check_match "the disk that stays" "$disk" "$out"
line 'virsh list --all'
check_match "it runs on" '^ [0-9]+ +ubuntu-vm1 +running$' "$out"
check_match "for now" '^Persistent: +no$' "$(virsh dominfo ubuntu-vm1)"
line 'virsh destroy ubuntu-vm1'
line 'virsh undefine ubuntu-vm1-clone1 --remove-all-storage'
check_match "its disk" "^Volume 'vda'\($images/ubuntu-vm1-clone1.qcow2\) removed.\$" "$out"
line 'virsh undefine ubuntu-template'
line 'sudo virsh undefine ubuntu-vm2 --remove-all-storage'
line 'virsh list --all'
check_no_match "none is left" ubuntu "$out"
check_eq "the disks that are" "answers.iso back.qcow2 debian-12-netinst.iso ubuntu-template.qcow2 ubuntu-vm1.qcow2" \
	"$(find $images -type f -printf '%f\n' | sort | paste -sd ' ')"

say "the network, off and on again"
line 'virsh net-info default'
check_match "it starts with the host" '^Autostart: +yes$' "$out"
line 'sudo virsh net-destroy default'
check_eq "the host has no way there any more" "" "$(ip -4 route show 192.168.122.0/24)"
remark 'the host boots'
line 'sudo roost boot'
line 'virsh net-list'
check_match "there it is" '^ default   active   yes         yes$' "$out"
line 'sudo virsh net-destroy default'

say "who is not in the group"
status=0
out=$(su - bob -c 'virsh -c qemu:///system list --all' 2>&1) || status=$?
printf '%s\n' "$out"
check_match "what to do" 'usermod -aG roost bob' "$out"
check_eq "refused" 1 $status
line 'sudo roost compat --remove'
