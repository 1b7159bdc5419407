#!/bin/sh
# virt-host-validate says what libvirt's says, but of KVM what roost has proven.
. "$TOP/tests/e2e/lib.sh"
eval "$(roost compat)"

both virt-host-validate qemu
check_match "its first line" '^  QEMU: Checking for hardware virtualization                                 : (PASS|FAIL \(.+\))$' "$(head -n 1 "$TMPDIR/stdout")"
check_match "the WARN of IOMMU" '^  QEMU: Checking for device assignment IOMMU support                         : ' "$out"
check_match "the last line" '^  QEMU: Checking for secure guest support                                    : WARN \(Unknown if this platform has Secure Guest support\)$' "$(tail -n 1 "$TMPDIR/stdout")"
check_eq "the order" "cpu cpuacct cpuset memory devices blkio" "$(sed -n "s/.*for cgroup '\([a-z]*\)'.*/\1/p" "$TMPDIR/stdout" | paste -sd ' ')"
! grep -v '^  QEMU: .\{69\}: ' "$TMPDIR/stdout" || fail "lines of another form"
expected=0
! grep -q ': FAIL' "$TMPDIR/stdout" || expected=1
check_eq "1 only if something fails" $expected $both_status
check_eq "KVM is what roost proves" "$(roost validate --json | jq -r 'if (.[] | select(.name == "kvm").result) == "PASS" then "PASS" else "FAIL" end')" \
	"$(sed -n '1s/.*: \(PASS\|FAIL\).*/\1/p' "$TMPDIR/stdout")"
both virt-host-validate -q qemu
check_eq "quiet" " $expected" "$out $both_status"
both virt-host-validate
check_match "without an argument" '^   LXC: Checking for Linux >= 2.6.26 +: PASS$' "$out"
both virt-host-validate xen
check_match "no such type" "^virt-host-validate: unsupported hypervisor name xen$" "$errors"
both virt-host-validate --quit
check_eq "the nearest" "virt-host-validate: unrecognized option '--quit'; did you mean --quiet? 1" "$errors $both_status"

