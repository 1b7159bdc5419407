#!/bin/sh
# A guest is installed: from a medium, from the kernel of a medium or of a tree, or not at all (--import). When the installer
# reboots, the guest runs from its disk, without the installer: also if its keeper, roostd, or both were killed on the way.
# limit: 240
. "$TOP/tests/e2e/lib.sh"
need pico.raw pico-installer.iso
iso=$(realpath "$GUESTS/pico-installer.iso")

# install NAME OPTION...
install() {
	roost install "$@" --size 4M --memory 32M --restrict
}
is_installing() {
	console_has "$1" INSTALLER-UP
}
# has_twice NAME WORD
has_twice() {
	[ "$(console_log "$1" | grep -ac "$2")" -ge 2 ]
}
has_come_by() {
	[ ! -s "$ROOST_RUN/fail" ]
}
# what it runs by, which the next keeper writes if one was killed on the way
runs_installed() {
	jq -e 'has("install") or has("kernel") | not' "$(run_dir "$1")/guest.json"
}
has_no_journal() {
	[ ! -e "$ROOST_STATE/guests/$1/journal" ]
}
# boots_disk NAME: what was installed runs, and has nothing of the installer
boots_disk() {
	wait_until 30 console_has "$1" PICO-UP
	wait_until 10 is_state "$1" running
	wait_until 10 runs_installed "$1" >/dev/null
	wait_until 10 has_no_journal "$1"
	check_json "$1: the definition, and what it runs by" 'has("install") or has("kernel") | not' "$(roost dominfo "$1" --json)"
	check_no_match "$1: its drive is empty" "installer" "$(roost domblklist "$1")"
	check_json "$1: QEMU has let go of the medium" 'all(.[]; .file | test("installer") | not)' \
		"$(roost qmp "$1" query-named-block-nodes)"
	check_eq "$1: it was installed once" 1 "$(console_log "$1" | grep -ac INSTALLER-UP)"
}

say "words that are wrong change nothing"
check_status 2 roost install one --size 4M
check_match "nothing to install from" "one of --cdrom, --location and --import" "$out"
check_status 2 roost install one --size 4M --cdrom "$iso" --import
check_status 2 roost install one --cdrom "$iso"
check_match "no disk" "no disk to install to" "$out"
check_status 3 roost install one --size 4M --cdrom "$TMPDIR/none.iso"
check_status 5 roost install one --size 4M --cdrom "$GUESTS/pico.raw"
check_match "no medium" "is no ISO image" "$out"
check_status 2 roost install one --size 4M --cdrom "$iso" --extra-args quiet
check_match "no kernel of ours" "extra-args is for a kernel" "$out"
check_status 2 roost install one --size 4M --location "$iso,kernel=boot/vmlinuz"
check_status 3 roost install one --size 4M --location "$iso,kernel=a,initrd=b"
check_match "no such file" "it has no 'a'" "$out"
mkdir "$TMPDIR/tree"
check_status 3 roost install one --size 4M --location "$TMPDIR/tree"
check_match "no such tree" "no installer's kernel is known" "$out"
check_status 5 roost install one --size 4M --location http://localhost/
check_match "an address" "is an address" "$out"
check_status 2 roost install one --size 4M --memory 3 --cdrom "$iso"
check_eq "no guest" "" "$(roost list --all --name)"

say "from a medium"
out=$(install one --cdrom "$iso")
check_match "how to look at it" "roost screenshot one" "$out"
wait_until 30 is_installing one
check_match "it is in the drive" "$iso" "$(roost domblklist one)"
check_json "the definition is of what will be" '(.disks[] | select(.cdrom) | has("path") | not) and .vnc' \
	"$(jq . "$ROOST_STATE/guests/one/guest.json")"
check_status 5 roost install one --size 4M --cdrom "$iso" --memory 32M
check_match "there is one" "exists already" "$out"
check_status 5 roost reset one
check_match "no reset" "being installed" "$out"
check_status 5 roost save one "$TMPDIR/saved"
check_match "no save" "being installed" "$out"
qemu=$(of_status one qemu_pid)
type_to one i
boots_disk one
check_eq "it is the same QEMU" "$qemu" "$(of_status one qemu_pid)"
check_match "its timeline is the new boot's" "running" "$(roost timeline one)"
check_json "it was told" 'select(.event == "ROOST_INSTALLED")' "$(roost logs one --events | grep ROOST_INSTALLED)"
say "a reboot, and another start, are of the disk"
roost reset one
wait_until 30 has_twice one PICO-UP
roost destroy one
roost start one
wait_until 30 is_up one
check_eq "never again" 1 "$(console_log one | grep -ac INSTALLER-UP)"
say "installed anew, as it is defined"
roost destroy one
roost install one --reinstall --cdrom "$iso" --noreboot --json >"$TMPDIR/answer"
check_json "the answer" '.installing and .name == "one"' "$(cat "$TMPDIR/answer")"
wait_until 30 has_twice one INSTALLER-UP
type_to one i
wait_until 20 is_state one "shut off"
check_match "why" "installed" "$(reason one)"
roost undefine one --remove-all-storage

say "from the kernel of the same medium; whoever waits is told"
install two --location "$iso" --extra-args "console=ttyS0 sure" --graphics none --wait $((60 * E2E_PATIENCE))s >"$TMPDIR/waits" &
waits=$!
wait_until 30 is_installing two
wait_until 10 console_has two "INSTALLER-UP console=ttyS0 sure" # its command line
check_match "the medium is there, too" "$iso" "$(roost domblklist two)"
qemu=$(of_status two qemu_pid)
type_to two i
wait $waits
check_match "it is told" "is installed, and runs from its disk" "$(cat "$TMPDIR/waits")"
boots_disk two
[ "$qemu" != "$(of_status two qemu_pid)" ] || fail "it is the same QEMU"
roost destroy two

say "from a tree, and off afterwards"
mkdir "$TMPDIR/tree/boot"
isoinfo -R -i "$iso" -x /boot/vmlinuz >"$TMPDIR/tree/boot/vmlinuz"
echo initrd >"$TMPDIR/tree/boot/initrd"
echo answers >"$TMPDIR/preseed.cfg"
install three --location "$TMPDIR/tree" --initrd-inject "$TMPDIR/preseed.cfg" --noreboot
wait_until 30 is_installing three
type_to three i
wait_until 20 is_state three "shut off"
check_match "why" "installed" "$(reason three)"
roost start three
boots_disk three
roost destroy three
check_eq "no drive was asked for" "vda" "$(roost domblklist three --json | jq -r '[.[].target] | join(" ")')"

say "what is injected"
python3 - "$TMPDIR" "$TOP/build/libexec/roost/roost-image" <<'END'
import os, subprocess, sys
folder, program = sys.argv[1:]
for fd, name, flags in (10, "initrd", os.O_RDWR | os.O_CREAT), (11, "preseed.cfg", os.O_RDONLY):
	os.dup2(os.open(f"{folder}/{name}", flags), fd)
os.write(10, b"12345")
subprocess.run([program, "inject", "preseed.cfg"], pass_fds=(10, 11), check=True)
END
check_eq "what was there" "12345" "$(head -c 5 "$TMPDIR/initrd")"
check_eq "what is there now" "preseed.cfg" "$(tail -c +9 "$TMPDIR/initrd" | cpio -t --quiet)"
check_eq "as it was" "answers" "$(tail -c +9 "$TMPDIR/initrd" | cpio -i --quiet --to-stdout preseed.cfg)"

say "one that is switched off before it is done is not installed again by itself"
install four --cdrom "$iso"
wait_until 30 is_installing four
roost destroy four
roost start four
wait_until 10 is_state four running
check_no_match "its drive is empty" installer "$(roost domblklist four)"
roost destroy four

say "a guest that is there already on a disk of mine"
cp "$GUESTS/pico.raw" "$TMPDIR/mine.raw"
check_status 2 roost install five --import --disk "$TMPDIR/mine.raw" --memory 32M
check_match "the format is said" "format" "$out"
roost install five --import --disk "$TMPDIR/mine.raw,format=raw" --memory 32M --restrict
wait_until 30 is_up five
roost destroy five

say "a start that fails leaves no guest"
check_status 5 roost install six --cdrom "$iso" --size 4M --memory 32M --accel kvm
check_eq "no guest" "" "$(roost list --all --name | grep -x six || :)"

say "keeper and roostd are killed while it is installed, and nobody lives when it is done"
# nobody_lives NAME
nobody_lives() {
	# shellcheck disable=SC2046 # several pids are meant
	kill_and_wait KILL $(roostd_pids) "$(of_status "$1" keeper_pid)"
}
install seven --cdrom "$iso"
install eight --location "$iso"
for name in seven eight; do
	wait_until 30 is_installing $name
done
kill -KILL "$(of_status seven keeper_pid)"
nobody_lives eight
for name in seven eight; do
	type_to $name i
	wait_until 20 console_has $name INSTALLED
done
roost list --all
for name in seven eight; do
	boots_disk $name
	roost destroy $name
done

[ "$(id -u)" -ne 0 ] || exit 0 # the rest is the same, and takes long
if [ ! -x "$TOP/build/fail/bin/roost" ]; then
	[ -z "${CI-}" ] || lacking build/fail
	exit 0
fi
# shellcheck disable=SC2046 # several pids are meant
kill_and_wait TERM $(roostd_pids)
with_failpoints
for point in installed-begin installed-ejected installed-before-reset installed-runs installed-before-end; do
	say "a keeper dies at $point"
	install nine --cdrom "$iso"
	wait_until 30 is_installing nine
	die_at $point
	type_to nine i
	wait_until 20 has_come_by
	has_died $point
	roost list --all >/dev/null
	boots_disk nine
	roost destroy nine
	roost undefine nine --remove-all-storage
done
for point in end-left start-before-fork; do
	say "who dies at $point: it is started again, or off"
	install nine --location "$iso"
	wait_until 30 is_installing nine
	die_at $point
	type_to nine i
	wait_until 20 has_come_by
	has_died $point
	roost list --all >/dev/null
	[ $point = end-left ] || { wait_until 20 is_state nine "shut off" && roost start nine; }
	boots_disk nine
	roost destroy nine
	roost undefine nine --remove-all-storage
done
