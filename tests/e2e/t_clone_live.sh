#!/bin/sh
# limit: 200
# clone of a guest that runs, or is paused: it goes on, the clone has its disks as they were at that instant.
. "$TOP/tests/e2e/lib.sh"
need pico.raw tiny-vmlinux tiny-initrd

guests=$ROOST_STATE/guests
qemu-img convert -q -f raw -O qcow2 "$GUESTS/pico.raw" "$TMPDIR/base.qcow2"
roost image import "$TMPDIR/base.qcow2" --name base >/dev/null
cat >"$TMPDIR/a.yaml" <<END
name: a
memory: 32M
disks: [{image: base}, {size: 1M}]
interfaces: []
END
roost define "$TMPDIR/a.yaml"
top() { # GUEST N TARGET
	layer=$(jq -r --arg target "$3" '.tops[$target] // empty' "$guests/$1/snapshots.json" 2>/dev/null) || layer=
	echo "$guests/$1/${layer:-disk$2.qcow2}"
}
content() { # GUEST: of its first disk
	qemu-img convert -U -O raw "$(top "$1" 0 vda)" "$TMPDIR/content"
	sha256sum <"$TMPDIR/content"
}
names() {
	roost list --all --name | sed '/^$/d' | sort | paste -s -d ' ' -
}
all_clean() {
	find "$guests" "$ROOST_STATE/bases" -name '*.qcow2' >"$TMPDIR/files"
	while read -r file; do
		qemu-img check -q -U "$file" || fail "$file is not clean"
	done <"$TMPDIR/files"
}

say "a guest that runs"
roost start a
wait_until 30 is_up a
booted=$(boots a)
saves a
was=$(content a)
check_eq "told" "Clone 'b' created successfully." "$(roost clone a b)"
ticks_go_on a
check_eq "not booted again" "$booted" "$(boots a)"
check_eq "it has what was there" "$was" "$(content b)"
check_eq "no snapshot is told" "" "$(roost snapshot-list a --name)"
roost reset a
again() { [ "$(boots a)" -gt "$booted" ]; }
wait_until 30 again
wait_until 30 is_up a
saves a
[ "$(content a)" != "$was" ] || fail "the original has not written"
check_eq "what is written since is not the clone's" "$was" "$(content b)"
roost start b # beside the original, on what that has open
wait_until 30 is_up b
saves b
ticks_go_on a b
all_clean

say "a guest that is paused"
roost suspend a
was=$(content a)
roost clone a c
check_eq "paused" paused "$(state a)"
check_eq "it has what was there" "$was" "$(content c)"
roost resume a
ticks_go_on a

say "nothing is done to it when there can be no clone"
had=$(ls "$guests/a")
check_status 5 roost clone a b
check_match "taken" "guest 'b' exists already" "$out"
check_status 2 roost clone a a/b
check_eq "no layer" "$had" "$(ls "$guests/a")"
check_eq "no guest" "a b c" "$(names)"

say "--full of one that runs"
saves a
was=$(content a)
roost clone --full a e
ticks_go_on a
check_eq "it has what was there" "$was" "$(content e)"
check_eq "it stands alone" null "$(qemu-img info --output=json "$guests/e/disk0.qcow2" | jq '."backing-filename"')"
roost undefine e --remove-all-storage

say "with snapshots, before and after"
roost snapshot-create-as a s1 --disk-only
roost clone a d
roost snapshot-create-as a s2 --disk-only
check_eq "its own" "s1 s2" "$(roost snapshot-list a --name | paste -s -d ' ' -)"
check_eq "none of the clone" "" "$(roost snapshot-list d --name)"
was=$(content d)
roost destroy a
roost snapshot-revert a s1
roost snapshot-delete a s1
roost snapshot-delete a s2
check_eq "the clone stays" "$was" "$(content d)"
check_eq "so does the original" "$was" "$(content a)"
all_clean
roost start a
wait_until 30 is_up a
roost destroy a
for guest in b c d; do
	! is_state $guest running || roost destroy $guest
	roost undefine $guest --remove-all-storage
done
check_eq "no base is left" "" "$(find "$ROOST_STATE/bases" -type f ! -name lock)"

say "a clone that goes while the original runs: what it stood on is the original's again once that has ended"
roost start a
wait_until 30 is_up a
roost clone a g
roost undefine g --remove-all-storage
roost destroy a
was=$(content a)
roost snapshot-create-as a s3
roost snapshot-delete a s3
check_eq "no base is left" "" "$(find "$ROOST_STATE/bases" -type f ! -name lock)"
check_eq "nor a layer" "{}" "$(jq -c .layers "$guests/a/snapshots.json")"
check_eq "nothing is lost" "$was" "$(content a)"
all_clean

say "its file systems are quiet meanwhile"
cat >"$TMPDIR/t.yaml" <<END
name: t
memory: 192M
kernel: $GUESTS/tiny-vmlinux
initrd: $GUESTS/tiny-initrd
cmdline: console=ttyS0 no_timer_check quiet
disks: [{size: 16M}]
interfaces: []
END
roost define "$TMPDIR/t.yaml"
roost start t
has_agent() { roost agent t '{"execute":"guest-ping"}'; }
wait_until 120 has_agent
roost clone t u
check_json "thawed" '. == "thawed"' "$(roost agent t '{"execute":"guest-fsfreeze-status"}' --json)"
roost destroy t

[ -r /usr/share/OVMF/OVMF_CODE_4M.fd ] && [ -x /usr/bin/swtpm ] || exit 0
say "UEFI variables, which have layers then, and the TPM's state"
cat >"$TMPDIR/e.yaml" <<END
name: e
memory: 64M
firmware: uefi
tpm: true
disks: [{size: 1M}]
interfaces: []
END
roost define "$TMPDIR/e.yaml"
roost start e --paused
roost clone e f
check_eq "one file again" null "$(qemu-img info --output=json "$guests/f/vars.qcow2" | jq '."backing-filename"')"
qemu-img compare -q -U "$guests/e/vars.qcow2" "$guests/f/vars.qcow2"
check_eq "the TPM's" "$(find "$guests/e/tpm" -name '*.permall' -exec sha256sum {} + | cut -c -64)" \
	"$(find "$guests/f/tpm" -name '*.permall' -exec sha256sum {} + | cut -c -64)"
roost start f --paused
roost destroy e
roost destroy f
roost clone e g
roost start g --paused
roost destroy g
