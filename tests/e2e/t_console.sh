#!/bin/sh
# limit: 240
# The console: typed to through a terminal by several at once, left by ^], replayed, read as a log. And a guest that
# talks without end: its log takes bounded space, is never truncated, and whoever follows it loses not one byte.
. "$TOP/tests/e2e/lib.sh"

reader() {
	python3 "$TOP/tests/e2e/console_reader.py" "$@"
}
log_of() {
	echo "$ROOST_STATE/guests/$1/console.log"
}

say "terminals"
pico one
check_status 3 roost logs one
check_match "no log yet" "no console.log yet" "$out"
check_status 5 roost console one
check_match "not running" "guest 'one' is not running" "$out"
roost start one
wait_until 20 console_has one PICO-UP
reader terminals one

say "a script's input"
roost start one
wait_until 20 console_has one boot=0002
printf q | roost console one >"$TMPDIR/script" &
pid=$!
wait_until 10 grep -q q "$TMPDIR/script"
kill $pid
check_no_match "only this boot is shown" boot=0001 "$(cat "$TMPDIR/script")"

say "logs"
roost logs --follow one >"$TMPDIR/follow" &
pid=$!
check_match "an earlier boot is in the log" 'boot=0001' "$(roost logs one)"
wait_until 10 console_has one tick=0003
roost suspend one
check_eq "--tail 1" "$(console_log one | tail -n 1)" "$(roost logs --tail 1 one)"
check_eq "-n 3" "$(console_log one | tail -n 3)" "$(roost logs -n 3 one)"
check_eq "--tail of more than there is" "$(console_log one)" "$(roost logs --tail 1000000 one)"
check_eq "--json: a value for each line" "$(console_log one | tr -d '\r')" "$(roost logs --json one | jq -r .line)"
# on a line of its own, wherever the guest was stopped
printf '\nno UTF-8 \377, and no end' >>"$(log_of one)"
check_json "--json of any bytes" '.line == "no UTF-8 \ufffd, and no end"' "$(roost logs --json --tail 1 one)"
check_status 2 roost logs --tail x one
check_status 2 roost logs --tail -1 one
roost destroy one
wait_until 10 ended $pid
wait $pid
cmp "$TMPDIR/follow" "$(log_of one)" || fail "who follows does not have what the log has"
check_json "logs --events" '.event == "ROOST_ENDED"' "$(roost logs --events --tail 1 one)"

say "no console at all"
sed 's/^name: .*/name: mute/; $a console: false' "$TMPDIR/one.yaml" >"$TMPDIR/mute.yaml"
roost define "$TMPDIR/mute.yaml"
roost start mute
check_status 3 roost console mute
check_match "no console" "guest 'mute' has no console.log" "$out"
roost destroy mute

say "trims"
pico chatty
roost start chatty
wait_until 20 console_has chatty tick=0001
reader trims "$(log_of chatty)" chatty

say "the keeper bounds it by itself"
# what pico could not write in a day is put there at once; the keeper looks at the file every second
roost start chatty
wait_until 20 console_has chatty boot=0002
before=$(stat -c %s "$(log_of chatty)")
yes "0123456789 0123456789 0123456789" | head -c 12000000 >>"$(log_of chatty)"
bounded() {
	[ "$(stat -c %b "$(log_of chatty)")" -le $((5 * 1024 * 2)) ]
}
wait_until 10 bounded
[ "$(stat -c %s "$(log_of chatty)")" -ge $((before + 12000000)) ] || fail "the log was truncated"
kept=$(roost logs chatty | wc -c)
[ "$kept" -ge $((4 * 1024 * 1024)) ] || fail "only $kept bytes were kept"
check_eq "zeros in what is shown" 0 "$(roost logs chatty | tr -dc '\0' | wc -c)"
size=$(stat -c %s "$(log_of chatty)")
goes_on() {
	[ "$(stat -c %s "$(log_of chatty)")" -gt "$size" ]
}
wait_until 10 goes_on
