#!/bin/sh
# A host on which something is missing or in the way: roost says what, changes nothing, and works again when it is mended.
. "$TOP/tests/e2e/lib.sh"

# The next command starts another roostd.
end_roostd() {
	# shellcheck disable=SC2046 # several words are meant
	set -- $(roostd_pids)
	[ $# -eq 0 ] || kill_and_wait TERM "$@"
}
# with_qemu PROGRAM: that one takes it for QEMU
with_qemu() {
	end_roostd
	export ROOST_QEMU="$1"
}
nothing_left() {
	check_eq "$1: the state" "shut off" "$(state a)"
	wait_until 10 run_is_empty
}

pico a

say "no QEMU, and QEMUs that are none"
with_qemu "$TMPDIR/missing"
check_status 6 roost start a
check_match "a missing QEMU" "guest 'a': QEMU did not start: .*cannot run '.*/missing': No such file" "$out"
nothing_left "a missing QEMU"
with_qemu /bin/false
check_status 6 roost start a
check_match "/bin/false" "guest 'a': QEMU did not start and said nothing: it exited with status 1" "$out"
nothing_left "/bin/false"
with_qemu /bin/cat
check_status 6 roost start a
check_match "/bin/cat's own words" "QEMU did not start: .*cat: " "$out"
nothing_left "/bin/cat"
with_qemu ""

say "no roost-keeper"
cp -R "$TOP/build/bin" "$TOP/build/libexec" "$TMPDIR/"
rm "$TMPDIR/libexec/roost/roost-keeper"
end_roostd
check_status 3 "$TMPDIR/bin/roost" start a
check_match "it is named" "guest 'a': cannot run '.*/roost-keeper': No such file" "$out"
nothing_left "no keeper"

say "a keeper that cannot look after its guest tells why"
end_roostd
{
	printf 'name: full\ncloud_init: true\ninterfaces: []\ndisks:\n'
	for n in $(seq 16); do
		printf '  - size: %sM\n' "$n"
	done
} >"$TMPDIR/full.yaml"
roost define "$TMPDIR/full.yaml"
check_status 5 roost start full
check_match "its reason" "guest 'full' has 16 disks: there is no place for its seed" "$out"
wait_until 10 run_is_empty

say "a guest whose record is spoilt while its keeper is gone"
roost start a
wait_until 30 is_up a
cp "$ROOST_STATE/guests/a/guest.json" "$TMPDIR/saved"
printf '{' >"$ROOST_STATE/guests/a/guest.json"
kill_and_wait KILL "$(of_status a keeper_pid)"
since=$(now_ms)
check_status 5 roost suspend a
check_match "why it has no keeper" "guest 'a' is broken: its record: .*JSON" "$out"
check_time "the answer" 2000 "$since"
cat "$TMPDIR/saved" >"$ROOST_STATE/guests/a/guest.json"
roost suspend a
roost resume a
ticks_go_on a
roost destroy a

say "few open files: roostd takes what it may have, and else says so"
end_roostd
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
	pico "few$n" >/dev/null
done
end_roostd
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
	prlimit --nofile=32: roost start --paused "few$n" >/dev/null 2>&1 || fail "guest few$n"
done
check_eq "with a low soft limit" 12 "$(roost list --name | wc -l)"
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
	roost destroy "few$n" >/dev/null
done
end_roostd
prlimit --nofile=64 roost start a
wait_until 30 is_up a
roost destroy a
end_roostd

say "a disk without space"
if [ "$(id -u)" -eq 0 ]; then
	mkdir "$TMPDIR/small"
	mount -t tmpfs -o size=1M,mode=711 tmpfs "$TMPDIR/small"
	(
		export ROOST_STATE="$TMPDIR/small"
		roost define "$TMPDIR/a.yaml"
		cat /dev/zero >"$TMPDIR/small/fill" 2>/dev/null || :
		sed 's/name: a/name: b/' "$TMPDIR/a.yaml" >"$TMPDIR/b.yaml"
		check_status 7 roost define "$TMPDIR/b.yaml"
		check_match "why" "No space left" "$out"
		check_eq "nothing of it is left" a "$(ls -A "$ROOST_STATE/guests")"
		mount -o remount,ro "$TMPDIR/small"
		check_status 7 roost define "$TMPDIR/a.yaml"
		check_match "why" "Read-only file system" "$out"
		check_status 7 roost start a
		check_match "why" "guest 'a': .*Read-only file system" "$out"
		check_status 7 roost undefine a
		check_eq "it is still there" "shut off" "$(roost domstate a)"
	)
	end_roostd
	# the keeper that did not start may still be ending
	wait_until 10 umount "$TMPDIR/small"
fi
