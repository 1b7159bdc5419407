# Turns YAML or JSON documents into assignments for the shell, one per scalar: NAME_users_0_name='roost', and one per
# sequence, NAME_users_count=1. Characters of a key that a variable's name may not hold become _.
#
#	awk -f settings.awk as=NAME FILE as=NAME2 FILE2
#
# It knows what seeds are written in: block mappings and sequences, flow collections (hence all of JSON), plain and
# quoted scalars, the block scalars | and >, comments. No anchors, no tags, no second document in a file.
#
# Globals: line[1..n] is the document, at the current line. For flow text, S is the text and P the place in it.

FNR == 1 { settings(); prefix = as }
{ sub(/\r$/, ""); line[++n] = $0 }
END { settings() }

function settings() {
	for (at = 1; at <= n; at++) {
		skip_blank()
		if (at <= n)
			node("", indent(line[at]))
	}
	n = 0
}

function indent(s) { match(s, /^ */); return RLENGTH }
function trim(s) { sub(/^[ \t]+/, "", s); sub(/[ \t]+$/, "", s); return s }
function below(path, key) { gsub(/[^A-Za-z0-9]/, "_", key); return path "_" key }
function skip_blank() { while (at <= n && line[at] ~ /^[ \t]*(#.*)?$|^---|^\.\.\.$/) at++ }
function is_item(s) { return s ~ /^-( |$)/ }

function emit(path, value) {
	gsub(/'/, "'\\''", value)
	print prefix path "='" value "'"
}

# If s begins with a key, sets KEY and AFTER (the text behind the colon).
function has_key(s) {
	if (match(s, /^"[^"]*"[ ]*:( |$)/) || match(s, /^'[^']*'[ ]*:( |$)/)) {
		KEY = substr(s, 2, RLENGTH - 1)
		sub(/["'][ ]*:[ ]?$/, "", KEY)
	} else if (match(s, /^[^]:"'#,{}[][^:]*:( |$)/)) {
		KEY = substr(s, 1, RLENGTH)
		sub(/[ ]*:[ ]?$/, "", KEY)
	} else {
		return 0
	}
	AFTER = trim(substr(s, RLENGTH + 1))
	return 1
}

# The node whose first character stands at line[at], column col (counted from 0).
function node(path, col,    text) {
	text = substr(line[at], col + 1)
	if (is_item(text))
		sequence(path, col)
	else if (has_key(text))
		mapping(path, col)
	else
		value(path, trim(text), col - 1)
}

# What follows "key:" or "-" when nothing else stands on that line: a node further in, or nothing.
function child(path, col, in_mapping,    deep) {
	at++
	skip_blank()
	deep = at <= n ? indent(line[at]) : -1
	if (deep > col || (in_mapping && deep == col && is_item(substr(line[at], col + 1))))
		node(path, deep)
	else
		emit(path, "")
}

function mapping(path, col,    key) {
	for (skip_blank(); at <= n && indent(line[at]) == col && has_key(substr(line[at], col + 1)); skip_blank()) {
		key = below(path, KEY)
		if (AFTER == "" || AFTER ~ /^#/)
			child(key, col, 1)
		else
			value(key, AFTER, col)
	}
}

function sequence(path, col,    i, item, text, inner) {
	i = 0
	for (skip_blank(); at <= n && indent(line[at]) == col && is_item(substr(line[at], col + 1)); skip_blank()) {
		item = below(path, i++)
		text = substr(line[at], col + 2)
		inner = col + 1 + indent(text)
		text = trim(text)
		if (text == "" || text ~ /^#/) {
			child(item, col, 0)
		} else if (is_item(text) || has_key(text)) {
			line[at] = sprintf("%" inner "s", "") text	# the item without its dash is a node of its own
			node(item, inner)
		} else {
			value(item, text, col)
		}
	}
	emit(path "_count", i)
}

# A scalar or a flow collection; text is the rest of line[at], col the indentation of what it belongs to.
function value(path, text, col,    i, used) {
	if (text ~ /^[|>][-+0-9]*([ ]+#.*)?$/) {
		block(path, text, col)
	} else if (text ~ /^["'{[]/) {
		S = text
		for (i = at + 1; i <= n; i++)
			S = S "\n" line[i]
		P = 1
		flow(path)
		used = substr(S, 1, P - 1)
		at += 1 + gsub(/\n/, "", used)
	} else {
		sub(/[ \t]+#.*/, "", text)
		for (at++; at <= n && line[at] !~ /^[ \t]*(#.*)?$/ && indent(line[at]) > col; at++)
			text = text " " trim(line[at])
		emit(path, trim(text))
	}
}

function block(path, head, col,    margin, text, sep, empty, s) {
	margin = match(head, /[1-9]/) ? (col < 0 ? 0 : col) + substr(head, RSTART, 1) : 0
	for (at++; at <= n; at++) {
		s = line[at]
		if (s ~ /^ *$/) {
			empty = empty "\n"
			continue
		}
		if (!margin && indent(s) > col)
			margin = indent(s)
		if (!margin || indent(s) < margin)
			break
		text = text (empty != "" ? (sep == " " ? "" : sep) empty : sep) substr(s, margin + 1)
		empty = ""
		sep = head ~ /^>/ ? " " : "\n"
	}
	if (head !~ /-/ && text != "")
		text = text "\n"
	emit(path, text)
}

function flow_space() {
	if (match(substr(S, P), /^[ \t\n]+/))
		P += RLENGTH
	return substr(S, P, 1)
}

function flow(path,    c, i, key) {
	c = flow_space()
	if (c != "{" && c != "[") {
		emit(path, flow_scalar(0))
		return
	}
	P++
	i = 0
	while ((key = flow_space()) != "" && key != "}" && key != "]") {
		if (key == ",") {
			P++
			continue
		}
		if (c == "{") {
			key = flow_scalar(1)
			if (flow_space() == ":")
				P++
		} else {
			key = i++
		}
		flow(below(path, key))
	}
	P++
	if (c == "[")
		emit(path "_count", i)
}

function flow_scalar(is_key,    c, text) {
	c = substr(S, P, 1)
	if (c == "\"")
		return double_quoted()
	if (c == "'")
		return single_quoted()
	if (!match(substr(S, P), is_key ? "^[^]:,{}[\n]+" : "^[^],{}[\n]+")) {
		P++			# not ours to understand, but never stand still
		return ""
	}
	text = substr(S, P, RLENGTH)
	P += RLENGTH
	return trim(text)
}

# The text up to the next character that the class in quote holds, line breaks folded; P stands behind that character.
function upto(quote,    rest, text) {
	rest = substr(S, P)
	if (!match(rest, quote))
		RSTART = length(rest) + 1
	P += RSTART
	text = substr(rest, 1, RSTART - 1)
	gsub(/[ \t]*\n[ \t]*/, " ", text)
	return text
}

function single_quoted(    text) {
	for (P++; P <= length(S); P++) {
		text = text upto("'")
		if (substr(S, P, 1) != "'")
			break
		text = text "'"		# a quote in it is written twice
	}
	return text
}

function double_quoted(    text, c) {
	for (P++; P <= length(S); P++) {
		text = text upto("[\"\\\\]")
		if (substr(S, P - 1, 1) != "\\")
			break
		c = substr(S, P, 1)
		if (c == "n") text = text "\n"
		else if (c == "t") text = text "\t"
		else if (c == "r") text = text "\r"
		else if (c == "u") { text = text utf8(substr(S, P + 1, 4)); P += 4 }
		else if (c != "\n") text = text c
	}
	return text
}

function utf8(hex,    code, i) {
	for (i = 1; i <= 4; i++)
		code = code * 16 + index("0123456789abcdef", tolower(substr(hex, i, 1))) - 1
	if (code < 128)
		return sprintf("%c", code)
	if (code < 2048)
		return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
	return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
}
