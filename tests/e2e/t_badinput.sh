#!/bin/sh
# Wrong words at the command line and wrong files behind it: each is refused with the reason, by the exit status that
# says whose fault it is, and changes nothing. Names with commas and headers inside raw disks do no harm.
. "$TOP/tests/e2e/lib.sh"

no_trace() {
	check_eq "$1: guests" "" "$(roost list --all --name)"
	check_eq "$1: files" "" "$(find "$ROOST_STATE/guests" -mindepth 1)"
}
# definition NAME [LINE...]: to standard output, with a blank disk
definition() {
	printf 'name: %s\nmemory: 32M\ninterfaces: []\n' "$1"
	shift
	[ $# -eq 0 ] || printf '%s\n' "$@"
}
# refused_definition STATUS REGEX NAME [LINE...]
refused_definition() {
	refused_status=$1 refused_regex=$2
	shift 2
	definition "$@" >"$TMPDIR/bad.yaml"
	check_status "$refused_status" roost define "$TMPDIR/bad.yaml"
	check_match "defining $1" "$refused_regex" "$out"
}

say "names"
long=$(printf 'a%.0s' $(seq 64))
newline='a
b'
for name in .. . / a/b ../etc "$long" "$newline" gäst 'a b' 'a,b' -rf a..b 12345 .hidden _x 'a%s' "a'b"; do
	jq -n --arg name "$name" '{name: $name, memory: "32M", disks: [{size: "1M"}], interfaces: []}' >"$TMPDIR/bad.json"
	check_status 2 roost define "$TMPDIR/bad.json"
	check_match "name '$name'" 'name' "$out"
	case $name in
	12345) expected=3 ;;
	*) expected=2 ;;
	esac
	for verb in start domstate dominfo destroy logs console undefine; do
		check_status $expected roost $verb -- "$name"
		[ "$(printf '%s\n' "$out" | wc -l)" -le 3 ] || fail "roost $verb '$name' is not told in a line: $out"
	done
done
check_status 2 roost start ""
check_status 2 roost start -rf
check_status 3 roost start nobody-has-defined-this
check_match "its hint" "roost list --all" "$out"
refused_definition 2 'name' "" "disks: [{size: 1M}]"
roost list --all >/dev/null
no_trace "bad names"
jq -n --arg name "${long%a}" '{name: $name, memory: "32M", disks: [{size: "1M"}], interfaces: []}' >"$TMPDIR/good.json"
roost define "$TMPDIR/good.json"
roost start "${long%a}"
roost destroy "${long%a}"
roost undefine --remove-all-storage "${long%a}"

say "sizes"
for size in 0 -1M 1 10X M 1M2 18446744073709551616 99999999999999999999999 9E 1.5M 0x10M 1MM '1M 1M' ''; do
	jq -n --arg size "$size" '{name: "a", memory: $size, disks: []}' >"$TMPDIR/bad.json"
	check_status 2 roost define "$TMPDIR/bad.json"
	check_match "memory '$size'" 'bad.json:3: memory: ' "$out"
	refused_definition 2 'bad.yaml:4: disks\[0\]\.size: ' a "disks: [{size: '$size'}]"
done
refused_definition 2 'vcpus' a "vcpus: 0"
refused_definition 2 'vcpus' a "vcpus: -1"
refused_definition 2 'vcpus' a "vcpus: 100000"

say "verbs and options"
check_status 2 roost strat one
check_match "nearest verb" 'did you mean .roost start.' "$out"
check_status 2 roost xyzzyplugh
check_match "no verb is near" 'roost help' "$out"
check_status 2 roost list --al
check_match "nearest option" 'did you mean --all' "$out"
check_status 2 roost list -x
check_status 2 roost list --all=yes
check_status 2 roost list --all --all
check_status 2 roost list extra
check_status 2 roost start
check_status 2 roost start a b
check_status 2 roost start --
check_status 2 roost logs --tail
check_json "an error as JSON" '.error | .class == "not-found" and .desc and .hint' "$(roost start --json nobody-has-defined-this || :)"
refused_definition 2 "bad.yaml:4: .*memroy.*" a "memroy: 1G"
check_match "nearest key" "did you mean 'memory'" "$out"
refused_definition 2 'bad.yaml:4: ' a "name: b"

say "missing files"
check_status 3 roost define "$TMPDIR/none.yaml"
check_match "which" "none.yaml" "$out"
check_status 2 roost define "$TMPDIR"
refused_definition 3 "bad.yaml:4: .*$TMPDIR/none.raw" a "disks: [{path: none.raw, format: raw}]"
refused_definition 3 "bad.yaml:4: .*none.qcow2" a "disks: [{image: none.qcow2}]"
refused_definition 3 "bad.yaml:4: kernel: .*none" a "kernel: none"
refused_definition 2 "is not a regular file" a "disks: [{path: /dev/zero, format: raw}]"
refused_definition 2 "is not a regular file" a "disks: [{path: $TMPDIR, format: raw}]"
: >"$TMPDIR/empty.yaml"
check_status 2 roost define "$TMPDIR/empty.yaml"
printf 'name: a\n\tmemory: 1G\n' >"$TMPDIR/bad.yaml"
check_status 2 roost define "$TMPDIR/bad.yaml"
check_match "where" "bad.yaml:2" "$out"
head -c 100000 /dev/urandom >"$TMPDIR/bad.yaml"
check_status 2 roost define "$TMPDIR/bad.yaml"
{ printf 'name: a\nmemory: '; yes '[' | head -n 100000 | tr -d '\n'; } >"$TMPDIR/bad.yaml"
check_status 2 roost define "$TMPDIR/bad.yaml"
no_trace "bad definitions"

say "an invalid definition changes nothing"
pico one
cp "$ROOST_STATE/guests/one/guest.json" "$TMPDIR/before.json"
sed 's/32M/48M/; s/format: raw/format: rew/' "$TMPDIR/one.yaml" >"$TMPDIR/bad.yaml"
check_status 2 roost define "$TMPDIR/bad.yaml"
check_match "nearest word" "did you mean 'raw'" "$out"
sed 's/32M/48M/; $a uuid: 01234567-89ab-cdef-0123-456789abcdef' "$TMPDIR/one.yaml" >"$TMPDIR/bad.yaml"
check_status 5 roost define "$TMPDIR/bad.yaml"
cmp "$ROOST_STATE/guests/one/guest.json" "$TMPDIR/before.json" || fail "the record has changed"
check_eq "the guest's files" "events.jsonl guest.json lock" "$(cd "$ROOST_STATE/guests/one" && echo *)"
sed 's/^name: .*/name: ONE/' "$TMPDIR/one.yaml" >"$TMPDIR/bad.yaml"
check_status 5 roost define "$TMPDIR/bad.yaml"
check_match "one DNS name" "differs in case only" "$out"

say "in use"
roost start one
check_status 5 roost start one
check_match "twice" "guest 'one' is running already" "$out"
check_status 5 roost undefine one
check_match "undefine" "guest 'one' is running" "$out"
[ -f "$ROOST_STATE/guests/one/guest.json" ] || fail "it was undefined all the same"
sed 's/^name: .*/name: thief/' "$TMPDIR/one.yaml" >"$TMPDIR/thief.yaml"
roost define "$TMPDIR/thief.yaml"
check_status 4 roost start thief
check_match "one writable disk, two guests" "one\\.raw' is in use by guest 'one', which writes to it" "$out"
check_eq "the thief" "shut off" "$(state thief)"
check_eq "the owner" running "$(state one)"
# who only reads may not see it change under him, either
sed -i 's/^    format: raw/&\n    readonly: true/' "$TMPDIR/thief.yaml"
roost define "$TMPDIR/thief.yaml"
check_status 4 roost start thief
roost destroy one
# two readers do no harm
roost start thief
sed 's/^name: .*/name: other/' "$TMPDIR/thief.yaml" >"$TMPDIR/other.yaml"
roost define "$TMPDIR/other.yaml"
roost start other
check_status 4 roost start one
check_match "a writer beside readers" "one\\.raw' is in use by guest '(other|thief)'" "$out"
roost destroy other
roost destroy thief

say "a port that is taken"
mkfifo "$TMPDIR/hold"
python3 -c '
import socket, sys
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
sys.stdin.read()' <"$TMPDIR/hold" >"$TMPDIR/port" &
holder=$!
exec 8>"$TMPDIR/hold"
wait_until 5 test -s "$TMPDIR/port"
port=$(cat "$TMPDIR/port")
sed "s/^name: .*/name: caller/; s/^interfaces.*/interfaces: [{user: {restrict: true, hostfwd: ['$port-22']}}]/" \
	"$TMPDIR/one.yaml" >"$TMPDIR/caller.yaml"
roost define "$TMPDIR/caller.yaml"
check_status 4 roost start caller
check_match "the port is named" "127\\.0\\.0\\.1:$port" "$out"
check_eq "before any boot" 0 "$(find "$ROOST_STATE/guests/caller" -name console.log -size +0 | wc -l)"
exec 8>&-
wait $holder
roost start caller
check_match "the port, now" ":$port " "$(ss -Hltn)"
roost destroy caller

say "backing files"
qemu-img create -q -f qcow2 "$TMPDIR/base.qcow2" 1M
definition over "disks: [{image: base.qcow2}]" >"$TMPDIR/over.yaml"
roost define "$TMPDIR/over.yaml"
mv "$TMPDIR/base.qcow2" "$TMPDIR/away.qcow2"
check_status 3 roost start over
check_match "the base" "$TMPDIR/base.qcow2" "$out"
mv "$TMPDIR/away.qcow2" "$TMPDIR/base.qcow2"
roost start over
roost destroy over
mv "$ROOST_STATE/guests/over/disk0.qcow2" "$TMPDIR/away.qcow2"
check_status 3 roost start over
check_match "the overlay" "disk0.qcow2" "$out"
mv "$TMPDIR/away.qcow2" "$ROOST_STATE/guests/over/disk0.qcow2"
roost start over
roost destroy over

say "images that refer to other files"
echo "the host's secret, which no guest may read" >"$TMPDIR/secret"
truncate -s 1M "$TMPDIR/secret"
qemu-img create -q -f qcow2 -b "$TMPDIR/secret" -F raw "$TMPDIR/backed.qcow2"
refused_definition 5 "backed.qcow2.*backing" a "disks: [{image: backed.qcow2}]"
qemu-img create -q -f qcow2 -o "data_file=$TMPDIR/data,data_file_raw=on" "$TMPDIR/external.qcow2" 1M
refused_definition 5 "external.qcow2.*data file" a "disks: [{image: external.qcow2}]"
definition outside "disks: [{path: external.qcow2, format: qcow2}]" >"$TMPDIR/outside.yaml"
check_status 5 roost define "$TMPDIR/outside.yaml"
check_match "by path neither" "data file" "$out"
for name in "json:{\"driver\":\"null-co\"}" "nbd://127.0.0.1/x" "fat:rw:/"; do
	qemu-img create -q -f qcow2 "$TMPDIR/odd.qcow2" 1M
	qemu-img rebase -u -f qcow2 -F raw -b "$name" "$TMPDIR/odd.qcow2"
	refused_definition 5 "odd.qcow2.*backing" a "disks: [{image: odd.qcow2}]"
	definition outside "disks: [{path: odd.qcow2, format: qcow2}]" >"$TMPDIR/outside.yaml"
	check_status 5 roost define "$TMPDIR/outside.yaml"
	check_match "by path neither" "odd.qcow2.*backing" "$out"
done

say "a raw disk stays raw, whatever the guest has written into it"
cp "$TMPDIR/backed.qcow2" "$TMPDIR/header.raw"
truncate -s 1M "$TMPDIR/header.raw"
definition header "disks: [{path: header.raw, format: raw}]" >"$TMPDIR/header.yaml"
roost define "$TMPDIR/header.yaml"
roost start --paused header
check_json "its format" '[.[] | select(."node-name" == "vda")] | .[0].drv == "raw" and .[0].image."virtual-size" == 1048576' \
	"$(roost qmp header query-named-block-nodes)"
check_no_match "QEMU's files" "secret" "$(find "/proc/$(of_status header qemu_pid)/fd" -printf '%l\n')"
roost destroy header
qemu-img create -q -f qcow2 "$TMPDIR/lie.qcow2" 1M
refused_definition 2 "the image '.*lie.qcow2' is qcow2" a "disks: [{image: lie.qcow2, format: raw}]"
refused_definition 2 "'path' without 'format'" a "disks: [{path: lie.qcow2}]"
cp "$GUESTS/pico.raw" "$TMPDIR/plain.raw"
definition liar "disks: [{path: plain.raw, format: qcow2}]" >"$TMPDIR/liar.yaml"
check_status 2 roost define "$TMPDIR/liar.yaml"
check_match "no qcow2" "plain.raw" "$out"

say "commas"
odd="$TMPDIR/x,readonly=off,if=none.raw"
cp "$GUESTS/pico.raw" "$odd"
definition comma "disks: [{path: '$odd', format: raw, readonly: true, serial: 'odd-one'}]" >"$TMPDIR/comma.yaml"
roost define "$TMPDIR/comma.yaml"
roost start comma
wait_until 20 console_has comma PICO-UP
check_json "it is read-only" '.[] | select(.qdev | contains("disk-vda")) | .inserted.ro' "$(roost qmp comma query-block)"
check_eq "its serial number" '"odd-one"' "$(roost qmp comma qom-get '{"path": "disk-vda", "property": "serial"}' | jq .)"
cmp "$odd" "$GUESTS/pico.raw" || fail "the guest wrote to a disk that it may only read"
check_match "domblklist" "vda +$TMPDIR/x,readonly=off" "$(roost domblklist comma)"
roost destroy comma

say "whose files"
# a start that fails before the keeper has dropped its rights must not leave files that it cannot write later
for file in "$ROOST_STATE"/guests/*/*; do
	case $file in
	*/guest.json | */lock) check_eq "the owner of $file" "$(id -u)" "$(stat -c %u "$file")" ;;
	*) check_eq "the owner of $file" "$(stat -c %u "${file%/*}")" "$(stat -c %u "$file")" ;;
	esac
done
check_json "the events of one that never started" '.event == "ROOST_ENDED"' "$(roost logs --events --tail 1 liar)"

say "errors as JSON, wherever the word for it stands"
roost help --json | jq -r '.[].name' >"$TMPDIR/verbs"
while read -r verb; do
	for words in "--bogus --json" "--json --bogus" "nosuch --bogus --json" "--json a b c d e f --bogus"; do
		# shellcheck disable=SC2086 # several words are meant
		json=$(roost $verb $words 2>"$TMPDIR/stderr" </dev/null) && fail "roost $verb $words has succeeded"
		check_json "roost $verb $words" '.error.class and .error.desc' "$json"
		check_eq "roost $verb $words: its standard error" "" "$(cat "$TMPDIR/stderr")"
	done
done <"$TMPDIR/verbs"
check_json "no such verb" '.error.class == "usage"' "$(roost nosuch --json || :)"
check_json "define --validate --json" '.valid and .name == "comma"' "$(roost define --json --validate "$TMPDIR/comma.yaml")"
check_status 7 sh -c 'roost help >/dev/full'

say "who reads has gone: as in \`roost help | head -n 1\`, ended by SIGPIPE and nothing said"
python3 -c '
import os, subprocess
reads, writes = os.pipe()
os.close(reads)
ended = subprocess.run(["roost", "help"], stdout=writes, stderr=subprocess.PIPE)
print(ended.returncode, ended.stderr.decode())' >"$TMPDIR/unread"
check_eq "ended by" "-13 " "$(cat "$TMPDIR/unread")"

say "the usage of a command without words"
check_status 2 roost list extra
check_match "it" "usage: roost list; .roost help list. tells more" "$out"
