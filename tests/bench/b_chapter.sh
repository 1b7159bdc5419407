#!/bin/sh
# The commands of the chapter, each under its old name, by libvirt's own programs and by roost: the same words, the same
# guests (under TCG), taking turns. It prints the rows of docs/chapter.md. Libvirt's daemon runs in namespaces of its own.
# A command's time is from its spawn to its exit, once the daemon is there. Only root, where libvirt's programs are installed.
. "$TOP/tests/bench/lib.sh"

need pico.raw pico-installer.iso tiny.qcow2 tiny-vmlinuz tiny-initrd cloud.qcow2
[ "$(id -u)" -eq 0 ] || skip "libvirt's daemon wants root"
for tool in /usr/sbin/libvirtd /usr/bin/virsh /usr/bin/virt-install /usr/bin/virt-df /usr/bin/cloud-localds; do
	[ -x $tool ] || skip "$tool is not installed"
done
images=$PWD/images
mkdir bin "$images" "$images.theirs"
chmod 755 . "$images" "$images.theirs"
for name in virsh virt-install virt-clone virt-sysprep virt-df virt-host-validate cloud-localds; do
	ln -s "$(command -v roost)" "bin/$name"
done
PATH=$PWD/bin:$PATH:/usr/sbin:/sbin
export ROOST_LIBVIRT_IMAGES="$images" LIBVIRT_DEFAULT_URI=qemu:///system

# --- their side: a daemon, and a kernel for the appliance of libguestfs

mkdir kernel appliance
(cd kernel && lz4 -dc "$GUESTS/tiny-initrd" | cpio -idm --quiet 'usr/lib/modules/*')
kernel=$(ls kernel/usr/lib/modules)
depmod -b kernel/usr "$kernel" 2>>log
# the maker of the appliance wants this folder on the host, whatever is in it
[ -d /lib/modules ] || { made=1 && mkdir /lib/modules; }
# QEMU runs as nobody there; if that one may not open /dev/kvm, libvirtd probes QEMU anew for each command
cp /etc/group group
[ ! -e /dev/kvm ] || echo "kvm-users:x:$(stat -c %g /dev/kvm):nobody" >>group
unshare --net --mount --pid --fork --kill-child --mount-proc sh -c "mount --bind group /etc/group
	exec sh $TOP/tests/e2e/their_libvirt $images" >libvirtd.log 2>&1 &
unshare=$!
# it does not hear TERM
at_end() {
	kill -KILL $unshare
	[ -z "${made-}" ] || rmdir --ignore-fail-on-non-empty /lib/modules
}
# their COMMAND...: in the namespaces of their daemon
their() {
	nsenter -t "$inside" --mount --net --pid --wd="$PWD" env -u ROOST_STATE -u ROOST_RUN PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		SUPERMIN_KERNEL="$GUESTS/tiny-vmlinuz" SUPERMIN_KERNEL_VERSION="$kernel" SUPERMIN_MODULES="$PWD/kernel/usr/lib/modules/$kernel" \
		LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=force_tcg LIBGUESTFS_CACHEDIR="$PWD/appliance" "$@"
}
their_is_up() {
	inside=$(pgrep -P $unshare) && their virsh version
}
wait_until 20 their_is_up
inside=$(pgrep -P $unshare)
# so that a disk lies on the same file system, whoever makes it
their mkdir -p /var/lib/libvirt/images
their mount --bind "$images" /var/lib/libvirt/images
cat >default.xml <<END
<network><name>default</name><forward mode="nat"/><bridge name="virbr0"/><ip address="192.168.122.1" netmask="255.255.255.0">
<dhcp><range start="192.168.122.2" end="192.168.122.254"/></dhcp></ip></network>
END
their virsh net-define default.xml >log

# --- the table

# sides SH: on both sides, uncounted
sides() {
	sh -ec "$1" >>log 2>&1 || fail "ours: $1: $(tail -n 3 log)"
	their sh -ec "$1" >>log 2>&1 || fail "theirs: $1: $(tail -n 3 log)"
}
# medians of a few runs, for `beside`
roost_ms() {
	eval "measure -n $runs --before \"\$before\" --after \"\$after\" $ours" 2>>log
}
their_ms() {
	eval "their $TOP/tests/bench/measure -n $runs --before \"\$before\" --after \"\$after\" $theirs" 2>>log
}
# row RUNS BEFORE AFTER COMMAND [OURS [LABEL]]: RUNS in each turn; BEFORE and AFTER of each run are not counted
row() {
	# shellcheck disable=SC2034 # in what is evaluated
	runs=$1 before=$2 after=$3 theirs=$4 ours=${5:-$4} label=${6:-$4}
	figures=$(beside) || fail "$label: $(tail -n 3 log)"
	echo "$figures" | jq -r --arg line "$label" 'def shown: if . < 10 then . * 10 | round / 10 else round end;
		"| `\($line)` | \(.their | shown) | \(.roost | shown) | \(.their_per_roost | shown) |"'
	echo "$figures" >>figures
}
model=$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)
say "$(nproc) CPUs ($model), $(date +%F)"
say "virsh $(/usr/bin/virsh --version), virt-install $(/usr/bin/virt-install --version), $(/usr/bin/virt-df --version), $(qemu-img --version | head -n 1)"
echo "| the chapter's command | libvirt, ms | roost, ms | times |"
echo '|---|---:|---:|---:|'
# what ends with 1 on some hosts, and says so, has run all the same
row 5 '' '' "sh -c 'virt-host-validate qemu || :'" '' virt-host-validate
row 5 '' '' 'virsh net-list'
row 3 '' 'virsh net-destroy default' 'virsh net-start default'
row 5 '' '' 'virsh net-autostart default'
sides 'virsh net-start default'

# an installer that waits on its serial line; no viewer
install='virt-install --virt-type=qemu --name ubuntu-vm1 --vcpus=2 --memory=2048 --os-variant=ubuntufocal --network=default'
gone='virsh destroy ubuntu-vm1; virsh undefine ubuntu-vm1 --remove-all-storage'
row 2 '' "$gone" "$install --cdrom=$(realpath "$GUESTS/pico-installer.iso") --disk size=20 --noautoconsole" '' \
	'virt-install ... --cdrom=ISO --disk size=20'

# pico, which obeys its power button at once
for side in "$images" "$images.theirs"; do
	cp "$GUESTS/pico.raw" "$side/pico.raw"
done
sides "virt-install --virt-type=qemu --name vm --vcpus=1,maxvcpus=2 --memory=256 --os-variant=generic --network=default --graphics none \
	--disk path=$images/pico.raw,format=raw --import --noautoconsole"
off='until virsh domstate vm | grep -q off; do sleep 0.1; done'
on='virsh start vm; sleep 1'
row 5 '' '' 'virsh list'
row 5 '' '' 'virsh list --all'
row 3 '' 'virsh start vm' 'virsh destroy vm'
row 5 '' 'virsh resume vm' 'virsh suspend vm'
row 5 'virsh suspend vm' '' 'virsh resume vm'
row 3 'virsh destroy vm' '' 'virsh start vm'
row 3 'sleep 1' 'sleep 1; virsh destroy vm; virsh start vm' 'virsh reboot vm'
sides 'virsh destroy vm'
row 3 "$on" "$off" 'virsh shutdown vm'
row 5 '' '' 'virsh nodeinfo'
row 5 '' '' 'virsh dominfo vm'
row 5 '' '' 'virsh setvcpus vm 2 --config'
row 5 '' '' 'virsh setmaxmem vm 512M --config'
row 5 '' '' 'virsh setmem vm 128M --config'
sides 'virsh setmem vm 256M --config'
row 2 "virsh dumpxml vm | sed 's/>vm</>gone</; /<uuid>/d; /<mac /d' >gone.xml; virsh define gone.xml" '' 'virsh undefine gone'

# tiny, a Linux with DHCP, a balloon and vCPUs that may be plugged, on a disk of its own
for side in "$images" "$images.theirs"; do
	cp "$GUESTS/tiny.qcow2" "$side/tiny.qcow2"
done
linux='--virt-type=qemu --memory=256 --os-variant=debian11 --network=default --graphics none --import --noautoconsole'
is_up='until virsh net-dhcp-leases default | grep -q ipv4; do sleep 0.1; done; sleep 3'
sides "virt-install --name linux --vcpus=1,maxvcpus=4 --disk path=$images/tiny.qcow2,format=qcow2 $linux; $is_up"
row 5 '' '' 'virsh domifaddr linux'
row 2 'virsh setmem linux 256M; sleep 2' '' 'virsh setmem linux 200M'
row 1 "virsh destroy linux; virsh start linux; sleep 6" '' 'virsh setvcpus linux 2'
# libguestfs makes its appliance once, and keeps it
sides 'virsh destroy linux; virt-df -d linux -h'
row 1 '' '' 'virt-df -d linux -h'
row 2 '' 'virsh undefine clone1 --remove-all-storage' 'virt-clone --original linux --name clone1 --auto-clone'
row 1 '' '' 'virt-sysprep -d linux'

say "cloud images"
touch meta-data
printf '#cloud-config\npackages: [jq]\n' >user-data
row 3 '' '' 'cloud-localds -v seed.img user-data meta-data'
sides "qemu-img create -q -f qcow2 -F qcow2 -b $(realpath "$GUESTS/cloud.qcow2") $images/ubuntu.qcow2; cp seed.img $images"
row 5 '' '' "qemu-img info -U $images/ubuntu.qcow2" "roost image info $images/ubuntu.qcow2" 'qemu-img info FILE'
row 5 'rm -f new.qcow2' '' "qemu-img create -f qcow2 -F qcow2 -b $images/ubuntu.qcow2 new.qcow2 15G" \
	"roost image create -F qcow2 -b $images/ubuntu.qcow2 new.qcow2 15G" 'qemu-img create -f qcow2 -F qcow2 -b BASE NEW 15G'
row 3 'rm -f new.qcow2; qemu-img create -q -f qcow2 new.qcow2 2G' '' 'qemu-img resize new.qcow2 15G' 'roost image resize new.qcow2 15G' \
	'qemu-img resize FILE 15G'
row 2 '' 'virsh destroy vm01; virsh undefine vm01' "virt-install --name vm01 --virt-type qemu --vcpus 1 --memory 2048 \
	--disk path=$images/ubuntu.qcow2,device=disk --disk path=$images/seed.img,device=cdrom --os-type linux --os-variant generic \
	--import --network network=default --noautoconsole" '' 'virt-install ... --import --noautoconsole'

result p "the chapter's commands: libvirt's time per ours, the median" \
	"$(jq -s 'map(.their_per_roost) | sort | .[length / 2 | floor]' figures)" "at least" 2 times
