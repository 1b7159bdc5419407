#!/bin/sh
# roost under the name virsh prints what libvirt 9's virsh prints: columns, words, streams, blank lines, exit codes
# (shared/facts-virsh.md, measured). Answers are compared whole, with the ends of lines shown.
. "$TOP/tests/e2e/lib.sh"
need pico.raw
. "$TOP/tests/e2e/virsh.sh"

say "nothing is there"
answers 0 virsh list <<'E'
 Id   Name   State$
--------------------$
$
E
silent virsh list --name
refuses "failed to get domain 'nosuch'" virsh start nosuch
answers 1 virsh net-start nosuch <<'E'
$
2|error: failed to get network 'nosuch'$
2|error: Network not found: no network with matching name 'nosuch'$
E

say "mistakes in what is typed: no blank line"
mistake "unknown command: 'frobnicate'" virsh frobnicate
mistake "command 'list' doesn't support option --frob" virsh list --frob
mistake "unexpected data 'extra'" virsh list extra
mistake "option --all already seen" virsh list --all --all
mistake "command 'start' requires <domain> option" virsh start
mistake "command 'setmem' requires --size option" virsh setmem a
answers 1 virsh setvcpus a --conf <<'E'
2|error: command 'setvcpus' doesn't support option --conf$
2|error: did you mean --config?$
E
mistake "option '-l' is not there: no log is written; \`roost events\` tells what happens" virsh -l /tmp/x list
mistake "Invalid string 'ab' for escape sequence" virsh -e ab list
answers 1 virsh -c foo:///x list <<'E'
2|error: failed to connect to the hypervisor$
2|error: no connection driver available for foo:///x$
E
refuses "Failed to open file '/nonexistent.xml': No such file or directory" virsh define /nonexistent.xml
check_status 1 virsh pool-list --all
check_match "what there is not" 'error: roost has no storage pools: ' "$out"
check_status 1 virsh attach-device a x.xml
check_match "devices in XML" 'use attach-disk' "$out"
mistake "undefine has no --storage here: --remove-all-storage removes the disks that are the guest's own" \
	virsh undefine a --storage vda
[ ! -x /usr/bin/virsh ] || { # libvirt's: what it knows is known here, too, if only to be refused
	/usr/bin/virsh help 2>/dev/null |
		awk '!/help keyword/ && NF > 1 && !/^Grouped/ { print "help", $1 }' >"$TMPDIR/commands"
	/usr/bin/virsh "$(paste -s -d ';' "$TMPDIR/commands")" 2>/dev/null | sed -n '/SYNOPSIS/{n;p;}' |
		awk '$1 !~ /^event$|list$/ { command = $1; for (rest = $0; match(rest, /--[a-z-]+/); rest = substr(rest, RSTART + RLENGTH))
			print command, substr(rest, RSTART, RLENGTH) }' >"$TMPDIR/options"
	cat "$TMPDIR/commands" "$TMPDIR/options" | virsh -q >/dev/null 2>"$TMPDIR/stderr"
	check_eq "unknown here" "" "$(grep -E "unknown|doesn't" "$TMPDIR/stderr" | sort -u)"
	# what an option is called in the help of its command, and what it takes
	forms() {
		sed -En '/^  SYNOPSIS/{n;s/^ *([^ ]*).*/\1/;h}
			/^    ([<[]?--|<)/{s/^ *(<[a-z]+>|[^ ]+( <[a-z]+>)?) .*[^ ]$/\1/;G;s/\n/ of /;p}' | sort
	}
	virsh -q help | awk '{ print "help", $1 }' >"$TMPDIR/commands"
	virsh "$(paste -s -d ';' "$TMPDIR/commands")" | forms >"$TMPDIR/ours"
	/usr/bin/virsh "$(paste -s -d ';' "$TMPDIR/commands")" 2>/dev/null | forms >"$TMPDIR/theirs"
	[ "$(wc -l <"$TMPDIR/ours")" -gt 300 ] || fail "no options in the help of virsh's commands"
	check_eq "options that virsh's help has otherwise" "" "$(comm -23 "$TMPDIR/ours" "$TMPDIR/theirs")"
}
answers 0 virsh help domrename <<'E'
  NAME$
    domrename - rename a domain$
$
  SYNOPSIS$
    domrename <domain> <new-name>$
$
  OPTIONS$
    [--domain] <string>  a guest, by name, Id or UUID$
    [--new-name] <string>  what it is called from now on$
$
$
E

say "one that does not run"
pico vm01 "max_memory: 64M" "max_vcpus: 2" >/dev/null
uuid=$(roost domuuid vm01)
answers 0 virsh list --all <<'E'
 Id   Name   State$
-----------------------$
 -    vm01   shut off$
$
E
echo ' -   vm01   shut off$' | answers 0 virsh -q list --all
says - virsh domid vm01
for verb in suspend resume reboot shutdown destroy; do
	answers 1 virsh $verb vm01 <<E
\$
2|error: Failed to $verb domain 'vm01'\$
2|error: Requested operation is not valid: domain is not running\$
E
done
refuses "Requested operation is not valid: domain is not running" virsh setvcpus vm01 1
refuses "Requested operation is not valid: domain is not running" virsh setmem vm01 64M
answers 1 virsh domifaddr vm01 <<'E'
$
2|error: Failed to query for interfaces addresses$
2|error: Requested operation is not valid: domain is not running$
E
refuses "The domain is not running" virsh console vm01
check_match "how long it took" '^\(Time: [0-9]+\.[0-9]{3} ms\)$' "$(virsh -t domid vm01)"

say "what is typed is no option of roost's"
refuses "guest '--json': the name may not begin with '-'; names are letters, digits, '.', '_' and '-', and begin with a letter or digit" \
	virsh domrename vm01 -- --json
refuses "failed to get domain '--state'" virsh domstats -- --state
echo 'Domain description updated successfully$' | answers 0 virsh desc vm01 -- --json
echo '--json$' | answers 0 virsh desc vm01
answers 0 virsh vcpucount vm01 <<'E'
maximum      config         2$
current      config         1$
$
E

say "it runs"
# where KVM is not proven it says so, on standard error
check_match "start" "^Domain 'vm01' started$" "$(virsh start vm01 2>/dev/null)"
id=$(roost domid vm01)
refuses "Domain is already active" virsh start vm01
answers 0 virsh list <<E
 Id   Name   State\$
----------------------\$
 $id    vm01   running\$
\$
E
says "$uuid vm01" virsh list --uuid --name
answers 0 virsh "list --name; domid vm01" <<E
vm01\$
\$
$id\$
\$
E
says "running (booted)" virsh domstate --reason vm01
says vm01 virsh domname "$id"
says "$uuid" virsh domuuid vm01
virsh dominfo "$uuid" | sed 's/^CPU time: .*s$/CPU time:       -/' >"$TMPDIR/dominfo"
answers 0 cat "$TMPDIR/dominfo" <<E
Id:             $id\$
Name:           vm01\$
UUID:           $uuid\$
OS Type:        hvm\$
State:          running\$
CPU(s):         1\$
CPU time:       -\$
Max memory:     65536 KiB\$
Used memory:    $(($(roost dominfo vm01 --json | jq .current_memory) / 1024)) KiB\$
Persistent:     yes\$
Autostart:      disable\$
Managed save:   no\$
Security model: none\$
Security DOI:   0\$
\$
E
answers 0 virsh vcpucount vm01 <<'E'
maximum      config         2$
maximum      live           2$
current      config         1$
current      live           1$
$
E
greater="invalid argument: requested vcpus is greater than max allowable vcpus for the"
refuses "$greater live domain: 5 > 2" virsh setvcpus vm01 5
refuses "$greater persistent domain: 5 > 2" virsh setvcpus vm01 5 --config
refuses "Can't set 0 processors for a VM" virsh setvcpus vm01 0
refuses "Numeric value 'abc' for <count> option is malformed or out of range" virsh setvcpus vm01 abc
refuses "Option --config is required by option --maximum" virsh setvcpus vm01 2 --maximum
silent virsh setvcpus vm01 2 --config
refuses "invalid argument: cannot set memory higher than max memory" virsh setmem vm01 1G
answers 1 virsh setmem vm01 1Q <<'E'
$
2|error: Scaled numeric value '1Q' for <size> option is malformed or out of range$
2|error: invalid argument: unknown suffix 'Q'$
E
check_status 1 virsh setmem vm01 2048 # the chapter's: 2 MiB
check_match "what is meant" '2048 KiB would leave the guest nothing .* say 2048M$' "$out"
answers 1 virsh setmaxmem vm01 1G <<'E'
$
2|error: Unable to change MaxMemorySize$
2|error: Requested operation is not valid: cannot resize the maximum memory on an active domain$
E
silent virsh setmaxmem vm01 --kilobytes 131072 --config
check_match "dominfo has what it runs by" '^Max memory:     65536 KiB$' "$(virsh dominfo vm01)"
refuses "invalid argument: cannot set memory higher than max memory" virsh setmem vm01 100M
silent virsh setmem vm01 100M --config
says "Domain 'vm01' suspended" virsh suspend vm01
says "Domain 'vm01' suspended" virsh suspend vm01 # also when it is paused
says "paused (user)" virsh domstate vm01 --reason
says "Domain 'vm01' resumed" virsh resume vm01
answers 1 virsh resume vm01 <<'E'
$
2|error: Failed to resume domain 'vm01'$
2|error: Requested operation is not valid: domain is already running$
E
refuses "Cannot run interactive console without a controlling TTY" virsh console vm01
refuses "Unknown mode bogus value, expecting 'acpi', 'agent', 'initctl', 'signal', or 'paravirt'" virsh shutdown vm01 --mode bogus
says "Domain 'vm01' was reset" virsh reset vm01

say "disks"
disk=$(roost domblklist vm01 --json | jq -r '.[0].source')
target=$(roost domblklist vm01 --json | jq -r '.[0].target')
virsh domblklist vm01 >"$TMPDIR/list"
check_eq "domblklist" " Target   Source| $target      $disk|" "$(sed 2d "$TMPDIR/list" | paste -s -d '|' -)"
check_eq "its rule" $((${#disk} + 12)) "$(sed -n 2p "$TMPDIR/list" | tr -d '\n' | wc -c)"
check_match "of which kind" " file +disk +$target +$disk\$" "$(virsh domblklist vm01 --details)"
refuses "invalid argument: invalid path vdq not assigned to domain" virsh domblkinfo vm01 vdq
check_match "domblkinfo" '^Capacity:       [0-9]+$' "$(virsh domblkinfo vm01 "$target")"
qemu-img create -q -f qcow2 "$TMPDIR/data.qcow2" 1M
answers 1 virsh attach-disk vm01 "$TMPDIR/data.qcow2" "$target" <<E
\$
2|error: Failed to attach disk\$
2|error: XML error: target '$target' duplicated for disk sources '$disk' and '$TMPDIR/data.qcow2'\$
E
check_status 1 virsh attach-disk vm01 "$TMPDIR/data.qcow2" vdc # as raw it would show the guest a qcow2 header
check_match "a format that is not said" 'looks like qcow2, and no format is said: add --subdriver qcow2' "$out"
refuses "No disk found whose source path or target is vdz" virsh detach-disk vm01 vdz
attached="Disk attached successfully" detached="Disk detached successfully"
says "$attached" virsh attach-disk vm01 "$TMPDIR/data.qcow2" sdb --subdriver qcow2 --config # the bus is what the target says
check_match "at its next start" "^ sdb +$TMPDIR/data.qcow2\$" "$(virsh domblklist vm01 --inactive)"
says "$detached" virsh detach-disk vm01 "$TMPDIR/data.qcow2" --config # which it does not have now
check_status 1 virsh attach-disk vm01 "$TMPDIR" vdc --config
check_match "a folder" "'$TMPDIR' is neither a file nor a block device\$" "$out"

say "the end"
refuses "Storage volume deletion is supported only on stopped domains" virsh undefine vm01 --remove-all-storage
says "Domain 'vm01' marked as autostarted" virsh autostart vm01
answers 0 virsh undefine vm01 <<E
Domain 'vm01' has been undefined\$
kept: $TMPDIR/vm01.raw\$
\$
E
check_match "it goes on" '^Persistent:     no$' "$(virsh dominfo vm01)"
check_match "it does not start with the host" '^Autostart:      disable$' "$(virsh dominfo vm01)"
says vm01 virsh list --transient --name
answers 1 virsh undefine vm01 <<'E'
$
2|error: Failed to undefine domain 'vm01'$
2|error: Requested operation is not valid: cannot undefine transient domain$
E
says "Domain 'vm01' was reset" virsh reset vm01 # its firmware does not hear the button: it is pressed again
says "Domain 'vm01' is being shutdown" virsh shutdown vm01
its_folder_is_gone() {
	[ -z "$(ls "$ROOST_STATE/guests")" ]
}
wait_until 20 its_folder_is_gone
silent virsh list --all --name

say "one that is undefined, and ends while nobody of roost's is there"
pico vm02 >/dev/null
truncate -s 64K "$TMPDIR/cd.iso"
sed "/format: raw/a\\  - {cdrom: true, path: $TMPDIR/cd.iso, format: raw, bus: scsi, readonly: true}" "$TMPDIR/vm02.yaml" | roost define - >/dev/null
virsh -q start vm02 2>/dev/null
refuses "New disk media source was not specified" virsh change-media vm02 sda
echo 'Successfully ejected media.$' | answers 0 virsh change-media vm02 sda --eject --config
check_match "the medium is in it" "^ sda +$TMPDIR/cd.iso\$" "$(virsh domblklist vm02)"
check_match "but not at its next start" "^ sda +-\$" "$(virsh domblklist vm02 --inactive)"
virsh -q undefine vm02
qemu=$(roost dominfo vm02 --json | jq .qemu_pid)
# shellcheck disable=SC2046 # several words are meant
kill_and_wait KILL $(roostd_pids) "$(roost dominfo vm02 --json | jq .keeper_pid)" "$qemu"
check_eq "nobody sees it" "" "$(roost list --all --name)"
pico vm02 >/dev/null
check_eq "its name is free, and another has it" vm02 "$(roost list --all --name)"
virsh -q start vm02 2>/dev/null
says "Domain 'vm02' destroyed" virsh destroy vm02
says "shut off (destroyed)" virsh domstate vm02 --reason

say "one whose record cannot be read"
pico broken >/dev/null
echo nonsense >"$ROOST_STATE/guests/broken/guest.json"
check_match "it can be undefined" "^Domain 'broken' has been undefined" "$(virsh undefine broken)"

say "from standard input"
printf 'list --all --name\nnosuch\nuri\n' >"$TMPDIR/lines"
answered=$(virsh -q <"$TMPDIR/lines" 2>"$TMPDIR/stderr" | sed 's/virsh # /# /g' | paste -s -d ' ' -)
check_match "what it answers" '^# list --all --name vm02 # nosuch # uri qemu:///(system|session) # *$' "$answered"
check_eq "and what it refuses" "error: unknown command: 'nosuch'" "$(cat "$TMPDIR/stderr")"

say "--remove-all-storage: the guest's own disks, and those in libvirt's folder of images that nobody else needs"
cd "$TMPDIR"
mkdir images
export ROOST_LIBVIRT_IMAGES="$PWD/images"
for disk in images/own images/base elsewhere; do
	qemu-img create -q -f qcow2 $disk.qcow2 1M
done
qemu-img create -q -f qcow2 -F qcow2 -b "$PWD/images/base.qcow2" images/top.qcow2
truncate -s 1M images/x.iso
cat >a.yaml <<E2
name: a
memory: 32M
disks: [{size: 1M}, {path: images/own.qcow2, format: qcow2}, {path: images/base.qcow2, format: qcow2}, {path: elsewhere.qcow2, format: qcow2}]
cdrom: images/x.iso
E2
printf 'name: b\nmemory: 32M\ndisks: [{path: images/top.qcow2, format: qcow2}]\n' >b.yaml
roost define a.yaml >/dev/null
roost define b.yaml >/dev/null
answers 0 virsh undefine a --remove-all-storage <<E2
Domain 'a' has been undefined\$
Volume 'vda'($ROOST_STATE/guests/a/disk0.qcow2) removed.\$
Volume 'vdb'($PWD/images/own.qcow2) removed.\$
\$
2|error: Storage volume 'vdc'($PWD/images/base.qcow2) is not removed: '$PWD/images/base.qcow2' is in use: guest 'b' stands on it\$
2|error: Storage volume 'vdd'($PWD/elsewhere.qcow2) is not removed: it is not in $PWD/images\$
E2
check_eq "what stays" "images/base.qcow2 images/top.qcow2 images/x.iso" "$(echo images/*)"
