#!/bin/sh
# A seed of the same four files, process included, beside genisoimage as cloud-localds calls it; they take turns.
. "$TOP/tests/bench/lib.sh"

command -v genisoimage >/dev/null || skip "genisoimage is not installed"
mkdir files
printf '#cloud-config\nhostname: web1\npackages: [jq]\n' >files/user-data
printf 'instance-id: i-1\nlocal-hostname: web1\n' >files/meta-data
printf 'version: 2\n' >files/network-config
printf '#cloud-config\ntimezone: Europe/Vienna\n' >files/vendor-data

roost_ms() {
	measure -n 20 roost seed ours.iso files/user-data files/meta-data -N files/network-config -V files/vendor-data
}
their_ms() {
	(cd files && measure -n 20 genisoimage -quiet -output ../theirs.iso -volid cidata -joliet -rock \
		user-data meta-data network-config vendor-data)
}

say "(i): a seed, ours against genisoimage's"
figures=$(beside)
result i "seed" "$(echo "$figures" | jq .roost_per_their)" "at most" 1.0 "times genisoimage" \
	"$(echo "$figures" | jq -r '"\(.roost) against \(.their) ms"')"
