#!/bin/sh
# Is it really up? The ladder on a real Linux guest, told rung by rung; ssh and scp into it; and what `wait` says of
# guests that never come up: the rung, the cause and the evidence, in bounded time.
# limit: 420
. "$TOP/tests/e2e/lib.sh"
need tiny-vmlinux tiny-initrd pico.raw

# definition READY: of the Linux guest
definition() {
	cat <<-END
		name: tiny
		memory: 192M
		kernel: $GUESTS/tiny-vmlinux
		initrd: $GUESTS/tiny-initrd
		cmdline: console=ttyS0 no_timer_check quiet
		interfaces:
		  - user: {restrict: true, hostfwd: ["-22"]}
		cloud_init: {user: alice, hostname: wonderland}
		ready: $1
	END
}
definition '{rung: cloud-init, timeout: 300s}' >"$TMPDIR/tiny.yaml"
roost run "$TMPDIR/tiny.yaml" >"$TMPDIR/run.out" 2>"$TMPDIR/run.err" &
run=$!

# --- guests that never come up, while the other one boots ---------------------------------------------------------

# net_pico NAME READY: a guest that has an address and no SSH server
net_pico() {
	cp "$GUESTS/pico.raw" "$TMPDIR/$1.raw"
	cat >"$TMPDIR/$1.yaml" <<-END
		name: $1
		memory: 32M
		disks:
		  - path: $TMPDIR/$1.raw
		    format: raw
		interfaces:
		  - user: {restrict: true, hostfwd: ["-22"]}
		ready: $2
	END
	roost define "$TMPDIR/$1.yaml"
}

say "words"
check_status 3 roost wait nobody-there
pico plain
check_status 5 roost wait plain
check_match "not running" "'plain' is not running" "$out"
check_status 2 roost wait plain --for no-such-rung
check_match "unknown rung" "no rung 'no-such-rung'" "$out"
check_match "they are listed" 'banner.*cloud-init' "$out"

say "no way to an SSH server: rung address"
roost start plain
check_eq "as far as it can" "Guest 'plain' has reached 'console'" "$(roost wait -q plain)"
since=$(now_ms)
check_status 5 roost wait plain --for banner
check_time "no address" 5000 "$since"
check_match "rungs below were told" '^ *console +[0-9.]+ s' "$out"
check_match "rung" "did not reach 'address'" "$out"
check_match "cause and remedy" 'forward|hostfwd' "$out"
check_match "evidence" '\| console: .*(PICO-UP|tick)' "$out"

say "nobody listens: rung tcp or banner, within its own deadline"
net_pico deaf '{deadlines: {tcp: 3s, banner: 3s}}'
roost start deaf
wait_until 30 is_up deaf
since=$(now_ms)
check_status 8 roost wait deaf --for login
check_time "nobody listens" 20000 "$since"
check_match "rung" "did not reach '(tcp|banner)'" "$out"
check_match "cause" 'does not listen|nobody speaks|nothing listens|before the guest listens' "$out"
check_match "evidence of attempts" '\| (tcp|banner): .* times' "$out"
check_match "evidence of the console" '\| console: .*tick=' "$out"
# of its console the last lines are shown, and it writes one a second: who is slow to ask asks again
for _ in 1 2 3; do
	type_to deaf "$(printf '\033[2JXYZ')"
	wait_until 20 console_has deaf XYZ
	check_status 8 roost wait deaf --for banner --timeout 1s
	case $out in *XYZ*) break ;; esac
done
check_match "a guest's escape sequences are shown" '\| console: .*\\x1b\[2JXYZ' "$out"
check_no_match "and not sent to the terminal" "$(printf '\033')" "$out"
since=$(now_ms)
check_status 8 roost wait deaf --for banner --timeout 2s --json
check_time "--timeout" 8000 "$since"
check_json "in JSON" '.error | .class == "timeout" and (.rung | test("tcp|banner")) and (.cause | length > 20)
	and (.evidence | length > 1)' "$out"

say "the keeper dies under who waits"
net_pico_ready() { # changes what a wait reads
	sed "s|ready: .*|ready: $2|" "$TMPDIR/$1.yaml" >"$TMPDIR/$1.new"
	roost define "$TMPDIR/$1.new" >/dev/null
}
net_pico_ready deaf '{deadlines: {banner: 60s}}'
# climbs: who waits has begun to
climbs() {
	pgrep -P "$waiting" -x roost-ssh
}
roost wait -q deaf --for login --timeout 12s >"$TMPDIR/orphan" 2>&1 &
waiting=$!
wait_until 5 climbs
kill_and_wait KILL "$(of_status deaf keeper_pid)"
sleep 4
ticks_of() { # CPU time in hundredths of a second
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}
cpu=$(ticks_of "$waiting") || fail "wait ended: $(cat "$TMPDIR/orphan")"
[ "$cpu" -lt 100 ] || fail "wait without a keeper took $cpu hundredths of a second of CPU"
status=0
wait "$waiting" || status=$?
check_eq "its status" 8 "$status"
check_match "its words" "did not reach '(tcp|banner)'" "$(cat "$TMPDIR/orphan")"
check_eq "unharmed" running "$(state deaf)"

say "it powers off while it is waited for"
roost wait -q deaf --for banner --timeout 60s >"$TMPDIR/off" 2>&1 &
waiting=$!
wait_until 5 climbs
since=$(now_ms)
roost shutdown deaf --mode acpi
status=0
wait "$waiting" || status=$?
check_time "told" 5000 "$since"
check_eq "its status" 9 "$status"
check_match "its words" "did not reach '(tcp|banner)'.*shut off.*ACPI button" "$(cat "$TMPDIR/off")"

say "QEMU is killed while it is waited for"
roost start deaf
roost wait -q deaf --for banner --timeout 60s >"$TMPDIR/killed" 2>&1 &
waiting=$!
wait_until 5 climbs
kill -9 "$(of_status deaf qemu_pid)"
status=0
wait "$waiting" || status=$?
check_eq "its status" 9 "$status"
check_match "its words" "did not reach .*(signal 9|SIGKILL|Killed)" "$(cat "$TMPDIR/killed")"

say "paused"
roost start --paused deaf
since=$(now_ms)
check_status 5 roost wait deaf
check_time "paused" 3000 "$since"
check_match "rung and cause" "did not reach 'running'.*--paused" "$out"
roost destroy deaf
roost destroy plain

say "it writes nothing"
truncate -s 1M "$TMPDIR/mute.raw"
sed "s|deaf|mute|g" "$TMPDIR/deaf.yaml" >"$TMPDIR/mute.yaml"
roost define "$TMPDIR/mute.yaml"
roost start mute
since=$(now_ms)
check_status 8 roost wait mute --for banner --timeout 2s
check_time "it writes nothing" 6000 "$since"
check_match "rung and cause" "did not reach 'console'.*writes nothing" "$out"
roost destroy mute

# --- the one that comes up ----------------------------------------------------------------------------------------
say "run"
status=0
wait $run || status=$?
[ "$status" -eq 0 ] || fail "roost run: $status: $(cat "$TMPDIR/run.out" "$TMPDIR/run.err")"
cat "$TMPDIR/run.err"
check_eq "every rung, in order" "process qmp running console address tcp banner hostkey login cloud-init" \
	"$(awk '$3 == "s" { print $1 }' "$TMPDIR/run.err" | xargs)"
awk '$3 == "s" { if ($2 + 0 < before) exit 1; before = $2 + 0 }' "$TMPDIR/run.err" || fail "the rungs' times go back"
check_match "the accelerator is told" 'TCG|KVM' "$(cat "$TMPDIR/run.err")"
check_match "the banner" 'banner .*SSH-2.0' "$(cat "$TMPDIR/run.err")"
check_match "the last line" \
	'^tiny is ready \(cloud-init\): 127\.0\.0\.1 port [0-9]+, user alice; roost ssh tiny$' "$(cat "$TMPDIR/run.out")"
check_eq "one line" 1 "$(wc -l <"$TMPDIR/run.out")"

say "wait, again"
since=$(now_ms)
check_eq "wait" "Guest 'tiny' has reached 'banner'" "$(roost wait -q tiny --for banner)"
check_time "wait" 5000 "$since"
check_json "wait --json" '. == {"rung": "login"}' "$(roost wait tiny --for login --json)"

say timeline
check_json "timeline --json" '[.process, .qmp, .running, .console, .address, .tcp, .banner, .hostkey, .login,
	."cloud-init"] | all(type == "number") and . == sort' "$(roost timeline tiny --json)"
check_eq "timeline" "process qmp running console address tcp banner hostkey login cloud-init" \
	"$(roost timeline tiny | awk '{ print $1 }' | xargs)"
check_no_match "steps are not negative" '\+-' "$(roost timeline tiny)"
check_match "the last one of a guest that is off" '^console ' "$(roost timeline plain)"
pico never
check_status 3 roost timeline never

# --- ssh
say ssh
check_eq "the user" alice "$(roost ssh tiny id -un)"
check_eq "the name" wonderland "$(roost ssh tiny hostname)"
check_eq "user@" root "$(roost ssh root@tiny id -un)"
check_eq "--user" root "$(roost ssh -l root tiny id -un)"
roost ssh tiny cat .ssh/authorized_keys | grep -qF "$(cut -d ' ' -f 2 "$ROOST_STATE/ssh/id_ed25519.pub")" ||
	fail "our key is not in the guest"
check_status 37 roost ssh tiny 'exit 37'
check_status 127 roost ssh tiny no-such-command
check_eq "both streams" "to-out" "$(roost ssh tiny 'echo to-out; echo to-err >&2' 2>"$TMPDIR/stderr")"
check_eq "both streams" "to-err" "$(cat "$TMPDIR/stderr")"
head -c 700000 /dev/urandom >"$TMPDIR/noise"
roost ssh tiny cat <"$TMPDIR/noise" >"$TMPDIR/echo"
cmp "$TMPDIR/noise" "$TMPDIR/echo"
check_eq "words are joined, the guest's shell reads them" "a  b /root" "$(roost ssh root@tiny echo "'a  b'" "\$HOME")"
check_status 1 roost ssh tiny tty
check_match "-t" '^/dev/pts/' "$(roost ssh -t tiny tty)"
check_eq "the terminal's size" "31 97" \
	"$(script -qec 'stty rows 31 cols 97; roost ssh -t tiny stty size' /dev/null </dev/null | grep -aEo '[0-9]+ [0-9]+')"
since=$(now_ms)
check_status 255 roost ssh nosuchuser@tiny true
check_time "a login that is refused" 15000 "$since"
check_match "who was refused" 'nosuchuser' "$out"
check_status 255 roost ssh nobody-there true
check_status 255 roost ssh --no-such-option tiny true
check_status 255 roost ssh
check_status 255 roost ssh mute true

# --- scp
say scp
mkdir -p "$TMPDIR/tree/sub dir" "$TMPDIR/back"
cp "$TMPDIR/noise" "$TMPDIR/tree/noise"
echo "what a name" >"$TMPDIR/tree/sub dir/a file: with words"
: >"$TMPDIR/tree/empty"
chmod 750 "$TMPDIR/tree/noise"
touch -d 2001-02-03T04:05:06Z "$TMPDIR/tree/noise"
roost scp "$TMPDIR/noise" tiny:/tmp/
check_eq "in the guest" "$(sha256sum <"$TMPDIR/noise")" "$(roost ssh tiny 'sha256sum </tmp/noise')"
roost scp tiny:/tmp/noise "$TMPDIR/back/other-name"
cmp "$TMPDIR/noise" "$TMPDIR/back/other-name"
check_status 2 roost scp "$TMPDIR/tree" "$TMPDIR/back"
out=$(roost scp "$TMPDIR/tree" tiny:/tmp/ 2>&1) && fail "a folder was copied without -r"
check_match "a folder without -r" 'recursive|-r' "$out"
roost scp -r -p "$TMPDIR/tree" tiny:/tmp/
check_match "mode and time" '^750 981173106$' "$(roost ssh tiny 'stat -c "%a %Y" /tmp/tree/noise')"
roost scp -r -p tiny:/tmp/tree "$TMPDIR/back/"
diff -r "$TMPDIR/tree" "$TMPDIR/back/tree"
check_eq "mode and time came back" "750 981173106" "$(stat -c '%a %Y' "$TMPDIR/back/tree/noise")"
roost scp "tiny:/tmp/tree/sub dir/a file: with words" tiny:/tmp/tree/empty "$TMPDIR/back/"
check_eq "two at once" "what a name" "$(cat "$TMPDIR/back/a file: with words")"
check_eq "two at once" 0 "$(stat -c %s "$TMPDIR/back/empty")"
check_status 3 roost scp tiny:/tmp/no-such-file "$TMPDIR/back/"
check_match "it is named" 'no-such-file' "$out"
[ ! -e "$TMPDIR/back/no-such-file" ] || fail "a file that is not there was made"
out=$(roost scp "$TMPDIR/noise" tiny:/proc/nowhere/x 2>&1) && fail "a copy to nowhere succeeded"
check_match "it is named" '/proc/nowhere' "$out"

say "ssh-copy-id: a key of one's own"
check_status 3 roost ssh-copy-id tiny
check_match "there is none" 'no public key in ~/.ssh.*' "$out"
check_match "what to do" 'roost keygen' "$out"
roost keygen -f "$TMPDIR/mine" </dev/null
echo 'ssh-ed25519 AAAAnonsense' >"$TMPDIR/none.pub"
check_status 2 roost ssh-copy-id tiny -i "$TMPDIR/none"
check_match "it is shown" "'ssh-ed25519 AAAAnonsense' is no public key" "$out"
roost ssh tiny 'printf "# %s" "no new line at its end" >>.ssh/authorized_keys; chmod 644 .ssh/authorized_keys'
before=$(roost ssh tiny cat .ssh/authorized_keys)
check_match "added" '^Number of key\(s\) added: 1$' "$(roost ssh-copy-id tiny -i "$TMPDIR/mine")"
check_eq "a line more" "$(printf '%s\n' "$before" && cat "$TMPDIR/mine.pub")" "$(roost ssh tiny cat .ssh/authorized_keys)"
check_eq "the modes" "700 644" "$(roost ssh tiny stat -c %a .ssh .ssh/authorized_keys | paste -sd ' ')"
check_match "once only" "^All keys were skipped because they already exist in guest 'tiny'" "$(roost ssh-copy-id alice@tiny -i "$TMPDIR/mine.pub")"
check_json "in JSON" '.added == 0 and .present == 1' "$(roost ssh-copy-id tiny -i "$TMPDIR/mine" --json)"
check_eq "nothing is added twice" 1 "$(roost ssh tiny cat .ssh/authorized_keys | grep -cF "$(cut -d ' ' -f 2 "$TMPDIR/mine.pub")")"
if command -v ssh >/dev/null; then
	roost ssh-config tiny >"$TMPDIR/ssh_config"
	check_eq "OpenSSH logs in with it" alice "$(ssh -F "$TMPDIR/ssh_config" -o IdentityAgent=none -o IdentitiesOnly=yes \
		-i "$TMPDIR/mine" tiny.roost id -un 2>&1)"
fi
check_status 5 roost ssh-copy-id mallory@tiny -i "$TMPDIR/mine"
check_match "who cannot log in" "guest 'tiny': .*login" "$out"

# --- what else the ladder can meet there: the definition is read anew by each wait
redefine() {
	definition "$1" >"$TMPDIR/tiny.yaml"
	roost define "$TMPDIR/tiny.yaml" >/dev/null
}
# What a rung may take: time for a login or two, and no more, for each such wait lasts that long; a machine that stands still
# just then gets more.
times="$((2 + E2E_PATIENCE)) $((5 + 5 * E2E_PATIENCE))"
# told STATUS REGEX RUNG READY: what is told ($out) of that rung, which is not reached within TIME
told() {
	told_since=$(now_ms)
	for time in $times; do
		redefine "$(echo "$4" | sed "s/TIME/${time}s/")"
		status=0
		out=$(roost wait -q tiny --for "$3" 2>&1) || status=$?
		[ $status -ne "$1" ] || ! printf '%s\n' "$out" | grep -Eq -e "$2" || break
	done
	check_eq "its status" "$1" $status
	check_match "what is told" "$2" "$out"
	check_time "that" 15000 "$told_since"
}
say probes
told 6 'no-such-flag.* status 3' probes "{probes: ['test -e /run/no-such-flag || { echo nothing to see; exit 3; }'], deadlines: {probes: TIME}}"
check_match "rung and probe" "did not reach 'probes'.*" "$out"
check_match "what it wrote" 'nothing to see' "$out"
redefine '{probes: ["test -e /etc/inittab", "hostname | grep -x wonderland"]}'
check_eq "probes that succeed" "Guest 'tiny' has reached 'probes'" "$(roost wait -q tiny)"
told 6 'does not end' probes "{probes: ['sleep 1000'], deadlines: {probes: TIME}}"

say "login refused"
told 5 "did not reach 'login'.*(user does not exist|authorized_keys)" login "{user: mallory, deadlines: {login: TIME}}"
check_match "evidence" '\| login: .*mallory' "$out"
ssh-keygen -q -t ed25519 -N '' -f "$TMPDIR/other-key" 2>/dev/null || : >"$TMPDIR/no-keygen"
if [ ! -e "$TMPDIR/no-keygen" ]; then
	told 5 "did not reach 'login'" login "{user: alice, identity: $TMPDIR/other-key, deadlines: {login: TIME}}"
fi
redefine '{user: alice}'
roost wait -q tiny --for login

say "another host key than the one issued"
record=$ROOST_STATE/guests/tiny/guest.json
cp "$record" "$TMPDIR/record"
key=$(python3 -c 'import base64, os
print(base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + os.urandom(32)).decode())')
grep -q '"host_key"' "$record"
for time in $times; do
	sed 's|\("host_key": *"ssh-ed25519 \)[^ "]*|\1'"$key"'|; s|"user":"alice"|&,"deadlines":{"hostkey":'"$time"'000}|' \
		"$TMPDIR/record" >"$TMPDIR/impostor"
	cmp -s "$TMPDIR/impostor" "$TMPDIR/record" && fail "the record was not changed: $(cat "$record")"
	cat "$TMPDIR/impostor" >"$record"
	status=0
	out=$(roost wait -q tiny --for login --timeout $((2 * time))s 2>&1) || status=$?
	[ $status -ne 5 ] || break
done
check_eq "its status" 5 $status
check_match "rung and cause" "did not reach 'hostkey'.*host key.*another machine" "$out"
check_status 255 roost ssh tiny touch /tmp/impostor
check_match "ssh" 'host key' "$out"
out=$(roost scp "$TMPDIR/noise" tiny:/tmp/impostor 2>&1) && fail "scp to an impostor succeeded"
cat "$TMPDIR/record" >"$record"
check_status 1 roost ssh tiny test -e /tmp/impostor

say "a reboot begins a new timeline"
roost reboot tiny --timeout $((60 * E2E_PATIENCE))s
check_eq "the timeline" "process qmp running" "$(roost timeline tiny --json | jq -r 'keys_unsorted | map(select(. != "console")) | join(" ")')"
roost wait tiny --for login
check_json "wait has filled it" '.login > .banner and .banner > 500' "$(roost timeline tiny --json)"
