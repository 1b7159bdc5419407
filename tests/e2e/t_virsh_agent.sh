#!/bin/sh
# virsh's commands to a guest's agent: what they print, and that the guest has heard them.
# limit: 300
. "$TOP/tests/e2e/lib.sh"
. "$TOP/tests/e2e/virsh.sh"
need tiny-vmlinux tiny-initrd pico.raw
export ROOST_ACCEL_FALLBACK=tcg
cat >"$TMPDIR/a.yaml" <<-END
	name: a
	memory: 192M
	vcpus: 2
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: no_timer_check
	disks: [{size: 64M}]
	agent: true
	interfaces: []
END
roost define "$TMPDIR/a.yaml"
virsh -q start a 2>/dev/null

say "before there is one"
pico silent "agent: false"
answers 1 virsh domhostname silent <<'E2'
$
2|error: failed to get hostname$
2|error: Requested operation is not valid: domain is not running$
E2
virsh -q start silent 2>/dev/null
answers 1 virsh domfsinfo silent <<'E2'
$
2|error: Unable to get filesystem information$
2|error: argument unsupported: QEMU guest agent is not configured$
E2
virsh -q destroy silent
mistake "command 'qemu-agent-command' requires <cmd> option" virsh qemu-agent-command a

say "it is there"
wait_until 100 virsh domtime a
says tiny virsh domhostname a
check_match "domtime" '^Time: [0-9]{10}$' "$(virsh domtime a)"
refuses "Options --time and --now are mutually exclusive" virsh domtime a --time 1 --now
silent virsh domtime a --time 1000000000
check_match "another time" '^Time: 2001-09-09 01:4[67]:..$' "$(virsh domtime a --pretty)"
silent virsh domtime a --now
check_match "the host's" "^Time: $(date -u +%Y)-" "$(virsh domtime a --pretty)"
says "No filesystems are mounted in the domain" virsh domfsinfo a
says "Froze 0 filesystem(s)" virsh domfsfreeze a
says "Thawed 0 filesystem(s)" virsh domfsthaw a
silent virsh domfstrim a
check_match "guestinfo" '^os\.id               : tiny$' "$(virsh guestinfo a --os)"
check_match "all of it" '^hostname            : tiny$' "$(virsh guestinfo a)"
answers 0 virsh guestvcpus a <<'E2'
vcpus          : 0-1$
online         : 0-1$
offlinable     : 1$
$
E2
silent virsh setvcpus a 1 --guest
check_eq "the guest uses one" "1 0" "$(virsh -q vcpucount a --guest) $(virsh guestvcpus a | sed -n 's/^online *: //p')"
silent virsh setvcpus a 2 --guest
check_eq "both" 2 "$(virsh -q vcpucount a --guest)"
refuses "invalid argument: guest agent reports less cpu than requested" virsh setvcpus a 3 --guest
refuses "Options --guest and --config are mutually exclusive" virsh setvcpus a 1 --guest --config
refuses "Option --cpulist is required by option --enable" virsh guestvcpus a --enable
check_match "a command of one's own" '^\{"return":\{.*"id":"tiny"' \
	"$(virsh qemu-agent-command a '{"execute":"guest-get-osinfo"}')"
refuses "guest 'a': nosuch: The command nosuch has not been found" virsh qemu-agent-command a '{"execute":"nosuch"}'
answers 0 virsh qemu-monitor-command a --pretty '{"execute":"query-status"}' <<'E2'
{$
  "return": {$
    "status": "running",$
    "singlestep": false,$
    "running": true$
  }$
}$
$
E2
says "Password set successfully for root in a" virsh set-user-password a root verysecret
check_eq "nobody has written it down" "" "$(grep -rl verysecret "$ROOST_STATE" "$ROOST_RUN" 2>/dev/null)"
says "Domain 'a' destroyed" virsh destroy a

say "undefine: what of it goes"
vars=$ROOST_STATE/guests/a/vars.qcow2
touch "$vars"
answers 0 virsh undefine a --nvram <<E2
Domain 'a' has been undefined\$
kept: $ROOST_STATE/kept/a-$(roost dominfo a --json | jq -r .issued.id)/disk0.qcow2\$
\$
E2
pico b >/dev/null
touch "$ROOST_STATE/guests/b/vars.qcow2"
refuses "Options --nvram and --keep-nvram are mutually exclusive" virsh undefine b --nvram --keep-nvram
check_match "they stay" 'vars.qcow2$' "$(virsh undefine b --remove-all-storage --keep-nvram)"
