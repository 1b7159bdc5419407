#!/bin/sh
# virt-host-validate says what libvirt's says, but of KVM what roost has proven.
. "$TOP/tests/e2e/lib.sh"
eval "$(roost compat)"
cd "$TMPDIR"

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
check_eq "the nearest" "virt-host-validate: unrecognized option '--quit'; did you mean --quiet? 1" "$(head -n 1 stderr) $both_status"
check_match "and how it is called" '^syntax: .*virt-host-validate \[OPTIONS\] \[HVTYPE\]$' "$errors"
both virt-host-validate --help
check_eq "help is no mistake" "syntax: virt-host-validate [OPTIONS] [HVTYPE] 0" "$(sed -n 2p stdout) $both_status"
both virt-host-validate -v
check_eq "its version" "version: virt-host-validate 9.0.0 0" "$out $both_status"
both virt-host-validate qemu lxc
check_eq "one at a time" "virt-host-validate: too many command line arguments 1" "$errors $both_status"
both virt-host-validate lxc
check_no_match "containers alone" QEMU "$out"
check_eq "their namespaces" "ipc mnt pid uts net user" "$(sed -n 's/.*for namespace \([a-z]*\) .*/\1/p' stdout | paste -s -d ' ')"

# agrees: the real one, where there is one, says the same of all but KVM
agrees() {
	real=/usr/bin/virt-host-validate
	[ -x $real ] && [ "$(head -c 4 $real | tail -c 3)" = ELF ] || return 0
	for type in qemu lxc; do
		$real $type | grep -v 'hardware virt\|/dev/kvm' >theirs || :
		virt-host-validate $type | grep -v 'hardware virt\|/dev/kvm' >ours || :
		diff theirs ours || fail "the real one says something else of $type"
	done
}
agrees
[ "$(id -u)" -eq 0 ] || exit 0
say "a processor that says it could"
at_end() {
	umount /proc/cpuinfo 2>/dev/null
}
for flag in vmx svm; do
	sed "s/^\(flags.*\)\$/\1 $flag/" /proc/cpuinfo >cpuinfo
	mount --bind cpuinfo /proc/cpuinfo
	agrees
	both virt-host-validate qemu
	check_match "$flag: KVM is what roost proves all the same" \
		"hardware virtualization +: $(roost validate --json | jq -r 'if (.[] | select(.name == "kvm").result) == "PASS" then "PASS$" else "FAIL \\(.+\\)$" end')" "$(head -n 1 stdout)"
	umount /proc/cpuinfo
done
