#!/bin/sh
# What a guest's keeper says was plugged goes into a file that root believes. A keeper that lies gets nothing opened that
# its QEMU does not hold, and nothing to write to that QEMU may only read.
# user: root
# limit: 240
. "$TOP/tests/e2e/lib.sh"
need pico.raw
[ "$(id -u)" -eq 0 ] || skip "only for root is a keeper somebody else"

printf 'the secret of the host' >"$TMPDIR/secret"
chmod 600 "$TMPDIR/secret"
truncate -s 1M "$TMPDIR/secret" "$TMPDIR/medium.iso" "$TMPDIR/base.raw"

# says JSON: the keeper of `p`, replaced by one that takes this for what was plugged
says() {
	printf '{"attached": %s}\n' "$1" >"$(run_dir p)/attached"
	kill_and_wait KILL "$(of_status p keeper_pid)"
	wait_until 20 roost qmp p query-status
	check_json "it is believed by the keeper" "length == $(printf '%s' "$1" | jq length)" "$(roost qmp p roost-attached)"
}
# refused WHAT REGEX: what it said is not written down, and the guest goes on
refused() {
	check_status 5 roost managedsave p
	check_match "$1" "$2" "$out"
	check_eq "$1: nothing is saved" "" "$(find "$ROOST_STATE/guests/p" -name '*.save*')"
	ticks_go_on p
}

pico p "cdrom: $TMPDIR/medium.iso"
roost start p
wait_until 30 is_up p

say "a file that its QEMU does not hold"
disk="{\"kind\": \"disk\", \"port\": 0, \"device\": \"disk-vdk\", \"target\": \"vdk\", \"format\": \"raw\""
says "[$disk, \"path\": \"$TMPDIR/secret\", \"readonly\": true}]"
refused "a disk" "does not hold '$TMPDIR/secret'"
says "[{\"kind\": \"medium\", \"drive\": \"sda\", \"medium\": \"$TMPDIR/secret\"}]"
refused "a medium" "does not hold '$TMPDIR/secret'"

say "one that it holds, and another in its shadow"
says "[{\"kind\": \"medium\", \"drive\": \"sda\", \"path\": \"$TMPDIR/medium.iso\", \"medium\": \"$TMPDIR/secret\"}]"
refused "a medium beside a path" "does not hold '$TMPDIR/secret'"

say "one that it may only read"
says "[$disk, \"path\": \"$TMPDIR/medium.iso\"}]"
refused "to write to" "may not write to '$TMPDIR/medium.iso'"

say "one that the guest's own uids can exchange for another"
ln -s "$TMPDIR/medium.iso" "$ROOST_STATE/guests/p/way"
says "[$disk, \"path\": \"$ROOST_STATE/guests/p/way\", \"readonly\": true}]"
refused "a link" "does not hold '$ROOST_STATE/guests/p/way'"
says "[$disk, \"path\": \"$(realpath "$ROOST_STATE")/guests/p/console.log\", \"readonly\": true}]"
refused "a file of its folder" "can be exchanged by the guest's own uids"

say "the truth"
says "[{\"kind\": \"medium\", \"drive\": \"sda\", \"medium\": \"$TMPDIR/medium.iso\"}]"
roost managedsave p
roost start p
wait_until 30 is_up p
