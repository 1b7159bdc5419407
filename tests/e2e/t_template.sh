#!/bin/sh
# limit: 120
# template: a guest that never runs, whose disks nobody writes to; clones of it leave it as it is.
. "$TOP/tests/e2e/lib.sh"
need pico.raw

guests=$ROOST_STATE/guests
qemu-img convert -q -f raw -O qcow2 "$GUESTS/pico.raw" "$TMPDIR/base.qcow2"
roost image import "$TMPDIR/base.qcow2" --name base >/dev/null
cat >"$TMPDIR/t.yaml" <<END
name: t
memory: 32M
disks: [{image: base}]
interfaces: []
END
roost define "$TMPDIR/t.yaml"
whole() {
	(cd "$guests/t" && find . -type f ! -name 'events.jsonl*' -exec sha256sum {} + -exec stat -c '%n %a %u %i' {} + | sort)
}
layers() {
	jq -c '.layers // {} | length' "$guests/t/snapshots.json" 2>/dev/null || echo 0
}

say "of a guest that does not run"
roost start t
wait_until 30 is_up t
saves t
check_status 5 roost template t
check_match "running" "guest 't' is running" "$out"
roost destroy t
check_eq "told" "Guest 't' is a template now" "$(roost template t)"
check_eq "its disk" "444 $(id -u)" "$(stat -c '%a %u' "$guests/t/disk0.qcow2")"
check_match "list" "^ - +t +template$" "$(roost list --all)"
check_json "list --json" '.[0].template and .[0].state == "shut off"' "$(roost list --all --json)"
check_match "dominfo" "^Template: +yes" "$(roost dominfo t)"
check_json "dominfo --json" '.issued.template' "$(roost dominfo t --json)"
check_status 5 roost template t
check_match "already" "is already a template" "$out"

say "it never runs"
check_status 5 roost start t
check_match "told" "guest 't' is a template, which never runs" "$out"
check_match "what to do" "roost clone t NAME" "$out"
roost define "$TMPDIR/t.yaml"
check_status 5 roost start t

say "clones of it leave it as it is"
was=$(whole)
roost clone t a
roost clone t b
check_eq "not touched" "$was" "$(whole)"
check_json "the clone is none" '.issued.template // false | not' "$(roost dominfo a --json)"
roost start a
roost start b
wait_until 30 is_up a
wait_until 30 is_up b
saves a
ticks_go_on a b
roost destroy a
roost destroy b
check_eq "not touched" "$was" "$(whole)"
roost undefine a --remove-all-storage
roost image gc >/dev/null
roost undefine b --remove-all-storage
check_eq "not touched" "$was" "$(whole)"

say "and back"
check_eq "told" "Guest 't' is no template any more" "$(roost template --undo t)"
check_status 5 roost template --undo t
check_match "none" "is no template" "$out"
check_eq "list" "shut off" "$(roost list --all | sed -n 's/^ - *t *//p')"
roost start t
wait_until 30 is_up t
roost destroy t

[ -x "$TOP/build/fail/bin/roost" ] || {
	echo "not tried for want of build/fail: kill -9 in between"
	exit 0
}
with_failpoints
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(roostd_pids)
say "kill -9 in between"
die_at template-recorded
check_status 7 roost template t
has_died template-recorded
check_status 5 roost start t
roost clone t a
roost start a --paused
roost destroy a
for point in clone-topped template-tops clone-tops; do
	roost template t >/dev/null 2>&1 || :
	die_at $point
	check_status 7 roost template --undo t
	has_died $point
	check_status 5 roost start t
	roost template --undo t
	roost start t --paused
	roost destroy t
	qemu-img check -q "$guests/t/disk0.qcow2"
	check_status 0 roost clone t "c-$point"
done
