#!/bin/sh
# roost seed: what is read back from the image is what was given, for the chapter's own line too; bad input changes nothing.
. "$TOP/tests/e2e/lib.sh"
command -v isoinfo >/dev/null || lacking isoinfo

# content FILE-OF-THE-SEED SEED
content() {
	isoinfo -R -i "$2" -x "/$1"
}
cd "$TMPDIR" || exit 1
printf '#cloud-config\nhostname: web\npassword: s3cret-of-t-seed\n' >user
printf 'instance-id: i-1\n' >meta
printf 'version: 2\n' >net
printf '#cloud-config\npackages: [jq]\n' >vendor
printf '#cloud-config\npackagess: [jq]\n' >vendor.bad
printf 'auto lo\niface "lo" inet loopback\n' >interfaces

say "the chapter's line: empty files, a suffix that lies"
: >user-data
: >meta-data
check_status 0 roost seed -v ubuntu-provisioning.qcow2 user-data meta-data
check_match "the warning" "warning: the user-data 'user-data' is empty" "$out"
check_match "the message" "^wrote ubuntu-provisioning.qcow2 with filesystem=iso9660 and diskformat=raw$" "$out"
check_eq "nothing on standard output" "" "$(roost seed -v ubuntu-provisioning.qcow2 user-data meta-data 2>/dev/null)"
check_match "ISO 9660 with its label" "^Volume id: cidata$" "$(isoinfo -d -i ubuntu-provisioning.qcow2)"
check_eq "its files" "meta-data user-data" "$(isoinfo -R -f -i ubuntu-provisioning.qcow2 | sed 's,^/,,' | sort | tr '\n' ' ' | sed 's/ $//')"

say "all files as written, the seed for its owner's eyes"
umask 0
check_status 0 roost seed s.img user meta -N net -V vendor
umask 022
check_eq "without -v it is silent" "" "$out"
check_eq "its mode" 600 "$(stat -c %a s.img)"
for pair in user-data=user meta-data=meta network-config=net vendor-data=vendor; do
	content "${pair%=*}" s.img >got
	cmp -s "${pair#*=}" got || fail "${pair%=*} differs"
done
check_json "--json" '.path == "j.img" and .filesystem == "iso9660" and .format == "raw"' "$(roost seed --json j.img user)"
roost seed stdin.img - <user
check_eq "of standard input" "$(cat user)" "$(content user-data stdin.img)"

say "meta-data that is made"
roost seed h.img user -H vm01.example.org -m local -i interfaces
made=$(content meta-data h.img)
check_json "its keys" '."instance-id" == "iid-local01" and ."local-hostname" == "vm01.example.org" and .dsmode == "local"' "$made"
check_eq "interfaces" "$(cat interfaces)" "$(printf '%s' "$made" | jq -r '."network-interfaces"')"
roost seed bare.img user
check_eq "without options" '{"instance-id":"iid-local01"}' "$(content meta-data bare.img | jq -c .)"

say "vfat, qcow2, and what is compressed"
if command -v mtype >/dev/null; then
	check_status 0 roost seed -v -f vfat v.img user meta -N net -V vendor
	check_match "the message" "^wrote v.img with filesystem=vfat and diskformat=raw$" "$out"
	for pair in user-data=user meta-data=meta network-config=net vendor-data=vendor; do
		mtype -i v.img "::${pair%=*}" >got
		cmp -s "${pair#*=}" got || fail "${pair%=*} differs on vfat"
	done
fi
check_json "qcow2" '.format == "qcow2" and .filesystem == "iso9660"' "$(roost seed --json -d qcow2 q.img user)"
qemu-img check -q -f qcow2 q.img
qemu-img convert -f qcow2 -O raw q.img q.raw
check_eq "in qcow2" "$(cat user)" "$(content user-data q.raw)"
gzip -c user >user.gz
roost seed z.img user.gz -V user.gz
content user-data z.img | cmp -s - user.gz || fail "the compressed user-data differs"
content vendor-data z.img | cmp -s - user.gz || fail "the compressed vendor-data differs"

say "bad input changes nothing"
sum=$(sha256sum <s.img)
refused() { # STATUS MESSAGE ARGUMENT...
	refused_status=$1 refused_message=$2
	shift 2
	check_status "$refused_status" roost seed "$@"
	check_match "seed $*" "$refused_message" "$out"
	check_eq "s.img after seed $*" "$sum" "$(sha256sum <s.img)"
}
refused 3 "user-data: .*no-such" s.img no-such
refused 3 "network-config: .*no-such" s.img user -N no-such
refused 2 "--hostname goes into a meta-data that is made" s.img user meta -H vm
refused 2 "host name may have" s.img user -H 'a b'
refused 2 "--dsmode is 'local' or 'net'" s.img user -m both
refused 2 "usage" s.img
refused 2 "--filesystem is 'iso9660' or 'vfat', not 'ext4'" s.img user -f ext4
refused 2 "--disk-format is 'raw' or 'qcow2', not 'vmdk'" s.img user -d vmdk
refused 2 "meta-data 'user.gz' " s.img user user.gz
refused 2 "vendor.bad:2: cloud-init knows no key 'packagess'" s.img user -V vendor.bad
printf 'a\0b' >nul
refused 2 "'nul' has a NUL byte" s.img nul
printf '#!/bin/sh\n\377\n' >latin
refused 2 "not UTF-8" s.img latin
refused 2 "not to standard output" - user
mkfifo fifo
refused 2 "is not a regular file" fifo user
[ -p fifo ] || fail "the FIFO was replaced"
check_status 3 roost seed no-folder/s.img user
# room for half of it
(
	trap '' XFSZ
	ulimit -f 64
	refused 7 "cannot write 's.img': File too large" s.img user
)
check_eq "nothing is left of it" "" "$(find . -name '*.new.*')"
check_eq "nothing is left beside the seeds" "" "$(find . -name '.*' -type f)"

say "a slip in the user-data is told before a guest boots with it"
printf '#cloud-config\npackages: [git]\nruncmdd:\n  - ls\n' >typo
check_status 2 roost seed x.img typo
check_match "its line" "^roost: typo:3: cloud-init knows no key 'runcmdd'" "$out"
check_match "the key that was meant" "did you mean 'runcmd'" "$out"
[ ! -e x.img ] || fail "a seed was made of it"
printf 'hostname: web1\n' >headless
check_status 2 roost seed x.img headless
check_match "no header" "headless:1: the first line does not say what it is" "$out"
roost seed --no-check x.img typo
printf '#cloud-config\nfrobnicate: 1\n' >stranger
check_match "a key of its own is only told" "warning: stranger:2: .*'frobnicate'" "$(roost seed x.img stranger 2>&1)"
cat >typo.yaml <<-END
	name: web1
	memory: 64M
	disks: [{size: 1G}]
	cloud_init: {user_data: typo}
END
check_status 2 roost define typo.yaml
check_match "of a definition's, too" "typo:3: cloud-init knows no key 'runcmdd'" "$out"
check_eq "nothing was defined" "" "$(roost list --all --name)"

say "a guest obeys a vfat one"
need tiny-vmlinux tiny-initrd
# shellcheck disable=SC2016 # for the guest's shell
printf '#cloud-config\nruncmd: ["echo obeyed by $(hostname) >/dev/ttyS0"]\n' >told
roost seed -f vfat -d qcow2 told.qcow2 told -H from-vfat
cat >tiny.yaml <<-END
	name: tiny
	memory: 128M
	accel: tcg
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: no_timer_check
	disks: [{path: told.qcow2, format: qcow2, readonly: true}]
	interfaces: []
END
roost define tiny.yaml >/dev/null
roost start tiny
wait_until 60 grep -q "obeyed by from-vfat" "$ROOST_STATE/guests/tiny/console.log"
