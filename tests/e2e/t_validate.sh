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
