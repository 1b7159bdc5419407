#!/bin/sh
# What it costs to have guests: a command, the memory of the supervisors, the way back after all of them were killed.
. "$TOP/tests/bench/lib.sh"

blank() { # blank NAME: a guest with nothing, which QEMU starts in no time
	printf 'name: %s\nmemory: 32M\naccel: tcg\ninterfaces: []\nagent: false\n' "$1" >"$TMPDIR/$1.yaml"
	roost define "$TMPDIR/$1.yaml" >/dev/null
	roost start "$1" --paused >/dev/null
}
for n in $(seq 1 20); do
	blank "g$n"
done

say "(g): roostd and 20 keepers killed with -9; the next command, then each guest asked over its socket"
recover=$("$TOP/tests/bench/recover" "$ROOST_RUN")
result g "20 guests obey again" "$recover" "at most" 100 ms

say "(b): the whole process, from spawn to exit"
result b "suspend" "$(measure -n 40 roost suspend g1)" "at most" 3 ms "an empty process: $(measure -n 40 true) ms"

for n in $(seq 21 60); do
	blank "g$n"
done
sleep 2
kib=0
for proc in /proc/[0-9]*; do
	case $(cat "$proc/comm" 2>/dev/null) in
	roostd | roost-keeper)
		if grep -qzx "ROOST_RUN=$ROOST_RUN" "$proc/environ"; then
			kib=$((kib + $(awk '/^Pss:/ { print $2 }' "$proc/smaps_rollup")))
		fi
		;;
	esac
done
result e "memory of roostd and 60 keepers" "$(jq -n "$kib / 10.24 | round / 100")" "at most" 15 "MiB PSS"
