#!/bin/sh
# Two Linux guests on the network `default`: addresses from before their first boot, names, TCP both ways, a published port, a
# cable that is pulled; what happens to a guest and its address goes together.
# limit: 240
. "$TOP/tests/e2e/lib.sh"
need tiny-vmlinux tiny-initrd
need_networks
command -v socat >/dev/null || lacking socat
. "$TOP/tests/e2e/world.sh"

# tiny NAME INTERFACE: a definition of a Linux guest with this one
tiny() {
	cat >"$TMPDIR/$1.yaml" <<-END
		name: $1
		memory: 192M
		kernel: $GUESTS/tiny-vmlinux
		initrd: $GUESTS/tiny-initrd
		cmdline: console=ttyS0 no_timer_check quiet
		disks: [{size: 16M}]
		interfaces:
		  - $2
		cloud_init: {hostname: $1}
	END
}
# inside NAME COMMAND: in that guest
inside() {
	roost ssh "root@$1" "$2" </dev/null
}
# address NAME: the issued one, as domifaddr tells it
address() {
	roost domifaddr "$1" --json | jq -r '.[] | select(.source == "issued" and .protocol == "ipv4") | .address'
}
# issued: who has which address
issued() {
	jq -r '.guest + " " + .address' "$ROOST_STATE"/networks/default.addresses/*
}
# asked_for NUMBER: an address to ask for: ending so, or in the next number, as 'one' has what its random MAC led to
asked_for() {
	[ "$one" != "${one%.*}.$1" ] || set -- $(($1 + 1))
	echo "${one%.*}.$1"
}
is_named() {
	inside two "nslookup $1" | grep -q "Address.*: $2\$"
}
keeper_is_another() {
	[ "$(of_status one keeper_pid)" != "$1" ] && is_state one running
}

say "an address before the first boot"
tiny one '{network: default, publish: ["22"], queues: 2}'
echo 'vcpus: 2' >>"$TMPDIR/one.yaml"
roost define "$TMPDIR/one.yaml"
one=$(address one)
check_match "domifaddr" "^ nic0 +52:54:00:[0-9a-f:]+ +ipv4 +$one/24\$" "$(roost domifaddr one)"
check_match "domiflist" "^ nic0 +network +default +virtio +52:54:00:" "$(roost domiflist one)"
check_eq "its name" one.default.internal "$(roost domiflist one --json | jq -r '.[0].hostname')"
two=$(asked_for 222)
tiny two "{network: default, address: $two}"
roost define "$TMPDIR/two.yaml"
check_eq "the one asked for" "$two" "$(address two)"
tiny three "{network: default, address: $two}"
check_status 5 roost define "$TMPDIR/three.yaml"
check_match "whose it is" "guest 'two'" "$out"
check_eq "nothing is left of it" "one two" "$(roost list --all --name | xargs)"
was=$(issued)
check_status 5 roost attach-interface one network default
check_match "it does not run" "guest 'one' is not running" "$out"
check_eq "nothing was issued for it" "$was" "$(issued)"

say "two guests"
roost run "$TMPDIR/one.yaml" --quiet >"$TMPDIR/one.out" 2>&1 &
first=$!
roost run "$TMPDIR/two.yaml" --quiet >"$TMPDIR/two.out" 2>&1 || fail "two: $(cat "$TMPDIR/two.out")"
wait $first || fail "one: $(cat "$TMPDIR/one.out")"
check_json "leased" "map(.address) | index(\"$one\") and index(\"$two\")" "$(roost net-dhcp-leases default --json)"
check_match "domifaddr --source lease" " ipv4 +$one/24\$" "$(roost domifaddr one --source lease)"
check_eq "its tap" "t$(basename "$(run_dir one)")00" "$(roost domiflist one --json | jq -r '.[0].tap')"
banner=$(socat -t $((5 * E2E_PATIENCE)) - "TCP4:127.0.0.1:$(jq -r '.forwards[0].port' "$(run_dir one)/status")" </dev/null | head -n 1)
check_match "the published port" '^SSH-2.0' "$banner"

say "names and TCP"
said=$(inside one "nslookup two; nslookup two.default.internal; nslookup $two; nc -w 20 two 22 </dev/null | head -n 1")
check_match "forward" "Address.*: $two\$" "$said"
check_match "reverse" "name = two\\.default\\.internal" "$said"
check_match "TCP there" "^SSH-2.0" "$said"
check_match "TCP back" "^SSH-2.0" "$(inside two "nc -w 20 one.default.internal 22 </dev/null | head -n 1")"
check_json "counted" '.rx_bytes > 1000 and .tx_bytes > 1000' "$(roost domifstat one nic0 --json)"

say "the world"
for guest in one two; do
	check_match "$guest: by IPv4" "198[.]51[.]100[.]2|ffff:c633:6402" "$(inside $guest "nc -w 20 203.0.113.7 7 </dev/null")"
done
# its address and its way come with the router's word, perhaps later than the lease
by_ipv6() {
	inside two "nc -w 5 2001:db8:2::7 7 </dev/null" | grep -E "2001:0?db8:0*1:.*:0*2\\]?\$"
}
wait_until 30 by_ipv6

say "an interface that is plugged: its address is given back"
was=$(issued)
second=$(asked_for 244)
plug() {
	roost attach-interface one network default --address "$second"
}
plug
check_match "domiflist" "^ nic100 +network +default +virtio +52:54:00:[0-9a-f:]+ +t$(basename "$(run_dir one)")2s\$" "$(roost domiflist one)"
check_eq "issued" "one $second" "$(issued | grep -wF "$second")"
wait_until 10 inside one "[ -e /sys/class/net/eth1 ]" # it must have seen it to let it go
roost detach-interface one nic100
check_eq "unplugged" "$was" "$(issued)"
check_status 2 roost attach-interface one network default --queues 99
check_status 2 roost attach-interface one user --isolated
check_eq "nothing was issued" "$was" "$(issued)"
roost attach-interface one network default --isolated --queues 2 --mtu 1300
check_json "as asked for" '.taps[] | select(.nic == 100) | .isolated and .queues == 2 and .mtu == 1300' \
	"$(qmp "$(echo "$ROOST_RUN"/n/*/net.sock)" net-status)"
wait_until 10 inside one "grep -qx 1300 /sys/class/net/eth1/mtu"
check_eq "queues, of this and of the first" "2 2" "$(inside one "for i in 1 0; do ls -d /sys/class/net/eth\$i/queues/rx-* | wc -l; done" | xargs)"
roost detach-interface one "$(roost domiflist one --json | jq -r '.[1].tap')"
plug

say "a cable that is pulled"
# from here on by its address: its name leads to that of the plugged interface, too
inside one '(until grep -qx 0 /sys/class/net/eth0/carrier; do usleep 100000; done; echo CABLE-PULLED >/dev/ttyS0) >/dev/null 2>&1 &'
roost domif-setlink one nic0 down
check_match "getlink" "down" "$(roost domif-getlink one nic0)"
wait_until 10 console_has one CABLE-PULLED
inside two "ping -c 1 -W 1 $one" >/dev/null && fail "it answers without a cable"
roost domif-setlink one nic0 up
wait_until 10 inside two "ping -c 1 -W 1 $one" >/dev/null

pico p
sed -i 's/^interfaces: .*/interfaces: [{network: default, link: down}]/' "$TMPDIR/p.yaml"
roost define "$TMPDIR/p.yaml"
roost start p
check_match "down from its start on" "down" "$(roost domif-getlink p nic0)"
roost domif-setlink p nic0 up
check_eq "now" "nic0 up" "$(roost domif-getlink p nic0)"
check_eq "at its next start" "nic0 down" "$(roost domif-getlink p nic0 --config)"
check_match "its tap" "LOWER_UP" "$(roost net-exec default ip -br link show "$(roost domiflist p --json | jq -r '.[0].tap')")"
roost destroy p
roost undefine p

say "its keeper is killed: no packet is lost"
inside two "ping -c 15 -i 0.2 -W 10 $one" >"$TMPDIR/ping" &
pinging=$!
wait_until 10 grep -q 'bytes from' "$TMPDIR/ping"
keeper=$(of_status one keeper_pid)
kill_and_wait KILL "$keeper"
wait $pinging || fail "ping: $(cat "$TMPDIR/ping")"
check_match "ping" " 0% packet loss" "$(cat "$TMPDIR/ping")"
wait_until 10 keeper_is_another "$keeper"

say "it is saved, and goes on with its address"
inside one 'echo kept >/tmp/kept'
roost save one "$TMPDIR/one.save"
inside two "ping -c 1 -W 1 $one" >/dev/null && fail "it answers while it is saved"
check_eq "it keeps what was plugged" "one $second" "$(issued | grep -wF "$second")"
check_status 0 roost doctor
roost restore "$TMPDIR/one.save"
check_eq "the same system" kept "$(inside one 'cat /tmp/kept')"
check_match "TCP to it" "^SSH-2.0" "$(inside two "nc -w 20 $one 22 </dev/null | head -n 1")"

say "a snapshot with its RAM"
roost snapshot-create-as one s1
inside one 'echo later >/tmp/kept'
roost snapshot-revert one s1 --force
check_eq "as it was" kept "$(inside one 'cat /tmp/kept')"
check_match "TCP to it" "^SSH-2.0" "$(inside two "nc -w 20 $one 22 </dev/null | head -n 1")"

say "renamed, cloned, undefined"
three=$(asked_for 233)
tiny three "{network: default, address: $three}"
roost define "$TMPDIR/three.yaml"
wait_until 5 is_named three "$three"
roost domrename three third
wait_until 5 is_named third "$three"
is_named three "$three" && fail "the former name is still answered"
roost clone third fourth
fourth=$(address fourth)
[ "$fourth" != "$three" ] || fail "a clone has its source's address"
check_eq "who has which" "$(printf '%s\n' "fourth $fourth" "one $one" "one $second" "third $three" "two $two" | sort)" \
	"$(issued | sort)"
roost undefine third
roost undefine fourth
check_eq "given back" "$(printf '%s\n' "one $one" "one $second" "two $two" | sort)" "$(issued | sort)"
tiny fifth "{network: default, address: $three}"
roost define "$TMPDIR/fifth.yaml"

say "an image on a network"
roost run "$GUESTS/tiny.qcow2" --name sixth --memory 192M --network default --publish 22 --publish 0.0.0.0:5353:53/udp --for qmp --quiet
check_json "its interface" '.interfaces[0] | .network == "default" and .publish == ["127.0.0.1::22/tcp", "0.0.0.0:5353:53/udp"]' \
	"$(roost dumpyaml sixth --json)"
roost destroy sixth

roost destroy one
is_given_back() {
	! issued | grep -wF "$second"
}
wait_until 5 is_given_back
roost destroy two
roost net-destroy default
world_end
