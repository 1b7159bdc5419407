#!/bin/sh
# virt-install's options, each by what has become of it: in the definition, in QEMU's command line, or refused by its name;
# and --print-xml, which makes nothing.
. "$TOP/tests/e2e/lib.sh"
need pico.raw pico-installer.iso
command -v genisoimage >/dev/null || lacking genisoimage
[ -d /usr/share/osinfo/os ] || lacking osinfo-db
iso=$(realpath "$GUESTS/pico-installer.iso")
mkdir "$TMPDIR/bin" "$TMPDIR/images"
ln -s "$(command -v roost)" "$TMPDIR/bin/virt-install"
ln -s "$(command -v roost)" "$TMPDIR/bin/virsh"
PATH=$TMPDIR/bin:$PATH
export ROOST_LIBVIRT_IMAGES="$TMPDIR/images"

# vi OPTION...: what it says is in $TMPDIR/out and err, its status in $status
vi() {
	status=0
	virt-install "$@" >"$TMPDIR/out" 2>"$TMPDIR/err" </dev/null || status=$?
}
# made NAME OPTION...: a guest that is defined and not started
made() {
	made_name=$1
	shift
	vi --name "$made_name" --import --noreboot --memory 32 "$@"
	check_eq "status of $made_name: $(cat "$TMPDIR/err")" 0 $status
}
# has NAME FILTER EXPECTED: its record
has() {
	check_eq "$1: $2" "$3" "$(jq -rc "$2" "$ROOST_STATE/guests/$1/guest.json")"
}
# refused REGEX OPTION...: with 1 and an ERROR of virtinst's form; nothing is made
refused() {
	refused_regex=$1
	shift
	vi --name x --import --memory 64 --disk none --network none "$@"
	check_eq "status of: $*" 1 $status
	check_match "what is said of: $*" "^ERROR    .*$refused_regex" "$(cat "$TMPDIR/err")"
}
# warned REGEX: what was said last
warned() {
	check_match "a warning" "^WARNING  .*$1" "$(cat "$TMPDIR/err")"
}

say "memory, CPUs, platform"
made a1 -r 64 --vcpus 2,maxvcpus=4 --cpu Nehalem,+vmx,disable=sse4.2 --disk none --network none --graphics none --machine q35 \
	--arch x86_64 --virt-type qemu --hvm --uuid 11111111-2222-4333-8444-555555555555 --autostart \
	--metadata title="A, with a comma",description=words --events on_reboot=destroy,on_crash=restart,on_poweroff=destroy \
	--features acpi=on,apic=on --clock offset=utc --watchdog itco,action=poweroff --memballoon virtio --panic default \
	--sound none --controller usb,model=none --input keyboard,bus=ps2
has a1 '[.memory/1048576, .vcpus, .max_vcpus, .cpu, .accel]' '[64,2,4,"Nehalem,+vmx,-sse4.2","tcg"]'
has a1 '[.uuid, .title, .description, .on_reboot, .on_crash, .vnc]' \
	'["11111111-2222-4333-8444-555555555555","A, with a comma","words","destroy","restart",false]'
has a1 '[.watchdog.model, .watchdog.action, (.autostart != false), (.disks | length), (.interfaces | length)]' '["itco","poweroff",true,0,0]'
check_eq "its end" "Domain creation completed.
You can restart your domain by running:
  virsh --connect qemu:///$([ "$(id -u)" -eq 0 ] && echo system || echo session) start a1" "$(sed -n '4,$p' "$TMPDIR/out")"
check_eq "it is not started" "shut off" "$(state a1)"
made a2 --memory memory=64,currentMemory=32 --vcpus sockets=2,cores=2 --cpu host-passthrough --disk none --network none
has a2 '[.memory/1048576, .max_memory/1048576, .vcpus, (.cpu == null)]' '[32,64,4,true]'
warned 'sockets=, cores= and threads= are not heeded'
made a3 --memory 32,maxmemory=64 --cpu host-model,-svm --machine pc --description "of old" --disk none --nonetworks --nographics
has a3 '[.max_memory/1048576, .cpu, (.machine | startswith("pc-i440fx")), .description]' '[64,"max,-svm",true,"of old"]'

say "disks"
qemu-img create -q -f qcow2 "$TMPDIR/base.qcow2" 3M
cp "$GUESTS/pico.raw" "$TMPDIR/pico.img"
made d1 --network none --disk "backing_store=$TMPDIR/base.qcow2,backing_format=qcow2" --disk size=0.5,format=raw,bus=scsi,serial=S1 \
	--disk size=0.001,cache=unsafe,discard=ignore,target.bus=sata --disk "path=$TMPDIR/pico.img,readonly=on,cache=none" --disk "$iso,device=cdrom" \
	--disk size=0.001,format=raw,sparse=no
check_match "a raw one, thin" '^0 536870912$' "$(stat -c '%b %s' "$TMPDIR/images/d1-1.img")"
check_eq "over its base" "$(realpath "$TMPDIR/base.qcow2") 3145728" \
	"$(qemu-img info --output=json "$TMPDIR/images/d1.qcow2" | jq -r '"\(."backing-filename") \(."virtual-size")"')"
has d1 '[.disks[] | [.bus, .format, .target]]' \
	'[["virtio","qcow2","vda"],["scsi","raw","sda"],["sata","qcow2","sdb"],["virtio","raw","vdb"],["sata","raw","sdc"],["virtio","raw","vdc"]]'
has d1 '[.disks[1].serial, .disks[2].cache, .disks[2].discard, .disks[3].readonly, .disks[3].cache, .disks[4].cdrom]' '["S1","unsafe",false,true,"none",true]'
[ "$(stat -c %b "$TMPDIR/images/d1-2.img")" -gt 2000 ] || fail "sparse=no is thin"
qemu-img create -q -f qcow2 "$TMPDIR/images/d2.qcow2" 1M
made d2 -f "$TMPDIR/images/old, of two.img" -s 0.001 --nonetworks
has d2 '.disks[0].path | endswith("/old, of two.img")' true
made d3 --network none --disk pool=default,size=0.001,io=native --disk vol=default/d2.qcow2,readonly=on
has d3 '[.disks[].path | sub(".*/"; "")]' '["d3.qcow2","d2.qcow2"]'
warned "disk io= is not heeded"
refused "pool 'fast' is not there" --disk pool=fast,size=1
refused 'device=lun is not supported' --disk size=1,device=lun
refused 'bus=usb is not supported' --disk size=1,bus=usb
refused 'cache=directsync is not supported' --disk size=1,cache=directsync
vi --name x --import --memory 32 --disk size=900000 --network none --dry-run
check_eq "a thin one: $(cat "$TMPDIR/err")" 0 $status
warned 'The requested volume capacity will exceed the available pool space when the volume is fully allocated. \(921600000 M requested capacity > '
vi --name x --import --memory 32 --disk size=900000 --network none --check disk_size=off --dry-run
check_eq "it need not be told" "" "$(cat "$TMPDIR/err")"
vi --name x --import --memory 32 --disk size=900000,format=raw,sparse=no --network none --check all=off --dry-run
check_match "no thin one" '^ERROR    There is not enough free space on the storage pool to create the volume. \(921600000 M requested allocation > ' "$(cat "$TMPDIR/err")"
refused 'not supported of qcow2' --disk size=1,sparse=no

vi --name d4 --memory 32 --import --noreboot --network none --disk "$TMPDIR/images/d1-1.qcow2"
check_match "a disk of another guest's" "^ERROR    Disk $TMPDIR/images/d1-1.qcow2 is already in use by other guests \['d1'\]. \(Use --check path_in_use=off" "$(cat "$TMPDIR/err")"
made d4 --network none --disk "$TMPDIR/images/d1-1.qcow2" --check path_in_use=off
warned "Disk $TMPDIR/images/d1-1.qcow2 is already in use by other guests \['d1'\].$"

say "networks"
made n1 --disk none -w user,model=e1000 -w user,mac=52:54:00:aa:bb:01,link.state=down --network user,model=virtio,mac=RANDOM
has n1 '[.interfaces[] | [(.user != null), .model]]' '[[true,"e1000"],[true,"virtio"],[true,"virtio"]]'
has n1 '[.interfaces[1].mac, (.interfaces[2].mac | startswith("52:54:00:"))]' '["52:54:00:aa:bb:01",true]'
refused "The MAC address '52:54:00:AA:BB:01' is in use by another virtual machine. \(Use --check mac_in_use=off" --network user,mac=52:54:00:AA:BB:01
vi --name x --import --memory 32 --disk none --network user,mac=52:54:00:AA:BB:01 --check mac_in_use=off --dry-run
check_eq "unless told: $(cat "$TMPDIR/err")" 0 $status
warned "The MAC address '52:54:00:AA:BB:01' is in use by another virtual machine.$"
if [ "$(id -u)" -eq 0 ]; then
	made n2 --disk none --bridge br0
	has n2 '.interfaces[0].bridge' br0
	made n3 --disk none -w network=default,model=e1000e -w bridge:br1
	has n3 '[.interfaces[].network, .interfaces[].bridge]' '["default",null,null,"br1"]'
fi
refused "'virbr0' is not supported" --network bridge=virbr0
refused 'direct' --network type=direct,source=eth0
refused 'rtl8139' --network user,model=rtl8139
refused "Unknown --network options: \['portgroup'\]" --network default,portgroup=x

say "what is seen and heard"
made g1 --disk none --network none --graphics vnc,password=secret,listen=0.0.0.0 --video qxl --serial pty --serial pty \
	--console pty,target_type=virtio --channel unix,target.type=virtio,name=org.qemu.guest_agent.0 --rng /dev/random --tpm none
has g1 '[.vnc.password, .display, .console, .agent]' '[true,"vga",["serial","serial","virtio"],true]'
warned 'listen= and port= are not heeded'
warned 'video qxl is not there: the guest gets VGA'
made g2 --disk none --network none --graphics spice --channel spicevmc --channel none --rng none --console none
has g2 '[.vnc, .display, .console, .agent, .rng]' '[true,"vga",false,false,false]'
warned 'graphics spice is not there: the guest gets VNC'
warned 'channel spicevmc is not there'
made g3 --disk none --network none --graphics none --video vga --quiet
has g3 '[.vnc, .display]' '[false,"vga"]'
check_eq "quiet" "" "$(cat "$TMPDIR/out" "$TMPDIR/err")"
made g4 --disk none --network none --video none --qemu-commandline='-no-hpet' --qemu-commandline "-fw_cfg 'name=opt/x,string=of mine'"
has g4 '[.vnc, (.display // "none"), .qemu_args]' '[false,"none",["-no-hpet","-fw_cfg","name=opt/x,string=of mine"]]'
refused "'sdl' is not supported" --graphics sdl
refused "'file' is not supported" --serial file,path=/tmp/x
refused "org.other.0" --channel unix,name=org.other.0
refused "'ich9' is not supported" --sound ich9
refused "'tablet,bus=usb' is not supported" --input tablet,bus=usb
refused "'none' is not supported" --memballoon none
refused "kvm.hidden.state|kvm_hidden" --features kvm_hidden=on
refused "offset" --clock offset=localtime
refused "'/dev/tpm0' is not supported" --tpm /dev/tpm0
refused "Unknown autoconsole type 'x'" --autoconsole x
refused "domain type test" --virt-type test
refused "architecture 'aarch64'" --arch aarch64
for option in --hostdev --filesystem --shmem --memdev --vsock --iothreads --cputune --memorybacking --xml --container --sysinfo; do
	vi $option=x
	check_eq "status of $option" 2 $status
	check_match "why" "$option|'${option#--}'" "$(cat "$TMPDIR/err")"
done
while read -r words; do
	# shellcheck disable=SC2086 # several words
	refused "$(echo "$words" | sed 's/.* => //; s/[][()+]/\\&/g')" ${words%% =>*}
done <<END
--memory abc => Error: --memory abc: invalid literal for int() with base 10: 'abc'
--vcpus abc => Error: --vcpus abc: invalid literal for int() with base 10: 'abc'
--disk size=abc => Improper value for 'size': could not convert string to float: 'abc'
--cpu foo,+ => Unknown --cpu options: ['+']
--boot foo => Unknown --boot options: ['foo']
--check foo=off => Unknown --check options: ['foo']
--extra-args foo => Kernel arguments are only supported with location or kernel installs.
--initrd-inject foo => Install method does not support initrd injections.
--disk size=0.001 => Cannot specify storage and use --nodisks
END
vi --reinstall nosuch --cdrom "$iso"
check_match "nobody to install anew" "^ERROR    Could not find domain 'nosuch'" "$(cat "$TMPDIR/err")"
vi --name x --memory 64 --disk none --location "$TMPDIR/no"
check_eq "no medium" "ERROR    Validating install media '$TMPDIR/no' failed: Must specify storage creation parameters for non-existent path '$TMPDIR/no'." "$(cat "$TMPDIR/err")"
vi --name x --wait abc
check_eq "argparse's" "2 virt-install: error: argument --wait: invalid int value: 'abc'" "$status $(sed -n 2p "$TMPDIR/err")"
vi --name x
check_eq "what is missing, at once" "ERROR    
--memory amount in MiB is required
--disk storage must be specified (override with --disk none)
An install method must be specified
(--location URL, --cdrom CD/ISO, --pxe, --import, --boot hd|cdrom|...)" "$(cat "$TMPDIR/err")"

say "what it boots"
made b1 --disk none --network none --boot uefi,network,hd,menu=on
has b1 '[.firmware, .boot, (.boot_menu != null)]' '["uefi",["network","disk"],true]'
made b2 --disk none --network none --boot loader=/usr/share/OVMF/OVMF_CODE.fd,loader.readonly=yes,loader.type=pflash
has b2 .firmware uefi
cp "$TMPDIR/pico.img" "$TMPDIR/kernel"
made b3 --disk none --network none --boot "kernel=$TMPDIR/kernel,initrd=$TMPDIR/kernel,kernel_args=console=ttyS0,115200 quiet"
has b3 '[.kernel, .cmdline]' "[\"$TMPDIR/kernel\",\"console=ttyS0,115200 quiet\"]"
vi --name b4 --pxe --noreboot --memory 32 --disk size=0.001 --network user
has b4 .boot '["disk","network"]'
vi --name b5 --cdrom "$iso" --livecd --noreboot --memory 32 --disk size=0.001 --network none
has b5 '[.boot, .disks[0].cdrom]' '[["cdrom","disk"],true]'
refused "'/opt/mine.bin' is not supported" --boot loader=/opt/mine.bin

say "operating systems"
vi --osinfo list
check_match "the list" '^debian11' "$(cat "$TMPDIR/out")"
vi --name x --cdrom "$iso" --network none --osinfo ubuntufocal --dry-run --check disk_size=off
check_eq "what it wants" "Using ubuntu20.04 default --memory 4096
Using ubuntu20.04 default --disk size=25
Dry run completed successfully" "$(cat "$TMPDIR/out")"
vi --name x --cdrom "$iso" --network none --osinfo detect=on,require=off,name=debian12 --disk none --dry-run
check_match "by name=" "^Using debian12 default --memory 1024" "$(cat "$TMPDIR/out")"
mkdir "$TMPDIR/cd"
genisoimage -quiet -V 'Debian 11.5.0 amd64 n' -o "$TMPDIR/debian.iso" "$TMPDIR/cd"
vi --name x --cdrom "$TMPDIR/debian.iso" --network none --dry-run
check_eq "by its medium: $(cat "$TMPDIR/err")" "Using debian11 default --memory 1024
Using debian11 default --disk size=20
Dry run completed successfully" "$(cat "$TMPDIR/out")"
vi --name x --cdrom "$TMPDIR/debian.iso" --network none --disk none --dry-run --osinfo detect=on,name=fedora37
check_match "before a name" "^Using debian11" "$(cat "$TMPDIR/out")"
vi --name x --cdrom "$TMPDIR/debian.iso" --network none --disk none --dry-run --osinfo fedora37
check_match "but not before it alone" "^Using fedora37" "$(cat "$TMPDIR/out")"
vi --name x --cdrom "$iso" --memory 512 --network none --disk none --osinfo detect=on,require=off --dry-run
check_eq "one that nobody knows" "Dry run completed successfully" "$(cat "$TMPDIR/out" "$TMPDIR/err")"
refused "OS name is required" --osinfo detect=on,require=on
made w1 --osinfo win10 --disk size=0.001 --disk size=0.001,bus=virtio --network user
has w1 '[.disks[].bus, .interfaces[].model]' '["sata","virtio","e1000e"]'
vi --name x --import --memory 512 --network none --disk none --os-variant nosuchos --dry-run
check_eq "it goes on" 0 $status
warned "Unknown OS name 'nosuchos'"

say "--dry-run, and --print-xml"
vi --name x --memory 64 --disk size=0.004 --network none --import --dry-run --cloud-init "clouduser-ssh-key=$TMPDIR/no.pub"
check_eq "what is not there" 1 $status
check_match "is told" "^ERROR    .*no.pub" "$(cat "$TMPDIR/err")"
before=$(ls "$TMPDIR/images")
vi --name px --memory 64 --disk size=0.004 --network none --cdrom "$iso" --print-xml
check_eq "status: $(cat "$TMPDIR/err")" 0 $status
check_eq "both phases" "<domain type='kvm'> <domain type='kvm'>" "$(grep '^<domain' "$TMPDIR/out" | paste -sd ' ')"
check_match "the installer's" "<source file='$iso'/>" "$(sed '/^<.domain>/q' "$TMPDIR/out")"
check_match "ends at its reboot" '<on_reboot>destroy<' "$(sed '/^<.domain>/q' "$TMPDIR/out")"
check_no_match "afterwards it is out" "$iso|on_reboot>destroy" "$(sed '1,/^<.domain>/d' "$TMPDIR/out")"
check_eq "nothing is made" "$before" "$(ls "$TMPDIR/images")"
vi --name px --memory 64 --disk "$TMPDIR/pico.img" --network none --graphics none --import --print-xml 2
check_match "no such step" "^ERROR    Requested installation does not have XML step 2" "$(cat "$TMPDIR/err")"
vi --name px --memory 64 --disk "$TMPDIR/pico.img" --network none --graphics none --import --print-xml 3
check_match "no step at all" "^ERROR    Unknown XML step request '3', must be 1, 2, or all" "$(cat "$TMPDIR/err")"
vi --name px --memory 64 --disk "$TMPDIR/pico.img" --network none --graphics none --import --print-xml --virt-type qemu
check_eq "no guest" "" "$(roost list --all --name | grep -x px || :)"
virsh define "$TMPDIR/out" >/dev/null
has px '[.memory/1048576, .disks[0].path]' "[64,\"$(realpath "$TMPDIR/pico.img")\"]"
