#!/bin/sh
# Marking guests for the host's boot: by definition and by `roost autostart`, whether they run or not; what `list` then
# filters; and that wrong words change nothing.
. "$TOP/tests/e2e/lib.sh"

record() {
	jq -c "$2" "$ROOST_STATE/guests/$1/guest.json"
}

say "by definition"
pico a "autostart: true" >/dev/null
pico b "autostart: {order: 7, delay: 1500ms}" >/dev/null
pico c >/dev/null
pico d "autostart: no" >/dev/null
check_eq "true" true "$(record a .autostart)"
check_eq "with order and delay" '{"order":7,"delay":1500}' "$(record b .autostart)"
check_eq "without" false "$(record c .autostart)"
check_match "dominfo" '^Autostart: +enable$' "$(roost dominfo b)"
check_match "dominfo" '^Autostart: +disable$' "$(roost dominfo c)"

say "list's filters"
check_eq "--autostart" "a
b" "$(roost list --all --autostart --name)"
check_eq "--no-autostart" "c
d" "$(roost list --all --no-autostart --name)"
check_eq "both are none" "a
b
c
d" "$(roost list --all --autostart --no-autostart --name)"
check_eq "none of them runs" "" "$(roost list --autostart --name)"
check_json "in JSON" 'map(.name) == ["a", "b"]' "$(roost list --all --autostart --json)"

say "the verb"
before=$(record c 'del(.autostart)')
check_eq "words" "Guest 'c' marked as autostarted" "$(roost autostart c)"
check_eq "marked" true "$(record c .autostart)"
check_eq "again" "Guest 'c' marked as autostarted" "$(roost autostart c --order 3 --delay 2s)"
check_eq "with order and delay" '{"order":3,"delay":2000}' "$(record c .autostart)"
check_json "in JSON" '. == {"name": "c", "autostart": true}' "$(roost autostart c --json --order 4)"
check_eq "the delay is as it was" '{"order":4,"delay":2000}' "$(record c .autostart)"
check_eq "words" "Guest 'c' unmarked as autostarted" "$(roost autostart --disable c)"
check_eq "unmarked" false "$(record c .autostart)"
check_eq "unmarked twice" "Guest 'c' unmarked as autostarted" "$(roost autostart --disable c)"
roost autostart c
check_eq "what was unmarked is forgotten" true "$(record c .autostart)"
check_eq "nothing else has changed" "$before" "$(record c 'del(.autostart)')"
roost autostart "$(record d .uuid | tr -d '"')" --order 0
check_eq "by UUID" '{"order":0}' "$(record d .autostart)"

say "of a running guest"
roost start --paused a
roost autostart --disable a
check_eq "unmarked" false "$(record a .autostart)"
check_eq "it goes on" paused "$(state a)"
check_eq "--no-autostart, of those that run" a "$(roost list --no-autostart --name)"
roost autostart "$(of_status a number)"
check_eq "by Id" true "$(record a .autostart)"
check_eq "--autostart, of those that run" a "$(roost list --autostart --name)"

say "wrong words"
before=$(cat "$ROOST_STATE"/guests/*/guest.json)
for order in -1 10000 x 1.5 '' 0x1; do
	check_status 2 roost autostart b --order="$order"
	check_match "order '$order'" "order" "$out"
done
for delay in 5 0s -1s soon ''; do
	check_status 2 roost autostart b --delay="$delay"
	check_match "delay '$delay'" "delay" "$out"
done
check_status 2 roost autostart b --delay 9000h
check_match "too long a delay" "delay" "$out"
check_status 2 roost autostart b --disable --order 1
check_status 2 roost autostart b --disable --delay 1s
check_status 2 roost autostart
check_status 3 roost autostart nobody-there
check_status 3 roost autostart 99
check_eq "nothing has changed" "$before" "$(cat "$ROOST_STATE"/guests/*/guest.json)"

say "a record that cannot be read: neither marked nor in the way"
printf 'spoilt' >"$ROOST_STATE/guests/d/guest.json"
check_eq "--autostart" "a
b
c" "$(roost list --all --autostart --name)"
check_status 5 roost autostart d
check_match "why" broken "$out"
check_eq "it is as it was" spoilt "$(cat "$ROOST_STATE/guests/d/guest.json")"
