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

say "the same name, again and again at the same moment: each is done, or told that another one is at it"
pico same >/dev/null
for n in 1 2 3 4 5 6; do
	(
		status=0
		roost define "$TMPDIR/same.yaml" >"$TMPDIR/same.$n" 2>&1 || status=$?
		echo "$status" >>"$TMPDIR/same.$n"
	) &
done
wait
for n in 1 2 3 4 5 6; do
	case $(tail -n 1 "$TMPDIR/same.$n") in
	0) check_match "done" "Guest 'same' changed" "$(cat "$TMPDIR/same.$n")" ;;
	4) check_match "told" "guest 'same' is busy: it is being defined" "$(cat "$TMPDIR/same.$n")" ;;
	*) fail "neither: $(cat "$TMPDIR/same.$n")" ;;
	esac
done
grep -q changed "$TMPDIR"/same.? || fail "none was done"
roost undefine same
