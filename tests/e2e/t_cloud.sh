#!/bin/sh
# A genuine Debian cloud image, run by one command: its user, its key, the host key that was made for it, the disk grown
# to the size asked for, cloud-init done without an error, systemd content, the agent, its names; a guest whose host key
# has changed is not spoken to; and it powers off when asked.
# user: root
# limit: 600
. "$TOP/tests/e2e/lib.sh"
need cloud.qcow2

sum=$(sha256sum <"$GUESTS/cloud.qcow2")
mkdir -p "$HOME/.ssh"
ssh-keygen -q -t ed25519 -N '' -f "$HOME/.ssh/id_ed25519" </dev/null
echo 'a password' >"$TMPDIR/pw"
printf '#cloud-config\nwrite_files: [{path: /etc/by-vendor, content: vendor}]\n' >"$TMPDIR/vendor"

say "run"
out=$(roost run "$GUESTS/cloud.qcow2" --name deb --memory 512M --size 5G --user ann --accel tcg --restrict \
	--password-file "$TMPDIR/pw" --cloud-init "vendor-data=$TMPDIR/vendor" \
	--for cloud-init --timeout $((500 * E2E_PATIENCE))s)
check_match "ready" '^deb is ready \(cloud-init\): 127\.0\.0\.1 port [0-9]+, user ann; roost ssh deb$' "$(echo "$out" | tail -n 1)"
guest() {
	roost ssh deb "$@" </dev/null
}

say "the user, the keys, the names"
check_eq "who" ann "$(guest id -un)"
check_eq "sudo asks for nothing" root "$(guest sudo -n id -un)"
guest cat .ssh/authorized_keys | grep -qF "$(cut -d ' ' -f 2 "$HOME/.ssh/id_ed25519.pub")" || fail "the caller's key is not there"
check_eq "the password" "$(jq -r .cloud_init.password_hash "$ROOST_STATE/guests/deb/guest.json")" \
	"$(guest sudo getent shadow ann | cut -d : -f 2)"
check_eq "what vendor-data writes" vendor "$(guest cat /etc/by-vendor)"
check_eq "the host key" "$(cut -d ' ' -f 1,2 "$ROOST_STATE/guests/deb/host_key.pub")" \
	"$(guest sudo cat /etc/ssh/ssh_host_ed25519_key.pub | cut -d ' ' -f 1,2)"
check_eq "the host name" deb "$(guest hostname)"
check_match "the MAC" "$(roost domiflist deb --json | jq -r '.[0].mac')" "$(guest cat /sys/class/net/eth0/address)"
check_match "the machine id" '^[0-9a-f]{32}$' "$(guest cat /etc/machine-id)"

say "what it says of itself"
check_json "cloud-init" '.status == "done" and .errors == [] and (.datasource | test("nocloud"; "i"))' "$(guest cloud-init status --format json)"
wait_until 60 guest systemctl is-system-running
kib=$(guest df -k --output=size / | tail -n 1)
[ "$kib" -gt $((4900 * 1024)) ] || fail "of 5 GiB its root file system has $kib KiB"
check_match "the timeline" '^cloud-init ' "$(roost timeline deb)"

say "the agent"
check_json "the system" '.id == "debian"' "$(roost agent deb '{"execute":"guest-get-osinfo"}' | jq 'if has("return") then .return else . end')"
check_match "its address" 'eth0 .* ipv4 ' "$(roost domifaddr deb --source agent)"

say "a changed host key"
guest sudo sh -c "'rm /etc/ssh/ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N \"\" -f /etc/ssh/ssh_host_ed25519_key && systemctl restart ssh'"
check_status 255 roost ssh deb true
check_match "refused" 'host key mismatch: expected ssh-ed25519 ' "$out"
status=0
out=$(roost wait deb --for login --timeout 20s 2>&1) || status=$?
[ $status -ne 0 ] || fail "a guest with another host key is waited for: $out"
check_match "the rung" 'hostkey' "$out"
check_match "what may be the cause" 'cloud_init.host_key' "$out"

say "shutdown: by its agent, or by the ACPI button where that takes the guest too long"
out=$(roost shutdown deb --timeout 120s)
check_match "by what" 'asked by the (agent|ACPI button)' "$(reason deb)"
disk=$(roost domblklist deb --json | jq -r '.[0].source')
qemu-img check -q "$disk"
check_eq "the image" "$sum" "$(sha256sum <"$GUESTS/cloud.qcow2")"
