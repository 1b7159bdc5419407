#!/bin/sh
# Where a user may make no namespace, or no tap: a clear sentence that names what opens it, and `user` networking goes on.
# user: nobody
. "$TOP/tests/e2e/lib.sh"
need pico.raw
need_networks

# nobody_here COMMAND...: in a user namespace in which no further one may be made
nobody_here() {
	# shellcheck disable=SC2016 # expanded in there
	unshare --user --map-current-user --keep-caps sh -c '
		echo 0 >/proc/sys/user/max_user_namespaces &&
		exec setpriv --ambient-caps=-all --inh-caps=-all "$@"' sh "$@"
}
# without_tun COMMAND...: where there is no /dev/net/tun, as in a container
without_tun() {
	# shellcheck disable=SC2016 # expanded in there
	unshare --user --mount --map-current-user --keep-caps sh -c '
		mkdir -p "$TMPDIR/net" && mount --bind "$TMPDIR/net" /dev/net &&
		exec setpriv --ambient-caps=-all --inh-caps=-all --bounding-set=-all "$@"' sh "$@"
}
unshare --user --map-current-user --keep-caps sh -c 'echo 0 >/proc/sys/user/max_user_namespaces' 2>/dev/null ||
	skip "no user namespace whose limit can be set"

pico on_user
sed -i '/^interfaces:/d' "$TMPDIR/on_user.yaml" # user networking, as where nothing is said
roost define "$TMPDIR/on_user.yaml"
sed '/^interfaces:/d; s/^name: .*/name: on_default/' "$TMPDIR/on_user.yaml" >"$TMPDIR/on_default.yaml"
echo 'interfaces: [{network: default}]' >>"$TMPDIR/on_default.yaml"
cp "$GUESTS/pico.raw" "$TMPDIR/on_default.raw"
sed -i "s/on_user.raw/on_default.raw/" "$TMPDIR/on_default.yaml"
roost define "$TMPDIR/on_default.yaml"

# The one that runs has its namespaces from whoever asked first.
fresh_roostd() {
	# shellcheck disable=SC2046 # several
	kill_and_wait TERM $(roostd_pids)
}
# closed WORD PATTERN VALIDATE STATUS: as WORD has it, a guest of a network does not start, for that reason; validate says VALIDATE;
# and `user` networking works
closed() {
	fresh_roostd
	check_status "$4" "$1" roost start on_default
	check_match "why the guest does not start" "$2" "$out"
	check_eq "nothing of it runs" "" "$(roost list --name)"
	check_match "validate says so" "$3" "$("$1" roost validate 2>&1 || :)"
	"$1" roost start on_user
	check_eq "without a network" "on_user" "$(roost list --name)"
	check_match "by user networking" "user" "$(roost domiflist on_user)"
	roost destroy on_user
}

say "no user namespaces"
closed nobody_here "this host lets no user make a network namespace: its limit of namespaces is reached" "max_user_namespaces" 5
say "no taps"
closed without_tun "cannot open /dev/net/tun" "cannot open /dev/net/tun" 7
say "and when both are open"
fresh_roostd
roost net-destroy default # the one without an uplink
roost start on_default
check_eq "on its network" on_default "$(roost list --name)"
roost destroy on_default
roost net-destroy default
