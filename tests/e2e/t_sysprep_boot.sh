#!/bin/sh
# limit: 300
# sysprep the other way: the guest is booted, alone, and its own shell does it over SSH; wholly or not at all, too.
. "$TOP/tests/e2e/lib.sh"
need tiny.qcow2 tiny-vmlinux tiny-initrd
PATH=$PATH:/usr/sbin:/sbin
cd "$TMPDIR"
guests=$ROOST_STATE/guests
cp "$GUESTS/tiny.qcow2" base.qcow2
cat >a.yaml <<END
name: a
memory: 256M
kernel: $GUESTS/tiny-vmlinux
initrd: $GUESTS/tiny-initrd
cmdline: console=ttyS0 no_timer_check quiet cryptomgr.notests root=LABEL=tinyroot
disks: [{image: base.qcow2}]
interfaces: [{user: {restrict: true, hostfwd: ["-22"]}}]
cloud_init: true
ready: {user: root}
END
roost define a.yaml
whole() {
	(cd "$guests/a" && sha256sum disk0.qcow2 guest.json)
}
# on_disk: the root file system of the guest into root.raw
on_disk() {
	qemu-img check -q "$guests/a/disk0.qcow2"
	qemu-img convert -f qcow2 -O raw "$guests/a/disk0.qcow2" disk.raw
	dd if=disk.raw of=root.raw bs=512 skip=10240 conv=sparse 2>/dev/null
}

say "a script that fails: nothing has happened"
was=$(whole)
printf '#!/bin/sh\necho no luck >&2\nexit 3\n' >fails
check_status 2 roost sysprep a --run fails --password root:script
check_match "in what lies still alone" "--password is set offline" "$out"
check_status 6 roost sysprep a --run fails
check_match "its words" "guest 'a': booted alone: the script 'fails': exited with status 3: no luck" "$out"
check_eq "as it was" "$was" "$(whole)"
check_eq "no file is left" "" "$(find "$guests/a" -name 'disk-*' -o -name '*.sock')"

say "a script that is run, and everything is cleaned after it"
cat >script <<'END'
#!/bin/sh
id -u >/root/made-by
ls /sys/class/net | grep -vc lo >>/root/made-by
echo log >/var/log/messages
mkdir -p /etc/ssh /home/ann/.ssh /var/log/deep/er /etc/sysconfig/network-scripts
echo key >/etc/ssh/ssh_host_rsa_key
echo key >/home/ann/.ssh/authorized_keys
echo log >/var/log/deep/er/x.log
echo x >/root/.bash_history
printf 'A=1\nHWADDR=2\n' >/etc/sysconfig/network-scripts/ifcfg-e
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
echo x >/tmp/.hidden
END
mkdir -p conf.d/deep "it's" keys
long=$(seq -s - 60)
echo deep >"conf.d/deep/$long"
ln -s "deep/$long" conf.d/link
chmod 750 conf.d
echo new >motd
echo key >keys/authorized_keys
dd if=/dev/urandom of=big bs=1001 count=3000 2>/dev/null
# shellcheck disable=SC2016 # the guest's shell expands it
roost sysprep a --run script --run-command 'echo "$(id -un) $(wc -l </root/made-by)" >/root/command' \
	--copy-in conf.d:/etc --copy-in motd:/etc/ --run-command "mkdir -p '/root/it'\''s' /root/.ssh; cat /root/command >>/root/twice; touch /root/gone-a /root/gone-b" \
	--delete '/root/gone-*' \
	--copy-in big:"/root/it's" --copy-in keys/authorized_keys:/root --copy-in "it's":/ >said
cat said
check_match "the way it took" "Guest 'a' was cleaned by booting it alone, over SSH, in [0-9]+ ms" "$(cat said)"
check_eq "its state" "shut off" "$(state a)"
on_disk
e2fsck -fn root.raw >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
check_eq "the script was root's" "0 1" "$(debugfs -R 'cat /root/made-by' root.raw 2>/dev/null | paste -s -d ' ' -)"
check_eq "and then the command" "root 2" "$(debugfs -R 'cat /root/command' root.raw 2>/dev/null)"
check_eq "and another one" "root 2" "$(debugfs -R 'cat /root/twice' root.raw 2>/dev/null)"
check_eq "files are copied in" "new key" "$(debugfs -R 'cat /etc/motd' root.raw 2>/dev/null) $(debugfs -R 'cat /root/authorized_keys' root.raw 2>/dev/null)"
check_eq "a large one" "$(sha256sum <big)" "$(debugfs -R "cat \"/root/it's/big\"" root.raw 2>/dev/null | sha256sum)"
check_eq "one with a long name" deep "$(debugfs -R "cat /etc/conf.d/deep/$long" root.raw 2>/dev/null)"
check_match "a link" "[Ll]ink" "$(debugfs -R 'stat /etc/conf.d/link' root.raw 2>/dev/null)"
check_match "root's, with its mode" 'Mode: +0750 .*User: +0 +Group: +0 ' "$(debugfs -R 'stat /etc/conf.d' root.raw 2>/dev/null | paste -s -d ' ' -)"
! debugfs -R "stat /.roost-copy-in" root.raw 2>&1 | grep -q ^Inode: || fail "the archive is still there"
for path in /etc/ssh/ssh_host_rsa_key /home/ann/.ssh /var/log/messages /var/log/deep/er/x.log /root/.bash_history /tmp/.hidden /root/gone-a /root/gone-b; do
	! debugfs -R "stat $path" root.raw 2>&1 | grep -q ^Inode: || fail "$path is still there"
done
debugfs -R "stat /var/log/deep/er" root.raw 2>&1 | grep -q ^Inode: || fail "a folder is gone"
check_eq "the machine's id" "" "$(debugfs -R 'cat /etc/machine-id' root.raw 2>/dev/null)"
check_eq "no MAC address" "A=1" "$(debugfs -R 'cat /etc/sysconfig/network-scripts/ifcfg-e' root.raw 2>/dev/null)"
check_eq "no file is left" "" "$(find "$guests/a" -name 'disk-*' -o -name '*.sock')"

say "the journal is empty: what comes after it is done offline"
check_match "offline" "cleaned offline \(ext4 on vda2\)" "$(roost sysprep a)"

say "it was ended, not shut down"
roost start a >/dev/null
wait_until 60 roost ssh a true
# a file without a name stays open
# shellcheck disable=SC2016 # the guest's shell expands it
roost ssh a 'echo key >/etc/ssh/ssh_host_rsa_key; mkdir /root/d; for i in $(seq 99); do echo $i >/root/d/$i; done; sync
	exec 9>/root/open; rm /root/open /root/d/1; setsid sleep 99 </dev/null >/dev/null 2>&1 & sync'
roost destroy a >/dev/null
roost sysprep a >said
check_match "its journal" "The ext4 on vda2 had not been unmounted: its journal was replayed \([1-9][0-9]* blocks, [0-9]+ open files" "$(cat said)"
check_match "offline" "cleaned offline \(ext4 on vda2\)" "$(cat said)"
on_disk
e2fsck -fn root.raw >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
check_eq "what it had written" 99 "$(debugfs -R 'cat /root/d/99' root.raw 2>/dev/null)"
! debugfs -R "stat /etc/ssh/ssh_host_rsa_key" root.raw 2>&1 | grep -q ^Inode: || fail "the key is still there"

say "what has no ext on its disks is booted by itself"
cat >b.yaml <<END
name: b
memory: 256M
kernel: $GUESTS/tiny-vmlinux
initrd: $GUESTS/tiny-initrd
cmdline: console=ttyS0 no_timer_check quiet
disks: [{size: 16M}]
interfaces: []
cloud_init: true
ready: {user: root}
END
roost define b.yaml
check_json "booted" '.way == "booted" and .copied == 1' "$(roost sysprep b --copy-in motd:/etc --json)"
sed -i 's/^interfaces: .*/interfaces: [{network: default, publish: ["80"], link: down}, {network: default}]/' b.yaml
roost define b.yaml # which network it is on does not matter: it is booted on none
check_status 6 roost sysprep b --copy-in motd:/etc --copy-in motd:/no/such
check_match "no folder" "copying files into it: exited with status 1: there is no folder '/no/such' in it" "$out"
check_no_match "its network" default "$(roost net-list)"
printf 'name: c\nmemory: 32M\ndisks: [{size: 16M}]\n' >c.yaml
roost define c.yaml
check_status 3 roost sysprep c
check_match "where nobody can log in" "guest 'c': there is no ext2, ext3 or ext4 with a system" "$out"
check_status 5 roost sysprep c --boot
check_match "nor so" "nobody can log in to it" "$out"

say "cancelled, or nobody waits for it any more: it is ended, and nothing has happened"
qemu_of() { # GUEST
	pgrep -f "guest=$1( |\$)" --ns $$ --nslist net >/dev/null
}
# it is logged in to as soon as it lets us, which takes some seconds yet
waits_for_login() {
	pgrep -x roost-ssh --ns $$ --nslist net
}
no_qemu_of() {
	! qemu_of "$1"
}
was=$(whole)
check_status 5 roost cancel a
check_match "nothing to cancel" "nothing is at work on guest 'a' that could be cancelled" "$out"
for how in cancel kill; do
	roost sysprep a --boot >said 2>&1 &
	sysprep=$!
	wait_until 30 waits_for_login
	case $how in
	cancel) check_eq "it is told" "Guest 'a': roost-sysprep is being cancelled" "$(roost cancel a)" ;;
	kill) kill -KILL $sysprep ;;
	esac
	status=0
	wait $sysprep || status=$?
	[ $how = kill ] || check_eq "$how: its status" 9 $status
	[ $how = kill ] || check_match "$how: it is said" "guest 'a': booted alone: waiting for its login: cancelled" "$(cat said)"
	wait_until 10 no_qemu_of a
	check_eq "$how: as it was" "$was" "$(whole)"
	no_file_is_left() {
		[ -z "$(find "$guests/a" -name 'disk-*' -o -name '*.sock')" ]
	}
	wait_until 10 no_file_is_left
done

failing=$TOP/build/fail/bin
[ -x "$failing/roost" ] || {
	echo "not tried for want of build/fail: kill -9 in between"
	exit 0
}
say "kill -9 while it is booted"
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(roostd_pids)
PATH=$failing:$PATH
was=$(whole)
echo sysprep-booted >"$ROOST_RUN/fail"
check_status 7 roost sysprep a --boot
[ ! -s "$ROOST_RUN/fail" ] || fail "it did not come past it"
rm -f "$ROOST_RUN/fail"
wait_until 10 no_qemu_of a
check_eq "as it was" "$was" "$(whole)"
check_match "and as it can be cleaned" "cleaned offline" "$(roost sysprep a)"
check_eq "no file is left" "" "$(find "$guests/a" -name 'disk-*' -o -name '*.sock')"
