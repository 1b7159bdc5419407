#!/bin/sh
# What a definition's `cloud_init` names comes into the seed as given; a password only as its hash; a guest whose
# user-data brings a host key is known by that one.
. "$TOP/tests/e2e/lib.sh"
command -v isoinfo >/dev/null || lacking isoinfo
cd "$TMPDIR" || exit 1

# in_seed FILE [NAME]: of web1, unless told
in_seed() {
	isoinfo -R -i "$ROOST_STATE/guests/${2-web1}/seed.iso" -x "/$1"
}
# define KEY...: web1 with these keys of cloud_init
define() {
	printf 'name: web1\nmemory: 64M\ndisks: [{size: 1M}]\ncloud_init:\n' >web1.yaml
	printf '  %s\n' "$@" >>web1.yaml
	roost define web1.yaml
}
record() {
	jq -r "$1" "$ROOST_STATE/guests/web1/guest.json"
}
iid() {
	in_seed meta-data | sed -n 's/^instance-id: //p'
}
printf '#cloud-config\npackages: [git]\n' >user
printf 'instance-id: mine\nlocal-hostname: theirs\n' >meta
printf '#cloud-config\ntimezone: Europe/Vienna\n' >vendor
printf 'version: 2\nethernets: {}\n' >net
gzip -c user >user.gz

say "files as given"
define "meta_data: meta" "vendor_data: vendor" "network_config: net"
for pair in meta-data=meta vendor-data=vendor network-config=net; do
	in_seed "${pair%=*}" | cmp -s - "${pair#*=}" || fail "${pair%=*}: $(in_seed "${pair%=*}")"
done
check_match "the host key is in ours" 'ed25519_private' "$(in_seed user-data)"
define "user_data: user.gz"
in_seed user-data | cmp -s - user.gz || fail "the compressed user-data differs"
check_match "the host key is beside it" 'ed25519_private' "$(in_seed vendor-data)"
define "user_data: user" "vendor_data: vendor"
check_match "both in an archive" '^#cloud-config-archive$' "$(in_seed vendor-data)"
check_match "theirs" 'timezone: Europe/Vienna' "$(in_seed vendor-data)"
check_match "and ours" 'ed25519_private' "$(in_seed vendor-data)"
check_json "dumped as it was written" '.cloud_init.vendor_data | endswith("/vendor")' "$(roost dominfo web1 --json)"

say "another content is another instance, the same is not"
define "network_config: net"
first=$(iid)
define "network_config: net"
check_eq "defined again" "$first" "$(iid)"
echo '# more' >>net
define "network_config: net"
[ "$first" != "$(iid)" ] || fail "another network-config, and the same instance"

say "a password"
printf 's3cret of t_cloud_init\n' >pw
define "password_file: pw"
hash=$(record .cloud_init.password_hash)
# shellcheck disable=SC2016 # a hash has dollars
check_match "the hash" '^\$6\$[^$]+\$.{86}$' "$hash"
salt=${hash#??3} salt=${hash#\$6\$}
check_eq "of that password" "$hash" "$(openssl passwd -6 -salt "${salt%%\$*}" "$(cat pw)")"
check_match "in the seed" "hashed_passwd: \"$(printf %s "$hash" | sed 's/[$.]/\\&/g')\"" "$(in_seed user-data)"
check_match "unlocked" 'lock_passwd: false' "$(in_seed user-data)"
! grep -rqF 's3cret of' "$ROOST_STATE" "$ROOST_RUN" || fail "the password is in clear: $(grep -rlF 's3cret of' "$ROOST_STATE" "$ROOST_RUN")"
first=$(iid)
define "password_file: pw"
check_eq "the same password keeps its hash" "$hash $first" "$(record .cloud_init.password_hash) $(iid)"
roost dumpyaml web1 >dumped.yaml
roost define dumped.yaml
check_eq "and through dumpyaml" "$hash" "$(record .cloud_init.password_hash)"
echo another >pw
define "password_file: pw"
[ "$hash $first" != "$(record .cloud_init.password_hash) $(iid)" ] || fail "the password has not changed"

say "what is wrong changes nothing"
sum=$(cat "$ROOST_STATE/guests/web1/guest.json" "$ROOST_STATE/guests/web1/seed.iso" | sha256sum)
refused() { # STATUS MESSAGE KEY...
	refused_status=$1 refused_message=$2
	shift 2
	check_status "$refused_status" define "$@"
	check_match "$*" "$refused_message" "$out"
	check_no_match "$*: the password" 'hunter' "$out"
	check_eq "web1" "$sum" "$(cat "$ROOST_STATE/guests/web1/guest.json" "$ROOST_STATE/guests/web1/seed.iso" | sha256sum)"
}
printf '%s\n' '- a list' >list
printf '\377\n' >latin
printf 'two\nlines\n' >lines
: >empty
printf 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x--\n' >mime
printf '#cloud-config\nssh_keys:\n  ed25519_private: damaged\n' >badkey
refused 2 "web1.yaml:5: cloud_init.password_hash: this is no hash" "password_hash: hunter2"
refused 2 "password_file: there is a 'password_hash', too" "password_file: pw" "password_hash: '$hash'"
refused 2 "password_file: password: there is none in" "password_file: empty"
refused 2 "password_file: password: .* is not one line" "password_file: lines"
refused 3 "cloud_init.password_file: .*no-such" "password_file: no-such"
refused 2 "password_file: it has no effect, for 'user_data' is" "user_data: user" "password_file: pw"
refused 2 "host_key: there is no 'user_data' that has it" "host_key: ssh-ed25519 $(head -c 51 /dev/zero | base64 | sed s/^AAA/AAAA/)"
refused 3 "cloud_init.meta_data: .*no-such" "meta_data: no-such"
refused 2 "list:1: it is no mapping" "meta_data: list"
refused 2 "list:1: it is no mapping" "network_config: list"
refused 2 "network_config: .*latin' is not UTF-8" "network_config: latin"
refused 2 "meta_data: .*user.gz' " "meta_data: user.gz"
refused 2 "vendor-data cannot be joined" "user_data: user" "vendor_data: mime"
refused 2 "badkey:3: ed25519_private: is no private key" "user_data: badkey"

say "a host key of the user-data's own"
ssh-keygen -q -t ed25519 -N '' -C theirs -f theirs </dev/null
{
	printf '#cloud-config\nusers: [{name: root, ssh_authorized_keys: ["%s"]}]\n' "$(cat "$ROOST_STATE/ssh/id_ed25519.pub")"
	printf 'ssh_keys:\n  ed25519_private: |\n'
	sed 's/^/    /' theirs
	printf '  ed25519_public: %s\n' "$(cat theirs.pub)"
} >own
ours=$(record .issued.host_key)
define "user_data: own"
theirs=$(cut -d ' ' -f 1,2 theirs.pub)
check_eq "it is known by theirs" "$theirs" "$(record .issued.host_key)"
check_eq "ours is not in the seed" "" "$(in_seed vendor-data 2>/dev/null | grep ed25519 || :)"
check_status 2 define "user_data: own" "host_key: ${ours% *}"
check_match "another is named" "host_key: '.*/own' has another one, ssh-ed25519 " "$out"
define "user: ann"
check_eq "and ours again" "$ours" "$(record .issued.host_key)"
printf '#cloud-config\nvendor_data: {enabled: false}\n' >off
check_match "vendor-data switched off is told" "warning: .*/off: vendor_data is switched off" "$(define "user_data: off" 2>&1)"
printf '#!/bin/sh\n' >script
define "user_data: script" "host_key: $(cat theirs.pub)"
check_eq "of a script it is told" "$(cat theirs.pub)" "$(record .issued.host_key)"

say "a guest that boots with it is verified by it"
need tiny-vmlinux tiny-initrd
cat >tiny.yaml <<-END
	name: tiny
	memory: 192M
	accel: tcg
	kernel: $GUESTS/tiny-vmlinux
	initrd: $GUESTS/tiny-initrd
	cmdline: console=ttyS0 no_timer_check quiet cryptomgr.notests
	interfaces:
	  - user: {restrict: true, hostfwd: ["-22"]}
	cloud_init: {user: root, user_data: own}
END
roost run tiny.yaml --for login --quiet
check_eq "its key" "$theirs" "$(roost ssh root@tiny cat /etc/ssh/ssh_host_ed25519_key.pub | cut -d ' ' -f 1,2)"
