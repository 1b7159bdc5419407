#!/bin/sh
# A guest's ports from the host, of user networking and of a network: `roost dial`, published ports, and OpenSSH's own ssh,
# scp and rsync by the block of `roost ssh-config`.
# limit: 150
. "$TOP/tests/e2e/lib.sh"
need tiny-vmlinux tiny-initrd pico.raw
need_networks
for program in ssh scp rsync socat; do
	command -v $program >/dev/null || lacking $program
done

# tiny NAME INTERFACE: defines a Linux guest with this one
tiny() {
	cat >"$TMPDIR/$1.yaml" <<-END
		name: $1
		memory: 192M
		kernel: $GUESTS/tiny-vmlinux
		initrd: $GUESTS/tiny-initrd
		cmdline: console=ttyS0 no_timer_check quiet
		interfaces:
		  - $2
		cloud_init: {user: alice, hostname: $1}
	END
	roost define "$TMPDIR/$1.yaml"
}
# openssh COMMAND...: with the block alone
openssh() {
	openssh_program=$1
	shift
	"$openssh_program" -q -F "$TMPDIR/config" "$@"
}
# carry HOST PROGRAM...: the guest has few programs: it gets the host's, with the libraries that they want
carry() {
	carry_to=$1
	shift
	mkdir "$TMPDIR/carried"
	for carried; do
		# shellcheck disable=SC2046
		cp $(command -v "$carried") $(ldd "$(command -v "$carried")" | grep -o '/[^ ]*') "$TMPDIR/carried"
		loader=$(basename "$(ldd "$(command -v "$carried")" | grep -o '/[^ ]*/ld-[^ ]*')")
	done
	openssh scp -r "$TMPDIR/carried" "$carry_to:/tmp"
	there="/tmp/carried/$loader --library-path /tmp/carried /tmp/carried"
}
# by_openssh NAME
by_openssh() {
	roost ssh-config >"$TMPDIR/config"
	check_eq "ssh, as the definition's user" "alice $1" "$(openssh ssh "$1.roost" "id -un; hostname" </dev/null | xargs)"
	echo hello >"$TMPDIR/file"
	openssh scp "$TMPDIR/file" "$1.roost:copied"
	openssh scp "$1.roost:copied" "$TMPDIR/back"
	check_eq "scp" hello "$(cat "$TMPDIR/back")"
	carry "$1.roost" rsync socat
	mkdir -p "$TMPDIR/tree/below"
	echo deep >"$TMPDIR/tree/below/file"
	rsync -a -e "ssh -q -F $TMPDIR/config" --rsync-path "$there/rsync" "$TMPDIR/tree" "$1.roost:"
	check_eq "rsync" deep "$(openssh ssh "$1.roost" cat tree/below/file </dev/null)"
	# the same machine under the name of another guest has not that one's key
	check_status 255 ssh -F "$TMPDIR/config" -o "ProxyCommand=roost dial --fd $1 22" other.roost true
	check_match "a host key that is not the issued one" 'Host key verification failed' "$out"
}
# banner PORT: what an SSH server says on that port of the host
banner() {
	socat -t $((5 * E2E_PATIENCE)) - "TCP4:127.0.0.1:$1" </dev/null | head -n 1
}
is_banner() {
	banner "$1" | grep -q '^SSH-2.0'
}
# holder: the pid of the network's
holder() {
	jq .pid "$ROOST_RUN"/n/*/holder
}

say "words"
tiny other 'user: {restrict: true, hostfwd: ["-22"]}'
check_status 5 roost dial other 22
check_match "not running" "'other' is not running" "$out"
check_status 3 roost dial nobody.roost 22
check_status 2 roost dial other 0
check_match "its key" '^other\.roost,\[other\.roost\]:\* ssh-ed25519 AAAA' "$(roost ssh-config --known-hosts other)"
check_json "in JSON" '.[0] | .host == "other.roost" and .user == "alice" and (.host_key | startswith("ssh-ed25519"))' \
	"$(roost ssh-config --json other.roost)"

say "two guests, one behind user networking, one on a network"
tiny plain 'user: {restrict: true, hostfwd: ["-22"]}'
tiny web '{network: default, publish: ["22", "0.0.0.0::7007/udp"]}'
roost run "$TMPDIR/plain.yaml" >"$TMPDIR/plain.out" 2>&1 &
plain=$!
roost run "$TMPDIR/web.yaml" >"$TMPDIR/web.out" 2>&1 || fail "run: $(cat "$TMPDIR/web.out")"
address=$(jq -r '.interfaces[0].address' "$ROOST_STATE/guests/web/guest.json")
check_match "each rung is told, and the address" "^ *address +[0-9.]+ s +$address\$" "$(cat "$TMPDIR/web.out")"
check_match "how it is reached" "web is ready \(login\): $address port 22, user alice" "$(cat "$TMPDIR/web.out")"
check_json "timeline" '.address <= .tcp and .tcp <= .login' "$(roost timeline web --json)"
check_eq "roost ssh" web "$(roost ssh web hostname </dev/null)"
wait $plain || fail "run: $(cat "$TMPDIR/plain.out")"
check_match "what the guest says, until it has said all" '^SSH-2.0' "$(roost dial plain 22 </dev/null | head -n 1)"
check_status 5 roost dial plain 80
check_match "no way there" "none forwards a port to its port 80" "$out"
check_status 7 roost dial --fd plain 22 </dev/null

say "OpenSSH"
by_openssh web

say "dial"
roost ssh web "nc -ll -p 9000 -e cat >/dev/null 2>&1 &" </dev/null
head -c 1000000 /dev/urandom >"$TMPDIR/much"
wait_until 10 sh -c "echo | roost dial web 9000"
roost dial web 9000 <"$TMPDIR/much" >"$TMPDIR/back"
cmp "$TMPDIR/much" "$TMPDIR/back" || fail "an echo is not what was said"
check_status 9 roost dial web 80
check_match "nobody listens there" "guest 'web': $address:80: Connection refused" "$out"

say "published ports"
port=$(jq -r '.forwards[] | select(.guest_port == 22) | .port' "$(run_dir web)/status")
udp=$(jq -r '.forwards[] | select(.udp) | .port' "$(run_dir web)/status")
is_banner "$port" || fail "the published port says nothing"
roost ssh web "$there/socat UDP4-RECVFROM:7007,fork EXEC:cat >/dev/null 2>&1 &" </dev/null
udp_answers() {
	[ "$(echo ping | socat -t 2 - "UDP4:127.0.0.1:$udp")" = ping ]
}
wait_until 10 udp_answers

say "names for this host"
check_match "a line" "^$address	web\\.default\\.internal\$" "$(roost net-hosts)"
printf '127.0.0.1\tlocalhost\n# mine' >"$TMPDIR/hosts"
cp "$TMPDIR/hosts" "$TMPDIR/hosts.before"
chmod 604 "$TMPDIR/hosts"
roost net-hosts default --install --file "$TMPDIR/hosts"
roost net-hosts default --install --file "$TMPDIR/hosts"
check_eq "once" 1 "$(grep -c "^$address" "$TMPDIR/hosts")"
check_eq "its mode" 604 "$(stat -c %a "$TMPDIR/hosts")"
roost net-hosts default --remove --file "$TMPDIR/hosts"
check_eq "as before" "$(cat "$TMPDIR/hosts.before")" "$(cat "$TMPDIR/hosts")"
printf "# begin: guests of roost's network 'default'\nmine\n" >"$TMPDIR/hosts"
check_status 5 roost net-hosts --remove --file "$TMPDIR/hosts"
check_match "a block without end" "does not end" "$out"
check_eq "nothing of it was changed" 2 "$(wc -l <"$TMPDIR/hosts")"

say "a port in use"
tiny second "{network: default, publish: [\"$port:22\"]}"
check_status 4 roost start second
check_match "by a guest" "TCP port 127.0.0.1:$port is taken: guest 'web' has it" "$out"
socat TCP4-LISTEN:5022,bind=127.0.0.1,reuseaddr,fork /dev/null &
socat=$!
tiny second '{network: default, publish: ["5022:22"]}'
wait_until 5 sh -c 'ss -ltn | grep -q :5022'
check_status 4 roost start second
check_match "by a program" "TCP port 127.0.0.1:5022 is taken: socat \(process $socat\) has it" "$out"
kill $socat
check_eq "nothing was started" "shut off" "$(state second)"

say "published of a guest that runs, and told"
check_match "told" '^TCP \[::1\]:7100 leads to port 9000 ' "$(roost net-update default add publish web '[::1]:7100:9000')"
check_match "dominfo" '^ +\[::1\]:7100 -> 9000/tcp$' "$(roost dominfo web)"
check_json "domiflist" '.[0].forwards | length == 3 and any(.port == 7100 and .address == "::1")' "$(roost domiflist web --json)"
mkfifo "$TMPDIR/said"
socat -t 5 - 'TCP6:[::1]:7100' <"$TMPDIR/said" >"$TMPDIR/heard" &
talking=$!
exec 5>"$TMPDIR/said"
heard() {
	grep -q "$1" "$TMPDIR/heard"
}
echo before >&5
wait_until 5 heard before

say "the holder is killed: what was published is so again, and a connection goes on"
killed=$(holder)
since=$(now_ms)
kill_and_wait KILL "$killed"
wait_until 5 is_banner "$port"
check_time "published again" 2000 "$since"
wait_until 2 udp_answers
[ "$(holder)" != "$killed" ] || fail "no other holder"
echo after >&5
wait_until 5 heard after
exec 5>&-
wait $talking || fail "the connection broke off"
roost net-update default delete publish web '[::1]:7100:9000'
check_status 1 socat -u 'TCP6:[::1]:7100' -
check_status 3 roost net-update default delete publish web '[::1]:7100:9000'
check_match "of whom" "7100 is not published of guest 'web'" "$out"
check_json "domiflist" '.[0].forwards | length == 2' "$(roost domiflist web --json)"
check_eq "roost ssh" web "$(roost ssh web hostname </dev/null)"

say "nobody answers"
pico deaf
sed -i 's/^interfaces: .*/interfaces: [{network: default}]/' "$TMPDIR/deaf.yaml"
roost define "$TMPDIR/deaf.yaml" >/dev/null
roost start deaf
wait_until 20 console_has deaf .
check_status 8 roost wait deaf --for login --timeout 3s
check_match "the rung and the cause" "did not reach 'address': nobody answers at its address 192" "$out"
check_match "the remedy" 'net-dhcp-leases default' "$out"
roost destroy deaf

roost destroy web
is_closed() {
	! socat -u "TCP4:127.0.0.1:$port" -
}
wait_until 5 is_closed
roost destroy plain
roost net-destroy default
