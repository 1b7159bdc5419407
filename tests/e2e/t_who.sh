#!/bin/sh
# Who may: root's instance serves root and the members of the group `roost`, and refuses others by name. alice is in the
# group, bob is not; the folders are the usual ones, private to a mount namespace, and so are /etc/passwd and /etc/group.
# user: root
# limit: 240
. "$TOP/tests/e2e/members.sh"

# a listing of modes below the two folders: "750 /var/lib/roost/guests/one"
ranks() {
	find "$ROOST_STATE" "$ROOST_RUN" -printf '%m %g %p\n' | sort -k 3
}
has_rank() {
	ranks | grep -qx "$1" || fail "not $1: $(ranks)"
}

say "before root has ever started anything"
check_status 0 as alice roost list --all
check_status 3 as alice roost -c system list
check_match "nothing there yet" "there is no system instance here yet" "$out"

say "ranks"
pico one
pico two
roost start one
wait_until 20 console_has one PICO-UP
check_eq "what others may read or write" "" "$(find "$ROOST_STATE" "$ROOST_RUN" -perm /006)"
check_eq "what others may pass that is no folder" "" "$(find "$ROOST_STATE" "$ROOST_RUN" -perm /001 ! -type d)"
check_eq "what is of another group" "" "$(find "$ROOST_STATE" "$ROOST_RUN" ! -group roost)"
run=$(run_dir one)
for folder in "$ROOST_STATE" "$ROOST_STATE/guests" "$ROOST_STATE/images" "$ROOST_STATE/networks" "$ROOST_STATE/templates" \
	"$ROOST_RUN" "$ROOST_RUN/g"; do
	has_rank "2751 roost $folder"
done
for folder in "$ROOST_STATE/guests/one" "$ROOST_STATE/guests/two" "$run"; do
	has_rank "2750 roost $folder"
done
for file in guests/one/guest.json guests/one/console.log guests/one/events.jsonl; do
	has_rank "640 roost $ROOST_STATE/$file"
done
for file in status lock argv guest.json; do
	has_rank "640 roost $run/$file"
done
for file in "$ROOST_RUN/roostd.sock" "$run/guest.sock" "$ROOST_STATE/guests/one/console.in"; do
	has_rank "660 roost $file"
done
check_eq "QEMU's own sockets" "600 600" "$(stat -c %a "$ROOST_STATE/guests/one/qmp.sock" "$ROOST_STATE/guests/one/ga.sock" | xargs)"

say "a member looks"
check_eq "list" one "$(as alice roost list --name)"
check_eq "list --all" "one two" "$(as alice roost list --all --name | xargs)"
check_eq "domstate" running "$(as alice roost domstate one)"
check_match "dominfo" '^Name: +one' "$(as alice roost dominfo one)"
check_match "its command line" qemu-system "$(as alice roost dominfo one --argv)"
check_match "logs" PICO-UP "$(as alice roost logs one)"
check_match "its events" ROOST_STATE "$(as alice roost logs one --events)"
check_json "qmp" '.status == "running"' "$(as alice roost qmp one query-status)"
# shellcheck disable=SC2016 # for the inner shell
as alice sh -c 'echo $$ >"$0" && exec roost events one --count 1' "$TMPDIR/home/alice/events" >"$TMPDIR/events" &
wait_until 10 test -s "$TMPDIR/home/alice/events"
events=$(cat "$TMPDIR/home/alice/events")
wait_until 10 listens_to "$events" "$(of_status one keeper_pid)"
# shellcheck disable=SC2016 # for the inner shell
printf z | as alice sh -c 'echo $$ >"$0" && exec roost console one' "$TMPDIR/home/alice/pid" >"$TMPDIR/console" &
typing=$!
wait_until 20 grep -q z "$TMPDIR/console" # what alice typed comes back
kill "$(cat "$TMPDIR/home/alice/pid")"
wait $typing || :

say "a member changes"
as alice roost suspend one
wait_until 20 ended "$events" # alice has heard an event
check_eq "suspended" paused "$(state one)"
as alice roost resume one
as alice roost destroy one
as alice roost start one
wait_until 20 is_up one
as alice roost start two
cp "$GUESTS/pico.raw" "$TMPDIR/home/alice/mine.raw"
chown alice: "$TMPDIR/home/alice/mine.raw"
printf 'name: hers\nmemory: 32M\ndisks:\n  - path: %s\n    format: raw\ninterfaces: []\n' "$TMPDIR/home/alice/mine.raw" \
	>"$TMPDIR/home/alice/hers.yaml"
as alice roost define "$TMPDIR/home/alice/hers.yaml"
as alice roost start hers
check_eq "all three" "hers one two" "$(roost list --name | sort | xargs)"
as alice roost destroy hers
as alice roost undefine hers
as alice roost destroy two
check_status 3 as alice roost domstate hers
check_eq "nothing of alice's own was made" "" "$(find "$TMPDIR/home/alice" -name roost)"

say "who did what"
# told FILE FILTER: the commands in a log, one a line: "define root 0"
told() {
	jq -r "select(.event == \"ROOST_COMMAND\") | .data | $2" "$1"
}
check_eq "of guest one" "roost-define root 0 roost-start root 0 stop alice 54322 cont alice 54322 roost-destroy alice 54322 roost-start alice 54322" \
	"$(told "$ROOST_STATE/guests/one/events.jsonl" '"\(.command) \(.user) \(.uid)"' | xargs)"
check_eq "what roostd was asked for" "roost-define hers alice roost-start hers alice roost-undefine hers alice" \
	"$(told "$ROOST_STATE/events.jsonl" 'select(.guest == "hers") | "\(.command) \(.guest) \(.user)"' | xargs)"
# a process that may be asked for by its pid: the client's, not roostd's
# shellcheck disable=SC2016 # for the inner shell
as alice sh -c 'echo $$ >"$0" && exec roost suspend one' "$TMPDIR/home/alice/pid"
check_eq "its pid" "stop $(cat "$TMPDIR/home/alice/pid")" "$(told "$ROOST_STATE/guests/one/events.jsonl" '"\(.command) \(.pid)"' | tail -n 1)"
# shellcheck disable=SC2016 # for the inner shell
as alice sh -c 'echo $$ >"$0" && exec roost qmp one balloon "{\"value\": 33554432}"' "$TMPDIR/home/alice/pid"
check_eq "one that is passed to QEMU" "balloon alice $(cat "$TMPDIR/home/alice/pid")" \
	"$(told "$ROOST_STATE/guests/one/events.jsonl" '"\(.command) \(.user) \(.pid)"' | tail -n 1)"
roost qmp one query-status >/dev/null
roost qmp one qom-list '{"path": "/"}' >/dev/null
check_eq "looking is not told" balloon "$(told "$ROOST_STATE/guests/one/events.jsonl" .command | tail -n 1)"
as alice roost resume one
check_status 1 as alice "$TOP/tests/e2e/qmp" "$ROOST_RUN/roostd.sock" roost-define \
	"$(jq -c '{definition: ., by: {uid: 0, user: "root"}}' "$ROOST_STATE/guests/one/guest.json")"
check_match "nobody says who he is" "by" "$out"

say "what a member may not"
check_status 1 as alice "$TOP/tests/e2e/qmp" "$run/guest.sock" roost-supervise
check_match "being the supervisor" "only the supervisor may say so" "$out"
for file in "$ROOST_STATE/guests/one/qmp.sock" "$ROOST_STATE/guests/one/ga.sock"; do
	! as alice python3 -c "import socket; socket.socket(socket.AF_UNIX).connect('$file')" 2>/dev/null ||
		fail "alice can connect to $file"
done

say "who is not in the group"
check_eq "sees his own, nothing" "" "$(as bob roost list --all --name)"
for verb in "list --all" "domstate one" "start one" "define $TMPDIR/one.yaml"; do
	# shellcheck disable=SC2086 # several words are meant
	check_status 5 as bob roost -c system $verb
	check_match "refused by name" "user 'bob' may not use the system instance" "$out"
	check_match "what to do" "usermod -aG roost bob.*log in anew" "$out"
done
check_status 3 as bob roost domstate one
for path in "$ROOST_STATE/guests" "$ROOST_RUN/g" "$run/guest.sock" "$ROOST_RUN/roostd.sock" "$run/status" \
	"$ROOST_STATE/guests/one/guest.json"; do
	! as bob test -r "$path" || fail "bob can read $path"
	! as bob test -w "$path" || fail "bob can write $path"
done
# an administrator's slip: the mode of the socket lets anyone in, roostd does not
chmod 666 "$ROOST_RUN/roostd.sock"
check_status 1 as bob "$TOP/tests/e2e/qmp" "$ROOST_RUN/roostd.sock" roost-start '{"name": "two"}'
check_match "roostd itself refuses" "uid 54323 may not change" "$out"
chmod 660 "$ROOST_RUN/roostd.sock"
sed -i 's/^roost:.*/&,bob/' /etc/group
check_status 5 setpriv --reuid bob --regid bob --clear-groups env -u ROOST_STATE -u ROOST_RUN roost -c system list
check_match "a log-in from before" "'bob' is in the group roost, but this log-in is older" "$out"
check_eq "and after a new one" one "$(as bob roost list --name)"
sed -i 's/^\(roost:.*\),bob/\1/' /etc/group

say "which instance"
for word in system qemu:///system; do
	check_eq "-c $word" one "$(as alice roost -c $word list --name)"
	check_eq "--connect=$word" one "$(as alice roost --connect=$word list --name)"
	check_eq "--connect $word" one "$(as alice roost --connect $word list --name)"
	check_eq "root" one "$(env -u ROOST_STATE -u ROOST_RUN roost -c $word list --name)"
done
for word in session qemu:///session; do
	check_eq "-c $word" "" "$(as alice roost -c $word list --all --name)"
done
check_status 2 env -u ROOST_STATE -u ROOST_RUN roost -c session list
check_match "root has one only" "root's instance is the system one" "$out"
check_status 2 as alice roost -c qemu+ssh://host/system list
check_match "another word" "is neither system nor session" "$out"
check_status 2 as alice roost -c
check_match "no word" "needs a value" "$out"
check_eq "folders of one's own come first" "" "$(as alice env ROOST_STATE="$TMPDIR/home/alice/s" \
	ROOST_RUN="$TMPDIR/home/alice/r" roost -c system list --all --name)"

say "the other one is told of"
as bob roost list --all >"$TMPDIR/out" 2>"$TMPDIR/err"
check_eq "bob may not see it" "" "$(cat "$TMPDIR/err")"
as alice roost list --all >"$TMPDIR/out" 2>"$TMPDIR/err"
check_eq "alice has none of her own" "" "$(cat "$TMPDIR/err")"
as alice roost -c session list >"$TMPDIR/out" 2>"$TMPDIR/err"
check_eq "the system one" "roost: the system instance has 2 guests: \`roost -c system list --all\`" "$(cat "$TMPDIR/err")"
sed 's/^name: hers/name: own/' "$TMPDIR/home/alice/hers.yaml" >"$TMPDIR/home/alice/own.yaml"
as alice roost -c session define "$TMPDIR/home/alice/own.yaml"
as alice roost -c session start own
check_eq "her own" own "$(as alice roost -c session list --name)"
as alice roost list >"$TMPDIR/out" 2>"$TMPDIR/err"
check_eq "told" "roost: the session instance has 1 guest: \`roost -c session list --all\`" "$(cat "$TMPDIR/err")"
check_no_match "not on standard output" "session" "$(cat "$TMPDIR/out")"
check_eq "not to programs" "" "$(as alice roost list --json 2>&1 >/dev/null)$(as alice roost list --name 2>&1 >/dev/null)"
check_eq "nothing of hers is a group's" "" "$(find "$TMPDIR/home/alice/.local/share/roost" -perm /066)"
as alice roost -c session destroy own
as alice roost -c session undefine own
as alice "$TOP/tests/e2e/qmp" "$(find "$TMPDIR/home/alice/.local/share/roost/run" -name roostd.sock)" roost-quit >/dev/null

say "the host's boot and halt"
check_eq "a member marks" "Guest 'two' marked as autostarted" "$(as alice roost autostart two)"
for verb in boot halt "autostart --disable two"; do
	# shellcheck disable=SC2086 # several words are meant
	check_status 5 as bob roost -c system $verb
	check_match "$verb: refused by name" "user 'bob' may not use the system instance" "$out"
done
check_eq "a member boots" "Guest 'two' started" "$(as alice roost boot)"
wait_until 30 is_up two
check_eq "a member halts" "Guest 'one' is shut off: guest poweroff, asked by the ACPI button
Guest 'two' is shut off: guest poweroff, asked by the ACPI button" "$(as alice roost halt --timeout $((20 * E2E_PATIENCE))s | sort)"
as alice roost autostart --disable two
roost start one

say "a member saves, which root's roostd does for her"
wait_until 30 is_up one
check_eq "words" "Guest 'one' saved by roost; its next start goes on from there" "$(as alice roost managedsave one)"
check_eq "it is root's, and nobody else reads it" "600 0" "$(stat -c '%a %u' "$ROOST_STATE/guests/one/managed.save")"
check_match "list" ' one +saved' "$(as alice roost list --all --managed-save)"
check_match "a member starts it" "^Guest 'one' restored from its managed save" "$(as alice roost start one)"
check_eq "it has not booted again" "running (restored)" "$(reason one)"
check_eq "who did it" "roost-managed-save alice roost-managed-start alice" "$(told "$ROOST_STATE/guests/one/events.jsonl" \
	'select(.command | startswith("roost-managed")) | "\(.command) \(.user)"' | xargs)"
check_json "in JSON" '.size > 1000000 and (.file | endswith("/one/managed.save"))' "$(as alice roost managedsave one --json)"
check_status 5 as alice roost managedsave one
check_match "why" "not running" "$out"
check_json "she removes it" '.removed' "$(as alice roost managedsave-remove one --json)"
check_eq "words" "Guest 'one' has no managed save" "$(as alice roost managedsave-remove one)"
roost start one
wait_until 30 is_up one
as alice roost boot >/dev/null
roost managedsave one
for command in roost-managed-save roost-managed-start roost-managed-remove; do
	check_status 1 as bob "$TOP/tests/e2e/qmp" "$ROOST_RUN/roostd.sock" $command '{"name": "one"}'
done
check_match "root's, by a member" "restored from its managed save" "$(as alice roost start one)"

say "a member makes a snapshot with RAM, and goes back to it"
roost destroy two >/dev/null 2>&1 || :
at=$(ticks one)
check_eq "words" "Snapshot 'ram' of guest 'one' created" "$(as alice roost snapshot-create-as one ram)"
check_eq "it is root's, and nobody else reads it" "600 0" "$(stat -c '%a %u' "$ROOST_STATE"/guests/one/memory.*.save)"
ticks_go_on one
check_eq "words" "Reverted to snapshot 'ram' of guest 'one'" "$(as alice roost snapshot-revert one ram --force)"
wait_until 30 is_state one running
check_eq "it has not booted again" "running (restored)" "$(reason one)"
[ "$(ticks one)" -ge "$at" ] || fail "it does not count on"
check_status 5 as bob roost -c system snapshot-create-as one bobs
for command in roost-managed-snapshot roost-managed-check; do
	check_status 1 as bob "$TOP/tests/e2e/qmp" "$ROOST_RUN/roostd.sock" $command '{"name": "one", "snapshot": "s", "file": "f"}'
done
as alice roost snapshot-delete one ram >/dev/null

say "no roostd of root's: a member starts none"
roost destroy one
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(roostd_pids)
check_eq "looking needs none" "one two" "$(as alice roost list --all --name | xargs)"
check_status 9 as alice roost start one
check_match "who can, and how" "root's roostd does not run.*systemctl start roostd.socket.*roost boot" "$(echo "$out" | xargs -d '\n')"
check_eq "none was started" "" "$(roostd_pids)"

say "the group is new, or has gone"
sed -i '/^roost:/d' /etc/group
roost start one
check_eq "without a group" "" "$(find "$ROOST_STATE/guests" "$ROOST_RUN/g" -perm /066)"
check_eq "folders are passed, not listed" "711 root" "$(stat -c '%a %G' "$ROOST_STATE" "$ROOST_RUN" "$ROOST_STATE"/* "$ROOST_RUN/g" |
	grep -v '^6' | sort -u)"
check_eq "alice is nobody now" "" "$(as alice roost list --all --name)"
check_status 5 as alice roost -c system list
check_match "the remedy makes the group, too" "groupadd --system roost.*usermod -aG roost alice" "$out"
roost destroy one
# shellcheck disable=SC2046
kill_and_wait TERM $(roostd_pids)
echo "roost:x:54320:alice" >>/etc/group
roost start one
for file in guest.json console.log events.jsonl; do
	has_rank "640 roost $ROOST_STATE/guests/two/$file" 2>/dev/null || [ ! -e "$ROOST_STATE/guests/two/$file" ] ||
		fail "$file of a guest from before: $(ranks)"
done
check_match "the logs of a guest from before" PICO-UP "$(as alice roost logs two)"
check_eq "others still may nothing" "" "$(find "$ROOST_STATE" "$ROOST_RUN" -perm /006)"

say "looking: also at disks that their keeper alone may open"
printf 'name: three\nmemory: 32M\ninterfaces: []\ndisks:\n  - size: 10M\n' >"$TMPDIR/three.yaml"
roost define "$TMPDIR/three.yaml"
check_status 1 as alice test -r "$ROOST_STATE/guests/three/disk0.qcow2"
check_json "stopped" '.capacity == 10485760 and .physical > 0' "$(as alice roost domblkinfo three vda --json)"
check_eq "as root sees it" "$(roost domblkinfo three --all)" "$(as alice roost domblkinfo three --all)"
check_status 3 as alice roost domblkinfo three vdb
check_json "file systems" '.[0].filesystems == [{"start": 0, "length": 10485760, "device": "vda", "disk": "vda"}]' \
	"$(as alice roost df three --json)"
as alice roost start three
check_eq "running" "$(roost domblkinfo three vda)" "$(as alice roost domblkinfo three vda)"
check_match "counters" '^vda rd_req ' "$(as alice roost domblkstat three vda)"
check_match "vCPUs" '^CPU time: +[0-9.]+s$' "$(as alice roost vcpuinfo three)"
check_match "all of it" '^  balloon.rss=[1-9]' "$(as alice roost domstats three)"
check_match "QEMU" '^Version: +[1-9]' "$(as alice roost domcapabilities)"
as alice roost destroy three

say "ssh"
need tiny-vmlinux tiny-initrd
cat >"$TMPDIR/tiny.yaml" <<-END
	name: tiny
	memory: 192M
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: console=ttyS0 no_timer_check quiet
	interfaces:
	  - user: {restrict: true, hostfwd: ["-22"]}
	cloud_init: {user: carol}
	ready: {rung: login, timeout: 120s}
END
roost run "$TMPDIR/tiny.yaml"
has_rank "640 roost $ROOST_STATE/ssh/id_ed25519"
for file in seed.iso host_key; do
	has_rank "600 roost $ROOST_STATE/guests/tiny/$file"
done
check_eq "alice is in" carol "$(as alice roost ssh tiny id -un)"
as alice roost wait -q tiny --for login
echo content >"$TMPDIR/home/alice/file"
as alice roost scp "$TMPDIR/home/alice/file" tiny:/tmp/file
check_eq "what she copied" content "$(as alice roost ssh tiny cat /tmp/file)"
as alice roost destroy tiny
check_eq "others may nothing" "" "$(find "$ROOST_STATE" "$ROOST_RUN" -perm /006)"
