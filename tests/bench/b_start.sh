#!/bin/sh
# Starting guests, paused, until they can be driven; beside QEMU alone with the same command line, in the same run.
#
# Under a hypervisor that takes back what a machine frees, memory costs several times more when it is touched anew, which
# hits the one or the other at random. So the two take turns, some rounds each; of many starts at once each one's best
# round counts, of single ones (which need little memory) the median.
. "$TOP/tests/bench/lib.sh"

need pico.raw
pico one "accel: tcg"
roost start one --paused
roost dominfo --argv --json one >"$TMPDIR/argv.json"
roost destroy one

# in_turn BEST WHAT: runs roost_WHAT and bare_WHAT, three rounds and three, three times; each prints a number, BEST
# (min, max, median) is what counts. Prints {ratio, roost, bare}, to two places.
in_turn() {
	for who in roost bare roost bare roost bare; do
		for _ in 1 2 3; do
			echo "{\"$who\": $("${who}_$2")}"
		done
	done | jq -s "def places: . * 100 | round / 100;
		def median: sort | .[length / 2 | floor];
		(map(.roost // empty) | $1) as \$roost | (map(.bare // empty) | $1) as \$bare |
		{ratio: (\$roost / \$bare) | places, roost: \$roost | places, bare: \$bare | places}"
}

roost_ms() {
	measure -n 12 --after "roost destroy one" roost start one --paused
}
bare_ms() {
	bare -n 12 -f vda-file="$GUESTS/pico.raw" "$TMPDIR/argv.json" | jq .median_ms
}
roost_rate() {
	measure -n 60 -p 8 --json --after "roost destroy g{}" roost start "g{}" --paused | jq .per_second
}
bare_rate() {
	bare -n 60 -p 8 -f vda-file="$GUESTS/pico.raw" "$TMPDIR/argv.json" | jq .starts_per_second
}

say "(a): the whole of \`roost start --paused\`, process included, against exec-to-reply of QEMU"
figures=$(in_turn median ms)
result a "start" "$(echo "$figures" | jq .ratio)" "at most" 1.15 "times bare QEMU" \
	"$(echo "$figures" | jq -r '"\(.roost) against \(.bare) ms"')"

say "(f): 60 guests, 8 starts at once"
for n in $(seq 0 59); do
	pico "g$n" "accel: tcg" >"$TMPDIR/out"
done
figures=$(in_turn max rate)
result f "60 starts, 8 at once" "$(echo "$figures" | jq .ratio)" "at least" 0.85 "of bare QEMU's rate" \
	"$(echo "$figures" | jq -r '"\(.roost) against \(.bare) a second"')"

# cpu_of NAME: what the processes of that name in this network namespace have used, in ms, a guest of the 60
cpu_of() {
	here=$(readlink /proc/self/ns/net)
	for comm in /proc/[0-9]*/comm; do
		process=${comm%/comm}
		if [ "$(readlink "$process/ns/net")" = "$here" ] && [ "$(cat "$comm")" = "$1" ]; then
			cat "$process"/task/*/schedstat
		fi
	done 2>"$TMPDIR/gone" | awk '{ ns += $1 } END { print ns / 1000000 / 60 }'
}

# where the ratio comes from: all CPUs are busy then, so that the rate is theirs divided by a start's CPU time
before=$(cpu_of roostd)
cli=$(measure -n 60 -p 8 --json roost start "g{}" --paused | jq .cpu_ms)
qemu=$(cpu_of qemu-system-x86) # as long as a process's name gets
keepers=$(cpu_of roost-keeper)
daemon=$(cpu_of roostd)
jq -nr --argjson qemu "$qemu" --argjson keeper "$keepers" --argjson cli "$cli" --argjson daemon "$daemon" --argjson before "$before" '
	def places: . * 10 | round / 10;
	($keeper + $cli + $daemon - $before) as $ours |
	"   CPU time of a start: QEMU \($qemu | places) ms, keeper \($keeper | places), roostd \($daemon - $before | places), roost \($cli | places): " +
	"\($ours / ($qemu + $ours) * 100 | round) % of it are not QEMU alone, which is what (f) lacks to 1"'
