#!/bin/sh
# Starting a guest, paused, until it can be driven; beside QEMU alone with the same command line, in the same run.
. "$TOP/tests/bench/lib.sh"

need pico.raw
pico one "accel: tcg"
roost start one --paused
roost dominfo --argv --json one >"$TMPDIR/argv.json"
roost destroy one

# round EXPRESSION: of jq, to one place
round() {
	jq -n "($1) * 10 | round / 10"
}

say "one after the other"
roost=$(measure -n 20 --after "roost destroy one" roost start one --paused)
bare=$(bare -n 20 -f vda-file="$GUESTS/pico.raw" "$TMPDIR/argv.json" | jq .median_ms)
result a "start" "$(round "$roost")" "at most" "$(round "$bare + 20")" ms "bare QEMU takes $(round "$bare")"

say "60 guests, 8 starts at once"
for n in $(seq 0 59); do
	pico "g$n" "accel: tcg" >"$TMPDIR/out"
done
roost=$(measure -n 60 -p 8 --json --after "roost destroy g{}" roost start "g{}" --paused | jq .per_second)
bare=$(bare -n 60 -p 8 -f vda-file="$GUESTS/pico.raw" "$TMPDIR/argv.json" | jq .starts_per_second)
result b "8 starts at once" "$(round "$roost")" "at least" "$(round "$bare * 0.8")" /s "bare QEMU does $(round "$bare")"
