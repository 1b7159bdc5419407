/*
 * The digest is a text, one line for each command with the names of its arguments and one for
 * each event, each between separators, so that a look-up is one memmem() and the whole of QEMU
 * 7.2 takes 12 KiB:
 *
 *	\nCblockdev-add aio backing driver ... node-name \n
 *	\nESHUTDOWN \n
 *
 * A command's arguments are the members of an object type, and those of every variant of it, since
 * a command such as blockdev-add takes what its `driver` takes.
 */
#include "qmp/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"

enum {
	VARIANTS_DEEP = 8, /* of variants within variants; QEMU has 2 */
	ARGS_MAX = 4096,   /* of one command */
	BINARIES_MAX = 16, /* in one cache file */
};

struct schema {
	char *text;
};

void schema_free(struct schema *s)
{
	if (!s)
		return;
	free(s->text);
	free(s);
}

static struct schema *schema_new(char *stolen)
{
	struct schema *s = xcalloc(1, sizeof(*s));
	s->text = stolen;
	return s;
}

/* ---- looking up ---- */

/* The rest of the line of that command or event; NULL if there is none. */
static const char *find_line(const struct schema *s, char kind, const char *name)
{
	_cleanup_free_ char *begin = str_fmt("\n%c%s ", kind, name);
	const char *at = strpbrk(name, " \n") ? NULL : strstr(s->text, begin);
	return at ? at + strlen(begin) - 1 : NULL;
}

bool schema_has_command(const struct schema *s, const char *command)
{
	return find_line(s, 'C', command);
}

bool schema_has_event(const struct schema *s, const char *event)
{
	return find_line(s, 'E', event);
}

bool schema_has_arg(const struct schema *s, const char *command, const char *arg)
{
	const char *line = find_line(s, 'C', command);
	if (!line || strpbrk(arg, " \n"))
		return false;
	_cleanup_free_ char *word = str_fmt(" %s ", arg);
	return memmem(line, strcspn(line, "\n"), word, strlen(word));
}

/* ---- from query-qmp-schema ---- */

struct digest {
	const json_t *types; /* by name */
	json_t *args;        /* those of one command, as keys */
	json_t *seen;        /* the types they came from, as keys */
};

/* A name that would not stand in a line is none of QEMU's. */
static bool is_word(const char *name)
{
	return name && *name && !name[strcspn(name, " \n")];
}

static int add_args(const struct digest *d, const char *type, int deep, struct err *err)
{
	const json_t *object = json_object_get(d->types, type), *each;
	size_t i;
	if (json_object_get(d->seen, type))
		return 0;
	json_object_set_new(d->seen, type, json_true());
	json_array_foreach (json_object_get(object, "members"), i, each) {
		const char *name = json_get_str(each, "name", NULL);
		if (!is_word(name))
			return err_set(
				err, ERR_QEMU, "the type '%.60s' has a member without name", type);
		if (json_object_size(d->args) < ARGS_MAX)
			json_object_set_new(d->args, name, json_true());
	}
	json_array_foreach (json_object_get(object, "variants"), i, each) {
		const char *variant = json_get_str(each, "type", NULL);
		if (variant && deep < VARIANTS_DEEP && add_args(d, variant, deep + 1, err) < 0)
			return -1;
	}
	return 0;
}

static int add_command(
	struct digest *d, const json_t *entry, const char *name, struct buf *text, struct err *err)
{
	const char *key;
	json_t *value;
	json_object_clear(d->args);
	json_object_clear(d->seen);
	if (add_args(d, json_get_str(entry, "arg-type", ""), 0, err) < 0)
		return err_prefix(err, "%.60s", name);
	buf_fmt(text, "C%s ", name);
	json_object_foreach (d->args, key, value)
		buf_fmt(text, "%s ", key);
	buf_str(text, "\n");
	return 0;
}

static int digest_entries(struct digest *d, const json_t *schema, struct buf *text, struct err *err)
{
	const json_t *entry;
	size_t i;
	buf_str(text, "\n");
	json_array_foreach (schema, i, entry) {
		const char *name = json_get_str(entry, "name", NULL);
		const char *kind = json_get_str(entry, "meta-type", "");
		if (!is_word(name))
			return err_set(err, ERR_QEMU, "entry %zu has no name", i);
		if (str_eq(kind, "command") && add_command(d, entry, name, text, err) < 0)
			return -1;
		if (str_eq(kind, "event"))
			buf_fmt(text, "E%s \n", name);
	}
	return 0;
}

struct schema *schema_from_qmp(const json_t *schema, struct err *err)
{
	_cleanup_json_ json_t *types = json_object();
	_cleanup_json_ json_t *args = json_object();
	_cleanup_json_ json_t *seen = json_object();
	_cleanup_buf_ struct buf text = {0};
	struct digest d = {.types = types, .args = args, .seen = seen};
	json_t *entry;
	size_t i;
	json_array_foreach (schema, i, entry) {
		const char *name = json_get_str(entry, "name", NULL);
		if (name && str_eq(json_get_str(entry, "meta-type", NULL), "object"))
			json_object_set(types, name, entry);
	}
	if (digest_entries(&d, schema, &text, err) < 0) {
		err_prefix(err, "query-qmp-schema");
		return NULL;
	}
	_cleanup_schema_ struct schema *s = schema_new(buf_steal(&text));
	if (!schema_has_command(s, "query-qmp-schema")) {
		err_set(err, ERR_QEMU, "query-qmp-schema: the answer is no schema");
		return NULL;
	}
	return TAKE(s);
}

/* ---- the cache ---- */

/* What changes when another QEMU is installed. */
static json_t *identity(const char *binary, struct err *err)
{
	struct stat st;
	if (stat(binary, &st) < 0) {
		err_errno(err, "cannot look at '%s'", binary);
		return NULL;
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "size", (json_int_t)st.st_size, "device",
		(json_int_t)st.st_dev, "inode", (json_int_t)st.st_ino, "seconds",
		(json_int_t)st.st_mtim.tv_sec, "nanoseconds", (json_int_t)st.st_mtim.tv_nsec);
}

struct schema *schema_load(const char *cache_file, const char *binary, struct err *err)
{
	_cleanup_json_ json_t *now = identity(binary, err);
	if (!now)
		return NULL;
	_cleanup_json_ json_t *cache = json_file_read(AT_FDCWD, cache_file, err);
	if (!cache) {
		err->kind = ERR_NOT_FOUND; /* a damaged cache is as good as none */
		return NULL;
	}
	const json_t *entry = json_object_get(cache, binary);
	const char *text = json_get_str(entry, "schema", NULL);
	if (!text || !json_equal(json_object_get(entry, "binary"), now)) {
		err_set(err, ERR_NOT_FOUND, "'%s' knows nothing of this '%s'", cache_file, binary);
		return NULL;
	}
	return schema_new(xstrdup(text));
}

int schema_save(const struct schema *s, const char *cache_file, const char *binary, struct err *err)
{
	struct err unreadable;
	_cleanup_json_ json_t *now = identity(binary, err);
	if (!now)
		return -1;
	/* what cannot be read is replaced: it is a cache */
	_cleanup_json_ json_t *cache = json_file_read(AT_FDCWD, cache_file, &unreadable);
	if (!cache)
		cache = json_object();
	if (json_object_size(cache) >= BINARIES_MAX)
		json_object_clear(cache);
	json_object_set_new(
		cache, binary, json_pack("{s:O, s:s}", "binary", now, "schema", s->text));
	return json_file_write(AT_FDCWD, cache_file, cache, false, err);
}
