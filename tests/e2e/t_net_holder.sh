#!/bin/sh
# A network's holder: leases and names, links, taps that come and go; and whatever of it is killed, by kill -9, guests keep
# their traffic and all is back within 2 s.
. "$TOP/tests/e2e/lib.sh"

need_networks

cat >"$TMPDIR/lan.yaml" <<END
name: lan
mode: isolated
address: 10.77.0.1/24
address6: fd77::1/64
mtu: 1400
END
roost net-define "$TMPDIR/lan.yaml"
roost net-start lan
/usr/bin/python3 -B "$TOP/tests/e2e/net_holder.py" lan

say "kill -9 of all that there is but a guest's QEMU and the watch: nobody gives a command"
need pico.raw
roost net-start lan
pico p 'interfaces: [{network: lan}]'
roost start p
wait_until 30 is_up p
home=$(dirname "$ROOST_RUN"/n/*/holder)
tap=t$(basename "$(run_dir p)")00
keeper=$(of_status p keeper_pid)
holder=$(jq .pid "$home/holder")
has_tap() {
	[ "$(jq .pid "$home/holder")" != "$holder" ] &&
		qmp "$home/net.sock" net-status | jq -e --arg tap "$tap" 'any(.taps[]; .tap == $tap)'
}
has_keeper() {
	[ "$(of_status p keeper_pid)" != "$keeper" ] && [ "$(of_status p state)" = running ]
}
kill -KILL "$(jq .pid "$ROOST_RUN/roostd.lock")" "$keeper" "$holder" "$(jq .outer "$home/holder")"
wait_until 2 has_tap
wait_until 2 has_keeper
ticks_go_on p
