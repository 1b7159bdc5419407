#!/bin/sh
# The units for systemd, its group and its folders: installed where they belong, with the paths of the programs, and to
# systemd's own content; what they start and stop does it, and within the bounds that they grant.
. "$TOP/tests/e2e/lib.sh"

# install_units VARIABLE=VALUE...
install_units() {
	make -s -C "$TOP" install-units "$@" >/dev/null
}
# value KEY FILE: of a unit
value() {
	sed -n "s/^$1=//p" "$2"
}
# seconds 180s
seconds() {
	case $1 in
	*[!0-9]*s) fail "'$1' is no number of seconds" ;;
	*s) echo "${1%s}" ;;
	*) fail "'$1' is no number of seconds" ;;
	esac
}

say "where they go"
root=$TMPDIR/root
install_units DESTDIR="$root" PREFIX=/usr/local
check_eq "with PREFIX=/usr/local" "./usr/local/lib/systemd/system/roost-guests.service
./usr/local/lib/systemd/system/roostd.service
./usr/local/lib/systemd/system/roostd.socket
./usr/local/lib/sysusers.d/roost.conf
./usr/local/lib/tmpfiles.d/roost.conf" "$(cd "$root" && find . -type f | sort)"
units=$(pkg-config --variable=systemdsystemunitdir systemd 2>/dev/null) || units=/usr/lib/systemd/system
install_units DESTDIR="$TMPDIR/package" PREFIX=/usr
for file in "$units/roostd.socket" "$units/roostd.service" "$units/roost-guests.service" /usr/lib/sysusers.d/roost.conf \
	/usr/lib/tmpfiles.d/roost.conf; do
	[ -f "$TMPDIR/package$file" ] || fail "with PREFIX=/usr there is no $file"
done
check_eq "readable for all" 644 "$(stat -c %a "$TMPDIR/package$units/roostd.socket")"
check_eq "programs" "/usr/libexec/roost/roostd" "$(value ExecStart "$TMPDIR/package$units/roostd.service")"
check_eq "nothing is left to fill in" "" "$(grep -r '@' "$TMPDIR/package" || :)"

say "what they promise"
prefix=$TMPDIR/prefix
install_units PREFIX="$prefix"
units=$prefix/lib/systemd/system
mkdir -p "$prefix/bin" "$prefix/libexec"
cp "$TOP/build/bin/roost" "$prefix/bin/"
cp -R "$TOP/build/libexec/roost" "$prefix/libexec/"
check_eq "a restart kills no guest" process "$(value KillMode "$units/roostd.service")"
check_eq "the group's socket" "0660 roost" "$(value SocketMode "$units/roostd.socket") $(value SocketGroup "$units/roostd.socket")"
check_eq "where commands look for it" /run/roost/roostd.sock "$(value ListenStream "$units/roostd.socket")"
bound=$(value ExecStop "$units/roost-guests.service" | sed -n 's/.* --timeout //p')
granted=$(value TimeoutStopSec "$units/roost-guests.service")
[ "$(seconds "$granted")" -ge $(($(seconds "$bound") + 40)) ] || fail "halt may take $bound, and is granted $granted"
# a failed start of a oneshot service is never stopped, and then no guest would be shut down
check_match "one guest that fails" "^-" "$(value ExecStart "$units/roost-guests.service")"

say "what they run"
boot=$(value ExecStart "$units/roost-guests.service")
halt=$(value ExecStop "$units/roost-guests.service")
check_eq "boot" "No guest is marked as autostarted" "$(sh -c "${boot#-}")"
check_eq "its roostd" "$prefix/libexec/roost/roostd" "$(readlink "/proc/$(supervisor)/exe")"
pico a "autostart: true"
check_eq "boot" "Guest 'a' started" "$(sh -c "${boot#-}" 2>/dev/null)"
wait_until 30 is_up a
check_match "halt" "^Guest 'a' is shut off: guest poweroff" "$(sh -c "$halt")"

say "what systemd says of them"
command -v systemd-analyze >/dev/null || lacking systemd-analyze
check_status 0 systemd-analyze verify --man=no "$units/roostd.socket" "$units/roostd.service" "$units/roost-guests.service"
check_eq "content" "" "$out"
# it looks: a spoilt one is not to its content
sed 's/^KillMode=process/KillMode=gently/; s/^SocketMode/SocketMod/' "$units/roostd.service" >"$units/spoilt.service"
out=$(systemd-analyze verify --man=no "$units/spoilt.service" 2>&1) || :
check_match "a spoilt one" "KillMode|gently" "$out"

[ "$(id -u)" -eq 0 ] || exit 0
say "group and folders, in a root of their own"
mkdir -p "$root/etc"
systemd-sysusers --root="$root"
check_match "the group" "^roost:" "$(cat "$root/etc/group")"
systemd-tmpfiles --root="$root" --create --prefix=/run/roost --prefix=/var/lib/roost
group=$(sed -n 's/^roost:[^:]*:\([0-9]*\):.*/\1/p' "$root/etc/group")
for folder in run/roost var/lib/roost; do
	check_eq "$folder" "2751 0 $group" "$(stat -c '%a %u %g' "$root/$folder")"
done
