#!/bin/sh
# Networks: starting one, plugging an interface on one into a running guest, and how fast a guest sends to the host.
. "$TOP/tests/bench/lib.sh"
need tiny-vmlinuz tiny-initrd

net_start=$(measure -n 11 --after 'roost net-destroy default >/dev/null' roost net-start default)
result m "net-start, with bridge, guards, DHCP, DNS, uplink and its proof" "$net_start" "at most" 250 ms

cat >a.yaml <<END
name: a
memory: 256M
kernel: $GUESTS/tiny-vmlinuz
initrd: $GUESTS/tiny-initrd
cmdline: console=ttyS0 no_timer_check quiet
interfaces: [{network: default}]
cloud_init: true
END
roost run -q a.yaml
plug=$(measure -n 7 --after 'roost detach-interface a 52:54:00:00:99:01 >/dev/null' \
	roost attach-interface a network default --mac 52:54:00:00:99:01)
result n "attach-interface of a running guest, its address issued" "$plug" "at most" 100 ms
speed=$(/usr/bin/python3 -B "$TOP/tests/bench/net_speed.py" a "$(echo "$ROOST_RUN"/g/*/guest.sock)" "$(roost domifaddr a --json | jq -r '[.. | strings | select(test("^192[.]168[.]"))][0] | split("/")[0]')")
result o "guest to host, against a bare tap" "$(echo "$speed" | jq .ratio)" "at least" 0.95 times \
	"$(echo "$speed" | jq -r '"\(.network) against \(.bare) MB/s"')"
