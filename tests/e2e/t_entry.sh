#!/bin/sh
# The way into a guest that roost has given neither host key nor user: whose key may be believed, asked at a terminal as ssh
# asks, read by the guest's agent, changed; a password; and ssh-copy-id, after which nobody is asked for anything.
# limit: 240
# shellcheck disable=SC2016 # `roost ...` stands in messages
. "$TOP/tests/e2e/lib.sh"
need tiny-vmlinux tiny-initrd
command -v python3 >/dev/null || lacking python3
export ROOST_ACCEL_FALLBACK=tcg
unset SSH_AUTH_SOCK
# as of an image of somebody else's: its seed is none of roost's. What an agent could read is not there.
cat >"$TMPDIR/user-data" <<-END
	#cloud-config
	ssh_pwauth: true
	runcmd: [rm /etc/ssh/ssh_host_ed25519_key.pub]
END
roost seed "$TMPDIR/seed.img" "$TMPDIR/user-data"
cat >"$TMPDIR/own.yaml" <<-END
	name: own
	memory: 192M
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: console=ttyS0 no_timer_check quiet
	disks: [{path: seed.img, format: raw, readonly: true}]
	agent: true
	interfaces: [{user: {restrict: true, hostfwd: ["-22"]}}]
END
roost define "$TMPDIR/own.yaml"
roost start own
roost keygen </dev/null
wait_until 100 console_has own TINY-RUNCMD-DONE

# at_terminal STATUS [expect TEXT | type TEXT]... -- COMMAND...: what it showed is in $out
at_terminal() {
	at_status=$1
	shift
	status=0
	python3 "$TOP/tests/e2e/in_terminal.py" "$@" >"$TMPDIR/said" 2>&1 || status=$?
	out=$(tr -d '\r' <"$TMPDIR/said")
	[ $status -eq "$at_status" ] || fail "it ended with $status: $out"
}
# there COMMAND...: the terminal is its own; ^C there is its end, which is told; alone has none
there=$TMPDIR/there
cat >"$there" <<-'END'
	#!/bin/sh
	exec setsid -w -c sh -c 'trap : INT; "$@"' sh "$@"
END
chmod 755 "$there"
alone() {
	setsid -w "$@" </dev/null
}
known() {
	roost ssh-config --known-hosts own
}
enter="
"

say "nobody to ask"
check_status 255 alone roost ssh root@own true
check_match "which key" "^roost: guest 'own': its host key is not known: ED25519 SHA256:[A-Za-z0-9+/]{43}$" "$out"
check_match "what to do" 'roost ssh own` at a terminal asks you .*`roost ssh --accept-new own`' "$out"
fingerprint=$(echo "$out" | grep -o 'SHA256:[^ ]*' | head -n 1)
check_status 5 alone roost ssh-copy-id root@own
check_status 5 alone roost wait own --for login --timeout 30s
check_match "who waits asks nothing" 'unknown host key' "$out"
check_eq "nothing is kept" "" "$(known)"
check_match "as OpenSSH is told" '# its host key is not known yet.*`roost ssh own`' "$(roost ssh-config own)"
! roost ssh-config own | grep -q 'User ' || fail "somebody is said to have a login there"

say "somebody who says no"
at_terminal 255 expect "(127.0.0.1 port" expect "ED25519 key fingerprint is $fingerprint." expect "(yes/no/[fingerprint])?" type "what$enter" \
	expect "'yes', 'no' or the fingerprint: " type "no$enter" -- "$there" roost ssh root@own true
check_match "it ends there" "guest 'own': its host key was not accepted" "$out"
at_terminal 130 expect "(yes/no/[fingerprint])?" type "$(printf '\003')" -- "$there" roost ssh root@own true
check_eq "nothing is kept" "" "$(known)"

say "a script at a terminal"
at_terminal 255 -- "$there" roost ssh --batch root@own true
check_match "it asks nothing" "its host key is not known: ED25519 SHA256:" "$out"
check_no_match "it asks nothing" "yes/no" "$out"

say "who knows the fingerprint; a password"
at_terminal 3 expect "(yes/no/[fingerprint])?" type "$fingerprint$enter" expect "root@own's password: " type "wrong$enter" \
	expect "Permission denied, please try again." expect "root@own's password: " type "tiny$enter" expect "hello of tiny" \
	-- "$there" roost ssh root@own 'echo hello of $(hostname); exit 3'
check_match "it is kept" "^roost: the host key of guest 'own' is new and was accepted: ED25519 SHA256:" "$out"
check_match "for OpenSSH, too" '^own\.roost,\[own\.roost\]:\* ssh-ed25519 AAAA' "$(known)"
check_no_match "the password is not shown" 'password: .*(tiny|wrong)' "$out"
check_status 255 alone roost ssh own true
check_match "as whom" "login as '$(id -un)' was refused" "$out"
check_match "what to do" "there is no terminal to ask for a password at; at one .roost ssh-copy-id $(id -un)@own. lets your key in" "$out"

at_terminal 5 -- "$there" roost scp -B root@own:file "$TMPDIR/back"
check_match "no password is asked for" "login as 'root' was refused" "$out"
check_no_match "no password is asked for" "s password:" "$out"

say "ssh-copy-id"
at_terminal 0 expect "root@own's password: " type "tiny$enter" -- "$there" roost ssh-copy-id root@own
check_match "added" '^Number of key\(s\) added: 1$' "$out"
check_match "once only" '^All keys were skipped because they already exist' "$(alone roost ssh-copy-id root@own)"
check_eq "the modes" "700 600" "$(alone roost ssh root@own stat -c %a .ssh .ssh/authorized_keys | paste -sd ' ')"
echo content >"$TMPDIR/file"
alone roost scp "$TMPDIR/file" root@own:
check_eq "scp" content "$(alone roost ssh root@own cat file)"
if command -v ssh >/dev/null; then
	roost ssh-config >"$TMPDIR/config"
	check_eq "plain ssh" content "$(alone ssh -F "$TMPDIR/config" root@own.roost cat file)"
fi
at_terminal 130 expect "nobody@own's password: " type "$(printf '\003')" -- "$there" roost scp nobody@own:file "$TMPDIR/back"

say "the key has changed"
# From here on its agent is a liar: of what it is asked to read it says what lies() has ordered, in the end the truth.
other=$(base64 -w 0 "$HOME/.ssh/id_ed25519.pub")
evil=$(printf '\033]0;evil\007ssh-ed25519 AAAA\033[2J' | base64 -w 0)
cat >"$TMPDIR/liar" <<-END
	#!/bin/sh
	# qemu-ga -m virtio-serial -p PORT ...
	exec <>\$4 >&0
	lie=5
	while :; do
	# the end of what is read, while nobody is at the other one
	read -r line || { usleep 100000; continue; }
	    id=\${line##*\"id\":}
	    case \$line in
	    *guest-sync-delimited*) printf '\\377{"return": %s}\\n' "\${id%%[!0-9]*}" ;;
	    *guest-sync*) printf '{"return": %s}\\n' "\${id%%[!0-9]*}" ;;
	    *guest-file-open*) echo '{"return": 1000}' ;;
	    *guest-lies*) lie=\${line##*\"lie\":}; lie=\${lie%%[!0-9]*}; echo '{"return": {}}' ;;
	    *guest-file-read*)
	        case \$lie in
	        1) echo '{"return": {"count": 1, "eof": true, "buf-b64": "$other"}}' ;;
	        2) echo '{"return": {"count": 1, "eof": true, "buf-b64": "$evil"}}' ;;
	        3) printf '{"return": {"count": 1, "eof": true, "buf-b64": "%s"}}\n' "\$(head -c 300000 /dev/zero | tr '\\0' A)" ;;
	        4) echo '{"error": {"class": "\u001b[2J", "desc": "\u001b]0;evil\u0007"}}' ;;
	        *) printf '{"return": {"count": 1, "eof": true, "buf-b64": "%s"}}\n' "\$(base64 -w 0 /etc/ssh/ssh_host_ed25519_key.pub)" ;;
	        esac
	        ;;
	    *) echo '{"return": {}}' ;;
	    esac
	done
END
alone roost scp "$TMPDIR/liar" root@own:/usr/sbin/liar
alone roost ssh root@own 'set -e; cd /usr/sbin; chmod 755 liar; mv liar $(command -v qemu-ga); killall qemu-ga
	rm /etc/ssh/ssh_host_*; (sleep 0.2; kill $(cat /run/dropbear.pid); /usr/lib/tiny/sshd) >/dev/null 2>&1 &'
changed() {
	alone roost ssh root@own true 2>"$TMPDIR/why" && return 1
	grep -q mismatch "$TMPDIR/why"
}
wait_until 30 changed
before=$(known)
check_status 255 alone roost ssh --accept-new root@own true
check_match "loudly" '^roost: host key mismatch: expected ssh-ed25519 SHA256:.*, got ssh-ed25519 SHA256:' "$out"
check_match "what to do" 'THE HOST KEY HAS CHANGED: .*`roost ssh --forget-key own`' "$out"
check_status 5 alone roost ssh-copy-id root@own
check_status 5 alone roost scp root@own:file "$TMPDIR/back"

say "what its agent says"
# lies NUMBER: from now on that one; the real agent knows no such command
lies() {
	wait_until 30 roost agent own "{\"execute\": \"guest-lies\", \"arguments\": {\"lie\": $1}}" --timeout 2s
}
lies 1
check_status 255 alone roost ssh --forget-key --accept-new root@own true
check_match "another key" "has a host key \(ED25519 SHA256:.*\) that is not the one on the guest's own disk" "$out"
number=1
for lie in bytes much error; do
	number=$((number + 1))
	lies $number
	check_status 255 alone roost ssh --forget-key root@own true
	check_match "$lie" "its host key is not known: ED25519 SHA256" "$out"
	check_no_match "$lie: nothing of it is shown" "$(printf 'evil|\033')" "$out"
done
check_eq "the old one is kept" "$before" "$(known)"
lies 5
check_status 0 alone roost ssh --forget-key root@own cat file
check_match "at last the truth" "^roost: the host key of guest 'own' is the one on its disk, as its agent says: ED25519 SHA256:" "$out"
check_match "a look inside" '^content$' "$out"
[ "$before" != "$(known)" ] || fail "the new one is not kept"
check_eq "nobody is asked" content "$(alone roost ssh root@own cat file)"
check_json "who did it" 'select(.event == "ROOST_COMMAND" and .data.command == "roost-host-key") | .data.user != null' \
	"$(grep roost-host-key "$ROOST_STATE/guests/own/events.jsonl" | tail -n 1)"
roost destroy own
