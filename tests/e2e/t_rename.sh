#!/bin/sh
# limit: 200
# domrename: a guest that does not run gets another name, whole or not at all, and keeps everything else.
. "$TOP/tests/e2e/lib.sh"
need pico.raw

# a guest with disks of its own and a seed, so that there is something to be moved
cat >"$TMPDIR/old.yaml" <<END
name: old
memory: 32M
disks:
  - path: $TMPDIR/old.raw
    format: raw
  - size: 1M
interfaces: []
cloud_init: true
ready: {rung: console}
END
cp "$GUESTS/pico.raw" "$TMPDIR/old.raw"
roost define "$TMPDIR/old.yaml"
record() { # without the name
	jq -S 'del(.name)' "$ROOST_STATE/guests/$1/guest.json"
}
names() {
	roost list --all --name | sed '/^$/d' | sort | paste -s -d ' ' -
}
before=$(record old)
uuid=$(jq -r .uuid "$ROOST_STATE/guests/old/guest.json")

say "it is renamed"
out=$(roost domrename old new)
check_match "told" "^Guest 'old' renamed to 'new'" "$out"
check_match "what stays is told" "host name in it stays 'old'" "$out"
check_eq "one guest" new "$(names)"
check_eq "nothing but the name" "$before" "$(record new)"
check_eq "its name" new "$(jq -r .name "$ROOST_STATE/guests/new/guest.json")"
check_eq "no trace" null "$(jq .rename_to "$ROOST_STATE/guests/new/guest.json")"
check_eq "by its UUID" new "$(roost domname "$uuid")"
check_status 3 roost domstate old
event=$(roost logs --events new | grep ROOST_RENAMED)
check_json "it is told" '.data | .guest == "new" and ."old-name" == "old" and .uid == '"$(id -u)" "$event"
roost start new
wait_until 30 is_up new
check_status 5 roost domrename new newer
check_match "running" "guest 'new' is running" "$out"
check_eq "still so" running "$(state new)"

say "at once after its end"
for to in a b c d; do
	from=$(names)
	roost destroy "$from"
	roost domrename "$from" $to
	roost start $to
done
check_eq "it runs" "d running" "$(names) $(state d)"
roost shutdown d
check_json "--json" '.name == "new" and ."old-name" == "d" and .hostname == "old"' "$(roost domrename d new --json)"
check_match "how it ended is known" 'shut off \(.*power' "$(reason new)"

say "bad names"
pico other
before=$(names)
for bad in '' a/b ../x -x 123 a..b "a b" "$(head -c 64 /dev/zero | tr '\0' x)"; do
	check_status 2 roost domrename -- new "$bad"
done
check_status 5 roost domrename new other
check_match "taken" "guest 'other' exists already" "$out"
check_status 5 roost domrename new OTHER
check_match "taken but for its case" "differs in case only" "$out"
check_status 5 roost domrename new new
check_status 3 roost domrename nosuch newer
check_status 2 roost domrename new
check_eq "all as it was" "$before" "$(names)"
roost domrename new NEW
check_eq "its own name in another case" "NEW other" "$(names)"
roost domrename NEW new

say "a guest on whose disk another one stands"
cat >"$TMPDIR/child.yaml" <<END
name: child
memory: 32M
disks:
  - image: $ROOST_STATE/guests/new/disk0.qcow2
interfaces: []
END
roost define "$TMPDIR/child.yaml"
check_status 5 roost domrename new newer
check_match "who" "definition of guest 'child' names a file" "$out"
roost undefine child --remove-all-storage
printf '{ "spoilt": ' >"$ROOST_STATE/guests/other/guest.json"
check_status 5 roost domrename other broken
check_match "broken" "'other' is broken" "$out"
roost undefine other

say "many at the same time: one wins"
for to in w1 w2 w3 w4 w5 w6 w7 w8; do
	roost domrename new $to >"$TMPDIR/$to.out" 2>&1 &
done
wait
won=$(names)
check_match "one guest" '^w[1-8]$' "$won"
check_eq "one was told so" "1" "$(cat "$TMPDIR"/w?.out | grep -c 'renamed to')"
check_match "it is whole" 'new|w[1-8]' "$(roost dumpyaml "$won")"
roost domrename "$won" new
roost domrename new newer
jq '{definition: (del(.roost) | .name = "new"), change: true}' "$ROOST_STATE/guests/newer/guest.json" >"$TMPDIR/change"
check_status 1 qmp "$ROOST_RUN/roostd.sock" roost-define "$(cat "$TMPDIR/change")"
check_match "a change comes too late" "no guest 'new' any more" "$out"
roost domrename newer new
for i in 1 2 3 4 5; do # a definition that is being written, and a new name for it
	roost setmaxmem new $((32 + 2 * i))M >/dev/null 2>&1 &
	roost domrename new n$i >/dev/null 2>&1 || :
	wait
	[ "$(names)" = new ] || roost domrename "$(names)" new >/dev/null
	check_match "readable" '^name: new$' "$(roost dumpyaml new)"
done

# --- killed in between --------------------------------------------------------------------------------------------
failing=$TOP/build/fail/bin
[ -x "$failing/roost" ] || {
	echo "not tried for want of build/fail: kill -9 in between"
	exit 0
}
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(roostd_pids)
PATH=$failing:$PATH
# killed_at FAILPOINT NAME_AFTERWARDS
killed_at() {
	say "kill -9 at $1"
	echo "$1" >"$ROOST_RUN/fail"
	check_status 7 roost domrename new newer
	[ ! -s "$ROOST_RUN/fail" ] || fail "it did not come past $1"
	rm -f "$ROOST_RUN/fail"
	check_eq "its name" "$2" "$(names)"
	check_match "readable" "^name: $2\$" "$(roost dumpyaml "$2")"
	check_eq "shut off" "shut off" "$(state "$2")"
	roost start "$2"
	wait_until 30 is_up "$2"
	roost destroy "$2"
	roost domrename "$2" again
	roost domrename again new
	check_eq "no trace" null "$(jq .rename_to "$ROOST_STATE/guests/new/guest.json")"
}
killed_at rename-announced new
killed_at rename-done newer
