#!/bin/sh
# What a guest is on a network where two things meet: a change that is refused leaves all as it was, no two have one address, and
# a name leads where its guest is.
. "$TOP/tests/e2e/lib.sh"
need_networks
cd "$TMPDIR"

mac=52:54:00:00:00
# guest NAME INTERFACE...: its definition, in NAME.yaml
guest() {
	guest_name=$1
	shift
	printf 'name: %s\ninterfaces:\n' "$guest_name" >"$guest_name.yaml"
	printf '  - {network: lan, %s}\n' "$@" >>"$guest_name.yaml"
}
issued() {
	jq -r '.interfaces[].address' "$ROOST_STATE/guests/$1/guest.json" | tr '\n' ' '
}
# known: whom the network's names tell of, each with its addresses
known() {
	cat "$ROOST_RUN"/n/*/dns/* | awk '$1 !~ /:/ { print $3, $1 }' | sort | tr '\n' ' '
}
files() {
	find "$ROOST_STATE/networks" ! -name '.lock' -printf '%f %l\n' | sort
	known
}
all_well() {
	check_status 0 roost doctor
}
# unchanged YAML WHY: refused, and nothing is other than before
unchanged() {
	before=$(files)
	check_status 5 roost define "$1"
	check_match "why" "$2" "$out"
	check_eq "nothing has changed" "$before" "$(files)"
	all_well
}

printf 'name: lan\naddress: 10.77.0.1/24\naddress6: none\n' | roost net-define - >/dev/null
roost net-start lan
guest other "mac: '$mac:0f', address: 10.77.0.20"
roost define other.yaml

say "a change that is refused at its second interface"
guest two "mac: '$mac:01', address: 10.77.0.11" "mac: '$mac:02', address: 10.77.0.12"
roost define two.yaml
guest bad "mac: '$mac:01', address: 10.77.0.13" "mac: '$mac:02', address: 10.77.0.20"
sed -i 's/^name:.*/name: two/' bad.yaml
unchanged bad.yaml "10.77.0.20 is the address of guest 'other'"
roost net-update lan add host $mac:03 printer 10.77.0.33
guest bad "mac: '$mac:03', address: 10.77.0.34" "address: 10.77.0.20"
unchanged bad.yaml "10.77.0.20 is the address of guest 'other'"

say "a guest's addresses go from one of its interfaces to another"
guest two "mac: '$mac:01', address: 10.77.0.12" "mac: '$mac:02', address: 10.77.0.11"
roost define two.yaml
guest two "mac: '$mac:05', address: 10.77.0.12" "mac: '$mac:02'"
roost define two.yaml
check_eq "one has another MAC address, the other one what it had" "10.77.0.12 10.77.0.11 " "$(issued two)"
guest two "mac: '$mac:05', address: 10.77.0.12" "mac: '$mac:02', address: 10.77.0.12"
check_status 2 roost define two.yaml
check_match "why" "another interface has the address 10.77.0.12" "$out"
guest two "mac: '$mac:05', address: 10.77.0.11"
roost define two.yaml
check_eq "of the one that is left" "other 10.77.0.20 printer 10.77.0.33 two 10.77.0.11 " "$(known)"
all_well

say "its name"
check_status 5 roost domrename two other
check_match "why" "guest 'other' exists already" "$out"
check_eq "nothing has changed" 0 "$(grep -c other "$ROOST_STATE/guests/two/guest.json")"

roost net-update lan add host $mac:21 web >/dev/null
guest site "mac: '$mac:20'" "mac: '$mac:21'"
roost define site.yaml
roost domrename site web
check_eq "by its second interface it was announced so" 2 "$(known | grep -o 'web 10' | wc -l)"
roost undefine web

say "a network becomes smaller"
guest edge "address: 10.77.0.63"
roost define edge.yaml
printf 'name: lan\naddress: 10.77.0.1/26\naddress6: none\n' >small.yaml
check_status 5 roost net-define small.yaml
check_match "its broadcast address is nobody's" "'edge' has the address 10.77.0.63 there already" "$out"
roost undefine edge

need pico.raw
say "plugged and in its definition, then in that no longer"
pico p "interfaces: [{network: lan, mac: '$mac:06', address: 10.77.0.41}]"
roost start p --paused
roost attach-interface p network lan --persistent --mac $mac:07 --address 10.77.0.42
roost detach-interface p $mac:07 --config
guest bad "address: 10.77.0.42"
unchanged bad.yaml "10.77.0.42 is the address of guest 'p'"
of_p() {
	known | grep -o 'p 10[0-9.]*' | sort -u | tr '\n' ' '
}
is_of_p() {
	[ "$(of_p)" = "$1" ] && roost doctor
}

say "defined anew while it runs: its name leads to it, and then to what it is defined with"
interfaces="network: lan, mac: '$mac:06', address: 10.77.0.43}, {network: lan, mac: '$mac:08', address: 10.77.0.44"
sed -i "s/^interfaces.*/interfaces: [{$interfaces}]/" p.yaml
roost define p.yaml
check_eq "while it runs" "p 10.77.0.41 p 10.77.0.42 " "$(of_p)"
roost doctor
roost destroy p
wait_until 5 is_of_p "p 10.77.0.43 p 10.77.0.44 "
roost start p --paused
sed -i "s/^interfaces.*/interfaces: [{network: lan, mac: '$mac:09', address: 10.77.0.44}]/" p.yaml
roost define p.yaml

say "saved as it was, and its address is another's by now"
roost managedsave p
wait_until 5 is_of_p "p 10.77.0.44 "
guest new "address: 10.77.0.43"
roost define new.yaml
check_status 5 roost start p
check_match "why" "10.77.0.43 is the address of guest 'new'" "$out"
wait_until 5 is_of_p "p 10.77.0.44 "
roost undefine new
roost start p --paused
check_eq "it goes on as it was" "p 10.77.0.43 p 10.77.0.44 " "$(of_p)"
roost destroy p
wait_until 5 is_of_p "p 10.77.0.44 "
