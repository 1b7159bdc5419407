# shellcheck shell=sh
# What the benches b_*.sh share, besides all of tests/e2e/lib.sh. They print lines as
#
#	(a) start, paused: 41.3 ms, bare QEMU 38.9  (target: at most 60 ms)  ok
#
# by `result`, and nothing else that begins with a bracket.
# shellcheck source=tests/e2e/lib.sh
. "$TOP/tests/e2e/lib.sh"

# result LETTER NAME FIGURE RELATION TARGET UNIT [MORE]: RELATION is "at most" or "at least"
result() {
	result_word=$(awk -v figure="$3" -v relation="$4" -v target="$5" 'BEGIN {
		held = relation == "at most" ? figure <= target : figure >= target
		print held ? "ok" : "missed"
	}')
	echo "($1) $2: $3 $6${7:+, $7}  (target: $4 $5 $6)  $result_word"
}

# measure [-n RUNS] [--before SH] [--after SH] [-p AT_ONCE] [--json] COMMAND...: the median in ms
measure() {
	"$TOP/tests/bench/measure" "$@"
}

# bare [-n STARTS] [-p AT_ONCE] [-f OPAQUE=FILE]... ARGV: the same starts without roost, as JSON
bare() {
	"$TOP/build/tests/bench_bare_qemu" -j "$@"
}

# beside: roost_ms and their_ms of the bench, taking turns, the medians and their ratios as JSON
beside() {
	for beside_who in roost their roost their roost their; do
		echo "{\"$beside_who\": $("${beside_who}_ms")}"
	done | jq -s 'def places: . * 100 | round / 100;
		def median: sort | .[length / 2 | floor];
		(map(.roost // empty) | median) as $roost | (map(.their // empty) | median) as $their |
		{roost: $roost | places, their: $their | places,
			their_per_roost: ($their / $roost) | places, roost_per_their: ($roost / $their) | places}'
}
