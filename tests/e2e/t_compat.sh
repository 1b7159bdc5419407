#!/bin/sh
# roost compat makes the old names, for one shell or for all, and takes away just what it made.
. "$TOP/tests/e2e/lib.sh"

say "for one shell"
eval "$(roost compat)"
check_eq "where they are" "$HOME/.local/share/roost/compat/virt-df" "$(command -v virt-df)"
check_json "in JSON" ".folder == \"$HOME/.local/share/roost/compat\"" "$(roost compat --json)"
check_status 2 roost compat --force
check_status 2 roost compat --install --remove
for shell in sh dash bash zsh fish; do
	command -v $shell >/dev/null || continue
	mkdir -p "$TMPDIR/it's here"
	# shellcheck disable=SC2016 # for that shell
	out=$(HOME="$TMPDIR/it's here" XDG_DATA_HOME="" PATH="$TOP/build/bin:/usr/bin:/bin" $shell -c 'eval "$(roost compat)"; command -v virt-df; virsh --version; ls / >/dev/null && echo rest')
	check_eq "$shell" "$TMPDIR/it's here/.local/share/roost/compat/virt-df 9.0.0 rest" "$(echo "$out" | paste -s -d ' ')"
done

# --- for all ------------------------------------------------------------------------------------------------------
if [ "$(id -u)" -ne 0 ]; then
	check_status 5 roost compat --install
	check_match "only root" 'sudo roost compat --install' "$out"
	exit 0
fi
say "for all"
PATH=${PATH#*:} # not those of one shell
at_end() {
	umount -l /usr/local /var/lib 2>/dev/null
}
mount -t tmpfs none /usr/local
mount -t tmpfs none /var/lib
mkdir /usr/local/bin
real=$(command -v virt-df || command -v virsh || :)
[ -n "$real" ] || { mkdir tools && printf '#!/bin/sh\n' >tools/virsh && chmod +x tools/virsh && PATH=$TMPDIR/tools:$PATH; }
check_status 5 roost compat --install
check_match "the real ones" 'the real .* is installed' "$out"
[ -z "$(ls /usr/local/bin)" ] || fail "links were made all the same"
[ -n "$real" ] || PATH=${PATH#*:}
roost compat --install --force
check_eq "a name" "$(realpath "$TOP/build/bin/roost")" "$(readlink /usr/local/bin/virsh)"
for name in virsh virt-clone virt-sysprep virt-df virt-host-validate virt-viewer cloud-localds; do
	[ -x "/usr/local/bin/$name" ] || fail "there is no $name"
done
if getent group roost >/dev/null; then
	check_eq "its folder" "root roost 2771" "$(stat -c '%U %G %a' /var/lib/libvirt/images)"
else
	check_eq "its folder" "root root 711" "$(stat -c '%U %G %a' /var/lib/libvirt/images)"
fi
check_eq "sudo finds it first" /usr/local/bin/virsh \
	"$(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -c 'command -v virsh')"
check_eq "it answers" 9.0.0 "$(/usr/local/bin/virsh --version)"
roost compat --install --force >/dev/null
check_match "undone" 'removed /usr/local/bin/virsh' "$(roost compat --remove)"
check_eq "nothing is left" " " "$(ls /usr/local/bin) $(ls /var/lib)"
check_status 3 roost compat --remove

say "it cannot be written"
mount -o remount,ro /usr/local
check_status 7 roost compat --install --force
check_match "why, and what to do" "cannot make the link '/usr/local/bin/[a-z-]*': Read-only file system" "$out"
check_match "what to do" 'eval ..\(roost compat\)' "$out"
mount -o remount,rw /usr/local
check_eq "nothing is left" " " "$(ls /usr/local/bin) $(ls /var/lib)"
check_status 3 roost compat --remove

say "an older roost"
mkdir -p "$TMPDIR/older/bin"
cp /bin/true "$TMPDIR/older/bin/roost"
ln -s "$TMPDIR/older/bin/roost" /usr/local/bin/virsh
ln -s /nowhere/bin/roost /usr/local/bin/virt-df
roost compat --install --force >/dev/null
check_eq "its links are ours now" "$(realpath "$TOP/build/bin/roost") $(realpath "$TOP/build/bin/roost")" \
	"$(readlink /usr/local/bin/virsh) $(readlink /usr/local/bin/virt-df)"
roost compat --remove >/dev/null
ln -s /nowhere/bin/virsh /usr/local/bin/virsh
check_status 5 roost compat --install --force
check_match "another's link, even one that leads nowhere" "'/usr/local/bin/virsh' is there, and is not roost" "$out"
rm /usr/local/bin/virsh

say "what is somebody's stays"
mkdir -p /var/lib/libvirt/images
echo mine >/usr/local/bin/virsh
check_status 5 roost compat --install --force
check_match "which" "'/usr/local/bin/virsh' is there, and is not roost" "$out"
rm /usr/local/bin/virsh
roost compat --install --force >/dev/null
rm /usr/local/bin/virsh && echo mine >/usr/local/bin/virsh
check_match "it is told" 'still in use, or changed since: /usr/local/bin/virsh' "$(roost compat --remove)"
check_eq "they are there" "mine libvirt virsh" "$(cat /usr/local/bin/virsh) $(ls /var/lib) $(ls /usr/local/bin)"
umount /usr/local /var/lib
