#!/bin/sh
# $RUN is cleaned under living guests: folder by folder, file by file, all of it, with roostd and keepers there or not. It
# is made anew within a second or so, no guest notices, nothing is started twice.
# limit: 240
. "$TOP/tests/e2e/lib.sh"

has_home() {
	home=$(run_dir "$1") && [ -S "$home/guest.sock" ] && [ -f "$home/lock" ] && [ -f "$home/argv" ]
}
# serves GUEST: its keeper answers, and so does QEMU behind it
serves() {
	has_home "$1" && [ "$(roost qmp "$1" query-status | jq -r .status)" = running ]
}
same_qemu() {
	check_eq "$1's QEMU" "$2" "$(of_status "$1" qemu_pid)"
}
keepers() {
	for keepers_guest; do
		of_status "$keepers_guest" keeper_pid
	done
}
rebuilt() {
	[ "$(grep -c ROOST_REBUILT "$ROOST_STATE/guests/$1/events.jsonl")" -ge "$2" ]
}
# vanish FOLDER: whoever writes into it in the midst of that puts a file there, and rm gives up
vanish() {
	wait_until 5 rm -rf "$1"
}
modes() {
	# what belongs to one start or one boot alone is not made again, and a status file is about to be one
	find "$ROOST_RUN" -printf '%m %P\n' | grep -v -e '[.]new[.]' -e 'last-id$' -e 'qmp.log$' -e 'qemu.err$' -e 'kvm.json$' -e 'attached$' |
		sort -k 2
	stat -c '%n %u' "$ROOST_RUN" "$ROOST_RUN"/g/* "$ROOST_RUN"/g/*/guest.sock
}

started a b
qemu_a=$(of_status a qemu_pid)
qemu_b=$(of_status b qemu_pid)
argv=$(roost dominfo a --argv)
before=$(modes)

say "one guest's folder"
run=$(run_dir a)
vanish "$run"
since=$(now_ms)
wait_until 5 serves a
check_time "its folder is there again" 3000 "$since"
check_eq "under the same name" "$run" "$(run_dir a)"
same_qemu a "$qemu_a"
wait_until 5 rebuilt a 1
check_eq "modes and owners" "$before" "$(modes)"
check_eq "its command line" "$argv" "$(roost dominfo a --argv)"
type_to a z
wait_until 5 console_has a z
check_status 5 roost start a
check_match "it runs" "'a' is running already" "$out"
kill_and_wait KILL "$(of_status a keeper_pid)"
wait_until 10 serves a
same_qemu a "$qemu_a"

say "single files"
run=$(run_dir b)
for file in lock guest.sock status; do
	rm "$run/$file"
	wait_until 5 test -e "$run/$file"
	wait_until 5 serves b
done
same_qemu b "$qemu_b"

say "a start while the folder is away"
vanish "$(run_dir b)"
check_status 5 roost start b
check_match "it runs" "'b' is running already" "$out"
wait_until 5 serves b

say "the keeper dies before it can make it anew"
keeper=$(of_status a keeper_pid)
kill -STOP "$keeper"
vanish "$(run_dir a)"
kill_and_wait KILL "$keeper"
wait_until 10 serves a
same_qemu a "$qemu_a"

say "all of it"
vanish "$ROOST_RUN"
wait_until 10 test -S "$ROOST_RUN/roostd.sock"
wait_until 10 serves a
wait_until 10 serves b
same_qemu a "$qemu_a"
same_qemu b "$qemu_b"
check_eq "modes and owners" "$before" "$(modes)"
# one of its workers may be ending yet; another roostd would stay
is_alone() {
	[ "$(roostd_pids | wc -l)" -eq 1 ]
}
wait_until 5 is_alone
check_status 4 "$TOP/build/libexec/roost/roostd"
check_match "its lock holds" "another roostd" "$out"

say "and roostd dies before that"
# shellcheck disable=SC2046 # several words are meant
kill_and_wait KILL $(roostd_pids)
vanish "$ROOST_RUN"
check_eq "list is right at once" "a b" "$(roost list --name | sort | xargs)"
check_status 5 roost start a
check_match "it runs" "'a' is running already" "$out"
wait_until 10 serves a
wait_until 10 serves b

# without root a keeper makes its folder anew by itself, and $RUN with it
if [ "$(id -u)" -ne 0 ]; then
	say "and one keeper is faster than the other"
	slow=$(keepers a)
	kill -STOP "$slow"
	# shellcheck disable=SC2046
	kill_and_wait KILL $(roostd_pids)
	vanish "$ROOST_RUN"
	wait_until 10 has_home b
	(sleep 0.5 && kill -CONT "$slow") &
	check_eq "list is right at once" "a b" "$(roost list --name | sort | xargs)"
	wait $!
	wait_until 10 serves a
fi

say "and the keepers, too"
# shellcheck disable=SC2046
kill -STOP $(keepers a b)
# shellcheck disable=SC2046
set -- $(roostd_pids) $(keepers a b)
vanish "$ROOST_RUN"
kill_and_wait KILL "$@"
check_eq "list is right at once" "a b" "$(roost list --name | sort | xargs)"
for guest in a b; do
	wait_until 10 serves $guest
	ticks_go_on $guest
done
same_qemu a "$qemu_a"
same_qemu b "$qemu_b"

say "one that ends meanwhile"
kill -STOP "$(of_status b keeper_pid)"
keeper=$(of_status b keeper_pid)
vanish "$(run_dir b)"
kill_and_wait KILL "$qemu_b"
kill -CONT "$keeper"
wait_until 10 is_state b crashed
roost start b
wait_until 10 serves b

say "and nothing is left of it"
roost destroy a
roost destroy b
wait_until 10 run_is_empty
for file in running qmp.sock ga.sock console.in; do
	[ ! -e "$ROOST_STATE/guests/a/$file" ] || fail "$file is left"
done
check_eq "none runs" "" "$(roost list --name)"
