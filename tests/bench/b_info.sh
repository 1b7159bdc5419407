#!/bin/sh
# What an image is, by its header, beside qemu-img: both whole processes, with JSON; they take turns.
. "$TOP/tests/bench/lib.sh"

qemu-img create -q -f qcow2 base.qcow2 10G
qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 disk.qcow2
check_match "it is read" '"format": "qcow2"' "$(roost image info --json disk.qcow2)"

roost_ms() {
	measure -n 40 roost image info --json disk.qcow2
}
their_ms() {
	measure -n 40 qemu-img info --output=json disk.qcow2
}

say "(h): image info, ours against qemu-img's"
figures=$(beside)
result h "image info, faster than qemu-img info" "$(echo "$figures" | jq .their_per_roost)" "at least" 1 times \
	"$(echo "$figures" | jq -r '"\(.roost) against \(.their) ms"')"
