#!/bin/sh
# The first guests of all, defined at the same moment: none is refused, each has uids of its own, all know the one key.
. "$TOP/tests/e2e/lib.sh"

pids=
for n in 1 2 3 4 5 6; do
	printf 'name: g%s\nmemory: 32M\ncloud_init: {user: root}\n' $n >"$TMPDIR/$n.yaml"
	roost define "$TMPDIR/$n.yaml" >/dev/null &
	pids="$pids $!"
done
for pid in $pids; do
	wait "$pid" || fail "a definition was refused"
done
key=$(cut -d ' ' -f 2 "$ROOST_STATE/ssh/id_ed25519.pub")
for n in 1 2 3 4 5 6; do
	grep -aqF "$key" "$ROOST_STATE/guests/g$n/seed.iso" || fail "g$n knows another key"
done
check_eq "ids" 6 "$(jq -r .issued.id "$ROOST_STATE"/guests/*/guest.json | sort -u | wc -l)"
[ "$(id -u)" -ne 0 ] ||
	check_eq "uids" 12 "$(jq -r '.issued | .keeper_uid, .qemu_uid' "$ROOST_STATE"/guests/*/guest.json | sort -u | wc -l)"
