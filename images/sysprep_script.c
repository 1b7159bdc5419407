#include "images/sysprep_script.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "images/sysprep_ops.h"

static const char functions[] =
	"export LC_ALL=C\n"
	"there() { [ -e \"$1\" ] || [ -L \"$1\" ]; }\n"
	"folder() { [ -d \"$1\" ] && [ ! -L \"$1\" ]; }\n"
	"remove() { for f; do ! there \"$f\" || rm -rf -- \"$f\"; done; }\n"
	"files() { for f; do folder \"$f\" || ! there \"$f\" || rm -f -- \"$f\"; done; }\n"
	"plain() { for f; do [ ! -f \"$f\" ] || [ -L \"$f\" ] || rm -f -- \"$f\"; done; }\n"
	"empty() { for f; do [ ! -f \"$f\" ] || [ -L \"$f\" ] || : >\"$f\"; done; }\n"
	"below() { folder \"$1\" || return 0; find \"$1\" ! -type d -name \"$2\" -exec rm -f {} +; }\n"
	"lines() { for f; do [ ! -f \"$f\" ] || sed -i \"$expression\" \"$f\"; done; }\n";

/*
 * What is written is on the disk, and nothing more will be: the kernel makes all file systems read-only, which it does
 * in its own time, and only then the last word is said. Its system is not asked to end: it has nothing left to say.
 */
static const char end[] = "sync\n"
			  "echo u >/proc/sysrq-trigger\n"
			  "n=0\n"
			  "while grep -q '^/dev/[^ ]* [^ ]* [^ ]* rw[, ]' /proc/mounts; do\n"
			  "\tn=$((n + 1))\n"
			  "\t[ $n -le 30 ] || { echo 'a file system stays writable:' >&2\n"
			  "\t\tgrep '^/dev/[^ ]* [^ ]* [^ ]* rw[, ]' /proc/mounts >&2; exit 1; }\n"
			  "\tsleep 1\n"
			  "done\n"
			  "sync\n"
			  "echo " SYSPREP_DONE "\n";

/* Hidden names are not in a shell's '*'. */
static void add_plain(struct buf *out, const char *pattern)
{
	const char *name = strrchr(pattern, '/') + 1;
	buf_fmt(out, " %s", pattern);
	if (name[0] == '*')
		buf_fmt(out, " %.*s.[!.]%s", (int)(name - pattern), pattern, name);
}

/* "/a/@(b|c)" is two. */
static void add_pattern(struct buf *out, const char *pattern)
{
	const char *open = strstr(pattern, "@("), *close = open ? strchr(open, ')') : NULL;
	if (!close) {
		add_plain(out, pattern);
		return;
	}
	_cleanup_free_ char *words = strndup(open + 2, (size_t)(close - open - 2));
	char *rest = words, *word;
	while ((word = strsep(&rest, "|"))) {
		_cleanup_free_ char *one =
			str_fmt("%.*s%s%s", (int)(open - pattern), pattern, word, close + 1);
		add_pattern(out, one);
	}
}

/* What comes after the part of any depth is a name. */
static void add_below(struct buf *out, const char *pattern, const char *deep)
{
	_cleanup_buf_ struct buf names = {0};
	_cleanup_free_ char *last = str_fmt("/%s", deep + strlen("/**/"));
	add_pattern(&names, last);
	char *rest = names.data, *name;
	while ((name = strsep(&rest, " ")))
		if (name[0] && !strstr(name, ".[!.]"))
			buf_fmt(out, "below %.*s '%s'\n", (int)(deep - pattern), pattern, name + 1);
}

static void add_expression(struct buf *out, const char *const *lines)
{
	buf_str(out, "expression='");
	for (; *lines; lines++)
		buf_fmt(out, "/^[[:space:]]*%s/d;", *lines);
	buf_str(out, "'\n");
}

static void add_row(struct buf *out, const struct sysprep_row *row)
{
	static const char *const words[] = {[ACT_REMOVE] = "remove",
		[ACT_FILES] = "files",
		[ACT_PLAIN] = "plain",
		[ACT_EMPTY] = "empty",
		[ACT_LINES] = "lines"};
	const char *deep = strstr(row->pattern, "/**/");
	if (deep) {
		add_below(out, row->pattern, deep);
		return;
	}
	if (row->act == ACT_LINES)
		add_expression(out, row->lines);
	buf_str(out, words[row->act]);
	add_pattern(out, row->pattern);
	buf_str(out, "\n");
}

char *sysprep_script(const json_t *operations, const json_t *removed, const char *archive)
{
	struct buf out = {0};
	size_t i;
	json_t *name;
	buf_str(&out, functions);
	json_array_foreach (operations, i, name)
		for (const struct sysprep_op *op = sysprep_ops; op->name; op++)
			if (str_eq(op->name, json_string_value(name)))
				for (const struct sysprep_row *row = op->rows; row->pattern; row++)
					add_row(&out, row);
	json_array_foreach (removed, i, name)
		add_row(&out, &(struct sysprep_row){ACT_REMOVE, json_string_value(name), NULL});
	if (archive)
		buf_fmt(&out, "tar -C / -xpf %s || exit 1\nrm -f %s\n", archive, archive);
	buf_str(&out, end);
	return buf_steal(&out);
}
