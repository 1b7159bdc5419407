#!/bin/sh
# image pull: images from servers that behave well, badly and maliciously. What enters the store is whole and has the
# digest that was promised; whatever fails leaves the store as it was, and a part to go on from.
# limit: 400
. "$TOP/tests/e2e/lib.sh"
[ -x "$TOP/build/libexec/roost/roost-fetch" ] || lacking "roost-fetch (libcurl)"

www=$TMPDIR/www
mkdir "$www"
qemu-img create -q -f raw "$TMPDIR/a.raw" 24M
head -c 6000000 /dev/urandom | dd of="$TMPDIR/a.raw" conv=notrunc status=none
qemu-img convert -f raw -O qcow2 "$TMPDIR/a.raw" "$www/a.qcow2"
qemu-img create -q -f qcow2 "$www/other.qcow2" 16M
qemu-img create -q -f qcow2 -F raw -b /etc/passwd "$www/backed.qcow2" 16M
size=$(stat -c %s "$www/a.qcow2")
sum=$(sha256sum <"$www/a.qcow2" | cut -d ' ' -f 1)
sum512=$(sha512sum <"$www/a.qcow2" | cut -d ' ' -f 1)
(cd "$www" && sha256sum ./*.qcow2 >SHA256SUMS && sha512sum a.qcow2 >SHA512SUMS && sha256sum --tag a.qcow2 >CHECKSUM)
{
	printf -- '-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# a.qcow2: %s bytes\n' "$size"
	cat "$www/CHECKSUM"
	printf -- '-----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCAAdFiEE\n-----END PGP SIGNATURE-----\n'
} >"$www/CHECKSUM.signed"
echo "$sum" >"$www/a.qcow2.sha256"
printf '%064d  a.qcow2\n' 0 >"$www/WRONG"
printf '%s  b.qcow2\n' "$sum" >"$www/NONE"

servers=
at_end() {
	# shellcheck disable=SC2086 # several words are meant
	[ -z "$servers" ] || kill $servers 2>/dev/null
}
# serve NAME [CERTIFICATE]
serve() {
	python3 "$TOP/tests/e2e/image_server.py" "$www" "$TMPDIR/$1.port" "$TMPDIR/$1.log" ${2:+"$2"} 2>"$TMPDIR/$1.err" &
	servers="$servers $!"
	wait_until 20 test -s "$TMPDIR/$1.port"
	: >"$TMPDIR/$1.log"
}
serve http
port=$(cat "$TMPDIR/http.port")
at=http://127.0.0.1:$port
log=$TMPDIR/http.log
images=$ROOST_STATE/images

# pull ARGUMENT...: quietly
pull() {
	roost image pull --timeout $((3 * E2E_PATIENCE))s "$@"
}
# entered NAME: it is there, and what was served
entered() {
	cmp "$www/a.qcow2" "$images/$1/disk.qcow2" || fail "image '$1' is not what was served"
	check_json "the record of $1" '.digest == "sha256:'"$sum"'"' "$(cat "$images/$1/image.json")"
	[ ! -e "$images/.new-$1" ] || fail "image '$1' has left something behind: $(ls -a "$images/.new-$1")"
	: >"$log"
}
# absent NAME: neither in the store nor half
absent() {
	for absent_path in "$images/$1" "$images/.new-$1"; do
		[ ! -e "$absent_path" ] || fail "something is there: $(ls -a "$absent_path")"
	done
	: >"$log"
}
part() {
	stat -c %s "$images/.new-$1/disk" 2>/dev/null || echo 0
}
part_beyond() {
	[ "$(part "$1")" -gt "$2" ]
}

say "by address, with every way to tell the digest"
check_match "it is told" "Image 'a' is in the store: qcow2, 24 MiB" "$(pull "$at/plain/a.qcow2" --sha256 "$sum")"
check_match "how it was asked for" "^GET /plain/a.qcow2 range= if-range= agent=roost/[0-9.]+ auth=$" "$(cat "$log")"
entered a
check_json "its record" '.source == "'"$at"'/plain/a.qcow2"' "$(cat "$images/a/image.json")"
check_status 5 pull "$at/plain/a.qcow2" --sha256 "$sum"
check_match "a name that is taken" "there is an image 'a' in the store already" "$out"
check_json "as JSON" '.name == "b" and .virtual_size == 25165824' \
	"$(pull "$at/plain/a.qcow2" --name b --sha512 "$sum512" --json)"
entered b
n=0
for list in SHA256SUMS SHA512SUMS CHECKSUM CHECKSUM.signed a.qcow2.sha256; do
	n=$((n + 1))
	pull "$at/plain/a.qcow2" --name "by$n" --checksum-url "$at/plain/$list" >"$TMPDIR/out" 2>&1 || fail "$(cat "$TMPDIR/out")"
	check_match "http is not safe" "came by http, which others on the way can change" "$(cat "$TMPDIR/out")"
	entered "by$n"
done
pull "file://$www/a.qcow2" --name file --checksum-url "file://$www/SHA256SUMS"
entered file

say "no digest, no image"
check_status 5 pull "$at/plain/a.qcow2" --name x
check_match "it says what to do" "there is no digest of it.*--sha256.*--no-verify" "$(echo "$out" | tr '\n' ' ')"
check_eq "the server was not asked" "" "$(cat "$log")"
absent x
out=$(pull "$at/plain/a.qcow2" --name unverified --no-verify 2>&1)
check_match "it is said plainly" "not verified: whatever the server sends enters the store" "$out"
entered unverified
for bad in "--sha256 abc" "--sha256 ${sum}0" "--sha512 $sum" "--sha256 $(printf %064d 0 | tr 0 g)" "--checksum-url ftp://x/y" \
	"--sha256 $sum --no-verify" "--timeout 3" "--name ../x"; do
	# shellcheck disable=SC2086 # several words are meant
	check_status 2 roost image pull "$at/plain/a.qcow2" --name x $bad
done
check_status 2 pull "ftp://127.0.0.1/a.qcow2" --name x --sha256 "$sum"
check_status 2 pull "$at/plain/a.qcow2" "not-an-address" --name x --sha256 "$sum"
check_status 3 pull "file://$www/none.qcow2" --name x --sha256 "$sum"
check_status 2 pull "file:///dev/zero" --name x --sha256 "$sum"
absent x

say "not what was promised"
check_status 5 pull "$at/plain/other.qcow2" --name x --sha256 "$sum"
check_match "both digests are told" "its digest is sha256:[0-9a-f]{64}, not $sum" "$out"
absent x
check_status 5 pull "$at/plain/a.qcow2" --name x --checksum-url "$at/plain/WRONG"
absent x
check_status 3 pull "$at/plain/a.qcow2" --name x --checksum-url "$at/plain/NONE"
check_match "which list" "no SHA-256 or SHA-512 of 'a.qcow2'" "$out"
check_status 3 pull "$at/plain/a.qcow2" --name x --checksum-url "$at/plain/no-such-list"
check_status 2 pull "$at/plain/a.qcow2" --name x --checksum-url "$at/plain/a.qcow2"
check_eq "the image was not asked for" "" "$(grep 'a.qcow2 range' "$log" | grep -v 'GET /plain/a.qcow2 range= .*' || :)"
check_status 5 pull "$at/page/a.qcow2" --name x --sha256 "$sum"
absent x
backed=$(sha256sum <"$www/backed.qcow2" | cut -d ' ' -f 1)
check_status 5 pull "$at/plain/backed.qcow2" --name x --sha256 "$backed"
check_match "its digest holds, and yet" "backing file" "$out"
absent x
check_status 5 pull "$at/short/a.qcow2" --name x --sha256 "$sum"
absent x

say "a connection that is cut goes on where it was"
pull "$at/cut/a.qcow2" --name cut --sha256 "$sum" 2>"$TMPDIR/out"
check_match "it is told" "the connection was cut after .*; trying again" "$(cat "$TMPDIR/out")"
check_eq "only the rest was asked for" 2 "$(grep -c "GET /cut/a.qcow2 range=bytes=[1-9][0-9]*- if-range=\"" "$log")"
entered cut
pull "$at/cut-noetag/a.qcow2" --name cut2 --sha256 "$sum" 2>/dev/null
check_eq "by its size, where nothing else is known" 2 "$(grep -c 'range=bytes=[1-9][0-9]*- if-range= ' "$log")"
entered cut2
check_status 9 pull "$at/dead/a.qcow2" --name x --sha256 "$sum"
check_eq "not for ever" 3 "$(grep -c "GET /dead" "$log")"
absent x
check_status 9 pull "$at/long/a.qcow2" --name x --sha256 "$sum"
check_match "a length that was a lie" "cut after" "$out"
rm -r "$images/.new-x"
: >"$log"

# interrupt NAME SIGNAL [ARGUMENT...]: begins to pull it, and ends that in the middle, where the server waits for it
interrupt() {
	interrupt_name=$1 interrupt_signal=$2
	shift 2
	: >"$www/hold"
	roost image pull "$at/drip/a.qcow2" --name "$interrupt_name" "$@" 2>"$TMPDIR/interrupted" &
	interrupted=$!
	wait_until 30 part_beyond "$interrupt_name" 500000
	kill -"$interrupt_signal" $interrupted
	interrupted_status=0
	wait $interrupted || interrupted_status=$?
	rm "$www/hold"
	: >"$log"
}

say "interrupted, and gone on with by the next pull"
interrupt resumed TERM --sha256 "$sum"
check_eq "its status" 5 "$interrupted_status"
check_match "it says so" "interrupted" "$(cat "$TMPDIR/interrupted")"
check_match "and what is left" "[0-9] [KM]iB of it are kept: the same command goes on.*roost image gc" "$(cat "$TMPDIR/interrupted")"
left=$(part resumed)
pull "$at/drip/a.qcow2" --name resumed --sha256 "$sum"
check_match "from there" "range=bytes=$left- if-range=\"" "$(cat "$log")"
entered resumed
interrupt elsewhere TERM --sha256 "$sum"
pull "$at/noetag/a.qcow2" --name elsewhere --sha256 "$sum"
check_match "from another server, by its size" "GET /noetag/a.qcow2 range=bytes=[0-9]+- if-range= " "$(cat "$log")"
entered elsewhere
interrupt norange TERM --sha256 "$sum"
pull "$at/norange/a.qcow2" --name norange --sha256 "$sum"
entered norange
interrupt wrong-range TERM --sha256 "$sum"
pull "$at/wrong-range/a.qcow2" --name wrong-range --sha256 "$sum"
check_eq "a wrong answer is not put to it" 2 "$(wc -l <"$log")"
entered wrong-range
interrupt unjudged TERM --no-verify
absent unjudged

say "what was begun has changed meanwhile"
cp "$www/a.qcow2" "$TMPDIR/kept"
interrupt etag TERM --sha256 "$sum"
# another file from there on, of the same size
{ head -c 1000 /dev/zero && tail -c +1001 "$TMPDIR/kept"; } >"$www/a.qcow2"
new=$(sha256sum <"$www/a.qcow2" | cut -d ' ' -f 1)
check_status 5 pull "$at/drip/a.qcow2" --name etag --sha256 "$sum"
check_match "the server has told that it is another" "range=bytes=[0-9]+- if-range=\"" "$(cat "$log")"
check_match "and what has come is the new one" "its digest is sha256:$new" "$out"
absent etag
interrupt changed TERM --sha256 "$new"
cp "$TMPDIR/kept" "$www/a.qcow2"
pull "$at/noetag/a.qcow2" --name changed --sha256 "$sum" 2>"$TMPDIR/out"
check_match "a mixture is not taken" "its digest is .*; fetching all of it anew" "$(cat "$TMPDIR/out")"
entered changed

say "gc removes what was begun"
interrupt begun TERM --sha256 "$sum"
[ "$(part begun)" -gt 0 ] || fail "nothing was kept"
roost image gc >/dev/null
absent begun

say "killed in the middle: the old state, and nothing else at work"
interrupt killed KILL --sha256 "$sum"
[ ! -e "$images/killed" ] || fail "half an image is in the store"
pull "$at/plain/a.qcow2" --name killed --sha256 "$sum"
entered killed
for delay in 0 0.02 0.05 0.1 0.2 0.4; do
	setsid roost image pull -q "$at/plain/a.qcow2" --name "k$delay" --sha256 "$sum" >/dev/null 2>&1 &
	killed=$!
	sleep $delay
	kill -KILL $killed 2>/dev/null || :
	wait $killed 2>/dev/null || :
	if [ -e "$images/k$delay" ]; then
		cmp "$www/a.qcow2" "$images/k$delay/disk.qcow2"
	else
		# a child that it was just forking holds its lock a moment longer
		wait_until 10 pull -q "$at/plain/a.qcow2" --name "k$delay" --sha256 "$sum"
	fi
	entered "k$delay"
done

say "two at the same time"
: >"$www/hold"
roost image pull "$at/drip/a.qcow2" --name twice --sha256 "$sum" >/dev/null 2>&1 &
first=$!
wait_until 30 part_beyond twice 100000
check_status 4 pull "$at/plain/a.qcow2" --name twice --sha256 "$sum"
rm "$www/hold"
wait $first
entered twice

say "several addresses"
pull "$at/status/404/a.qcow2" "$at/status/503/a.qcow2" "http://127.0.0.1:9/a.qcow2" "$at/cut/x/a.qcow2" --name mirrors \
	--sha256 "$sum" 2>"$TMPDIR/out"
check_eq "each failure is told" 3 "$(grep -c 'trying the next address' "$TMPDIR/out")"
entered mirrors
pull "$at/plain/other.qcow2" "$at/plain/a.qcow2" --name mirrors2 --sha256 "$sum" 2>"$TMPDIR/out"
check_match "one that serves something else" "other.qcow2: its digest is .*; trying the next address" "$(cat "$TMPDIR/out")"
entered mirrors2
check_status 3 pull "$at/status/404/a.qcow2" "$at/status/404/b/a.qcow2" --name x --sha256 "$sum"
check_match "the last one" "b/a.qcow2: the server says 404, not found" "$out"
absent x

say "redirects"
pull "$at/hop/10/a.qcow2" --name hops --sha256 "$sum"
entered hops
check_status 5 pull "$at/hop/11/a.qcow2" --name x --sha256 "$sum"
check_match "too many" "more than 10 redirects" "$out"
check_status 5 pull "$at/loop/a.qcow2" --name x --sha256 "$sum"
check_status 5 pull "$at/to/file/0/a.qcow2" --name x --sha256 "$sum"
check_match "not to a file" "a redirect to something else than http or https" "$out"
check_status 5 pull "$at/to/ftp/21/a.qcow2" --name x --sha256 "$sum"
absent x

say "a server that falls silent"
since=$(now_ms)
check_status 8 roost image pull "$at/stall/a.qcow2" --name x --sha256 "$sum" --timeout 1s
check_time "it is given up" 40000 "$since"
check_match "what has come is kept" "are kept" "$out"
pull "$at/plain/a.qcow2" --name x --sha256 "$sum"
entered x

say "more than there is room for"
check_status 7 pull "$at/huge/a.qcow2" --name big --sha256 "$sum"
check_match "before a byte is taken" "huge/a.qcow2: 1 PiB; there is no room for it" "$out"
absent big
out=$(ulimit -f 20000 && pull "$at/endless/a.qcow2" --name big --sha256 "$sum" 2>&1) && fail "an endless image entered"
check_match "a limit" "cannot write the image after .*File too large" "$out"
rm -r "$images/.new-big"
if [ "$(id -u)" -eq 0 ]; then
	# a small disk under the store; mounts of a namespace of its own
	cat >"$TMPDIR/small.sh" <<-'END'
		set -eu
		mkdir -p "$TMPDIR/small/images"
		mount -t tmpfs -o size=30m,mode=755 none "$TMPDIR/small"
		export ROOST_STATE="$TMPDIR/small"
		roost image pull "$1/endless/a.qcow2" --name big --sha256 "$2" 2>&1 && exit 1
		free=$(df --output=avail -k "$TMPDIR/small" | tail -n 1)
		echo "left free: $free"
		[ "$free" -gt 100 ]
		roost image gc >/dev/null
		roost image pull -q "$1/plain/a.qcow2" --name fits --sha256 "$2"
	END
	out=$(unshare --mount sh "$TMPDIR/small.sh" "$at" "$sum" 2>&1) || fail "$out"
	check_match "it stops before the disk is full" "more than .* MiB; there is no room for it" "$out"
	check_match "and another fits" "Image 'fits' is in the store" "$out"
fi

say "secrets stay out"
out=$(pull "http://alice:Secret1@127.0.0.1:$port/status/403/a.qcow2?token=Secret2" \
	"http://alice:Secret1@127.0.0.1:$port/cut/s/a.qcow2?token=Secret2" --name secret --sha256 "$sum" 2>&1)
check_no_match "what is printed" "Secret" "$out"
check_match "they were used" "auth=Basic $(printf 'alice:Secret1' | base64)" "$(cat "$log")"
grep -r Secret "$images" && fail "a secret is in the store"
entered secret

say "no proxy unless it is asked for"
http_proxy=http://127.0.0.1:9 HTTP_PROXY=http://127.0.0.1:9 all_proxy=http://127.0.0.1:9 \
	pull "$at/plain/a.qcow2" --name noproxy --sha256 "$sum"
entered noproxy
pull "http://images.example/plain/a.qcow2" --proxy "$at" --name proxy --sha256 "$sum" >"$TMPDIR/out" 2>&1 || :
check_match "it was asked" "^GET http://images.example/plain/a.qcow2" "$(cat "$log")"

say "https"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
	-keyout "$TMPDIR/key.pem" -out "$TMPDIR/ca.pem" 2>/dev/null
cat "$TMPDIR/ca.pem" "$TMPDIR/key.pem" >"$TMPDIR/both.pem"
serve https "$TMPDIR/both.pem"
safe=https://127.0.0.1:$(cat "$TMPDIR/https.port")
check_status 5 pull "$safe/plain/a.qcow2" --name x2 --sha256 "$sum"
check_match "an unknown certificate" "certificate" "$out"
absent x2
out=$(pull "$safe/plain/a.qcow2" --cacert "$TMPDIR/ca.pem" --name safe --checksum-url "$safe/plain/SHA256SUMS" 2>&1)
check_no_match "nothing to warn of" "by http" "$out"
entered safe
check_status 5 pull "$safe/to/http/$port/a.qcow2" --cacert "$TMPDIR/ca.pem" --name x2 --sha256 "$sum"
check_match "not down to http" "a redirect from https down to http" "$out"
check_eq "nobody was asked" "" "$(cat "$log")"
pull "$at/to/https/$(cat "$TMPDIR/https.port")/a.qcow2" --cacert "$TMPDIR/ca.pem" --name up --sha256 "$sum"
entered up

say "the catalogue"
check_match "ours" "^ *debian-12 +Debian 12 .*debian +any +256 MiB +no$" "$(roost image catalogue)"
check_json "as JSON" 'length >= 16 and all(.[]; .fetched == false and (.url | startswith("https://")) and
	(.checksum | startswith("https://")) and .user != null)' "$(roost image catalogue --json)"
cat >"$ROOST_STATE/catalogue.yaml" <<END
images:
  - name: debian-12
    os: Ours
    url: $at/status/404/a.qcow2
    mirrors: ["$at/plain/a.qcow2"]
    checksum: $at/plain/SHA256SUMS
    user: tester
    firmware: bios
    min_memory: 64M
    fetched: yes
END
check_match "the user's wins" "^ *debian-12 +Ours +tester +bios +64 MiB +yes$" "$(roost image catalogue)"
check_match "one of it" "told by: +$ROOST_STATE/catalogue.yaml" "$(roost image catalogue debian-12)"
pull debian-12 2>/dev/null
entered debian-12
check_json "what it knew is recorded" '.user == "tester" and .os == "Ours" and .firmware == "bios" and
	.min_memory == 67108864' "$(cat "$images/debian-12/image.json")"
sed -e 's/debian-12/heavy/' -e 's/bios/uefi/' -e 's/64M/1200M/' "$ROOST_STATE/catalogue.yaml" >"$TMPDIR/heavy.yaml"
tail -n +2 "$TMPDIR/heavy.yaml" >>"$ROOST_STATE/catalogue.yaml"
pull heavy 2>/dev/null
roost run heavy --for running --restrict >/dev/null 2>&1
check_eq "a guest of it has the firmware and the memory that it needs" "firmware: uefi memory: 1200M" \
	"$(roost dumpyaml heavy | grep -E '^(firmware|memory)' | sort | xargs)"
roost destroy heavy
roost undefine heavy --remove-all-storage
roost run debian-12 --memory 32M --for running --restrict >"$TMPDIR/out" 2>&1
check_match "less than it needs is told" "the image wants 64 MiB of memory; the guest gets 32 MiB" "$(cat "$TMPDIR/out")"
roost destroy debian-12
roost undefine debian-12 --remove-all-storage
check_status 3 pull debian-21
check_match "a wrong name" "did you mean debian-12" "$out"
check_status 2 pull debian-12 fedora-44
echo '  - name: again' >>"$ROOST_STATE/catalogue.yaml"
check_status 2 roost image catalogue
check_match "a mistake is named with its line" "catalogue.yaml:20: .*url" "$out"

say "progress at a terminal, and elsewhere"
rm "$ROOST_STATE/catalogue.yaml"
script -qec "roost image pull '$at/drip/a.qcow2' --name bar --sha256 $sum" /dev/null </dev/null >"$TMPDIR/terminal"
check_match "a bar, a rate, the time left" "bar  ?\[#+> *\] +[0-9]+ %  .* MiB of .* MiB  .*/s  0:0[0-9] left" "$(tr '\r' '\n' <"$TMPDIR/terminal")"
entered bar
roost image pull "$at/drip/a.qcow2" --name plain --sha256 "$sum" >/dev/null 2>"$TMPDIR/plain"
check_match "a line" "^plain: +[0-9]+ %  .* [KM]iB of .* MiB" "$(cat "$TMPDIR/plain")"
check_no_match "without control characters" "$(printf '\r|\033')" "$(cat "$TMPDIR/plain")"
entered plain
roost image pull -q "$at/drip/a.qcow2" --name silent --sha256 "$sum" 2>&1 >/dev/null | grep . && fail "it was to be quiet"
entered silent
