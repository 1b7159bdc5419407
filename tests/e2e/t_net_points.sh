#!/bin/sh
# The processes of a network, and who starts or ends it, die at every failpoint that the source has: the next command works, a guest
# that is in it keeps its tap, and nothing is left over.
. "$TOP/tests/e2e/lib.sh"
need_networks
need pico.raw
with_failpoints
[ -d "$TOP/orchestrator" ] || skip "the sources are not here, which name the failpoints"

# points FILE...: that those have
points() {
	(cd "$TOP/orchestrator" && sed -n 's/.*failpoint("\([^"]*\)").*/\1/p' "$@")
}
cat >"$TMPDIR/lan.yaml" <<END
name: lan
address: 10.77.0.1/24
END
roost net-define "$TMPDIR/lan.yaml"
roost net-start lan
home=$(dirname "$ROOST_RUN"/n/*/holder)
id=$(basename "$home")

is_active() {
	roost net-info lan | grep -q '^Active: *yes'
}
serves() {
	qmp "$home/net.sock" net-status | jq -e '.dnsmasq > 0'
}
# ours: roost's processes of networks, by their environment; other tests have theirs
ours() {
	for ours_pid in $(pgrep -x 'roost-net|roost-watch|roost-proxy'); do
		! tr '\0' '\n' <"/proc/$ours_pid/environ" 2>/dev/null | grep -qx "ROOST_RUN=$ROOST_RUN" || echo "$ours_pid"
	done
}
is_gone() {
	[ ! -e "$home" ] && [ -z "$(ours)" ] && ! pgrep -f "$home/dnsmasq.conf" && ! ip link show dev "rn-$id" &&
		{ [ "$(id -u)" -ne 0 ] || ! nft list tables | grep -q "$id"; }
}
# a roost that has died midway, and one that has not, leave the network active or not; the next command brings it up
up() {
	roost net-start lan >/dev/null 2>&1 || is_active || fail "$1: the next net-start: $(roost net-start lan 2>&1)"
	wait_until 5 serves
}
down() {
	roost net-destroy lan >/dev/null 2>&1 || ! is_active || fail "$1: the next net-destroy: $(roost net-destroy lan 2>&1)"
	wait_until 5 is_gone
}
# struck POINT: somebody has died there
struck() {
	[ ! -s "$ROOST_RUN/fail" ]
}

down "to begin with"
say "at its start, without guests and with one"
starts=$(points roost-net.c holder.c network_up.c | grep -vx 'net-ending\|net-alone\|net-unlinked\|net-left\|holder-ending\|network-quit\|network-ended')
for point in $starts; do
	die_at "$point"
	roost net-start lan >/dev/null 2>&1 || :
	has_died "$point"
	up "$point"
	down "$point"
done
pico p 'interfaces: [{network: lan}]'
roost start p
wait_until 30 is_up p
tap=t$(basename "$(run_dir p)")00
# and has told it: one that is killed before counts as one that does not come up, and the next has to wait
has_tap() {
	jq -e .up "$home/holder" &&
		qmp "$home/net.sock" net-status | jq -e --arg tap "$tap" '.dnsmasq > 0 and any(.taps[]; .tap == $tap)'
}
# the one that was there a moment ago may be the one that dies
kill_holder() {
	kill -KILL "$(jq .pid "$home/holder")"
}
for point in $starts; do
	die_at "$point"
	wait_until 5 kill_holder
	wait_until 5 struck
	has_died "$point"
	wait_until 5 has_tap
done
ticks_go_on p
roost destroy p >/dev/null

say "at its end"
for point in $(points roost-net.c holder.c network_up.c); do
	case $(printf '%s\n' "$starts") in
	*"$point"*) continue ;;
	esac
	up "$point"
	die_at "$point"
	roost net-destroy lan >/dev/null 2>&1 || :
	has_died "$point"
	down "$point"
done
