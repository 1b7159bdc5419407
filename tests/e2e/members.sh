# shellcheck shell=sh
# For tests of the group `roost`: alice is in it, bob is not. The system's folders are the usual ones, private to a mount
# namespace, and so is /etc. To be sourced first of all, and by root; lib.sh comes with it.
set -eu
if [ "${MEMBERS_INSIDE-}" != yes ]; then
	[ "$(id -u)" -eq 0 ] || { echo "skip: needs root" && exit 77; }
	MEMBERS_INSIDE=yes exec unshare --mount sh "$0" "$@"
fi

# before lib.sh has a look at them
mkdir "$TMPDIR/lib" "$TMPDIR/run" "$TMPDIR/home" "$TMPDIR/home/alice" "$TMPDIR/home/bob"
chmod 755 "$TMPDIR" "$TMPDIR/lib" "$TMPDIR/run" "$TMPDIR/home"
chown 54322:54322 "$TMPDIR/home/alice"
chown 54323:54323 "$TMPDIR/home/bob"
# a copy of all of /etc: a bind mount on one file of it would vanish when somebody outside replaces that file
cp -a /etc "$TMPDIR/etc"
{
	sed '/^roost:/d' /etc/group
	printf 'roost:x:54320:alice\nalice:x:54322:\nbob:x:54323:\n'
} >"$TMPDIR/etc/group"
printf '%s:x:%d:%d::%s:/bin/sh\n' alice 54322 54322 "$TMPDIR/home/alice" bob 54323 54323 "$TMPDIR/home/bob" >>"$TMPDIR/etc/passwd"
mount --bind "$TMPDIR/etc" /etc
mount --bind "$TMPDIR/lib" /var/lib
mount --bind "$TMPDIR/run" /run
export ROOST_STATE=/var/lib/roost ROOST_RUN=/run/roost
. "$TOP/tests/e2e/lib.sh"

# old_names NAME...: roost answers to them, and /var/lib/libvirt/images is as `roost compat --install` makes it
# shellcheck disable=SC2034 # $images is for those who source this
old_names() {
	mkdir "$TMPDIR/bin"
	chmod 755 "$TMPDIR/bin"
	for old_name; do
		ln -s "$(command -v roost)" "$TMPDIR/bin/$old_name"
	done
	PATH=$TMPDIR/bin:$PATH
	images=/var/lib/libvirt/images
	mkdir -p $images
	chgrp roost $images
	chmod 2771 $images
}
# end_roostd USER: of his own instance in this test; another test has users of the same number. There may be two, one of them ending.
end_roostd() {
	for end_pid in $(pgrep -u "$1" -x roostd --ns $$ --nslist net); do
		kill "$end_pid" 2>/dev/null || :
		wait_until 5 ended "$end_pid"
	done
}
# as USER COMMAND...: after a log-in of his own; `roost` finds its folders by itself
as() {
	as_user=$1
	shift
	setpriv --reuid "$as_user" --regid "$as_user" --init-groups \
		env -i PATH="$PATH" LC_ALL=C HOME="$TMPDIR/home/$as_user" "$@"
}
