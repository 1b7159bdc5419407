#!/bin/sh
# limit: 200
# A clone's system gets an identity of its own before the clone's first start: another machine-id, other SSH host keys of
# the same types, the one of which roost then knows. The original keeps its own, and who is killed leaves it to the next start.
. "$TOP/tests/e2e/lib.sh"
need tiny.qcow2 pico.raw
[ -x "$(dirname "$(command -v roost)")/../libexec/roost/roost-sysprep" ] || lacking "roost-sysprep (libext2fs)"
PATH=$PATH:/usr/sbin:/sbin
cd "$TMPDIR"
guests=$ROOST_STATE/guests
mark() { # of GUEST
	jq -r '.issued.renew // ""' "$guests/$1/guest.json"
}
pinned() { # of GUEST
	jq -r '.issued.host_key // ""' "$guests/$1/guest.json"
}

# --- inside -----------------------------------------------------------------------------------------------------------
say "a system that has run: machine-id, host key, somebody who may log in"
roost keygen -f mine >/dev/null
mkdir ssh
roost keygen -f ssh/ssh_host_ed25519_key >/dev/null
mv mine.pub authorized_keys
echo 0123456789abcdef0123456789abcdef >machine-id
cp "$GUESTS/tiny.qcow2" tiny.qcow2
roost image import tiny.qcow2 --name tiny >/dev/null
cat >src.yaml <<END
name: src
memory: 256M
disks: [{image: tiny}, {size: 64M}]
interfaces: [{user: {restrict: true, hostfwd: ["-22"]}}]
ready: {user: root, identity: $TMPDIR/mine}
END
roost define src.yaml
mkdir root.ssh && mv authorized_keys root.ssh/ && mv root.ssh .ssh
roost sysprep src --operations yum-uuid --copy-in machine-id:/etc --copy-in ssh:/etc --copy-in .ssh:/root >/dev/null
content() { # of GUEST
	content_top=$(jq -r '.tops.vda // "disk0.qcow2"' "$guests/$1/snapshots.json" 2>/dev/null) || content_top=disk0.qcow2
	qemu-img check -q -U "$guests/$1/$content_top"
	qemu-img convert -U -O raw "$guests/$1/$content_top" content.raw
	sha256sum <content.raw
}
was=$(content src)
roost clone src a
roost clone a b # of one that has not run
roost clone src kept --keep-identity
check_eq "what is to be done" "vda vdb,vda vdb," "$(mark a),$(mark b),$(mark kept)"
check_eq "byte for byte" "$was" "$(content b)"

say "two of them, from within"
before=$(now_ms)
roost start a
echo "the first start: $(($(now_ms) - before)) ms"
roost start b --paused
roost resume b
check_eq "it is done" "," "$(mark a),$(mark b)"
in_guest() { # GUEST COMMAND
	roost ssh "$1" "$2" 2>ssh.err
}
for guest in a b; do
	wait_until 60 in_guest $guest true
	in_guest $guest 'cat /etc/machine-id; ls /etc/ssh; cut -d " " -f 1-2 /etc/ssh/*.pub; stat -c "%a %u" /etc/ssh/*_key' >$guest.in
	cat $guest.in
	check_eq "which keys" "ssh_host_ed25519_key ssh_host_ed25519_key.pub" "$(sed -n '2,3p' $guest.in | paste -s -d ' ' -)"
	check_eq "the one that roost knows" "$(pinned $guest)" "$(sed -n 4p $guest.in)"
	check_eq "whose it is" "600 0" "$(sed -n 5p $guest.in)"
	check_match "an id" '^[0-9a-f]{32}$' "$(head -n 1 $guest.in)"
done
check_eq "nothing of one is the other's, or the original's" "" "$({
	sed -n '1p;4p' a.in
	sed -n '1p;4p' b.in
	cat machine-id
	cut -d ' ' -f 1-2 ssh/ssh_host_ed25519_key.pub
} | sort | uniq -d)"
check_json "it is told" '.data.renewed and (.data | has("reason") | not)' "$(roost logs --events a | grep ROOST_RENEWED)"
roost destroy a
roost destroy b
check_eq "the original is as it was" "$was" "$(content src)"
content b >/dev/null
key=$(pinned a)
now=$(content a)
roost start a --paused
check_eq "once" "$key $now" "$(pinned a) $(content a)"
roost destroy a
roost start kept --paused
check_eq "its own is kept" "$was" "$(content kept)"
roost destroy kept
roost sysprep a >/dev/null
check_eq "taken away, it is known no more" "" "$(pinned a)"

# --- what is on the disk ----------------------------------------------------------------------------------------------
say "all kinds of keys, with their owners and labels; nothing else"
mkdir -p root/etc/ssh root/etc/dropbear root/usr root/var/lib/dbus root/var/log
(
	cd root
	echo 0123456789abcdef0123456789abcdef | tee etc/machine-id >var/lib/dbus/machine-id
	for kind in rsa ecdsa ed25519 dsa; do
		echo "OLD-$kind" >etc/ssh/ssh_host_${kind}_key
		echo "old $kind" >etc/ssh/ssh_host_${kind}_key.pub
	done
	echo "ecdsa-sha2-nistp384 AAAA" >etc/ssh/ssh_host_ecdsa_key.pub
	rm etc/ssh/ssh_host_rsa_key.pub
	chmod 640 etc/ssh/ssh_host_*_key
	echo cert >etc/ssh/ssh_host_rsa_key-cert.pub
	echo OLD-dropbear >etc/dropbear/dropbear_rsa_host_key
	printf '# HostKey /etc/ssh/ssh_host_ed25519_key\nPort 22\nHostKey /etc/ssh/ssh_host_rsa_key\nhostkey /etc/ssh/ssh_host_ecdsa_key\n' \
		>etc/ssh/sshd_config
	echo log >var/log/syslog
)
system() { # FILE
	truncate -s 24M "$1"
	mke2fs -q -F -t ext4 -d root "$1"
	printf 'set_inode_field /etc/ssh/ssh_host_rsa_key gid 77\nset_inode_field /etc/ssh/ssh_host_rsa_key uid 0\nea_set /etc/ssh/ssh_host_rsa_key security.selinux label\n' |
		debugfs -w -f - "$1" >/dev/null 2>&1
}
guest() { # NAME FILE
	printf 'name: %s\nmemory: 32M\naccel: tcg\ninterfaces: []\ndisks: [{path: %s/%s, format: raw}]\n' "$1" "$TMPDIR" "$2" >"$1.yaml"
	roost define "$1.yaml"
}
holds() { # FILE PATH
	debugfs -R "cat $2" "$1" 2>/dev/null
}
stat_of() { # FILE PATH
	debugfs -R "stat $2" "$1" 2>/dev/null
}
tree() { # FILE: what it has, but for the keys
	debugfs -R 'ls -p /etc/ssh' "$1" 2>/dev/null | cut -d / -f 6 | sed '/^$/d' | sort | paste -s -d ' ' -
}
system own.raw
guest own own.raw
had=$(sha256sum <own.raw)
roost clone own disk --file disk.raw
cmp own.raw disk.raw
roost start disk 2>said
check_eq "nothing need be said" "" "$(cat said)"
roost destroy disk
e2fsck -fn disk.raw >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
check_eq "which files" ". .. ssh_host_ecdsa_key ssh_host_ecdsa_key.pub ssh_host_ed25519_key ssh_host_ed25519_key.pub ssh_host_rsa_key ssh_host_rsa_key.pub sshd_config" \
	"$(tree disk.raw)"
for kind in rsa:3072 ecdsa:384 ed25519:256; do
	file=/etc/ssh/ssh_host_${kind%:*}_key
	holds disk.raw "$file" >key
	chmod 600 key
	check_match "its size" "^${kind#*:} " "$(ssh-keygen -l -f key)"
	check_eq "both halves" "$(ssh-keygen -y -f key | cut -d ' ' -f 1-2)" "$(holds disk.raw "$file.pub" | cut -d ' ' -f 1-2)"
	check_match "as private as it was" 'Mode: +0640 ' "$(stat_of disk.raw "$file")"
done
check_match "its group" 'Group: +77 ' "$(stat_of disk.raw /etc/ssh/ssh_host_rsa_key)"
check_match "its label" 'security.selinux' "$(stat_of disk.raw /etc/ssh/ssh_host_rsa_key)"
check_eq "the one that sshd_config names is known" "$(holds disk.raw /etc/ssh/ssh_host_ecdsa_key.pub)" "$(pinned disk)"
check_eq "the machine's id" "" "$(holds disk.raw /etc/machine-id)"
for file in /var/lib/dbus/machine-id /etc/dropbear/dropbear_rsa_host_key; do
	! stat_of disk.raw $file | grep -q ^Inode: || fail "$file is still there"
done
check_eq "a log stays" log "$(holds disk.raw /var/log/syslog)"
# three letters come up in a new key now and then, a "-" behind them never
! grep -aq OLD- disk.raw || fail "an old key is still on the disk"
check_eq "the original is as it was" "$had" "$(sha256sum <own.raw)"
roost undefine disk

say "files that are used as they are stay so; one that was cleaned need not be seen to"
cp own.raw asis.raw
roost clone own asis --file asis.raw --as-is
roost start asis
roost destroy asis
check_eq "as it was" "$had" "$(sha256sum <asis.raw)"
roost undefine asis
roost clone own cleaned --full
roost sysprep cleaned --operations logfiles >/dev/null
check_eq "not yet" vda "$(mark cleaned)"
roost sysprep cleaned --operations machine-id >/dev/null
check_eq "seen to" "" "$(mark cleaned)"
roost undefine cleaned --remove-all-storage

say "a snapshot of one that has never run has its own, too"
roost clone own early --full
check_status 2 roost snapshot-create-as early ../no
check_eq "nothing was made" vda "$(mark early)"
check_eq "nothing need be said" "Snapshot 'first' of guest 'early' created" "$(roost snapshot-create-as early first 2>&1)"
key=$(pinned early)
check_eq "it is done" "" "$(mark early)"
roost start early --paused
roost destroy early
roost snapshot-revert early first
check_eq "known" "$key" "$(pinned early)"
content early >/dev/null
check_eq "the key that it had then" "$key" "$(holds content.raw /etc/ssh/ssh_host_ecdsa_key.pub)"
roost undefine early --remove-all-storage --snapshots-metadata

# --- what cannot be, and what need not --------------------------------------------------------------------------------
say "what cannot be changed is told, once, and starts"
cp own.raw bad.raw
debugfs -w -R 'ssv state 2' bad.raw 2>/dev/null
truncate -s 24M xfs.raw
printf 'XFSB\0\0\020\0\0\0\0\0\0\0\020\0' | dd of=xfs.raw conv=notrunc 2>/dev/null
truncate -s 24M luks.raw
printf 'LUKS\272\276' | dd of=luks.raw conv=notrunc 2>/dev/null
for kind in "bad:marked as having errors" "xfs:xfs on vda is not changed offline" "luks:crypto_LUKS on vda is not changed offline"; do
	guest "${kind%%:*}" "${kind%%:*}.raw"
	roost clone --full "${kind%%:*}" no
	roost start no 2>said
	check_match "why" "^roost: guest 'no' has the host keys and the machine-id of what it was cloned of: .*${kind#*:}; .roost sysprep no. takes them away$" \
		"$(cat said)"
	check_eq "one line" 1 "$(wc -l <said)"
	roost destroy no
	check_eq "not again" "" "$(roost start no 2>&1 >/dev/null)$(mark no)"
	roost destroy no
	roost undefine no --remove-all-storage
	roost undefine "${kind%%:*}"
done

say "where there is no Linux nothing is said, and nothing is to be waited for"
pico small 'accel: tcg'
truncate -s 24M large.raw
dd if="$GUESTS/pico.raw" of=large.raw conv=notrunc 2>/dev/null
guest large large.raw
truncate -s 24M ntfs.raw
printf 'XYZNTFS    ' | dd of=ntfs.raw conv=notrunc 2>/dev/null
guest ntfs ntfs.raw
for name in small:: large:vda: ntfs:vda:; do
	guest=${name%%:*}
	roost clone --full "$guest" no
	check_eq "the mark of $guest" "${name#*:}" "$(mark no):"
	before=$(now_ms)
	check_eq "nothing is said" "" "$(roost start no 2>&1 >/dev/null)$(mark no)"
	echo "first start of $guest: $(($(now_ms) - before)) ms"
	roost destroy no
	before=$(now_ms)
	roost start no >/dev/null
	echo "second start of $guest: $(($(now_ms) - before)) ms"
	roost destroy no
	roost undefine no --remove-all-storage
	roost undefine "$guest"
done

# --- killed in between ------------------------------------------------------------------------------------------------
[ -x "$TOP/build/fail/bin/roost" ] || {
	echo "not tried for want of build/fail: kill -9 in between"
	exit 0
}
with_failpoints
# shellcheck disable=SC2046 # several words are meant
kill_and_wait TERM $(roostd_pids)
rm root/etc/ssh/ssh_host_rsa_key # which takes its time
system own.raw
had=$(sha256sum <own.raw)
for point in renew-begin sysprep-started snapshot-planned renew-changed; do
	say "kill -9 at $point"
	roost clone own k --full >/dev/null
	die_at $point
	check_status 7 roost start k
	has_died $point
	check_eq "it is still to be done" vda "$(mark k)"
	roost start k
	check_eq "it is done" "" "$(mark k)"
	roost destroy k
	qemu-img check -q "$guests/k/disk0.qcow2"
	qemu-img convert -f qcow2 -O raw "$guests/k/disk0.qcow2" k.raw
	e2fsck -fn k.raw >fsck 2>&1 || fail "e2fsck: $(cat fsck)"
	check_eq "another id" "" "$(holds k.raw /etc/machine-id)"
	check_eq "another key, which is known" "$(pinned k)" "$(holds k.raw /etc/ssh/ssh_host_ecdsa_key.pub)"
	roost undefine k --remove-all-storage
done
check_eq "the original is as it was" "$had" "$(sha256sum <own.raw)"
