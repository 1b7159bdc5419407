/*
 * What a new guest begins with, out of a backup or of libvirt: its disks, its UEFI variables, its TPM's state, its SSH host key. The
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
#include "orchestrator/failpoint.h"
#include "orchestrator/firmware.h"

enum { KEY_MAX = 65536, VARS_MAX = 64 << 20, TPM_MAX = 1 << 20 };

/* How far it has come with all of them, in bytes. */
struct taking {
	int dir;
	const struct definition *d;
	int64_t before, size, total;
};

static void tell(void *about, const char *step, int64_t done, int64_t total)
{
	const struct taking *t = about;
	(void)step, (void)total;
	worker_progress("guest", t->d->name, "copying", t->before + done, t->total);
	if (done < t->size)
		failpoint("restore-copying");
}

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
static int take_image(struct taking *t, const char *what, const char *file, uint64_t size, int from,
	struct err *err)
{
	_cleanup_close_ int to =
		openat(t->dir, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (to < 0)
		return err_errno(err, "cannot make '%s'", file);
	if (image_copy(from, to, tell, t, err) < 0)
		return err_prefix(err, "'%s'", what);
	if (check_copy(to, what, size, err) < 0)
		return -1;
	if (fsync(to) < 0)
		return err_errno(err, "cannot write '%s'", file);
	return access_give_at(t->dir, file, t->d->issued.keeper_uid, err);
}

static int take_key(int dir, int from, struct err *err)
{
	_cleanup_buf_ struct buf key = {0};
	int copy = fcntl(from, F_DUPFD_CLOEXEC, 0);
	if (file_read_open(copy, "host_key", KEY_MAX, &key, err) < 0)
		return -1;
	return file_replace_secret(dir, "host_key", key.data, key.len, true, err);
}

/* Libvirt keeps them raw, roost in qcow2: snapshots can hold that. */
static int take_vars(struct taking *t, int from, struct err *err)
{
	static const char magic[4] = {'Q', 'F', 'I', '\xfb'};
	struct firmware_files ignored;
	struct firmware_want want = {.secure_boot = t->d->secure_boot,
		.machine = t->d->machine,
		.vars_size = (uint64_t)t->size};
	const char *name = firmware_vars_name(t->d->secure_boot);
	char head[sizeof(magic)];
	if (pread(from, head, sizeof(head), 0) == sizeof(head) &&
		memcmp(head, magic, sizeof(magic)) == 0)
		return take_image(t, "vars", name, 0, from, err);
	if (t->size > VARS_MAX)
		return err_set(err, ERR_REFUSED, "'vars' are %s large: UEFI variables are not",
			str_size((uint64_t)t->size));
	if (firmware_find(&want, &ignored, err) < 0)
		return err_prefix(
			err, "firmware for UEFI variables of %s", str_size(want.vars_size));
	if (qcow2_copy(t->dir, name, from, true, err) < 0)
		return err_prefix(err, "the UEFI variables");
	return access_give_at(t->dir, name, t->d->issued.keeper_uid, err);
}

/*
 * Whose folder it is, its swtpm's (tpm.c): QEMU's uid, nobody else's. What libvirt has of it, and the name of the
 * file, are swtpm's own.
 */
static int take_tpm(struct taking *t, int from, struct err *err)
{
	_cleanup_secret_ struct buf state = {0};
	const uid_t uid = t->d->issued.qemu_uid;
	int copy = fcntl(from, F_DUPFD_CLOEXEC, 0);
	buf_reserve(&state, TPM_MAX); /* no copies on the way */
	if (file_read_open(copy, "tpm", TPM_MAX - 1, &state, err) < 0)
		return -1;
	if (mkdirat(t->dir, "tpm", 0700) < 0)
		return err_errno(err, "cannot make the folder 'tpm'");
	_cleanup_close_ int folder = dir_open(t->dir, "tpm", err);
	if (folder < 0 || fchmod(folder, 0700) < 0 ||
		file_replace_secret(folder, "tpm2-00.permall", state.data, state.len, true, err) <
			0)
		return folder < 0 || err->kind ? -1
					       : err_errno(err, "cannot keep the folder 'tpm'");
	if (geteuid() == 0 &&
		(fchownat(folder, "tpm2-00.permall", uid, uid, AT_SYMLINK_NOFOLLOW) < 0 ||
			fchown(folder, uid, uid) < 0))
		return err_errno(err, "cannot give the folder 'tpm' to QEMU's uid");
	return 0;
}

static int take_file(struct taking *t, const char *what, int from, struct err *err)
{
	const struct definition *d = t->d;
	if (str_eq(what, "host_key"))
		return take_key(t->dir, from, err);
	if (str_eq(what, "vars"))
		return take_vars(t, from, err);
	if (str_eq(what, "tpm") && d->tpm.enabled)
		return take_tpm(t, from, err);
	for (size_t i = 0; i < d->disk_count; i++)
		if (str_eq(d->disks[i].target, what) && d->disks[i].source == DISK_BLANK)
			return take_image(t, what, d->disks[i].file, d->disks[i].size, from, err);
	return err_set(err, ERR_USAGE, "guest '%s' has no blank disk '%.20s'", d->name, what);
}

/* The file that came with it as number `i`, and its size; -1: none. */
static int came(const json_t *fds, size_t i, int64_t *size)
{
	struct stat st;
	const json_t *fd = json_array_get(fds, i);
	int from = json_is_integer(fd) ? (int)json_integer_value(fd) : -1;
	if (fstat(from, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	*size = st.st_size;
	return from;
}

int define_take_files(int dir, const struct definition *d, const void *about, struct err *err)
{
	const json_t *args = about;
	const json_t *files = json_object_get(args, "files"), *fds = json_object_get(args, "fds");
	struct taking t = {.dir = dir, .d = d};
	size_t i;
	json_t *what;
	for (i = 0; i < json_array_size(fds) && came(fds, i, &t.size) >= 0; i++)
		t.total += t.size;
	json_array_foreach (files, i, what) {
		int from = came(fds, i, &t.size);
		if (!json_is_string(what) || from < 0)
			return err_set(err, ERR_USAGE, "%zu files are named, %zu came",
				json_array_size(files), json_array_size(fds));
		if (take_file(&t, json_string_value(what), from, err) < 0)
			return -1;
		t.before += t.size;
	}
	return 0;
}
