# shellcheck shell=sh
# The machine and the user of the chapter, for t_chapter.sh and t_chapter_cloud.sh: to be sourced first of all, as members.sh.
#
# roost is in /usr/local and answers to the old names; alice is in the groups `roost` and `sudo`, bob is in neither. Debian's
# sudo is as it was installed; beside its sudoers lies what an administrator adds who does not want to be asked for a password.
# Nothing in alice's environment knows of a test: what she types runs in a log-in of her own, on the folders that roost has
# everywhere.
. "$TOP/tests/e2e/members.sh"
command -v sudo >/dev/null || lacking sudo
command -v wget >/dev/null || lacking wget
need_networks

sed -i 's/^sudo:.*/&,alice/; s/^\(sudo:.*:\),/\1/' /etc/group
printf 'alice:*:20000:0:99999:7:::\nbob:*:20000:0:99999:7:::\n' >>/etc/shadow
echo 'alice ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/alice
chmod 440 /etc/sudoers.d/alice
printf '127.0.0.1 localhost %s downloads.example\n' "$(hostname)" >/etc/hosts
mount -t tmpfs -o mode=755 none /usr/local
mkdir -p /usr/local/bin /usr/local/libexec
cp "$TOP/build/bin/roost" /usr/local/bin/
cp -R "$TOP/build/libexec/roost" /usr/local/libexec/

# theirs do not know ROOST_RUN: sudo takes it from nobody
roostd_pids() {
	chapter_net=$(readlink /proc/self/ns/net)
	for chapter_proc in /proc/[0-9]*; do
		[ "$(cat "$chapter_proc/comm" 2>/dev/null)" != roostd ] ||
			[ "$(readlink "$chapter_proc/ns/net")" != "$chapter_net" ] || echo "${chapter_proc#/proc/}"
	done
}

# shellcheck disable=SC2034 # for those who source this
home=$TMPDIR/home/alice images=/var/lib/libvirt/images

# typed LINE: alice types it at the shell of a new log-in, in the folder where the last line has left her. Its exit code is in
# $status, what it has said on both streams in $out; both are shown.
typed() {
	printf '%s\n' "$1" | sed '1s/^/$ /; 2,$s/^/> /'
	status=0
	su - alice -c "cd \"\$(cat ~/.folder 2>/dev/null || echo ~)\" && trap 'pwd >~/.folder' EXIT
$1" >"$TMPDIR/said" 2>&1 </dev/null || status=$?
	out=$(cat "$TMPDIR/said")
	[ -z "$out" ] || cat "$TMPDIR/said"
}
# line LINE: it must succeed; line_fails CODE LINE: it must end with just that
line() {
	typed "$1"
	[ $status -eq 0 ] || fail "'$1' ended with $status"
}
line_fails() {
	typed "$2"
	[ $status -eq "$1" ] || fail "'$2' ended with $status instead of $1"
}
# dialogue LINE [expect TEXT | type TEXT]...: at a terminal of her own; see in_terminal.py
dialogue() {
	dialogue_line=$1
	shift
	printf '$ %s\n' "$dialogue_line"
	status=0
	# `su -c` would take the terminal from her, --session-command does not
	python3 "$TOP/tests/e2e/in_terminal.py" "$@" -- setsid -w -c su - alice --session-command "$dialogue_line" \
		>"$TMPDIR/said" 2>&1 || status=$?
	out=$(tr -d '\r' <"$TMPDIR/said")
	printf '%s\n' "$out"
	[ $status -eq 0 ] || fail "'$dialogue_line' ended with $status"
}
# asks_for_kvm NAME LINE: where KVM is not proven to run guests it says so and changes nothing, and works when told to do without
asks_for_kvm() {
	if [ "$(roost validate --json | jq -r '.[] | select(.name == "kvm").result')" = PASS ]; then
		line "$2"
		return
	fi
	line_fails 1 "$2"
	check_match "why not" '^ERROR .*KVM is asked for but not proven: ' "$out"
	check_match "what to do" 'ROOST_ACCEL_FALLBACK=tcg before the command' "$out"
	check_status 1 virsh domstate "$1"
	line "ROOST_ACCEL_FALLBACK=tcg $2"
	check_match "it is told" '^WARNING  TCG instead of KVM: ' "$out"
}
# remark TEXT: what stands in the place of a line that this host cannot run
remark() {
	echo "# $*"
}

# offer FILE NAME: as http://downloads.example/NAME
offer() {
	mkdir -p "$TMPDIR/downloads"
	ln -s "$1" "$TMPDIR/downloads/$2"
	[ -z "${downloads-}" ] || return 0
	python3 -m http.server -b 127.0.0.1 -d "$TMPDIR/downloads" 80 >"$TMPDIR/downloads.log" 2>&1 &
	downloads=$!
	wait_until 10 socat -u /dev/null TCP:127.0.0.1:80
}
at_end() {
	[ -z "${downloads-}" ] || kill_and_wait TERM "$downloads"
}

# --- before the chapter: roost is installed ---------------------------------------------------------------------------
say "roost is installed"
force=
[ -z "$(command -v virsh)" ] || force=--force
line "sudo roost compat --install $force"
remark 'roost-guests.service does this when the host boots'
line 'sudo roost boot'
line "id -nG"
check_match "alice's groups" '^(.* )?roost( .*)?$' "$out"
line "command -v virsh"
check_eq "whose virsh" /usr/local/bin/virsh "$out"
