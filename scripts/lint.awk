# What scripts/lint can see in a C file of ours by its lines alone. Findings are FILE:LINE: what.

# Which room may include which?
function allowed(from, to) {
	return to == from || to == "base" || from == "orchestrator" || from == "tests"
}

function file_ends() {
	if (lines > 600)
		print file ":" lines ": a file of " lines " lines (600 are allowed)"
}

FNR == 1 {
	file_ends()
	file = FILENAME
	body = 0
	split(FILENAME, path, "/")
	# a header that its own .c file takes first is proven to stand alone
	own = FILENAME
	first = sub(/\.c$/, ".h", own) && (getline ignored < own) >= 0
	close(own)
}

{
	lines = FNR
}

/^#include/ && first {
	first = 0
	if ($2 != "\"" own "\"")
		print FILENAME ":" FNR ": includes " $2 " before its own header"
}

/^#include "/ {
	split($2, name, /["\/]/)
	if (!allowed(path[1], name[2]))
		print FILENAME ":" FNR ": " path[1] " may not include " $2
}

/^#include <libssh\// && FILENAME !~ /^orchestrator\/ssh_/ {
	print FILENAME ":" FNR ": libssh outside orchestrator/ssh_*"
}

# The brace style tells: a function's body is what stands between a line "{" and a line "}".
/^[A-Za-z_].*\(/ {
	function_name = $0
	sub(/\(.*/, "", function_name)
	sub(/.*[ *]/, "", function_name)
}

/^\{$/ {
	body = FNR
}

/^\}$/ && body {
	if (FNR - body + 1 > 80)
		print FILENAME ":" body ": " function_name "() has " FNR - body + 1 " lines (80 are allowed)"
	body = 0
}

path[1] != "tests" && !/^[ \t]*\/?\*/ && /(^|[^a-z_])(u|nano|clock_nano)?sleep *\(/ {
	print FILENAME ":" FNR ": sleeps"
}

/TODO|FIXME/ {
	print FILENAME ":" FNR ": says what is still to do"
}

END {
	file_ends()
}
