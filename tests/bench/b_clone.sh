#!/bin/sh
# Cloning a guest that does not run, the whole of `roost clone`, process included: of one that has written to its disk
# since it was cloned last, so that it gets a new top itself, and of a template, which is left as it is.
. "$TOP/tests/bench/lib.sh"

need pico.raw
roost image import "$GUESTS/pico.raw" --name pico >"$TMPDIR/out"
cat >"$TMPDIR/one.yaml" <<END
name: one
memory: 32M
disks: [{image: pico, size: 1G}]
interfaces: [{user: {restrict: true}}]
END
roost define "$TMPDIR/one.yaml" >"$TMPDIR/out"
# the top of its layers, which it has from its first clone on
# shellcheck disable=SC2016 # expanded by the shell that runs it
write='top=$(jq -r ".tops.vda // \"disk0.qcow2\"" $ROOST_STATE/guests/one/snapshots.json 2>/dev/null || echo disk0.qcow2)
	qemu-io -f qcow2 -c "write -q -P 7 64k 64k" "$ROOST_STATE/guests/one/$top"'
undo='roost undefine "c{}" --remove-all-storage'

ms=$(measure -n 20 --before "$write" --after "$undo" roost clone one "c{}")
result j "clone of a stopped guest" "$ms" "at most" 10 ms

roost template one >"$TMPDIR/out"
template=$(measure -n 20 --after "$undo" roost clone one "c{}")
say "clone of a template: $template ms"
