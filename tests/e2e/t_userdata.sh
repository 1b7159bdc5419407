#!/bin/sh
# User-data, held against cloud-init itself: of what kind each top-level key may be; good and bad documents; and the ones
# that roost writes.
. "$TOP/tests/e2e/lib.sh"

command -v cloud-init >/dev/null || lacking cloud-init
command -v isoinfo >/dev/null || lacking isoinfo
cd "$TMPDIR" || exit 1

# theirs FILE, ours FILE: "yes" or "no"
theirs() {
	if cloud-init schema --config-file "$1" >theirs.out 2>&1; then echo yes; else echo no; fi
}
ours() {
	if roost seed seed.img "$1" >ours.out 2>&1; then echo yes; else echo no; fi
}

say "each key of its schema, with a value of each kind"
mkdir keys
/usr/bin/python3 "$TOP/tests/e2e/cloudinit_kinds.py" keys >verdicts
grep -q '^runcmd list yes$' verdicts || fail "no verdicts: $(head -n 5 verdicts)"
while read -r key kind verdict; do
	case $key-$kind in
	# the schema of 22.4 forgot the kinds of `groups`, which later ones have; later ones take `locale: false`
	groups-* | locale-flag) continue ;;
	esac
	[ "$verdict" = yes ] || check_eq "$key: $(tail -n 1 "keys/$key.$kind")" no "$(ours "keys/$key.$kind")"
done <verdicts
# one document for all that it takes of that kind
for kind in text number flag nothing list map; do
	echo '#cloud-config' >all
	sed -n "/^groups /d; s/ $kind yes$//p" verdicts | while read -r key; do
		tail -n 1 "keys/$key.$kind" >>all
	done
	check_eq "all of the kind '$kind'" "yes " "$(ours all) $(cat ours.out)"
done

say "whole documents"
verdict() { # VERDICT: of the document on standard input, by both
	cat >doc
	verdict=$(theirs doc)
	check_eq "cloud-init on $(cat doc): $(cat theirs.out)" "$1" "$verdict"
	check_eq "roost on $(cat doc)" "$1" "$(ours doc)"
}
verdict yes <<-END
	#cloud-config
	users:
	  - default
	  - {name: ann, groups: [adm], ssh_authorized_keys: [ssh-ed25519 AAAA ann]}
	package_update: yes
	packages: [git, [jq, "1.6"]]
	write_files:
	  - {path: /etc/motd, content: hello, permissions: "0644"}
	runcmd:
	  - [systemctl, restart, ssh]
	  - echo done
	manage_etc_hosts: localhost
	ntp:
	power_state: {mode: poweroff}
END
verdict no <<-END
	#cloud-config
	package_update: "yes"
	runcmd: ls
END
printf 'packages: [git]\n' | verdict no
printf '#cloud-config\npackages: [git\n' | verdict no
printf '#cloud-config\n- packages\n' | verdict no

say "what roost writes"
ssh-keygen -q -t ed25519 -N '' -C 'a "comment": {with} #everything' -f key </dev/null
cat >ours.yaml <<-END
	name: ours
	memory: 64M
	disks: [{size: 1M}]
	cloud_init: {user: ann, keys: [key.pub]}
END
printf '#cloud-config\npackages: [git]\n' >own
cat >own.yaml <<-END
	name: own
	memory: 64M
	disks: [{size: 1M}]
	cloud_init: {user_data: own}
END
printf '#cloud-config\ntimezone: Europe/Vienna # "caf\303\251"\n' >vendor
sed "s/name: own/name: joined/; s/user_data: own/user_data: own, vendor_data: vendor/" own.yaml >joined.yaml
printf 'secret\n' >pw
sed 's/name: ours/name: locked/; s/user: ann/user: ann, password_file: pw/' ours.yaml >locked.yaml
for guest in ours own joined locked; do
	roost define $guest.yaml
done
for file in ours/user-data own/vendor-data locked/user-data; do
	isoinfo -R -i "$ROOST_STATE/guests/${file%/*}/seed.iso" -x "/${file#*/}" >written
	grep -q ed25519_private written || fail "$file: $(cat written)"
	check_eq "cloud-init on $file" "yes" "$(theirs written)"
	check_match "without a word" '^Valid cloud-config: written$' "$(cat theirs.out)"
	check_eq "roost on $file" "yes" "$(ours written)"
done

say "two vendor-data in one: what cloud-init takes out of it"
isoinfo -R -i "$ROOST_STATE/guests/joined/seed.iso" -x /vendor-data >archive
/usr/bin/python3 - archive >parts <<-END
	import sys
	from cloudinit import helpers, user_data
	message = user_data.UserDataProcessor(helpers.Paths({})).process(open(sys.argv[1]).read())
	for part in message.walk():
	    if part.get_content_maintype() != "multipart":
	        print("==", part.get_content_type())
	        print(part.get_payload(decode=True).decode(), end="")
END
check_eq "two parts" "2" "$(grep -c '^== text/cloud-config$' parts)"
{
	echo "== text/cloud-config"
	cat vendor
} >expected
tail -c "$(wc -c <expected)" parts | cmp -s - expected || fail "theirs is not as it was written: $(cat parts)"
check_match "ours" '^  ed25519_private: \|' "$(cat parts)"

say "MIME as cloud-init's make-mime writes it, with its parts in base64"
printf '#cloud-config\npackages: [git]\n' >good.cfg
printf '#cloud-config\npackages: [git]\nruncmdd: [a]\n' >typo.cfg
printf '#!/bin/sh\necho\n' >script
printf '## template: jinja\n#cloud-config\nhostname: {{ v1.region }}\n' >jinja
mime() {
	/usr/bin/python3 - "$@" <<-END
		import sys
		from cloudinit.cmd.devel.make_mime import create_mime_message
		print(create_mime_message([(open(f), f, t) for f, t in (a.split(":") for a in sys.argv[1:])])[0])
	END
}
mime good.cfg:cloud-config script:x-shellscript jinja:jinja2 >good.mime
check_eq "a good one" "yes " "$(ours good.mime) $(cat ours.out)"
mime script:x-shellscript typo.cfg:cloud-config >bad.mime
check_eq "a typing mistake in a part" no "$(ours bad.mime)"
check_match "it is named" "bad.mime:[0-9]+: part 'typo.cfg':3: cloud-init knows no key 'runcmdd'" "$(cat ours.out)"
mime good.cfg:cloud-confg >bad.mime
check_eq "a typing mistake in a type" no "$(ours bad.mime)"

say "each form by how it begins: what cloud-init takes it for"
while read -r form; do
	printf '%b' "$form\n" >doc
	their=$(/usr/bin/python3 -c 'import sys; from cloudinit import handlers; print(handlers.type_from_starts_with(open(sys.argv[1]).read()))' doc)
	check_eq "$form is $their" "$([ "$their" = None ] && echo no || echo yes)" "$(ours doc)"
done <<-'END'
	#!/bin/sh
	#include\nhttp://x
	#include-once\nhttp://x
	#cloud-config
	#cloud-config-archive
	#cloud-config-jsonp\n[]
	#cloud-boothook\n#!/bin/sh
	#part-handler
	## template: jinja\n#cloud-config
	## template: cheetah\n#cloud-config
	Content-Type: multipart/mixed; boundary=x\n
	#cloud-confg
END
gzip -c good.cfg >doc
check_eq "compressed" yes "$(ours doc)"
