#!/bin/sh
# cloud-localds says what cloud-utils' says, and what it makes is read back by other programs.
. "$TOP/tests/e2e/lib.sh"
eval "$(roost compat)"
command -v isoinfo >/dev/null || lacking isoinfo
cd "$TMPDIR"
touch user-data meta-data
printf '#cloud-config\n{}\n' >u
printf 'version: 2\n' >net
printf '#cloud-config\npackages: [jq]\n' >vendor
printf 'auto lo\niface lo inet loopback\n' >interfaces
# content FILE-OF-THE-SEED SEED
content() {
	isoinfo -R -i "$2" -x "/$1"
}

say "the chapter's line"
both cloud-localds -v ubuntu-provisioning.qcow2 user-data meta-data
check_eq "what it says" "wrote ubuntu-provisioning.qcow2 with filesystem=iso9660 and diskformat=raw" "$(tail -n 1 stderr)"
check_eq "on standard error, 0" " 0" "$out $both_status"
check_match "whatever its suffix, ISO 9660 of that label" "^Volume id: cidata$" "$(isoinfo -d -i ubuntu-provisioning.qcow2)"

say "options, read back"
both cloud-localds -f iso -N net -V vendor seed.iso u meta-data
check_eq "without -v not a word" "  0" "$out $errors $both_status"
check_eq "its files" "meta-data network-config user-data vendor-data" "$(isoinfo -R -f -i seed.iso | sed 's,^/,,' | sort | paste -s -d ' ')"
for pair in user-data=u network-config=net vendor-data=vendor; do
	content "${pair%=*}" seed.iso | cmp - "${pair#*=}"
done
both cloud-localds -H web1 -m local -i interfaces made.iso u
check_json "meta-data is made" '."local-hostname" == "web1" and .dsmode == "local" and ."instance-id" == "iid-local01" and ."network-interfaces" == "auto lo\niface lo inet loopback\n"' \
	"$(content meta-data made.iso)"
both cloud-localds --filesystem=vfat --hostname=web1 v.img u
check_eq "it is made" 0 $both_status
if command -v mtype >/dev/null; then
	check_eq "FAT" "$(cat u)" "$(mtype -i v.img ::user-data)"
	check_match "of that label" "Volume in drive : is (cidata|CIDATA)" "$(mdir -i v.img ::)"
fi
both cloud-localds -d qcow2 q u
check_eq "its format" qcow2 "$(roost image info q --json | jq -r .format)"
qemu-img convert -O raw q q.iso
check_eq "with the same in it" "$(cat u)" "$(content user-data q.iso)"
cloud-localds stdin.iso - <u
check_eq "of standard input" "$(cat u)" "$(content user-data stdin.iso)"
# as bash's <(COMMAND) names it
cloud-localds pipe.iso /dev/fd/3 3<<E
$(cat u)
E
check_eq "of a pipe" "$(cat u)" "$(content user-data pipe.iso)"
cloud-localds none.iso /dev/null 2>/dev/null
check_eq "of nothing" "" "$(content user-data none.iso)"
cloud-localds -v - u >piped.iso 2>said
check_eq "to standard output" "$(cat u)" "$(content user-data piped.iso)"
check_eq "it says so" "wrote - with filesystem=iso9660 and diskformat=raw" "$(cat said)"
cloud-localds u.img u -H late
check_eq "options may come last" late "$(content meta-data u.img | jq -r '."local-hostname"')"

say "mistakes"
both cloud-localds
check_eq "no arguments" "must provide output, userdata 1" "$(tail -n 1 stderr) $both_status"
check_match "the usage" '^Usage: cloud-localds ' "$errors"
both cloud-localds x u meta-data more
check_eq "too many" "confused by additional args 1" "$(tail -n 1 stderr) $both_status"
# fails LINES OPTION...: these, joined by spaces, and 1
fails() {
	fails_lines=$1
	shift
	both cloud-localds "$@"
	check_eq "$*" "$fails_lines 1" "$(paste -s -d ' ' stderr) $both_status"
	[ ! -e x ] || fail "$*: something was made all the same"
}
fails "cp: cannot stat 'nofile': No such file or directory nofile: failed to copy" x nofile
fails "cp: cannot stat 'nofile': No such file or directory nofile: failed to copy" x u nofile
fails "cp: cannot stat 'nofile': No such file or directory failed to copy network config" x u -N nofile
fails "cp: cannot stat 'nofile': No such file or directory failed to copy vendor data" x u -V nofile
fails "nofile: not a readable file" x u -i nofile
fails "metadata is incompatible with: --interfaces, --hostname, --dsmode" -H web1 x u meta-data
fails "unknown filesystem ext4" -f ext4 x u
fails "--dsmode is 'local' or 'net', not 'far'" -m far x u
both cloud-localds -d vmdk x u
check_match "a format that is not made" "option '--disk-format' is not there: roost makes disks of the formats raw and qcow2" "$errors"
both cloud-localds -d tar x u
check_match "nor an archive" "option '--disk-format' is not there: a seed is a disk" "$errors"
both cloud-localds --filesytem=vfat x u
check_match "the nearest" "unrecognized option '--filesytem=vfat'; did you mean --filesystem" "$errors"
check_eq "1" 1 $both_status
check_status 1 cloud-localds /nosuch/x u
