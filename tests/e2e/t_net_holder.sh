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
