#!/bin/sh
# sysprep of a stopped guest, process included: a Debian cloud image with its 15,000 files, on a fresh overlay each time.
. "$TOP/tests/bench/lib.sh"

need cloud.qcow2
[ -x "$TOP/build/libexec/roost/roost-sysprep" ] || skip "roost-sysprep was not built (libext2fs)"
qemu-img create -q -f qcow2 -F qcow2 -b "$GUESTS/cloud.qcow2" fresh.qcow2
cp fresh.qcow2 disk.qcow2
printf 'name: cloud\nmemory: 256M\ninterfaces: []\ndisks: [{path: disk.qcow2, format: qcow2}]\n' >cloud.yaml
roost define cloud.yaml

say "(l): sysprep of the cloud guest's disk; virt-sysprep takes 19 s"
result l "sysprep" "$(measure -n 10 --before "cp fresh.qcow2 disk.qcow2" roost sysprep cloud)" "at most" 300 "ms"
