#!/bin/sh
# Every command tells what it is, and its example is true: taken out of `roost help --json` and run as it stands, in a
# folder with the files that people would have there, on a Linux guest `web1` in the state that the example needs.
#
# A new verb is run with web1 up and answering to SSH, and must end with 0. One that needs something else, or less, gets a
# place in before(), one that does not end by itself a line in try().
# limit: 600
. "$TOP/tests/e2e/lib.sh"

roost help --json >"$TMPDIR/help.json"
# row VERB KEY
row() {
	jq -r --arg verb "$1" '.[] | select(.name == $verb) | .'"$2" "$TMPDIR/help.json"
}
verbs=$(jq -r '.[].name' "$TMPDIR/help.json")

# --- the rows by themselves ---------------------------------------------------------------------------------------
say "every row is whole"
check_json "rows" 'length > 30 and (map(.name) | unique | length) == length' "$(cat "$TMPDIR/help.json")"
check_eq "rows without a group, a sentence, or an example that begins with the verb" "" \
	"$(jq -r '.[] | .name as $name | select((.group | length) == 0 or (.doc | test("^[A-Z].*[.]$") | not) or
		(.example | test("(^|[|] *|[(])roost " + $name + "( |$|[)])") | not)) | .name' "$TMPDIR/help.json")"
check_eq "options without a sentence" "" \
	"$(jq -r '.[] | .name as $name | .options[] | select((.doc | length) < 5) | $name + " --" + .name' "$TMPDIR/help.json")"
check_eq "options twice" "" "$(jq -r '.[] | .name as $name | .options | (map(.name) + map(.letter | values)) as $all |
	select(($all | unique | length) != ($all | length)) | $name' "$TMPDIR/help.json")"

say "the words of help"
help=$(roost help)
check_eq "it is what roost says without a command" "$help" "$(roost)"
check_eq "and with --help" "$help" "$(roost --help)"
IFS='
' # a verb may have two words
for verb in $verbs; do
	printf '%s\n' "$help" | grep -q "^  $verb " || fail "roost help does not list $verb"
	one=$(roost help "$verb")
	# shellcheck disable=SC2086 # it may have two words
	check_eq "roost $verb --help" "$one" "$(IFS=' ' && roost $verb --help)"
	check_match "the example of $verb is told" "^example: roost|^example: .*roost $verb" "$one"
	for option in $(row "$verb" 'options[].name'); do
		check_match "roost $verb --help has its options" "^ .*--$option( |\$)" "$one"
	done
done
unset IFS
check_eq "its headings" "$(jq -r '.[].group' "$TMPDIR/help.json" | sort -u)" \
	"$(printf '%s\n' "$help" | grep -E '^[A-Z]' | sort)"
check_json "one row" '.name == "start" and .options[0].name == "paused"' "$(roost help start --json)"
check_status 3 roost help no-such-verb
check_match "it is named" "no command 'no-such-verb'" "$out"
check_status 2 roost help start stop
for first in $(printf '%s\n' "$verbs" | sed -n 's/ .*//p' | sort -u); do
	check_match "roost $first" "^usage: roost $first COMMAND" "$(roost "$first")"
	check_eq "roost help $first" "$(roost "$first")" "$(roost help "$first")"
	check_json "its rows" "length > 1 and all(.[]; .name | startswith(\"$first \"))" "$(roost "$first" --json)"
	check_status 2 roost "$first" no-such-verb
	check_match "it is named" "no command '$first no-such-verb'" "$out"
done

# --- the examples -------------------------------------------------------------------------------------------------
need tiny-vmlinux tiny-initrd pico-installer.iso
mkdir "$TMPDIR/here"
cd "$TMPDIR/here"
cat >web1.yaml <<END
name: web1
memory: 256M
max_memory: 1G
max_vcpus: 2
kernel: $GUESTS/tiny-vmlinux
initrd: $GUESTS/tiny-initrd
cmdline: console=ttyS0 no_timer_check quiet
disks:
  - size: 10G
interfaces:
  - user: {restrict: true, hostfwd: ["-22"]}
cloud_init: true
display: vga
vnc: {password: true}
cdrom: none
END
truncate -s 1M data.iso
printf '#cloud-config\npackages: [jq]\n' >user-data
qemu-img create -q -f qcow2 data.qcow2 64M
qemu-img create -q -f qcow2 debian-12.qcow2 64M
cat >smoke.yaml <<END
guests: [{name: web, file: web1.yaml}]
steps: [{run: id -un, equals: roost}]
END

# web1 is defined, whatever the examples before have made of it
defined() {
	roost domstate web1 >/dev/null 2>&1 || roost define web1.yaml
}
# its CPUs run
on() {
	defined
	case $(state web1) in
	'shut off') roost start web1 ;;
	paused) roost resume web1 ;;
	running) ;;
	*)
		roost destroy web1
		roost start web1
		;;
	esac
}
# and a login works
up() {
	on
	roost wait -q web1 --for login --timeout 200s
}
stopped() {
	defined
	[ "$(state web1)" = 'shut off' ] || roost destroy web1
}
has_disk() {
	roost domblklist web1 --json | jq -e --arg target "$1" 'any(.[]; .target == $target)' >/dev/null
}
agent_answers() {
	roost agent web1 '{"execute":"guest-ping"}'
}
# is_saved FILE: web1 has gone into it
is_saved() {
	[ -e "$1" ] && is_state web1 'shut off'
}
in_store() {
	[ -d "$ROOST_STATE/images/debian-12" ]
}
is_busy() {
	[ -n "$(of_status web1 busy)" ]
}

has_snapshot() {
	roost snapshot-info web1 before-upgrade
}
# the publisher is not to be reached from here: what his image would be lies beside us
catalogue_of_ours() {
	catalogue=$ROOST_STATE/catalogue.yaml
	[ -w "$ROOST_STATE" ] || { mkdir -p "$HOME/.config/roost" && catalogue=$HOME/.config/roost/catalogue.yaml; }
	sha256sum data.qcow2 >SHA256SUMS
	printf 'images: [{name: debian-12, url: "file://%s/data.qcow2", checksum: "file://%s/SHA256SUMS"}]\n' "$PWD" "$PWD" \
		>"$catalogue"
}

# a system that can be cleaned without being booted; web1 has none on its disk
template_of_ours() {
	mkdir -p system/etc system/usr
	truncate -s 8M system.raw
	PATH=$PATH:/usr/sbin:/sbin mke2fs -q -F -d system system.raw
	printf 'name: template\ndisks: [{path: system.raw, format: raw}]\n' >template.yaml
	roost define template.yaml
}

# a network of our own, not active
lab() {
	printf 'name: lab\nmode: isolated\n' >lab.yaml
	roost net-define lab.yaml
	! roost net-list --name | grep -qx lab || roost net-destroy lab
}
# what libvirt would have of a guest and of a network
libvirts() {
	qemu-img create -q -f qcow2 theirs.qcow2 16M
	roost dumpxml web1 | sed '/<uuid>/d; /<mac /d; s/<name>web1</<name>web3</; s|=.[^=]*/disk0.qcow2.|="'"$PWD"'/theirs.qcow2"|' >web3.xml
	roost net-dumpxml default | sed '/<uuid>/d; /<host /d; s/<name>default</<name>shop</; s/192[.]168[.]122[.]/192.168.77./' >shop.xml
}
network_off() {
	! roost net-list --name | grep -qx default || roost net-destroy default
}
network_on() {
	roost net-list --name | grep -qx default || roost net-start default
}

# before VERB: what its example needs. A boot takes seconds: those that can do without are not given one.
before() {
	case $1 in
	run | start | boot | undefine | domrename | clone | template | blockcommit | snapshot-*) stopped ;;
	install) ln -sf "$GUESTS/pico-installer.iso" installer.iso ;;
	define | adopt | dumpyaml | dumpxml | edit | desc | list | domid | domname | domuuid | domstate | autostart | restore | managedsave-remove | \
		'image '* | net-* | seed | sysprep | smoke | validate | doctor | gc | ssh-config | keygen | compat | nodeinfo | domcapabilities | version | help | completion) defined ;;
	viewer | dominfo | domif-getlink | suspend | resume | reset | destroy | wait | send-key | screenshot | inject-nmi | halt) on ;;
	*) up ;;
	esac
	case $1 in
	undefine | clone | template | snapshot-create-as) ! has_snapshot || roost snapshot-delete web1 before-upgrade ;;
	snapshot-*) has_snapshot || roost snapshot-create-as web1 before-upgrade ;;
	sysprep) template_of_ours ;;
	ssh-copy-id)
		[ -e "$HOME/.ssh/id_ed25519" ] || roost keygen </dev/null
		;;
	net-define | net-undefine) lab ;;
	adopt) libvirts ;;
	net-start) network_off ;;
	net-destroy | net-dhcp-leases | net-exec | net-guard) network_on ;;
	resume) roost suspend web1 ;;
	attach-disk) ! has_disk vdc || roost detach-disk web1 vdc ;;
	detach-disk) has_disk vdc || roost attach-disk web1 data.qcow2 --format qcow2 --target vdc ;; # vdb is the seed
	agent) wait_until 60 agent_answers ;;
	cancel) # something that waits, and would for long
		wait_until 60 agent_answers
		roost ssh root@web1 killall -STOP qemu-ga
		roost agent web1 '{"execute":"guest-ping"}' --timeout 90s >/dev/null 2>&1 &
		wait_until 20 is_busy
		;;
	domif-getlink) roost domif-setlink web1 nic0 up ;; # pulled by the example before
	df) # all that it has mounted is in its memory
		roost ssh root@web1 'grep -q /mnt /proc/mounts ||
			{ mkdir -p /mnt && mke2fs /dev/vda 8192 >/dev/null && mount -t ext4 /dev/vda /mnt; }'
		;;
	domifaddr | domifstat) wait_until 30 roost domifaddr web1 --source agent ;;
	save) roost change-media web1 sda --eject >/dev/null 2>&1 || : ;; # with a medium only root may
	restore) is_saved web1.save || { up && roost save web1 web1.save; } ;;
	'image import') ! in_store || roost image rm debian-12 ;;
	'image tree' | 'image tag' | 'image verify' | 'image rm') in_store || roost image import debian-12.qcow2 ;;
	managedsave-remove) is_saved "$ROOST_STATE/guests/web1/managed.save" || { up && roost managedsave web1; } ;;
	'image commit' | 'image rebase' | 'image flatten')
		qemu-img create -q -f qcow2 base.qcow2 64M
		qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 overlay.qcow2
		;;
	'image pull')
		! in_store || roost image rm debian-12
		catalogue_of_ours
		;;
	detach-interface) roost attach-interface web1 user --restrict --mac 52:54:00:12:34:56 ;;
	esac
}

# try VERB EXAMPLE
try() {
	case $1 in
	console)
		# a terminal of its own, left as people leave it
		python3 "$TOP/tests/e2e/answer.py" 'Escape character' "$(printf '\r\035')" sh -ec "$2"
		;;
	events)
		# what happens to web1 is told while it happens
		timeout $((60 * E2E_PATIENCE)) sh -ec "$2 -n 2" >"$TMPDIR/events" &
		told=$!
		wait_until 30 tells_events
		wait $told
		cat "$TMPDIR/events"
		;;
	cancel)
		sh -ec "$2" </dev/null
		roost ssh root@web1 killall -CONT qemu-ga </dev/null
		;;
	install)
		sh -ec "$2" </dev/null
		roost destroy new1
		roost undefine new1 --remove-all-storage
		;;
	domrename)
		sh -ec "$2" </dev/null
		roost domrename web2 web1
		;;
	clone)
		sh -ec "$2" </dev/null
		roost undefine web3 --remove-all-storage
		;;
	sysprep)
		sh -ec "$2" </dev/null
		roost undefine template
		;;
	template)
		sh -ec "$2" </dev/null
		roost template --undo web1
		;;
	net-exec) # into a network of root's nobody else gets
		if [ -w "$ROOST_STATE" ]; then sh -ec "$2" </dev/null; else check_status 255 sh -ec "$2" </dev/null; fi
		;;
	net-edit) EDITOR='sed -i s/^address:.*/mtu:\ 1400/' sh -ec "$2" </dev/null ;;
	edit) EDITOR='sed -i s/^memory:.*/memory:\ 320M/' sh -ec "$2" </dev/null ;;
	*) sh -ec "$2" </dev/null ;;
	esac
}
# perhaps before it listens, or when it begins to between the two: again until it has heard both
tells_events() {
	roost suspend web1
	roost resume web1
	[ "$(wc -l <"$TMPDIR/events")" -ge 2 ]
}

at_end() {
	[ "$finish_status" -eq 0 ] || echo "-- what came before the example: $(cat "$TMPDIR/before" 2>/dev/null)"
}
printf '%s\n' "$verbs" >"$TMPDIR/verbs"
while read -r verb <&3; do
	example=$(row "$verb" example)
	say "$example"
	before "$verb" >"$TMPDIR/before" 2>&1 # not in a condition, where the first error would not end it
	status=0
	try "$verb" "$example" >"$TMPDIR/out" 2>&1 || status=$?
	[ $status -eq 0 ] || fail "roost $verb's example ended with $status: $(cat "$TMPDIR/out")"
	tail -n 2 "$TMPDIR/out"
done 3<"$TMPDIR/verbs"
