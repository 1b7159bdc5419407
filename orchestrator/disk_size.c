#include "orchestrator/disk_size.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
#include "images/qcow2.h"
#include "orchestrator/bases.h"
#include "orchestrator/paths.h"
#include "orchestrator/snapshots.h"

/* In the guest's folder: the topmost layer of its snapshots, or what roost has made for it. NULL: neither. */
static char *own_file(const char *guest, const struct disk_def *d)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int dir = guest_dir_open(guest, &ignored);
	_cleanup_json_ json_t *record = dir < 0 ? NULL : snapshots_read(dir, &ignored);
	const char *layer = snapshot_written(record, d);
	return layer ? xstrdup(layer) : d->source == DISK_PATH ? NULL : xstrdup(d->file);
}

char *disk_size_path(const char *guest, const struct disk_def *d, struct err *err)
{
	_cleanup_free_ char *own = own_file(guest, d);
	return own ? str_fmt("%s/guests/%s/%s", paths_state(err), guest, own) : xstrdup(d->path);
}

/* What lies in the guest's folder is its keeper's: root opens nobody else's file through it. */
static int open_own(const char *guest, const char *file, struct stat *st, struct err *err)
{
	_cleanup_close_ int dir = guest_dir_open(guest, err);
	if (dir < 0)
		return -1;
	if (fstat(dir, st) < 0)
		return err_errno(err, "cannot look at its folder");
	_cleanup_close_ int fd = base_open_own(dir, file, O_RDONLY, st->st_uid, err);
	if (fd < 0)
		return -1;
	return fstat(fd, st) < 0 ? err_errno(err, "cannot look at '%s'", file) : TAKE_FD(fd);
}

int disk_size_read(const char *guest, const struct disk_def *d, json_t *out, struct err *err)
{
	struct stat st;
	struct qcow2_info info;
	_cleanup_free_ char *own = own_file(guest, d);
	bool qcow2 = own || d->format == FORMAT_QCOW2;
	_cleanup_close_ int fd =
		own ? open_own(guest, own, &st, err) : image_open(d->path, &st, err);
	if (fd < 0 || (qcow2 && qcow2_read(fd, &info, err) < 0))
		return err_prefix(err, "guest '%s', disk '%s'", guest, d->target);
	json_object_update_new(
		out, json_pack("{s:I, s:I, s:I}", "capacity",
			     (json_int_t)(qcow2 ? info.virtual_size : raw_virtual_size(&st)),
			     "allocation", (json_int_t)st.st_blocks * 512, "physical",
			     (json_int_t)raw_virtual_size(&st)));
	return 0;
}
