#!/bin/sh
# Starting guests, paused, until they can be driven; beside QEMU alone with the same command line, in the same run.
. "$TOP/tests/bench/lib.sh"

need pico.raw
pico one "accel: tcg"
roost start one --paused
roost dominfo --argv --json one >"$TMPDIR/argv.json"
roost destroy one

# number EXPRESSION: of jq, to two places
number() {
	jq -n "($1) * 100 | round / 100"
}

say "(a): the whole of \`roost start --paused\`, process included, against exec-to-reply of QEMU"
roost=$(measure -n 20 --after "roost destroy one" roost start one --paused)
bare=$(bare -n 20 -f vda-file="$GUESTS/pico.raw" "$TMPDIR/argv.json" | jq .median_ms)
result a "start" "$(number "$roost / $bare")" "at most" 1.15 "times bare QEMU" \
	"$(number "$roost") against $(number "$bare") ms"

say "(f): 60 guests, 8 starts at once"
for n in $(seq 0 59); do
	pico "g$n" "accel: tcg" >"$TMPDIR/out"
done
roost=$(measure -n 60 -p 8 --json --after "roost destroy g{}" roost start "g{}" --paused | jq .per_second)
bare=$(bare -n 60 -p 8 -f vda-file="$GUESTS/pico.raw" "$TMPDIR/argv.json" | jq .starts_per_second)
result f "60 starts, 8 at once" "$(number "$roost / $bare")" "at least" 0.85 "of bare QEMU's rate" \
	"$(number "$roost") against $(number "$bare") a second"
