/* An image's record, image.json: written when it enters, read by everybody. */
#include "images/store_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"

enum { RECORD_VERSION = 1 };

/* ---- writing -------------------------------------------------------------------------------------- */

static void set_text(json_t *o, const char *key, const char *value)
{
	if (value)
		json_object_set_new(o, key, json_string(value));
}

json_t *store_image_to_json(const struct store_image *i)
{
	json_t *o = json_pack("{s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "roost", RECORD_VERSION,
		"digest", i->digest, "format", i->qcow2 ? "qcow2" : "raw", "virtual_size",
		(json_int_t)i->virtual_size, "size", (json_int_t)i->size, "inode",
		(json_int_t)i->inode, "mtime_ns", (json_int_t)i->mtime_ns, "entered",
		(json_int_t)i->entered);
	const struct store_facts *f = &i->facts;
	set_text(o, "base", i->base);
	set_text(o, "source", f->source);
	set_text(o, "os", f->os);
	set_text(o, "user", f->user);
	set_text(o, "firmware", f->firmware);
	if (f->min_memory)
		json_object_set_new(o, "min_memory", json_integer((json_int_t)f->min_memory));
	json_t *tags = json_array();
	for (size_t t = 0; t < f->tag_count; t++)
		json_array_append_new(tags, json_string(f->tags[t]));
	json_object_set_new(o, "tags", tags);
	return o;
}

int store_record_write(int folder, const struct store_image *i, struct err *err)
{
	_cleanup_json_ json_t *o = store_image_to_json(i);
	return json_file_write(folder, "image.json", o, true, err);
}

/* ---- reading -------------------------------------------------------------------------------------- */

static int take_text(const json_t *o, const char *key, char **out, struct err *err)
{
	const char *text = NULL;
	if (json_str_opt(o, key, &text, err) < 0)
		return -1;
	*out = xstrdup(text);
	return 0;
}

static int take_size(const json_t *o, const char *key, uint64_t *out, struct err *err)
{
	int64_t n = 0;
	if (json_int(o, key, &n, err) < 0)
		return -1;
	if (n < 0)
		return err_set(err, ERR_USAGE, "'%s' is negative", key);
	*out = (uint64_t)n;
	return 0;
}

int store_facts_from_json(const json_t *o, struct store_facts *f, struct err *err)
{
	json_t *tags = NULL, *tag;
	size_t at;
	int64_t memory = 0;
	if (take_text(o, "source", &f->source, err) < 0 || take_text(o, "os", &f->os, err) < 0 ||
		take_text(o, "user", &f->user, err) < 0 ||
		take_text(o, "firmware", &f->firmware, err) < 0 ||
		json_int_opt(o, "min_memory", &memory, err) < 0 ||
		json_arr_opt(o, "tags", &tags, err) < 0)
		return -1;
	f->min_memory = memory > 0 ? (uint64_t)memory : 0;
	json_array_foreach (tags, at, tag) {
		if (!json_is_string(tag) || f->tag_count == STORE_TAGS_MAX)
			return err_set(err, ERR_USAGE, "'tags' is no list of at most %d words",
				STORE_TAGS_MAX);
		f->tags[f->tag_count++] = xstrdup(json_string_value(tag));
	}
	return 0;
}

static int from_json(const json_t *o, struct store_image *i, struct err *err)
{
	const char *digest = NULL, *format = NULL;
	int64_t version = json_get_int(o, "roost", 0);
	uint64_t inode = 0;
	if (version != RECORD_VERSION)
		return err_set(err, ERR_REFUSED, "its version is %lld, this roost knows %d",
			(long long)version, RECORD_VERSION);
	if (json_str(o, "digest", &digest, err) < 0 || json_str(o, "format", &format, err) < 0 ||
		take_size(o, "virtual_size", &i->virtual_size, err) < 0 ||
		take_size(o, "size", &i->size, err) < 0 || take_size(o, "inode", &inode, err) < 0 ||
		json_int(o, "mtime_ns", &i->mtime_ns, err) < 0 ||
		json_int(o, "entered", &i->entered, err) < 0 ||
		take_text(o, "base", &i->base, err) < 0 ||
		store_facts_from_json(o, &i->facts, err) < 0)
		return -1;
	if (!str_eq(format, "qcow2") && !str_eq(format, "raw"))
		return err_set(err, ERR_USAGE, "'format' is neither qcow2 nor raw");
	if (store_digest_check(digest, err) < 0)
		return -1;
	if (i->base && name_check(i->base, "base", err) < 0)
		return -1;
	i->qcow2 = str_eq(format, "qcow2");
	i->inode = (ino_t)inode;
	snprintf(i->digest, sizeof(i->digest), "%s", digest);
	return 0;
}

int store_has_none(const char *name, struct err *err)
{
	err_set(err, ERR_NOT_FOUND, "there is no image '%s' in the store", name);
	return err_hint(err, "`roost image list` shows those that there are");
}

int store_folder_open(const struct store *s, const char *name, struct err *err)
{
	if (name_check(name, "image", err) < 0)
		return -1;
	int folder = dir_open(s->dir, name, err);
	return folder < 0 && err->kind == ERR_NOT_FOUND ? store_has_none(name, err) : folder;
}

int store_look(const struct store *s, const char *name, struct store_image *out, struct err *err)
{
	_cleanup_store_image_ struct store_image i = {0};
	_cleanup_close_ int folder = store_folder_open(s, name, err);
	if (folder < 0)
		return -1;
	_cleanup_json_ json_t *o = json_file_read(folder, "image.json", err);
	if (!o || from_json(o, &i, err) < 0) {
		struct err why = *err;
		err_set(err, ERR_REFUSED, "image '%s' is broken: its record: %s", name,
			why.message);
		return err_hint(
			err, "mend %s/%s/image.json, or `roost image rm %s`", s->path, name, name);
	}
	snprintf(i.name, sizeof(i.name), "%s", name);
	*out = i;
	i = (struct store_image){0};
	return 0;
}

/* ---- what else is asked of a record --------------------------------------------------------------- */

const char *store_disk_name(bool qcow2)
{
	return qcow2 ? "disk.qcow2" : "disk.raw";
}

char *store_image_path(const struct store *s, const struct store_image *i)
{
	return str_fmt("%s/%s/%s", s->path, i->name, store_disk_name(i->qcow2));
}

static bool name_below(const char *folder, const char *path, char name[64])
{
	struct err ignored = ERR_INIT;
	size_t len = strlen(folder);
	if (strncmp(path, folder, len) != 0 || path[len] != '/')
		return false;
	const char *begin = path + len + 1, *end = strchr(begin, '/');
	if (!end || end - begin > 63 ||
		(!str_eq(end + 1, store_disk_name(true)) &&
			!str_eq(end + 1, store_disk_name(false))))
		return false;
	snprintf(name, 64, "%.*s", (int)(end - begin), begin);
	return name_check(name, "image", &ignored) == 0;
}

/* Chains are told by their real folders. */
bool store_name_of_path(const struct store *s, const char *path, char name[64])
{
	if (name_below(s->path, path, name))
		return true;
	_cleanup_free_ char *real = realpath(s->path, NULL);
	return real && name_below(real, path, name);
}

static bool has_tag(const struct store_image *i, const char *tag)
{
	for (size_t t = 0; t < i->facts.tag_count; t++)
		if (str_eq(i->facts.tags[t], tag))
			return true;
	return false;
}

int store_find(const struct store *s, const char *word, struct store_image *out, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	struct err ignored = ERR_INIT;
	if (store_look(s, word, out, err) == 0)
		return 0;
	if (err->kind != ERR_NOT_FOUND || store_names(s, &names, NULL, &ignored) < 0)
		return -1;
	for (char **name = names; *name; name++) {
		struct store_image i = {0};
		if (store_look(s, *name, &i, &ignored) < 0)
			continue;
		if (has_tag(&i, word)) {
			*out = i;
			*err = (struct err)ERR_INIT;
			return 0;
		}
		store_image_free(&i);
	}
	return -1;
}

int store_set_facts(const struct store *s, struct store_image *i, const struct store_facts *facts,
	struct err *err)
{
	_cleanup_close_ int lock = store_lock(s, err);
	_cleanup_close_ int folder = lock < 0 ? -1 : store_folder_open(s, i->name, err);
	struct store_image now = *i;
	now.facts = *facts;
	return folder < 0 ? -1 : store_record_write(folder, &now, err);
}

void store_facts_free(struct store_facts *f)
{
	free(f->source);
	free(f->os);
	free(f->user);
	free(f->firmware);
	for (size_t t = 0; t < f->tag_count; t++)
		free(f->tags[t]);
	*f = (struct store_facts){0};
}

void store_image_free(struct store_image *i)
{
	store_facts_free(&i->facts);
	free(i->base);
	*i = (struct store_image){0};
}

int store_names(const struct store *s, char ***out, size_t *count, struct err *err)
{
	return dir_names(s->dir, out, count, err);
}
