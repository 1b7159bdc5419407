# shellcheck shell=sh
# What the scripts here share. To be sourced from scripts/ or tests/ after setting `top`, the checkout's folder.

# die TEXT...: to standard error with the script's name, and out
die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

have() {
	command -v "$1" >/dev/null 2>&1
}

# as_user COMMAND...: under sudo, what belongs into the checkout is made by the user who called sudo, never by root.
as_user() {
	if [ "$(id -u)" -ne 0 ] || [ "${SUDO_UID:-0}" -eq 0 ]; then
		"$@"
		return
	fi
	as_user_home=$(getent passwd "$SUDO_UID" | cut -d : -f 6)
	env HOME="${as_user_home:-/nonexistent}" USER="$SUDO_USER" LOGNAME="$SUDO_USER" \
		setpriv --reuid "$SUDO_UID" --regid "$SUDO_GID" --init-groups "$@"
}

now_ms() {
	echo $(($(date +%s%N) / 1000000))
}

# seconds SINCE_MS: "12.3"
seconds() {
	seconds_ms=$(($(now_ms) - $1))
	echo "$((seconds_ms / 1000)).$((seconds_ms % 1000 / 100))"
}
