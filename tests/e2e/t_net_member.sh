#!/bin/sh
# A member of the group `roost` and a guest of root's instance on a network: he starts it, waits for it, and gets in, by roost
# and by his own ssh; whoever is no member does not.
# user: root
. "$TOP/tests/e2e/members.sh"

need tiny-vmlinux tiny-initrd
need_networks
command -v ssh >/dev/null || lacking ssh

roost boot
cp "$GUESTS/tiny-vmlinux" "$GUESTS/tiny-initrd" "$TMPDIR/home/alice"
as alice ssh-keygen -q -t ed25519 -N '' -f "$TMPDIR/home/alice/key"
cat >"$TMPDIR/home/alice/web.yaml" <<END
name: web
memory: 192M
kernel: $TMPDIR/home/alice/tiny-vmlinux
initrd: $TMPDIR/home/alice/tiny-initrd
cmdline: console=ttyS0 no_timer_check quiet
interfaces:
  - network: default
    publish: ["8022:22"]
cloud_init: {user: alice, keys: [$TMPDIR/home/alice/key.pub]}
ready: {identity: $TMPDIR/home/alice/key}
END
chmod 644 "$TMPDIR"/home/alice/[tw]*
as alice roost run "$TMPDIR/home/alice/web.yaml"
check_eq "roost ssh" alice "$(as alice roost ssh web id -un </dev/null)"
as alice roost ssh-config web >"$TMPDIR/home/alice/config"
check_eq "his ssh" alice "$(as alice ssh -F "$TMPDIR/home/alice/config" web.roost id -un </dev/null)"
check_match "dial" '^SSH-2.0' "$(as alice roost dial web 22 </dev/null | head -n 1)"
check_match "the ports, also one published just now" '^ +127.0.0.1:8023 -> 22/tcp$' \
	"$(as alice roost net-update default add publish web 8023:22 >/dev/null && as alice roost dominfo web)"
check_match "the published port" '^SSH-2.0' "$(socat -t $((5 * E2E_PATIENCE)) - TCP4:127.0.0.1:8022 </dev/null | head -n 1)"
check_status 5 as bob roost -c system dial web 22
mac=$(roost domiflist web --json | jq -r '.[0].mac')
address=$(jq -r '.interfaces[0].address' "$ROOST_STATE/guests/web/guest.json")
check_match "the lease that it fetched" "^ never +$mac +ipv4 +$address/24 +web " "$(as alice roost net-dhcp-leases default "$mac")"
as alice roost net-guard default >/dev/null
check_status 255 as alice roost net-exec default true
check_match "why" "only root may work inside" "$out"
check_status 5 as bob roost -c system net-destroy default
check_eq "who loses it" "Network 'default' destroyed; cut off: guest 'web'" "$(as alice roost net-destroy default)"
as alice roost destroy web
roost halt --timeout 5s
