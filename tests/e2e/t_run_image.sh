#!/bin/sh
# limit: 240
# `roost run IMAGE`: a guest from nothing but a disk image: its name, the caller's key, and a login; what is told apart
# from a definition by content alone; options that a definition has no place for are refused.
. "$TOP/tests/e2e/lib.sh"

need tiny.qcow2

cp "$GUESTS/tiny.qcow2" "$TMPDIR/Tiny image_1.0.img"
mkdir -p "$HOME/.ssh"
ssh-keygen -q -t ed25519 -N '' -f "$HOME/.ssh/id_ed25519" </dev/null

say "an image is one by its content, and gives the name"
out=$(roost run "$TMPDIR/Tiny image_1.0.img" --memory 256M --user ann --accel tcg --restrict --size 1G --for login --quiet 2>/dev/null)
check_match "ready" '^Tiny-image_1\.0 is ready \(login\): 127\.0\.0\.1 port [0-9]+, user ann; roost ssh Tiny-image_1\.0$' "$out"
check_eq "who" ann "$(roost ssh Tiny-image_1.0 id -un)"
roost ssh Tiny-image_1.0 cat .ssh/authorized_keys >"$TMPDIR/keys"
grep -qF "$(cut -d ' ' -f 2 "$HOME/.ssh/id_ed25519.pub")" "$TMPDIR/keys" || fail "the caller's own key is not among: $(cat "$TMPDIR/keys")"
check_json "memory and size" '.memory == 268435456 and .disks[0].size == 1073741824 and .interfaces[0].user.restrict' \
	"$(roost dominfo Tiny-image_1.0 --json)"

say "a second one gets another name; --name is taken as it is"
roost run "$TMPDIR/Tiny image_1.0.img" --memory 256M --accel tcg --restrict --publish 80 --for qmp --quiet 2>/dev/null
check_json "its ports" '[.interfaces[0].user.hostfwd[]] == ["tcp:127.0.0.1:-22", "tcp:127.0.0.1:-80"]' \
	"$(roost dominfo Tiny-image_1.0-2 --json)"
check_eq "the second" running "$(state Tiny-image_1.0-2)"
check_status 2 roost run "$TMPDIR/Tiny image_1.0.img" --restrict --network default
check_match "a network is not restricted" "restrict is not for a guest on a network" "$out"
check_status 2 roost run "$TMPDIR/Tiny image_1.0.img" --restrict --publish http
check_match "no port" "publish: .*http" "$out"
check_status 2 roost run "$TMPDIR/Tiny image_1.0.img" --name 'a b'
check_match "its name" "guest 'a b': the name may not contain ' '" "$out"

say "cloud-init's files, as virt-install takes them"
echo 's3cret' >"$TMPDIR/pw"
printf 'version: 2\n' >"$TMPDIR/net"
roost run "$TMPDIR/Tiny image_1.0.img" --name third --memory 256M --accel tcg --restrict --for qmp --quiet --password-file - \
	--cloud-init "network-config=$TMPDIR/net,ssh-key=$HOME/.ssh/id_ed25519.pub,hostname=web9,user=bob" <"$TMPDIR/pw" 2>/dev/null
# shellcheck disable=SC2016 # so has a hash
check_json "what it became" '.cloud_init | .hostname == "web9" and .user == "bob" and (.keys | length) == 1 and
	(.network_config | endswith("/net")) and (.password_hash | startswith("$6$"))' "$(roost dominfo third --json)"

say "what is wrong changes nothing"
before=$(roost list --all --name)
echo 'name: text' >"$TMPDIR/text.qcow2"
check_status 2 roost run "$TMPDIR/text.qcow2" --memory 1G
check_match "an option for an image" "^roost: --memory goes with an image, and '.*text.qcow2' is a definition" "$out"
check_status 2 roost run "$TMPDIR/Tiny image_1.0.img" --name other --memory 12
check_match "a size without a unit" '^roost: memory: .*12' "$out"
check_status 3 roost run "$TMPDIR/Tiny image_1.0.img" --name other --key /nonexistent.pub
check_match "a key that is not there" '^roost: cloud_init.keys.0.: .*/nonexistent.pub' "$out"
check_status 2 roost run "$TMPDIR/Tiny image_1.0.img" --name other --cloud-init user-dat=x
check_match "a slip in --cloud-init" "there is no 'user-dat'" "$out"
check_match "what was meant" "did you mean 'user-data'" "$out"
check_status 2 roost run "$TMPDIR/Tiny image_1.0.img" --name other --cloud-init user=a,user=b
check_match "said twice" "'user' is there twice" "$out"
check_status 2 roost run "$TMPDIR/Tiny image_1.0.img" --name other --cloud-init hostname
check_match "without a value" "'hostname' wants a value" "$out"
check_status 2 roost run "$TMPDIR/text.qcow2" --cloud-init user=a
check_match "of a definition" "write .cloud_init: {...}. in the definition" "$out"
check_status 3 roost run "$TMPDIR/nothing.qcow2"
check_match "no such file" 'nothing.qcow2' "$out"
check_eq "guests" "$before" "$(roost list --all --name)"
