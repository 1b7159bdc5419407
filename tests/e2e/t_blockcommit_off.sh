#!/bin/sh
# A chain of the user's own files is committed into one of them while its guest does not run: its record names that one then.
# Whoever is killed, or cancelled, leaves the old chain or the new file, both sound; what others stand on is not touched.
# limit: 200
. "$TOP/tests/e2e/lib.sh"
with_failpoints
cd "$TMPDIR"
T=$(realpath "$TMPDIR")

# top.qcow2 over middle.qcow2 over lower.qcow2 over base.raw, something of each to be seen; whole.raw is what top shows
mkdir ready
(
	cd ready
	truncate -s 4M base.raw
	qemu-io -f raw -c 'write -q -P 1 0 3M' base.raw
	qemu-img create -q -f qcow2 -F raw -b base.raw lower.qcow2
	qemu-io -f qcow2 -c 'write -q -P 2 1M 2M' lower.qcow2
	qemu-img create -q -f qcow2 -F qcow2 -b lower.qcow2 middle.qcow2
	qemu-io -f qcow2 -c 'write -q -P 3 2M 1M' -c 'write -q -z 0 64k' middle.qcow2
	qemu-img create -q -f qcow2 -F qcow2 -b middle.qcow2 top.qcow2 5M
	qemu-io -f qcow2 -c 'write -q -P 4 3M 64k' -c 'write -q -P 5 4M 64k' top.qcow2
	qemu-img convert -O raw top.qcow2 whole.raw
)
chain() {
	rm -f ./*.qcow2 ./*.raw
	cp ready/* .
	printf 'name: p\nmemory: 32M\ninterfaces: []\ndisks: [{path: top.qcow2, format: qcow2}]\n' | roost define --rebased -
}
record() {
	jq -c '.disks[0] | [.path, .format, (.lineage // [] | .[].path), (.. | .commit? // empty)]' "$ROOST_STATE/guests/p/guest.json" |
		sed "s,$T/,,g"
}
disk() {
	roost domblklist p --json | jq -r '.[0].source'
}
# works FORMAT: what it starts by is sound and shows what it has shown; so does what QEMU has of it
works() {
	check_eq "$at: the disk" "$1" "$(disk)"
	roost start --paused p >/dev/null 2>&1 || fail "$at: it does not start"
	check_match "$at: QEMU's file" "$1" "$(find "/proc/$(of_status p qemu_pid)/fd" -printf '%l\n')"
	roost destroy p >/dev/null
	for file in ./*.qcow2 elsewhere/*.qcow2; do
		[ ! -e "$file" ] || qemu-img check -q "$file" || fail "$at: $file is not sound"
	done
	qemu-img compare -q -f "$2" -F raw "$1" whole.raw || fail "$at: it shows something else"
	check_eq "$at: no copy is left" "" "$(find . -name '.*roost*')"
}
sums() {
	cat -- *.qcow2 *.raw "$ROOST_STATE/guests/p/guest.json" | sha256sum
}

say "into what the top stands on, and into a lower one"
chain
chmod 640 middle.qcow2
at=shallow
check_eq "told" "Disk 'vda' of guest 'p' is committed into '$T/middle.qcow2'" "$(roost blockcommit p vda 2>said)"
check_match "which is needless now" "nothing needs '$T/top.qcow2' any more" "$(cat said)"
check_eq "the record" '["middle.qcow2","qcow2","lower.qcow2","base.raw"]' "$(record)"
check_eq "its mode" 640 "$(stat -c %a middle.qcow2)"
works "$T/middle.qcow2" qcow2
qemu-img compare -q -f qcow2 -F raw top.qcow2 whole.raw
check_eq "the chain" "middle.qcow2 lower.qcow2 base.raw" \
	"$(qemu-img info --backing-chain --output=json middle.qcow2 | jq -r '.[].filename' | xargs)"
at="to the bottom"
chain
check_json "--json" '.base == "'"$T/base.raw"'" and .deleted and (.needless | length) == 3' \
	"$(roost blockcommit p vda --base 'vda[3]' --active --pivot --delete --json)"
check_eq "the record" '["base.raw","raw"]' "$(record)"
check_eq "--delete" "base.raw whole.raw" "$(find . -name "*.qcow2" -o -name "*.raw" | grep -v ready | cut -c3- | sort | xargs)"
at="image commit"
chain
check_match "told" "is committed into '$T/middle.qcow2'" "$(roost image commit top.qcow2 --delete)"
check_eq "the record" '["middle.qcow2","qcow2","lower.qcow2","base.raw"]' "$(record)"
works "$T/middle.qcow2" qcow2

say "from the middle: what is above stays, and stands on the lower one"
at="below the top"
chain
check_eq "told" "'$T/middle.qcow2' of guest 'p' is committed into '$T/lower.qcow2'" \
	"$(roost blockcommit p vda --top middle.qcow2 2>said)"
check_match "which is needless now" "nothing needs '$T/middle.qcow2' any more" "$(cat said)"
check_eq "the record" '["top.qcow2","qcow2","lower.qcow2","base.raw"]' "$(record)"
rm middle.qcow2
works "$T/top.qcow2" qcow2
check_eq "its name" "qcow2 lower.qcow2" "$(qemu-img info --output=json top.qcow2 | jq -r '"\(."backing-filename-format") \(."backing-filename")"')"
at="lower in the chain"
chain
roost blockcommit p vda --top 'vda[2]' --base 'vda[3]' --delete >/dev/null
check_eq "the record" '["top.qcow2","qcow2","middle.qcow2","base.raw"]' "$(record)"
works "$T/top.qcow2" qcow2
check_eq "its name" "raw base.raw" "$(qemu-img info --output=json middle.qcow2 | jq -r '"\(."backing-filename-format") \(."backing-filename")"')"
at="two at once, and a file elsewhere"
chain
mkdir elsewhere
mv top.qcow2 elsewhere/
qemu-img rebase -u -f qcow2 -F qcow2 -b ../middle.qcow2 elsewhere/top.qcow2
sed s,top.qcow2,elsewhere/top.qcow2, <<-'END' | roost define --rebased -
	{name: p, memory: 32M, interfaces: [], disks: [{path: top.qcow2, format: qcow2}]}
END
roost blockcommit p vda --top vda[1] --base base.raw --delete >/dev/null
check_eq "the record" '["elsewhere/top.qcow2","qcow2","base.raw"]' "$(record)"
works "$T/elsewhere/top.qcow2" qcow2
rm -r elsewhere

say "refused, and nothing is changed"
chain
before=$(sums)
refused() { # WHY COMMAND...
	refused_why=$1
	shift
	check_status 5 "$@"
	check_match "$*" "$refused_why" "$out"
	check_eq "$*: nothing is changed" "$before" "$(sums)"
}
refused "does not stand on 'vda\[4\]'" roost blockcommit p vda --base 'vda[4]'
refused "does not stand on 'whole.raw'" roost blockcommit p vda --base whole.raw
check_status 2 roost blockcommit p vda --bandwidth 1M
check_status 2 roost blockcommit p vda --top lower.qcow2 --base middle.qcow2
check_match "upwards" "lower.qcow2' does not stand on '.*middle.qcow2'" "$out"
qemu-img create -q -f qcow2 -F qcow2 -b top.qcow2 other.qcow2
before=$(sums)
refused "other.qcow2' stands on it" roost blockcommit p vda --top middle.qcow2
rm other.qcow2
before=$(sums)
roost start --paused p >/dev/null 2>&1
check_status 5 roost blockcommit p vda --top lower.qcow2
check_match "it runs" "guest 'p' runs: of disk 'vda' it merges only what is at the top or just below it" "$out"
roost destroy p >/dev/null
check_eq "nothing is changed" "$before" "$(sums)"
qemu-img create -q -f qcow2 -F qcow2 -b lower.qcow2 other.qcow2
before=$(sums)
refused "other.qcow2' stands on it" roost blockcommit p vda --base lower.qcow2
mkdir away
mv other.qcow2 away/
qemu-img rebase -u -f qcow2 -F qcow2 -b "$T/lower.qcow2" away/other.qcow2
printf 'name: q\nmemory: 32M\ninterfaces: []\ndisks: [{path: away/other.qcow2, format: qcow2}]\n' | roost define -
before=$(sums)
refused "guest 'q' stands on it" roost blockcommit p vda --base base.raw
refused "guest 'q' stands on it" roost blockcommit p vda --base lower.qcow2
roost undefine q >/dev/null
ln lower.qcow2 away/name
refused "has 2 names" roost blockcommit p vda --base lower.qcow2
rm away/name
roost snapshot-create-as p s >/dev/null
refused "no chain of your own files" roost blockcommit p vda --base base.raw
refused "has snapshots over" roost image commit top.qcow2
roost snapshot-delete p s >/dev/null
qemu-img resize -q --shrink middle.qcow2 3M
roost dumpyaml p | roost define --rebased -
before=$(sums)
refused "'$T/middle.qcow2' shows fewer bytes than '$T/lower.qcow2'" roost blockcommit p vda --base lower.qcow2

say "cancelled"
chain
before=$(sums)
hold_at commit-off-copying
roost blockcommit p vda --base lower.qcow2 >said 2>&1 &
slow=$!
wait_until 20 held_at
check_status 4 roost start p
roost cancel p >/dev/null
kill -CONT "$held"
! wait $slow || fail "it was not cancelled"
check_match "it says so" "cancelled" "$(cat said)"
check_eq "nothing is changed" "$before" "$(sums)"
at=cancelled
works "$T/top.qcow2" qcow2

say "killed at each step"
for step in remake-locked remake-copied commit-off-copying commit-off-marked remake-made remake-named remake-settled \
	commit-off-recorded; do
	at=$step
	chain
	old=$(sha256sum middle.qcow2 lower.qcow2)
	die_at "$step"
	roost blockcommit p vda --base lower.qcow2 >/dev/null 2>&1 || :
	has_died "$step"
	case $step in
	remake-settled | commit-off-recorded)
		works "$T/lower.qcow2" qcow2
		check_eq "$at: the record" '["lower.qcow2","qcow2","base.raw"]' "$(record)"
		;;
	*)
		check_eq "$at: the old files" "$old" "$(sha256sum middle.qcow2 lower.qcow2)"
		[ $step = remake-named ] || works "$T/top.qcow2" qcow2
		roost blockcommit p vda --base lower.qcow2 --delete >/dev/null
		works "$T/lower.qcow2" qcow2
		;;
	esac
done

say "killed at each step of the same from the middle"
for step in commit-off-copying commit-off-marked remake-settled commit-off-named commit-off-recorded; do
	for from in middle lower; do
		at="$step, $from"
		chain
		die_at "$step"
		roost blockcommit p vda --top $from.qcow2 --base base.raw >/dev/null 2>&1 || :
		has_died "$step"
		[ $step = commit-off-named ] && [ $from = middle ] && rm middle.qcow2 lower.qcow2
		works "$T/top.qcow2" qcow2
		case $step in
		commit-off-named | commit-off-recorded) ;;
		*)
			roost blockcommit p vda --top $from.qcow2 --base base.raw --delete >/dev/null
			works "$T/top.qcow2" qcow2
			;;
		esac
		case $from in
		middle) check_eq "$at: the record" '["top.qcow2","qcow2","base.raw"]' "$(record)" ;;
		lower) check_eq "$at: the record" '["top.qcow2","qcow2","middle.qcow2","base.raw"]' "$(record)" ;;
		esac
	done
done
