#include "orchestrator/disk_open.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
#include "orchestrator/bases.h"
#include "orchestrator/disk_holder.h"
#include "orchestrator/lineage.h"
#include "orchestrator/snapshots.h"

/*
 * QEMU's own image locks (block/file-posix.c) are open file description locks on single bytes:
 * at 100+n a shared lock says "I use permission n" and at 200+n "others may not". Write is n = 1.
 */
enum { LOCK_USES_WRITE = 101, LOCK_SHARES_NO_WRITE = 201 };

static bool byte_locked(int fd, off_t byte)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
	return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

int disk_check_unused(int fd, const char *path, bool writable, struct err *err)
{
	bool written = byte_locked(fd, LOCK_USES_WRITE);
	if (!written && !(writable && byte_locked(fd, LOCK_SHARES_NO_WRITE)))
		return 0;
	char guest[64];
	bool known = disk_holder(fd, guest);
	_cleanup_free_ char *who =
		known ? str_fmt("guest '%s'", guest) : xstrdup("another process");
	err_set(err, ERR_BUSY, "disk '%s' is in use by %s%s", path, who,
		written ? ", which writes to it" : "");
	return err_hint(
		err, "one writable disk serves one guest; stop the other, or make an overlay");
}

int disk_lock(int fd, const char *path, bool writable, struct err *err)
{
	const off_t bytes[] = {LOCK_SHARES_NO_WRITE, LOCK_USES_WRITE};
	for (size_t i = 0; i < (writable ? 2 : 1); i++) {
		struct flock l = {
			.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = bytes[i], .l_len = 1};
		if (fcntl(fd, F_OFD_SETLK, &l) < 0)
			return err_errno(err, "cannot lock '%s'", path);
	}
	return disk_check_unused(fd, path, writable, err);
}

static int add_layer(
	struct disk_files *f, int fd, const char *path, bool qcow2, bool writable, struct err *err)
{
	if (f->count == CHAIN_MAX) {
		close(fd);
		return err_set(err, ERR_REFUSED, "the chain of disk '%s' has more than %d files",
			path, CHAIN_MAX);
	}
	f->layers[f->count++] = (struct disk_layer){.fd = fd, .qcow2 = qcow2, .writable = writable};
	return f->shared ? 0 : disk_check_unused(fd, path, writable, err);
}

/* How a file is opened: by the guest to write to, by nobody but for a merge, or for reading. */
enum use { USE_READ, USE_MERGE, USE_WRITE };

static int open_layer(
	struct disk_files *f, const char *path, bool qcow2, enum use use, struct err *err)
{
	int fd = open(path, (use ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_errno(err, "cannot open the disk '%s'", path);
	int result = add_layer(f, fd, path, qcow2, use == USE_WRITE, err);
	if (result == 0)
		f->layers[f->count - 1].ours = use == USE_MERGE;
	return result;
}

/* The guest's folder is its keeper's: what is in it is opened by root only if it is his, too. */
static int open_own(struct disk_files *f, int guest_dir, const char *name, bool qcow2, enum use use,
	struct err *err)
{
	struct stat folder;
	if (fstat(guest_dir, &folder) < 0)
		return err_errno(err, "cannot look at the guest's folder");
	if (use == USE_MERGE && base_is_frozen(guest_dir, name))
		use = USE_READ;
	int fd = base_open_own(guest_dir, name, use ? O_RDWR : O_RDONLY, folder.st_uid, err);
	if (fd < 0)
		return err_prefix(err, "the guest's own disk");
	int result = add_layer(f, fd, name, qcow2, use == USE_WRITE, err);
	if (result == 0)
		f->layers[f->count - 1].ours = use == USE_MERGE;
	return result;
}

/* The seed is told by its path, and lies in the guest's folder: its name there, else NULL. */
static const char *own_file(const struct disk_def *d, int guest_dir)
{
	struct stat folder, its;
	const char *slash = d->path ? strrchr(d->path, '/') : NULL;
	if (d->source != DISK_PATH)
		return d->file;
	if (!slash || d->format != FORMAT_RAW || guest_dir < 0)
		return NULL;
	_cleanup_free_ char *place = strndup(d->path, (size_t)(slash - d->path) + 1);
	bool same = stat(place, &its) == 0 && fstat(guest_dir, &folder) == 0 &&
		    its.st_dev == folder.st_dev && its.st_ino == folder.st_ino;
	return same ? slash + 1 : NULL;
}

/* The file that was looked at, not another that has taken its name since. */
static int open_looked(struct disk_files *f, const char *path, bool qcow2, enum use use,
	dev_t device, ino_t inode, struct err *err)
{
	struct stat st;
	if (open_layer(f, path, qcow2, use, err) < 0)
		return -1;
	if (fstat(f->layers[f->count - 1].fd, &st) == 0 && st.st_ino == inode &&
		st.st_dev == device)
		return 0;
	return err_set(err, ERR_BUSY, "disk '%s' was replaced at this moment", path);
}

/* As the headers say: of a disk whose lineage was never recorded. */
static int open_chain(
	struct disk_files *f, const char *path, bool qcow2, enum use use, struct err *err)
{
	struct chain chain = {0};
	if (chain_resolve(path, qcow2, &chain, err) < 0)
		return -1;
	int result = 0;
	for (size_t i = 0; i < chain.count && result == 0; i++) {
		const struct chain_link *link = &chain.links[i];
		result = open_looked(f, link->path, link->qcow2, i ? USE_READ : use, link->device,
			link->inode, err);
	}
	chain_free(&chain);
	return result;
}

static int open_path(struct disk_files *f, const struct disk_def *d, enum use use, struct err *err)
{
	struct stat st;
	bool qcow2 = d->format == FORMAT_QCOW2;
	if (!d->lineage_known)
		return open_chain(f, d->path, qcow2, use, err);
	_cleanup_close_ int fd = image_open(d->path, &st, err);
	if (fd < 0)
		return -1;
	return open_looked(f, d->path, qcow2, use, st.st_dev, st.st_ino, err);
}

/* As was recorded, whatever the headers say. */
static int open_lineage(
	struct disk_files *f, const struct disk_def *d, int guest_dir, struct err *err)
{
	if (lineage_check_top(d, guest_dir, f->layers[f->count - 1].fd, err) < 0)
		return err_prefix(err, "disk '%s'", d->target);
	for (size_t i = 0; i < d->lineage_count; i++) {
		int fd = lineage_open(d, i, guest_dir, err);
		if (fd < 0 || add_layer(f, fd, d->lineage[i].path,
				      d->lineage[i].format == FORMAT_QCOW2, false, err) < 0)
			return -1;
	}
	return 0;
}

/* What the disk is without snapshots. */
static int open_bottom(struct disk_files *f, const struct disk_def *d, int guest_dir, enum use use,
	struct err *err)
{
	const char *own = own_file(d, guest_dir);
	size_t above = f->count;
	int result = own ? open_own(f, guest_dir, own, d->source != DISK_PATH, use, err)
			 : open_path(f, d, use, err);
	if (result == 0 && d->lineage_known)
		result = open_lineage(f, d, guest_dir, err);
	else if (result == 0 && d->source == DISK_IMAGE)
		result = open_chain(f, d->path, d->format == FORMAT_QCOW2, USE_READ, err);
	if (result == 0 && !d->lineage_known && d->source == DISK_IMAGE && f->count > above + 2)
		result = err_set(err, ERR_REFUSED,
			"the image '%s' has a backing file now: an image must stand alone",
			d->path);
	return result;
}

/* QEMU has written to its header, too, and may ask there for more than the layer: see lineage.h. */
static int open_snapshot(
	struct disk_files *f, int guest_dir, const char *name, enum use use, struct err *err)
{
	struct qcow2_info info;
	if (open_own(f, guest_dir, name, true, use, err) < 0)
		return -1;
	if (qcow2_read(f->layers[f->count - 1].fd, &info, err) < 0)
		return err_prefix(err, "'%s'", name);
	return qcow2_may_stand(&info, name, err);
}

static int open_layers(const struct disk_def *d, int guest_dir, const char *const layers[],
	size_t count, bool shared, struct disk_files *out, struct err *err)
{
	struct disk_files f = {.shared = shared};
	enum use top = d->readonly ? USE_READ : USE_WRITE,
		 below = d->readonly ? USE_READ : USE_MERGE;
	int result = 0;
	for (size_t i = 0; i < count && result == 0; i++)
		result = open_snapshot(&f, guest_dir, layers[i], i ? below : top, err);
	if (result == 0)
		result = open_bottom(&f, d, guest_dir, count ? below : top, err);
	if (result < 0) {
		disk_files_close(&f);
		return -1;
	}
	*out = f;
	return 0;
}

int disk_open_layers(const struct disk_def *d, int guest_dir, const char *const layers[],
	size_t count, struct disk_files *out, struct err *err)
{
	return open_layers(d, guest_dir, layers, count, false, out, err);
}

int disk_look_layers(const struct disk_def *d, int guest_dir, const char *const layers[],
	size_t count, struct disk_files *out, struct err *err)
{
	return open_layers(d, guest_dir, layers, count, true, out, err);
}

int disk_open(const struct disk_def *d, int guest_dir, struct disk_files *out, struct err *err)
{
	const char *layers[CHAIN_MAX];
	size_t count = 0;
	if (d->cdrom && !d->path) {
		*out = (struct disk_files){0};
		return 0;
	}
	if (d->readonly || guest_dir < 0)
		return disk_open_layers(d, guest_dir, NULL, 0, out, err);
	_cleanup_json_ json_t *record = snapshots_read(guest_dir, err);
	if (!record || snapshot_chain(record, d, NULL, layers, &count, err) < 0)
		return -1;
	return disk_open_layers(d, guest_dir, layers, count, out, err);
}

void disk_files_close(struct disk_files *f)
{
	for (size_t i = 0; i < f->count; i++)
		cleanup_close(&f->layers[i].fd);
	f->count = 0;
}

json_t *disk_of_plugged(const json_t *entry)
{
	static const char *const ours[] = {
		"kind", "port", "device", "nodes", "sets", "layers", "unplugging"};
	json_t *disk = json_deep_copy(entry);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		json_object_del(disk, ours[i]);
	return disk;
}

char *disk_node(const char *target, size_t layer, bool file)
{
	const char *suffix = file ? "-file" : "";
	return layer ? str_fmt("%s-%zu%s", target, layer, suffix) : str_fmt("%s%s", target, suffix);
}

static json_t *cache_options(enum disk_cache cache)
{
	return json_pack(
		"{s:b, s:b}", "direct", cache == CACHE_NONE, "no-flush", cache == CACHE_UNSAFE);
}

json_t *disk_file_node(const struct disk_def *d, const struct disk_files *f, size_t layer, int set)
{
	_cleanup_free_ char *name = disk_node(d->target, layer, true);
	_cleanup_free_ char *filename = str_fmt("/dev/fdset/%d", set);
	/* one mode for good: QEMU aborts when it opens an fdset's file anew in another */
	bool to_write = f->layers[layer].writable || f->layers[layer].ours;
	json_t *node = json_pack("{s:s, s:s, s:s, s:b, s:b, s:o}", "driver", "file", "node-name",
		name, "filename", filename, "read-only", !to_write, "auto-read-only", 0, "cache",
		cache_options(d->cache));
	if (d->discard && to_write)
		json_object_set_new(node, "discard", json_string("unmap"));
	return node;
}

json_t *disk_format_node(const struct disk_def *d, const struct disk_files *f, size_t layer)
{
	_cleanup_free_ char *name = disk_node(d->target, layer, false);
	_cleanup_free_ char *file = disk_node(d->target, layer, true);
	const struct disk_layer *l = &f->layers[layer];
	json_t *node = json_pack("{s:s, s:s, s:s, s:b, s:o}", "driver", l->qcow2 ? "qcow2" : "raw",
		"node-name", name, "file", file, "read-only", !l->writable, "cache",
		cache_options(d->cache));
	if (d->discard && l->writable)
		json_object_set_new(node, "discard", json_string("unmap"));
	if (l->qcow2) {
		/* null, not absent: absent would let QEMU follow the name in the header */
		_cleanup_free_ char *below = disk_node(d->target, layer + 1, false);
		json_object_set_new(
			node, "backing", layer + 1 < f->count ? json_string(below) : json_null());
	}
	return node;
}

json_t *disk_device(const struct disk_def *d)
{
	static const char *const disk_drivers[] = {
		[BUS_VIRTIO] = "virtio-blk-pci",
		[BUS_SCSI] = "scsi-hd",
		[BUS_SATA] = "ide-hd",
		[BUS_IDE] = "ide-hd",
	};
	const char *driver = !d->cdrom            ? disk_drivers[d->bus]
			     : d->bus == BUS_SCSI ? "scsi-cd"
						  : "ide-cd";
	_cleanup_free_ char *id = str_fmt("disk-%s", d->target);
	json_t *device =
		json_pack("{s:s, s:s, s:s}", "driver", driver, "id", id, "drive", d->target);
	if (d->serial)
		json_object_set_new(device, "serial", json_string(d->serial));
	/* the host's page cache is behind it: the guest must flush (cache=writethrough: need not) */
	if (!d->cdrom)
		json_object_set_new(device, "write-cache",
			json_string(d->cache == CACHE_WRITETHROUGH ? "off" : "on"));
	if (d->bus == BUS_SCSI)
		json_object_set_new(device, "bus", json_string("scsi0.0"));
	return device;
}
