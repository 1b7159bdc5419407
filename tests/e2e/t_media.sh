#!/bin/sh
# The CD-ROM drive of a running guest: what is in it, as the guest reads it; a tray that the guest holds; another keeper;
# the next start; and a guest that is saved with another medium than it was started with.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
need tiny-vmlinux tiny-initrd

for name in one two; do
	{
		printf 'this is %s' $name
		head -c 2M /dev/zero
	} | head -c 2M >"$TMPDIR/$name.iso"
done
cat >"$TMPDIR/tiny.yaml" <<-END
	name: tiny
	memory: 192M
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: console=ttyS0 no_timer_check quiet
	cdrom: none
	disks:
	  - size: 16M
	interfaces:
	  - user: {restrict: true, hostfwd: ["-22"]}
	cloud_init: {user: root}
END
guest() {
	roost ssh root@tiny "$@" </dev/null
}
# reads TEXT: what is in the drive begins so, as the guest reads it anew
reads() {
	[ "$(guest "dd if=/dev/sr0 bs=2048 count=1 iflag=direct 2>/dev/null | head -c ${#1}")" = "$1" ]
}
reads_nothing() {
	! guest "dd if=/dev/sr0 bs=2048 count=1 of=/dev/null 2>/dev/null"
}
source_of() {
	roost domblklist tiny --json | jq -r '.[] | select(.target == "sda") | .source // "none"'
}
# facts: what QEMU holds of media
facts() {
	facts_sets=$(roost qmp tiny query-fdsets | jq -c '[.[].fds[].opaque // "" | select(startswith("sda-"))] | sort')
	echo "$facts_sets $(roost qmp tiny query-named-block-nodes | jq -c '[.[]."node-name" | select(startswith("sda"))] | sort')"
}
# let_go FILE: no process has it open
let_go() {
	[ -z "$(find /proc/[0-9]*/fd -lname "$1" 2>/dev/null)" ]
}

say "at the next start, of a guest that does not run"
roost define "$TMPDIR/tiny.yaml"
check_json "an empty drive is defined" '.disks[] | select(.cdrom) | has("path") | not' "$(roost dominfo --json tiny)"
check_match "domblklist" "^ sda +-$" "$(roost domblklist tiny)"
check_status 5 roost change-media tiny sda --eject
check_match "it has none" "no medium" "$out"
check_status 5 roost change-media tiny vda "$TMPDIR/one.iso"
check_match "not a drive" "no CD-ROM" "$out"
check_status 3 roost change-media tiny sdx "$TMPDIR/one.iso"
check_status 5 roost change-media tiny sda "$TMPDIR/one.iso" --live
check_match "it does not run" "not running" "$out"
check_eq "insert" "Successfully inserted media." "$(roost change-media tiny sda "$TMPDIR/one.iso" --insert)"
check_eq "it is there" "$TMPDIR/one.iso" "$(source_of)"
check_status 5 roost change-media tiny sda "$TMPDIR/two.iso" --insert
check_match "it has one" "already" "$out"
check_eq "eject" "Successfully ejected media." "$(roost change-media tiny sda --eject)"
check_eq "it is gone" none "$(source_of)"

roost start tiny 2>/dev/null
roost wait -q tiny --for login --timeout 200s
guest "modprobe -q sr_mod"
wait_until 30 guest "[ -b /dev/sr0 ]"
nothing=$(facts)
check_eq "QEMU has nothing for an empty drive" '[] []' "$nothing"

say "refused"
check_status 2 roost change-media tiny sda --eject --insert "$TMPDIR/one.iso"
check_status 2 roost change-media tiny sda "$TMPDIR/one.iso" --eject
check_status 2 roost change-media tiny sda --insert
check_status 3 roost change-media tiny sda "$TMPDIR/none.iso"
check_status 5 roost change-media tiny sda --eject
check_status 5 roost change-media tiny vda --eject
check_status 3 roost change-media tiny sdx --eject
check_status 3 roost change-media nobody-there sda --eject
check_eq "nothing was done" "$nothing" "$(facts)"
reads_nothing || fail "there is something in an empty drive"

say "in, another, out"
roost change-media tiny sda "$TMPDIR/one.iso" --insert
wait_until 10 reads "this is one"
check_eq "what is in it" "$TMPDIR/one.iso" "$(source_of)"
check_status 5 roost change-media tiny sda "$TMPDIR/two.iso" --insert
check_match "what to do" "--update" "$out"
check_eq "update" "Successfully updated media." "$(roost change-media tiny sda "$TMPDIR/two.iso")"
wait_until 10 reads "this is two"
wait_until 2 let_go "$TMPDIR/one.iso"
check_eq "no more than one" '["sda-medium1-file"] ["sda-medium1","sda-medium1-file"]' "$(facts)"
check_json "--json" '.medium | endswith("one.iso")' "$(roost change-media --json tiny sda "$TMPDIR/one.iso" --update)"
wait_until 10 reads "this is one"

say "another keeper"
kill_and_wait KILL "$(of_status tiny keeper_pid)"
check_eq "it knows what is in it" "$TMPDIR/one.iso" "$(source_of)"
roost change-media tiny sda --eject
wait_until 10 reads_nothing
check_eq "none" none "$(source_of)"
wait_until 2 let_go "$TMPDIR/one.iso"
check_eq "nothing is left" "$nothing" "$(facts)"
roost change-media tiny sda
check_eq "update of an empty drive to none" "$nothing" "$(facts)"
check_status 3 roost detach-disk tiny sdq
check_status 5 roost detach-disk tiny sda

say "a tray that the guest holds"
roost change-media tiny sda "$TMPDIR/two.iso"
wait_until 10 reads "this is two"
guest "(exec 3</dev/sr0; sleep 1000) >/dev/null 2>&1 &"
locked() {
	roost qmp tiny query-block | jq -e '.[] | select(.qdev == "disk-sda").locked'
}
wait_until 10 locked
check_status 6 roost change-media tiny sda "$TMPDIR/one.iso"
check_match "who holds it" "tray of 'sda' locked" "$out"
check_match "what to do" "--force" "$out"
check_eq "as it was" "$TMPDIR/two.iso" "$(source_of)"
reads "this is two" || fail "the old medium does not read"
wait_until 2 let_go "$TMPDIR/one.iso"
roost change-media tiny sda "$TMPDIR/one.iso" --force
check_eq "forced" "$TMPDIR/one.iso" "$(source_of)"
guest killall sleep
wait_until 20 reads "this is one"

say "now and at the next start"
roost change-media tiny sda "$TMPDIR/two.iso" --live --config
wait_until 10 reads "this is two"
check_json "the definition" '.disks[] | select(.cdrom) | .path | endswith("two.iso")' "$(roost dominfo --json tiny)"
roost change-media tiny sda --eject --config
check_eq "the guest still has it" "$TMPDIR/two.iso" "$(source_of)"
reads "this is two" || fail "--config took it out"

say "saved with it"
roost save tiny "$TMPDIR/tiny.save"
check_eq "at its next start it has none" none "$(source_of)"
roost restore "$TMPDIR/tiny.save"
check_eq "it goes on with it" "$TMPDIR/two.iso" "$(source_of)"
wait_until 20 reads "this is two"
roost change-media tiny sda "$TMPDIR/one.iso"
wait_until 10 reads "this is one"
roost change-media tiny sda --eject
wait_until 10 reads_nothing
roost destroy tiny
check_eq "at its next start" none "$(source_of)"
