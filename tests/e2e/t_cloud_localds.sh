#!/bin/sh
# cloud-localds says what cloud-utils' says, and what it makes is read back by other programs.
. "$TOP/tests/e2e/lib.sh"
eval "$(roost compat)"

cd "$TMPDIR"
touch user-data meta-data
both cloud-localds -v ubuntu-provisioning.qcow2 user-data meta-data
check_eq "what it says" "wrote ubuntu-provisioning.qcow2 with filesystem=iso9660 and diskformat=raw" "$(tail -n 1 stderr)"
check_eq "on standard error, 0" " 0" "$out $both_status"
check_eq "whatever its suffix, ISO 9660 of that label" "CD001 cidata" \
	"$(dd if=ubuntu-provisioning.qcow2 bs=1 skip=32769 count=5 2>/dev/null) $(dd if=ubuntu-provisioning.qcow2 bs=1 skip=32808 count=6 2>/dev/null)"
printf '#cloud-config\n{}\n' >u
both cloud-localds -d qcow2 -f vfat -H web1 -m local seed u
check_eq "without -v not a word" "  0" "$out $errors $both_status"
check_eq "its format" qcow2 "$(roost image info seed --json | jq -r .format)"
both cloud-localds
check_eq "no arguments" "must provide output, userdata 1" "$(tail -n 1 stderr) $both_status"
check_match "the usage" '^Usage: cloud-localds ' "$errors"
both cloud-localds x nofile
check_eq "a missing file" "cp: cannot stat 'nofile': No such file or directory nofile: failed to copy 1" "$(paste -sd ' ' stderr) $both_status"
both cloud-localds x u -N nofile
check_eq "a missing network-config" "nofile: failed to copy 1" "$(tail -n 1 stderr) $both_status"
[ ! -e x ] || fail "something was made all the same"
both cloud-localds -d vmdk x u
check_match "a format that is not made" "'vmdk' is not there: roost makes disks of the formats raw and qcow2" "$errors"

