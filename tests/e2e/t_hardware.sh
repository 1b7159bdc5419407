#!/bin/sh
# Further hardware on request: watchdog, several consoles, VNC with a password, boot menu and order, the source of random
# numbers, and what is said when a kernel cannot be booted.
# limit: 400
. "$TOP/tests/e2e/lib.sh"
need pico.raw tiny-vmlinux tiny-initrd

# tiny NAME KEY...: a Linux guest with these lines in its definition
tiny() {
	tiny_name=$1
	shift
	cat >"$TMPDIR/$tiny_name.yaml" <<-END
		name: $tiny_name
		memory: 192M
		accel: tcg
		kernel: $GUESTS/tiny-vmlinux
		initrd: $GUESTS/tiny-initrd
		cmdline: console=ttyS0 no_timer_check quiet cryptomgr.notests
		interfaces:
		  - user: {restrict: true, hostfwd: ["-22"]}
		cloud_init: {user: root}
	END
	printf '%s\n' "$@" >>"$TMPDIR/$tiny_name.yaml"
	roost define "$TMPDIR/$tiny_name.yaml"
	roost start "$tiny_name"
}
guest() {
	guest_name=$1
	shift
	roost ssh "root@$guest_name" "$@" </dev/null
}
tiny dog 'watchdog: {action: pause}' 'console: [serial, virtio, serial, virtio]'
tiny itco 'watchdog: {model: itco}' 'rng: false' 'agent: false'

# --- while they boot: a boot sector ---------------------------------------------------------------------------------

say "the boot menu, on the console of a guest without a display"
pico menu 'boot_menu: {timeout: 1500ms}'
roost start menu
wait_until 30 console_has menu 'boot menu'
wait_until 30 is_up menu
check_match "its time-out" 'strict=on,menu=on,splash-time=1500' "$(roost dominfo --argv menu)"
roost destroy menu

say "boot order"
printf 'no system here' >"$TMPDIR/empty"
truncate -s 1M "$TMPDIR/empty"
genisoimage -quiet -o "$TMPDIR/cd.iso" -b pico.raw -no-emul-boot -boot-load-size 1 "$GUESTS/pico.raw" 2>"$TMPDIR/iso.err" ||
	fail "$(cat "$TMPDIR/iso.err")"
# order BOOT: the guest's boot indices, "DISK DISK CDROM NIC", 0 for what it does not boot from
order() {
	cp "$GUESTS/pico.raw" "$TMPDIR/order.raw"
	cat >"$TMPDIR/order.yaml" <<-END
		name: order
		memory: 32M
		accel: tcg
		disks:
		  - {path: $TMPDIR/empty, format: raw, bus: sata}
		  - {path: $TMPDIR/order.raw, format: raw}
		cdrom: $TMPDIR/cd.iso
		interfaces: [user: {restrict: true}]
		boot: $1
	END
	roost define "$TMPDIR/order.yaml" >/dev/null
	roost start order --paused >/dev/null
	roost dominfo --argv order --json | jq -r '[.[] | select(startswith("{")) | fromjson |
		select((.id // "") | test("^disk-|^nic0")) | {key: .id, value: (.bootindex // 0)}] | from_entries |
		[."disk-sda", ."disk-vda", ."disk-sdb", .nic0] | join(" ")'
}
check_eq "disks first, in their order" "1 2 17 0" "$(order '[disk, cdrom]')"
roost destroy order
check_eq "network, then the CD-ROM, and no disk" "0 0 17 1" "$(order '[network, cdrom]')"
roost destroy order
check_eq "the CD-ROM first" "17 18 1 0" "$(order '[cdrom, disk]')"
roost resume order
wait_until 30 console_has order PICO-UP
roost destroy order
check_eq "its disk was not booted from" 0 "$(od -A n -t u2 -j 512 -N 2 "$TMPDIR/order.raw" | tr -d ' ')"

say "VNC with a password"
pico screen 'vnc: {password: true}'
check_status 5 roost vncdisplay screen
roost start screen
socket=$(run_dir screen)/vnc.sock
check_eq "its socket" "$socket" "$(roost vncdisplay screen | head -n 1)"
check_match "the way to it" "ssh -N -L [0-9]+:$socket " "$(roost vncdisplay screen)"
check_eq "as a URI" "vnc+unix://$socket" "$(roost domdisplay screen | head -n 1)"
check_json "in JSON" ".socket == \"$socket\" and (.tunnel | test(\"^ssh\"))" "$(roost vncdisplay screen --json)"
vnc() {
	python3 "$TOP/tests/e2e/vnc_login.py" "$socket" "$1"
}
check_eq "nobody gets in before there is one" refused "$(vnc '')"
check_eq "nobody gets in before there is one" refused "$(vnc hunter2)"
echo hunter2 | roost set-vnc-password screen
check_eq "the right one" admitted "$(vnc hunter2)"
check_eq "a wrong one" refused "$(vnc hunter3)"
for bad in '' 123456789; do
	check_status 2 sh -c "echo '$bad' | roost set-vnc-password screen"
	check_match "how long it may be" '1 to 8' "$out"
done
check_status 2 roost set-vnc-password screen </dev/null
check_eq "what was refused changed nothing" admitted "$(vnc hunter2)"
! grep -rq hunter2 "$(run_dir screen)" || fail "the password is in \$RUN"
check_eq "where it lies" "$ROOST_STATE/guests/screen/vnc-password" "$(grep -rl hunter2 "$ROOST_STATE")"
check_eq "nobody else reads it" 600 "$(stat -c %a "$ROOST_STATE/guests/screen/vnc-password")"
roost destroy screen
roost start screen
check_eq "it holds at the next start" admitted "$(vnc hunter2)"
# shellcheck disable=SC2046 # several words are meant
kill_and_wait KILL $(roostd_pids) "$(of_status screen keeper_pid)"
roost domstate screen
wait_until 10 test -S "$socket"
check_eq "and under another keeper" refused "$(vnc wrong)"
echo other | roost set-vnc-password screen
check_eq "which can change it" "admitted refused" "$(vnc other) $(vnc hunter2)"
roost destroy screen
pico plain 'vnc: true'
roost start plain
check_eq "VNC without one" admitted "$(python3 "$TOP/tests/e2e/vnc_login.py" "$(run_dir plain)/vnc.sock" '')"
check_status 5 sh -c "echo secret | roost set-vnc-password plain"
check_match "what to do" 'vnc: \{password: true\}' "$out"
roost destroy plain
pico blind
roost start blind
check_status 5 roost vncdisplay blind
check_match "what to do" 'vnc: true' "$out"
roost destroy blind

say "a kernel that cannot be read"
cp "$GUESTS/pico.raw" "$TMPDIR/kernel"
pico kernel "kernel: $TMPDIR/kernel" "initrd: $TMPDIR/kernel"
rm "$TMPDIR/kernel"
check_status 3 roost start kernel
check_match "it is named" "cannot read '$TMPDIR/kernel'" "$out"
mkdir "$TMPDIR/kernel"
out=$(roost start kernel 2>&1) && fail "a folder was booted"
check_match "it is named" "cannot read '$TMPDIR/kernel'" "$out"
rmdir "$TMPDIR/kernel"
echo 'no kernel' >"$TMPDIR/kernel"
out=$(roost start kernel 2>&1) && fail "a text was booted"
check_match "QEMU's word" "QEMU did not start.*kernel" "$out"
check_eq "shut off" 'shut off' "$(state kernel)"

# --- the Linux guests ---------------------------------------------------------------------------------------------

say "several consoles"
roost wait -q dog --for login --timeout 200s
roost wait -q itco --for login --timeout 200s
# has_virtio NAME DRIVER: a device bound to it
has_virtio() {
	guest "$1" "ls -d /sys/bus/virtio/drivers/$2/virtio*"
}
wait_until 20 has_virtio dog virtio_rng # the driver comes when it comes
wait_until 20 has_virtio itco virtio_net
check_eq "no source of random numbers" 1 "$(guest itco 'grep -q 0x0004 /sys/bus/virtio/devices/*/device; echo $?')"
check_eq "but in the other" 0 "$(guest dog 'grep -q 0x0004 /sys/bus/virtio/devices/*/device; echo $?')"
# a node is no port yet, and without a node it would become a file
takes_words() {
	guest dog "[ -c /dev/$1 ] && true >/dev/$1"
}
wait_until 20 takes_words hvc0
wait_until 20 takes_words hvc1
guest dog 'echo from hvc0 >/dev/hvc0; echo from ttyS1 >/dev/ttyS1; echo from hvc1 >/dev/hvc1'
logged() {
	roost logs dog --devname "$1" | grep -q "$2"
}
wait_until 20 logged hvc0 'from hvc0'
wait_until 20 logged serial1 'from ttyS1'
wait_until 20 logged hvc1 'from hvc1'
check_no_match "each has its own" 'from ttyS1|from hvc1' "$(roost logs dog --devname hvc0)"
wait_until 20 logged serial0 'TINY-READY'
# open from here on: what came while nobody has it open would be lost
guest dog '(exec 3</dev/hvc0; stty -F /dev/hvc0 raw -echo; head -n 1 <&3 >/root/typed &)'
typed() {
	[ "$(guest dog cat /root/typed)" = 'typed here' ]
}
printf 'typed here\n' | roost console dog --devname hvc0 >"$TMPDIR/seen" &
typing=$!
wait_until 20 typed
wait_until 10 grep -q 'from hvc0' "$TMPDIR/seen"
kill $typing
for name in hvc2 serial2 ../../../etc/passwd ''; do
	out=$(roost console dog --devname "$name" 2>&1 </dev/null) && fail "a console '$name'"
	check_match "it is named" "has no ('?$name|console)" "$out"
done
# shellcheck disable=SC2046 # several words are meant
kill_and_wait KILL $(roostd_pids) "$(of_status dog keeper_pid)"
guest dog 'echo still there >/dev/hvc1'
wait_until 20 logged hvc1 'still there'

say "a watchdog pauses"
# hangs NAME: has the watchdog wait for 4 s, feeds it once, and not again for long; when we have logged out again
hangs() {
	guest "$1" '(until [ -c /dev/watchdog ]; do usleep 100000; done; sleep 2; exec watchdog -T 4 -t 1000 /dev/watchdog) >/dev/null 2>&1 </dev/null &'
}
hangs dog
wait_until 30 is_reason dog '^paused \(watchdog\)'
check_match "the event" '"event":"WATCHDOG".*pause' "$(roost logs dog --events)"
roost resume dog
wait_until 10 is_state dog running

say "a watchdog powers off"
roost reset dog
roost wait -q dog --for login --timeout 100s
roost qmp dog watchdog-set-action '{"action": "poweroff"}'
hangs dog
wait_until 30 is_reason dog '^crashed \(watchdog\)'

say "the chipset's resets"
hangs itco
wait_until 60 is_reason itco 'watchdog'
check_match "the guest goes on" '^running \(reset by its watchdog\)' "$(reason itco)"
boots_anew() {
	[ "$(console_log itco | grep -ac TINY-READY)" -eq 2 ]
}
wait_until 100 boots_anew
roost destroy itco
