#!/bin/sh
# limit: 500
# Snapshots of a Linux guest with UEFI: quiesced, its file system is clean inside the snapshot; its variables are part of
# each snapshot, and with RAM it runs on from just there, with the disk and the variables of that instant.
. "$TOP/tests/e2e/lib.sh"
with_failpoints
need tiny.qcow2
command -v debugfs >/dev/null || lacking debugfs
roost validate --json | jq -e '.[] | select(.name == "uefi" and .result == "PASS")' >/dev/null || lacking "UEFI firmware"

folder=$ROOST_STATE/guests/t
cp "$GUESTS/tiny.qcow2" "$TMPDIR/base.qcow2"
cat >"$TMPDIR/t.yaml" <<END
name: t
memory: 512M
firmware: uefi
accel: tcg
disks:
  - image: $TMPDIR/base.qcow2
interfaces:
  - user: {restrict: true, hostfwd: ["-22"]}
cloud_init: {user: root}
END
guest() {
	roost ssh root@t "$@" </dev/null
}
# a new one each time: the kernel guards them against being overwritten
set_variable() {
	guest "printf '\007\0\0\0$1' >/sys/firmware/efi/efivars/$1-12345678-9abc-def0-1234-56789abcdef0"
}
variables() {
	guest "cd /sys/firmware/efi/efivars && cat *-12345678-9abc-def0-1234-56789abcdef0" | tr -d '\007\0'
}
# kept DISK SNAPSHOT: as a raw file, $raw
kept() {
	raw=$TMPDIR/$1.raw
	kept_layer=$(record | jq -r --arg disk "$1" --arg name "$2" '.snapshots[] | select(.name == $name) | .disks[$disk]')
	case $1:$kept_layer in vda:) kept_layer=disk0.qcow2 ;; vars:) kept_layer=vars.qcow2 ;; esac
	qemu-img convert -U -f qcow2 -O raw "$folder/$kept_layer" "$raw"
}
# root SNAPSHOT: its root file system, $root, as debugfs and dumpe2fs take it
root() {
	kept vda "$1"
	root="$raw?offset=$(sfdisk -J "$raw" | jq '[.partitiontable.partitions[] | .start] | last * 512')"
}
needs_recovery() {
	dumpe2fs -h "$root" 2>/dev/null | grep -q needs_recovery
}
thawed() {
	[ "$(roost agent t '{"execute":"guest-fsfreeze-status"}' --json)" = '"thawed"' ]
}

roost define "$TMPDIR/t.yaml"
roost start t
roost wait -q t --for login --timeout 300s
guest "modprobe efivarfs; mount -t efivarfs none /sys/firmware/efi/efivars"
set_variable one

say "quiesced: clean inside, and all of it there"
wait_until 30 thawed
guest "head -c 300000 /dev/urandom >/root/rough"
roost snapshot-create-as t rough --disk-only
root rough
needs_recovery || fail "one that is not quiesced is clean: this test proves nothing"
sum=$(guest "head -c 300000 /dev/urandom >/root/calm; sha256sum </root/calm")
roost snapshot-create-as t calm --disk-only --quiesce
thawed || fail "it is still frozen"
root calm
! needs_recovery || fail "its journal was not written back"
check_eq "what it had just written" "$sum" "$(debugfs -R "cat /root/calm" "$root" 2>/dev/null | sha256sum)"
dd if="$raw" of="$TMPDIR/root" bs=512 skip=$((${root##*=} / 512)) conv=sparse status=none
e2fsck -fn "$TMPDIR/root" >/dev/null 2>&1 || fail "its file system is not clean"
guest "echo goes-on >/root/after && sync"

say "its agent is stopped dead: refused in time"
guest killall -STOP qemu-ga
since=$(now_ms)
check_status 8 roost snapshot-create-as t hung --disk-only --quiesce
check_time "the refusal" 9000 "$since"
check_match "why" "agent did not answer in time" "$out"
nothing_left_over
guest killall -CONT qemu-ga
wait_until 30 thawed

say "whose keeper dies while it is frozen: it is thawed"
die_at snapshot-before-transaction
keeper=$(of_status t keeper_pid)
roost snapshot-create-as t never --disk-only --quiesce >/dev/null 2>&1 || :
has_died snapshot-before-transaction
is_back() {
	[ "$(of_status t keeper_pid)" != "$keeper" ] && [ ! -e "$folder/journal" ] && thawed
}
wait_until 30 is_back
check_status 3 roost snapshot-info t never
nothing_left_over
guest "echo goes-on >/root/after && sync"

say "with its RAM, and its variables"
guest "echo in-ram >/run/here; echo first >/root/state" # not flushed
up=$(guest cut -d . -f 1 /proc/uptime)
roost snapshot-create-as t ram
set_variable two
guest "rm /run/here; echo second >/root/state; sync"
roost snapshot-revert t ram --force
check_eq "its RAM" in-ram "$(guest cat /run/here)"
check_eq "its disk" first "$(guest cat /root/state)"
check_eq "its variables" one "$(guest 'umount /sys/firmware/efi/efivars; mount -t efivarfs none /sys/firmware/efi/efivars' && variables)"
now=$(guest cut -d . -f 1 /proc/uptime)
if [ "$now" -lt "$up" ] || [ "$now" -gt $((up + 30 * E2E_PATIENCE)) ]; then
	fail "its uptime went from $up to $now"
fi
set_variable six

say "given up while it runs; the variables' layers, too"
for name in rough calm ram; do
	roost snapshot-delete t $name
done
check_eq "none is left" 0 "$(record | jq '.layers | length')"
nothing_left_over
check_eq "its variables" onesix "$(variables)"
set_variable ten
roost snapshot-create-as t last --disk-only
set_variable off
kept vars last
roost snapshot-revert t last --force
all_clean
kept vars last
qemu-img convert -f qcow2 -O raw "$folder/$(record | jq -r .tops.vars)" "$TMPDIR/top.raw"
cmp "$raw" "$TMPDIR/top.raw"
roost start t
roost wait -q t --for login --timeout 300s
guest "modprobe efivarfs; mount -t efivarfs none /sys/firmware/efi/efivars"
check_eq "its variables" onesixten "$(variables)"
roost destroy t
