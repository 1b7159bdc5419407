#!/bin/sh
# What libvirt has is taken over by its own XML, as virt-install and libvirtd made it (tests/e2e/libvirt): told first, wholly or
# not at all, no disk changed; and the guests see themselves where they were: UUID, MAC addresses, places on PCI.
# limit: 240
. "$TOP/tests/e2e/lib.sh"
need tiny.qcow2 tiny-vmlinuz tiny-initrd
need_networks
[ -x "$TOP/build/libexec/roost/roost-xml" ] || lacking "roost-xml (libxml2)"
[ -r /usr/share/OVMF/OVMF_VARS_4M.fd ] || lacking ovmf

# --- /etc/libvirt/qemu and /srv/vm, as they would be --------------------------------------------------------------
etc=$TMPDIR/qemu
vm=$TMPDIR/vm
export XDG_RUNTIME_DIR="$TMPDIR/run"
mkdir -p "$etc/autostart" "$etc/networks/autostart" "$vm" "$XDG_RUNTIME_DIR/libvirt/qemu/run"
# its kernel asks whether the timer works before a slow machine lets it
for xml in bios uefi two kernel cdrom generic headless networks/default; do
	sed "s|/srv/vm|$vm|; s|console=ttyS0 quiet|& no_timer_check|" "$TOP/tests/e2e/libvirt/$xml.xml" >"$etc/$xml.xml"
done
ln -s ../uefi.xml "$etc/autostart/uefi.xml"
ln -s ../default.xml "$etc/networks/autostart/default.xml"
for name in bios uefi two cdrom generic headless; do
	qemu-img create -q -f qcow2 -F qcow2 -b "$GUESTS/tiny.qcow2" "$vm/$name.qcow2"
done
truncate -s 16M "$vm/data.raw"
truncate -s 1M "$vm/seed.iso"
cp "$GUESTS/tiny-vmlinuz" "$vm/vmlinuz"
cp "$GUESTS/tiny-initrd" "$vm/initrd"
cp /usr/share/OVMF/OVMF_VARS_4M.fd "$vm/uefi_VARS.fd"
# a variable of its own would be there: somewhere, a mark
printf ROOST | dd of="$vm/uefi_VARS.fd" bs=1 seek=400000 conv=notrunc status=none

# and a TPM's state, as a swtpm leaves it
[ -x /usr/bin/swtpm ] || lacking swtpm
tpm=$HOME/.config/libvirt/qemu/swtpm/11111111-2222-4333-8444-000000000040/tpm2
mkdir -p "$tpm"
swtpm socket --tpm2 --tpmstate dir="$tpm" --server type=unixio,path="$TMPDIR/tpm" --ctrl type=unixio,path="$TMPDIR/ctrl" \
	--flags not-need-init,startup-clear >/dev/null 2>&1 &
swtpm=$!
wait_until 10 test -s "$tpm/tpm2-00.permall"
kill $swtpm
wait $swtpm || :

before=$(cd "$vm" && sha256sum -- *)
# changed KEY VALUE FILE: that guest's XML as another file
another() {
	sed -e "s/<name>$1</<name>$2</" "$etc/$1.xml" >"$TMPDIR/$2.xml"
}
# defined NAME FILTER
defined() {
	roost dumpyaml "$1" --json | jq -r "$2"
}

say "it is told first, and nothing is done"
out=$(roost adopt --dry-run "$etc"/*.xml "$etc"/networks/*.xml)
check_match "networks" "^Network 'default' can be taken" "$out"
check_match "guests" "^Guest 'two' can be taken" "$out"
check_match "what has no equivalent" "^    line [0-9]+: devices/sound: has no equivalent" "$out"
check_match "the bridge" "^    line [0-9]+: bridge/@name: 'virbr0'" "$out"
check_eq "no guest" "" "$(roost list --all --name)"
check_json "as JSON" 'length == 8 and all(.[]; .taken) and ([.[] | select(.name == "cdrom").notes[] | select(.path == "devices/sound")] | length) == 1' \
	"$(roost adopt --dry-run --json "$etc"/*.xml "$etc"/networks/*.xml)"

if [ -x "$TOP/build/fail/bin/roost" ]; then
	say "who takes a guest over is killed: there is none of it, and nothing is left"
	(
		with_failpoints
		# shellcheck disable=SC2046 # several pids
		kill_and_wait TERM $(roostd_pids)
		die_at define-filled
		check_status 5 roost adopt "$etc/uefi.xml"
		has_died define-filled
		check_match "it is told" "^Guest 'uefi' not taken: " "$out"
		check_eq "no guest" "" "$(roost list --all --name)"
		# the address that is kept for it stays so, and becomes its own when it is taken
		sed "s|<name>default|<name>kept|; s|192.168.122|10.97.0|; s|virbr0|virbr7|; /<uuid>/d" "$etc/networks/default.xml" >"$TMPDIR/kept.xml"
		sed "s|network='default'|network='kept'|" "$etc/two.xml" >"$TMPDIR/two.xml"
		roost adopt "$TMPDIR/kept.xml"
		die_at define-filled
		check_status 5 roost adopt "$TMPDIR/two.xml"
		has_died define-filled
		check_match "it is kept still" "ip='10.97.0.77'" "$(roost net-dumpxml kept)"
		roost adopt "$TMPDIR/two.xml"
		check_eq "it is the guest's" 10.97.0.77 "$(defined two '.interfaces[1].address')"
		roost undefine two
		check_match "and kept again" "ip='10.97.0.77'" "$(roost net-dumpxml kept)"
		roost net-undefine kept
		# shellcheck disable=SC2046 # several pids
		kill_and_wait TERM $(roostd_pids)
	)
fi
nothing_half_made() {
	[ -z "$(find "$ROOST_STATE/guests" -name '.new*')" ]
}

if [ "$(id -u)" -eq 0 ]; then
	ip link add virbr0 type bridge
	ip address add 192.168.122.1/24 dev virbr0
	ip link set virbr0 up
	check_status 5 roost adopt --dry-run "$etc/networks/default.xml"
	check_match "libvirt's network is up" "^Network 'default' not taken: .* by virbr0.*; .virsh net-destroy default. first" "$out"
	ip link del virbr0
fi

say "what stops one does not stop the others"
another bios passed
sed -i "s|</devices>|<hostdev mode='subsystem' type='pci'/></devices>|; s/0000010</0000011</; s/:00:10'/:00:11'/" "$TMPDIR/passed.xml"
another bios lost
sed -i "s|bios.qcow2|none.qcow2|; s/0000010</0000012</; s/:00:10'/:00:12'/" "$TMPDIR/lost.xml"
another bios running
sed -i "s/0000010</0000013</; s/:00:10'/:00:13'/" "$TMPDIR/running.xml"
touch "$XDG_RUNTIME_DIR/libvirt/qemu/run/running.xml"
another bios elsewhere
sed -i "s/network='default'/network='lab'/; s/0000010</0000014</; s/:00:10'/:00:14'/" "$TMPDIR/elsewhere.xml"
another bios same-uuid
sed -i "s/:00:10'/:00:15'/" "$TMPDIR/same-uuid.xml"
another bios same-mac
sed -i "s/0000010</0000016</" "$TMPDIR/same-mac.xml"
another bios future
sed -i "s/0000010</0000017</; s/:00:10'/:00:17'/; s/pc-q35-7.2/pc-q35-99.0/
	s|<devices>|<devices><disk type='file' device='cdrom'><source file='$vm/gone.iso'/><target dev='sda' bus='sata'/></disk>|" "$TMPDIR/future.xml"
head -c 1000 "$etc/bios.xml" >"$TMPDIR/cut.xml"
another bios crowded
sed -i "s/network='default'/network='small'/; s/0000010</0000018</; s/:00:10'/:00:18'/" "$TMPDIR/crowded.xml"
# all five addresses that it has for guests are kept for others
hosts=$(for n in 2 3 4 5 6; do echo "<host mac='52:54:00:00:00:9$n' ip='10.99.0.$n'/>"; done)
cat >"$TMPDIR/small.xml" <<-END
	<network><name>small</name><forward/><ip address='10.99.0.1' prefix='29'><dhcp>
	$hosts<host mac='52:54:00:00:00:97' name='far' ip='10.98.0.2'/></dhcp></ip></network>
END
check_status 5 roost adopt "$TMPDIR/passed.xml" "$TMPDIR/lost.xml" "$TMPDIR/running.xml" "$TMPDIR/elsewhere.xml" "$TMPDIR/cut.xml" \
	"$TMPDIR/nosuch.xml" "$TMPDIR/crowded.xml" "$TMPDIR/small.xml" "$etc"/*.xml "$TMPDIR/same-uuid.xml" "$TMPDIR/same-mac.xml" "$TMPDIR/future.xml" "$etc"/networks/*.xml
check_match "what stops it" "^Guest 'passed' not taken: .*devices/hostdev" "$out"
check_match "a disk that is not there" "^Guest 'lost' not taken: .*disks\[0\].path: cannot read '$vm/none.qcow2'" "$out"
check_match "it runs" "^Guest 'running' not taken: guest 'running' runs under libvirt; .virsh shutdown running. first" "$out"
check_match "its network" "^Guest 'elsewhere' not taken: there is no network 'lab'" "$out"
check_match "a file that is cut" "^File '$TMPDIR/cut.xml' not taken: .*it is no XML" "$out"
check_match "an address that is kept for somebody is not issued" "^Guest 'crowded' not taken: .*no address left" "$out"
check_match "one that cannot be kept" "^    line 6: ip/dhcp/host\[6\]: its address is not of this network" "$out"
check_match "no file" "^File '$TMPDIR/nosuch.xml' not taken" "$out"
check_match "its UUID" "^Guest 'same-uuid' not taken: guest 'bios' exists already, and has the UUID 11111111-2222-4333-8444-000000000010" "$out"
check_match "its MAC address" "^Guest 'same-mac' not taken: guest 'bios' exists already, and has the MAC address 52:54:00:00:00:10" "$out"
check_match "another QEMU" "^    os/type/@machine: this QEMU has no 'pc-q35-99.0'" "$out"
check_match "an ISO image that is gone" "^    devices/disk: '$vm/gone.iso' is not there: the drive is empty" "$out"
check_match "the sum" "9 of 19 were not taken" "$out"
check_eq "who is there" "bios cdrom future generic headless kernel two uefi" "$(roost list --all --name | xargs)"
check_match "the same disk" "^    devices/disk: '$vm/bios.qcow2' is a disk of guest 'bios', too: one of them runs at a time" "$out"
check_match "its name, its address" "host-52-54-[0-9a-f-]* .*10.99.0.2" "$(roost net-dumpxml small | tr \' ' ')"
roost undefine future
roost net-undefine small
check_status 5 roost adopt "$etc/bios.xml" "$etc/networks/default.xml"
check_match "twice" "^Guest 'bios' not taken: guest 'bios' exists already" "$out"
check_match "a network" "^Network 'default' not taken: network 'default' exists already" "$out"

say "wholly: names, places, disks where they are"
check_eq "no disk is changed" "$before" "$(cd "$vm" && sha256sum -- *)"
check_eq "UUID" 11111111-2222-4333-8444-000000000030 "$(roost domuuid two)"
check_eq "interfaces" "52:54:00:00:00:30 virtio 03:00.0 52:54:00:00:00:31 e1000e 04:00.0" \
	"$(defined two '.interfaces[] | .mac, .model, .pci' | xargs)"
check_eq "disks" "$vm/two.qcow2 qcow2 virtio vda $vm/data.raw raw scsi sda" \
	"$(defined two '.disks[] | .path, .format, .bus, .target' | xargs)"
check_eq "a CD-ROM drive" "true true $vm/seed.iso" "$(defined cdrom '.disks[1] | .cdrom, .readonly, .path' | xargs)"
check_eq "where a display would be" "00:02.0" "$(defined headless '.interfaces[].pci')"
check_eq "autostart" "true false" "$(defined uefi .autostart) $(defined bios .autostart)"
check_eq "a kernel" "$vm/vmlinuz $vm/initrd console=ttyS0 quiet no_timer_check" "$(defined kernel '.kernel, .initrd, .cmdline' | xargs)"
check_eq "an address that its network has for it" 192.168.122.77 "$(defined two '.interfaces[1].address')"
check_match "another host" "printer" "$(roost net-dhcp-leases default 2>&1 || cat "$ROOST_STATE"/networks/default.addresses/192.168.122.9)"
check_json "the network" '.address == "192.168.122.1/24" and .autostart and .uuid == "bd403741-072a-410e-9cd6-1933b1bfadc2"' \
	"$(roost net-dumpyaml default --json)"
[ ! -r "$ROOST_STATE/guests/uefi/vars.qcow2" ] ||
	qemu-img compare -q -f raw -F qcow2 "$vm/uefi_VARS.fd" "$ROOST_STATE/guests/uefi/vars.qcow2" || fail "its UEFI variables are others"

wait_until 10 nothing_half_made
# the keeper's or QEMU's alone, where there are such
if [ -r "$ROOST_STATE/guests/kernel/tpm" ]; then
	check_eq "its TPM's state" "$(sha256sum <"$tpm/tpm2-00.permall")" "$(sha256sum <"$ROOST_STATE/guests/kernel/tpm/tpm2-00.permall")"
	check_eq "is nobody else's" "700 600" "$(stat -c %a "$ROOST_STATE/guests/kernel/tpm" "$ROOST_STATE/guests/kernel/tpm/tpm2-00.permall" | xargs)"
fi

say "dumpxml and define are the way back and forth"
for name in bios uefi two kernel cdrom generic headless; do
	roost dumpxml $name >"$TMPDIR/dumped"
	[ ! -r /usr/share/libvirt/schemas/domain.rng ] || xmllint --noout --relaxng /usr/share/libvirt/schemas/domain.rng "$TMPDIR/dumped" 2>"$TMPDIR/said" ||
		fail "$name: $(cat "$TMPDIR/said")"
	# libvirt's own, with a driver that needs no daemon
	[ ! -x /usr/bin/virsh ] || /usr/bin/virsh -q -c test:///default define "$TMPDIR/dumped"
	was=$(roost dumpyaml $name)
	roost define "$TMPDIR/dumped" 2>&1
	check_eq "$name is the same" "$was" "$(roost dumpyaml $name)"
done
check_match "as virsh quotes" "<target dev='vda' bus='virtio'/>" "$(roost dumpxml two)"
roost net-dumpxml default >"$TMPDIR/dumped"
[ ! -r /usr/share/libvirt/schemas/network.rng ] || xmllint --noout --relaxng /usr/share/libvirt/schemas/network.rng "$TMPDIR/dumped" 2>&1
was=$(roost net-dumpyaml default)
roost net-define - <"$TMPDIR/dumped"
check_eq "the network is the same" "$was" "$(roost net-dumpyaml default)"
check_status 2 roost define "$TMPDIR/dumped"
check_match "what it is" "is of a <network>.*" "$out"
# what XML cannot say stays
cat >"$TMPDIR/own.yaml" <<-END
	name: own
	memory: 32M
	disks: [{size: 4M}]
	interfaces: [{user: {restrict: true, hostfwd: ["-22"]}, mac: 52:54:00:00:00:77}]
	cloud_init: true
	autostart: {order: 5}
END
roost define "$TMPDIR/own.yaml"
was=$(roost dumpyaml own)
roost dumpxml own | sed 's/32768/65536/g' | roost define -
check_eq "but for what was changed" "$(echo "$was" | sed 's/memory: 32M/memory: 64M/')" "$(roost dumpyaml own)"

# --- from inside --------------------------------------------------------------------------------------------------
# asked NAME COMMAND: what it prints in the guest, by the agent: nobody need log in
asked() {
	pid=$(roost agent "$1" --json "$(jq -nc --arg command "$2" \
		'{execute: "guest-exec", arguments: {path: "/bin/sh", arg: ["-c", $command], "capture-output": true}}')" | jq .pid)
	asked_name=$1
	wait_until 30 has_exited
	jq -r '."out-data" // ""' "$TMPDIR/answer" | base64 -d
}
has_exited() {
	roost agent "$asked_name" --json "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$pid}}" >"$TMPDIR/answer"
	[ "$(jq .exited "$TMPDIR/answer")" = true ]
}
# shellcheck disable=SC2016 # the guest's shell expands it
look='cat /sys/class/dmi/id/product_uuid; for n in /sys/class/net/eth*; do echo $(cat $n/address) $(readlink -f $n/device); done
	ls -d /sys/block/sr0 /sys/firmware/efi /sys/class/tpm/tpm0 2>/dev/null'
# seen NAME: UUID, then MAC address and place of each interface
seen() {
	asked "$1" "$look" | sed -E 's,/sys/devices/.*/0000:([0-9a-f:.]+)(/virtio[0-9]+)?$,\1,' | xargs
}
roost start headless >/dev/null
check_match "in QEMU's eyes" '"driver":"e1000",.*"addr":"0x2.0x0"' "$(roost dominfo headless --argv)"
roost destroy headless
roost dumpyaml headless >"$TMPDIR/headless.yaml"
echo 'vnc: true' >>"$TMPDIR/headless.yaml"
check_status 2 roost define "$TMPDIR/headless.yaml"
check_match "it stays free" "00:02.0 is the place of the display" "$out"
# its agent may answer before all drivers are there
sees() { # NAME EXPECTED
	[ "$(seen "$1")" = "$2" ]
}
guests=kernel
[ "$(id -u)" -ne 0 ] || guests="uefi bios two cdrom generic kernel"
say "they run as who they are: $guests"
for name in $guests; do
	roost start "$name" >/dev/null
done
for name in $guests; do
	wait_until 100 roost agent "$name" '{"execute":"guest-ping"}'
	case $name in
	bios) expected="11111111-2222-4333-8444-000000000010 52:54:00:00:00:10 01:00.0" ;;
	uefi) expected="11111111-2222-4333-8444-000000000020 52:54:00:00:00:20 01:00.0 /sys/firmware/efi" ;;
	two) expected="11111111-2222-4333-8444-000000000030 52:54:00:00:00:30 03:00.0 52:54:00:00:00:31 04:00.0" ;;
	kernel) expected="11111111-2222-4333-8444-000000000040 52:54:00:00:00:40 01:00.0 /sys/class/tpm/tpm0" ;;
	cdrom) expected="11111111-2222-4333-8444-000000000050 52:54:00:00:00:50 01:00.0 /sys/block/sr0" ;;
	generic) expected="11111111-2222-4333-8444-000000000060 52:54:00:00:00:60 00:03.0 /sys/block/sr0" ;;
	esac
	wait_until 30 sees "$name" "$expected"
	say "$name, from inside: $expected"
done
if [ "$(id -u)" -eq 0 ]; then
	check_match "a port that an interface has is not plugged into" "attached" "$(roost attach-interface bios network default)"
	check_eq "but the next one" "1" "$(jq -r '.attached[0].port' "$(run_dir bios)/attached")"
	check_status 5 roost attach-interface generic network default
	check_match "a machine without such ports" "nothing can be plugged while it runs, for its machine is pc-i440fx" "$out"
fi
