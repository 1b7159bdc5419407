#!/bin/sh
# Completion, by the shells themselves: bash's function is called as readline calls it, zsh completes at a terminal, fish
# by its own `complete -C`. What is offered comes out of the verbs' rows.
. "$TOP/tests/e2e/lib.sh"
pico on
pico off
roost start on
mkdir "$TMPDIR/here"
cd "$TMPDIR/here"
touch disk.qcow2 'a file.yaml'

# --- what the shells ask ------------------------------------------------------------------------------------------

# words WORD...: the last one is being typed; without what is said of them, on one line
words() {
	roost completion words -- "$@" | cut -f 1 | paste -s -d ' ' -
}
say "out of the rows"
check_eq "every verb" "$(roost help --json | jq -r '.[].name | sub(" .*"; "")' | uniq | paste -s -d ' ' -)" "$(words '')"
check_eq "verbs" "detach-disk detach-interface" "$(words detach-)"
roost help --json | jq -r '.[].name' >"$TMPDIR/verbs"
while read -r verb; do
	options=$(roost help "$verb" --json | jq -r '.options[] | "--" + .name' | paste -s -d ' ' -)
	# shellcheck disable=SC2086 # it may have two words
	check_eq "options of $verb" "${options:+$options }--json --help" "$(words $verb --)"
done <"$TMPDIR/verbs"
sed -n 's/ .*//p' "$TMPDIR/verbs" | sort -u >"$TMPDIR/firsts"
while read -r first; do
	seconds=$(sed -n "s/^$first //p" "$TMPDIR/verbs" | paste -s -d ' ' -)
	check_eq "verbs of two words" "$seconds" "$(words "$first" '')"
	check_eq "to be helped with" "$seconds" "$(words help "$first" '')"
done <"$TMPDIR/firsts"
check_eq "one that is there is not offered again" "" "$(words start --paused --pa)"
check_eq "nor by its letter" "" "$(words list -a --all)"
check_eq "any guest" "off on" "$(words dominfo '')"
check_eq "guests that run" on "$(words suspend '')"
check_eq "guests that do not" off "$(words start '')"
check_eq "networks" default "$(words net-start '')"
check_eq "what is changed of one" "host publish" "$(words net-update default add '')"
check_eq "one guest is enough" "" "$(words start on '')"
check_eq "behind options" "on" "$(words shutdown --timeout 60s --mode acpi '')"
check_eq "user@" "on" "$(words ssh '')"
check_eq "the command's words are its own" "" "$(words ssh on ls --)"
check_eq "files" ":files" "$(words define '')"
check_eq "files as a second operand" ":files" "$(words attach-disk on '')"
check_eq "to and fro" "on: :files" "$(words scp '')"
check_eq "words of an option" "qcow2 raw" "$(words attach-disk on x --format '')"
check_eq "with =" "--format=qcow2" "$(words attach-disk on x --format=q)"
check_eq "with = as bash has it" "qcow2" "$(words attach-disk on x --format = q)"
check_eq "rungs" "hostkey" "$(words wait on --for h)"
check_eq "words of an operand" "network bridge user" "$(words attach-interface on '')"
check_eq "and what follows" default "$(words attach-interface on network '')"
check_eq "commands to be helped with" "reboot" "$(words help reb)"
check_eq "whose guests" "system session" "$(words -c '')"
check_eq "and then a verb" "reboot" "$(words -c session rebo)"
check_eq "and its guests" "off" "$(words --connect=session start o)"
check_eq "options before any verb" "--connect" "$(words --conn)"
check_eq "nothing is known of it" "" "$(words no-such-verb '')"
check_eq "nothing at all" "" "$(roost completion words)"
check_match "verbs are explained" "^start	Starts a guest" "$(roost completion words -- star)"
check_eq "guests are explained" "on	running" "$(roost completion words -- dominfo on)"

say "bad input"
check_status 2 roost completion csh
check_match "which there are" "bash, zsh and fish" "$out"
check_status 2 roost completion
check_status 2 roost completion bash zsh
check_status 2 roost completion wor ds
check_json "--json" '.shell == "fish" and (.script | length > 100)' "$(roost completion fish --json)"

# --- bash ---------------------------------------------------------------------------------------------------------
say bash
roost completion bash >"$TMPDIR/roost.bash"
# The words to complete are the arguments; the candidates are printed in brackets, sorted.
cat >"$TMPDIR/ask.bash" <<'END'
set -u
source "$1"
shift
COMP_WORDS=(roost "$@")
COMP_CWORD=$#
eval "$(complete -p roost | sed 's/.* -F \([^ ]*\) .*/\1/')" roost "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
[ ${#COMPREPLY[@]} -eq 0 ] || printf '[%s]\n' "${COMPREPLY[@]}" | sort | tr -d '\n'
END
in_bash() {
	bash --norc "$TMPDIR/ask.bash" "$TMPDIR/roost.bash" "$@"
}
bash -n "$TMPDIR/roost.bash"
check_eq "verbs" "[detach-disk][detach-interface]" "$(in_bash detach-)"
check_eq "guests" "[off]" "$(in_bash start '')"
check_eq "options" "[--paused]" "$(in_bash start --p)"
check_eq "files" "[a file.yaml]" "$(in_bash define a)"
check_eq "folders" "[$TMPDIR/here]" "$(in_bash define "$TMPDIR/he")"
check_eq "values" "[raw]" "$(in_bash attach-disk on x --format = r)"
check_eq "guests and files" "[a file.yaml][disk.qcow2][on:]" "$(in_bash scp '')"
check_eq "nothing" "" "$(in_bash frobnicate '')"
check_eq "another word that is running" "" "$(in_bash qmp on '')"

# --- zsh ----------------------------------------------------------------------------------------------------------
say zsh
roost completion zsh >"$TMPDIR/_roost"
if command -v zsh >/dev/null; then
	zsh -n "$TMPDIR/_roost"
	python3 "$TOP/tests/e2e/zsh_tab.py" "$TMPDIR/_roost" <<-END
		roost dominf	=> roost dominfo
		roost start 	=> roost start off
		roost suspend o	=> roost suspend on
		roost start --pa	=> roost start --paused
		roost define a	=> roost define a\\ file.yaml
		roost attach-disk on x --format=q	=> roost attach-disk on x --format=qcow2
		roost attach-disk on disk	=> roost attach-disk on disk.qcow2
		roost scp on	=> roost scp on:
		roost help reboo	=> roost help reboot
	END
else
	echo "no zsh here"
fi

# --- fish ---------------------------------------------------------------------------------------------------------
say fish
roost completion fish >"$TMPDIR/roost.fish"
if command -v fish >/dev/null; then
	fish --no-execute "$TMPDIR/roost.fish"
	# shellcheck disable=SC2016 # it is fish that expands them
	in_fish() {
		fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$TMPDIR/roost.fish" "$1" | paste -s -d ' ' -
	}
	check_eq "verbs" "detach-disk	Unplugs a disk that was plugged." "$(in_fish 'roost detach-d')"
	check_eq "guests" "off	shut off" "$(in_fish 'roost start ')"
	check_eq "options" "--paused	leave its CPUs stopped; \`roost resume\` lets them go" "$(in_fish 'roost start --p')"
	check_eq "files" "disk.qcow2" "$(in_fish 'roost attach-disk on d')"
	check_eq "values" "--format=qcow2" "$(in_fish 'roost attach-disk on x --format=q')"
	check_eq "nothing" "" "$(in_fish 'roost qmp on ')"
else
	echo "no fish here"
fi
