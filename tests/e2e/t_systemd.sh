#!/bin/sh
# The units under systemd itself, in a machine of its own: a PID namespace with a systemd, its journal, D-Bus and logind, on
# an overlay of this host's files. What is marked is started, a restart of roostd.service harms no guest, and a poweroff
# shuts them down. And what a user's guests make of his log-out, where logind ends his sessions' processes.
# user: root
# limit: 180
. "$TOP/tests/e2e/lib.sh"
need pico.raw
[ -x /usr/lib/systemd/systemd ] || lacking systemd
command -v dbus-daemon >/dev/null || lacking "dbus-daemon, without which logind does not work"
cgroups=$(awk '$(NF-2) == "cgroup2" { print $5; exit }' /proc/self/mountinfo)
[ -w "$cgroups/cgroup.procs" ] || skip "no cgroups of version 2 can be made here"

# --- the machine ----------------------------------------------------------------------------------------------------
cgroup=$cgroups/roost-test-$$
pid1='' held=''
at_end() {
	for pid in $pid1 $held; do
		kill -KILL "$pid" 2>/dev/null
	done
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null
		[ -d "$cgroup" ] || break
		sleep 0.2
	done
}
mkdir "$cgroup" "$TMPDIR/over"
cat >"$TMPDIR/machine" <<'END'
set -e
over=$1 cgroup=$2
echo 0 >"$cgroup/cgroup.procs"
exec unshare --pid --mount --net --uts --ipc --cgroup --fork --kill-child sh -e "$over.inside" "$over"
END
cat >"$TMPDIR/over.inside" <<'END'
over=$1 root=$1/root
ip link set lo up
mount -t tmpfs tmpfs "$over"
mkdir "$over/upper" "$over/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$over/upper,workdir=$over/work" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
for folder in run tmp sys/fs/cgroup; do
	mount -t tmpfs tmpfs "$root/$folder"
done
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
rm -rf "$root"/etc/systemd/system/* "$root/etc/systemd/logind.conf.d" "$root/var/lib/roost" "$root/var/lib/systemd/linger"
for unit in getty.target systemd-udevd.service systemd-udev-trigger.service; do
	ln -s /dev/null "$root/etc/systemd/system/$unit"
done
mkdir "$root/etc/systemd/logind.conf.d"
printf '[Login]\nKillUserProcesses=yes\n' >"$root/etc/systemd/logind.conf.d/test.conf"
make -s -C "$TOP" install DESTDIR="$root" PREFIX=/usr/local >/dev/null
chroot "$root" systemd-sysusers roost.conf
for user in alice bob; do
	sed -i "/^$user:/d" "$root/etc/passwd" "$root/etc/shadow" "$root/etc/group"
	chroot "$root" useradd --create-home --home-dir "/srv/$user" "$user"
done
sed -i 's/^roost:.*/&alice/' "$root/etc/group"
systemctl --quiet --root="$root" enable roostd.socket roost-guests.service
cp "$GUESTS/pico.raw" "$root/srv/pico.raw"
touch "$over.made"
exec chroot "$root" env -i container=test PATH="$PATH" /usr/lib/systemd/systemd --system --unit=multi-user.target
END
TOP=$TOP GUESTS=$GUESTS PATH=$PATH:/usr/sbin:/sbin sh "$TMPDIR/machine" "$TMPDIR/over" "$cgroup" >"$TMPDIR/machine.out" 2>&1 &
machine=$!
# inside COMMAND...
inside() {
	nsenter --target "$pid1" --all --root --wd env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LC_ALL=C HOME=/root "$@"
}
# by USER TEXT: a log-in of his, with that for the shell, and his log-out
by() {
	inside su -l "$1" -c "$2" 2>&1
}
# before that it is a shell in the host's root
is_systemd() {
	[ "$(cat "/proc/$pid1/comm")" = systemd ]
}
is_running() {
	inside systemctl is-system-running
}
say "it comes up"
wait_until 20 test -e "$TMPDIR/over.made"
pid1=$(pgrep -P "$machine")
wait_until 20 is_systemd
# what its files tell when it is off
nsenter --target "$pid1" --mount --root sleep infinity &
held=$!
wait_until 20 is_running
wait_until 10 grep -qx sleep "/proc/$held/comm"
check_eq "the units" "active
active" "$(inside systemctl is-active roostd.socket roost-guests.service)"
# journal_has TEXT: of roost-guests.service; what a unit has said comes there when it comes
journal_has() {
	inside journalctl -o cat -u roost-guests | grep -q "$1"
}
wait_until 10 journal_has "No guest is marked as autostarted"

say "a member's guests are in roostd.service, which is started by its socket, and outlive it"
# guest NAME KEY...: what makes and starts one, for `by`
guest() {
	# shellcheck disable=SC2016 # for the shell in there
	printf 'cp /srv/pico.raw %s.raw; printf "name: %s\\ndisks: [{path: %s.raw, format: raw}]\\ninterfaces: []\\nmemory: 32M\\nautostart: true\\n" | roost define - && roost start %s' \
		"$1" "$1" "$1" "$1"
}
by alice "$(guest one)" | grep "Guest 'one' started" || fail "it does not start"
by alice "roost destroy one" >/dev/null
console=/var/lib/roost/guests/one/console.log
from=$(($(inside stat -c %s $console) + 1))
inside systemctl restart roost-guests.service
wait_until 10 journal_has "Guest 'one' started" # as it is marked
qemu() {
	inside roost dominfo "$1" --json | jq .qemu_pid
}
qemu=$(qemu one)
check_match "its cgroup" '^0::/system.slice/roostd.service$' "$(inside cat "/proc/$qemu/cgroup")"
inside systemctl restart roostd.service
by alice "roost suspend one; roost resume one" >/dev/null
inside systemctl stop roostd.service 2>/dev/null
check_match "looking" ' one +running' "$(by alice 'roost list')"
check_eq "it went on" "$qemu" "$(qemu one)"
check_match "bob is refused by name" "user 'bob' may not use the system instance" "$(by bob 'roost -c system list || :')"

say "log-out"
case $(by bob 'cat /proc/self/cgroup') in
*/session-*)
	check_match "it is told" "guest 'two' ends when you log out" "$(by bob "$(guest two)")"
	has_ended() {
		[ -z "$(by bob 'roost list --name')" ] && ! inside pgrep -u bob roostd
	}
	wait_until 10 has_ended
	check_match "validate" '^WARN +log-out .*' "$(by bob 'roost validate')"
	inside loginctl enable-linger bob || fail linger
	out=$(by bob "$(guest three)") || fail "three: $out"
	check_match "it starts" "Guest 'three' started" "$out"
	check_no_match "nothing is told" "log out" "$out"
	check_match "validate" '^PASS +log-out .*linger' "$(by bob 'roost validate')"
	check_eq "it lives on" three "$(by bob 'roost list --name')"
	# shellcheck disable=SC2016 # for the shell in there
	check_match "where" 'user@[0-9]*[.]service/.*[.]scope$' \
		"$(by bob 'cat /proc/$(roost dominfo three --json | sed -n "s/.*qemu_pid.: \([0-9]*\).*/\1/p")/cgroup')"
	by bob 'roost suspend three && roost resume three && roost destroy three' | grep "'three' destroyed" || fail "it is not served"
	;;
*) echo "no pam_systemd here: log-ins are no sessions" ;;
esac

say "the host goes down"
wait_until 20 inside sh -c "tail -c +$from $console | grep -aq tick="
inside systemctl poweroff || : # it may be off before this has ended
wait_until 60 ended "$pid1"
log=/proc/$held/root$console
check_eq "its guest has powered off" 1 "$(grep -ac PICO-POWEROFF "$log")"
check_match "it was shut down in time" '"state":"shut off","reason":"guest poweroff, asked by the ACPI button"' \
	"$(tail -n 2 "${log%/*}/events.jsonl")"
