#!/bin/sh
# A guest's record lies in a folder of its keeper's, and is root's. One that the keeper puts in its place is not taken for
# it: not for what the guest is, and not for which guest a command is meant for; nor in the moment between look and read.
# user: root
# limit: 120
. "$TOP/tests/e2e/lib.sh"
need pico.raw
[ "$(id -u)" -eq 0 ] || skip "only for root is a keeper somebody else"
command -v python3 >/dev/null || lacking python3

started p q
dir="$ROOST_STATE/guests/p"
cp "$dir/guest.json" "$TMPDIR/record"

say "a record that sends commands to another guest"
jq --arg id "$(basename "$(run_dir q)")" '.issued.id = $id' "$TMPDIR/record" >"$TMPDIR/other"
mv "$TMPDIR/other" "$dir/guest.json"
chown --reference="$dir" "$dir/guest.json"
roost suspend p
check_eq "the one that was meant" paused "$(of_status p state)"
check_eq "the other" running "$(of_status q state)"
cp "$TMPDIR/record" "$dir/anew"
mv "$dir/anew" "$dir/guest.json"
roost resume p

say "a record that is exchanged all the time"
jq '.title = "the keeper'"'"'s"' "$TMPDIR/record" >"$dir/own"
chown --reference="$dir" "$dir/own"
python3 - "$dir" <<'END' &
import ctypes, os, sys
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None)
while True:
    libc.renameat2(-100, b"guest.json", -100, b"own", 2)
END
exchanger=$!
read_times=0
since=$(now_ms)
while [ $(($(now_ms) - since)) -lt 4000 ] || [ $read_times -le 20 ]; do
	check_no_match "what is read" "keeper's" "$(roost desc p --title 2>/dev/null || :)"
	read_times=$((read_times + 1))
done
kill_and_wait KILL $exchanger
rm "$dir/own" # whichever of the two it is now
cp "$TMPDIR/record" "$dir/anew"
mv "$dir/anew" "$dir/guest.json"
ticks_go_on p q
