#!/bin/sh
# roost validate: one row per check, remedies only where something is lacking, 1 if all guests are concerned.
. "$TOP/tests/e2e/lib.sh"

check_status 0 roost validate
check_match "text" '^PASS  qemu +.*version [0-9]' "$out"

json=$(roost validate --json)
for name in qemu qemu-features programs state run kvm nested kernel memfd seccomp landlock user-namespaces cgroup tun vhost-net vhost-vsock fuse iommu dnsmasq uplink inotify huge-pages uefi tpm log-out; do
	check_json "$name" "map(select(.name == \"$name\")) | length == 1" "$json"
done
check_json "results" 'all(.result == "PASS" or .result == "WARN")' "$json"
check_json "details" 'all(.detail != "")' "$json"
check_json "remedies" 'all((.result == "PASS") == (.remedy == ""))' "$json"

say "what all guests need and is not there"
check_status 1 env ROOST_QEMU=/nonexistent/qemu roost validate
check_match "no QEMU" '^FAIL  qemu .*/nonexistent/qemu' "$out"
check_status 1 env ROOST_QEMU=/bin/true roost validate
check_match "another program" '^FAIL  qemu .*does not tell a version' "$out"
check_status 1 env ROOST_STATE=/etc/passwd/roost roost validate
check_match "state" '^FAIL  state ' "$out"
check_status 1 env ROOST_RUN="$TMPDIR/$(printf '%090d' 0)" roost validate
check_match "sockets" '^FAIL  run .*sockets leave room' "$out"

printf '#!/bin/sh\necho "QEMU emulator version 5.2.0"\n' >"$TMPDIR/old"
mkdir "$TMPDIR/path"
printf '#!/bin/sh\necho "something else 1.0"\n' >"$TMPDIR/path/qemu-img"
chmod +x "$TMPDIR/old" "$TMPDIR/path/qemu-img"
out=$(ROOST_QEMU="$TMPDIR/old" PATH="$TMPDIR/path:$PATH" roost validate || :)
check_match "an old one" '^WARN  qemu .*5.2.0: roost is tested with 7.2 and later' "$out"
check_match "and what to do" '-> install a newer qemu-system-x86' "$out"
check_match "another qemu-img" '^WARN  qemu-img ' "$out"

# remedy NAME [COMMAND...]: what its row tells to do
remedy() {
	remedy_row=$1
	shift
	"$@" roost validate --json | jq -r ".[] | select(.name == \"$remedy_row\").remedy"
}
say "remedies"
# shellcheck disable=SC2016 # for that shell
check_eq "user namespaces" '`sudo sysctl user.max_user_namespaces=10000`' \
	"$(remedy user-namespaces unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"' sh)"
if [ "$(id -u)" -eq 0 ]; then
	mknod -m 600 "$TMPDIR/fuse" c 10 229
	[ -e /dev/fuse ] || touch /dev/fuse
	mount --bind "$TMPDIR/fuse" /dev/fuse
	# shellcheck disable=SC2016 # the backquotes are roost's
	check_eq "a device that everybody may open" '`sudo chmod 666 /dev/fuse`' \
		"$(remedy fuse setpriv --reuid nobody --clear-groups env ROOST_STATE=/tmp ROOST_RUN=/tmp)"
	umount /dev/fuse
	for chain in 'policy drop ;' '; counter drop'; do
		nft "add table inet mine; add chain inet mine passing { type filter hook forward priority 0 ; ${chain%;*}; }"
		[ -z "${chain#*;}" ] || nft add rule inet mine passing "${chain#*;}"
		check_match "a firewall that drops" 'nft insert rule inet mine passing iifname' "$(remedy uplink)"
		eval "$(remedy uplink | tr -d '`')"
		check_eq "no more, when that was done" "" "$(remedy uplink)"
		nft delete table inet mine
	done
fi

say "programs that were left out for want of their libraries: each by name"
cp -R "$TOP/build/bin" "$TOP/build/libexec" "$TMPDIR/"
for program in ssh image disk digest fetch sysprep xml net; do
	rm -f "$TMPDIR/libexec/roost/roost-$program"
done
json=$("$TMPDIR/bin/roost" validate --json)
for program in ssh image disk digest fetch sysprep xml net; do
	check_json "roost-$program" ".[] | select(.name == \"programs\") | .result == \"WARN\" and (.detail | test(\"roost-$program \"))" "$json"
done
check_json "and the libraries" '.[] | select(.name == "programs").remedy | test("libssh-dev.*libext2fs-dev.*libnftables-dev and build again$")' "$json"
check_match "and what then does not work" '^WARN  programs .*roost-digest \([^)]+\)' "$("$TMPDIR/bin/roost" validate)"

say "a program that never answers"
printf '#!/bin/sh\nexec sleep 30\n' >"$TMPDIR/mute"
chmod +x "$TMPDIR/mute"
start=$(now_ms)
check_status 1 env ROOST_QEMU="$TMPDIR/mute" roost validate
check_time "a mute QEMU" 8000 "$start"
