#!/bin/sh
# A network leads to the world, which a third namespace plays: nat, routed and isolated, past the firewalls that hosts have; as
# a user by slirp4netns. What was put on the host goes with the network, whatever was killed.
# limit: 120
. "$TOP/tests/e2e/lib.sh"
need pico.raw
[ -x "$TOP/build/libexec/roost/roost-net" ] || lacking "roost-net (libmnl, libnftables)"
PATH=$PATH:/usr/sbin:/sbin
for program in dnsmasq slirp4netns nft iptables-nft iptables-legacy socat; do
	command -v $program >/dev/null || lacking $program
done

. "$TOP/tests/e2e/world.sh"

# --- a guest, as far as its network sees it: a namespace on the bridge, 192.168.122.77, that tells the same -------------
guest_begin() {
	inner=$(jq .pid "$ROOST_RUN"/n/*/holder)
	$as_user "$TOP/build/bin/roost" net-exec default unshare --net sleep infinity &
	guest=$!
	wait_until 5 elsewhere $guest
	wait_until 5 elsewhere $guest "$inner"
	guest sh -c "$no_detection"
	nsenter -t "$inner" -n ip link add guest0 type veth peer name eth0 netns $guest
	nsenter -t "$inner" -n ip link set guest0 master br0 up
	guest ip address add 192.168.122.77/24 dev eth0
	guest ip -6 address add "${prefix6}77/64" dev eth0 nodad
	guest ip link set eth0 up
	guest ip route add default via 192.168.122.1
	guest ip -6 route replace default via "${prefix6}1"
	# shellcheck disable=SC2016 # it is socat's
	nsenter -t $guest -n socat TCP6-LISTEN:7,fork,reuseaddr SYSTEM:'echo $SOCAT_PEERADDR' &
	guest_server=$!
	guest ip link set lo up
	wait_until 5 guest socat -u /dev/null TCP:127.0.0.1:7
}
guest() {
	nsenter -t $guest -n "$@"
}
guest_end() {
	kill $guest_server $guest
}
at_end() {
	# shellcheck disable=SC2086 # several words are meant
	kill $world $world_server ${guest-} ${guest_server-} ${own-} 2>/dev/null || :
	ip link del eth0 2>/dev/null || :
}

# call COMMAND...: as whom $to sees who calls by this command's socat, or "nobody"
to=203.0.113.7
most=$((5 * E2E_PATIENCE)) # seconds
call() {
	"$@" socat -T $((5 * E2E_PATIENCE)) -u "TCP:$to:7,connect-timeout=$most" - 2>/dev/null | 
		sed 's/[][]//g;s/.*:ffff:c633:640/198.51.100./;s/.*:ffff:c0a8:7a4d/192.168.122.77/;s/.*:ffff:c0a8:7a01/192.168.122.1/' | grep . || echo nobody
}
# what the host has of the network's
on_host() {
	{
		nft list ruleset
		iptables-legacy-save
		ip -o link
	} 2>/dev/null | grep -E 'roost|rn-'
}
start() {
	roost net-start default >"$TMPDIR/told" 2>&1 || fail "net-start: $(cat "$TMPDIR/told")"
	uplink=$(roost net-info default --json | jq .uplink)
}
host6='^(2001:db8:1::2|2001:0db8:0001:0000:0000:0000:0000:0002)$'
other_works() {
	roost net-info default --json | jq -e ".uplink.works and .uplink.pid != $1"
}
has_problem() {
	roost net-info default --json | jq -e ".uplink.problem"
}
gone() {
	[ ! -e "/proc/$1" ]
}
prefix6=$(roost net-info default --json | jq -r '.address6 | sub("1/64"; "")')

if [ "$(id -u)" -ne 0 ]; then
	say "slirp4netns: guests come with the host's address"
	start
	check_json "what there is" '.kind == "slirp4netns" and .works' "$uplink"
	guest_begin
	check_eq "by IPv4" 198.51.100.2 "$(call guest)"
	check_match "by IPv6" "$host6" "$(to="[2001:db8:2::7]" call guest)"
	socat TCP-LISTEN:7,bind=127.0.0.1,fork,reuseaddr SYSTEM:'echo loopback' &
	own=$!
	wait_until 5 socat -u /dev/null TCP:127.0.0.1:7
	check_eq "but not to the host's loopback" nobody "$(to=10.0.2.2 most=1 call guest)"
	kill $own
	say "killed, it comes back; what killed the whole network ends it"
	pid=$(printf %s "$uplink" | jq .pid)
	kill -KILL "$pid"
	wait_until 5 other_works "$pid"
	check_eq "by IPv4" 198.51.100.2 "$(call guest)"
	pid=$(roost net-info default --json | jq .uplink.pid)
	guest_end
	roost net-destroy default
	wait_until 5 gone "$pid"
	say "without it the network works, and says what it lacks"
	# shellcheck disable=SC2046 # several words are meant
	kill_and_wait TERM $(roostd_pids)
	export ROOST_SLIRP4NETNS=/nonexistent
	start
	check_match "said" "does not lead to the world: there is no slirp4netns; install the package slirp4netns" "$(cat "$TMPDIR/told")"
	printf 'name: lab\nmode: routed\n' >"$TMPDIR/lab.yaml"
	roost net-define "$TMPDIR/lab.yaml"
	check_status 5 roost net-start lab
	check_match "root's alone" "network 'lab': only root's networks are routed" "$out"
	exit 0
fi

say "nat: guests come with the host's address, the host reaches them, the world does not"
start
check_match "forwarding" 'forwarding of IPv4 was off on this host: it has been switched on' "$(cat "$TMPDIR/told")"
guest_begin
check_eq "by IPv4" 198.51.100.2 "$(call guest)"
check_match "by IPv6" "$host6" "$(to="[2001:db8:2::7]" call guest)"
check_eq "the host, as one of the network's own" 192.168.122.1 "$(to=192.168.122.77 call)"
guest ip route del default
guest ip -6 route del default
check_eq "so a guest whose default route is elsewhere answers" 192.168.122.1 "$(to=192.168.122.77 call)"
check_match "by IPv6, too" '^(fd|0*:)' "$(to="[${prefix6}77]" call)"
guest ip route add default via 192.168.122.1
guest ip -6 route replace default via "${prefix6}1"
check_eq "the world" nobody "$(to=192.168.122.77 most=1 call world)"
nft flush ruleset
check_eq "whoever flushes all rules flushes not ours" 198.51.100.2 "$(call guest)"

say "another instance's network of that name is not touched"
check_status 5 env ROOST_STATE="$TMPDIR/s" ROOST_RUN="$TMPDIR/r" roost net-start default
check_match "why" "network 'default': another roost-net of this host has a network of this name" "$out"
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(ROOST_RUN=$TMPDIR/r roostd_pids)
check_eq "it goes on" 198.51.100.2 "$(call guest)"

say "Docker comes, and goes"
docker() {
	for iptables; do
		$iptables -N DOCKER-USER
		$iptables -A DOCKER-USER -j RETURN
		# before it drops: who looked in between would find nowhere to go but FORWARD itself
		$iptables -A FORWARD -j DOCKER-USER
		$iptables -P FORWARD DROP
	done
}
# as many with our mark as there should be, not twice as many
has_rules() {
	[ "$(nft list ruleset | grep -c 'comment "roost-')" -eq "$1" ]
}
docker iptables-nft ip6tables-nft
wait_until 5 has_rules 4
check_match "iptables reads them" '-o rn-[0-9a-f]* -m comment --comment roost-' "$(iptables-nft -S DOCKER-USER)"
check_eq "by IPv4" 198.51.100.2 "$(call guest)"
check_match "by IPv6" "$host6" "$(to="[2001:db8:2::7]" call guest)"
nft flush ruleset
docker iptables-nft ip6tables-nft
wait_until 5 has_rules 4

say "killed, it is put right around the guests that live in it"
cp "$GUESTS/pico.raw" "$TMPDIR/p.raw"
cat >"$TMPDIR/p.yaml" <<-END
	name: p
	memory: 32M
	disks:
	  - path: $TMPDIR/p.raw
	    format: raw
	interfaces:
	  - network: default
END
roost define "$TMPDIR/p.yaml"
roost start p
# shellcheck disable=SC2046 # two words are meant
kill -KILL $(jq .pid,.outer "$ROOST_RUN"/n/*/holder)
wait_until 5 other_works 0
check_eq "they reach the world again" 198.51.100.2 "$(call guest)"
nft "add table inet own; add chain inet own forward { type filter hook forward priority 0; policy drop; }"
# shellcheck disable=SC2046 # two words are meant
kill -KILL $(jq .pid,.outer "$ROOST_RUN"/n/*/holder)
wait_until 5 has_problem
check_match "which is told" "Problem: .*the chain forward of table 'inet own'" "$(roost net-info default)"
roost destroy p
check_match "at a guest's start" "^roost: network 'default': .*the chain forward of table 'inet own'" "$(roost start p 2>&1)"
nft delete table inet own
wait_until 5 other_works 0
roost destroy p
guest_end
wait_until 5 has_rules 4
roost net-destroy default
check_eq "nothing stays" "" "$(on_host)"
echo 0 >/proc/sys/net/ipv4/ip_forward
check_match "what a guest's start has changed" "^roost: forwarding of IPv4 was off on this host" "$(roost start p 2>&1)"
roost destroy p
check_no_match "once" "forwarding" "$(roost start p 2>&1)"
roost destroy p
roost net-destroy default

say "gc removes rules of a network that is no more, and of no other"
nft insert rule ip filter DOCKER-USER iifname rn-01234567 counter accept comment roost-01234567
ROOST_STATE="$TMPDIR/s" ROOST_RUN="$TMPDIR/r" roost net-start default >/dev/null
check_match "doctor" "firewall +roost-01234567" "$(roost doctor || :)"
check_match "only told" '^Would remove firewall roost-01234567: ' "$(roost gc)"
check_eq "what doctor finds" "roost-01234567" "$(roost doctor --json | jq -r '.findings[].name')"
check_json "gc" 'length == 1 and .[0].removed' "$(roost gc --yes --json)"
check_status 0 roost doctor
wait_until 5 has_rules 4
ROOST_STATE="$TMPDIR/s" ROOST_RUN="$TMPDIR/r" roost net-destroy default >/dev/null
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(ROOST_RUN=$TMPDIR/r roostd_pids)
check_eq "nothing stays" "" "$(on_host)"

say "what was there before: iptables-legacy and ufw"
nft flush ruleset
# not every kernel has it yet or any more
if iptables-legacy -S >/dev/null 2>&1; then
	docker iptables-legacy
	echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
	start
	echo 0 >/proc/sys/net/ipv6/conf/default/disable_ipv6
	check_eq "on a host without IPv6 as well" "" "$(ip -6 -o address show dev "$(printf %s "$uplink" | jq -r .host)")"
	check_match "legacy" '^-A DOCKER-USER -o rn-[0-9a-f]* -m comment --comment roost-[0-9a-f]* -j ACCEPT' "$(iptables-legacy -S)"
	roost net-destroy default
	iptables-legacy -F
	iptables-legacy -P FORWARD ACCEPT
fi
iptables-nft -P FORWARD DROP
for chain in before user; do
	iptables-nft -N ufw-$chain-forward
done
iptables-nft -A ufw-user-forward -s 192.168.122.99 -j DROP
iptables-nft -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables-nft -A ufw-before-forward -j ufw-user-forward
iptables-nft -A FORWARD -j ufw-before-forward
start
check_match "ufw" '^-A ufw-user-forward -s 192.168.122.99/32 -j DROP -A ufw-user-forward -[io] rn' "$(iptables-nft -S ufw-user-forward | tail -n +2 | xargs)"
roost net-destroy default
check_eq "nothing stays" "" "$(on_host)"
nft flush ruleset

say "what cannot be opened is named"
nft -f - <<-END
	table inet firewalld {
		chain filter_FORWARD {
			type filter hook forward priority filter + 10; policy accept;
			ct state established,related accept
			jump filter_FORWARD_ZONES
			reject with icmpx admin-prohibited
		}
		chain filter_FORWARD_ZONES {
			iifname "eth0" goto filter_FWD_public
			goto filter_FWD_public
		}
		chain filter_FWD_public {
		}
	}
END
check_status 5 roost net-start default
check_match "which" "network 'default': this host's firewall drops what guests send to the world: the chain filter_FORWARD of table 'inet firewalld' \(firewalld\)" "$out"
check_match "what to do" 'firewall-cmd --permanent --zone=trusted --add-interface=rn-[0-9a-f]{8} && firewall-cmd --reload' "$out"
check_eq "nothing stays" "" "$(on_host)"
check_match "validate" '^WARN  uplink .*firewalld' "$(roost validate)"
nft add rule inet firewalld filter_FWD_public oifname eth0 accept
start
nft flush ruleset
roost net-destroy default

say "routed: guests come with their own address, and are called by it"
roost net-dumpyaml default | sed 's/^mode: .*/mode: routed/' >"$TMPDIR/default.yaml"
grep -q '^mode: routed' "$TMPDIR/default.yaml" || echo 'mode: routed' >>"$TMPDIR/default.yaml"
roost net-define "$TMPDIR/default.yaml"
ip route add 100.64.0.0/10 dev eth0
start
guest_begin
check_match "the way to it avoids the host's routes" 'inet 10\.' "$(ip -o address show dev "$(printf %s "$uplink" | jq -r .host)")"
check_eq "the host" 192.168.122.1 "$(to=192.168.122.77 call)"
check_eq "out" 192.168.122.77 "$(call guest)"
check_eq "in" 198.51.100.1 "$(to=192.168.122.77 call world)"
guest_end
roost net-destroy default

say "a host that takes its IPv6 route from advertisements keeps it"
echo 0 >/proc/sys/net/ipv6/conf/all/forwarding
ip -6 route replace default via 2001:db8:1::1 dev eth0 proto ra
start
check_match "what it would take" 'guests have no IPv6 to the world: .*net.ipv6.conf.eth0.accept_ra=2' "$(cat "$TMPDIR/told")"
check_eq "not switched on" 0 "$(cat /proc/sys/net/ipv6/conf/all/forwarding)"
roost net-destroy default

say "isolated: no way out"
sed 's/^mode: .*/mode: isolated/' "$TMPDIR/default.yaml" | roost net-define -
start
check_json "none" '.kind == "none"' "$uplink"
check_status 1 roost net-exec default ip link show up0
check_eq "nothing on the host" "" "$(on_host)"
roost net-destroy default

say "a bridge of the host's, whose frames br_netfilter sends through the host's filters"
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
	echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
	docker iptables-nft
	ip link add br9 type bridge
	printf 'name: lan\nmode: bridge\nbridge: br9\n' | roost net-define -
	roost net-start lan
	check_match "its own frames alone" '^-A DOCKER-USER -i br9 -o br9 -m comment' "$(iptables-nft -S DOCKER-USER)"
	roost net-destroy lan
	check_eq "nothing stays" "" "$(on_host)"
	nft flush ruleset
	iptables-nft -P FORWARD DROP
	check_match "what cannot be opened is told" 'passes the bridge br9, and may drop it: the chain FORWARD of .*bridge-nf-call-iptables=0' "$(roost net-start lan 2>&1)"
	roost net-destroy lan
	ip link del br9
	nft flush ruleset
fi
