#!/bin/sh
# A guest is saved with all that it is, ends, and goes on where it stood: its counter, its RAM, what was plugged into it.
# What is not whole or no longer true is refused; what is interrupted has not happened: the guest runs on.
# limit: 600
[ -n "${IN_MOUNTS-}" ] || [ "$(id -u)" -ne 0 ] || IN_MOUNTS=1 exec unshare --mount sh "$0"
. "$TOP/tests/e2e/lib.sh"
need pico.raw tiny-vmlinux tiny-initrd
command -v python3 >/dev/null || lacking python3
command -v qemu-img >/dev/null || lacking qemu-img

saved() {
	check_eq "$1 is saved" "shut off (saved)" "$(reason "$1")"
}
# goes_on NAME TICK: it counts on from there, without having booted anew
goes_on() {
	wait_until 10 beyond "$1" "$2"
	[ "$(ticks "$1")" -le $(($2 + 30)) ] || fail "$1 jumped from $2 to $(ticks "$1")"
	check_eq "$1 did not boot again" 1 "$(boots "$1")"
}

# --- pico: all the words --------------------------------------------------------------------------------------------
say "save: refused"
pico p
check_status 5 roost save p "$TMPDIR/p.save"
check_match "it does not run" "not running" "$out"
check_status 3 roost save nobody-there "$TMPDIR/p.save"
roost start p 2>/dev/null
wait_until 30 is_up p
check_status 2 roost save p "$TMPDIR"
check_status 2 roost save p "$TMPDIR/"
check_status 3 roost save p "$TMPDIR/nowhere/p.save"
check_status 2 roost save p
check_status 3 roost restore "$TMPDIR/p.save"
ticks_go_on p
check_eq "nothing was made" "" "$(find "$TMPDIR" -name '*.save*')"

say "save"
echo "an old file" >"$TMPDIR/p.save"
chmod 644 "$TMPDIR/p.save"
at=$(ticks p)
check_eq "save" "Guest 'p' saved to $TMPDIR/p.save" "$(roost save p "$TMPDIR/p.save")"
saved p
check_eq "its mode" 600 "$(stat -c %a "$TMPDIR/p.save")"
check_eq "nothing else" "$TMPDIR/p.save" "$(find "$TMPDIR" -name '*.save*')"
[ ! -e "$ROOST_STATE/guests/p/journal" ] || fail "the journal is still there"
# as save_file.h describes it, read by somebody else
python3 - "$TMPDIR/p.save" <<'END'
import json, struct, sys, zlib
data = open(sys.argv[1], "rb").read()
assert data[:16] == b"roost-save 1\n" + bytes(3), data[:16]
offset, length, crc = struct.unpack("<QQI", data[16:36])
text = data[36 : 36 + length]
facts = json.loads(text)
assert zlib.crc32(text) == crc and offset % 4096 == 0
assert len(data) == offset + facts["length"] and zlib.crc32(data[offset:]) == facts["crc32"]
assert data[offset : offset + 4] == b"QEVM", "no stream of QEMU's"
assert facts["name"] == "p" and facts["definition"]["uuid"] == facts["uuid"] and not facts["paused"]
END

say "restore: refused"
# spoilt NAME AT: p.save with another byte there
spoilt() {
	cp "$TMPDIR/p.save" "$TMPDIR/$1"
	printf '\377' | dd of="$TMPDIR/$1" bs=1 seek="$2" conv=notrunc status=none
}
head -c 500000 "$TMPDIR/p.save" >"$TMPDIR/short"
check_status 5 roost restore "$TMPDIR/short"
check_match "truncated" "truncated" "$out"
(cat "$TMPDIR/p.save" && echo) >"$TMPDIR/long"
check_status 5 roost restore "$TMPDIR/long"
spoilt ram 600000
check_status 5 roost restore "$TMPDIR/ram"
check_match "its RAM" "damaged" "$out"
spoilt head 100
check_status 5 roost restore "$TMPDIR/head"
check_match "its head" "damaged" "$out"
spoilt version 11
check_status 5 roost restore "$TMPDIR/version"
check_match "another version" "version" "$out"
spoilt magic 0
check_status 2 roost restore "$TMPDIR/magic"
check_status 2 roost restore "$TMPDIR/p.raw"
: >"$TMPDIR/empty"
check_status 2 roost restore "$TMPDIR/empty"
check_status 2 roost restore "$TMPDIR"
check_status 2 roost restore "$TMPDIR/p.save" --running --paused
saved p

say "restore: the disk has changed"
cp -p "$TMPDIR/p.raw" "$TMPDIR/kept.raw"
printf x | dd of="$TMPDIR/p.raw" bs=1 seek=900000 conv=notrunc status=none
check_status 5 roost restore "$TMPDIR/p.save"
check_match "which" "'$TMPDIR/p.raw' has been changed" "$out"
saved p
cp -p "$TMPDIR/kept.raw" "$TMPDIR/p.raw"

say "restore"
out=$(roost restore "$TMPDIR/p.save")
check_match "what is told" "^Guest 'p' restored from $TMPDIR/p.save, saved at 20.*; its clock is [0-9]+ s behind$" "$out"
check_eq "its state" "running (restored)" "$(reason p)"
goes_on p "$at"
check_status 5 roost restore "$TMPDIR/p.save"
check_match "it runs already" "already" "$out"
roost suspend p
roost resume p
goes_on p "$(ticks p)"

say "a guest that is paused stays so"
roost suspend p
at=$(ticks p)
roost save p "$TMPDIR/p.save"
roost restore "$TMPDIR/p.save"
check_eq "paused" paused "$(state p)"
lines=$(console_log p | wc -l)
sleep 1.5
check_eq "it stands still" "$lines" "$(console_log p | wc -l)"
roost resume p
goes_on p "$at"
roost suspend p
roost save p "$TMPDIR/p.save"
check_json "--json" '.name == "p" and .saved > 1700000000' "$(roost restore --json --running "$TMPDIR/p.save")"
goes_on p "$at"
check_json "save --json" '.file and .size > 4096' "$(roost save --json p "$TMPDIR/p.save")"

say "another guest of that name"
roost undefine p
check_status 3 roost restore "$TMPDIR/p.save"
check_match "what to do" "define" "$out"
cp -p "$TMPDIR/p.raw" "$TMPDIR/kept.raw"
pico p
cp -p "$TMPDIR/kept.raw" "$TMPDIR/p.raw"
check_status 5 roost restore "$TMPDIR/p.save"
check_match "it is not the one" "another" "$out"
roost undefine p

# --- managedsave ----------------------------------------------------------------------------------------------------
say "managedsave"
started m 2>/dev/null
check_match "before" "Managed save: +no" "$(roost dominfo m)"
at=$(ticks m)
check_match "managedsave" "its next start goes on from there" "$(roost managedsave m)"
saved m
check_match "dominfo" "Managed save: +yes" "$(roost dominfo m)"
check_json "dominfo --json" .managed_save "$(roost dominfo --json m)"
check_match "list" "m +shut off" "$(roost list --all)"
check_match "list --managed-save" "m +saved" "$(roost list --all --managed-save)"
check_eq "--with-managed-save" m "$(roost list --all --with-managed-save --name)"
check_eq "--without-managed-save" "" "$(roost list --all --without-managed-save --name)"
check_json "list --json" '.[0].managed_save' "$(roost list --all --json)"
check_eq "its mode" 600 "$(stat -c %a "$ROOST_STATE/guests/m/managed.save")"
check_status 5 roost managedsave m
check_status 5 roost undefine m
check_match "what to do" "undefine --managed-save m" "$out"
check_status 5 roost domrename m other
check_match "it keeps its name" "managedsave" "$out"
roost define "$TMPDIR/m.yaml" >/dev/null
check_match "start goes on" "restored from its managed save" "$(roost start m)"
goes_on m "$at"
[ ! -e "$ROOST_STATE/guests/m/managed.save" ] || fail "what was saved is still there"
check_eq "none to list" "" "$(roost list --all --with-managed-save --name)"

say "managed-save: given up"
roost managedsave m
check_match "managedsave-remove" "Removed" "$(roost managedsave-remove m)"
check_match "again" "no managed save" "$(roost managedsave-remove m)"
roost start m 2>/dev/null
booted_again() {
	[ "$(boots m)" -eq "$1" ]
}
wait_until 20 booted_again 2
wait_until 20 is_up m
roost managedsave m
truncate -s -1 "$ROOST_STATE/guests/m/managed.save"
check_status 5 roost start m
check_match "one that is not whole" "truncated" "$out"
check_match "what to do" "roost start --force-boot m" "$out"
# a client that does not look cannot boot it by mistake, either
status=0
out=$(qmp "$ROOST_RUN/roostd.sock" roost-start '{"name":"m"}' 2>&1) || status=$?
check_match "nobody boots it unasked" "managedsave" "$out"
[ -e "$ROOST_STATE/guests/m/managed.save" ] || fail "what was saved has gone"
roost start --force-boot m 2>/dev/null
wait_until 20 booted_again 3
[ ! -e "$ROOST_STATE/guests/m/managed.save" ] || fail "what was saved is still there"
wait_until 20 is_up m
roost managedsave m
roost undefine --managed-save m

# --- tiny: RAM and what was plugged ---------------------------------------------------------------------------------
cat >"$TMPDIR/tiny.yaml" <<-END
	name: tiny
	memory: 512M
	max_memory: 1G
	vcpus: 1
	max_vcpus: 3
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: console=ttyS0 no_timer_check quiet
	disks:
	  - size: 64M
	    serial: BOOT-DISK
	interfaces:
	  - user: {restrict: true, hostfwd: ["-22"]}
	cloud_init: {user: root}
END
roost run -q "$TMPDIR/tiny.yaml" --timeout 300s 2>/dev/null
guest() {
	roost ssh root@tiny "$@" </dev/null
}
guest_says() { # guest_says VALUE COMMAND
	[ "$(guest "$2")" = "$1" ]
}
dev_of() {
	guest "grep -lx '$1' /sys/block/*/serial 2>/dev/null" | cut -d / -f 4
}
has_disk() {
	[ -n "$(dev_of "$1")" ]
}

say "tiny with things plugged"
qemu-img create -q -f qcow2 "$TMPDIR/base.qcow2" 32M
qemu-img create -q -f qcow2 -F qcow2 -b "$TMPDIR/base.qcow2" "$TMPDIR/extra.qcow2" 32M
roost attach-disk tiny "$TMPDIR/extra.qcow2" --format qcow2 --serial EXTRA --target vdk
roost attach-interface tiny user --restrict --mac 52:54:00:00:00:77
roost setvcpus tiny 2
roost setmem tiny 640M
wait_until 20 has_disk EXTRA
wait_until 20 guest_says 2 nproc
guest "dd if=/dev/urandom of=/run/noise bs=1M count=8 2>/dev/null; printf on-the-extra | dd of=/dev/$(dev_of EXTRA) bs=512 seek=7 conv=fsync 2>/dev/null"
noise=$(guest sha256sum /run/noise)
# written but not flushed: it is in the guest's RAM only
guest "printf not-flushed | dd of=/dev/$(dev_of BOOT-DISK) bs=512 seek=9 2>/dev/null; (while :; do sleep 0.2; echo x >>/run/beat; done) >/dev/null 2>&1 &"
uptime=$(guest cut -d . -f 1 /proc/uptime)
# it has got it; then it puts it to use
has_all_memory() {
	memory=$(guest grep MemTotal /proc/meminfo) && [ "$(echo "$memory" | tr -dc 0-9)" -gt $((512 << 10)) ]
}
wait_until 20 has_all_memory

say "save"
since=$(now_ms)
roost save tiny "$TMPDIR/tiny.save"
check_time "saving 512 MiB" 20000 "$since"
say "saved in $(($(now_ms) - since)) ms: $(stat -c %s "$TMPDIR/tiny.save") bytes"
saved tiny
qemu-img check -q "$TMPDIR/extra.qcow2"
qemu-img check -q "$ROOST_STATE/guests/tiny/disk0.qcow2"
mv "$TMPDIR/base.qcow2" "$TMPDIR/away"
check_status 3 roost restore "$TMPDIR/tiny.save"
mv "$TMPDIR/away" "$TMPDIR/base.qcow2"
printf x | dd of="$TMPDIR/extra.qcow2" bs=1 seek=200 conv=notrunc status=none
touch -d "@$(($(date +%s) - 5))" "$TMPDIR/extra.qcow2"
check_status 5 roost restore "$TMPDIR/tiny.save"
check_match "a plugged disk that was changed" "extra.qcow2" "$out"
saved tiny
# as it was, to the nanosecond
printf '\0' | dd of="$TMPDIR/extra.qcow2" bs=1 seek=200 conv=notrunc status=none
python3 - "$TMPDIR/tiny.save" "$TMPDIR/extra.qcow2" <<'END'
import json, os, struct, sys
data = open(sys.argv[1], "rb").read(1 << 20)
facts = json.loads(data[36 : 36 + struct.unpack("<Q", data[24:32])[0]])
(mtime,) = (d["mtime_ns"] for d in facts["disks"] if d["path"] == sys.argv[2])
os.utime(sys.argv[2], ns=(mtime, mtime))
END
sleep 3

say "restore"
since=$(now_ms)
told=$(roost restore "$TMPDIR/tiny.save")
say "restored in $(($(now_ms) - since)) ms: $told"
since=$(now_ms)
roost wait -q tiny --for login --timeout 60s
check_time "a wait for one that has long said all on its console" 15000 "$since"
behind=$(echo "$told" | sed -n 's/.*its clock is \([0-9]*\) s behind.*/\1/p')
[ "$behind" -ge 3 ] || fail "its clock is told as $behind s behind"
guest_clock=$(guest date +%s)
real=$(($(date +%s) - guest_clock))
if [ "$real" -lt $((behind - 2)) ] || [ "$real" -gt $((behind + 2 + 3 * E2E_PATIENCE)) ]; then
	fail "it is said to be $behind s behind, and is $real s"
fi
now=$(guest cut -d . -f 1 /proc/uptime)
if [ "$now" -lt "$uptime" ] || [ "$now" -gt $((uptime + 15 * E2E_PATIENCE)) ]; then
	fail "its uptime went from $uptime to $now"
fi
check_eq "what is in its RAM" "$noise" "$(guest sha256sum /run/noise)"
beats=$(guest wc -l /run/beat | cut -d ' ' -f 1)
more_beats() {
	[ "$(guest wc -l /run/beat | cut -d ' ' -f 1)" -gt "$beats" ]
}
wait_until 10 more_beats
check_eq "what was not flushed" not-flushed "$(guest "sync; dd if=/dev/$(dev_of BOOT-DISK) bs=512 skip=9 count=1 2>/dev/null | tr -d '\\0'")"
check_eq "on the plugged disk" on-the-extra "$(guest "dd if=/dev/$(dev_of EXTRA) bs=512 skip=7 count=1 2>/dev/null | tr -d '\\0'")"
check_eq "its vCPUs" 2 "$(guest nproc)"
check_eq "its vCPUs are known" 2 "$(of_status tiny vcpus)"
check_eq "its memory" "$memory" "$(guest grep MemTotal /proc/meminfo)"
check_eq "its memory is known" $((640 << 20)) "$(of_status tiny memory)"
check_match "domblklist" "vdk +$TMPDIR/extra.qcow2" "$(roost domblklist tiny)"
check_match "domiflist" "52:54:00:00:00:77" "$(roost domiflist tiny)"

say "what was plugged obeys, after another keeper too"
kill_and_wait KILL "$(of_status tiny keeper_pid)"
roost detach-interface tiny 52:54:00:00:00:77
roost detach-disk tiny vdk
qemu-img check -q "$TMPDIR/extra.qcow2"
roost attach-disk tiny "$TMPDIR/extra.qcow2" --format qcow2 --serial EXTRA --target vdk
wait_until 20 has_disk EXTRA
roost detach-disk tiny vdk
roost setvcpus tiny 3
wait_until 20 guest_says 3 nproc
roost setmem tiny 512M

# --- interrupted ----------------------------------------------------------------------------------------------------
rm "$TMPDIR/p.save"
say "RAM that takes a while"
guest "mkdir /big && mount -t tmpfs -o size=300M none /big && head -c 250000000 /dev/zero | tr '\\0' x >/big/filling"
is_saving() {
	is_state tiny migrating
}
runs_on() {
	wait_until 10 is_state tiny running
	wait_until 10 more_beats
	beats=$(guest wc -l /run/beat | cut -d ' ' -f 1)
	wait_until 5 nothing_is_left
}
# no file, no journal, and it is not busy: which is told after its state, and then about every second
nothing_is_left() {
	[ -z "$(find "$TMPDIR" "$ROOST_STATE/guests/tiny" -name '*.save*' ! -name tiny.save)" ] &&
		[ ! -e "$ROOST_STATE/guests/tiny/journal" ] && [ -z "$(of_status tiny busy)" ]
}
beats=0
for how in cancel TERM KILL; do
	roost save tiny "$TMPDIR/other.save" >"$TMPDIR/saving" 2>&1 &
	saving=$!
	wait_until 10 is_saving
	# it writes the file: however fast that is, it is not done until it goes on
	kill -STOP $saving
	status=0
	if [ $how = cancel ]; then
		check_match "cancel" "roost-save is being cancelled" "$(roost cancel tiny)"
	else
		kill -$how $saving
	fi
	kill -CONT $saving
	wait $saving || status=$?
	say "$how: status $status: $(cat "$TMPDIR/saving")"
	[ $status -ne 0 ] || fail "$how: it was saved"
	[ $how = KILL ] || check_match "$how: what is said" "cancelled|interrupted" "$(cat "$TMPDIR/saving")"
	runs_on "$how"
done
roost managedsave tiny >"$TMPDIR/saving" 2>&1 &
saving=$!
wait_until 10 is_saving
kill -STOP $saving
check_status 4 roost suspend tiny
roost cancel tiny
kill -CONT $saving
wait $saving && fail "it was saved"
runs_on "managedsave"

say "a limit on the file's size"
status=0
out=$(ulimit -f 20000 && roost save tiny "$TMPDIR/other.save" 2>&1) || status=$?
check_eq "its status" 7 "$status"
check_match "why" "File too large" "$out"
runs_on "limited"

say "the host's disk is full"
mkdir "$TMPDIR/small"
if [ -n "${IN_MOUNTS-}" ]; then
	mount -t tmpfs -o size=2M,mode=777 tmpfs "$TMPDIR/small"
	check_status 7 roost save tiny "$TMPDIR/small/x.save"
	check_match "why" "No space left" "$out"
	check_match "and the guest" "goes on as it was" "$out"
	runs_on "full"
	check_eq "nothing is left there" "" "$(ls -A "$TMPDIR/small")"
	umount "$TMPDIR/small"
else
	say "not tried: only root can mount a small one"
fi

say "saved after all"
roost save tiny "$TMPDIR/other.save"
roost restore "$TMPDIR/other.save"
wait_until 20 more_beats
roost destroy tiny
