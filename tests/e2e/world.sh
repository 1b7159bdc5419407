# shellcheck shell=sh
# The world as a third namespace, for tests whose guests are to reach it: to be sourced behind lib.sh. `world COMMAND` runs there.
# 203.0.113.7 and 2001:db8:2::7 tell on port 7 who has called.
# The test's namespace is the host; a plain user needs one in which he may lay cables, and gives that power up for what he tries.
if [ "$(id -u)" -ne 0 ] && [ -z "${E2E_HOST-}" ]; then
	E2E_HOST=1 exec unshare --user --map-current-user --keep-caps --net sh "$0"
fi
as_user=
[ "$(id -u)" -eq 0 ] || {
	as_user="setpriv --ambient-caps=-all --inh-caps=-all"
	roost() {
		$as_user "$TOP/build/bin/roost" "$@"
	}
}
# elsewhere PID: it is in another namespace by now
elsewhere() {
	[ "$(readlink "/proc/$1/ns/net")" != "$(readlink "/proc/${2:-self}/ns/net")" ]
}

ip link set lo up
# until world_end, however long a busy machine takes for the test
unshare --net sleep infinity &
world=$!
world() {
	nsenter -t $world -n "$@"
}
wait_until 5 elsewhere $world
# IPv6 speaks at once
no_detection='echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'
sh -c "$no_detection"
world sh -c "$no_detection"
ip link add eth0 type veth peer name world0 netns $world
ip address add 198.51.100.2/24 dev eth0
ip address add 2001:db8:1::2/64 dev eth0 nodad
ip link set eth0 up
world ip link set lo up
world ip address add 198.51.100.1/24 dev world0
world ip address add 2001:db8:1::1/64 dev world0 nodad
world ip address add 203.0.113.7/32 dev lo
world ip address add 2001:db8:2::7/128 dev lo
world ip link set world0 up
ip route add default via 198.51.100.1
ip -6 route add default via 2001:db8:1::1
world ip route add 192.168.122.0/24 via 198.51.100.2
# shellcheck disable=SC2016 # it is socat's
nsenter -t $world -n socat TCP6-LISTEN:7,fork,reuseaddr SYSTEM:'echo $SOCAT_PEERADDR' &
world_server=$!
world_end() {
	kill_and_wait TERM "$world_server"
	kill_and_wait TERM "$world"
}
wait_until 5 world socat -u /dev/null TCP:203.0.113.7:7
