#!/bin/sh
# user: nobody
# A plain user's own instance: where it keeps guests without being told, and what it says when it cannot: no home, a
# path that no socket can have, a folder of somebody else.
. "$TOP/tests/e2e/lib.sh"
keep_state=$ROOST_STATE keep_run=$ROOST_RUN
boot=$(cut -c 1-8 /proc/sys/kernel/random/boot_id)

say "no home"
printf "name: any\ninterfaces: []\n" >"$TMPDIR/any.yaml"
for verb in "list --all" "domstate x" "start x" "define $TMPDIR/any.yaml"; do
	# shellcheck disable=SC2086 # several words are meant
	check_status 7 env -u HOME -u ROOST_STATE -u ROOST_RUN -u XDG_DATA_HOME roost $verb
	check_match "roost $verb" "there is no home folder to keep guests in" "$out"
	check_match "what to do" "set HOME, or ROOST_STATE" "$out"
	# shellcheck disable=SC2086 # several words are meant
	check_status 7 env -u ROOST_STATE -u ROOST_RUN -u XDG_DATA_HOME HOME=/nonexistent roost $verb
done
for variable in ROOST_STATE ROOST_RUN; do
	check_status 2 env $variable=relative/path roost list
	check_match "which" "$variable='relative/path' is not an absolute path" "$out"
done
check_status 0 env -u HOME roost list
check_status 0 env -u HOME -u ROOST_STATE roost version
check_status 0 env -u HOME -u ROOST_STATE roost help

say "in the home"
unset ROOST_STATE ROOST_RUN
export HOME="$TMPDIR/home"
mkdir "$HOME"
check_status 0 roost list --all
pico homely
share=$HOME/.local/share/roost
[ -f "$share/guests/homely/guest.json" ] || fail "its record is not below the home: $(find "$HOME")"
roost start homely
[ -S "$share/run/$boot/roostd.sock" ] || fail "no socket where it belongs: $(find "$share")"
export ROOST_RUN="$share/run/$boot" ROOST_STATE="$share"
check_eq "its keeper serves" running "$(qmp "$(run_dir homely)/guest.sock" query-status | jq -r .status)"
wait_until 20 console_has homely PICO-UP
check_eq "nothing for others" "" "$(find "$share" -perm /077 ! -type d)$(find "$share" -perm /066)"
unset ROOST_STATE ROOST_RUN
roost destroy homely
XDG_DATA_HOME=$TMPDIR/xdg
export XDG_DATA_HOME
mkdir "$XDG_DATA_HOME"
check_eq "another place, other guests" "" "$(roost list --all --name)"
roost define "$TMPDIR/homely.yaml"
[ -f "$XDG_DATA_HOME/roost/guests/homely/guest.json" ] || fail "XDG_DATA_HOME does not count"
unset XDG_DATA_HOME
# these two instances' roostds have no ROOST_RUN in their environment, by which lib.sh would find them
for run in "$share/run/$boot" "$TMPDIR/xdg/roost/run/$boot"; do
	"$TOP/tests/e2e/qmp" "$run/roostd.sock" roost-quit >/dev/null
done
export ROOST_STATE="$keep_state" ROOST_RUN="$keep_run"

say "a path too long for a socket"
# 80 bytes leave room for /g/ID/guest.sock; one more does not, and that is told before there is a guest
short=$TMPDIR/$(printf 'd%.0s' $(seq $((79 - ${#TMPDIR}))))
for long in "${short}d" "$short$short"; do
	for verb in "list" "define $TMPDIR/homely.yaml"; do
		# shellcheck disable=SC2086 # several words are meant
		check_status 2 env ROOST_RUN="$long" roost $verb
		check_match "what is too long" "'$long' has ${#long} bytes, sockets leave room for 80" "$out"
		check_match "what to do" "set ROOST_RUN to a folder with a shorter path" "$out"
	done
	check_eq "nothing was made" "" "$(ls -d "$long" "$ROOST_STATE" 2>/dev/null)"
done
ROOST_RUN=$short
roost define "$TMPDIR/homely.yaml"
roost start homely
wait_until 20 console_has homely PICO-UP
roost destroy homely
"$TOP/tests/e2e/qmp" "$ROOST_RUN/roostd.sock" roost-quit >/dev/null
ROOST_RUN=$keep_run

say "somebody else's folder"
check_status 7 env ROOST_RUN=/root/x ROOST_STATE="$TMPDIR/elsewhere" roost define "$TMPDIR/homely.yaml"
check_match "which" "/root/x" "$out"
check_status 7 env ROOST_STATE=/proc/x roost define "$TMPDIR/homely.yaml"
check_match "which" "/proc/x" "$out"
