#!/bin/sh
# limit: 200
# clone: another guest of one that does not run, whole or not at all; the original is left as it was.
. "$TOP/tests/e2e/lib.sh"
need pico.raw

guests=$ROOST_STATE/guests
qemu-img convert -q -f raw -O qcow2 "$GUESTS/pico.raw" "$TMPDIR/base.qcow2"
roost image import "$TMPDIR/base.qcow2" --name base >/dev/null
truncate -s 1M "$TMPDIR/cd.iso"
cat >"$TMPDIR/a.yaml" <<END
name: a
memory: 32M
disks:
  - image: base
  - size: 1M
  - path: $TMPDIR/cd.iso
    format: raw
    readonly: true
interfaces:
  - user: {restrict: true}
cloud_init: true
ready: {rung: console}
END
roost define "$TMPDIR/a.yaml"
qemu-io -f qcow2 -c 'write -q -P 7 64k 64k' "$guests/a/disk1.qcow2" >/dev/null
of() { # FILTER GUEST
	jq -cS "$1" "$guests/$2/guest.json"
}
names() {
	roost list --all --name | sed '/^$/d' | sort | paste -s -d ' ' -
}
content() { # what stands in the disks of a guest
	for disk in disk0 disk1; do
		qemu-img convert -f qcow2 -O raw "$guests/$1/$disk.qcow2" "$TMPDIR/content"
		sha256sum <"$TMPDIR/content"
	done
	rm "$TMPDIR/content"
}
whole() { # the folder of a guest
	(cd "$guests/$1" && find . -type f ! -name events.jsonl -exec sha256sum {} + | sort)
}

say "it is cloned"
was=$(whole a)
check_eq "told" "Clone 'b' created successfully." "$(roost clone a b)"
check_eq "two guests" "a b" "$(names)"
check_eq "the original is as it was" "$was" "$(whole a)"
check_eq "the same content" "$(content a)" "$(content b)"
same='del(.name, .uuid, .issued, .interfaces[].mac, .cloud_init.hostname)'
check_eq "the same hardware, on the same base" "$(of "$same" a)" "$(of "$same" b)"
for what in .name .uuid .issued.id .issued.host_key '.interfaces[0].mac' .cloud_init.hostname; do
	[ "$(of "$what" a)" != "$(of "$what" b)" ] || fail "both have $what: $(of "$what" a)"
	[ "$(of "$what" b)" != null ] || fail "the clone has no $what"
done
if cmp -s "$guests/a/seed.iso" "$guests/b/seed.iso"; then
	fail "both have the same seed"
fi
for disk in disk0 disk1; do
	qemu-img check -q "$guests/b/$disk.qcow2"
	check_eq "whose $disk is" "$(stat -c %a "$guests/a/$disk.qcow2")" "$(stat -c %a "$guests/b/$disk.qcow2")"
done
check_eq "whose they are" "$(of .issued.keeper_uid b | grep . | sed 's/null/'"$(id -u)/")" \
	"$(stat -c %u "$guests/b/disk0.qcow2")"
check_json "it is told" '.data.guest == "b"' "$(roost logs --events b | grep roost-clone)"

say "both run, each on its own disks"
roost start a
roost start b
wait_until 30 is_up a
wait_until 30 is_up b
check_status 5 roost clone a c
check_match "running" "guest 'a' is running" "$out"
roost suspend a
check_status 5 roost clone a c
check_eq "nothing is made" "a b" "$(names)"
roost destroy a
roost destroy b
qemu-io -f qcow2 -c 'write -q -P 9 64k 64k' "$guests/b/disk1.qcow2" >/dev/null
qemu-io -f qcow2 -r -c 'read -q -P 7 64k 64k' "$guests/a/disk1.qcow2" | grep . && fail "the original's disk has changed"

say "the original goes, the clone stays, and keeps its base"
roost clone b c --json >"$TMPDIR/json"
check_json "--json" '.name == "c" and .original == "b" and (.uuid | length) == 36' "$(cat "$TMPDIR/json")"
roost undefine b --remove-all-storage
check_status 5 roost image rm base
roost start c
wait_until 30 is_up c
roost destroy c

say "bad names"
for bad in '' a/b ../x -x 123 a..b "a b"; do
	check_status 2 roost clone -- a "$bad"
done
check_status 5 roost clone a c
check_match "taken" "guest 'c' exists already" "$out"
check_status 5 roost clone a a
check_status 5 roost clone a C
check_match "taken but for its case" "differs in case only" "$out"
check_status 3 roost clone nosuch d
check_status 2 roost clone a
check_eq "nothing is made" "a c" "$(names)"

say "what two guests cannot share"
cp "$GUESTS/pico.raw" "$TMPDIR/own.raw"
cat >"$TMPDIR/own.yaml" <<END
name: own
memory: 32M
disks:
  - path: $TMPDIR/own.raw
    format: raw
interfaces: []
END
roost define "$TMPDIR/own.yaml"
check_status 5 roost clone own d
check_match "a file" "disk 'vda' is the file '$TMPDIR/own.raw', which two guests cannot share" "$out"
roost undefine own

say "a guest with snapshots: it writes to a layer that no definition names"
had=$(content a)
roost snapshot-create-as a before >/dev/null
check_status 5 roost clone a d
check_match "refused" "guest 'a' cannot be cloned: it has snapshots" "$out"
check_eq "nothing is made" "a c" "$(names)"
roost snapshot-delete a before >/dev/null
check_eq "nothing is lost" "$had" "$(content a)"
roost clone a d >/dev/null
check_eq "without them" "$(content a)" "$(content d)"
roost undefine d --remove-all-storage

say "a header that names another file than was recorded"
cp "$guests/a/disk1.qcow2" "$TMPDIR/kept"
qemu-img rebase -u -f qcow2 -F raw -b "$TMPDIR/own.raw" "$guests/a/disk1.qcow2"
check_status 5 roost clone a d
check_match "refused" "disk 'vdb'" "$out"
cat "$TMPDIR/kept" >"$guests/a/disk1.qcow2"
check_eq "nothing is made" "a c" "$(names)"
check_eq "nothing is left" "" "$(find "$guests" -name '.new-*')"

say "many at the same time: one wins"
for i in 1 2 3 4; do
	roost clone a many >"$TMPDIR/$i.out" 2>&1 &
done
wait
check_eq "one was told so" 1 "$(cat "$TMPDIR"/?.out | grep -c 'created successfully')"
check_eq "one guest" "a c many" "$(names)"
check_eq "it is whole" "$(content a)" "$(content many)"
roost undefine many --remove-all-storage

# --- killed in between --------------------------------------------------------------------------------------------
failing=$TOP/build/fail/bin
[ -x "$failing/roost" ] || {
	echo "not tried for want of build/fail: kill -9 in between"
	exit 0
}
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(roostd_pids)
PATH=$failing:$PATH
was=$(whole a)
# killed_at FAILPOINT NAMES_AFTERWARDS
killed_at() {
	say "kill -9 at $1"
	echo "$1" >"$ROOST_RUN/fail"
	check_status 7 roost clone a d
	[ ! -s "$ROOST_RUN/fail" ] || fail "it did not come past $1"
	rm -f "$ROOST_RUN/fail"
	check_eq "the guests" "$2" "$(names)"
	check_eq "the original is as it was" "$was" "$(whole a)"
	[ "$2" = "a c d" ] || roost clone a d
	check_eq "it is whole" "$(content a)" "$(content d)"
	roost start d
	wait_until 30 is_up d
	roost destroy d
	roost undefine d --remove-all-storage
}
killed_at clone-folder "a c"
killed_at clone-copied "a c"
killed_at clone-done "a c d"
