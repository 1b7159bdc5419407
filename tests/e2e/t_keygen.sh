#!/bin/sh
# roost keygen: a pair of keys that OpenSSH takes, with and without a passphrase; nothing is ever overwritten. That a
# guest takes it, t_ready tells.
. "$TOP/tests/e2e/lib.sh"

public_of() {
	ssh-keygen -y -P "$2" -f "$1" </dev/null | cut -d ' ' -f 1,2
}
same_as_openssh() {
	check_eq "$1: its public half, as OpenSSH tells it" "$(cut -d ' ' -f 1,2 "$1.pub")" "$(public_of "$1" "$2")"
	check_eq "$1: the modes" "600 644" "$(stat -c %a "$1" "$1.pub" | paste -sd ' ')"
}

say "where ssh looks for it"
out=$(roost keygen </dev/null)
key=$HOME/.ssh/id_ed25519
same_as_openssh "$key" ''
check_eq "the folder" 700 "$(stat -c %a "$HOME/.ssh")"
check_match "what is said" "^Your identification has been saved in $key\$" "$out"
check_match "what is said" "^Your public key has been saved in $key.pub\$" "$out"
check_eq "its fingerprint" "$(ssh-keygen -l -f "$key" | cut -d ' ' -f 2)" "$(printf '%s\n' "$out" | sed -n 's/^\(SHA256:.*\) .*/\1/p')"
check_match "the comment" "^ssh-ed25519 AAAA[^ ]+ $(id -un)@$(uname -n)\$" "$(cat "$key.pub")"

say "nothing is overwritten"
before=$(cat "$key" "$key.pub")
check_status 5 roost keygen
check_match "which" "'$key' already exists" "$out"
mv "$key" "$key.away"
check_status 5 roost keygen
check_match "nor is a public half" "'$key.pub' already exists" "$out"
mv "$key.away" "$key"
check_eq "they are as they were" "$before" "$(cat "$key" "$key.pub")"
check_status 3 roost keygen -f "$TMPDIR/no/such/folder"
check_status 2 roost keygen -C "$(printf 'a\nb')" -f "$TMPDIR/lines"
[ ! -e "$TMPDIR/lines" ] || fail "a key was made all the same"

say "with a passphrase, at a terminal"
cat >"$TMPDIR/type.py" <<'END'
import os, pty, re, sys
answers = sys.argv[1].split(",")
shown, answered = b"", 0
def read(fd):
    global shown, answered
    data = os.read(fd, 4096)
    shown += data
    while answered < len(re.findall(rb"passphrase[^\n]*: ", shown)):
        os.write(fd, answers[answered].encode() + b"\n")
        answered += 1
    return data
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[2:], read, lambda fd: b"")))
END
check_status 2 python3 "$TMPDIR/type.py" one,other roost keygen -f "$TMPDIR/key"
check_match "they differ" 'do not match' "$out"
[ ! -e "$TMPDIR/key" ] || fail "a key was made all the same"
python3 "$TMPDIR/type.py" 'correct horse,correct horse' roost keygen -f "$TMPDIR/key" -C mine
same_as_openssh "$TMPDIR/key" 'correct horse'
check_match "the comment" ' mine$' "$(cat "$TMPDIR/key.pub")"
! public_of "$TMPDIR/key" wrong 2>/dev/null | grep . || fail "another passphrase opens it"
python3 "$TMPDIR/type.py" ',' roost keygen -f "$TMPDIR/open" >/dev/null
same_as_openssh "$TMPDIR/open" ''

check_json "in JSON" ".private == \"j\" and .public == \"j.pub\" and (.fingerprint | test(\"^SHA256:\"))" \
	"$(cd "$TMPDIR" && roost keygen -f j --json </dev/null)"
check_eq "nothing else is left" "j j.pub key key.pub open open.pub type.py" \
	"$(find "$TMPDIR" -type f -printf '%f\n' | sort | paste -sd ' ')"
