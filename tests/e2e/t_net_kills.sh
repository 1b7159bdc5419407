#!/bin/sh
# A guest on `default`, with its uplink and a published port, while kill -9 strikes any of its holder, outer, watch, dnsmasq,
# slirp4netns, proxies, keeper and of roostd, two at once, too: all is back within 2 s, by itself, and nothing is left over.
# limit: 180
. "$TOP/tests/e2e/lib.sh"
need tiny-vmlinux tiny-initrd
need_networks

cat >"$TMPDIR/web.yaml" <<END
name: web
memory: 192M
kernel: $GUESTS/tiny-vmlinux
initrd: $GUESTS/tiny-initrd
cmdline: console=ttyS0 no_timer_check quiet
interfaces: [{network: default, publish: ["22"]}]
cloud_init: {hostname: web}
END
# the uplink has something to lead to
if ip link add eth0 type veth peer name world0 2>/dev/null; then
	ip address add 198.51.100.2/24 dev eth0
	ip link set world0 up
	ip link set eth0 up
	ip route add default via 198.51.100.1
fi
at_end() {
	ip link del eth0 2>/dev/null || :
}
roost run -q "$TMPDIR/web.yaml"
/usr/bin/python3 -B "$TOP/tests/e2e/net_kills.py" web
check_eq "the same guest" 1 "$(roost list --id)"
roost destroy web
roost net-destroy default
