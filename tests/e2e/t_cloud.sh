#!/bin/sh
# A genuine Debian cloud image, run by one command: its user, its key, the host key that was made for it, the disk grown
# to the size asked for, cloud-init done without an error, systemd content, the agent, its names; a guest whose host key
# has changed is not spoken to; a snapshot with its RAM brings it back; it powers off when asked. Then it is cleaned, made
# a template, and three clones are started together: each is another system, which cloud-init set up anew, and shows the
# host key that was made for it before; one of them boots by UEFI.
# user: root
# limit: 900
. "$TOP/tests/e2e/lib.sh"
need cloud.qcow2

# step TEXT: as `say`, and how long the one before took
steps=
step() {
	step_now=$(date +%s)
	steps=${steps:+$steps $((step_now - step_since)) s, }$1
	step_since=$step_now
	say "$1"
}

sum=$(sha256sum <"$GUESTS/cloud.qcow2")
mkdir -p "$HOME/.ssh"
ssh-keygen -q -t ed25519 -N '' -f "$HOME/.ssh/id_ed25519" </dev/null
echo 'a password' >"$TMPDIR/pw"
printf '#cloud-config\nwrite_files: [{path: /etc/by-vendor, content: vendor}]\n' >"$TMPDIR/vendor"

step "first boot"
out=$(roost run "$GUESTS/cloud.qcow2" --name deb --memory 512M --size 5G --user ann --accel tcg --restrict \
	--password-file "$TMPDIR/pw" --cloud-init "vendor-data=$TMPDIR/vendor" \
	--for cloud-init --timeout $((500 * E2E_PATIENCE))s)
check_match "ready" '^deb is ready \(cloud-init\): 127\.0\.0\.1 port [0-9]+, user ann; roost ssh deb$' "$(echo "$out" | tail -n 1)"
guest() {
	roost ssh deb "$@" </dev/null
}

step "a look round"
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

step "snapshot"
guest 'echo kept >before && echo in-ram | sudo tee /run/before >/dev/null' # not flushed
up=$(guest cut -d . -f 1 /proc/uptime)
roost snapshot-create-as deb warm
guest 'rm before && echo lost >after && sync && sudo rm /run/before'

step "another host key"
guest sudo sh -c "'rm /etc/ssh/ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N \"\" -f /etc/ssh/ssh_host_ed25519_key && systemctl restart ssh'"
# on a busy host one try may end with the guest's silence
mismatches() {
	status=0
	out=$(roost ssh deb true 2>&1) || status=$?
	[ $status -ne 0 ] || fail "it was let in"
	[ $status -eq 255 ] && printf '%s\n' "$out" | grep -q 'host key mismatch: expected ssh-ed25519 '
}
wait_until 30 mismatches
is_refused() {
	status=0
	out=$(roost wait deb --for login --timeout 20s 2>&1) || status=$?
	[ $status -ne 0 ] && printf '%s\n' "$out" | grep -q 'cloud_init.host_key'
}
wait_until 60 is_refused
check_match "the rung" "did not reach 'hostkey'" "$out"

step "revert"
roost snapshot-revert deb warm --force
check_eq "its disk" "kept" "$(guest 'cat before; cat after 2>/dev/null || :')"
check_eq "its RAM" in-ram "$(guest cat /run/before)"
now=$(guest cut -d . -f 1 /proc/uptime)
if [ "$now" -lt "$up" ] || [ "$now" -gt $((up + 30 * E2E_PATIENCE)) ]; then
	fail "its uptime went from $up to $now"
fi
roost wait -q deb --for login --timeout $((60 * E2E_PATIENCE))s
guest 'echo letter >letter; echo rm >.bash_history; echo mine | sudo tee /var/log/mine.log >/dev/null'
cat >"$TMPDIR/inside" <<'END'
cat /etc/machine-id
hostname
cat /sys/class/net/eth0/address /var/lib/cloud/data/instance-id /proc/sys/kernel/random/boot_id
cut -d ' ' -f 1,2 /etc/ssh/ssh_host_*_key.pub
echo --
echo instances $(ls /var/lib/cloud/instances)
echo cloud-init $(cloud-init status)
echo boots $(journalctl --list-boots -q | wc -l)
echo kept $(cat /home/ann/before /home/ann/letter)
echo cleaned $(cat /home/ann/.bash_history /var/log/mine.log 2>/dev/null)
echo firmware $(test -d /sys/firmware/efi && echo UEFI || echo BIOS)
END
inside() { # GUEST: what makes it the one it is, one a line; then how it stands
	roost ssh "ann@$1" sudo sh <"$TMPDIR/inside"
}
inside deb | sed '/^--$/q' >"$TMPDIR/deb"

step "shutdown" # by its agent, or by the ACPI button where that takes the guest too long
out=$(roost shutdown deb --timeout $((120 * E2E_PATIENCE))s)
check_match "by what" 'asked by the (agent|ACPI button)' "$(reason deb)"
disk=$(roost domblklist deb --json | jq -r '.[0].source')
qemu-img check -q "$disk"
check_eq "the image" "$sum" "$(sha256sum <"$GUESTS/cloud.qcow2")"

step "a backup, cleaned by nobody" # who needs no root for it
guests=$ROOST_STATE/guests
roost snapshot-delete deb warm
roost backup deb "$TMPDIR/backup" >/dev/null
(
	export ROOST_STATE="$TMPDIR/theirs" ROOST_RUN="$TMPDIR/theirs/run"
	mkdir "$ROOST_STATE"
	chown -R nobody "$TMPDIR/backup" "$ROOST_STATE"
	chmod 711 "$TMPDIR"
	nobody() {
		setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups "$@"
	}
	nobody roost restore "$TMPDIR/backup" >/dev/null
	nobody roost sysprep deb >"$TMPDIR/said"
	# shellcheck disable=SC2046 # several words are meant
	kill_and_wait TERM $(roostd_pids)
)
check_match "the way it took" "Guest 'deb' was cleaned offline \(ext4 on vda1\)" "$(cat "$TMPDIR/said")"

step sysprep # offline, on the ext4 of its root
roost sysprep deb >"$TMPDIR/said"
cat "$TMPDIR/said"
check_match "the way it took" "Guest 'deb' was cleaned offline \(ext4 on vda1\)" "$(cat "$TMPDIR/said")"

step "template and clones"
roost template deb
whole() {
	(cd "$guests/deb" && find . -type f ! -name 'events.jsonl*' -exec sha256sum {} + -exec stat -c '%n %a %u' {} + | sort)
}
was=$(whole)
for clone in c1 c2 c3; do
	roost clone deb $clone
done

step "three boots" # together, the third by UEFI
roost dumpyaml c3 | sed 's/^name: .*/&\nfirmware: uefi/' >"$TMPDIR/c3.yaml"
roost define "$TMPDIR/c3.yaml"
for clone in c1 c2 c3; do
	cut -d ' ' -f 1,2 "$guests/$clone/host_key.pub" >"$TMPDIR/$clone.issued"
	roost start $clone
done
for clone in c1 c2 c3; do
	roost wait $clone --for cloud-init --timeout $((300 * E2E_PATIENCE))s
	say "$clone is ready"
done

step "a look at each"
for clone in c1 c2 c3; do
	inside $clone >"$TMPDIR/now"
	sed '/^--$/q' "$TMPDIR/now" >"$TMPDIR/$clone"
	check_match "$clone: its machine id" '^[0-9a-f]{32}$' "$(sed -n 1p "$TMPDIR/$clone")"
	check_eq "$clone: its name" $clone "$(sed -n 2p "$TMPDIR/$clone")"
	check_eq "$clone: its MAC" "$(roost domiflist $clone --json | jq -r '.[0].mac')" "$(sed -n 3p "$TMPDIR/$clone")"
	check_eq "$clone: its host key is the one made for it, and the only one" "$(cat "$TMPDIR/$clone.issued")" \
		"$(sed -n '6,/^--$/{/^--$/!p}' "$TMPDIR/$clone")"
	case $clone in c3) firmware=UEFI ;; *) firmware=BIOS ;; esac
	check_eq "$clone: cloud-init set up this instance; of the original there is what shall be, and no more" \
		"instances $(sed -n 4p "$TMPDIR/$clone") cloud-init status: done boots 1 kept kept letter cleaned firmware $firmware" \
		"$(sed '1,/^--$/d' "$TMPDIR/now" | paste -s -d ' ' -)"
done
check_eq "what two of the four have" -- "$(cat "$TMPDIR/deb" "$TMPDIR"/c[123] | sort | uniq -d)"

step "the end"
for clone in c1 c2 c3; do
	roost destroy $clone
	qemu-img check -q "$(roost domblklist $clone --json | jq -r '.[0].source')"
done
check_eq "the template" "$was" "$(whole)"
check_eq "the image" "$sum" "$(sha256sum <"$GUESTS/cloud.qcow2")"
step "" >/dev/null
echo "took: ${steps%, }"
