#!/bin/sh
# kill -9 at steps that nobody has named: each operation on images and on guests that do not run is killed before its n-th
# call that changes a file or a folder, starts a process or sends (steps.c counts them), wherever in its processes that is.
# Then there is the old or the new, `qemu-img check` is clean, the next try works, and nothing is left over. Some steps of
# each operation, others at every run; E2E_STEPS=all tries them all, which takes minutes.
# user: root
# limit: 300
. "$TOP/tests/e2e/lib.sh"
need pico.raw
command -v cc >/dev/null || lacking cc
cd "$TMPDIR"
images=$ROOST_STATE/images
guests=$ROOST_STATE/guests
STEPS=$TMPDIR/steps
export STEPS
cc -D_GNU_SOURCE -O1 -fPIC -shared -o steps.so "$TOP/tests/e2e/steps.c"

# --- counting and killing ---------------------------------------------------------------------------------------------
# roostd, which the first of these starts, is counted, too
roost() {
	LD_PRELOAD="$TMPDIR/steps.so" command roost "$@"
}
# arm N: whoever comes to the N-th step from now on dies; 0: nobody
arm() {
	python3 -c 'import struct, sys; open(sys.argv[1], "r+b").write(struct.pack("=qqq", int(sys.argv[2]), 0, 0) + bytes(128))' "$STEPS" "$1"
}
counted() {
	od -An -td8 -j 8 -N 8 "$STEPS" | tr -d ' '
}
# who died, before which call; empty: nobody
struck() {
	[ "$(od -An -td8 -j 16 -N 8 "$STEPS" | tr -d ' ')" = 0 ] || tail -c +25 "$STEPS" | tr -d '\0'
}
head -c 152 /dev/zero >"$STEPS"
chmod 666 "$STEPS"
seed=${E2E_SEED:-$(date +%s)}
say "seed $seed"

# killed NAME: do_NAME is killed at steps of it; prepare_NAME comes before each, check_NAME after it
killed() {
	"prepare_$1"
	arm 0
	"do_$1" >out 2>&1 || fail "$1: $(cat out)"
	steps=$(counted)
	case ${E2E_STEPS-} in
	all) chosen=$(seq "$steps") ;;
	*) chosen="$((1 + seed % (steps / 2))) $((1 + steps / 2 + seed % (steps / 2)))" ;;
	esac
	say "$1: $(echo "$chosen" | paste -s -d ' ' -) of $steps steps"
	for step in $chosen; do
		"prepare_$1"
		arm "$step"
		status=0
		"do_$1" >out 2>&1 || status=$?
		by=$(struck)
		arm 0
		echo "   $step: ${by:-nobody}: $status"
		wait_until 10 no_child
		("check_$1") || fail "$1, killed at step $step (${by:-nobody}), status $status: $(cat out)"
	done
}
# it dies with who started it: nor has anybody a disk open, or is a worker of roostd's
no_child() {
	! pgrep -x 'qemu-img|roost-(sysprep|fetch|digest|image|disk)' --ns $$ --nslist net >/dev/null &&
		[ "$(pgrep -x roostd --ns $$ --nslist net | wc -l)" -le 1 ] &&
		[ -z "$(find /proc/[0-9]*/fd -lname "$ROOST_STATE/*.qcow2" 2>/dev/null)" ]
}
# told_truly THERE: a command that succeeded has done it
told_truly() {
	[ "$status" -ne 0 ] || "$@" || fail "it was told as done"
}
is_there() {
	roost domstate "$1" >/dev/null 2>&1
}
has_image() {
	[ -e "$images/$1" ]
}

# --- the store --------------------------------------------------------------------------------------------------------
qemu-img convert -f raw -O qcow2 "$GUESTS/pico.raw" p.qcow2
qemu-img convert -f raw -O vmdk "$GUESTS/pico.raw" p.vmdk
sum=$(sha256sum <p.qcow2 | cut -d ' ' -f 1)
python3 "$TOP/tests/e2e/image_server.py" "$TMPDIR" port server.log 2>server.err &
server=$!
at_end() {
	kill $server
}
wait_until 20 test -s port

empty_store() {
	! has_image x || roost image rm x >/dev/null
	roost image gc >/dev/null
	check_eq "nothing is left in the store" "" "$(find "$images" -mindepth 1 ! -name .lock 2>/dev/null)"
}
# came_in FUNCTION: whole or not at all, and it can come
came_in() {
	told_truly has_image x
	! has_image x || { roost image verify x >/dev/null && roost image rm x >/dev/null; }
	"$1" >/dev/null 2>&1
	qemu-img check -q "$images/x/disk.qcow2"
	qemu-img compare -q "$images/x/disk.qcow2" p.qcow2
	empty_store
}
prepare_import() { empty_store; }
do_import() { roost image import p.qcow2 --name x; }
check_import() { came_in do_import; }
prepare_convert() { empty_store; }
do_convert() { roost image import p.vmdk --name x --convert; }
check_convert() { came_in do_convert; }
prepare_pull() { empty_store; }
do_pull() { roost image pull -q "http://127.0.0.1:$(cat port)/plain/p.qcow2" --name x --sha256 "$sum"; }
check_pull() { came_in do_pull; }
prepare_remove() { has_image x || do_import >/dev/null; }
do_remove() { roost image rm x; }
check_remove() {
	[ "$status" -ne 0 ] || ! has_image x || fail "it was told as done"
	! has_image x || roost image verify x >/dev/null
	empty_store
}

# --- image files ------------------------------------------------------------------------------------------------------
qemu-img convert -O qcow2 p.qcow2 bottom0.qcow2
qemu-img create -q -f qcow2 -F qcow2 -b bottom.qcow2 -u middle0.qcow2 1M
chain() {
	cp bottom0.qcow2 bottom.qcow2
	cp middle0.qcow2 middle.qcow2
	qemu-io -f qcow2 -c 'write -q -P 5 64k 64k' middle.qcow2
	rm -f top.qcow2
	qemu-img create -q -f qcow2 -F qcow2 -b middle.qcow2 top.qcow2
	qemu-io -f qcow2 -c 'write -q -P 6 128k 64k' top.qcow2
	qemu-img convert -f qcow2 -O raw top.qcow2 whole.raw
}
# changed FUNCTION: the top shows what it did, and it can be done
changed() {
	for changed in first again; do
		for file in bottom middle top; do
			qemu-img check -q $file.qcow2
		done
		qemu-img compare -q -f qcow2 -F raw top.qcow2 whole.raw
		[ $changed = again ] || "$1" >/dev/null 2>&1
	done
	check_eq "no copy is left" "" "$(find . -maxdepth 1 -name '.*' -type f)"
}
prepare_commit() { chain; }
do_commit() { roost image commit top.qcow2; }
check_commit() { changed do_commit; }
prepare_rebase() { chain; }
do_rebase() { roost image rebase top.qcow2 -b bottom.qcow2 -F qcow2; }
check_rebase() { changed do_rebase; }
prepare_flatten() { chain; }
do_flatten() { roost image flatten top.qcow2; }
check_flatten() { changed do_flatten; }

# --- snapshots --------------------------------------------------------------------------------------------------------
both_disks() {
	see vda
	see vdb
}
scribbled=0
scribble() {
	scribbled=$((scribbled % 200 + 1))
	qemu-io -f qcow2 -c "write -q -P $scribbled 0 64k" "$folder/$(record | jq -r '.tops.vdb')"
}
# settled: another snapshot comes and goes, and nothing is left but what the record tells
settled() {
	roost snapshot-create-as p after >/dev/null
	roost snapshot-delete p after >/dev/null
	nothing_left_over
	all_clean
	check_eq "no file is left" "" "$(find "$folder" -name '.*' -o -name '*.new')"
}
has_snapshot() {
	roost snapshot-info p "$1" >/dev/null 2>&1
}
prepare_create() {
	! has_snapshot n || roost snapshot-delete p n >/dev/null
	scribble
	was=$(both_disks)
}
do_create() { roost snapshot-create-as p n; }
check_create() {
	told_truly has_snapshot n
	settled
	check_eq "the guest" "$was" "$(both_disks)"
	! has_snapshot n || check_eq "what it keeps" "$was" "$(see vda n && see vdb n)"
}
prepare_revert() {
	has_snapshot r || roost snapshot-create-as p r >/dev/null
	roost snapshot-revert p r >/dev/null
	kept=$(both_disks)
	scribble
	was=$(both_disks)
}
do_revert() { roost snapshot-revert p r; }
is_back() { [ "$(both_disks)" = "$kept" ]; }
check_revert() {
	told_truly is_back
	is_back || check_eq "the old" "$was" "$(both_disks)"
	settled
	do_revert >/dev/null
	is_back || fail "it does not go back"
}
prepare_delete() {
	has_snapshot d || roost snapshot-create-as p d >/dev/null
	scribble
	has_snapshot e || roost snapshot-create-as p e >/dev/null
	scribble
	was=$(both_disks)
	others=$(see vda e && see vdb e)
}
do_delete() { roost snapshot-delete p d; }
check_delete() {
	[ "$status" -ne 0 ] || ! has_snapshot d || fail "it was told as done"
	settled
	check_eq "the guest" "$was" "$(both_disks)"
	check_eq "the other one" "$others" "$(see vda e && see vdb e)"
}

# --- clones and sysprep -----------------------------------------------------------------------------------------------
no_folder_is_left() {
	[ -z "$(find "$guests" -mindepth 1 -name '.*')" ]
}
# content GUEST: of its disk
content() {
	content_top=$(jq -r '.tops.vda // "disk0.qcow2"' "$guests/$1/snapshots.json" 2>/dev/null) || content_top=disk0.qcow2
	qemu-img check -q "$guests/$1/$content_top"
	qemu-img convert -f qcow2 -O raw "$guests/$1/$content_top" content
	sha256sum <content
}
gone() {
	! is_there "$1" || roost undefine "$1" --remove-all-storage >/dev/null
}
prepare_clone() {
	gone d
	scribbled=$((scribbled % 200 + 1))
	qemu-io -f qcow2 -c "write -q -P $scribbled 64k 4k" "$guests/a/$(jq -r '.tops.vda // "disk0.qcow2"' "$guests/a/snapshots.json" 2>/dev/null || echo disk0.qcow2)"
	was=$(content a)
}
do_clone() { roost clone a d; }
# cloned FUNCTION
cloned() {
	told_truly is_there d
	is_there d || "$1" >/dev/null
	check_eq "the clone" "$was" "$(content d)"
	check_eq "the original" "$was" "$(content a)"
	gone d
	wait_until 10 no_folder_is_left
	check_eq "no base is left" "" "$(find "$ROOST_STATE/bases" -type f ! -name lock)"
	check_eq "its layers" "$(jq -r '.layers | keys[]' "$guests/a/snapshots.json" 2>/dev/null | sort)" \
		"$(find "$guests/a" -name 'disk-*' -printf '%f\n' | sort)"
}
check_clone() { cloned do_clone; }
prepare_full() { prepare_clone; }
do_full() { roost clone --full a d; }
check_full() { cloned do_full; }
prepare_define() { gone d; }
do_define() { roost define d.yaml; }
check_define() {
	told_truly is_there d
	is_there d || do_define >/dev/null
	gone d
	wait_until 10 no_folder_is_left
	[ ! -e "$guests/d" ] || fail "a folder is left"
}
prepare_sysprep() {
	gone s
	sed 's/^name: .*/name: s/; s/image: .*/image: system/' a.yaml >s.yaml
	roost define s.yaml >/dev/null
}
do_sysprep() { roost sysprep s; }
check_sysprep() {
	content s >/dev/null
	e2fsck -fn content >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
	do_sysprep >/dev/null
	content s >/dev/null
	e2fsck -fn content >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
	debugfs -R 'cat /etc/ssh/ssh_host_rsa_key' content 2>/dev/null | grep -q . && fail "the key is still there"
	check_eq "no file is left" "disk0.qcow2 guest.json" \
		"$(find "$guests/s" -mindepth 1 ! -name events.jsonl ! -name snapshots.json ! -name lock -printf '%f\n' | sort | paste -s -d ' ' -)"
}

for operation in import convert pull remove commit rebase flatten; do
	killed $operation
done
two_disks
roost snapshot-create-as p first >/dev/null
for operation in create revert delete; do
	killed $operation
done
roost image import p.qcow2 --name base >/dev/null
printf 'name: a\nmemory: 32M\ninterfaces: []\ndisks:\n  - image: base\n' >a.yaml
sed 's/^name: .*/name: d/' a.yaml >d.yaml
roost define a.yaml >/dev/null
for operation in define clone full; do
	killed $operation
done
[ -x "$TOP/build/libexec/roost/roost-sysprep" ] || lacking "roost-sysprep (libext2fs)"
PATH=$PATH:/usr/sbin:/sbin
mkdir -p root/etc/ssh root/usr root/var/log
echo secret >root/etc/ssh/ssh_host_rsa_key
echo x >root/var/log/syslog
truncate -s 4M system.raw
mke2fs -q -F -d root system.raw
qemu-img convert -f raw -O qcow2 system.raw system.qcow2
roost image import system.qcow2 --name system >/dev/null
killed sysprep
