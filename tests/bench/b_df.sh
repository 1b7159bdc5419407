#!/bin/sh
# How full a stopped guest's file systems are, process included: GPT and ext4 through a qcow2 overlay. virt-df boots an
# appliance for it, which takes 13 s.
. "$TOP/tests/bench/lib.sh"

PATH=$PATH:/usr/sbin:/sbin
for tool in mke2fs sfdisk; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done
truncate -s 8G disk.raw
printf 'label: gpt\n,\n' | sfdisk -q disk.raw
mke2fs -q -F -t ext4 -E offset=1048576 disk.raw 8387567k 2>/dev/null
qemu-img convert -q -O qcow2 disk.raw base.qcow2
qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 disk.qcow2
printf 'name: web1\nmemory: 32M\ninterfaces: []\ndisks:\n  - {path: %s, format: qcow2}\n' "$PWD/disk.qcow2" >web1.yaml
roost define web1.yaml
check_match "it is read" '^web1:/dev/vda1 +8' "$(roost df web1)"

say "(k): df of a guest that does not run"
result k "df of a stopped guest" "$(measure -n 20 roost df web1)" "at most" 20 ms
