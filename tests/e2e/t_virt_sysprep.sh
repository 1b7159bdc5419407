#!/bin/sh
# virt-sysprep says what guestfs-tools' says, and does it, in guests and in images.
. "$TOP/tests/e2e/lib.sh"
eval "$(roost compat)"
cd "$TMPDIR"
truncate -s 16M third.raw
printf 'name: third\ndisks: [{path: third.raw, format: raw}]\ninterfaces: []\n' >third.yaml
roost define third.yaml

both virt-sysprep -d nosuch
check_match "no such guest" "virt-sysprep: error: libguestfs error: no libvirt domain called ‘nosuch’" "$errors"
both virt-sysprep
check_match "which" 'you must give either -a or -d options' "$errors"
both virt-sysprep -d third --hostname web1
check_match "by its name" "option '--hostname' is not there: a cloud-init seed does that" "$errors"
both virt-sysprep --list-operations
check_match "its operations" '^ssh-hostkeys \* ' "$out"
mkdir -p system/etc/ssh system/usr system/var/log
echo key >system/etc/ssh/ssh_host_rsa_key
PATH=$PATH:/usr/sbin:/sbin mke2fs -q -F -d system third.raw
both virt-sysprep -d third --operations ssh-hostkeys,machine-id
check_eq "what it says" '[ 0.0] Examining the guest ...
[ N.N] Performing "machine-id" ...
[ N.N] Performing "ssh-hostkeys" ...' "$(sed 's/^\[ *0\.0\] Ex/[ 0.0] Ex/; s/^\[ *[0-9]*\.[0-9]\] P/[ N.N] P/' stdout)"
check_match "stamped so" '^\[   0\.0\] Examining' "$out"
check_eq "not a word besides" " 0" "$errors $both_status"
check_match "it is done" 'File not found' "$(PATH=$PATH:/usr/sbin:/sbin debugfs -R 'stat /etc/ssh/ssh_host_rsa_key' third.raw 2>&1)"

