#!/bin/sh
# What a running QEMU and its keeper can reach: their uids, capabilities, open files, environment and sockets, the
# devices of the guest, and who can read what they leave on the disk.
export LEAK_ME=secret-of-the-caller
exec 9</etc/passwd
. "$TOP/tests/e2e/lib.sh"

# of_process PID KEY: a line of /proc/PID/status, its words separated by one space
of_process() {
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status" | tr -s '\t ' ' '
}
fds() {
	find "/proc/$1/fd" -type l -printf '%l\n'
}
# lasting_fds PID: what it has open for longer than a moment: each second it writes its status file, and looks
lasting_fds() {
	fds "$1" | sort >"$TMPDIR/fds.before"
	sleep 0.3
	fds "$1" | sort | comm -12 - "$TMPDIR/fds.before"
}

pico one
pico two
roost start one
roost start two
qemu=$(of_status one qemu_pid)
keeper=$(of_status one keeper_pid)
run=$(run_dir one)
wait_until 20 console_has one PICO-UP

say "uids"
uid=$(of_process "$qemu" Uid | cut -d ' ' -f 1)
keeper_uid=$(of_process "$keeper" Uid | cut -d ' ' -f 1)
check_eq "QEMU's uids" "$uid $uid $uid $uid" "$(of_process "$qemu" Uid)"
check_eq "the keeper's uids" "$keeper_uid $keeper_uid $keeper_uid $keeper_uid" "$(of_process "$keeper" Uid)"
if [ "$(id -u)" -eq 0 ]; then
	check_eq "QEMU's gids" "$uid $uid $uid $uid" "$(of_process "$qemu" Gid)"
	check_eq "QEMU's groups" "" "$(of_process "$qemu" Groups)"
	check_eq "the keeper's groups" "" "$(of_process "$keeper" Groups)"
	uids=$(printf '%s\n' 0 "$uid" "$keeper_uid" \
		"$(of_process "$(of_status two qemu_pid)" Uid | cut -d ' ' -f 1)" \
		"$(of_process "$(of_status two keeper_pid)" Uid | cut -d ' ' -f 1)")
	check_eq "uids that are not shared" 5 "$(echo "$uids" | sort -u | wc -l)"
	for bounded in "$qemu" "$keeper"; do
		check_eq "CapBnd of $bounded" 0000000000000000 "$(of_process "$bounded" CapBnd)"
	done
else
	check_eq "QEMU's uid" "$(id -u)" "$uid"
fi

say "privilege"
for pid in "$qemu" "$keeper"; do
	for caps in CapInh CapPrm CapEff CapAmb; do
		check_eq "$caps of $pid" 0000000000000000 "$(of_process "$pid" $caps)"
	done
done
check_eq "NoNewPrivs of QEMU" 1 "$(of_process "$qemu" NoNewPrivs)"
check_eq "Seccomp of QEMU: a filter" 2 "$(of_process "$qemu" Seccomp)"
[ "$(id -u)" -ne 0 ] || check_eq "NoNewPrivs of the keeper" 1 "$(of_process "$keeper" NoNewPrivs)"
check_match "no core dumps" '^Max core file size +0 +0 ' "$(cat "/proc/$qemu/limits")"
check_eq "its folder" / "$(readlink "/proc/$qemu/cwd")"
check_eq "a session of its own" "$qemu" "$(awk '{ print $6 }' "/proc/$qemu/stat")"
check_eq "signals that were blocked or ignored" "0000000000000000" "$(of_process "$qemu" SigIgn | sed s/1000/0000/)"
check_match "the sandbox line" \
	' -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny ' \
	"$(tr '\0' ' ' <"/proc/$qemu/cmdline")"

say "environment"
check_eq "QEMU's environment" "HOME=/nonexistent
LC_ALL=C
PATH=/usr/bin:/bin
TMPDIR=/nonexistent" "$(tr '\0' '\n' <"/proc/$qemu/environ" | sort)"

say "open files"
# QEMU's own are anonymous inodes and /dev/urandom of the rng; the sockets are qmp.sock and ga.sock, listening and
# connected
allowed="^(/dev/null|/dev/urandom|anon_inode:\\[?[a-z]+\\]?|socket:\\[[0-9]+\\]|$TMPDIR/one.raw"
allowed="$allowed|$run/(qemu.err|qmp.log)|$ROOST_STATE/guests/one/console.(in|log))\$"
# only_allowed WHO PID: a slow disk may make a moment long, but not again and again
only_allowed() {
	for _ in 1 2 3 4; do
		lasting_fds "$2" >"$TMPDIR/fds"
		more=$(grep -Ev "$allowed" "$TMPDIR/fds") || return 0
	done
	fail "$1 has more open: $more"
}
only_allowed QEMU "$qemu"
for file in "$TMPDIR/one.raw" "$run/qmp.log" "$ROOST_STATE/guests/one/console.in" "$ROOST_STATE/guests/one/console.log"; do
	grep -qxF "$file" "$TMPDIR/fds" || fail "QEMU does not have $file open: is the list above true at all?"
done
sockets=$(grep -c '^socket:' "$TMPDIR/fds")
[ "$sockets" -le 3 ] || fail "QEMU has $sockets sockets open"
allowed="^(/dev/null|anon_inode:\\[?[a-z]+\\]?|socket:\\[[0-9]+\\]|$TMPDIR/one.raw|$run|$ROOST_STATE/guests/one"
allowed="$allowed|$run/(lock|qmp.log)|$ROOST_STATE/guests/one/(console.log|events.jsonl))\$"
only_allowed "the keeper" "$keeper"
# only as O_PATH, to see when there is space again: otherwise it would hold the image's lock
find "/proc/$keeper/fd" -lname "$TMPDIR/one.raw" -printf '%f\n' | while read -r fd; do
	flags=$(sed -n 's/^flags:[[:space:]]*//p' "/proc/$keeper/fdinfo/$fd")
	[ $((flags & 010000000)) -ne 0 ] || fail "the keeper has the disk itself open (flags $flags)"
done
for pid in $(roostd_pids); do
	check_no_match "roostd's files" '/etc/passwd|one\.raw|console\.log|qmp\.log' "$(fds "$pid")"
done

say "sockets"
check_eq "listeners on the network" "" "$(ss -Hltun)"
# a host's group `roost` may look at root's instance and use it: t_who.sh
shared=600 folders=711 others=077
if [ "$(id -u)" -eq 0 ] && getent group roost >/dev/null; then
	shared=660 folders=2751 others=007
fi
check_eq "sockets not 0600" "" "$(find "$ROOST_RUN" "$ROOST_STATE" -type s ! -perm 0600 ! \( -perm "$shared" \( -name guest.sock -o -name roostd.sock \) \))"
check_eq "sockets" "$run/guest.sock $ROOST_STATE/guests/one/ga.sock $ROOST_STATE/guests/one/qmp.sock" \
	"$(find "$run" "$ROOST_STATE/guests/one" -type s | sort | xargs)"
check_eq "what others may read, write or pass" \
	"$(printf "$folders %s\n" "$ROOST_RUN" "$ROOST_RUN/g" "$ROOST_RUN/n" "$ROOST_STATE" "$ROOST_STATE/guests" "$ROOST_STATE/images" \
		"$ROOST_STATE/networks" "$ROOST_STATE/templates")" \
	"$(find "$ROOST_STATE" "$ROOST_RUN" -perm "/$others" -printf '%m %p\n' | sort -k 2)"
if [ "$(id -u)" -eq 0 ]; then
	check_eq "files of QEMU's uid" "" "$(find "$ROOST_STATE" "$ROOST_RUN" "$TMPDIR" -uid "$uid")"
	check_eq "the owner of the record" 0 "$(stat -c %u "$ROOST_STATE/guests/one/guest.json")"
	! setpriv --reuid "$uid" --regid "$uid" --clear-groups test -r "$ROOST_STATE/guests/one/console.log" ||
		fail "QEMU's uid can reach the guest's folder"
	! setpriv --reuid "$keeper_uid" --regid "$keeper_uid" --clear-groups ls "$ROOST_STATE/guests/two" 2>/dev/null ||
		fail "one guest's keeper can list the folder of another"
fi

say "devices"
check_eq "devices" "agentport0 balloon0 disk-vda generation0 panic0 rng0 rp0 rp1 rp2 rp3 rp4 rp5 rp6 rp7 serial0 vserial0" \
	"$(roost qmp one qom-list '{"path": "/machine/peripheral"}' |
		jq -r '[.[] | select(.type | startswith("child<")).name] | sort | join(" ")')"
check_eq "devices without a name" "" "$(roost qmp one qom-list '{"path": "/machine/peripheral-anon"}' |
	jq -r '.[] | select(.type | startswith("child<")).name')"
check_eq "block devices" "disk-vda" "$(roost qmp one query-block | jq -r '.[].qdev | split("/") | .[3]')"
check_eq "character devices" "agent0 console0 qmp0" "$(roost qmp one query-chardev | jq -r '[.[].label] | sort | join(" ")')"
check_no_match "the board's own devices" 'isa-fdc|floppy|vga|VGA|e1000|usb|parallel|ide-cd|virtio-net' \
	"$(roost qmp one qom-list '{"path": "/machine/unattached"}')"
