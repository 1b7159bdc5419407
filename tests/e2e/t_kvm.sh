#!/bin/sh
# limit: 180
# KVM is proven before it is used. Where it is not: asked for it is refused with the reason, and TCG, when it is taken
# instead, is said with the remedy. And the KVM path itself, on a KVM that may only just run a boot sector.
. "$TOP/tests/e2e/lib.sh"

# with NAME KEY...: that guest, with these keys
with() {
	with_name=$1
	shift
	[ -f "$TMPDIR/$with_name.yaml" ] || pico "$with_name"
	sed -i '/^accel/d' "$TMPDIR/$with_name.yaml"
	printf '%s\n' "$@" >>"$TMPDIR/$with_name.yaml"
	roost define "$TMPDIR/$with_name.yaml"
}
accel_of() {
	roost list --json | jq -r --arg name "$1" '.[] | select(.name == $name).accel'
}

with auto "accel: auto"
check_status 0 roost start auto
if [ "$(accel_of auto)" = kvm ]; then
	check_no_match "proven KVM" 'TCG|proven' "$out"
	proven=yes
else
	proven=
	check_match "TCG is told" '^roost: TCG, slower than KVM: .*/dev/kvm' "$out"
	check_match "with the remedy" '(usermod|nested|BIOS|modprobe|chgrp|kvm group|less busy)' "$out"
fi
check_match "list --wide" ' (kvm|tcg) ' "$(roost list --wide | grep ' auto ')"
roost destroy auto
with auto "accel: tcg"
check_status 0 roost start auto
check_no_match "asked for TCG, nothing to say" '^roost: ' "$out"
check_eq "accel: tcg" tcg "$(accel_of auto)"
roost destroy auto
[ -z "$proven" ] || skip "KVM is proven here: only its own path can be tried"

say "refused with the reason"
with kvm "accel: kvm"
before=$(find "$ROOST_RUN/g" | sort)
check_status 5 roost start kvm
check_match "the reason" "KVM is asked for but not proven: .*/dev/kvm" "$out"
check_match "the way out" "accel_fallback: tcg" "$out"
check_eq "its state" "shut off" "$(state kvm)"
as_before() {
	[ "$(find "$ROOST_RUN/g" | sort)" = "$before" ]
}
wait_until 2 as_before
check_eq "guests that run" "" "$(roost list --name)"

say "fallback: by the environment of who asks, not of who started roostd"
check_status 0 env ROOST_ACCEL_FALLBACK=tcg roost start kvm
check_match "the fallback is told" '^roost: TCG instead of KVM: .*/dev/kvm' "$out"
check_eq "fallback" tcg "$(accel_of kvm)"
roost destroy kvm
check_status 5 roost start kvm
check_status 2 env ROOST_ACCEL_FALLBACK=yes roost start kvm
with kvm "accel: kvm" "accel_fallback: tcg"
check_status 0 roost start kvm
check_match "the fallback is told" '^roost: TCG instead of KVM: .*/dev/kvm' "$out"
check_eq "fallback" tcg "$(accel_of kvm)"
check_match "QEMU's own words" ' -accel tcg' "$(tr '\0' ' ' <"/proc/$(of_status kvm qemu_pid)/cmdline")"
roost destroy kvm

say "KVM, unproven"
with kvm "accel: kvm" "accel_unproven: true"
if [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
	check_status 5 roost start kvm
	check_match "it cannot even be opened" "cannot open /dev/kvm" "$out"
	skip "$(id -un) cannot open /dev/kvm: all but the KVM path was tried"
fi
node=$(stat -c '%a %u %g' /dev/kvm)
check_status 0 roost start kvm
check_match "that it is unproven" '^roost: KVM is not proven, used all the same: ' "$out"
check_eq "accelerator" kvm "$(accel_of kvm)"
pid=$(of_status kvm qemu_pid)
check_match "QEMU's own words" ' -accel kvm ' "$(tr '\0' ' ' <"/proc/$pid/cmdline")"
check_json "what QEMU says" '.enabled and .present' "$(roost qmp kvm query-kvm)"
if [ "$(id -u)" -eq 0 ]; then
	uid=$(stat -c %u "/proc/$pid")
	[ "$uid" -ne 0 ] || fail "QEMU runs as root"
	check_eq "/dev/kvm for others is as it was" "$node" "$(stat -c '%a %u %g' /dev/kvm)"
fi
opened=no
for fd in "/proc/$pid/fd"/*; do
	[ "$(stat -Lc %t:%T "$fd" 2>/dev/null)" != a:e8 ] || opened=yes
done
check_eq "QEMU has /dev/kvm open" yes $opened
find "/proc/$pid/fd" -lname 'anon_inode:*kvm-vm*' | grep -q . || fail "QEMU has no VM"
check_eq "private nodes left" "" "$(find /dev -maxdepth 1 -name 'roost-kvm-*')"
wait_until 60 console_has kvm PICO-UP
wait_until 60 console_has kvm tick=0002

say "suspend, resume"
roost suspend kvm
check_eq "suspended" "paused" "$(state kvm)"
stands=$(console_log kvm | wc -c)
sleep 2.5
check_eq "a suspended guest's output" "$stands" "$(console_log kvm | wc -c)"
roost resume kvm
goes_on() {
	[ "$(console_log kvm | wc -c)" -gt "$stands" ]
}
wait_until 30 goes_on
check_eq "resumed" running "$(state kvm)"

say "power button, destroy"
roost shutdown --mode acpi --timeout 60s kvm
console_has kvm PICO-POWEROFF || fail "it did not hear the button"
check_eq "after the button" "shut off (guest poweroff, asked by the ACPI button)" "$(roost domstate --reason kvm)"
roost start kvm
roost destroy kvm
check_eq "destroyed" "shut off (destroyed)" "$(roost domstate --reason kvm)"
