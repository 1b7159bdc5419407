#!/bin/sh
# doctor explains what differs from the records, and gc removes what nobody owns, but only when it is told to; what a
# guest may still want is never removed.
. "$TOP/tests/e2e/lib.sh"

# finds KIND NAME-REGEX
finds() {
	check_status 1 roost doctor
	check_match "doctor" "^$1 [^:]*$2[^:]*: ." "$out"
}

say "a guest that runs, a clone that has gone, nothing to find"
started a
check_status 0 roost doctor
check_match "all is well" '^Everything is as it should be: [0-9]+ ' "$out"
check_json "as JSON" '.looked > 2 and .findings == []' "$(roost doctor --json)"
check_status 0 roost gc
check_match "nothing" '^There is nothing that nobody owns' "$out"

say "what was killed has left something"
mkdir -p "$ROOST_STATE/guests/.new-b" "$ROOST_RUN/g/0123456789ab" "$ROOST_STATE/bases/0123456789ab" "$ROOST_STATE/images/.new-x"
touch -d '1 minute ago' "$ROOST_RUN/g/0123456789ab"
echo data >"$ROOST_STATE/bases/0123456789ab/disk0.qcow2"
mkdir "$TMPDIR/bin"
cp "$(command -v sleep)" "$TMPDIR/bin/swtpm"
"$TMPDIR/bin/swtpm" 300 9>"$ROOST_STATE/tpm-state" &
swtpm=$!
mkdir "$TMPDIR/other"
own=--mount
[ "$(id -u)" -eq 0 ] || own='--mount --user --map-root-user'
# shellcheck disable=SC2016,SC2086 # expanded in there; several words
unshare $own sh -c 'mount --bind "$TMPDIR/other" "$ROOST_STATE" && exec "$TMPDIR/bin/swtpm" 300 9>"$ROOST_STATE/tpm-state"' &
others=$!
runs_others() {
	[ "$(cat "/proc/$others/comm")" = swtpm ]
}
wait_until 10 runs_others
finds half-made '/guests/\.new-b'
finds run-folder '/g/0123456789ab'
finds base '/bases/0123456789ab/disk0.qcow2'
finds image '\.new-x'
seen() {
	roost doctor | grep -q "^process swtpm, process $swtpm: "
}
wait_until 10 seen
[ -e "$TMPDIR/other/tpm-state" ] || fail "there is no other one"
check_no_match "what another instance runs under the same name" "process $others" "$(roost doctor)"
check_status 0 roost gc
check_match "only told" '^Nothing was removed: .roost gc --yes. does it' "$out"
check_eq "how many" 5 "$(printf '%s\n' "$out" | grep -c '^Would remove ')"
for left in "$ROOST_STATE/guests/.new-b" "$ROOST_RUN/g/0123456789ab" "$ROOST_STATE/bases/0123456789ab/disk0.qcow2" "$ROOST_STATE/images/.new-x"; do
	[ -e "$left" ] || fail "gc without --yes removed $left"
done
kill -0 "$swtpm" || fail "gc without --yes ended a process"
check_json "as JSON" 'length == 5 and all(.[]; .unowned and (.removed | not))' "$(roost gc --json)"
check_json "removed" 'length == 5 and all(.[]; .removed)' "$(roost gc --yes --json)"
wait "$swtpm" 2>/dev/null || :
kill "$others" || fail "gc --yes ended another instance's process"
wait "$others" 2>/dev/null || :
for left in "$ROOST_STATE/guests/.new-b" "$ROOST_RUN/g/0123456789ab" "$ROOST_STATE/bases/0123456789ab" "$ROOST_STATE/images/.new-x"; do
	[ ! -e "$left" ] || fail "gc --yes left $left"
done
rm "$ROOST_STATE/tpm-state"
check_status 0 roost doctor

say "a network: an address that nobody has"
roost net-start default >/dev/null
mkdir -p "$ROOST_STATE/networks/default.addresses"
check_status 0 roost doctor
jq -n '{mac: "52:54:00:00:00:99", guest: "gone", uuid: "none", nic: 0, address: "192.168.122.250", address6: ""}' \
	>"$ROOST_STATE/networks/default.addresses/192.168.122.250"
finds address '192\.168\.122\.250'
check_json "removed" 'length == 1 and all(.[]; .removed)' "$(roost gc --yes --json)"
check_status 0 roost doctor
mkdir "$ROOST_STATE/networks/gone.addresses"
finds addresses '/networks/gone\.addresses'
check_json "removed" 'length == 1 and all(.[]; .removed)' "$(roost gc --yes --json)"
echo '{' >"$ROOST_STATE/networks/torn.json"
finds network torn
check_status 5 roost net-start torn
check_match "what to do" "mend or remove $ROOST_STATE/networks/torn.json" "$out"
rm "$ROOST_STATE/networks/torn.json"
check_status 0 roost doctor
kill_and_wait KILL "$(cat "$ROOST_RUN"/n/*/holder | jq .pid)"
wait_until 5 roost doctor

say "a network is not as its holder made it"
# it makes its socket anew in a second, so that is told of one that has just gone
lost() {
	rm -f "$ROOST_RUN"/n/*/net.sock
	roost doctor | grep "^network [^:]*default[^:]*: ."
}
wait_until 10 lost
wait_until 5 roost doctor
pico n >/dev/null
sed -i 's/^interfaces: .*/interfaces: [{network: default}]/' "$TMPDIR/n.yaml"
roost define "$TMPDIR/n.yaml" >/dev/null
roost start n >/dev/null
tap=$(roost domiflist n --json | jq -r '.[0].tap')
inside() {
	inner=$(jq .pid "$ROOST_RUN"/n/*/holder)
	if [ "$(id -u)" -eq 0 ]; then
		nsenter -t "$inner" -n "$@"
	else
		nsenter -t "$inner" -U --preserve-credentials -n "$@"
	fi
}
check_status 0 roost doctor
for harm in "flush ruleset" "flush chain bridge roost look" "delete table inet roost" "delete element bridge roost ports { $tap }" \
	"add element bridge roost ports { t99 }"; do
	# shellcheck disable=SC2086 # several words are meant
	inside nft $harm
	wait_until 5 roost doctor
	check_match "the guards after '$harm'" "iifname . ether saddr != @macs" "$(inside nft list ruleset)"
done
inside ip link set "$tap" nomaster
finds tap "default, $tap"
folder=$(echo "$ROOST_RUN"/n/*)
rm "$folder"/ports/* "$folder"/dns/* "$folder/leases"
echo '192.168.122.9 ghost' >"$folder/dhcp/ghost"
finds tap "default, $tap"
finds names 'default, dhcp/ghost'
check_match "the same" "^names default, dns/52:54:00:.*guest 'n' gets no name" "$out"
check_match "the same" '^leases default, leases: ' "$out"
inside ip address del "$(roost net-info default --json | jq -r .address)" dev br0
finds bridge "default, br0"
inside ip link set br0 down
inside ip link set "$tap" down
finds bridge "default, br0"
check_match "the same" "^tap default, $tap: it is down" "$out"
[ "$(id -u)" -ne 0 ] || {
	echo 0 >/proc/sys/net/ipv4/ip_forward
	finds uplink default
}
roost net-destroy default >/dev/null
finds interface "n, nic0"
roost net-start default >/dev/null
check_status 0 roost doctor
inside ip link del br0
finds bridge "default, br0"
roost net-destroy default >/dev/null
roost net-start default >/dev/null
check_status 0 roost doctor
roost destroy n >/dev/null
roost undefine n >/dev/null
roost net-destroy default >/dev/null
check_status 0 roost doctor

say "what a guest may still want is told, and stays"
pico b >/dev/null
roost define - >/dev/null <<-END
	{name: c, memory: 64M, disks: [{size: 1M}]}
END
rm "$ROOST_STATE/guests/c/disk0.qcow2"
finds disk c
cp "$ROOST_STATE/guests/b/guest.json" "$TMPDIR/b.json"
echo '{' >"$ROOST_STATE/guests/b/guest.json"
finds record b
check_json "gc lets it be" 'length == 0' "$(roost gc --yes --json)"
[ -s "$ROOST_STATE/guests/b/guest.json" ] || fail "gc removed a record"
cp "$TMPDIR/b.json" "$ROOST_STATE/guests/b/guest.json"
roost undefine c --remove-all-storage >/dev/null
roost undefine b >/dev/null
check_status 0 roost doctor
check_eq "the guest never noticed" running "$(state a)"
