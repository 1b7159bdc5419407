#!/bin/sh
# roost-ssh against real and fake SSH servers on a loopback of its own.
#
#	tests/e2e/ssh.sh [NAME...]      BUILD=folder, or ROOST_SSH=program
#
# Needs root (network and mount namespaces, a user of its own), openssh-server, openssh-client,
# dropbear-bin, python3; without one of them it says so and exits with 77.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
ROOST_SSH=${ROOST_SSH:-$here/../../${BUILD:-build}/libexec/roost/roost-ssh}
case ${BUILD:-} in /*) ROOST_SSH=$BUILD/libexec/roost/roost-ssh ;; esac
export ROOST_SSH

skip() {
	echo "ssh.sh: skipped: $1"
	exit 77
}

if [ "${ROOST_SSH_TEST_INSIDE:-}" != yes ]; then
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ -x "$ROOST_SSH" ] || skip "$ROOST_SSH is not built"
	for program in /usr/sbin/sshd /usr/sbin/dropbear ssh-keygen ssh-agent python3 unshare; do
		command -v "$program" >/dev/null || skip "$program is not installed"
	done
	ROOST_SSH_TEST_DIR=$(mktemp -d /tmp/roost-ssh-test-XXXXXX)
	export ROOST_SSH_TEST_DIR ROOST_SSH_TEST_INSIDE=yes
	status=0
	unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@" || status=$?
	rm -rf "$ROOST_SSH_TEST_DIR"
	exit $status
fi

# Inside: nothing here reaches the host. sshd wants /run/sshd; the tests log in as "tester".
ip link set lo up
mount -t tmpfs none /run
mkdir -m 755 /run/sshd
chmod 755 "$ROOST_SSH_TEST_DIR"
mkdir -m 755 "$ROOST_SSH_TEST_DIR/home"
cat /etc/passwd >"$ROOST_SSH_TEST_DIR/passwd"
echo "tester:x:54321:54321:tester:$ROOST_SSH_TEST_DIR/home:/bin/sh" >>"$ROOST_SSH_TEST_DIR/passwd"
cat /etc/shadow >"$ROOST_SSH_TEST_DIR/shadow"
echo "tester:*:19000::::::" >>"$ROOST_SSH_TEST_DIR/shadow"
chmod 600 "$ROOST_SSH_TEST_DIR/shadow"
chown 54321:54321 "$ROOST_SSH_TEST_DIR/home"
mount --bind "$ROOST_SSH_TEST_DIR/passwd" /etc/passwd
mount --bind "$ROOST_SSH_TEST_DIR/shadow" /etc/shadow
exec timeout --kill-after=10 600 python3 "$here/ssh_tests.py" "$@"
