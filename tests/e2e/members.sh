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

# as USER COMMAND...: after a log-in of his own; `roost` finds its folders by itself
as() {
	as_user=$1
	shift
	setpriv --reuid "$as_user" --regid "$as_user" --init-groups \
		env -i PATH="$PATH" LC_ALL=C HOME="$TMPDIR/home/$as_user" "$@"
}
