#!/bin/sh
# image commit, rebase and flatten change what an overlay stands on and never what it shows; what others stand on is not
# changed, and they are named; who is killed at any step leaves the file as it was or as it is to be, and sound.
. "$TOP/tests/e2e/lib.sh"
with_failpoints
cd "$TMPDIR"

# chain: top.qcow2 over middle.qcow2 over bottom.raw, with something of each to be seen; whole.raw is what top shows
mkdir ready elsewhere
(
	cd ready
	truncate -s 4M bottom.raw
	qemu-io -f raw -c 'write -q -P 1 0 2M' bottom.raw
	qemu-img create -q -f qcow2 -F raw -b bottom.raw middle.qcow2
	qemu-io -f qcow2 -c 'write -q -P 2 1M 2M' middle.qcow2
	qemu-img create -q -f qcow2 -F qcow2 -b middle.qcow2 top.qcow2 5M
	qemu-io -f qcow2 -c 'write -q -P 3 2M 64k' -c 'write -q -z 0 64k' -c 'write -q -P 4 4M 64k' top.qcow2
	qemu-img convert -O raw top.qcow2 whole.raw
)
chain() {
	rm -f ./*.qcow2
	cp ready/* .
}
# shows_whole FILE: what top.qcow2 has shown
shows_whole() {
	qemu-img check -q "$1" || fail "$1 is not sound"
	qemu-img compare -q -f qcow2 -F raw "$1" whole.raw || fail "$1 shows something else"
}
stands_on() {
	qemu-img info --output=json "$1" | jq -r '"\(."backing-filename-format" // "nothing") \(."backing-filename" // "")"'
}
sums() {
	cat -- *.qcow2 *.raw | sha256sum
}
no_copy_is_left() {
	check_eq "no copy is left" "" "$(find . -name '.*roost*')"
}

say "flatten"
chain
chmod 640 top.qcow2
check_eq "told" "'top.qcow2' stands alone now" "$(roost image flatten top.qcow2)"
shows_whole top.qcow2
check_eq "it stands alone" "nothing " "$(stands_on top.qcow2)"
check_eq "its mode" 640 "$(stat -c %a top.qcow2)"
check_status 5 roost image flatten top.qcow2
check_match "nothing to do" "'top.qcow2' stands alone: it has no backing file" "$out"

say "rebase: onto a part of the chain, onto another image, the name alone"
chain
check_json "--json" '."backing-filename" == "bottom.raw"' "$(roost image rebase top.qcow2 -b bottom.raw -F raw --json)"
shows_whole top.qcow2
check_eq "it stands on" "raw bottom.raw" "$(stands_on top.qcow2)"
qemu-img create -q -f qcow2 elsewhere/other.qcow2 1M
qemu-io -f qcow2 -c 'write -q -P 9 0 1M' elsewhere/other.qcow2
roost image rebase top.qcow2 --backing elsewhere/other.qcow2 --backing-format qcow2 >/dev/null
shows_whole top.qcow2
check_eq "it stands on" "qcow2 elsewhere/other.qcow2" "$(stands_on top.qcow2)"
mv elsewhere/other.qcow2 moved.qcow2
check_status 3 roost image rebase top.qcow2 -b bottom.raw -F raw
roost image rebase -u top.qcow2 -b moved.qcow2 -F qcow2 >/dev/null
shows_whole top.qcow2

say "commit"
chain
check_eq "told" "'top.qcow2' is committed into '$TMPDIR/middle.qcow2'" "$(roost image commit top.qcow2)"
shows_whole middle.qcow2
shows_whole top.qcow2
check_json "--delete" '.deleted' "$(roost image commit --delete top.qcow2 --json)"
[ ! -e top.qcow2 ] || fail "it was not removed"
roost image commit middle.qcow2 >/dev/null
qemu-img compare -q -f raw -F raw bottom.raw whole.raw || fail "the raw base has something else"
no_copy_is_left

say "refused, and nothing is changed"
chain
cp middle.qcow2 beside.qcow2
before=$(sums)
refused() { # WHY COMMAND...
	refused_why=$1
	shift
	check_status 5 "$@"
	check_match "$*" "$refused_why" "$out"
	check_eq "$*: nothing is changed" "$before" "$(sums)"
}
refused "bottom.raw' is in use: '.*beside.qcow2' stands on it" roost image commit middle.qcow2
refused "middle.qcow2' is in use: '.*top.qcow2' stands on it" roost image rebase -u middle.qcow2 -b bottom.raw -F raw
refused "'.*middle.qcow2' would stand on itself: '.*top.qcow2' stands on it" roost image rebase middle.qcow2 -b top.qcow2 -F qcow2
refused "top.qcow2' would stand on itself: .* is the same file" roost image rebase top.qcow2 -b ./top.qcow2 -F qcow2
refused "'nbd://x/y' is not a local file's name" roost image rebase top.qcow2 -b nbd://x/y -F raw
check_status 2 roost image rebase top.qcow2 -b bottom.raw
check_match "formats are named" "never guessed" "$out"
check_status 3 roost image rebase top.qcow2 -b none.raw -F raw
n=0
qemu-img create -q -f qcow2 elsewhere/d0 1M
while [ $n -lt 31 ]; do
	qemu-img create -q -u -f qcow2 -F qcow2 -b d$n elsewhere/d$((n + 1)) 1M
	n=$((n + 1))
done
refused "with one more the chain would have more than 32" roost image rebase -u top.qcow2 -b elsewhere/d31 -F qcow2
refused "'elsewhere/d31' stands on 31 files: with one more the chain would have more than 32" roost image create new.qcow2 -b elsewhere/d31 -F qcow2
for n in 0 7 15 22 30; do
	qemu-io -f qcow2 -c "write -q -P $((n + 1)) $((n * 32))k 64k" "elsewhere/d$n"
done
roost image rebase top.qcow2 -b elsewhere/d30 -F qcow2 >/dev/null
shows_whole top.qcow2
check_eq "its name" "qcow2 elsewhere/d30" "$(stands_on top.qcow2)"
roost image rebase top.qcow2 -b elsewhere/d20 -F qcow2 >/dev/null
shows_whole top.qcow2
roost image rebase -u top.qcow2 -b elsewhere/d30 -F qcow2 >/dev/null
check_status 5 roost image rebase elsewhere/d0 -u -b "$TMPDIR/top.qcow2" -F qcow2
check_match "a loop" "would stand on itself: .*top.qcow2. stands on it" "$out"
chain
ln top.qcow2 again
check_status 5 roost image flatten top.qcow2
check_match "two names" "'top.qcow2' has 2 names" "$out"
rm again
qemu-img snapshot -c inside top.qcow2
check_status 5 roost image commit top.qcow2
check_match "snapshots inside" "has snapshots inside" "$out"

say "of guests and of the store"
chain
printf 'name: g\nmemory: 32M\ninterfaces: []\ndisks: [{path: %s/top.qcow2, format: qcow2}]\n' "$TMPDIR" >g.yaml
roost define g.yaml
before=$(sums)
refused "bottom.raw' is in use: guest 'g' stands on it" roost image commit middle.qcow2
refused "middle.qcow2' is in use: guest 'g' stands on it" roost image flatten middle.qcow2
qemu-img create -q -f qcow2 -F qcow2 -b top.qcow2 over.qcow2
before=$(sums)
refused "top.qcow2' is a disk of guest 'g'" roost image commit over.qcow2
rm over.qcow2
roost start --paused g
check_status 4 roost image flatten top.qcow2
check_match "it runs" "top.qcow2' is in use by guest 'g', which writes to it" "$out"
check_status 5 roost image commit top.qcow2
check_match "it runs" "top.qcow2' is a disk of guest 'g', which runs" "$out"
check_match "what does it" "roost blockcommit g vda" "$out"
roost destroy g >/dev/null
check_match "its record is to be told" "roost define --rebased" "$(roost image flatten top.qcow2 2>&1)"
check_status 5 roost start g
roost dumpyaml g | roost define --rebased -
roost start --paused g
roost destroy g >/dev/null
roost undefine g
qemu-img convert -O qcow2 bottom.raw image.qcow2
roost image import image.qcow2 --name image >/dev/null
stored=$ROOST_STATE/images/image/disk.qcow2
qemu-img create -q -f qcow2 -F qcow2 -b "$stored" over.qcow2
before=$(sums)
refused "'.*disk.qcow2' is the image 'image' of the store, which is never written to" roost image commit over.qcow2
printf 'name: own\nmemory: 32M\ninterfaces: []\ndisks: [{image: image}]\n' >own.yaml
roost define own.yaml
disk=$ROOST_STATE/guests/own/disk0.qcow2
refused "is the own disk of guest 'own'" roost image flatten "$disk"
qemu-img create -q -f qcow2 -F qcow2 -b "$PWD/middle.qcow2" elsewhere/plugged.qcow2
roost start --paused own
roost attach-disk own elsewhere/plugged.qcow2 --format qcow2 --target vdb >/dev/null
refused "bottom.raw' is in use: guest 'own' stands on it" roost image commit middle.qcow2
refused "middle.qcow2' is in use: guest 'own' stands on it" roost image rebase -u middle.qcow2 -b bottom.raw -F raw
refused "middle.qcow2' is in use: guest 'own' stands on it" roost image check middle.qcow2 --repair all
qemu-img create -q -f qcow2 -F qcow2 -b elsewhere/plugged.qcow2 over.qcow2
before=$(sums)
refused "plugged.qcow2' is a disk of guest 'own'" roost image commit over.qcow2
mv middle.qcow2 moved.qcow2
before=$(sums)
refused "whether '.*plugged.qcow2', plugged into guest 'own', stands on '.*moved.qcow2' is not known" roost image flatten moved.qcow2
mv moved.qcow2 middle.qcow2
roost destroy own >/dev/null
rm over.qcow2

say "what something stands on is not written to in its place"
chain
# unwritable FILE WHY
unwritable() {
	before=$(sums)
	refused "$2" roost image resize "$1" +1M
	refused "$2" roost image resize "$1" 1M --shrink
	refused "$2" roost image check "$1" --repair all
}
unwritable image "'$stored' is the image 'image' of the store, which is never written to"
unwritable middle.qcow2 "middle.qcow2' is in use: '.*top.qcow2' stands on it"
check_match "the store's may be looked at by its name" "is sound" "$(roost image check image)"
check_json "a map, too" 'length > 0' "$(roost image map image --json)"
roost image resize "$disk" +1M >/dev/null
roost snapshot-create-as own s >/dev/null
unwritable "$disk" "disk0.qcow2' is in use: '.*/guests/own/disk-vda.*' stands on it"
roost image resize "$(roost domblklist own --json | jq -r '.[0].source')" +1M >/dev/null
roost clone own copy >/dev/null
unwritable "$disk" "disk0.qcow2' is in use: "
roost image verify image >/dev/null
roost undefine copy --remove-all-storage >/dev/null
roost undefine own --remove-all-storage --snapshots-metadata >/dev/null

say "what a guest has written into its disk is not followed"
echo "the host's secret" >secret.raw
truncate -s 1M secret.raw
truncate -s 1M disk.raw
printf 'name: evil\nmemory: 32M\ninterfaces: []\ndisks: [{path: disk.raw, format: raw}, {path: top.qcow2, format: qcow2}]\n' >evil.yaml
roost define evil.yaml
mkdir away
qemu-img create -q -f qcow2 -F raw -b "$TMPDIR/secret.raw" away/evil.qcow2
dd if=away/evil.qcow2 of=disk.raw conv=notrunc status=none
qemu-img rebase -u -f qcow2 -F raw -b "$TMPDIR/secret.raw" top.qcow2
before=$(sums)
for words in 'commit FILE' 'flatten FILE' 'rebase FILE -b bottom.raw -F raw' 'convert -f qcow2 FILE to.raw' \
	'compare -f qcow2 FILE bottom.raw -F raw' 'map FILE'; do
	# shellcheck disable=SC2046 # several words are meant
	refused "disk.raw' is a raw disk of guest 'evil', which may have written what looks like qcow2" roost image $(echo "$words" | sed 's/FILE/disk.raw/')
	# shellcheck disable=SC2046 # several words are meant
	refused "top.qcow2' names '.*secret.raw' as its backing file now, of which the record of guest 'evil' knows nothing" roost image $(echo "$words" | sed 's/FILE/top.qcow2/')
done
roost image convert disk.raw -f raw -O raw to.raw >/dev/null
cmp disk.raw to.raw
roost undefine evil
rm disk.raw to.raw secret.raw

say "cancelled, while it copies, too"
stopped() {
	grep -q '^State:[[:space:]]*T' "/proc/$at_work/status"
}
for words in 'commit top.qcow2' 'flatten top.qcow2' 'rebase top.qcow2 -b bottom.raw -F raw'; do
	chain
	before=$(sums)
	hold_at remake-locked
	# shellcheck disable=SC2086 # several words are meant
	roost image $words >said 2>&1 &
	at_work=$!
	wait_until 10 stopped
	kill -TERM $at_work
	kill -CONT $at_work
	status=0
	wait $at_work || status=$?
	check_eq "$words" 9 $status
	check_match "it says so" "cancelled" "$(cat said)"
	check_eq "nothing is changed" "$before" "$(sums)"
	no_copy_is_left
done

say "killed at each step"
for step in locked copied made named settled; do
	for what in flatten rebase commit; do
		chain
		case $what in
		rebase) changes=top.qcow2 && set -- top.qcow2 -b bottom.raw -F raw ;;
		flatten) changes=top.qcow2 && set -- top.qcow2 ;;
		commit) changes=middle.qcow2 && set -- top.qcow2 ;;
		esac
		others=$(find . -maxdepth 1 -name '*.qcow2' ! -name "$changes" -exec sha256sum {} +)
		old=$(sha256sum <"$changes")
		die_at "remake-$step"
		status=0
		roost image $what "$@" >/dev/null 2>&1 || status=$?
		has_died "remake-$step"
		check_eq "killed" 137 $status
		case $step in
		settled) [ "$(sha256sum <"$changes")" != "$old" ] || fail "$what: it is the old one" ;;
		*) check_eq "$what, $step: it is the old one" "$old" "$(sha256sum <"$changes")" ;;
		esac
		qemu-img check -q middle.qcow2
		shows_whole top.qcow2
		check_eq "the others" "$others" "$(find . -maxdepth 1 -name '*.qcow2' ! -name "$changes" -exec sha256sum {} +)"
		# that it has a name and not yet the right one is one system call; the next one sees to it
		[ $step = named ] || no_copy_is_left
		[ $step = settled ] || roost image $what "$@" >/dev/null
		no_copy_is_left
	done
done
