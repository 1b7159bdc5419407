#include "orchestrator/df.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/disk_ask.h"
#include "images/image.h"
#include "images/image_info.h"
#include "orchestrator/disk_open.h"
#include "orchestrator/disk_size.h"
#include "orchestrator/paths.h"
#include "orchestrator/snapshots.h"

struct disk {
	const struct disk_def *def;
	json_t *list;
};

static int take_line(void *about, json_t *line, struct err *err)
{
	struct disk *disk = about;
	const char *target = disk->def->target;
	int64_t number = json_get_int(line, "number", 0);
	(void)err;
	_cleanup_free_ char *device =
		number ? str_fmt("%s%lld", target, (long long)number) : xstrdup(target);
	json_object_set_new(line, "device", json_string(device));
	json_object_set_new(line, "disk", json_string(target));
	json_array_append(disk->list, line);
	return 0;
}

/* The folder of a guest, with its snapshots; of none, -1 and NULL. */
struct place {
	int dir;
	const json_t *snapshots;
	bool runs;
};

/* As disk_open() does, but nothing is opened to be written to. */
static int open_disk(
	const struct disk_def *d, const struct place *p, struct disk_files *out, struct err *err)
{
	const char *layers[CHAIN_MAX];
	size_t count = 0;
	struct disk_def look = *d;
	look.readonly = true;
	if (!d->readonly && snapshot_chain(p->snapshots, d, NULL, layers, &count, err) < 0)
		return -1;
	return (p->runs ? disk_look_layers : disk_open_layers)(
		&look, p->dir, layers, count, out, err);
}

static int add_disk(const struct disk_def *d, const struct place *p, json_t *list, struct err *err)
{
	_cleanup_disk_files_ struct disk_files files = {0};
	struct volume_layer layers[CHAIN_MAX];
	struct disk disk = {d, list};
	if (open_disk(d, p, &files, err) < 0)
		return -1;
	for (size_t i = 0; i < files.count; i++)
		layers[i] = (struct volume_layer){files.layers[i].fd, files.layers[i].qcow2};
	return disk_ask(
		libexec_path("roost-disk"), "df", layers, files.count, take_line, &disk, err);
}

static bool is_empty_drive(const struct disk_def *d)
{
	return d->cdrom && !d->path;
}

json_t *df_file(const char *path, const char *format, const char *target, struct err *err)
{
	struct stat st;
	enum image_format wanted;
	bool qcow2;
	struct disk_def disk = {.source = DISK_PATH, .readonly = true};
	_cleanup_json_ json_t *list = json_array();
	if (image_format_parse(format, &wanted, err) < 0)
		return NULL;
	_cleanup_close_ int fd = image_open(path, &st, err);
	if (fd < 0 || image_format_settle(fd, path, wanted, &qcow2, err) < 0)
		return NULL;
	char *whole = realpath(path, NULL);
	snprintf(disk.target, sizeof(disk.target), "%s", target);
	disk.path = whole;
	disk.format = qcow2 ? FORMAT_QCOW2 : FORMAT_RAW;
	int result = whole ? add_disk(&disk, &(struct place){.dir = -1}, list, err)
			   : err_errno(err, "cannot tell where '%s' is", path);
	free(whole);
	return result < 0 ? NULL : TAKE(list);
}

json_t *df_disks(const struct definition *d, bool runs, struct err *err)
{
	_cleanup_close_ int guests = guests_open(err);
	_cleanup_close_ int dir = guests < 0 ? -1 : dir_open(guests, d->name, err);
	_cleanup_json_ json_t *record = dir < 0 ? NULL : snapshots_read(dir, err);
	_cleanup_json_ json_t *list = json_array();
	if (!record)
		return NULL;
	const struct place place = {dir, record, runs};
	for (size_t i = 0; i < d->disk_count; i++) {
		const struct disk_def *disk = &d->disks[i];
		if (is_empty_drive(disk) || add_disk(disk, &place, list, err) == 0)
			continue;
		err_prefix(err, "disk '%s' of guest '%s'", disk->target, d->name);
		return NULL;
	}
	return TAKE(list);
}

bool df_may_open(const struct definition *d)
{
	for (size_t i = 0; i < d->disk_count; i++) {
		struct err ignored = ERR_INIT;
		_cleanup_free_ char *path = disk_size_path(d->name, &d->disks[i], &ignored);
		if (path && access(path, R_OK) < 0 && errno == EACCES)
			return false;
	}
	return true;
}
