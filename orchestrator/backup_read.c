#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "images/image.h"
#include "images/tar.h"
#include "orchestrator/backup_file.h"

enum { VERSION = 1 };

bool backup_is(const char *path)
{
	struct stat st;
	struct err ignored = ERR_INIT;
	_cleanup_close_ int fd = image_open(path, &st, &ignored);
	return fd >= 0 && tar_probe(fd);
}

const struct backup_member *backup_find(const struct backup *b, const char *name)
{
	for (size_t i = 0; i < b->count; i++)
		if (str_eq(b->members[i].name, name))
			return &b->members[i];
	return NULL;
}

/* Names are compared with those of a backup's files and used for nothing else. */
static int take_member(struct backup *b, const struct tar_member *t, struct err *err)
{
	struct backup_member *m = &b->members[b->count];
	if (b->count == BACKUP_MEMBERS_MAX)
		return err_set(err, ERR_REFUSED, "it has more than %d files, so it is no backup",
			BACKUP_MEMBERS_MAX);
	if (backup_find(b, t->name))
		return err_set(err, ERR_REFUSED, "it has two files '%.80s'", t->name);
	*m = (struct backup_member){.at = t->at, .size = t->size};
	snprintf(m->name, sizeof(m->name), "%.*s", (int)sizeof(m->name) - 1, t->name);
	b->count++;
	return 0;
}

/* `odd` gets the first that no backup has. */
static int take_members(struct backup *b, char odd[TAR_NAME_MAX + 1], struct err *err)
{
	struct tar_reader r = {.fd = b->fd};
	struct tar_member t;
	int got;
	while ((got = tar_next(&r, &t, err)) > 0) {
		if (t.folder && !t.name[0]) /* "./", which tar adds to what it finds there */
			continue;
		bool good = t.file && !strchr(t.name, '/') &&
			    strlen(t.name) < sizeof(b->members[0].name);
		if (!good && !odd[0])
			snprintf(odd, TAR_NAME_MAX + 1, "%s", t.name);
		if (good && take_member(b, &t, err) < 0)
			return -1;
	}
	return got;
}

static int check_disk(const struct backup *b, const json_t *disk, struct err *err)
{
	const char *file = json_get_str(disk, "file", "");
	if (!json_get_str(disk, "target", "")[0] || !file[0] || json_get_int(disk, "size", 0) <= 0)
		return err_set(err, ERR_REFUSED, "'" BACKUP_FACTS "' in it tells no good disk");
	if (!json_is_null(json_object_get(disk, "bitmap")))
		return err_set(
			err, ERR_REFUSED, "it is an increment, which this roost cannot restore");
	return backup_find(b, file) ? 0 : err_set(err, ERR_REFUSED, "it lacks '%.80s'", file);
}

static int check_facts(const struct backup *b, struct err *err)
{
	const json_t *disks = json_object_get(b->facts, "disks");
	json_t *disk;
	size_t i;
	if (json_get_int(b->facts, "roost-backup", 0) != VERSION || !json_is_array(disks) ||
		!json_is_object(json_object_get(b->facts, "definition")))
		return err_set(err, ERR_REFUSED, "it is not a backup that this roost understands");
	json_array_foreach (disks, i, disk)
		if (check_disk(b, disk, err) < 0)
			return -1;
	return 0;
}

static int read_facts(struct backup *b, const char *odd, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	const struct backup_member *m = backup_find(b, BACKUP_FACTS);
	if (!m) {
		err_set(err, ERR_REFUSED,
			"it is a tar archive, but no backup: it has no '" BACKUP_FACTS "'");
		return odd[0] ? err_hint(err,
					"if it was packed anew: its files must not be in a folder, as '%.80s' is",
					odd)
			      : -1;
	}
	if (odd[0])
		return err_set(err, ERR_REFUSED, "no backup has something like '%.80s'", odd);
	if (m->size > BACKUP_SMALL_MAX)
		return err_set(err, ERR_REFUSED, "'" BACKUP_FACTS "' in it is too large");
	buf_reserve(&text, (size_t)m->size);
	if (pread(b->fd, text.data, (size_t)m->size, (off_t)m->at) != (ssize_t)m->size)
		return err_set(err, ERR_REFUSED, "'" BACKUP_FACTS "' in it cannot be read");
	b->facts = json_text_parse(text.data, (size_t)m->size, err);
	return b->facts ? check_facts(b, err) : err_prefix(err, "'" BACKUP_FACTS "' in it");
}

int backup_open(struct backup *b, const char *path, struct err *err)
{
	char odd[TAR_NAME_MAX + 1] = "";
	struct stat st;
	b->fd = image_open(path, &st, err);
	if (b->fd < 0)
		return -1;
	if (take_members(b, odd, err) < 0 || read_facts(b, odd, err) < 0)
		return err_prefix(err, "'%s'", path);
	return 0;
}

void backup_close(struct backup *b)
{
	cleanup_close(&b->fd);
	json_decref(b->facts);
}
