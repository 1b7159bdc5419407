#!/bin/sh
# Listing many guests that do not run.
. "$TOP/tests/bench/lib.sh"

printf 'name: g0\nmemory: 32M\naccel: tcg\ninterfaces: []\n' >"$TMPDIR/g0.yaml"
roost define "$TMPDIR/g0.yaml" >/dev/null
# the other 999 by copying its record: what is measured is the list, not the defining
for n in $(seq 1 999); do
	mkdir -m 700 "$ROOST_STATE/guests/g$n"
	sed "s/\"g0\"/\"g$n\"/" "$ROOST_STATE/guests/g0/guest.json" >"$ROOST_STATE/guests/g$n/guest.json"
	chmod 600 "$ROOST_STATE/guests/g$n/guest.json"
done
[ "$(roost list --all --name | wc -l)" -eq 1000 ]
result c "list --all, 1000 defined" "$(measure -n 40 roost list --all)" "at most" 12 ms
