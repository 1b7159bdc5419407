#!/bin/sh
# user: root
# The host's disk is full: under a guest, which pauses, says which disk, and goes on by itself when there is space;
# under its console, which harms nobody; and under a record, of which the old one stays.
[ -n "${IN_MOUNTS-}" ] || IN_MOUNTS=1 exec unshare --mount sh "$0"
. "$TOP/tests/e2e/lib.sh"
need filler.raw

# is_told NAME TEXT: by all who tell a state
is_told() {
	[ "$(roost domstate --reason "$1")" = "$2" ]
}
written() {
	stat -c %b "$1"
}
grows() {
	[ "$(written "$1")" -gt "$2" ]
}

# filler NAME FORMAT FILE
filler() {
	cat >"$TMPDIR/$1.yaml" <<-END
		name: $1
		memory: 32M
		disks:
		  - path: $3
		    format: $2
		interfaces: []
	END
	roost define "$TMPDIR/$1.yaml"
	roost start "$1"
	wait_until 20 console_has "$1" PICO-UP
	printf f >"$ROOST_STATE/guests/$1/console.in"
}

small=$TMPDIR/small
mkdir "$small"
for format in raw qcow2; do
	say "a guest on $format"
	mount -t tmpfs -o size=8m,mode=755 none "$small"
	head -c 4M /dev/zero >"$small/ballast"
	if [ $format = raw ]; then
		disk=$small/disk.raw
		cp --sparse=always "$GUESTS/filler.raw" "$disk"
	else
		disk=$small/disk.qcow2
		cp --sparse=always "$GUESTS/filler.raw" "$TMPDIR/base.raw"
		qemu-img create -q -f qcow2 -b "$TMPDIR/base.raw" -F raw "$disk"
	fi
	filler $format $format "$disk"
	wait_until 30 is_told $format "io-error (vda: no space)"
	check_match "list" "^ [0-9]+ +$format +io-error \(vda: no space\)\$" "$(roost list)"
	check_json "list --json" '.[] | .state == "io-error" and .reason == "vda: no space"' "$(roost list --json)"
	check_json "what QEMU says" '.status == "io-error"' "$(roost qmp $format query-status)"
	# it stays so, and says so, as long as there is no space
	sleep 2.5
	is_told $format "io-error (vda: no space)" || fail "after a while: $(roost domstate --reason $format)"
	before=$(written "$disk")
	freed=$(now_ms)
	rm "$small/ballast"
	wait_until 5 grows "$disk" "$before"
	check_time "resumed after there was space" 4000 "$freed"
	say "and full once more"
	wait_until 30 is_told $format "io-error (vda: no space)"
	# who suspends it himself, wants it to stay so when there is space
	roost suspend $format
	mount -o remount,size=200m "$small"
	sleep 2.5
	check_json "what QEMU says of a guest that was suspended" '.running | not' "$(roost qmp $format query-status)"
	roost resume $format
	wait_until 10 is_state $format running
	lines=$(console_log $format | wc -l)
	more() {
		[ "$(console_log "$format" | wc -l)" -gt "$lines" ]
	}
	wait_until 20 more
	check_no_match "the guest saw no error" 'fill=.*err|ERR|error' "$(console_log $format | tr -d '\0')"
	printf s >"$ROOST_STATE/guests/$format/console.in"
	roost destroy --graceful $format
	[ $format = raw ] || qemu-img check -q -f qcow2 "$disk" || fail "qemu-img check finds errors"
	# its keeper, which looked how full it is, may still be ending
	wait_until 10 umount "$small"
done

say "the disk is named as the guest's, not counted"
mount -t tmpfs -o size=8m,mode=755 none "$small"
cp --sparse=always "$GUESTS/filler.raw" "$small/disk.raw"
cat >"$TMPDIR/two.yaml" <<-END
	name: two
	memory: 32M
	disks:
	  - path: $small/disk.raw
	    format: raw
	    target: vdb
	interfaces: []
END
roost define "$TMPDIR/two.yaml"
roost start two
wait_until 20 console_has two PICO-UP
printf f >"$ROOST_STATE/guests/two/console.in"
wait_until 30 is_told two "io-error (vdb: no space)"
roost reset two
check_match "after a reset" '^(running|paused|io-error)' "$(state two)"
roost destroy two
check_eq "after its end" "shut off (destroyed)" "$(roost domstate --reason two)"
wait_until 10 umount "$small"

say "a disk with a snapshot is still the guest's disk"
mount -t tmpfs -o size=8m,mode=711 none "$ROOST_STATE/guests"
cp --sparse=always "$GUESTS/filler.raw" "$TMPDIR/layered.raw"
cat >"$TMPDIR/layered.yaml" <<-END
	name: layered
	memory: 32M
	disks:
	  - path: $TMPDIR/layered.raw
	    format: raw
	interfaces: []
END
roost define "$TMPDIR/layered.yaml"
roost start layered
wait_until 20 console_has layered PICO-UP
roost snapshot-create-as layered before --disk-only
head -c 4M /dev/zero >"$ROOST_STATE/guests/ballast"
printf f >"$ROOST_STATE/guests/layered/console.in"
wait_until 30 is_told layered "io-error (vda: no space)"
layer=$(find "$ROOST_STATE/guests/layered" -name '*.qcow2')
before=$(written "$layer")
rm "$ROOST_STATE/guests/ballast"
wait_until 5 grows "$layer" "$before"
roost destroy layered
wait_until 10 umount "$ROOST_STATE/guests"

say "the state's file system is full"
mkdir "$TMPDIR/state"
mount -t tmpfs -o size=2m,mode=711 none "$TMPDIR/state"
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(roostd_pids)
export ROOST_STATE="$TMPDIR/state"
pico keep
pico talker
roost start talker
wait_until 20 console_has talker PICO-UP
record=$ROOST_STATE/guests/keep/guest.json
cp "$record" "$TMPDIR/before.json"
sed 's/32M/48M/' "$TMPDIR/keep.yaml" >"$TMPDIR/changed.yaml"
sed 's/^name: .*/name: new/' "$TMPDIR/keep.yaml" >"$TMPDIR/new.yaml"
head -c 8M /dev/zero >"$ROOST_STATE/ballast" 2>/dev/null || :
check_status 7 roost define "$TMPDIR/changed.yaml"
check_match "why" "No space left on device" "$out"
cmp "$record" "$TMPDIR/before.json" || fail "the record is not the old one"
check_status 7 roost define "$TMPDIR/new.yaml"
check_match "why" "No space left on device" "$out"
check_match "the old one is sound" '^ - +keep +shut off$' "$(roost list --all)"
check_eq "nothing half made" "keep talker" "$(find "$ROOST_STATE/guests" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | xargs)"
check_eq "no temporary file" "events.jsonl guest.json lock" "$(find "$ROOST_STATE/guests/keep" -mindepth 1 -printf '%f\n' | sort | xargs)"
# its console's words are lost; it starts and ends all the same
check_status 0 roost start keep
check_eq "one that starts" running "$(state keep)"
check_status 0 roost destroy keep
check_match "and ends" '^ - +keep +shut off$' "$(roost list --all)"
cmp "$record" "$TMPDIR/before.json" || fail "the record is not the old one"
# the talker's words are lost, but it goes on, is looked after, and can be ended
sleep 2.5
check_eq "the one that talks" running "$(state talker)"
roost suspend talker
check_eq "it obeys" paused "$(state talker)"
roost resume talker
rm "$ROOST_STATE/ballast"
lines=$(console_log talker | wc -l)
talks() {
	[ "$(console_log talker | wc -l)" -gt "$lines" ]
}
wait_until 10 talks
check_status 0 roost define "$TMPDIR/changed.yaml"
check_json "changed now" '.memory == 50331648' "$(roost dominfo --json keep)"
roost destroy talker
check_eq "and its end could be written" "shut off (destroyed)" "$(roost domstate --reason talker)"
