#!/bin/sh
# virt-install, an old name: its words, streams and exit codes as virtinst 4.1 has them, and what has become of its options.
# limit: 120
. "$TOP/tests/e2e/lib.sh"
need pico.raw pico-installer.iso
iso=$(realpath "$GUESTS/pico-installer.iso")
mkdir "$TMPDIR/bin" "$TMPDIR/images"
ln -s "$(command -v roost)" "$TMPDIR/bin/virt-install"
PATH=$TMPDIR/bin:$PATH
export ROOST_LIBVIRT_IMAGES="$TMPDIR/images"
usage='usage: virt-install --name NAME --memory MB STORAGE INSTALL [options]'

# vi OPTION...: one of pico's on no network; what it says is in $TMPDIR/out and err, its status in $status
vi() {
	status=0
	virt-install --memory 32 --network none "$@" >"$TMPDIR/out" 2>"$TMPDIR/err" </dev/null || status=$?
}
# errs STATUS TEXT OPTION...: that is the first line on standard error
errs() {
	errs_status=$1 errs_text=$2
	shift 2
	vi "$@"
	check_eq "the status of: $*" "$errs_status" $status
	check_eq "what is said of: $*" "$errs_text" "$(head -n 1 "$TMPDIR/err")"
}
# record NAME FILTER
record_of() {
	jq -r "$2" "$ROOST_STATE/guests/$1/guest.json"
}

say "what is refused, in virtinst's words"
errs 2 "$usage" --name x --frob
check_eq "argparse's second line" "virt-install: error: unrecognized arguments: --frob" "$(sed -n 2p "$TMPDIR/err")"
errs 2 "$usage" --name x --autostrat
check_match "the nearest" "did you mean --autostart" "$(cat "$TMPDIR/err")"
errs 2 "$usage" --name
check_eq "no value" "virt-install: error: argument --name: expected one argument" "$(sed -n 2p "$TMPDIR/err")"
for option in '--unattended' '--hostdev 00:1f.0' '--filesystem /srv,srv'; do
	# shellcheck disable=SC2086 # two words
	errs 2 "$usage" --name x $option
	check_match "why not $option" "${option%% *}" "$(cat "$TMPDIR/err")"
done
errs 1 "ERROR    Guest name 'bad name' can not contain ' ' character." --name 'bad name' --disk none --import
errs 1 "ERROR    XML error: name bad/name cannot contain '/'" --name bad/name --disk none --import
errs 1 "ERROR    Error: --disk path=$TMPDIR/no.img: Size must be specified for non existent volume 'no.img'" \
	--name x --disk "path=$TMPDIR/no.img" --import
errs 1 "ERROR    Validating install media '$TMPDIR/no.iso' failed: Must specify storage creation parameters for non-existent path '$TMPDIR/no.iso'." \
	--name x --disk size=1 --cdrom "$TMPDIR/no.iso"
errs 1 "ERROR    Unknown --cloud-init options: ['nosuch']" --name x --disk none --import --cloud-init nosuch=1
errs 1 "ERROR    Unknown --disk options: ['nosuch']" --name x --disk size=1,nosuch=2 --import
qemu-img create -q -f qcow2 "$TMPDIR/base.qcow2" 1M
(cd "$TMPDIR" && qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 over.qcow2)
mv "$TMPDIR/over.qcow2" "$TMPDIR/images/"
errs 1 "ERROR    Cannot access backing file '$TMPDIR/images/base.qcow2' of storage file '$TMPDIR/images/over.qcow2' (as uid:$(id -u), gid:$(id -g)): No such file or directory" \
	--name x --disk "path=$TMPDIR/images/over.qcow2" --import
check_match "the line that mends it" "qemu-img rebase -u" "$(cat "$TMPDIR/err")"
check_eq "no guest" "" "$(roost list --all --name)"
check_eq "and no disk" over.qcow2 "$(ls "$TMPDIR/images")"

say "dry"
vi --name dry --disk size=1 --cdrom "$iso" --dry-run
check_eq "its word" "Dry run completed successfully" "$(cat "$TMPDIR/out")"
check_eq "no disk" over.qcow2 "$(ls "$TMPDIR/images")"

say "the chapter's line: an installer, nobody to look at it, and it does not block"
vi --name ubuntu-vm1 --vcpus=1 --os-type linux --os-variant=ubuntufocal --cdrom="$iso" --disk size=0.004
check_eq "status: $(cat "$TMPDIR/err")" 0 $status
check_eq "its words" "
Starting install...
$(printf '%-60s|    0 B  00:00 ... ' "Allocating 'ubuntu-vm1.qcow2'")
$(printf '\r%-60s|    0 B  00:00     ' "Creating domain...")

Domain is still running. Installation may be in progress.
You can reconnect to the console to complete the installation process." "$(cat "$TMPDIR/out")"
check_match "its warnings" "^WARNING  --os-type is deprecated and does nothing. Please stop using it.$" "$(cat "$TMPDIR/err")"
check_match "memory" "^WARNING  Requested memory 32 MiB is less than the recommended 2048 MiB for OS ubuntu20.04$" "$(cat "$TMPDIR/err")"
check_match "how to look" "roost viewer ubuntu-vm1" "$(cat "$TMPDIR/err")"
check_eq "its disk" "$(realpath "$TMPDIR/images")/ubuntu-vm1.qcow2" "$(record_of ubuntu-vm1 '.disks[0].path' | xargs realpath)"
check_eq "thin, and qcow2" qcow2 "$(qemu-img info --output=json -U "$TMPDIR/images/ubuntu-vm1.qcow2" | jq -r .format)"
check_eq "VGA and VNC" "vga true" "$(record_of ubuntu-vm1 '"\(.display) \(.vnc | if . == false then false else true end)"')"
check_eq "vCPUs can be plugged up to the host's" "$(nproc)" "$(record_of ubuntu-vm1 .max_vcpus)"
wait_until 30 console_has ubuntu-vm1 INSTALLER-UP
type_to ubuntu-vm1 i
wait_until 30 console_has ubuntu-vm1 PICO-UP
is_out() {
	roost domblklist ubuntu-vm1 | grep -Eq '^ sda +-$'
}
wait_until 10 is_out # the ISO
errs 1 "ERROR    Guest name 'ubuntu-vm1' is already in use." --name ubuntu-vm1 --disk none --import
check_match "the four lines" "virsh --connect qemu:///.* start ubuntu-vm1" "$(cat "$TMPDIR/err")"
errs 1 "ERROR    Disk $TMPDIR/images/ubuntu-vm1.qcow2 is already in use by other guests ['ubuntu-vm1']. (Use --check path_in_use=off or --check all=off to override)" \
	--name x --disk "$TMPDIR/images/ubuntu-vm1.qcow2" --import
roost destroy ubuntu-vm1

say "a disk that there is"
cp "$GUESTS/pico.raw" "$TMPDIR/mine.img"
vi --name vm01 --disk "path=$TMPDIR/mine.img,device=disk,bus=sata,cache=none" --disk "path=$iso,device=cdrom" --os-variant generic \
	--import --noautoconsole --graphics none --boot hd --rng none --uuid 11111111-2222-4333-8444-555555555555
check_eq "status: $(cat "$TMPDIR/err")" 0 $status
check_eq "its words" "
Starting install...
$(printf '\r%-60s|    0 B  00:00     ' "Creating domain...")
Domain creation completed." "$(cat "$TMPDIR/out")"
check_match "generic" "^WARNING  Using --osinfo generic, VM performance may suffer" "$(cat "$TMPDIR/err")"
wait_until 30 is_up vm01
check_eq "as it was asked for" "raw sata none true none false 11111111-2222-4333-8444-555555555555 disk" \
	"$(record_of vm01 '[.disks[0].format, .disks[0].bus, .disks[0].cache, .disks[1].cdrom, .display, .rng, .uuid, .boot[0]] | map(tostring) | join(" ")')"
roost destroy vm01

say "a kernel, and whoever waits"
vi --name two --location "$iso" --extra-args sure --disk size=0.004,format=raw --graphics none --noreboot --noautoconsole
check_eq "status: $(cat "$TMPDIR/err")" 0 $status
wait_until 30 console_has two "INSTALLER-UP sure"
type_to two i
wait_until 20 is_state two "shut off"
[ -e "$TMPDIR/images/two.img" ] || fail "no raw disk"

say "KVM is demanded, and not proven"
vi --virt-type kvm --name x --disk size=0.004 --cdrom "$iso" --noautoconsole
if [ $status -ne 0 ]; then
	check_match "why" "^ERROR .*KVM|kvm" "$(cat "$TMPDIR/err")"
	check_match "the disk goes again" "^Removing disk 'x.qcow2'" "$(cat "$TMPDIR/out")"
	[ ! -e "$TMPDIR/images/x.qcow2" ] || fail "the disk is left"
	ROOST_ACCEL_FALLBACK=tcg vi --virt-type kvm --name x --disk size=0.004 --cdrom "$iso" --noautoconsole
	check_eq "with the fallback" 0 $status
fi
roost destroy x
say "a network that is not active"
errs 1 "ERROR    Network not found: no network with matching name 'nosuch'" --name y --disk none --import --network nosuch
vi --name y --disk none --import --network network=default
check_eq "what is said of it" "ERROR    Requested operation is not valid: network 'default' is not active" "$(head -n 1 "$TMPDIR/err")"
check_eq "no such guest" "" "$(roost list --all --name | grep -x y || :)"
