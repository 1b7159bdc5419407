#!/bin/sh
# A guest on a bridge that the host has: nothing of it is ours but the tap and its guards. Its address is what somebody else's
# DHCP server gave it, and is found by what was seen; a holder that is killed is back, and afterwards the bridge is as it was.
# user: root
. "$TOP/tests/e2e/lib.sh"
need tiny-vmlinuz tiny-initrd

need_networks

# the LAN, and who serves it
ip link add br9 type bridge
ip addr add 10.55.0.1/24 dev br9
ip link set br9 up
/usr/sbin/dnsmasq --conf-file=/dev/null --interface=br9 --except-interface=lo --bind-interfaces --port=0 --no-ping --keep-in-foreground \
	--dhcp-range=10.55.0.50,10.55.0.60,1h --dhcp-leasefile="$TMPDIR/leases" --pid-file= --user=root 2>"$TMPDIR/dnsmasq.log" &
server=$!

cat >"$TMPDIR/a.yaml" <<END
name: a
memory: 192M
kernel: $GUESTS/tiny-vmlinuz
initrd: $GUESTS/tiny-initrd
cmdline: console=ttyS0 no_timer_check quiet
interfaces: [{bridge: br9}]
cloud_init: true
END
say "it has an address of that network's, and is reached"
roost run -q "$TMPDIR/a.yaml"
address=$(cut -d ' ' -f 3 "$TMPDIR/leases")
check_match "its lease" '^10\.55\.0\.(5[0-9]|60)$' "$address"
check_match "what was seen" " $address/32\$" "$(roost domifaddr a --source arp)"
check_match "domiflist" '^ nic0 +bridge +br9 +virtio ' "$(roost domiflist a)"
check_json "its counters" '.rx_packets > 0 and .tx_packets > 0' "$(roost domifstat a nic0 --json)"
check_status 5 roost domifaddr a --source lease
check_match "roost ssh" '^a$' "$(roost ssh a hostname)"
check_eq "once, though host and guards have seen it" 1 "$(roost domifaddr a --source arp | grep -c " $address/32\$")"
check_match "it is a network" '^ bridge-br9 +active ' "$(roost net-list)"

say "ports of the host do not lead there"
pico p
sed -i 's/^interfaces: .*/interfaces: [{network: bridge-br9, publish: ["80"]}]/' "$TMPDIR/p.yaml"
roost define "$TMPDIR/p.yaml"
check_status 5 roost start p
check_match "why" "network 'bridge-br9', the host's bridge 'br9', are not published" "$out"
check_status 5 roost net-update bridge-br9 add publish a 80
roost undefine p

say "it must not be somebody else, nor a server"
drops() {
	roost net-guard bridge-br9 --json | jq -e --arg why "$1" 'any(.[]; .guest == "a" and .reason == $why)'
}
check_status 1 drops mac
roost ssh root@a "ip link set eth0 address 52:54:00:66:66:66; ping -c 1 -W 1 10.55.0.1; ip link set eth0 address $(roost domiflist a --json | jq -r '.[0].mac')" >/dev/null 2>&1 || :
wait_until 10 drops mac
wait_until 20 roost ssh a true

say "kill -9 of its holder"
pid=$(jq .pid "$ROOST_RUN"/n/*/holder)
kill_and_wait KILL "$pid"
is_back() {
	now=$(jq .pid "$ROOST_RUN"/n/*/holder) && [ "$now" != "$pid" ] && roost net-guard bridge-br9
}
wait_until 5 is_back
check_match "still reached" '^a$' "$(roost ssh a hostname)"

say "its end: the bridge is as it was"
roost destroy a >/dev/null
roost net-destroy bridge-br9 >/dev/null
check_eq "its ports" "" "$(ls /sys/class/net/br9/brif 2>/dev/null || ip -br link show master br9)"
check_no_match "tables" 'roost' "$(nft list tables)"
check_status 0 roost doctor
kill_and_wait TERM "$server"
ip link del br9
