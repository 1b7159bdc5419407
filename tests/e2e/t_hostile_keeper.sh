#!/bin/sh
# A guest's folder belongs to its keeper's uid. Whoever has taken over that uid puts links, FIFOs and foreign files where
# root opens, reads or writes the guest's own: root refuses them, and touches nothing else.
# user: root
. "$TOP/tests/e2e/lib.sh"

[ "$(id -u)" -eq 0 ] || skip "there is one uid only"
kill_roostd() {
	# shellcheck disable=SC2046 # several words are meant
	kill_and_wait KILL $(roostd_pids)
}
secret=$TMPDIR/secret
cp "$GUESTS/pico.raw" "$secret"
chmod 600 "$secret"
before=$(stat -c '%u %a %s' "$secret")
untouched() {
	check_eq "$1: root's file" "$before" "$(stat -c '%u %a %s' "$secret")"
}
# refused WHAT REGEX: the guest does not start
refused() {
	check_status 5 timeout $((20 * E2E_PATIENCE)) roost start a
	check_match "$1" "$2" "$out"
	untouched "$1"
}

cat >"$TMPDIR/a.yaml" <<-END
	name: a
	memory: 32M
	disks:
	  - size: 1M
	interfaces: []
END
roost define "$TMPDIR/a.yaml"
dir=$ROOST_STATE/guests/a
keeper=$(stat -c %u "$dir")
[ "$keeper" -ne 0 ] || fail "the guest's folder is root's"

say "its disk"
mv "$dir/disk0.qcow2" "$TMPDIR/disk"
ln -s "$secret" "$dir/disk0.qcow2"
refused "a symbolic link" "disk0.qcow2' is a symbolic link"
rm "$dir/disk0.qcow2"
ln "$secret" "$dir/disk0.qcow2"
refused "a hard link" "belongs to uid 0"
rm "$dir/disk0.qcow2"
mkfifo "$dir/disk0.qcow2"
refused "a FIFO" "is not a regular file"
rm "$dir/disk0.qcow2"
cp -p "$TMPDIR/disk" "$dir/disk0.qcow2"

say "its console"
ln -s "$secret" "$dir/console.log"
refused "a symbolic link" "console.log' is a symbolic link"
rm "$dir/console.log"
ln "$secret" "$dir/console.log"
refused "a hard link" "belongs to uid 0"
rm "$dir/console.log"

say "its folder in \$ROOST_RUN, there before its start"
id=$(jq -r .issued.id "$dir/guest.json")
# in_run COMMAND...: makes something there, as a file of the keeper's
in_run() {
	mkdir -m 700 "$ROOST_RUN/g/$id"
	"$@"
	chown -h "$keeper" "$ROOST_RUN/g/$id"
}
no_run_folder() {
	[ ! -e "$ROOST_RUN/g/$id" ]
}
for name in qmp.log qemu.err; do
	wait_until 5 no_run_folder
	in_run ln "$secret" "$ROOST_RUN/g/$id/$name"
	refused "a hard link, $name" "$name' belongs to uid 0"
	wait_until 5 no_run_folder
	in_run mkfifo "$ROOST_RUN/g/$id/$name"
	check_status 7 timeout $((20 * E2E_PATIENCE)) roost start a
	check_match "a FIFO, $name" "cannot open '$name'" "$out"
done
wait_until 5 no_run_folder

say "what roostd and a keeper write"
roost start a
roost destroy a
for name in guest.json last events.jsonl; do
	[ -z "$(find "$dir" -name "$name.new.*")" ] || fail "$name: a temporary file is left"
done
untouched "a good start"

say "a process of root's in the place of the keeper that shall be replaced"
roost start a
run=$(run_dir a)
kill_roostd
kill -STOP "$(of_status a keeper_pid)"
sleep 300 &
victim=$!
cp "$run/status" "$TMPDIR/status"
jq -c ".keeper_pid = $victim | .keeper_start = $(cut -d ' ' -f 22 "/proc/$victim/stat")" "$TMPDIR/status" >"$run/status"
check_status 5 roost destroy a
check_match "destroy" "is not the keeper of guest 'a'" "$out"
kill "$victim" || fail "root has killed a process at the word of a status file"
cat "$TMPDIR/status" >"$run/status"
roost destroy a

say "another guest's name in its status file"
sed 's/name: a/name: b/' "$TMPDIR/a.yaml" >"$TMPDIR/b.yaml"
roost define "$TMPDIR/b.yaml"
roost start a
run=$(run_dir a)
kill_roostd
kill -STOP "$(of_status a keeper_pid)"
cp "$run/status" "$TMPDIR/status"
jq -c '.name = "b"' "$TMPDIR/status" >"$run/status"
roost start b
kill -CONT "$(jq .keeper_pid "$TMPDIR/status")"
is_state b running || fail "b is not its own"

say "a roostd that finds the true one looks after it again"
wait_until 20 grep -q '"name":"a"' "$run/status"
kill_roostd
roost define "$TMPDIR/b.yaml"
roost destroy a
roost destroy b

say "another guest's QEMU in its status file: who had it learns how it ended"
roost start a
roost start b
kill_and_wait KILL "$(of_status a keeper_pid)"
served() {
	roost suspend a
}
wait_until 10 served
run=$(run_dir b)
kill -STOP "$(of_status b keeper_pid)"
cp "$run/status" "$TMPDIR/status"
qemu=$(of_status a qemu_pid)
jq -c ".qemu_pid = $qemu | .qemu_start = $(of_status a qemu_start)" "$TMPDIR/status" >"$run/status"
kill -SEGV "$qemu"
wait_until 10 is_reason a '^crashed \(signal 11\)$'
[ ! -e "$run/exit" ] || fail "b was told how a's QEMU ended"
cat "$TMPDIR/status" >"$run/status"
kill -CONT "$(of_status b keeper_pid)"
roost destroy b
