#!/bin/sh
# UEFI: a guest's variables are its own, qcow2, and outlive a stop; with secure boot the firmware refuses the unsigned boot
# loader that it runs without; guests whose variables are raw, from an older roost, go on working.
# limit: 500
. "$TOP/tests/e2e/lib.sh"
need tiny.qcow2
roost validate --json | jq -e '.[] | select(.name == "uefi" and .result == "PASS")' >/dev/null ||
	lacking "UEFI firmware with secure boot"

# definition NAME [KEY...]
definition() {
	cat <<-END
		name: $1
		memory: 512M
		firmware: uefi
		accel: tcg
		disks:
		  - image: $TMPDIR/base.qcow2
		interfaces:
		  - user: {restrict: true, hostfwd: ["-22"]}
		cloud_init: {user: root}
	END
	shift
	[ $# -eq 0 ] || printf '%s\n' "$@"
}
guest() {
	guest_name=$1
	shift
	roost ssh "root@$guest_name" "$@" </dev/null
}
folder() {
	echo "$ROOST_STATE/guests/$1"
}
cp "$GUESTS/tiny.qcow2" "$TMPDIR/base.qcow2"
variable=/sys/firmware/efi/efivars/Roost-12345678-9abc-def0-1234-56789abcdef0

say "two guests of one image, one with secure boot"
definition plain >"$TMPDIR/plain.yaml"
definition secure 'secure_boot: true' >"$TMPDIR/secure.yaml"
roost define "$TMPDIR/plain.yaml"
roost define "$TMPDIR/secure.yaml"
roost start plain
roost start secure
[ -e "$(folder plain)/vars.qcow2" ] || fail "no variables of its own"
[ ! -e "$(folder secure)/vars.qcow2" ] || fail "a guest with secure boot has variables without keys"
keys=$(folder secure)/vars-secboot.qcow2
[ -e "$keys" ] || fail "no variables with keys"
check_eq "nobody else reads them" 600 "$(stat -c %a "$keys")"
check_match "SMM" 'smm=on' "$(roost dominfo --argv secure)"
check_match "the keys are the firmware's alone" 'property=secure,value=on' "$(roost dominfo --argv secure)"
check_no_match "no SMM without" 'smm=on' "$(roost dominfo --argv plain)"

say "secure boot refuses the boot loader"
wait_until 100 console_has secure 'Access Denied|Security Violation'
! console_has secure 'TINY-READY' || fail "it has booted all the same"
roost destroy secure

say "without it the same image boots"
roost wait -q plain --for login --timeout 300s
guest plain "modprobe efivarfs; mount -t efivarfs none /sys/firmware/efi/efivars && printf '\007\0\0\0kept' >$variable"
roost shutdown plain --timeout 100s
qemu-img check -q -f qcow2 "$(folder plain)/vars.qcow2"
! qemu-img compare -q -f qcow2 -F raw "$(folder plain)/vars.qcow2" /usr/share/OVMF/OVMF_VARS_4M.fd ||
	fail "the guest has written no variable"

say "a variable outlives a stop, and the guest's redefinition"
before=$(stat -c %i "$(folder plain)/vars.qcow2")
definition plain 'vcpus: 2' >"$TMPDIR/plain.yaml"
roost define "$TMPDIR/plain.yaml"
check_eq "the variables are the same file" "$before" "$(stat -c %i "$(folder plain)/vars.qcow2")"
roost start plain
roost wait -q plain --for login --timeout 300s
check_eq "the variable" kept "$(guest plain "modprobe efivarfs; mount -t efivarfs none /sys/firmware/efi/efivars; tail -c 4 $variable")"
roost destroy plain

say "variables as an older roost made them"
raw=$(folder plain)/vars.fd
qemu-img convert -f qcow2 -O raw "$(folder plain)/vars.qcow2" "$raw"
chown --reference="$(folder plain)/vars.qcow2" "$raw"
chmod 600 "$raw"
rm "$(folder plain)/vars.qcow2"
roost define "$TMPDIR/plain.yaml"
[ ! -e "$(folder plain)/vars.qcow2" ] || fail "the guest's variables were replaced by new ones"
roost start plain --paused
check_json "they are its flash" '[.[] | select(.inserted."node-name" == "vars" and .inserted.drv == "file")] | length == 1' \
	"$(roost qmp plain query-block)"
roost destroy plain

say "refused"
rm "$raw"
check_status 3 roost start plain
check_match "what is missing, and what to do" 'UEFI variables.*vars\.qcow2' "$out"
check_match "the remedy" 'define the guest again' "$out"
roost define "$TMPDIR/plain.yaml"
roost start plain --paused
roost destroy plain
# an image over a file of the host's, put there by somebody who had the guest's folder
vars=$(folder plain)/vars.qcow2
owner=$(stat -c %u "$vars")
rm "$vars"
qemu-img create -q -f qcow2 -F raw -b /etc/passwd "$vars" 540672
chown "$owner" "$vars"
check_status 5 roost start plain
check_match "a backing file" 'backing file' "$out"
