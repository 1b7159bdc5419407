#!/bin/sh
# virt-viewer leads to a guest's screen, or says the ways that there are.
. "$TOP/tests/e2e/lib.sh"
eval "$(roost compat)"
uri=qemu:///session
[ "$(id -u)" -ne 0 ] || uri=qemu:///system
printf 'name: vm01\ndisks: []\ninterfaces: []\n' >"$TMPDIR/vm01.yaml"
roost define "$TMPDIR/vm01.yaml"

both virt-viewer --connect "$uri" vm01
check_eq "not running" "virt-viewer: guest 'vm01' is not running; \`roost start vm01\` starts it 1" "$errors $both_status"
pico screen 'vnc: true' 'display: vga' >/dev/null
roost start screen
both virt-viewer -c "$uri" --attach screen
check_match "the ways that there are" "ssh -N -L 5901:$(run_dir screen)/vnc.sock " "$out"
check_eq "which is no failure" 0 $both_status
both virt-viewer --zoom 150 screen
check_match "what it has not" "option '--zoom' is not there" "$errors"
both virt-viewer
check_match "which" 'which guest\?$' "$errors"
roost destroy screen

