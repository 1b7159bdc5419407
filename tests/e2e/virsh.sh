# shellcheck shell=sh
# roost under the name virsh, and what it must answer: whole answers are compared, with the ends of lines shown.
mkdir "$TMPDIR/bin"
ln -s "$(command -v roost)" "$TMPDIR/bin/virsh"
PATH=$TMPDIR/bin:$PATH

# answers STATUS COMMAND...: standard output, then standard error, must be what stands on standard input
answers() {
	cat >"$TMPDIR/expected"
	answers_status=$1
	shift
	answers_got=0
	"$@" >"$TMPDIR/stdout" 2>"$TMPDIR/stderr" </dev/null || answers_got=$?
	{
		sed 's/$/$/' "$TMPDIR/stdout"
		sed 's/^/2|/; s/$/$/' "$TMPDIR/stderr"
	} >"$TMPDIR/answer"
	diff -u "$TMPDIR/expected" "$TMPDIR/answer" || fail "$*: another answer"
	check_eq "$*: its status" "$answers_status" "$answers_got"
}
# refuses LINE COMMAND...: it says that alone, behind the blank line
refuses() {
	refuses_line=$1
	shift
	printf '$\n2|error: %s$\n' "$refuses_line" | answers 1 "$@"
}
# silent COMMAND...: nothing but the blank line
silent() {
	echo '$' | answers 0 "$@"
}
# says LINE COMMAND...
says() {
	says_line=$1
	shift
	printf '%s$\n$\n' "$says_line" | answers 0 "$@"
}
# mistake LINE COMMAND...: a usage error, without a blank line
mistake() {
	mistake_line=$1
	shift
	printf '2|error: %s$\n' "$mistake_line" | answers 1 "$@"
}
