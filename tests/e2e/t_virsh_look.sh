#!/bin/sh
# virsh: what becomes of guests as it happens, what is at work, and what the host has.
. "$TOP/tests/e2e/lib.sh"
. "$TOP/tests/e2e/virsh.sh"
need pico.raw
export ROOST_ACCEL_FALLBACK=tcg
pico a
pico b >/dev/null

say "typed at a terminal: completion and history"
if ldconfig -p | grep -q libedit.so; then
	python3 "$TOP/tests/e2e/virsh_keys.py" <<'E2'
domstats b\t\n => Domain: 'b'
domstate --re\ta\n => shut off (unknown)
\x10\n => shut off (unknown)
net-info defau\t\n => Autostart:
nosu\t\n => unknown command: 'nosu'
E2
else # then a terminal's own lines are read
	[ -z "${CI-}" ] || lacking libedit
fi

say "events"
says lifecycle virsh event --list
refuses "one of --list, --all, or --event <type> is required" virsh event a
refuses "unknown event type nosuch; \`roost events\` tells of what else happens" virsh event --event nosuch
answers 1 virsh event --all --timeout 1 <<'E2'
event loop timed out$
events received: 0$
$
E2
# the shell that becomes virsh catches it, too, for a moment
catches_interrupt() {
	[ "$(cat "/proc/$1/comm")" = virsh ] && grep -q '^SigCgt:.*[2367abef]$' "/proc/$1/status"
}
# a shell has what it starts in the background ignore it; virsh does not
virsh event --all --loop >"$TMPDIR/interrupted" &
listener=$!
wait_until 10 catches_interrupt $listener
kill -INT $listener
listener_status=0
wait $listener || listener_status=$?
check_eq "^C ends its wait alone" "event loop interrupted,events received: 0, 1" \
	"$(paste -s -d , "$TMPDIR/interrupted") $listener_status"
virsh event a lifecycle --loop >"$TMPDIR/of-a" 2>&1 &
of_a=$!
virsh event --event lifecycle --timestamp >"$TMPDIR/one" 2>&1 &
one=$!
roostd=$(supervisor)
wait_until 10 listens_to "$of_a" "$roostd"
wait_until 10 listens_to "$one" "$roostd"
virsh -q start b 2>/dev/null
virsh -q start a 2>/dev/null
virsh -q suspend a
virsh -q resume a

say "what is at work, and the host"
is_idle() {
	[ "$(virsh -q domcontrol a)" = ok ]
}
wait_until 10 is_idle
says "No errors found" virsh domblkerror a
says "Job type:         None        " virsh domjobinfo a
check_match "cpu-stats" '^	cpu_time            +[0-9]+\.[0-9]{9} seconds$' "$(virsh cpu-stats a)"
check_match "maxvcpus" '^[0-9]+$' "$(virsh maxvcpus)"
check_match "nodecpumap" "^CPU map:        [y-]{$(nproc --all)}\$" "$(virsh nodecpumap)"
cpus=$(virsh nodecpumap --pretty | sed -n 's/^CPU map:        //p')
check_match "as a list" '^[0-9][-,0-9]*$' "$cpus"
check_match "vcpuinfo" "^CPU Affinity:   [-,0-9]+ \\(out of $(nproc --all)\\)\$" "$(virsh vcpuinfo a --pretty)"
check_match "nodecpustats" '^user:           +[0-9]+$' "$(virsh nodecpustats)"
check_match "nodememstats" "^total  : +$(awk '/^MemTotal/ { print $2 }' /proc/meminfo) KiB\$" "$(virsh nodememstats)"
check_match "freecell" '^Total: [0-9]+ KiB$' "$(virsh freecell)"
refuses "invalid argument: Range exceeds available cells" virsh freecell --cellno 999

qemu-img create -q -f qcow2 "$TMPDIR/data.qcow2" 1M
virsh -q attach-disk b "$TMPDIR/data.qcow2" vdb --subdriver qcow2
check_eq "the next start has none" "" "$(virsh -q domblklist b --inactive | grep vdb || :)"

say "snapshots"
virsh -q snapshot-create-as b s1
virsh -q snapshot-create-as b s2
says s1 virsh snapshot-parent b s2
check_match "a plugged disk is its newest layer" "^ vdb +$ROOST_STATE/guests/b/.*qcow2\$" "$(virsh domblklist b)"
check_match "but the other" "^ vda +$ROOST_STATE/guests/b/.*qcow2\$" "$(virsh domblklist b --inactive)"
answers 0 virsh snapshot-list b --name <<'E2'
s1$
s2$
$
E2
refuses "snapshot 's1' has no parent" virsh snapshot-parent b s1

check_match "without a name" '^Domain snapshot [0-9]+ created$' "$(virsh snapshot-create b)"
says "Domain snapshot $(virsh -q snapshot-current b --name) deleted" virsh snapshot-delete b --current

say "one that is gone when it ends"
sed "s/^name: a/name: c/" "$TMPDIR/a.yaml" >"$TMPDIR/c.yaml"
cp "$TMPDIR/a.raw" "$TMPDIR/c.raw"
sed -i "s/a.raw/c.raw/" "$TMPDIR/c.yaml"
check_match "create, from a pipe" "^Domain 'c' created from " "$(grep . "$TMPDIR/c.yaml" | virsh create /dev/stdin --paused 2>/dev/null)"
c_uuid=$(virsh -q domuuid c)
says "paused (user)" virsh domstate c --reason
check_match "it has no definition" '^Persistent:     no$' "$(virsh dominfo c)"
answers 1 virsh create "$TMPDIR/c.yaml" <<E2
\$
2|error: Failed to create domain from $TMPDIR/c.yaml\$
2|error: guest 'c' exists already, with the UUID $c_uuid\$
E2
virsh -q destroy c
is_gone() {
	! virsh -q domid c
}
wait_until 10 is_gone
sed -i "s/c.raw/nosuch.raw/" "$TMPDIR/c.yaml"
check_status 1 virsh create "$TMPDIR/c.yaml"
check_match "why" "nosuch.raw" "$out"
is_gone || fail "what could not be started is left"

say "the end"
virsh -q shutdown a
is_off() {
	[ "$(virsh -q domstate a)" = "shut off" ]
}
wait_until 20 is_off
virsh -q start a --paused 2>/dev/null
virsh -q destroy a
has_all() {
	[ "$(grep -c "Stopped" "$TMPDIR/of-a")" -eq 2 ]
}
wait_until 10 has_all
kill "$of_a"
sed "s/^event 'lifecycle' for domain 'a': //" "$TMPDIR/of-a" >"$TMPDIR/heard"
answers 0 cat "$TMPDIR/heard" <<'E2'
Started Booted$
Suspended Paused$
Resumed Unpaused$
Shutdown Finished after guest request$
Stopped Shutdown$
Started Booted$
Suspended Paused$
Stopped Destroyed$
E2

say "definitions"
pico d >/dev/null
virsh event --event lifecycle --loop >"$TMPDIR/definitions" 2>&1 &
definitions=$!
wait_until 10 listens_to "$definitions" "$roostd"
roost dumpxml d >"$TMPDIR/d.xml"
virsh -q define "$TMPDIR/d.xml"
# as libvirt's, it takes XML for a guest that is there by its UUID alone, and a UUID for one guest
d_uuid=$(virsh -q domuuid d)
grep -v '<uuid>' "$TMPDIR/d.xml" >"$TMPDIR/no-uuid.xml"
check_status 1 virsh define "$TMPDIR/no-uuid.xml"
check_match "no UUID" "^error: guest 'd' exists already, with the UUID $d_uuid\$" "$out"
sed 's/<name>d</<name>dd</' "$TMPDIR/d.xml" >"$TMPDIR/dd.xml"
check_status 1 virsh define "$TMPDIR/dd.xml"
check_match "its UUID" "^error: guest 'd' exists already, and has the UUID $d_uuid; leave it out" "$out"
virsh -q domrename d e
virsh -q start e 2>/dev/null
virsh -q undefine e
virsh -q destroy e
pico f >/dev/null
roost clone f g --full >/dev/null
virsh -q undefine f
is_heard() {
	grep -q "'f': Undefined" "$TMPDIR/definitions"
}
wait_until 10 is_heard
kill "$definitions"
sed "s/^event 'lifecycle' for domain //" "$TMPDIR/definitions" >"$TMPDIR/heard"
answers 0 cat "$TMPDIR/heard" <<'E2'
'd': Defined Updated$
'd': Undefined Renamed$
'e': Defined Renamed$
'e': Started Booted$
'e': Undefined Removed$
'e': Stopped Destroyed$
'f': Defined Added$
'g': Defined Added$
'f': Undefined Removed$
E2

wait "$one"
check_match "the first of all" "^[-0-9]+ [0-9:.]+\+0000: event 'lifecycle' for domain 'b': Started Booted\$" "$(cat "$TMPDIR/one")"
check_match "and no more" "^events received: 1\$" "$(cat "$TMPDIR/one")"
