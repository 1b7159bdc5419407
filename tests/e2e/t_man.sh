#!/bin/sh
# The manual pages: every verb, option, key and command is in them, groff, man and mandoc have nothing to say against
# them, and the example in roost-definition(5) is a good definition.
. "$TOP/tests/e2e/lib.sh"
cd "$TMPDIR"

# page NAME.SECTION: into a file of that name
page() {
	roost help --man "$1" >"./$1"
	[ -s "$1" ] || fail "$1 is empty"
}
# checked NAME.SECTION: nothing to say but that a page is not installed
checked() {
	if command -v mandoc >/dev/null; then
		check_eq "mandoc on $1" "" "$(mandoc -T lint -W style "$1" 2>&1 | grep -v 'referenced manual not found' || :)"
	fi
	if command -v groff >/dev/null; then
		check_eq "groff on $1" "" "$(groff -mdoc -ww -T utf8 -z "$1" 2>&1)"
	fi
}

say "roost(1)"
page roost.1
checked roost.1
check_eq "it is what --man says without a word" "$(cat roost.1)" "$(roost help --man)"
roost help --json >help.json
jq -r '.[].name' help.json >verbs
while read -r verb; do
	page=roost-$(printf %s "$verb" | tr ' ' -).1
	grep -q "^[.]It Ic $verb\( \|$\)" roost.1 || fail "roost(1) does not tell of $verb"
	page "$page"
	checked "$page"
	for option in $(jq -r --arg verb "$verb" '.[] | select(.name == $verb) | .options[].name' help.json); do
		grep -q "^[.]It .*Fl Fl $option\( \|$\)" "$page" || fail "$page does not tell of --$option"
	done
done <verbs
check_eq "by two words" "$(cat roost-image-info.1)" "$(roost help --man image-info)"
check_eq "by the verb alone" "$(cat roost-start.1)" "$(roost help --man start)"
check_match "exit codes" '^[.]It 8' "$(cat roost.1)"

say "roost-definition(5)"
page roost-definition.5
checked roost-definition.5
check_status 2 roost define --validate - <<END
name: x
no_such_key_anywhere: 1
END
keys=$(printf '%s\n' "$out" | sed -n 's/.*the keys here are //p' | tr -d ,)
[ "$(printf '%s\n' "$keys" | wc -w)" -gt 20 ] || fail "no keys: $out"
for key in $keys; do
	grep -q "^[.]It Ic $key :" roost-definition.5 || fail "roost-definition(5) does not tell of $key"
done
check_no_match "what is only in guest.json" '^[.]It Ic (issued|file) ' "$(cat roost-definition.5)"
sed -n '/^[.]Bd/,/^[.]Ed/{/^[.][BE]d/d;s/\\-/-/g;s/\\(dq/"/g;p}' roost-definition.5 >example.yaml
check_match "its example" "good definition of guest 'web1'" "$(roost define --validate example.yaml)"

say "roost-qmp(7)"
page roost-qmp.7
checked roost-qmp.7
pico one
roost start one
for command in $(roost qmp one query-commands | jq -r '.[].name') $(qmp "$ROOST_RUN/roostd.sock" query-commands | jq -r '.[].name'); do
	grep -q "^[.]It Ic $command\$" roost-qmp.7 || fail "roost-qmp(7) does not tell of $command"
done

check_status 5 roost qmp one no-such-command
# shellcheck disable=SC2016 # it is the hint's own
hint=$(printf '%s\n' "$out" | sed -n 's/.*`roost help --man \(.*\)` tells which may.*/\1/p')
check_eq "the page that tells which of QEMU's commands may pass" roost-qmp.7 "$hint"
passing=$(sed -n '/^[.]Sh COMMANDS OF QEMU/,/^[.]El/s/^[.]It Ic //p' roost-qmp.7)
check_match "it tells" '^query-\*$' "$passing"
for command in $(printf '%s\n' "$passing" | grep -v -e '\*' -e powerdown); do
	out=$(roost qmp one "$command" 2>&1) || check_no_match "$command" "passed through" "$out"
done

say "man itself"
if command -v man >/dev/null; then
	for page in roost.1 roost-definition.5 roost-qmp.7; do
		check_eq "man --warnings on $page" "" \
			"$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)"
	done
	check_match "it reads" 'roost start web1 --paused' "$(LC_ALL=C.UTF-8 MANWIDTH=80 man -l roost.1 2>/dev/null | col -b)"
fi

say "bad input"
check_status 3 roost help --man no-such-page
check_match "which there are" "roost-definition.5" "$out"
check_status 3 roost help --man roost-start.5
