#!/bin/sh
# A guest's ports from the host: `roost dial`, and OpenSSH's own ssh, scp and rsync by the block of `roost ssh-config`.
# limit: 120
. "$TOP/tests/e2e/lib.sh"
need tiny-vmlinux tiny-initrd
for program in ssh scp rsync; do
	command -v $program >/dev/null || lacking $program
done

# tiny NAME INTERFACE: defines a Linux guest with this one
tiny() {
	cat >"$TMPDIR/$1.yaml" <<-END
		name: $1
		memory: 192M
		kernel: $GUESTS/tiny-vmlinux
		initrd: $GUESTS/tiny-initrd
		cmdline: console=ttyS0 quiet
		interfaces:
		  - $2
		cloud_init: {user: alice, hostname: $1}
	END
	roost define "$TMPDIR/$1.yaml"
}
# openssh COMMAND...: with the block alone
openssh() {
	openssh_program=$1
	shift
	"$openssh_program" -q -F "$TMPDIR/config" "$@"
}
# rsync_into HOST: the guest has no rsync of its own: it gets the host's, with the libraries that it wants
rsync_into() {
	mkdir "$TMPDIR/rsync"
	# shellcheck disable=SC2046
	cp $(command -v rsync) $(ldd "$(command -v rsync)" | grep -o '/[^ ]*') "$TMPDIR/rsync"
	openssh scp -r "$TMPDIR/rsync" "$1:/tmp"
	loader=$(basename "$(ldd "$(command -v rsync)" | grep -o '/[^ ]*/ld-[^ ]*')")
	mkdir -p "$TMPDIR/tree/below"
	echo deep >"$TMPDIR/tree/below/file"
	rsync -a -e "ssh -q -F $TMPDIR/config" --rsync-path "/tmp/rsync/$loader --library-path /tmp/rsync /tmp/rsync/rsync" \
		"$TMPDIR/tree" "$1:"
	check_eq "rsync" deep "$(openssh ssh "$1" cat tree/below/file </dev/null)"
}
# by_openssh NAME
by_openssh() {
	roost ssh-config >"$TMPDIR/config"
	check_eq "ssh, as the definition's user" "alice $1" "$(openssh ssh "$1.roost" "id -un; hostname" </dev/null | xargs)"
	echo hello >"$TMPDIR/file"
	openssh scp "$TMPDIR/file" "$1.roost:copied"
	openssh scp "$1.roost:copied" "$TMPDIR/back"
	check_eq "scp" hello "$(cat "$TMPDIR/back")"
	rsync_into "$1.roost"
	# the same machine under the name of another guest has not that one's key
	check_status 255 ssh -F "$TMPDIR/config" -o "ProxyCommand=roost dial --fd $1 22" other.roost true
	check_match "a host key that is not the issued one" 'Host key verification failed' "$out"
}

say "words"
tiny other 'user: {restrict: true, hostfwd: ["-22"]}'
check_status 5 roost dial other 22
check_match "not running" "'other' is not running" "$out"
check_status 3 roost dial nobody.roost 22
check_status 2 roost dial other 0
check_match "its key" '^other\.roost,\[other\.roost\]:\* ssh-ed25519 AAAA' "$(roost ssh-config --known-hosts other)"
check_json "in JSON" '.[0] | .host == "other.roost" and .user == "alice" and (.host_key | startswith("ssh-ed25519"))' \
	"$(roost ssh-config --json other.roost)"

say "user networking"
tiny web 'user: {restrict: true, hostfwd: ["-22"]}'
roost run -q "$TMPDIR/web.yaml"
check_match "what the guest says, until it has said all" '^SSH-2.0' "$(roost dial web 22 </dev/null | head -n 1)"
check_status 5 roost dial web 80
check_match "no way there" "leads to|forwards a port to its port 80" "$out"
check_status 7 roost dial --fd web 22 </dev/null
by_openssh web
