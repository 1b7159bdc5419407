#!/bin/sh
# Members of the group `roost` change the store of root's instance: what enters they have opened with their own rights, and it
# enters as it would for root, digests and refusals included; events.jsonl tells who it was. Others may not.
# user: root
# limit: 120
. "$TOP/tests/e2e/members.sh"
need pico.raw
roost boot
home=$TMPDIR/home/alice
images=$ROOST_STATE/images
cp "$GUESTS/pico.raw" "$home/pico.raw"
qemu-img convert -f raw -O vmdk "$home/pico.raw" "$home/other.vmdk"
qemu-img create -q -f qcow2 -F raw -b /etc/shadow "$home/backed.qcow2" 1M
cp "$home/pico.raw" "$TMPDIR/lib/secret.raw"
chmod 600 "$TMPDIR/lib/secret.raw"
chmod 755 "$TMPDIR/lib"
sum=$(sha256sum <"$home/pico.raw" | cut -c 1-64)
cd "$home"
in_store() {
	find "$images" -mindepth 1 -maxdepth 1 ! -name .lock -printf '%f\n' | sort | xargs
}

say "import"
check_match "told" "^Image 'pico' is in the store: raw, 1 MiB" "$(as alice roost image import pico.raw --sha256 "$sum")"
check_json "its record" ".digest == \"sha256:$sum\" and .source == \"$home/pico.raw\" and .format == \"raw\"" "$(cat "$images/pico/image.json")"
check_eq "its rank" "440 root:roost" "$(stat -c '%a %U:%G' "$images/pico/disk.raw")"
check_json "converted" '.format == "qcow2" and .name == "other"' "$(as alice roost image import other.vmdk --convert --json)"
refused() {
	refused_status=$1 refused_why=$2
	shift 2
	check_status "$refused_status" as alice roost image "$@"
	check_match "$*" "$refused_why" "$out"
	check_eq "the store after $*" "other pico" "$(in_store)"
}
refused 5 "there is an image 'pico' in the store already" import pico.raw
refused 5 "its digest is sha256:$sum, not 0{64}" import pico.raw --name wrong --sha256 "$(printf %064d 0)"
refused 5 "has a backing file" import backed.qcow2
refused 5 "has a backing file" import backed.qcow2 --format qcow2
refused 7 "secret.raw': Permission denied" import "$TMPDIR/lib/secret.raw"
refused 9 "secret.raw" pull "file://$TMPDIR/lib/secret.raw" --name secret --no-verify
# no file comes along
check_status 1 as alice "$TOP/tests/e2e/qmp" "$ROOST_RUN/roostd.sock" roost-image-import '{"image": "none"}'
check_match "nothing to enter" "no file came" "$out"
check_status 1 as alice "$TOP/tests/e2e/qmp" "$ROOST_RUN/roostd.sock" roost-image-import '{"image": "none", "fds": [0]}'
check_match "the numbers are roostd's" "fds" "$out"
check_eq "the store" "other pico" "$(in_store)"

say "cancelled"
truncate -s 4G long.raw
# shellcheck disable=SC2016 # for the inner shell
as alice sh -c 'echo $$ >pid && exec roost image import long.raw' >"$TMPDIR/said" 2>&1 &
import=$!
wait_until 10 test -e "$images/.new-long/lock"
kill -TERM "$(cat pid)"
status=0
wait $import || status=$?
check_eq "its end" 9 $status
check_match "it says so" "cancelled" "$(cat "$TMPDIR/said")"
check_eq "nothing is left" "other pico" "$(in_store)"

say "a guest on it, tag, verify, rm, gc"
as alice roost image tag pico stable
check_json "tagged" '.tags == ["stable"]' "$(cat "$images/pico/image.json")"
check_match "verify" "^pico: ok" "$(as alice roost image verify pico)"
cp -a "$images/pico/disk.raw" "$TMPDIR/again"
mv -f "$TMPDIR/again" "$images/pico/disk.raw"
as alice roost image verify
check_json "what was put back is taken again" ".inode == $(stat -c %i "$images/pico/disk.raw")" "$(cat "$images/pico/image.json")"
printf 'name: hers\nmemory: 32M\ninterfaces: []\ndisks: [{image: stable}]\n' >hers.yaml
as alice roost define hers.yaml
refused 5 "image 'pico' is in use: guest 'hers' stands on it" rm pico
as alice roost undefine hers --remove-all-storage
mkdir "$images/.new-dead"
check_match "gc" "removed: .new-dead" "$(as alice roost image gc)"
as alice roost image rm other
check_eq "the store" pico "$(in_store)"

say "pull"
check_status 5 as alice roost image pull "file://$home/pico.raw" --name wrong --sha256 "$(printf %064d 0)"
check_match "its digest" "its digest is sha256:$sum" "$out"
check_match "pull" "^Image 'pulled' is in the store" "$(as alice roost image pull "file://$home/pico.raw" --name pulled --sha256 "$sum")"
check_json "its record" ".digest == \"sha256:$sum\" and (.source | startswith(\"file://\"))" "$(cat "$images/pulled/image.json")"
check_status 5 as alice roost image pull "file://$home/pico.raw" --name pulled --sha256 "$sum"
check_match "its name is taken" "there is an image 'pulled'" "$out"
check_eq "nothing is left of it" "" "$(find "$home/.cache/roost/images" -mindepth 1 ! -name .lock)"
as alice mkdir "$home/.cache/roost/images/.new-part"
check_match "gc removes what is" "removed: .new-part" "$(as alice roost image gc)"

say "who did it, and who may not"
check_eq "events.jsonl" "roost-image-import pico alice roost-image-tag pico alice roost-image-import pulled alice" "$(jq -r 'select(.event ==
	"ROOST_COMMAND") | .data | select((.image == "pico" and .command != "roost-image-rm") or .image == "pulled") | "\(.command) \(.image) \(.user)"' \
	"$ROOST_STATE/events.jsonl" | uniq | xargs)"
roost image tag pico --remove stable
check_eq "root, too" "roost-image-tag pico root" "$(jq -r '.data | "\(.command) \(.image) \(.user)"' "$ROOST_STATE/events.jsonl" | tail -n 1)"
check_status 5 as bob roost -c system image rm pico
check_match "bob" "user 'bob' may not use the system instance" "$out"
chmod 666 "$ROOST_RUN/roostd.sock"
check_status 1 as bob "$TOP/tests/e2e/qmp" "$ROOST_RUN/roostd.sock" roost-image-rm '{"image": "pico"}'
check_match "nor by the socket" "uid 54323 may not change" "$out"
check_match "pico is there" pico "$(in_store)"
# shellcheck disable=SC2046 # several pids
kill_and_wait TERM $(roostd_pids)
check_status 9 as alice roost image rm pico
check_match "what to do" "systemctl start roostd.socket" "$out"
