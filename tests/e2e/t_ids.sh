#!/bin/sh
# A guest is its name, its Id or its UUID, to every verb; and what is told of it has its name. (ssh, scp and others that
# need Linux: t_look_tiny.sh)
# limit: 240
. "$TOP/tests/e2e/lib.sh"
need pico.raw

pico one "display: vga" "max_memory: 64M" "max_vcpus: 2"
pico two
uuid=$(roost domuuid one)
qemu-img create -q -f qcow2 "$TMPDIR/data.qcow2" 1M

# ask EXPECTED WORD...: it must succeed and tell that, an extended regular expression
ask() {
	ask_expected=$1
	shift
	check_status 0 roost "$@"
	check_match "roost $*" "$ask_expected" "$out"
	! printf '%s' "$out" | grep -q "'$guest'" || [ "$guest" = one ] || fail "roost $*: told by another word: $out"
}

booted_again() {
	[ "$(boots one)" -gt "$booted" ]
}

for form in name id uuid UUID; do
	case $form in
	name) guest=one ;;
	uuid) guest=$uuid ;;
	UUID) guest=$(echo "$uuid" | tr a-f A-F) ;;
	*) guest=one ;;
	esac
	say "by its $form: before it runs"
	ask '^shut off' domstate "$guest"
	ask "^Guest 'one' marked as autostarted" autostart "$guest"
	ask "^Guest 'one' unmarked" autostart --disable "$guest"
	ask "^Guest 'one' may have 64 MiB" setmaxmem "$guest" 64M
	ask "^Guest 'one' started" start "$guest"
	[ $form != id ] || guest=$(roost domid one)
	wait_until 30 is_up one

	say "by its $form: $guest"
	ask '^running' domstate "$guest"
	ask "^UUID: +$uuid" dominfo "$guest"
	ask qemu-system dominfo --argv "$guest"
	ask "^$(roost domid one)\$" domid "$guest"
	ask "^$uuid\$" domuuid "$guest"
	ask '^one$' domname "$guest"
	ask "^Guest 'one' suspended" suspend "$guest"
	ask "^Guest 'one' resumed" resume "$guest"
	booted=$(boots one)
	ask "^Guest 'one' reset" reset "$guest"
	# its firmware resets it once more by itself, which would complete an unplug
	wait_until 30 booted_again
	wait_until 30 is_up one
	ask "^Guest 'one' has reached 'running'" wait -q --for running "$guest"
	ask "^running" timeline "$guest"
	ask PICO-UP logs "$guest"
	ask ROOST_RUNG logs --events "$guest"
	ask running qmp "$guest" query-status
	ask "^Guest 'one' will have 32 MiB" setmem --config "$guest" 32M
	ask "^Guest 'one' will have 1 vCPUs" setvcpus --config "$guest" 1
	ask "^Guest 'one' has 1 vCPUs" setvcpus --live "$guest" 1
	ask "attached as vdb" attach-disk "$guest" "$TMPDIR/data.qcow2" --format qcow2 --target vdb
	ask "resized" blockresize "$guest" vdb 2M
	ask "vdb" domblklist "$guest"
	ask "2097152" domblkinfo "$guest" vdb
	ask "vdb rd_req" domblkstat "$guest" vdb
	ask "block.1.name=vdb" domstats "$guest"
	ask "attached" attach-interface "$guest" user --restrict --mac 52:54:00:00:00:07 --forward -22
	ask "52:54:00:00:00:07" domiflist "$guest"
	ask "127.0.0.1:[0-9]+->22" domifaddr "$guest"
	ask "^VCPU" vcpuinfo "$guest"
	ask "^current" vcpucount "$guest"
	ask "guest 'one'" send-key "$guest" a
	ask "guest 'one'" inject-nmi "$guest"
	ask "." screenshot "$guest" "$TMPDIR/$form.png"
	# what the guest must answer, and pico does not: refused by name
	refused() {
		check_status 5 roost "$@"
		check_match "roost $*" "guest 'one'" "$out"
	}
	refused domifstat "$guest" 52:54:00:00:00:07
	refused domifaddr "$guest" --source agent
	refused agent "$guest" '{"execute":"guest-ping"}'
	refused cancel "$guest"
	check_status 8 roost detach-disk "$guest" vdb --timeout 100ms
	check_match "detach-disk" "has not answered" "$out"
	check_status 8 roost detach-interface "$guest" 52:54:00:00:00:07 --timeout 100ms
	timeout $((20 * E2E_PATIENCE)) roost events "$guest" -n 2 >"$TMPDIR/events" &
	events=$!
	# whoever begins to listen between the two hears one of them
	heard() {
		roost suspend one && roost resume one && [ "$(wc -l <"$TMPDIR/events")" -ge 2 ]
	}
	wait_until 10 heard
	wait $events
	check_match "events" ' one ' "$(cat "$TMPDIR/events")"
	shows x x roost console --replay "$guest"
	check_match "console" PICO-UP "$(tr -d '\r' <"$TMPDIR/shown")"
	ask "^Guest 'one' is being shut down" shutdown --no-wait "$guest"
	wait_until 20 is_state one "shut off"
	if [ $form = id ]; then
		check_status 3 roost domstate "$guest"
		check_match "an Id goes with its run" "no guest runs with Id $guest" "$out"
	fi
	check_eq "the other one" "shut off" "$(state two)"
done

say "destroyed, undefined, and two at once"
roost start one
roost start two
roost destroy "$(roost domid one)" | grep -q "^Guest 'one' destroyed" || fail "destroy by Id tells another name"
check_eq "the other one goes on" running "$(state two)"
roost destroy "$(roost domuuid two)" | grep -q "^Guest 'two' destroyed" || fail "destroy by UUID tells another name"
roost undefine "$uuid" | grep -q "^Guest 'one' undefined" || fail "undefine by UUID tells another name"
check_status 3 roost domstate "$uuid"
check_match "gone" "no guest|there is no guest" "$out"

say "what names nobody"
for word in 0 99999999999999999999999 -1 "$uuid-" ../one "" "o ne" 00000000-0000-0000-0000-000000000000; do
	status=0
	roost domstate -- "$word" >/dev/null 2>&1 || status=$?
	[ $status -eq 2 ] || [ $status -eq 3 ] || fail "'$word' ended with $status"
done
