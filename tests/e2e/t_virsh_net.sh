#!/bin/sh
# virsh net-update: the hosts that a network's DHCP knows, from libvirt's XML; of a guest it is the guest's own address.
. "$TOP/tests/e2e/lib.sh"
. "$TOP/tests/e2e/virsh.sh"
need_networks
export ROOST_ACCEL_FALLBACK=tcg
all="Updated network default persistent config and live state"

# update COMMAND XML [OPTION...]
update() {
	update_command=$1
	update_xml=$2
	shift 2
	virsh net-update default "$update_command" ip-dhcp-host "$update_xml" "$@"
}
hosts() {
	virsh net-dumpxml default | sed -n 's/ *\(<host .*\)/\1/p'
}
# fails REASON COMMAND...
fails() {
	fails_reason=$1
	shift
	printf '$\n2|error: Failed to update network default$\n2|error: %s$\n' "$fails_reason" | answers 1 "$@"
}
# done_so LINE COMMAND...: virsh's own blank line is the end of that one
done_so() {
	done_so_line=$1
	shift
	printf '%s$\n' "$done_so_line" | answers 0 "$@"
}
printer="<host mac='52:54:00:aa:bb:01' name='printer' ip='192.168.122.77'/>"

say "while the network is not there"
fails "Requested operation is not valid: network is not running" update add "$printer" --live
done_so "Updated network default persistent config" update add "$printer" --config
check_eq "it is known" "$printer" "$(hosts)"
done_so "Updated network default persistent config" update delete "<host name='printer'/>"
check_eq "it is forgotten" "" "$(hosts)"

say "while it is"
virsh -q net-start default
done_so "$all" update add "$printer" --live --config
fails "Requested operation is not valid: there is an existing dhcp host entry in network 'default' that matches \"$printer\"" update add-last "$printer"
moved="<host mac='52:54:00:aa:bb:01' name='printer' ip='192.168.122.78'/>"
echo "$moved" >"$TMPDIR/host.xml"
done_so "$all" update modify "$TMPDIR/host.xml"
check_eq "it has moved" "$moved" "$(hosts)"
fails "network 'default': 192.168.122.1 is the address of its gateway" \
	update modify "<host mac='52:54:00:aa:bb:01' ip='192.168.122.1'/>"
check_eq "what cannot be changes nothing" "$moved" "$(hosts)"
done_so "$all" update delete "$moved" --live --config
fails "Requested operation is not valid: couldn't locate a matching dhcp host entry in network 'default'" update delete "$moved"
fails "XML error: Missing IP address in static host definition for network 'default'" \
	update add "<host mac='52:54:00:aa:bb:02' name='x'/>"
fails "XML error: line 1: @adr: has no equivalent" \
	update add "<host mac='52:54:00:aa:bb:02' adr='192.168.122.70' ip='192.168.122.71'/>"
echo "<host mac='52:54:00:aa:bb:09' ip='192.168.122.72'/>" |
	virsh -q net-update default add ip-dhcp-host /dev/stdin
virsh -q net-update default delete ip-dhcp-host "<host ip='192.168.122.72'/>"
virsh net-dumpxml default | virsh -q net-define /dev/stdin
refuses "Failed to open file '/nonexistent.xml': No such file or directory" update add /nonexistent.xml
refuses "Options --current and --live are mutually exclusive" update add "$printer" --live --current
answers 1 virsh net-dhcp-leases default zz <<'E2'
$
2|error: Failed to get leases info for default$
2|error: invalid MAC address: zz$
E2
refuses "Only one argument from --table, --name and --uuid may be specified." virsh net-list --uuid --name
fails "XML error: it is a <network>, and a <host> is wanted" update add "<network/>"
refuses "section dns-host is not there: a name belongs to a host with a MAC address: use ip-dhcp-host" \
	virsh net-update default add dns-host "<host ip='192.168.122.5'/>"
refuses "unrecognized section name 'nosuch'" virsh net-update default add nosuch "<host/>"
refuses "unrecognized command name 'nosuch'" virsh net-update default nosuch ip-dhcp-host "<host/>"

say "guests that were announced by their MAC alone, by another name, and by their name"
done_so "$all" update add "<host mac='52:54:00:aa:bb:06' ip='192.168.122.83'/>" --live --config
done_so "$all" update add "<host mac='52:54:00:aa:bb:07' name='web' ip='192.168.122.84'/>"
done_so "$all" update add "<host mac='52:54:00:aa:bb:03' name='b' ip='192.168.122.79'/>"
for name in c d; do
	mac=52:54:00:aa:bb:06
	[ $name = c ] || mac=52:54:00:aa:bb:07
	printf 'name: %s\nmemory: 32M\ninterfaces: [{network: default, mac: "%s"}]\n' $name $mac >"$TMPDIR/$name.yaml"
	roost define "$TMPDIR/$name.yaml" >/dev/null
done
check_eq "they have the addresses that were announced" "192.168.122.83/24 192.168.122.84/24" \
	"$(for name in c d; do roost domifaddr $name --json | jq -r '.[] | select(.protocol == "ipv4") | "\(.address)/\(.prefix)"'; done | xargs)"
fails "network 'default': 52:54:00:aa:bb:07 is the MAC address of guest 'd'; the network knows it by that name" \
	update add "<host mac='52:54:00:aa:bb:07' name='web' ip='192.168.122.84'/>"
done_so "$all" update delete "<host name='host-52-54-00-aa-bb-06'/>"
roost undefine c >/dev/null
roost undefine d >/dev/null
web="<host mac='52:54:00:aa:bb:07' name='web' ip='192.168.122.84'/>"
check_eq "who was announced outlives the guest, unless it was taken away meanwhile" "$web" "$(hosts | grep -v "name='b'")"
roost define "$TMPDIR/d.yaml" >/dev/null
roost domrename d e >/dev/null
roost undefine e >/dev/null
check_eq "again" "$web" "$(hosts | grep -v "name='b'")"
check_eq "what is announced is no left-over" "[]" "$(roost gc --json)"
done_so "$all" update delete "$web"
need pico.raw
cat >"$TMPDIR/b.yaml" <<-END
	name: b
	memory: 32M
	disks: [{path: $GUESTS/pico.raw, format: raw, readonly: true}]
	interfaces: [{network: default, mac: "52:54:00:aa:bb:03"}]
END
roost define "$TMPDIR/b.yaml" >/dev/null
address() {
	virsh domifaddr b | sed -n 's/.*ipv4 *//p'
}
virsh -q start b 2>/dev/null
check_eq "it has the address that was announced" 192.168.122.79/24 "$(address)"
answers 0 update modify "<host mac='52:54:00:AA:bb:03' name='b' ip='192.168.122.81'/>" --live <<E2
Domain 'b' has the address from its next start on\$
$all\$
E2
check_eq "not yet" 192.168.122.79/24 "$(address)"
virsh -q destroy b
virsh -q start b 2>/dev/null
check_eq "now" 192.168.122.81/24 "$(address)"
fails "network 'default': 52:54:00:aa:bb:03 is the MAC address of guest 'b'; the network knows it by that name" \
	update add "<host mac='52:54:00:aa:bb:03' name='other' ip='192.168.122.82'/>"

say "interfaces of the next start, and of both"
virsh -q destroy b
answers 1 virsh attach-interface b network default <<'E2'
$
2|error: Failed to attach interface$
2|error: Requested operation is not valid: domain is not running$
E2
says "Interface attached successfully" virsh attach-interface b network default --mac 52:54:00:aa:bb:04 --config
virsh -q start b 2>/dev/null
macs() {
	virsh -q domiflist b "$@" | awk '{ print $NF }' | paste -s -d ' ' -
}
check_eq "it is there" "52:54:00:aa:bb:03 52:54:00:aa:bb:04" "$(macs)"
says "Interface attached successfully" virsh attach-interface b network default --mac 52:54:00:aa:bb:05 --live --config
says "Interface detached successfully" virsh detach-interface b network --mac 52:54:00:aa:bb:04 --config
check_eq "now" "52:54:00:aa:bb:03 52:54:00:aa:bb:04 52:54:00:aa:bb:05" "$(macs)"
check_eq "what will be" "52:54:00:aa:bb:03 52:54:00:aa:bb:05" "$(macs --inactive)"
virsh -q destroy b
virsh -q start b 2>/dev/null
check_eq "and later" "52:54:00:aa:bb:03 52:54:00:aa:bb:05" "$(macs)"
check_match "domstats has an interface as domiflist" "^  net.0.name=$(virsh -q domiflist b | awk 'NR == 1 { print $1 }')\$" \
	"$(virsh domstats b --interface)"
