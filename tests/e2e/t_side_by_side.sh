#!/bin/sh
# The old names beside the programs that have them from libvirt, virtinst, guestfs-tools and cloud-image-utils: the same guests
# under a libvirtd of the test's own, the same words to both, and streams and exit codes are the same to the byte, but for
# what side_by_side.sed names. Where they differ on purpose, docs/old-names.md says so, and the test asks for that row.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
[ "$(id -u)" -eq 0 ] || skip "a libvirtd of the test's own wants root"
need pico.raw tiny.qcow2 tiny-vmlinuz tiny-initrd
need_networks
for program in libvirtd virtlogd virsh virt-install virt-clone virt-df cloud-localds isoinfo depmod lz4 cpio; do
	command -v $program >/dev/null || lacking "$program"
done
[ -e /usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so ] || lacking libvirt-daemon-driver-qemu

# --- the two ------------------------------------------------------------------------------------------------------
images=$TMPDIR/images
mkdir "$images" "$images.theirs" "$TMPDIR/bin"
for name in virsh virt-install virt-clone virt-df cloud-localds; do
	ln -s "$(command -v roost)" "$TMPDIR/bin/$name"
done
unshare --net --mount --pid --fork --mount-proc "$TOP/tests/e2e/their_libvirt" "$images" >"$TMPDIR/libvirtd.log" 2>&1 &
libvirt=$!
at_end() {
	[ -z "${first-}" ] || kill -KILL "$first"
	wait $libvirt 2>/dev/null
	[ -z "${made-}" ] || rmdir --ignore-fail-on-non-empty /lib/modules
}
# each in a folder of its own, where the two would write the same file
their_folder=$TMPDIR
our_folder=$TMPDIR
theirs() {
	nsenter -t "$first" --mount --net --pid --wd="$their_folder" "$@"
}
ours() (
	cd "$our_folder"
	ours_name=$1
	shift
	"$TMPDIR/bin/$ours_name" "$@"
)
has_started() {
	first=$(pgrep -P $libvirt) && theirs virsh version
}

# said_by FILE WHO COMMAND...: what that one says, on both streams, and its status, into the file
said_by() {
	said_status=0
	said=$TMPDIR/$1
	shift
	"$@" >"$said.1" 2>"$said.2" <"$input" || said_status=$?
	{
		sed 's/^/1|/; s/$/$/' "$said.1"
		sed 's/^/2|/; s/$/$/' "$said.2"
		echo "status $said_status"
	} | sed -f "$TOP/tests/e2e/side_by_side.sed" >"$said"
}
both() {
	compared=$((compared + 1))
	said_by theirs theirs "$@" &
	both_theirs=$!
	said_by ours ours "$@"
	wait $both_theirs
}
compare() {
	diff -U 99 "$TMPDIR/theirs" "$TMPDIR/ours" >"$TMPDIR/diff" && return
	differences=$((differences + 1))
	echo "-- they differ: $*"
	sed '1,3d' "$TMPDIR/diff"
}
# same COMMAND...: both say the same
same() {
	both "$@"
	compare "$@"
}
# differs ROW COMMAND...: they do not, and docs/old-names.md says so with these words
differs() {
	differs_row=$1
	shift
	both "$@"
	grep -Fq -e "$differs_row" "$TOP/docs/old-names.md" || fail "docs/old-names.md does not tell of: $differs_row"
	! cmp -s "$TMPDIR/theirs" "$TMPDIR/ours" || fail "they do not differ, as docs/old-names.md has it: $*"
}
# both_have WORDS COMMAND...: in the end, each says that
both_have() {
	both_words=$1
	shift
	wait_until 60 have "$both_words" theirs "$@"
	wait_until 60 have "$both_words" ours "$@"
}
have() {
	have_words=$1
	shift
	"$@" | grep -q -e "$have_words"
}
compared=0
differences=0
input=/dev/null
cd "$TMPDIR"
wait_until 60 has_started
say "libvirtd is up"

# the same network, the same disks below the same paths
roost net-dumpxml default >net.xml
theirs virsh net-define net.xml >/dev/null
for to in "$images" "$images.theirs"; do
	cp "$GUESTS/pico.raw" "$to/a.raw"
	for name in df tiny; do
		qemu-img create -q -f qcow2 -F qcow2 -b "$GUESTS/tiny.qcow2" "$to/$name.qcow2"
	done
	qemu-img create -q -f qcow2 -F qcow2 -b "$images/gone.qcow2" -u "$to/over.qcow2" 8M
done
uuid=11111111-2222-4333-8444-0000000000

# --- virt-df, whose appliance takes its time: meanwhile the others are asked -----------------------------------------
# A kernel for it is that of the tiny guest; it wants /lib/modules on the host, whatever is in it.
printf 'name: df\nuuid: %s0d\ndisks: [{path: %s/df.qcow2, format: qcow2}]\ninterfaces: []\n' $uuid "$images" >df.yaml
roost define df.yaml >/dev/null
roost dumpxml df >df.xml
same virsh define df.xml
mkdir kernel libguestfs
(cd kernel && lz4 -dc "$GUESTS/tiny-initrd" | cpio -idm --quiet 'usr/lib/modules/*')
kernel=$(ls kernel/usr/lib/modules)
[ -e "kernel/usr/lib/modules/$kernel/dm_mod.ko" ] || lacking "tiny-initrd with dm_mod.ko (scripts/tiny-guest)"
depmod -b kernel/usr "$kernel" 2>/dev/null
[ -d /lib/modules ] || { made=1 && mkdir /lib/modules; }
export LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=force_tcg LIBGUESTFS_CACHEDIR="$TMPDIR/libguestfs" \
	SUPERMIN_KERNEL="$GUESTS/tiny-vmlinuz" SUPERMIN_KERNEL_VERSION="$kernel" \
	SUPERMIN_MODULES="$TMPDIR/kernel/usr/lib/modules/$kernel"
for option in -h --csv; do
	said_by df$option theirs virt-df $option -d df
done &
virt_df=$!

say "networks"
same virsh net-list
same virsh net-list --all
same virsh net-info default
same virsh net-info nosuch
same virsh net-destroy default
same virsh net-start nosuch
same virsh net-dhcp-leases default
same virsh net-autostart default
same virsh net-list --all
same virsh net-list --name --all
same virsh net-list --uuid --inactive
same virsh net-autostart default --disable

install="--virt-type qemu --noautoconsole --import --graphics none"
same virsh net-start default
same virsh net-start default
same virsh net-list
same virsh net-uuid default
same virsh net-info default

say "guests: one that hears a button, one that asks for an address"
# shellcheck disable=SC2086
{
	same virt-install $install --name a --memory 32 --vcpus 1,maxvcpus=2 --os-variant generic --uuid ${uuid}0a \
		--disk path="$images/a.raw",format=raw,bus=virtio --network network=default,mac=52:54:00:00:00:0a,model=e1000
	same virt-install $install --name tiny --memory 192 --vcpus 1,maxvcpus=2 --os-variant debian11 --uuid ${uuid}0b \
		--disk path="$images/tiny.qcow2",format=qcow2 --network network=default,mac=52:54:00:00:00:0b
}
# roost has issued an address by now; theirs gets the same one, before it asks
address=$(roost domifaddr tiny --json | jq -r '[.[] | select(.protocol == "ipv4")][0].address')
theirs virsh net-update default add ip-dhcp-host "<host mac='52:54:00:00:00:0b' ip='$address'/>" --live >/dev/null
say "both run"
for option in --all --name --uuid --id '--uuid --name' --title --inactive --transient --persistent --autostart --no-autostart \
	--state-running --state-paused --state-shutoff --state-other --with-snapshot --without-snapshot --with-managed-save \
	'--all --managed-save' --table '--table --name' '--name --title'; do
	# shellcheck disable=SC2086
	same virsh list $option
done
same virsh -q list
same virsh dominfo a
same virsh dominfo ${uuid}0a
same virsh domstate a --reason
same virsh domid a
same virsh domuuid a
same virsh domname 2
same virsh domname ${uuid}0a
same virsh domiflist a
same virsh domblklist a
same virsh domblklist a --details
same virsh domifaddr a --interface nosuch
same virsh vcpucount a
same virsh vcpucount a --maximum
same virsh vcpucount a --active --live
same virsh vcpuinfo a
same virsh domstats a --state
same virsh snapshot-list a
same virsh desc a
same virsh desc a --title 'the title'
same virsh list --title
same virsh nodeinfo
same virsh hostname
same virsh uri
same virsh version
same virsh --version

say "what is done"
same virsh suspend a
same virsh list
same virsh dominfo a
same virsh domstate a --reason
same virsh suspend a
same virsh resume a
same virsh resume a
same virsh reset a
same virsh autostart a
same virsh dominfo a
same virsh list --autostart
same virsh autostart a --disable
same virsh setvcpus a 2 --config
same virsh setvcpus a 1 --config
same virsh setmaxmem a 64M --config
same virsh setmem a 32M --config
same virsh domif-getlink a 52:54:00:00:00:0a
same virsh domif-setlink a 52:54:00:00:00:0a down
same virsh domif-setlink a 52:54:00:00:00:0a up
same virsh 'list; domid a'
same virsh 'domid nosuch; domid a'
same virsh 'list; nosuch; uri'
same virsh ''
printf 'list --name\ndomid nosuch\n\nuri; domid a\n' >lines
input=lines
same virsh
same virsh -q
input=/dev/null
for command in 'snapshot-info a x' 'snapshot-info a --current' 'snapshot-revert a x' 'snapshot-delete a x' 'snapshot-current a' \
	'help nosuch' 'attach-interface a network nosuch' 'domjobabort a' 'domblkstat a vdz' 'domblkstat a vda --human' 'domif-getlink a nosuch' 'domif-setlink a nosuch up' 'domifstat a nosuch' 'blockresize a vdz 2M' 'attach-interface a bogus default' 'save nosuch x' \
	'managedsave-remove a' 'restore /nonexistent'; do
	# shellcheck disable=SC2086
	same virsh $command
done

say "errors"
same virsh start a
same virsh start nosuch
same virsh dominfo nosuch
same virsh dominfo
same virsh setvcpus a 3
same virsh setvcpus a 3 --config
same virsh setvcpus a 0
same virsh setvcpus a abc
same virsh setvcpus a 2 --maximum
same virsh setvcpus a
same virsh setmem a 1G
same virsh setmem a 1Q
same virsh setmem a 0
same virsh setmem a 32M --config --current
same virsh setvcpus a 1 --live --current
same virsh domid ''
same virsh net-info ''
same virsh net-update
same virsh net-list --uuid --name
same virsh net-dhcp-leases default nosuch
same virsh setmem a
same virsh setmaxmem a 128M
same virsh shutdown a --mode bogus
differs "an agent's channel" virsh shutdown a --mode agent
same virsh reboot a --mode bogus
same virsh domifaddr a --source bogus
same virsh domifaddr nosuch
same virsh domblkinfo a vdz
same virsh domblkinfo a
same virsh detach-disk a vdz
same virsh detach-interface a bridge
same virsh detach-interface a network --mac 52:54:00:00:00:99
same virsh console a
same virsh domrename a b
same virsh vcpucount a --maximum --active
same virsh vncdisplay a
same virsh frobnicate
same virsh list --frob
same virsh list extra
same virsh list --all --all
same virsh start
same virsh define /nonexistent.xml
same virsh net-define /nonexistent.xml
same virsh -c foo:///x list
same virsh -c qemu:///x list
same virsh -x
same virsh --frob
same virsh cd

say "one that has asked for its address"
both_have "$address" virsh net-dhcp-leases default
both_have "$address" virsh domifaddr tiny
same virsh domifaddr tiny
same virsh domifaddr tiny --source lease
differs "\`net-dhcp-leases\`: client ID" virsh net-dhcp-leases default
same virsh net-dhcp-leases default 52:54:00:00:00:99
same virsh dominfo tiny
same virsh domiflist tiny
same virsh domblklist tiny
both_have '^usable ' virsh dommemstat tiny
same virsh dommemstat tiny
same virsh destroy tiny
same virsh domstate tiny --reason

say "the end of one"
same virsh shutdown a
both_have "shut off" virsh domstate a
same virsh domstate a --reason
same virsh list --all
same virsh -q list --all
same virsh dominfo a
same virsh domid a
same virsh domiflist a
same virsh domblkinfo a vda
same virsh vcpucount a
same virsh vcpucount a --live
same virsh vcpuinfo a
for command in suspend resume reboot reset shutdown destroy domifaddr dommemstat console domtime cpu-stats domjobinfo domjobabort; do
	same virsh $command a
done
same virsh setvcpus a 1
same virsh setmem a 32M
same virsh domrename a a
same virsh domrename a b
same virsh start b --paused
same virsh domstate b --reason
same virsh resume b
differs "names those that stay" virsh undefine b
same virsh list --transient
same virsh undefine b
same virsh autostart b
same virsh destroy b
same virsh list --all
say "virt-install, virt-clone"
install="$install --memory 32"
# shellcheck disable=SC2086
{
	same virt-install $install --name x --frob
	differs "mistakes in a name" virt-install $install --osinfo generic --name 'bad name' --disk none
	same virt-install $install --osinfo generic --name x --disk "path=$images/no.img"
	same virt-install --memory 32 --virt-type qemu --osinfo generic --name x --disk none --cdrom "$images/no.iso"
	differs "a backing file that is not there" virt-install $install --osinfo generic --name x --disk "path=$images/over.qcow2,format=qcow2"
	same virt-install $install --osinfo generic --name x --disk "path=$images/df.qcow2"
	same virt-install $install --osinfo generic --name df --disk none
	same virt-install $install --osinfo generic --name x --disk none --network network=nosuch
	same virt-install $install --osinfo generic --name x --disk none --cloud-init nosuch=1
	same virt-install $install --os-type linux --osinfo generic --name x --disk none --dry-run
	differs "an unknown \`--os-variant\`" virt-install $install --os-variant nosuchos --name x --disk none --dry-run
}
same virt-clone --original nosuch --auto-clone
same virt-clone --original df
same virt-clone --original df --name tiny --auto-clone
same virt-clone --original df --auto-clone
same virsh domblklist df-clone

say "cloud-localds"
their_folder=$TMPDIR/seeds.theirs
our_folder=$TMPDIR/seeds.ours
for to in "$their_folder" "$our_folder"; do
	mkdir "$to"
	printf '#cloud-config\nhostname: x\n' >"$to/user-data"
	printf 'instance-id: x\n' >"$to/meta-data"
	printf 'version: 2\n' >"$to/network"
	: >"$to/empty"
done
same cloud-localds -v seed.img user-data meta-data
same cloud-localds -v with-network.img -N network user-data meta-data
differs "an empty one is warned of" cloud-localds -v empty.img empty empty
same cloud-localds seed.img nofile
differs "its usage is shorter" cloud-localds
for seed in seed with-network empty; do
	for list in -Rf -Jf -f; do
		check_eq "what is in $seed.img, $list" "$(isoinfo $list -i "$their_folder/$seed.img" | sort)" \
			"$(isoinfo $list -i "$our_folder/$seed.img" | sort)"
	done
	check_eq "its name" "$(isoinfo -d -i "$their_folder/$seed.img" | grep '^Volume id')" \
		"$(isoinfo -d -i "$our_folder/$seed.img" | grep '^Volume id')"
	for file in $(isoinfo -Rf -i "$their_folder/$seed.img"); do
		isoinfo -R -x "$file" -i "$their_folder/$seed.img" >file.theirs
		isoinfo -R -x "$file" -i "$our_folder/$seed.img" | cmp file.theirs -
	done
done
their_folder=$TMPDIR
our_folder=$TMPDIR

say "virt-df"
same virt-df -d nosuch
wait $virt_df
for option in -h --csv; do
	compared=$((compared + 1))
	said_by ours ours virt-df $option -d df
	mv df$option theirs
	compare virt-df $option
done
[ $differences -eq 0 ] || fail "$differences of $compared differ"
echo "took: $compared commands"
