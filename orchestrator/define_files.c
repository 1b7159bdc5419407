/*
 * What a new guest begins with, out of a backup: its disks, its UEFI variables, its SSH host key. The
 * open files are the client's, who has opened them with his own rights; nothing of them is believed. They
 * are copied into the guest's folder, which nobody sees yet, and the copies are looked at.
 */
#include "orchestrator/roostd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
#include "images/qcow2.h"
#include "orchestrator/access.h"
#include "orchestrator/firmware.h"

enum { KEY_MAX = 65536 };

static int check_copy(int fd, const char *what, uint64_t size, struct err *err)
{
	struct qcow2_info info = {0};
	if (qcow2_read(fd, &info, err) < 0)
		return err_prefix(err, "'%s'", what);
	if (qcow2_may_enter(&info, what, err) < 0)
		return -1;
	if (size && info.virtual_size != size)
		return err_set(err, ERR_REFUSED, "'%s' is %s large, not %s", what,
			str_size(info.virtual_size), str_size(size));
	return 0;
}

/* `size`: what it must be, 0 for any. */
static int take_image(int dir, const struct definition *d, const char *what, const char *file,
	uint64_t size, int from, struct err *err)
{
	_cleanup_close_ int to =
		openat(dir, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (to < 0)
		return err_errno(err, "cannot make '%s'", file);
	if (image_copy(from, to, NULL, NULL, err) < 0)
		return err_prefix(err, "'%s'", what);
	if (check_copy(to, what, size, err) < 0)
		return -1;
	if (fsync(to) < 0)
		return err_errno(err, "cannot write '%s'", file);
	return access_give_at(dir, file, d->issued.keeper_uid, err);
}

static int take_key(int dir, int from, struct err *err)
{
	_cleanup_buf_ struct buf key = {0};
	int copy = fcntl(from, F_DUPFD_CLOEXEC, 0);
	if (file_read_open(copy, "host_key", KEY_MAX, &key, err) < 0)
		return -1;
	return file_replace_secret(dir, "host_key", key.data, key.len, true, err);
}

static int take_file(
	int dir, const struct definition *d, const char *what, int from, struct err *err)
{
	if (str_eq(what, "host_key"))
		return take_key(dir, from, err);
	if (str_eq(what, "vars"))
		return take_image(dir, d, what, firmware_vars_name(d->secure_boot), 0, from, err);
	for (size_t i = 0; i < d->disk_count; i++)
		if (str_eq(d->disks[i].target, what) && d->disks[i].source == DISK_BLANK)
			return take_image(
				dir, d, what, d->disks[i].file, d->disks[i].size, from, err);
	return err_set(err, ERR_USAGE, "guest '%s' has no blank disk '%.20s'", d->name, what);
}

int define_take_files(int dir, const struct definition *d, const void *about, struct err *err)
{
	const json_t *args = about;
	const json_t *files = json_object_get(args, "files"), *fds = json_object_get(args, "fds");
	size_t i;
	json_t *what;
	struct stat st;
	json_array_foreach (files, i, what) {
		const json_t *fd = json_array_get(fds, i);
		int from = json_is_integer(fd) ? (int)json_integer_value(fd) : -1;
		if (!json_is_string(what) || fstat(from, &st) < 0 || !S_ISREG(st.st_mode))
			return err_set(err, ERR_USAGE, "%zu files are named, %zu came",
				json_array_size(files), json_array_size(fds));
		if (take_file(dir, d, json_string_value(what), from, err) < 0)
			return -1;
	}
	return 0;
}
