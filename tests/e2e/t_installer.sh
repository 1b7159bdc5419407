#!/bin/sh
# A real installer, Debian's, under the old names: from a medium it asks for the language on the serial console and on the VGA
# screen, from the medium's kernel on the serial console, where it is answered. What is left of both afterwards is nothing.
# Only root: the rest of an installation is t_install's, with a guest that takes no time, and this takes a minute of a CPU.
# user: root
# limit: 240
. "$TOP/tests/e2e/lib.sh"
grep -qx 'ID=debian' /etc/os-release || skip "the installer is made of Debian's own packages"
need debian-installer.iso
mkdir "$TMPDIR/bin" "$TMPDIR/images"
for name in virsh virt-install; do
	ln -s "$(command -v roost)" "$TMPDIR/bin/$name"
done
PATH=$TMPDIR/bin:$PATH
export ROOST_LIBVIRT_IMAGES="$TMPDIR/images"
iso=$(realpath "$GUESTS/debian-installer.iso")

# install NAME OPTION...: its disk has the name and 2 GiB
install() {
	install_name=$1
	shift
	virt-install --name "$install_name" --memory 1024 --os-variant generic --network none --disk size=2 --noautoconsole "$@" \
		>"$TMPDIR/out" 2>&1 || fail "$(cat "$TMPDIR/out")"
}
# shows NAME TEXT: on its screen; read by the shape of the letters, see png.py
shows() {
	virsh screenshot "$1" "$TMPDIR/$1.png" >"$TMPDIR/out" || return
	python3 "$TOP/tests/e2e/png.py" "$TMPDIR/$1.png" "$2" >>"$TMPDIR/out" 2>"$TMPDIR/unread"
}

say "from the medium"
install cd --cdrom "$iso"
check_match "it is let alone" "^Domain is still running. Installation may be in progress.$" "$(cat "$TMPDIR/out")"
check_match "it runs" "^ +1 +cd +running$" "$(virsh list)"
wait_until 100 console_has cd "\[!!\] Select a language"
say "on the serial console; and on the screen"
wait_until 100 shows cd "[!!] Select a language"
wait_until 10 shows cd "Chinese (Simplified)" # which is drawn below
shows cd "[!!] Select a longuage" && fail "anything can be read there"
virsh destroy cd

say "from its kernel"
install kernel --location "$iso" --extra-args "console=ttyS0 no_timer_check" --graphics none
check_eq "the medium is there, too" "$iso" "$(virsh domblklist kernel --details | awk '$2 == "cdrom" { print $4 }')"
wait_until 100 console_has kernel "\[!!\] Select a language"
console_has kernel "Command line: console=ttyS0 no_timer_check" || fail "the kernel was told something else"
say "it hears an answer"
type_to kernel "$(printf '\r')"
wait_until 60 console_has kernel "Select your location"
virsh destroy kernel

say "nothing is left, but the medium"
for name in cd kernel; do
	virsh undefine $name --remove-all-storage
done
check_eq "no guest" "" "$(virsh list --all --name)"
check_eq "no disk" "" "$(ls "$TMPDIR/images")"
check_eq "no folder" "" "$(ls "$ROOST_STATE/guests")"
[ -s "$iso" ] || fail "the medium is gone"
