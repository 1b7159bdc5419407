#!/bin/sh
# roost viewer: TigerVNC on the guest's unix socket, others on a port of 127.0.0.1 that is there as long as they are and
# serves nobody else; without a screen or a viewer the other ways. The viewers are scripts that speak VNC.
. "$TOP/tests/e2e/lib.sh"

pico screen 'vnc: true' 'display: vga'
check_status 5 roost viewer screen
check_match "not running" "guest 'screen' is not running" "$out"
roost start screen
socket=$(run_dir screen)/vnc.sock
mkdir "$TMPDIR/bin" "$TMPDIR/none"
for program in sh cat env; do
	ln -s "$(command -v $program)" "$TMPDIR/none/$program"
done
roost=$(command -v roost)

say "without a screen, or without a viewer"
out=$(roost viewer screen)
check_match "why" 'neither DISPLAY nor WAYLAND_DISPLAY is set' "$out"
check_match "ssh" "ssh -N -L 5901:$socket $(id -un)@$(uname -n), then a viewer to localhost:5901" "$out"
check_match "a picture" '  roost screenshot screen$' "$out"
check_match "the console" '  roost console screen$' "$out"
check_match "no viewer" '^There is no TigerVNC and no remote-viewer here' \
	"$(DISPLAY=:9 PATH=$TMPDIR/none "$roost" viewer screen)"
check_json "in JSON" ".viewer == null and .socket == \"$socket\"" "$(roost viewer screen --json)"

# a viewer NAME: notes what it was told, and does the rest of its script
viewer() {
	{
		# shellcheck disable=SC2016 # for the script
		printf '#!/bin/sh\n[ "${1-}" != --version ] || { echo "%s"; exit 0; }\n' "$2" # what it says it is
		printf 'echo "$*" >%s/told\n' "$TMPDIR"
		cat
	} >"$TMPDIR/bin/$1"
	chmod +x "$TMPDIR/bin/$1"
}
view() {
	DISPLAY=:9 PATH="$TMPDIR/bin:$PATH" roost viewer "$@"
}
login="python3 $TOP/tests/e2e/vnc_login.py"

# others than root have no sshd that lets them in
if [ "$(id -u)" -eq 0 ] && [ -x /usr/sbin/sshd ] && [ -x /usr/bin/ssh ]; then
	say "that line, typed at another machine"
	mkdir -p /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f "$TMPDIR/key"
	cat >"$TMPDIR/sshd.conf" <<-END
		ListenAddress 127.0.0.1:2222
		HostKey $TMPDIR/key
		AuthorizedKeysFile $TMPDIR/key.pub
		StrictModes no
		UsePAM no
		PidFile none
	END
	cat >"$TMPDIR/ssh.conf" <<-END
		HostName 127.0.0.1
		Port 2222
		IdentityFile $TMPDIR/key
		StrictHostKeyChecking no
		UserKnownHostsFile /dev/null
	END
	/usr/sbin/sshd -D -e -f "$TMPDIR/sshd.conf" 2>"$TMPDIR/sshd.log" &
	sshd=$!
	wait_until 10 grep -q listening "$TMPDIR/sshd.log"
	line=$(roost viewer screen --json | jq -r .tunnel)
	eval "exec_ssh() { exec ssh -F '$TMPDIR/ssh.conf' ${line#ssh }; }"
	exec_ssh 2>"$TMPDIR/ssh.log" &
	tunnel=$!
	wait_until 10 grep -q ' 0100007F:170D .* 0A ' /proc/net/tcp
	check_eq "the viewer there is let in" admitted "$(python3 "$TOP/tests/e2e/vnc_login.py" 5901 '')"
	kill $tunnel
	wait $tunnel || :
	kill $sshd
	wait $sshd || :
fi

say "TigerVNC, by both of its names"
viewer vncviewer 'TigerVNC Viewer 64-bit v1.12.0' <<END
exec $login "\$1" '' >$TMPDIR/said
END
view screen
check_eq "it was given the socket" "$socket" "$(cat "$TMPDIR/told")"
check_eq "and was let in" admitted "$(cat "$TMPDIR/said")"
viewer xtigervncviewer '' <<END
exec $login "\$2" '' >$TMPDIR/said
END
rm "$TMPDIR/said"
view screen --full-screen
check_eq "it was given the socket" "-FullScreen=1 $socket" "$(cat "$TMPDIR/told")"
check_eq "and was let in" admitted "$(cat "$TMPDIR/said")"
rm "$TMPDIR/bin/xtigervncviewer"

say "another vncviewer, remote-viewer: a port"
viewer vncviewer 'RealVNC' <<END
exec $login "\${1#*::}" '' >$TMPDIR/said
END
view screen
check_match "a port" '^127.0.0.1::[0-9]+$' "$(cat "$TMPDIR/told")"
check_eq "it was let in" admitted "$(cat "$TMPDIR/said")"
rm "$TMPDIR/bin/vncviewer"
viewer remote-viewer '' <<END
$login "\${1##*:}" '' >$TMPDIR/said
$login "\${1##*:}" '' >>$TMPDIR/said
grep ' 0A ' /proc/net/tcp >$TMPDIR/listening
[ "\$(id -u)" -ne 0 ] || setpriv --reuid nobody --clear-groups $login "\${1##*:}" '' >>$TMPDIR/said 2>&1 || :
END
check_json "which" ".viewer == \"$TMPDIR/bin/remote-viewer\"" "$(view screen --json)"
check_match "a port" '^vnc://127.0.0.1:[0-9]+$' "$(cat "$TMPDIR/told")"
check_eq "it was let in, a second time too" "admitted admitted" "$(head -n 2 "$TMPDIR/said" | paste -sd ' ')"
[ "$(id -u)" -ne 0 ] || check_match "but nobody else" 'closed the connection|Connection reset' "$(sed 1,2d "$TMPDIR/said")"
port=$(sed 's/.*://' "$TMPDIR/told")
hex=$(printf '0100007F:%04X' "$port")
check_match "of loopback alone" " $hex " "$(cat "$TMPDIR/listening")"
! grep -q " $hex .* 0A " /proc/net/tcp || fail "the port $port is still listened on"

say "a viewer that fails"
viewer remote-viewer '' <<END
exit 3
END
check_status 7 view screen
check_match "which, how" "viewer '.*/remote-viewer' exited with status 3" "$out"

say "who waits for a guest, and for its return"
roost destroy screen
viewer remote-viewer '' <<END
python3 -c 'import socket, sys
s = socket.create_connection(("127.0.0.1", sys.argv[1]))
if s.recv(1000): print("seen", file=open("$TMPDIR/seen", "a"))
while s.recv(1000): pass' "\${1##*:}"
END
view screen --wait --reconnect &
pid=$!
roost start screen
wait_until 20 test -s "$TMPDIR/seen"
roost destroy screen
roost start screen
came_again() {
	[ "$(wc -l <"$TMPDIR/seen")" -eq 2 ]
}
wait_until 20 came_again
viewer remote-viewer '' <<END
END
roost destroy screen
roost start screen
wait $pid
roost destroy screen

say "no VNC"
pico blind
roost start blind
check_status 5 roost viewer blind
check_match "what to do" 'vnc: true' "$out"
