#!/bin/sh
# A definition as people see it: `dumpyaml` prints what defines the same guest again, `edit` gives it to an editor and
# loses no text, `desc` says what a guest is for. What roost issued stays, by `edit` as by `define`.
. "$TOP/tests/e2e/lib.sh"
export TMPDIR="$TMPDIR/a folder"
mkdir "$TMPDIR"
cd "$TMPDIR"

record() {
	jq -S . "$ROOST_STATE/guests/$1/guest.json"
}
# of_record GUEST FILTER
of_record() {
	jq -c "$2" "$ROOST_STATE/guests/$1/guest.json"
}
# an editor that is this script; the file is $1
editor() {
	cat >"$TMPDIR/editor" && chmod +x "$TMPDIR/editor"
	export EDITOR="'$TMPDIR/editor'"
}
# nothing_left: of what was given to editors
nothing_left() {
	check_eq "texts that were left" "" "$(find "$TMPDIR" -name 'roost-*')"
}
# kept: the file that the last error names, in $kept
kept() {
	kept=$(printf '%s\n' "$out" | sed -n 's/.*your text is kept: //p')
	[ -s "$kept" ] || fail "no text is kept: $out"
}

cat >web.yaml <<END
name: web
memory: 32M
max_memory: 64M
max_vcpus: 2
accel: tcg
disks:
  - size: 1M
  - size: 2M
    serial: two
interfaces:
  - user: {restrict: true, hostfwd: ["-22"]}
  - user: {restrict: true}
    model: e1000e
ready: {rung: running, deadlines: {console: 90s}}
END
roost define web.yaml
before=$(record web)
same() {
	check_eq "guest.json" "$before" "$(record web)"
}

say dumpyaml
roost dumpyaml web >dump.yaml
check_match "sizes as people write them" '^memory: 32M$' "$(cat dump.yaml)"
check_match "times, too" '^    console: 90s$' "$(cat dump.yaml)"
check_no_match "nothing that only guest.json has" 'issued|keeper|disk0' "$(cat dump.yaml)"
roost define dump.yaml
same
check_json "--json" '.memory == 33554432' "$(roost dumpyaml web --json)"
check_status 3 roost dumpyaml nosuch

say "edit: no change"
EDITOR=true
export EDITOR
check_eq "nothing done" "Guest 'web' not changed" "$(roost edit web)"
EDITOR="sed -i 's/^#.*/# other words, same meaning/; s/^memory:.*/memory: 32768K/'"
check_eq "other words" "Guest 'web' not changed" "$(roost edit web)"
same
check_json "--json" '.changed == false' "$(roost edit web --json)"
nothing_left

say "edit: a change"
EDITOR='sed -i s/^memory:.*/memory:\ 48M/'
check_eq "told" "Guest 'web' changed" "$(roost edit web)"
check_eq "nothing but that" "$(printf '%s\n' "$before" | jq -S '.memory = 50331648')" "$(record web)"
EDITOR=false VISUAL='sed -i s/^memory:.*/memory:\ 32M/' roost edit web
same
nothing_left

say "edit: what roost issued stays, whoever leaves it out"
EDITOR="sed -i '/^uuid:/d; /mac:/d'"
roost edit web
same
sed '/^uuid:/d; /mac:/d' dump.yaml >less.yaml
roost define less.yaml
same
EDITOR="sed -i 's/^uuid: .*/uuid: 12345678-1234-1234-1234-123456789abc/'"
check_status 5 roost edit web
check_match "another UUID" 'exists already, with the UUID' "$out"
kept
check_match "the text" '^uuid: 12345678-' "$(cat "$kept")"
rm "$kept"
same
second=$(of_record web '.interfaces[1].mac')
editor <<'END'
#!/bin/sh
awk '/^interfaces:/ { within = 1 } /^- user:/ && within && !done { skip = 1; done = 1; next } /^[-a-z]/ { skip = 0 } !skip' "$1" >"$1.new"
mv "$1.new" "$1"
END
roost edit web
check_eq "the first interface is taken out, the second keeps its address" "[$second]" "$(of_record web '[.interfaces[].mac]')"
roost define web.yaml
check_eq "two interfaces of two addresses" 2 "$(of_record web '[.interfaces[].mac] | unique | length')"

say "edit: disks stay behind their targets"
check_eq "two files" '["disk0.qcow2","disk1.qcow2"]' "$(of_record web '[.disks[].file]')"
editor <<'END'
#!/bin/sh
awk '/^disks:/ { within = 1 } /^- size: 1M/ { skip = 1; next } /^[-a-z]/ { skip = 0 } !skip' "$1" >"$1.new"
mv "$1.new" "$1"
END
roost edit web
check_eq "the first one is taken out" '[["vdb","two","disk1.qcow2"]]' "$(of_record web '[.disks[] | [.target, .serial, .file]]')"
EDITOR="sed -i 's/^disks:/disks:\n- size: 1M\n  target: vda\n- size: 3M\n  target: vdc/'"
roost edit web
check_eq "and is there again, with a third one" '[["vda","disk0.qcow2"],["vdc","disk2.qcow2"],["vdb","disk1.qcow2"]]' \
	"$(of_record web '[.disks[] | [.target, .file]]')"

say "edit: a running guest"
pico on
roost start on
EDITOR='sed -i s/memory:.*/memory:\ 64M/'
check_eq "told" "Guest 'on' changed; it takes effect at its next start" "$(roost edit on)"
check_json "not yet" '.[0].memory == 33554432' "$(roost list --json)"
roost destroy on
roost start on
check_json "now" '.[0].memory == 67108864' "$(roost list --json)"
roost destroy on

say "edit: mistakes"
before=$(record on)
unchanged() {
	check_eq "guest.json" "$before" "$(record on)"
}
EDITOR='sed -i s/^memory:.*/memory:\ lots/'
check_status 2 roost edit on
check_match "line and key" '\.yaml:[0-9]+: memory: ' "$out"
kept
check_match "the text" '^memory: lots' "$(cat "$kept")"
rm "$kept"
EDITOR='sed -i s/^name:.*/name:\ off/'
check_status 5 roost edit on
check_match "what renames" 'roost domrename on off' "$out"
kept && rm "$kept"
EDITOR=false
check_status 7 roost edit on
check_match "the editor failed" "editor 'false' exited with status 1" "$out"
nothing_left
editor <<'END'
#!/bin/sh
echo "# half done" >>"$1"
exit 3
END
check_status 7 roost edit on
kept
check_match "the text" 'half done' "$(cat "$kept")"
rm "$kept"
EDITOR=/no/such/editor
check_status 7 roost edit on
nothing_left
EDITOR='rm -f'
check_status 3 roost edit on
editor <<'END'
#!/bin/sh
roost setmaxmem on 128M
sed -i 's/^vcpus:.*/vcpus: 2/' "$1"
END
check_status 4 roost edit on
check_match "somebody else" 'was changed by somebody else meanwhile' "$out"
kept && rm "$kept"
check_eq "his change stays, ours is not made" '[134217728,1]' "$(of_record on '[.max_memory, .vcpus]')"
check_status 3 roost edit nosuch
nothing_left
(unset EDITOR VISUAL && PATH=$(dirname "$(command -v roost)") roost edit on 2>&1) | grep -q 'set EDITOR' ||
	fail "without any editor nobody is told what to do"

say "edit: again, at a terminal"
# The first time it spoils the text, the second time it mends it.
editor <<'END'
#!/bin/sh
if grep -q 'memory: lots' "$1"; then
	sed -i 's/^memory: lots/memory: 96M/' "$1"
else
	sed -i 's/^memory:.*/memory: lots/' "$1"
fi
END
# at_terminal ANSWER: typed when it is asked for
at_terminal() {
	python3 "$TOP/tests/e2e/answer.py" 'Edit again\?' "$1" roost edit on
}
out=$(at_terminal y)
check_match "asked" 'memory: .*lots' "$out"
check_match "mended" "Guest 'on' changed" "$out"
check_eq "it is" 100663296 "$(of_record on .memory)"
nothing_left
status=0
at_terminal n >given-up || status=$?
out=$(tr -d '\r' <given-up)
check_eq "its status" 2 $status
check_match "given up" 'your text is kept' "$out"
check_eq "unchanged" 100663296 "$(of_record on .memory)"
kept && rm "$kept"

say desc
check_eq "none" "Guest 'on' has no description" "$(roost desc on)"
check_eq "no title" "Guest 'on' has no title" "$(roost desc on --title)"
check_eq "set" "Guest 'on': description changed" "$(roost desc on A guest "that  ticks.")"
roost desc on --title Ticker
check_eq "words are joined" "A guest that  ticks." "$(roost desc on)"
check_eq "the title" Ticker "$(roost desc on --title)"
check_json "--json" '. == {"name": "on", "title": "Ticker", "description": "A guest that  ticks."}' "$(roost desc on --json)"
check_match "in the definition" '^title: Ticker$' "$(roost dumpyaml on)"
editor <<'END'
#!/bin/sh
printf 'It counts,\n  and counts.\n' >>"$1"
END
roost desc on --edit
check_eq "several lines" "A guest that  ticks.
It counts,
  and counts." "$(roost desc on)"
EDITOR=true
check_eq "no change" "Guest 'on': description not changed" "$(roost desc on --edit)"
roost desc on words
check_status 2 roost desc on --title 'two
lines'
check_status 2 roost desc on --title "$(head -c 300 /dev/zero | tr '\0' x)"
check_match "too long" 'title: 300 bytes, 255 are the most' "$out"
check_status 2 roost desc on --edit some text
check_status 3 roost desc nosuch text
check_eq "unharmed" words "$(roost desc on)"
roost desc on ""
check_eq "removed" null "$(of_record on .description)"
EDITOR="sed -i 's/.*/a title/'"
roost desc on --title --edit
check_eq "a title by an editor" "a title" "$(roost desc on --title)"
nothing_left
