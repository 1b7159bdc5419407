#!/bin/sh
# roost-ssh against OpenSSH, dropbear and servers that misbehave, on a loopback of its own.
# user: root
# limit: 300
#
# By itself: t_ssh.sh [TEST...], with BUILD=folder or ROOST_SSH=program. Needs root (namespaces, and a user of its own to
# log in as), openssh-server, openssh-client, dropbear-bin, python3. The tests are in ssh/.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
ROOST_SSH=$(realpath -m "${ROOST_SSH:-${BUILD:-$here/../../build}/libexec/roost/roost-ssh}")
export ROOST_SSH

skip() {
	echo "skip: $1"
	exit 77
}
# what scripts/install-deps brings: in the CI it is there
lacking() {
	[ -z "${CI-}" ] || { echo "FAILED: there is no $1" && exit 1; }
	skip "there is no $1"
}

if [ "${ROOST_SSH_TEST_INSIDE-}" != yes ]; then
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ -x "$ROOST_SSH" ] || lacking "$ROOST_SSH"
	for program in /usr/sbin/sshd /usr/sbin/dropbear dropbearconvert ssh-keygen ssh-agent python3 pgrep; do
		command -v "$program" >/dev/null || lacking "$program"
	done
	# each part in a world of its own, side by side: most of their time they wait
	export ROOST_SSH_TEST_INSIDE=yes
	folder=$(mktemp -d "${TMPDIR:-/tmp}/ssh-XXXXXX")
	chmod 755 "$folder"
	trap 'rm -rf "$folder"' EXIT
	trap 'exit 1' HUP INT TERM
	for part in climb exec copy login servers; do
		mkdir "$folder/$part"
		ROOST_SSH_TEST_DIR=$folder/$part unshare --net --mount --pid --fork --kill-child --mount-proc \
			sh "$here/t_ssh.sh" $part "$@" >"$folder/$part.log" 2>&1 &
		echo $! >"$folder/$part.pid"
	done
	status=0
	for part in climb exec copy login servers; do
		wait "$(cat "$folder/$part.pid")" || status=$?
		cat "$folder/$part.log"
	done
	exit "$status"
fi

# Inside: nothing here reaches the host. sshd wants /run/sshd; the tests log in as "tester".
ip link set lo up
mount -t tmpfs none /run
mkdir -m 755 /run/sshd
dir=$ROOST_SSH_TEST_DIR
chmod 755 "$dir"
mkdir -m 755 "$dir/home"
chown 54321:54321 "$dir/home"
# a copy of all of /etc: a bind mount on one file of it would vanish when somebody outside replaces that file
cp -a /etc "$dir/etc"
mount --bind "$dir/etc" /etc
echo "tester:x:54321:54321:tester:$dir/home:/bin/sh" >>/etc/passwd
# "open sesame"
# shellcheck disable=SC2016 # dollars of its own
echo 'tester:$6$roost$Cg31IAjkmp7WNt855O9aZ0Q7LBTipywwDV/A2HOB6VrCUUwy0U6Ma1cjAcIBQOl0PVLD.RDv0dlnvGePAvQpA/:19000::::::' >>/etc/shadow
# asked by PAM, but with nothing that a host may have added to it
printf 'auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n' >/etc/pam.d/sshd
# the guest that this host plays has none of its own: what the tests want, they bring along
if [ -e /usr/bin/cloud-init ]; then
	: >"$dir/no-program"
	mount --bind "$dir/no-program" /usr/bin/cloud-init
fi
exec python3 -B "$here/ssh/main.py" "$@"
