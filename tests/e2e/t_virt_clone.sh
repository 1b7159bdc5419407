#!/bin/sh
# virt-clone says what virtinst's says, and makes what it says: which disks are copied, to which files, and which are shared.
. "$TOP/tests/e2e/lib.sh"
eval "$(roost compat)"
cd "$TMPDIR"
export ROOST_LIBVIRT_IMAGES="$TMPDIR"
need pico.raw
dd if=/dev/urandom of=fs.raw bs=1K count=300 2>/dev/null
truncate -s 4M fs.raw
truncate -s 1M cd.iso
cat >vm01.yaml <<END
name: vm01
disks: [{path: $TMPDIR/fs.raw, format: raw}]
cdrom: $TMPDIR/cd.iso
interfaces: [{user: {restrict: true}, mac: 52:54:00:00:00:01}]
END
roost define vm01.yaml
pico screen >/dev/null

source_of() { # GUEST N
	roost domblklist "$1" --json | jq -r ".[$2].source"
}
# refused ERROR OPTION...: status 1, that error, and nothing is made
refused() {
	refused_error=$1
	shift
	refused_guests=$(roost list --all --name)
	refused_files=$(ls)
	both virt-clone "$@"
	check_eq "$*" "ERROR    $refused_error 1" "$errors $both_status"
	check_eq "$*: not a word else" "" "$out"
	check_eq "$*: no guest" "$refused_guests" "$(roost list --all --name)"
	check_eq "$*: no file" "$refused_files" "$(ls)"
}

say "what is missing"
touch stdout stderr
refused "Domain 'nosuch' was not found." --original nosuch --auto-clone
refused "Either --auto-clone or --file is required, use '--auto-clone or --file' and try again." --original vm01
refused "An original machine name is required, use '--original src_name' and try again." --auto-clone
refused "A name is required for the new virtual machine, use '--name NEW_VM_NAME' to specify one." -o vm01 --file x.raw
refused "Invalid name for new guest: Guest name 'screen' is already in use." --original vm01 --name screen --auto-clone
refused "'vm01' has 1 disks to copy, 2 files are named" -o vm01 -n x --file a.raw --file b.raw
refused "guest 'vm01' has no disk 'vdz'" -o vm01 -n x --auto-clone --skip-copy vdz
refused "Unknown --check options: ['nosuch']" -o vm01 --auto-clone --check nosuch=off
both virt-clone --original vm01 --auto-klone
check_match "the nearest" "virt-clone: error: unrecognized option '--auto-klone'; did you mean --auto-clone" "$errors"
check_eq "as argparse" 2 $both_status
for option in --force-copy=sda --nvram=x.fd --original-xml=x.xml --check=path_exists=off; do
	both virt-clone --original vm01 --auto-clone "$option"
	check_match "by its name" "option '${option%%=*}[^']*' is not there: " "$errors"
	check_eq "$option" 1 $both_status
done

say "names"
both virt-clone --original vm01 --auto-clone
check_eq "what it says" "Allocating 'fs-clone.raw'                                   |    0 B  00:00 ... 

Clone 'vm01-clone' created successfully." "$out"
check_eq "not a word besides" " 0" "$errors $both_status"
cmp fs.raw fs-clone.raw
check_eq "its disk; the CD is shared" "$TMPDIR/fs-clone.raw $TMPDIR/cd.iso" "$(source_of vm01-clone 0) $(source_of vm01-clone 1)"
[ "$(roost domuuid vm01)" != "$(roost domuuid vm01-clone)" ] || fail "the two have one UUID"
both virt-clone -o vm01-clone --auto-clone -q
check_eq "quiet" " 0" "$out $both_status"
check_eq "the next name, of a clone, too" "$TMPDIR/fs-clone-clone.raw" "$(source_of vm01-clone1 0)"
both virt-clone -o vm01 --auto-clone
check_eq "the next file" "$TMPDIR/fs-clone-1.raw" "$(source_of vm01-clone2 0)"
cp fs.raw screen.raw # called as its guest; what it boots does not count here
both virt-clone -o screen -n picture --auto-clone
check_eq "a disk that is called as the guest" "$TMPDIR/picture.raw" "$(source_of picture 0)"

say "files and identities of one's own"
uuid=65ea8d96-af9b-4d0b-a199-a12415c1dab4
both virt-clone -o vm01 -n third --file third.raw --uuid $uuid -m 52:54:00:00:00:07
check_eq "the file" "$TMPDIR/third.raw" "$(source_of third 0)"
check_eq "the UUID" $uuid "$(roost domuuid third --json | jq -r .uuid)"
check_eq "the MAC" 52:54:00:00:00:07 "$(roost domiflist third --json | jq -r '.[0].mac')"
refused "cannot make 'third.raw': File exists" -o vm01 -n fourth --file third.raw
cmp fs.raw third.raw
both virt-clone -o vm01 -n full --file full.raw --nonsparse
# a file system may count what tells where the blocks are, too
[ "$(du -k full.raw | cut -f 1)" -ge 4096 ] || fail "full.raw is sparse"
cmp fs.raw full.raw
both virt-clone -o vm01 -n link --auto-clone --reflink
case $both_status in
0) cmp fs.raw fs-clone-2.raw ;;
*) check_match "where the file system cannot" "cannot reflink it: .*without it the disk is copied" "$errors" && [ ! -e fs-clone-2.raw ] ;;
esac

if [ "$(id -u)" -eq 0 ] && command -v mkfs.xfs >/dev/null; then
	say "where the file system can, nothing is copied"
	at_end() {
		umount "$TMPDIR/xfs" 2>/dev/null
	}
	truncate -s 400M xfs.img
	mkfs.xfs -q xfs.img
	mkdir xfs
	if mount -o loop xfs.img xfs 2>/dev/null; then
		cp fs.raw xfs/fs.raw
		printf 'name: light\ndisks: [{path: %s/xfs/fs.raw, format: raw}]\ninterfaces: []\n' "$TMPDIR" >light.yaml
		roost define light.yaml
		both virt-clone -o light --auto-clone --reflink
		check_eq "it is made" 0 $both_status
		cmp xfs/fs.raw xfs/fs-clone.raw
		check_match "of the same blocks" "shared" "$(filefrag -v xfs/fs-clone.raw)"
		qemu-img create -q -f qcow2 -F raw -b fs.raw xfs/over.qcow2
		printf 'name: over\ndisks: [{path: %s/xfs/over.qcow2, format: qcow2}]\ninterfaces: []\n' "$TMPDIR" >over.yaml
		roost define over.yaml
		refused "disk 'vda': it stands on other files, which a reflink would not bring together" -o over --auto-clone --reflink
	fi
fi

say "shared, kept, replaced"
both virt-clone -o vm01 -n same --auto-clone --skip-copy vda
check_eq "the same file" "$TMPDIR/fs.raw 0" "$(source_of same 0) $both_status"
echo "is there" >kept.raw
truncate -s 1M kept.raw
cp kept.raw was.raw
both virt-clone -o vm01 -n keeps --file kept.raw --preserve-data
check_eq "as it is" "$TMPDIR/kept.raw 0" "$(source_of keeps 0) $both_status"
cmp kept.raw was.raw
check_match "nothing is allocated" "^.Clone 'keeps' created" "$(paste -s -d . stdout)"
refused "Disk kept.raw is already in use by other guests ['keeps']. (Use --check path_in_use=off or --check all=off to override)" \
	-o vm01 -n both --file kept.raw --preserve-data
both virt-clone -o vm01 -n both --file kept.raw --preserve-data --check path_in_use=off
check_eq "as asked for" "$TMPDIR/kept.raw 0" "$(source_of both 0) $both_status"
refused "The clone's disk 'vda' has no file: name one with --file" -o vm01 -n x --auto-clone --preserve-data
qemu-img create -q -f qcow2 other.qcow2 1M
refused "'$TMPDIR/other.qcow2' is qcow2, and its disk 'vda' is raw; \`roost image convert\` makes the one of the other" \
	-o vm01 -n x --file other.qcow2 --preserve-data
printf 'name: inside\ndisks: [{size: 8M}]\ninterfaces: []\n' >inside.yaml
roost define inside.yaml
both virt-clone -o inside -n inside2 --auto-clone
check_eq "disks in the guest's folder" "Clone 'inside2' created successfully. 0" "$(tail -n 1 stdout) $both_status"
refused "guest 'inside': its disk 'vda' is in its own folder, where no other guest has it" -o inside -n x --auto-clone --skip-copy vda
old=$(roost domuuid inside2)
both virt-clone -o inside -n inside2 --auto-clone --replace
check_eq "replaced" 0 $both_status
[ "$(roost domuuid inside2)" != "$old" ] || fail "it is the old one"
kept=$(sed -n 's/^kept: //p' stderr)
[ -f "$kept" ] || fail "the old one's disk '$kept' is gone"
both virt-clone -o vm01 -n old --file old.raw
old=$(roost domuuid old)
refused "interfaces[0].mac: 'zz' is not a MAC address; leave it out and one is made, or write 52:54:00:XX:XX:XX" \
	-o vm01 -n old --auto-clone --replace --mac zz
refused "cannot make 'kept.raw': File exists" -o vm01 -n old --file kept.raw --replace
check_eq "what could not be replaced is still there" "$old" "$(roost domuuid old)"
both virt-clone -o vm01 -n old --file new.raw --replace
check_eq "now it is" "$TMPDIR/new.raw kept: $TMPDIR/old.raw 0" "$(source_of old 0) $errors $both_status"
refused "Invalid name for new guest 'a/b': the name may not contain '/'; names are letters, digits, '.', '_' and '-', and begin with a letter or digit" \
	-o vm01 -n a/b --auto-clone
printf 'name: mixed\ndisks: [{size: 8M}, {path: %s/kept.raw, format: raw}]\ninterfaces: []\n' "$TMPDIR" >mixed.yaml
roost define mixed.yaml
both virt-clone -o mixed --auto-clone
check_eq "one inside, one outside" "$TMPDIR/mixed-clone-vda.qcow2 $TMPDIR/kept-clone.raw" "$(source_of mixed-clone 0) $(source_of mixed-clone 1)"

say "XML alone"
both virt-clone -o vm01 -n paper --file paper.raw --print-xml -m 52:54:00:00:00:09 -u $uuid
check_match "its name" "<name>paper</name>" "$out"
check_match "its file" "<source file=.$TMPDIR/paper.raw." "$out"
check_match "its identity" "52:54:00:00:00:09" "$out"
check_match "its identity" "<uuid>$uuid</uuid>" "$out"
check_status 3 roost domstate paper
[ ! -e paper.raw ] || fail "its file was made"
both virt-clone -o vm01 -n paper --file paper.raw --print-xml
check_match "a MAC address" "<mac address='52:54:00:[0-9a-f:]{8}'/>" "$out"

say "one that runs, and one that ends"
cp "$GUESTS/pico.raw" screen.raw
roost start screen
refused "Domain to clone must be shutoff." -o screen --auto-clone
roost suspend screen
refused "Domain to clone must be shutoff." -o screen --auto-clone
roost resume screen
wait_until 30 is_up screen
virsh shutdown screen >/dev/null
both virt-clone -o screen -n after --auto-clone
check_eq "one that is shutting down is waited for" "Clone 'after' created successfully. 0" "$(tail -n 1 stdout) $both_status"
