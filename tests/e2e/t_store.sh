#!/bin/sh
# The store: what enters is whole, has its digest and format recorded, and is read-only; what QEMU would follow to another
# file never gets in, whatever it is called; guests stand on images by name; an image that somebody stands on stays; a
# killed import leaves nothing that `gc` does not remove.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
need pico.raw
cd "$TMPDIR"
images=$ROOST_STATE/images

# what is in the store, hidden folders too, but for its lock
in_store() {
	[ ! -d "$images" ] || find "$images" -mindepth 1 -maxdepth 1 ! -name .lock -printf '%f\n' | sort | xargs
}
# refused STATUS REGEX FILE [OPTION...]: and the store is as it was
refused() {
	refused_status=$1
	refused_why=$2
	shift 2
	refused_before=$(in_store)
	check_status "$refused_status" roost image import "$@"
	check_match "$*" "$refused_why" "$out"
	check_eq "the store after $*" "$refused_before" "$(in_store)"
}

say "an empty one"
check_eq "list" "[]" "$(roost image list --json)"
check_eq "tree" "" "$(roost image tree)"
check_eq "verify" "" "$(roost image verify)"
for verb in tree verify; do
	check_status 3 roost image $verb none
	check_match "$verb" "there is no image 'none' in the store" "$out"
done
check_eq "nothing is made by looking" "" "$(find "$ROOST_STATE" -mindepth 1 2>/dev/null)"

say "entry"
qemu-img convert -O qcow2 "$GUESTS/pico.raw" "My pico_1.0.qcow2"
check_match "told" "^Image 'My-pico_1.0' is in the store: qcow2, 1 MiB; .roost run My-pico_1.0." "$(roost image import "My pico_1.0.qcow2")"
disk=$images/My-pico_1.0/disk.qcow2
cmp "My pico_1.0.qcow2" "$disk"
check_eq "its rank" "400 $(id -u)" "$(stat -c '%a %u' "$disk")"
check_json "its record" ".digest == \"sha256:$(sha256sum <"$disk" | cut -c 1-64)\" and .format == \"qcow2\" and
	.virtual_size == 1048576 and .size == $(stat -c %s "$disk") and .inode == $(stat -c %i "$disk") and
	.source == \"$TMPDIR/My pico_1.0.qcow2\" and .tags == []" "$(cat "$images/My-pico_1.0/image.json")"
check_eq "nobody else reads it" "" "$(find "$ROOST_STATE" -perm /027 ! -type d)"
cp "$GUESTS/pico.raw" pico.raw
check_json "raw, by its content" '.format == "raw" and .name == "pico"' "$(roost image import pico.raw --json)"
check_json "a digest that holds" '.name == "judged"' \
	"$(roost image import pico.raw --name judged --sha256 "$(sha256sum <pico.raw | cut -c 1-64)" --json)"
check_match "list" '^ judged +raw +1 MiB' "$(roost image list)"
refused 5 "there is an image 'pico' in the store already" pico.raw
refused 5 "its digest is sha256:[0-9a-f]{64}, not 0{64}" pico.raw --name wrong --sha256 "$(printf %064d 0)"
refused 2 "is no digest" pico.raw --name wrong --sha256 12
refused 3 "none.qcow2" none.qcow2
: >empty
refused 2 "is empty" empty
mkfifo fifo
refused 5 "is a FIFO" fifo
refused 5 "is a folder" "$TMPDIR" --name folder
refused 2 "magic is missing" pico.raw --name lie --format qcow2
refused 2 "'vmdk' is unknown" pico.raw --name lie --format vmdk

say "names"
for name in '' . .. a/b ../up -rf 12 a..b "a
b" 'x,readonly=off' 'nbd:x' "$(printf 'n%.0s' $(seq 256))" ä; do
	refused 2 "" pico.raw --name="$name"
	for verb in rm verify tree; do
		check_status_got=0
		roost image "$verb" -- "$name" >out 2>&1 || check_status_got=$?
		[ $check_status_got -eq 2 ] || [ $check_status_got -eq 3 ] || fail "image $verb '$name': $check_status_got: $(cat out)"
	done
done
check_eq "nothing was made beside it" "" "$(find "$ROOST_STATE" -mindepth 1 -maxdepth 1 ! -name images ! -name guests ! -name networks ! -name templates ! -name events.jsonl)"

say "what QEMU would follow to another file"
echo "the host's secret" >secret
truncate -s 1M secret
qemu-img create -q -f qcow2 base 1M
for to in "$TMPDIR/secret" secret ./secret 'json:{"driver":"file","filename":"secret"}' nbd:unix:/x nbd://127.0.0.1/x \
	http://127.0.0.1/x fat:rw:/ ssh://x/y; do
	cp base backed
	qemu-img rebase -u -f qcow2 -F raw -b "$to" backed
	refused 5 "'backed' has a backing file, '.*': an image must stand alone" backed
	refused 5 "has a backing file" backed --format qcow2
done
qemu-img create -q -f qcow2 -o data_file=data external 1M
refused 5 "external data file" external
# what has only the bit: `"backing": null` and `"data-file": null` would not stop QEMU
cp base bit
printf '\004' | dd of=bit bs=1 seek=79 conv=notrunc status=none
refused 5 "external data file" bit
printf '\010' | dd of=bit bs=1 seek=79 conv=notrunc status=none
refused 2 "compression_type" bit
printf '\100' | dd of=bit bs=1 seek=79 conv=notrunc status=none
refused 5 "incompatible qcow2 features unknown" bit
qemu-img create -q -f qcow2 --object secret,id=s,data=x -o encrypt.format=aes,encrypt.key-secret=s secretive 1M 2>/dev/null ||
	say "(this qemu-img does not encrypt)"
[ ! -e secretive ] || refused 5 "is encrypted" secretive

say "headers that would cost memory or time"
began=$(now_ms)
cp base bomb
printf '\177\377\377\377' | dd of=bomb bs=1 seek=36 conv=notrunc status=none # l1_size
refused 2 "l1_size" bomb
cp base bomb
printf '\100\0\0\0\0\0\0\0' | dd of=bomb bs=1 seek=24 conv=notrunc status=none # size: 2^62
refused 2 "size is 4611686018427387904" bomb
cp base bomb
printf '\0\0\0\077' | dd of=bomb bs=1 seek=20 conv=notrunc status=none # cluster_bits
refused 2 "cluster_bits" bomb
head -c 60 base >cutoff
refused 2 "beyond the end" cutoff
check_time "all of them" 5000 "$began"

say "half a file, as an interrupted copy leaves it"
qemu-img create -q -f qcow2 half 4M
qemu-io -f qcow2 -c 'write -q -P 5 0 2M' half
cp half whole
truncate -s 1M half
refused 2 "'.*/half' is damaged or cut off: qcow2: the L2 entry of the guest's offset [0-9]+ names a place beyond the end" half
roost image import half --name half --sha256 "$(sha256sum <half | cut -c 1-64)" # as it was meant to be
roost image import whole
roost image rm half
roost image rm whole
rm half whole

say "other formats, some with extents in other files"
for format in vmdk vdi vhdx vpc qed parallels; do
	qemu-img create -q -f $format "x.$format" 1M
	refused 5 "only qcow2 and raw images are taken" "x.$format"
done
qemu-img convert -O raw "$GUESTS/pico.raw" plain.raw
for format in vmdk vdi vhdx vpc; do
	qemu-img convert -O $format plain.raw "y.$format"
	refused 5 "roost image import --convert y.$format. takes it into the store" "y.$format"
	check_json "$format converted" '.format == "qcow2"' "$(roost image import "y.$format" --convert --json --name "from-$format")"
	qemu-img convert -O raw "$images/from-$format/disk.qcow2" back.raw
	cmp -n "$(stat -c %s plain.raw)" plain.raw back.raw
	check_eq "$format: nothing else is there" "disk.qcow2 image.json" "$(find "$images/from-$format" -type f -printf '%f\n' | sort | xargs)"
done
refused 5 "is no VMDK, VHD, VHDX or VDI image" base --convert --name odd
refused 2 "do not go with it" x.vdi --convert --format raw
# a VMDK that names other files as its extents
cp x.vmdk nothing.vmdk
printf '\0\0\0\0\0\0\0\0' | dd of=nothing.vmdk bs=1 seek=12 conv=notrunc status=none
refused 5 "keeps all in one file" nothing.vmdk --convert
head -c 3000 y.vhdx >broken.vhdx
refused 6 "'broken.vhdx' cannot be converted" broken.vhdx --convert
# a disk that was never meant for here: told before anything is copied
if [ "$(($(stat -f -c '%b * %S' "$images")))" -lt $((3 << 40)) ]; then
	qemu-img create -q -f vmdk huge.vmdk 60T
	began=$(now_ms)
	refused 5 "'huge.vmdk' is a disk of 60 TiB, more than 16 times what the store's file system has in all" huge.vmdk --convert
	check_time "at once" 2000 "$began"
	rm huge.vmdk
fi
printf '# Disk DescriptorFile\nversion=1\nRW 2048 FLAT "secret" 0\n' >flat.vmdk
refused 5 "VMDK descriptor" flat.vmdk
refused 5 "keeps all in one file" flat.vmdk --convert
check_json "raw takes any content, as raw for ever" '.format == "raw"' "$(roost image import backed --name as-raw --format raw --json)"
printf 'name: raw\nmemory: 32M\ninterfaces: []\ndisks: [{image: as-raw}]\n' >raw.yaml
roost define raw.yaml
roost start --paused raw
check_json "to QEMU too" '[.[] | select(."node-name" == "vda-1")] | .[0].drv == "raw"' "$(roost qmp raw query-named-block-nodes)"
check_no_match "QEMU's files" secret "$(find "/proc/$(of_status raw qemu_pid)/fd" -printf '%l\n')"
roost destroy raw
roost undefine raw --remove-all-storage

say "a guest on an image of the store"
# a file of that name beside the definition is not meant
cp base pico
printf 'name: one\nmemory: 32M\ninterfaces: []\ndisks: [{image: pico}]\n' >one.yaml
roost define one.yaml
check_json "its lineage" ".disks[0].lineage | length == 1 and .[0].path == \"$images/pico/disk.raw\" and
	.[0].format == \"raw\" and .[0].digest == \"sha256:$(sha256sum <pico.raw | cut -c 1-64)\"" "$(roost dominfo --json one)"
roost start one
wait_until 20 console_has one PICO-UP
check_status 5 roost image rm pico
check_match "in use" "image 'pico' is in use: guest 'one' stands on it" "$out"
qemu-img create -q -f qcow2 -F raw -b "$images/judged/disk.raw" plugged.qcow2
roost attach-disk one plugged.qcow2 --format qcow2
check_status 5 roost image rm judged
check_match "by what is plugged into it" "image 'judged' is in use: guest 'one' stands on it" "$out"
check_eq "tree" "judged
+- guest one (vdb)" "$(roost image tree judged)"
roost destroy one
check_status 5 roost image rm pico
check_eq "tree" "pico
+- guest one (vda)" "$(roost image tree pico)"
check_json "tree as JSON" 'map(select(.name == "pico")) | .[0].children == [{kind: "guest", name: "one", through: "vda"}]' \
	"$(roost image tree --json)"
roost dumpyaml one | roost define -
roost start --paused one
roost destroy one
kept=$(roost undefine one | sed -n 's/^kept: //p')
check_status 5 roost image rm pico
check_match "by a disk that was kept" "disk '$kept' stands on it" "$out"
rm "$kept"
roost image rm pico
check_no_match "it is gone" "^pico| pico( |$)" "$(in_store)"
check_status 3 roost image rm pico
rm pico
check_status 3 roost define one.yaml
check_match "no such image" "there is no image 'pico' in the store, nor a file" "$out"
check_status 3 roost run pico
check_match "nor to run" "there is no file 'pico', nor an image of that name" "$out"
check_status 3 roost run debian-12 --memory 1G
check_match "one that is known" "roost image pull debian-12. fetches it" "$out"

say "a disk that a guest writes to"
pico writes
roost start --paused writes
refused 4 "writes.raw' is in use by guest 'writes', which writes to it" writes.raw
roost destroy writes
roost undefine writes

say "tags"
roost image import pico.raw
roost image tag pico stable
check_json "it has it" '.[] | select(.name == "pico").tags == ["stable"]' "$(roost image list --json)"
roost image tag judged stable
check_json "it moves" 'map({(.name): .tags}) | add | .pico == [] and .judged == ["stable"]' "$(roost image list --json)"
check_status 5 roost image tag judged pico
check_match "the name of another" "'pico' is the name of an image" "$out"
check_status 2 roost image tag judged a/b
check_status 3 roost image tag judged none --remove
check_status 3 roost image tag none some
check_match "verify may name it" "^stable: ok" "$(roost image verify stable)"
check_eq "tree, too" judged "$(roost image tree stable)"
check_eq "and info" "$images/judged/disk.raw" "$(roost image info stable --json | jq -r .filename)"
check_status 5 roost image rm stable
check_match "rm does not, but tells" "'stable' is a tag of image 'judged'" "$out"
sed 's/image: pico/image: stable/' one.yaml >tagged.yaml
roost define tagged.yaml
check_json "a definition may name it" ".disks[0].image == \"$images/judged/disk.raw\"" "$(roost dominfo --json one)"
roost undefine one --remove-all-storage
roost image tag judged stable --remove
check_json "no longer" 'map(.tags) | add == []' "$(roost image list --json)"

say "a disk that no record tells"
unknown="whether it stands on image 'under' is not known"
roost image import base --name under
printf 'name: out\nmemory: 32M\ninterfaces: []\ndisks: [{image: under}]\n' >out.yaml
roost define out.yaml
qemu-io -f qcow2 -c 'write -q -P 7 64k 64k' "$ROOST_STATE/guests/out/disk0.qcow2"
roost snapshot-create-as out s
sed 's/disks: .*/disks: []/' out.yaml | roost define -
check_status 5 roost image rm under
check_match "taken out of its definition, while its snapshot stays" "disk '$ROOST_STATE/guests/out/disk0.qcow2' stands on it" "$out"
check_eq "tree" "under
+- disk $ROOST_STATE/guests/out/disk0.qcow2" "$(roost image tree under)"
roost define out.yaml
check_eq "a layer of a snapshot says nothing of its own" "under
+- guest out (vda)" "$(roost image tree under)"
roost clone out copy
roost undefine out --snapshots-metadata --remove-all-storage
kept=$(roost undefine copy | sed -n 's/^kept: //p')
check_status 5 roost image rm under
check_match "kept, and on it through a base alone" "image 'under' is in use: base '" "$out"
check_match "tree" "[+]- disk $kept" "$(roost image tree under)"
check_no_match "nor does gc take its base" bases "$(roost image gc)"

say "who cannot be read may stand on it"
cp "$kept" whole
head -c 60 whole >"$kept"
check_status 5 roost image rm under
check_match "a header" "disk '$kept' is broken: $unknown: .*beyond the end" "$out"
check_no_match "nor does gc" bases "$(roost image gc)"
rm "$kept"
ended=$ROOST_RUN/g/000000000000
mkdir -p "$ended"
echo '{' >"$ended/guest.json"
check_status 5 roost image rm under
check_match "the record of a running guest" "running guest '000000000000' is broken: $unknown" "$out"
rm -r "$ended"
mkdir "$ROOST_STATE/guests/hollow"
check_status 5 roost image rm under
check_match "a guest without a record" "guest 'hollow' is broken: $unknown: cannot read 'guest.json'" "$out"
rmdir "$ROOST_STATE/guests/hollow"
ln -s /nowhere "$ROOST_STATE/kept/elsewhere"
check_status 5 roost image rm under
check_match "a folder" "disk '$ROOST_STATE/kept/elsewhere' is broken: $unknown: cannot open the folder" "$out"
rm "$ROOST_STATE/kept/elsewhere"
check_match "gc takes the base now" "removed: .*/bases/" "$(roost image gc)"
roost image rm under

say "run by name"
out=$(roost run judged --memory 32M --for running --quiet 2>/dev/null)
check_match "ready" '^judged is ready' "$out"
check_eq "it runs" running "$(state judged)"
roost destroy judged

say "changed behind our back"
check_match "verify" '^judged: ok$' "$(roost image verify judged)"
cp "$images/judged/disk.raw" copy
mv -f copy "$images/judged/disk.raw"
check_status 5 roost start judged
check_match "another file" "judged/disk.raw' has changed since it was recorded: it is another file" "$out"
check_match "what to do" "roost image verify" "$out"
roost image verify judged
roost start --paused judged
roost destroy judged
chmod 600 "$images/judged/disk.raw"
printf X | dd of="$images/judged/disk.raw" bs=1 seek=4096 conv=notrunc status=none
check_status 5 roost start judged
check_status 5 roost image verify
check_match "its digest" "image 'judged': its digest is sha256:[0-9a-f]+, not" "$out"
check_match "the others are told all the same" "^pico: ok" "$out"
check_json "as JSON" 'map({(.name): .ok}) | add | .pico and (.judged | not)' "$(roost image verify --json || :)"
rm -f "$images/judged/disk.raw"
check_status 3 roost start judged
check_match "missing" "judged/disk.raw', which it stands on, is missing" "$out"
check_match "list says so" '^ judged +broken' "$(roost image list)"
check_json "and why" 'map({(.name): .broken}) | add | .pico == null and (.judged | test("disk.raw. is missing"))' "$(roost image list --json)"
echo '{}' >"$images/pico/image.json"
check_match "a broken record is listed" '^ pico +broken' "$(roost image list)"
check_status 5 roost image verify pico
check_match "and told" "image 'pico' is broken: its record" "$out"
roost image rm pico

say "two of one name at once"
truncate -s 1G sparse.raw
qemu-img create -q -f qcow2 -o preallocation=full big.qcow2 64M
roost image import big.qcow2 --name twice >first 2>&1 &
first=$!
# or is in already, where we were slow to look
enters() {
	[ -e "$images/.new-twice/lock" ] || [ -e "$images/twice" ]
}
wait_until 10 enters
second=0
roost image import pico.raw --name twice >second 2>&1 || second=$?
wait $first
[ $second -eq 4 ] || [ $second -eq 5 ] || fail "the second import ended with $second: $(cat second)"
[ $second -eq 5 ] || check_match "it hears so" "'twice' is just being entered by another process" "$(cat second)"
check_json "the first is there, whole" '.[0].ok' "$(roost image verify twice --json)"
roost image import sparse.raw
[ "$(stat -c %b "$images/sparse/disk.raw")" -lt 100 ] || fail "holes were filled"

say "cancelled, with a bar at a terminal"
truncate -s 16G long.raw # it takes so long that it is at work however late we are
before=$(in_store)
# terminal SIGNAL COMMAND...: in one of its own; it is stopped for a second, for what is fast has no bar, and then gets SIGNAL
cat >terminal.py <<'END'
import os, pty, signal, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
out = b""
while b"%" not in out:
    if not out:
        time.sleep(0.1)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.1)
        os.kill(pid, signal.SIGCONT)
        out = b" "
    out += os.read(fd, 4096)
if sys.argv[1] == "^C":
    os.write(fd, b"\x03")
try:
    while more := os.read(fd, 4096):
        out += more
except OSError:
    pass
sys.stdout.write(out.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
check_status 9 python3 terminal.py ^C roost image import long.raw
check_match "the bar" "checking .*[[#> ]+[]] +[0-9]+ %  [0-9.]+ .*iB of 16 GiB" "$out"
check_match "it says so" "roost: .*cancelled by .C" "$out"
check_eq "nothing is left" "$before" "$(in_store)"
roost image import long.raw &
import=$!
wait_until 10 test -e "$images/.new-long/lock"
kill -TERM $import
status=0
wait $import || status=$?
check_eq "by a signal" 9 $status
check_eq "nothing is left, either" "$before" "$(in_store)"

say "killed at every step"
failing=$TOP/build/fail/bin
if [ -x "$failing/roost" ]; then
	mkdir -p "$ROOST_RUN"
	for step in copy flush record named recorded entered; do
		echo "image-$step" >"$ROOST_RUN/fail"
		check_status 137 "$failing/roost" image import big.qcow2 --name killed
		[ ! -s "$ROOST_RUN/fail" ] || fail "it never came to $step"
		if [ $step = entered ]; then
			check_match "$step: it is there, whole" '^killed: ok' "$(roost image verify killed)"
		else
			check_status 3 roost image verify killed
			# another one takes its place, or gc removes it
			[ $step != named ] || { roost image import pico.raw --name killed && roost image rm killed; }
		fi
		roost image gc
		check_no_match "$step: left over" '[.](new|old)-' "$(in_store)"
	done
	echo image-flush >"$ROOST_RUN/fail"
	check_status 137 "$failing/roost" image import big.qcow2 --name dead
	check_match "left" "[.]new-dead" "$(in_store)"
	roost image import pico.raw --name next
	check_no_match "the next one takes away what is left" '[.](new|old)-' "$(in_store)"
	roost image rm next
	echo image-hidden >"$ROOST_RUN/fail"
	check_status 137 "$failing/roost" image rm killed
	check_status 3 roost image verify killed
	check_match "gc" 'removed: [.]old-killed' "$(roost image gc)"
	check_no_match "left over" '[.](new|old)-' "$(in_store)"
	rm -f "$ROOST_RUN/fail"

	say "removed while a guest on it is just being made"
	roost image import pico.raw --name held
	qemu-img create -q -f qcow2 -F raw -b "$images/held/disk.raw" over.qcow2
	# shellcheck disable=SC2046 # several pids
	[ -z "$(roostd_pids)" ] || kill_and_wait TERM $(roostd_pids)
	for disk in 'image: held' 'path: over.qcow2, format: qcow2'; do
		printf 'name: made\ninterfaces: []\ndisks: [{%s}]\n' "$disk" >made.yaml
		hold_at define-filled
		"$failing/roost" define made.yaml &
		defining=$!
		wait_until 20 held_at
		check_status 4 roost image rm held
		check_match "$disk" "image 'held' is in use: something that stands on it is just being made" "$out"
		roost image gc
		kill -CONT "$held"
		held=
		wait $defining
		check_status 5 roost image rm held
		check_match "$disk" "guest 'made' stands on it" "$out"
		roost undefine made
		[ "$disk" != 'image: held' ] || rm "$ROOST_STATE"/kept/*/*
	done
	roost image rm held
	check_status 3 roost define made.yaml
	check_match "its base has gone" "held/disk.raw" "$out"
else
	say "(not tried: there is no build/fail)"
fi
roost undefine judged --remove-all-storage
