/*
 * What a new guest begins with, out of a backup or of libvirt: its disks, its UEFI variables, its TPM's state, its SSH
 * host key. The open files, or the one of which they are parts, are the client's, who has opened them with his own
 * rights; nothing of them is believed. They are copied into the guest's folder, which nobody sees yet, and the copies are looked at.
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

/* The one that is taken, an open file or a part of it, and how far it has come with all, in bytes. */
struct taking {
	int dir, from;
	const struct definition *d;
	int64_t at, size;
	bool whole; /* all of the file */
	uint64_t before, total;
};

static void tell(void *about, const char *step, int64_t done, int64_t total)
{
	const struct taking *t = about;
	(void)step, (void)total;
	worker_progress(
		"guest", t->d->name, "copying", (int64_t)t->before + done, (int64_t)t->total);
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
static int take_image(
	struct taking *t, const char *what, const char *file, uint64_t size, struct err *err)
{
	_cleanup_close_ int to =
		openat(t->dir, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (to < 0)
		return err_errno(err, "cannot make '%s'", file);
	if ((t->whole ? image_copy(t->from, to, tell, t, err)
		      : image_copy_part(
				t->from, (uint64_t)t->at, (uint64_t)t->size, to, tell, t, err)) < 0)
		return err_prefix(err, "'%s'", what);
	if (check_copy(to, what, size, err) < 0)
		return -1;
	if (fsync(to) < 0)
		return err_errno(err, "cannot write '%s'", file);
	return access_give_at(t->dir, file, t->d->issued.keeper_uid, err);
}

static int take_small(
	const struct taking *t, const char *what, int64_t max, struct buf *out, struct err *err)
{
	if (t->size > max)
		return err_set(err, ERR_REFUSED, "'%s' is too large", what);
	buf_reserve(out, (size_t)t->size); /* no copies on the way */
	if (pread(t->from, out->data, (size_t)t->size, (off_t)t->at) != t->size)
		return err_errno(err, "cannot read '%s'", what);
	out->len = (size_t)t->size;
	return 0;
}

static int take_key(const struct taking *t, struct err *err)
{
	_cleanup_secret_ struct buf key = {0};
	return take_small(t, "host_key", KEY_MAX, &key, err) < 0
		       ? -1
		       : file_replace_secret(t->dir, "host_key", key.data, key.len, true, err);
}

/* Libvirt keeps them raw, roost in qcow2: snapshots can hold that. */
static int take_vars(struct taking *t, struct err *err)
{
	static const char magic[4] = {'Q', 'F', 'I', '\xfb'};
	struct firmware_files ignored;
	struct firmware_want want = {.secure_boot = t->d->secure_boot,
		.machine = t->d->machine,
		.vars_size = (uint64_t)t->size};
	const char *name = firmware_vars_name(t->d->secure_boot);
	char head[sizeof(magic)];
	if (!t->whole || (pread(t->from, head, sizeof(head), 0) == sizeof(head) &&
				 memcmp(head, magic, sizeof(magic)) == 0))
		return take_image(t, "vars", name, 0, err);
	if (t->size > VARS_MAX)
		return err_set(err, ERR_REFUSED, "'vars' are %s large: UEFI variables are not",
			str_size((uint64_t)t->size));
	if (firmware_find(&want, &ignored, err) < 0)
		return err_prefix(
			err, "firmware for UEFI variables of %s", str_size(want.vars_size));
	if (qcow2_copy(t->dir, name, t->from, true, err) < 0)
		return err_prefix(err, "the UEFI variables");
	return access_give_at(t->dir, name, t->d->issued.keeper_uid, err);
}

/*
 * Whose folder it is, its swtpm's (tpm.c): QEMU's uid, nobody else's. What libvirt has of it, and the name of the
 * file, are swtpm's own.
 */
static int take_tpm(const struct taking *t, struct err *err)
{
	_cleanup_secret_ struct buf state = {0};
	const uid_t uid = t->d->issued.qemu_uid;
	if (take_small(t, "tpm", TPM_MAX, &state, err) < 0)
		return -1;
	if (mkdirat(t->dir, "tpm", 0700) < 0)
		return err_errno(err, "cannot make the folder 'tpm'");
	_cleanup_close_ int folder = dir_open(t->dir, "tpm", err);
	if (folder < 0 || fchmod(folder, 0700) < 0 ||
		file_replace_secret(folder, TPM_STATE, state.data, state.len, true, err) < 0)
		return folder < 0 || err->kind ? -1
					       : err_errno(err, "cannot keep the folder 'tpm'");
	if (geteuid() == 0 && (fchownat(folder, TPM_STATE, uid, uid, AT_SYMLINK_NOFOLLOW) < 0 ||
				      fchown(folder, uid, uid) < 0))
		return err_errno(err, "cannot give the folder 'tpm' to QEMU's uid");
	return 0;
}

static int take_file(struct taking *t, const char *what, struct err *err)
{
	const struct definition *d = t->d;
	if (str_eq(what, "host_key"))
		return take_key(t, err);
	if (str_eq(what, "vars"))
		return take_vars(t, err);
	if (str_eq(what, "tpm") && d->tpm.enabled)
		return take_tpm(t, err);
	for (size_t i = 0; i < d->disk_count; i++)
		if (str_eq(d->disks[i].target, what) && d->disks[i].source == DISK_BLANK)
			return take_image(t, what, d->disks[i].file, d->disks[i].size, err);
	return err_set(err, ERR_USAGE, "guest '%s' has no blank disk '%.20s'", d->name, what);
}

/* What it is, and where: an entry of `files` is a name, of all of the file that came at its place, or tells a part. */
static const char *find(struct taking *t, const json_t *args, size_t i, struct err *err)
{
	struct stat st;
	const json_t *file = json_array_get(json_object_get(args, "files"), i);
	size_t number = json_is_object(file) ? (size_t)json_get_int(file, "file", 0) : i;
	const json_t *fd = json_array_get(json_object_get(args, "fds"), number);
	const char *what =
		json_is_object(file) ? json_get_str(file, "what", NULL) : json_string_value(file);
	t->from = json_is_integer(fd) ? (int)json_integer_value(fd) : -1;
	if (!what || fstat(t->from, &st) < 0 || !S_ISREG(st.st_mode)) {
		err_set(err, ERR_USAGE, "%zu files are named, %zu came",
			json_array_size(json_object_get(args, "files")),
			json_array_size(json_object_get(args, "fds")));
		return NULL;
	}
	t->whole = !json_is_object(file);
	t->at = json_get_int(file, "offset", 0);
	t->size = json_get_int(file, "size", st.st_size);
	if (t->at >= 0 && t->size >= 0 && t->at <= st.st_size && t->size <= st.st_size - t->at)
		return what;
	err_set(err, ERR_USAGE, "'%.20s' does not lie in its file", what);
	return NULL;
}

int define_take_files(int dir, const struct definition *d, const void *about, struct err *err)
{
	const json_t *args = about;
	struct taking t = {.dir = dir, .d = d};
	size_t count = json_array_size(json_object_get(args, "files"));
	for (size_t i = 0; i < count; i++) {
		if (!find(&t, args, i, err))
			return -1;
		t.total += (uint64_t)t.size;
	}
	for (size_t i = 0; i < count; i++) {
		const char *what = find(&t, args, i, err);
		if (!what || take_file(&t, what, err) < 0)
			return -1;
		t.before += (uint64_t)t.size;
	}
	return 0;
}
