#!/bin/sh
# A TPM: the guest sees a TPM 2.0 and what it keeps there outlives its stop; swtpm runs without privilege, outlives the
# keeper, ends with its guest however that ends, and its death under a living guest is told.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
need pico.raw tiny-vmlinuz tiny-vmlinux tiny-initrd
[ -x /usr/bin/swtpm ] || lacking swtpm

# definition NAME KERNEL TPM
definition() {
	cat <<-END
		name: $1
		memory: 256M
		accel: tcg
		kernel: $GUESTS/$2
		initrd: $GUESTS/tiny-initrd
		cmdline: console=ttyS0 no_timer_check quiet cryptomgr.notests
		interfaces:
		  - user: {restrict: true, hostfwd: ["-22"]}
		cloud_init: {user: root}
		# a packed kernel says nothing for long where there is much else to do
		ready: {deadlines: {console: 280s}}
		tpm: $3
	END
}
guest() {
	guest_name=$1
	shift
	roost ssh "root@$guest_name" "$@" </dev/null
}
tpm_pid() {
	of_status "$1" tpm_pid
}
is_gone() {
	roost dominfo "$1" | grep -q '^TPM: *swtpm is gone'
}
# what the TPM itself says to a command given in hex, in hex
command_hex() {
	guest "$1" "exec 3<>/dev/tpmrm0 && printf '$(printf %s "$2" | sed 's/../\\x&/g')' >&3 && timeout 5 head -c 10 <&3 | od -A n -t x1 | tr -d ' \n'"
}

say "a Linux guest with one, another with the older interface"
definition tiny tiny-vmlinuz true >"$TMPDIR/tiny.yaml"
definition tis tiny-vmlinuz '{model: tis}' >"$TMPDIR/tis.yaml"
roost run -q "$TMPDIR/tiny.yaml" >/dev/null
check_eq "a TPM 2.0" 2 "$(guest tiny cat /sys/class/tpm/tpm0/tpm_version_major)"
check_match "dominfo" '^TPM: *2\.0$' "$(roost dominfo tiny)"

say "swtpm runs at QEMU's uid, confined as it is"
pid=$(tpm_pid tiny)
check_eq "it is swtpm" swtpm "$(cat "/proc/$pid/comm")"
check_eq "its uid is QEMU's" "$(stat -c %u "/proc/$(of_status tiny qemu_pid)")" "$(stat -c %u "/proc/$pid")"
check_match "no new privileges" '^NoNewPrivs:[[:space:]]*1' "$(cat "/proc/$pid/status")"
check_match "no capabilities" '^CapBnd:[[:space:]]*0*$|^CapEff:[[:space:]]*0*$' "$(cat "/proc/$pid/status")"
check_eq "its folder" 700 "$(stat -c %a "$ROOST_STATE/guests/tiny/tpm")"
[ -s "$ROOST_STATE/guests/tiny/tpm/tpm2-00.permall" ] || fail "its state is not in the guest's folder"
check_eq "no socket of it" 0 "$(find "$(run_dir tiny)" -name '*tpm*' -type s | wc -l)"

say "what it keeps outlives a stop"
# TPM2_NV_DefineSpace of index 0x01800001 for 8 bytes, by the owner with the empty password
made=80020000002d0000012a40000001000000094000000900000000000000000e01800001000b0004000400000008
check_match "an index is defined" '^8002........00000000' "$(command_hex tiny "$made")"
# TPM2_NV_ReadPublic of it
look=80010000000e0000016901800001
check_match "it is there" '^8001........00000000' "$(command_hex tiny "$look")"
roost shutdown tiny --timeout 60s
wait_until 10 ended "$pid"
wait_until 5 run_is_empty
# as one that goes on because all who knew of it were killed: it keeps the state locked
state=$ROOST_STATE/guests/tiny/tpm
left=$(stat -c %u "$state")
[ "$left" = "$(id -u)" ] && as_left= || as_left="setpriv --reuid $left --regid $left --clear-groups"
(cd "$state" && exec $as_left swtpm socket --tpm2 --tpmstate dir=.,mode=0600 --ctrl type=unixio,path=ctrl --flags not-need-init) &
left=$!
has_locked() {
	grep -q " WRITE $1 " /proc/locks
}
wait_until 10 has_locked "$left"
roost start tiny
wait_until 5 ended "$left"
rm -f "$state/ctrl"
roost wait -q tiny --for login --timeout $((120 * E2E_PATIENCE))s
check_match "it is there after a stop" '^8001........00000000' "$(command_hex tiny "$look")"

say "it outlives the keeper, which finds it again"
pid=$(tpm_pid tiny)
keeper=$(of_status tiny keeper_pid)
# shellcheck disable=SC2046 # several words are meant
kill_and_wait KILL $(roostd_pids) "$keeper"
roost domstate tiny >/dev/null
is_another() {
	[ "$(of_status tiny keeper_pid)" != "$keeper" ]
}
wait_until 10 is_another # has taken the guest over
check_eq "the same swtpm" "$pid" "$(tpm_pid tiny)"
check_match "it answers" '^8001........00000000' "$(command_hex tiny "$look")"
check_match "dominfo" '^TPM: *2\.0$' "$(roost dominfo tiny)"

say "the adopted one is seen to die, too"
kill -KILL "$pid"
wait_until 10 is_gone tiny
check_eq "the guest runs on" running "$(state tiny)"
roost destroy tiny
wait_until 5 run_is_empty

say "the older interface"
roost run -q "$TMPDIR/tis.yaml" >/dev/null
check_eq "a TPM 2.0" 2 "$(guest tis cat /sys/class/tpm/tpm0/tpm_version_major)"
roost destroy tis

say "its death under a living guest is told"
pico pico 'accel: tcg' 'tpm: true'
roost start pico
wait_until 30 is_up pico
pid=$(tpm_pid pico)
kill_and_wait KILL "$pid"
wait_until 10 is_gone pico
check_match "how" 'gone: it was killed by signal 9' "$(roost dominfo pico)"
check_json "in JSON" '.tpm_gone | test("signal 9")' "$(roost dominfo pico --json)"
is_told() {
	roost logs pico --events | grep -q ROOST_TPM_GONE
}
wait_until 5 is_told
ticks_go_on pico
check_status 5 roost reset pico
check_match "a reset, which QEMU would not survive" 'TPM is gone.*reset' "$out"
check_status 5 roost reboot pico
ticks_go_on pico
roost destroy pico
check_eq "no word of it when all is over" 1 "$(grep -c ROOST_TPM_GONE "$ROOST_STATE/guests/pico/events.jsonl")"

say "it ends with its guest"
for how in destroy poweroff kill stopped; do
	roost start pico
	wait_until 30 is_up pico
	pid=$(tpm_pid pico)
	case $how in
	destroy) roost destroy pico ;;
	poweroff) roost shutdown pico --mode acpi --timeout 30s ;;
	kill) kill -KILL "$(of_status pico qemu_pid)" ;;
	stopped)
		kill -STOP "$pid"
		roost destroy pico
		;;
	esac
	wait_until 10 ended "$pid"
	wait_until 5 run_is_empty
done
check_eq "no false alarm" 1 "$(grep -c ROOST_TPM_GONE "$ROOST_STATE/guests/pico/events.jsonl")"

say "undefine keeps what disks may be sealed to"
check_match "kept" '/tpm$' "$(roost undefine tiny)"
roost undefine tis --remove-all-storage
[ ! -e "$ROOST_STATE/guests/tis" ] || fail "something is left of it"

say "refused"
definition elf tiny-vmlinux true >"$TMPDIR/elf.yaml"
roost define "$TMPDIR/elf.yaml"
check_status 5 roost start elf
check_match "an unpacked kernel" 'unpacked kernel' "$out"
roost undefine elf --remove-all-storage
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(roostd_pids)
out=$(ROOST_SWTPM=/nonexistent/swtpm roost start pico 2>&1) && fail "it started without swtpm"
check_match "what is missing" 'its TPM needs /nonexistent/swtpm' "$out"
check_match "what to install" 'install the package swtpm' "$out"
check_match "validate" 'tpm.*no swtpm' "$(ROOST_SWTPM=/nonexistent/swtpm roost validate || :)"
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(roostd_pids)
out=$(ROOST_SWTPM=/bin/false roost start pico 2>&1) && fail "it started with a TPM that ended at once"
check_match "QEMU's word" 'QEMU did not start: .*tpm' "$out"
wait_until 5 run_is_empty
