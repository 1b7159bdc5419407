/* --disk: files that there are, with a format that is settled here once, and new ones where libvirt has its images. */
#include "orchestrator/compat/virt_install.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fs.h"
#include "images/chain.h"
#include "images/image.h"
#include "images/image_info.h"
#include "images/qcow2.h"
#include "orchestrator/compat/links.h"
#include "orchestrator/compat/storage.h"
#include "orchestrator/file_look.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/run_options.h"

#define GIB ((double)(1 << 30))

/* What --disk says. */
struct wish {
	const char *path, *format, *bus, *device, *cache, *backing, *backing_format, *discard,
		*serial;
	const char *target, *size_text;
	char *volume;  /* owned: `path` of one in the folder of images */
	uint64_t size; /* 0: none */
	bool readonly, full;
};

static void wish_free(struct wish *w)
{
	free(w->volume);
}

/* ---- places ---------------------------------------------------------------------------------------- */

/* Absolute; what it names need not be there. Freed by the caller. */
static char *absolute(const char *path)
{
	char *real = realpath(path, NULL);
	_cleanup_free_ char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
	return real ? real : here ? str_fmt("%s/%s", here, path) : xstrdup(path);
}

/* The guest that writes to that file; NULL: none. Freed by the caller. */
static char *user_of(const char *path)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	if (guests_names(&names, NULL, &ignored) < 0)
		return NULL;
	for (char **n = names; *n; n++) {
		_cleanup_definition_ struct definition *d = record_read(*n, &ignored);
		for (size_t i = 0; d && i < d->disk_count; i++)
			if (d->disks[i].source == DISK_PATH && !d->disks[i].readonly &&
				str_eq(d->disks[i].path, path))
				return xstrdup(*n);
	}
	return NULL;
}

/* It was kept by undefine, or virt-install was killed before there was a guest: nobody else would tell of it. */
static void tell_left(const struct install_ask *a, const char *path)
{
	_cleanup_free_ char *user = user_of(path);
	if (!user)
		warn(a, "Disk %s is there already and no guest has it: it is left alone, and another is made. `--disk path=%s` takes it, `rm` frees its room.",
			path, path);
}

/* NAME.qcow2, or NAME-1.qcow2 and so on. */
static char *new_path(const struct install_ask *a, const char *suffix, struct err *err)
{
	enum { TRIES = 1000 };
	_cleanup_free_ char *folder = storage_folder(err);
	for (unsigned n = 0; folder && n < TRIES; n++) {
		_cleanup_free_ char *path = n || a->made_count
						    ? str_fmt("%s/%s-%u%s", folder, a->name,
							      n + !!a->made_count, suffix)
						    : str_fmt("%s/%s%s", folder, a->name, suffix);
		bool planned = false;
		for (size_t i = 0; i < a->made_count; i++)
			planned = planned || str_eq(a->made[i].path, path);
		if (planned)
			continue;
		if (access(path, F_OK) < 0)
			return TAKE(path);
		tell_left(a, path);
	}
	if (folder)
		err_set(err, ERR_REFUSED, "'%s' is full of disks of that name", folder);
	return NULL;
}

/* ---- one that is there -------------------------------------------------------------------------------- */

/* libvirt's words for the chapter's overlay that was copied away from its base, and the line that mends it. */
static int check_backing(const char *path, const json_t *look, struct err *err)
{
	const char *backing = json_get_str(look, "backing", NULL);
	if (!backing)
		return 0;
	_cleanup_free_ char *base = chain_backing_path(path, backing);
	if (base && (access(base, F_OK) == 0 || errno == EACCES))
		return 0;
	struct err mend = ERR_INIT;
	chain_backing_missing(path, base ? base : backing,
		str_eq(json_get_str(look, "backing-format", NULL), "qcow2"), &mend);
	err_set(err, ERR_NOT_FOUND,
		"Cannot access backing file '%s' of storage file '%s' (as uid:%u, gid:%u): No such file or directory",
		base ? base : backing, path, (unsigned)geteuid(), (unsigned)getegid());
	return err_hint(err, "%s", mend.hint);
}

/* Told all the same where it is not to stop it. */
static int check_users(const struct install_ask *a, const char *path, struct err *err)
{
	_cleanup_free_ char *user = user_of(path);
	if (!user)
		return 0;
	if (a->check_use)
		return err_set(err, ERR_BUSY,
			"Disk %s is already in use by other guests ['%s']. (Use --check path_in_use=off or --check all=off to override)",
			path, user);
	warn(a, "Disk %s is already in use by other guests ['%s'].", path, user);
	return 0;
}

static int settle_format(struct wish *w, struct err *err)
{
	_cleanup_json_ json_t *look = NULL;
	if (file_look_or_ask(w->path, w->format, &look, err) < 0)
		return -1;
	w->format = str_eq(json_get_str(look, "format", NULL), "qcow2") ? "qcow2" : "raw";
	/* a seed is for a cloud image, whose kernel may have no driver for AHCI (Debian's linux-image-cloud has none) */
	if (!w->bus && str_eq(w->device, "cdrom") &&
		strcasecmp(json_get_str(look, "label", ""), "cidata") == 0)
		w->bus = "scsi";
	return check_backing(w->path, look, err);
}

static json_t *disk_of(const struct wish *w)
{
	bool cdrom = str_eq(w->device, "cdrom");
	json_t *disk = json_object();
	json_set_text(disk, "path", w->path);
	json_set_text(disk, "format", w->format);
	json_set_text(disk, "bus", w->bus ? w->bus : cdrom ? "sata" : NULL);
	json_set_text(disk, "cdrom", cdrom ? "true" : NULL);
	json_set_text(disk, "readonly", w->readonly || cdrom ? "true" : NULL);
	json_set_text(disk, "serial", w->serial);
	json_set_text(disk, "target", w->target);
	json_set_text(disk, "cache", w->cache);
	json_set_text(disk, "discard", str_eq(w->discard, "ignore") ? "false" : NULL);
	return disk;
}

/* ---- one that is made ------------------------------------------------------------------------------------ */

static int refuse_folder(const struct wish *w, const char *folder, struct err *err)
{
	bool lacks = errno == ENOENT;
	err_errno(err, "cannot make the disk '%s'", w->path);
	if (!str_eq(folder, OLD_IMAGES_FOLDER "/"))
		return -1;
	return lacks ? err_hint(err, "`sudo roost compat --install` makes that folder")
		     : err_hint(err,
			       "`sudo chgrp roost %s && sudo chmod 2771 %s` lets members of the group write there",
			       OLD_IMAGES_FOLDER, OLD_IMAGES_FOLDER);
}

/* A thin one may grow larger than there is room for: that is its owner's to know. */
static int check_room(const struct install_ask *a, const struct wish *w, struct err *err)
{
	struct statvfs room;
	const char *slash = strrchr(w->path, '/');
	_cleanup_free_ char *folder = strndup(w->path, (size_t)(slash - w->path) + 1);
	if (statvfs(folder, &room) < 0 || access(folder, W_OK) < 0)
		return refuse_folder(w, folder, err);
	uint64_t available = (uint64_t)room.f_bavail * room.f_frsize;
	unsigned long long mib = w->size >> 20, free_mib = available >> 20;
	if (w->size <= available)
		return 0;
	if (w->full)
		return err_set(err, ERR_REFUSED,
			"There is not enough free space on the storage pool to create the volume. (%llu M requested allocation > %llu M available)",
			mib, free_mib);
	if (a->check_size)
		warn(a, "The requested volume capacity will exceed the available pool space when the volume is fully allocated. (%llu M requested capacity > %llu M available)",
			mib, free_mib);
	return 0;
}

static int plan(struct install_ask *a, const struct wish *w, struct err *err)
{
	if (a->made_count == DISKS_MAX)
		return err_set(err, ERR_USAGE, "more than %d disks", DISKS_MAX);
	if (check_room(a, w, err) < 0)
		return -1;
	a->made[a->made_count++] = (struct new_disk){.path = xstrdup(w->path),
		.backing = w->backing ? absolute(w->backing) : NULL,
		.backing_format = xstrdup(w->backing_format),
		.size = w->size,
		.raw = str_eq(w->format, "raw"),
		.full = w->full};
	return 0;
}

/* Of the base's size, unless told. */
static int settle_backing(struct new_disk *n, struct err *err)
{
	struct stat st;
	struct qcow2_info info;
	bool qcow2 = str_eq(n->backing_format, "qcow2");
	if (!n->backing)
		return 0;
	_cleanup_close_ int fd = image_open(n->backing, &st, err);
	if (fd < 0 || (!n->backing_format && image_format_settle(fd, n->backing, IMAGE_BY_CONTENT,
						     &qcow2, err) < 0))
		return -1;
	if (!n->backing_format)
		n->backing_format = xstrdup(qcow2 ? "qcow2" : "raw");
	if (qcow2 && qcow2_read(fd, &info, err) < 0)
		return err_prefix(err, "'%s'", n->backing);
	if (!n->size)
		n->size = qcow2 ? info.virtual_size : raw_virtual_size(&st);
	return 0;
}

static int make(struct new_disk *n, struct err *err)
{
	const struct qcow2_new what = {.size = n->size,
		.backing = n->backing,
		.backing_format = n->backing_format,
		.durable = true};
	if (!n->raw) {
		n->made = qcow2_create(AT_FDCWD, n->path, &what, err) == 0;
		return n->made ? 0 : -1;
	}
	_cleanup_close_ int fd = open(n->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	n->made = fd >= 0;
	if (fd < 0 || ftruncate(fd, (off_t)n->size) < 0)
		return err_errno(err, "cannot make the disk '%s'", n->path);
	return n->full && posix_fallocate(fd, 0, (off_t)n->size) != 0
		       ? err_set(err, ERR_SYSTEM, "there is no room for the disk '%s'", n->path)
		       : 0;
}

static void tell_disk(
	const struct install_ask *a, const char *what, const struct new_disk *n, const char *end)
{
	const char *slash = strrchr(n->path, '/');
	_cleanup_free_ char *text = str_fmt("%s '%s'", what, slash ? slash + 1 : n->path);
	tell(a, "%-60s|    0 B  00:00 %s\n", text, end);
}

int disks_make(struct install_ask *a, struct err *err)
{
	for (size_t i = 0; i < a->made_count; i++) {
		struct new_disk *n = &a->made[i];
		if (settle_backing(n, err) < 0 || make(n, err) < 0)
			return -1;
		tell_disk(a, "Allocating", n, "... ");
	}
	return 0;
}

void disks_take_back(struct install_ask *a)
{
	for (size_t i = 0; i < a->made_count; i++) {
		struct new_disk *n = &a->made[i];
		if (!n->made || unlink(n->path) < 0)
			continue;
		tell_disk(a, "Removing disk", n, "    ");
	}
}

/* ---- the option -------------------------------------------------------------------------------------------- */

static int take_size(const char *text, uint64_t *size, struct err *err)
{
	char *end;
	double gib = text ? strtod(text, &end) : 0;
	if (text && (end == text || *end))
		return err_set(err, ERR_USAGE,
			"Improper value for 'size': could not convert string to float: '%s'", text);
	if (text && (!isfinite(gib) || gib <= 0 || gib > 1 << 20))
		return err_set(err, ERR_USAGE, "--disk size=%s: a number of GiB is wanted", text);
	*size = (uint64_t)(gib * GIB + 511) & ~(uint64_t)511;
	return 0;
}

static const char *const cdrom_kinds[] = {"disk", "cdrom"};
static const char *const buses[] = {"virtio", "scsi", "sata", "ide"};
static const char *const caches[] = {"default", "none", "writeback", "writethrough", "unsafe"};
static const char *const formats[] = {"qcow2", "raw"};
static const char *const discards[] = {"unmap", "ignore"};

/* One of these words; `key` is what it is called. */
static int check_word(const char *key, const char *value, const char *const words[], size_t count,
	struct err *err)
{
	_cleanup_buf_ struct buf all = {0};
	for (size_t i = 0; i < count; i++) {
		if (!value || str_eq(value, words[i]))
			return 0;
		buf_fmt(&all, "%s%s", i == 0 ? "" : i + 1 == count ? " and " : ", ", words[i]);
	}
	err_set(err, ERR_USAGE, "Error: --disk %s=%s is not supported", key, value);
	return err_hint(err, "roost has %s", all.data);
}

static int check_words(struct wish *w, struct err *err)
{
	if (check_word("device", w->device, cdrom_kinds, ARRAY_SIZE(cdrom_kinds), err) < 0 ||
		check_word("bus", w->bus, buses, ARRAY_SIZE(buses), err) < 0 ||
		check_word("cache", w->cache, caches, ARRAY_SIZE(caches), err) < 0 ||
		check_word("format", w->format, formats, ARRAY_SIZE(formats), err) < 0)
		return -1;
	return check_word("discard", w->discard, discards, ARRAY_SIZE(discards), err);
}

/* How QEMU does it, not what is done. */
static void take_tuning(const struct install_ask *a, struct parts *p)
{
	static const char *const keys[] = {"io", "driver.io", "detect_zeroes",
		"driver.detect_zeroes", "error_policy", "driver.error_policy", "driver.queues",
		"driver.iothread", "startup_policy", "source.startupPolicy"};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (parts_take(p, keys[i]))
			warn(a, "--disk %s= is not heeded: roost has its own", keys[i]);
}

/* libvirt's pool of images is its folder, and the only one that there is. */
static int take_pool(struct parts *p, struct wish *w, struct err *err)
{
	const char *pool = parts_take_either(p, "source.pool", "pool"),
		   *volume = parts_take_either(p, "source.volume", "vol");
	if (volume && str_starts(volume, "default/"))
		volume += strlen("default/");
	else if (volume && !pool)
		pool = volume;
	if (pool && !str_eq(pool, "default")) {
		err_set(err, ERR_REFUSED, "Error: --disk pool '%s' is not there", pool);
		return err_hint(
			err, "roost has 'default', the folder of images, and files by path=");
	}
	if (!volume)
		return 0;
	_cleanup_free_ char *folder = storage_folder(err);
	w->volume = folder ? str_fmt("%s/%s", folder, volume) : NULL;
	w->path = w->volume;
	return w->volume ? 0 : -1;
}

static int take_words(const struct install_ask *a, struct parts *p, struct wish *w, struct err *err)
{
	static const struct {
		const char *word, *instead;
	} refused[] = {{"boot_order", "--boot says the order"},
		{"boot.order", "--boot says the order"},
		{"shareable", "a disk has one guest; readonly=on may have several"},
		{"transient", "`virsh snapshot-create-as` keeps what it is, and takes it back"}};
	static const char *const holds[] = {"driver.name=qemu", "type=file", "source.type=file",
		"shareable=off", "transient=off", "snapshot=internal"};
	w->path = parts_take_either(p, "source.file", "path");
	w->format = parts_take_either(p, "driver.type", "format");
	w->format = w->format ? w->format : parts_take(p, "driver_type");
	w->bus = parts_take_either(p, "target.bus", "bus");
	w->device = parts_take(p, "device");
	w->cache = parts_take_either(p, "driver.cache", "cache");
	w->readonly = parts_on(p, "readonly");
	w->backing = parts_take(p, "backing_store");
	w->backing_format = parts_take(p, "backing_format");
	w->discard = parts_take_either(p, "driver.discard", "discard");
	w->serial = parts_take(p, "serial");
	w->target = parts_take_either(p, "target.dev", "target");
	w->size_text = parts_take(p, "size");
	w->full = parts_off(p, "sparse");
	parts_hold(p, holds, ARRAY_SIZE(holds));
	take_tuning(a, p);
	if (take_pool(p, w, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (parts_take(p, refused[i].word))
			return err_set(err, ERR_REFUSED, "Error: --disk %s= is not there",
				       refused[i].word),
			       err_hint(err, "%s", refused[i].instead);
	return take_size(w->size_text, &w->size, err) < 0 || parts_end(p, err) < 0
		       ? -1
		       : check_words(w, err);
}

/* A thin one is what qcow2 is for. */
static int check_full(const struct wish *w, struct err *err)
{
	if (!w->full || str_eq(w->format, "raw"))
		return 0;
	err_set(err, ERR_USAGE, "Error: --disk sparse=no is not supported of qcow2");
	return err_hint(err, "format=raw,sparse=no has all its room at once");
}

static int add(struct install_ask *a, struct wish *w, struct err *err)
{
	bool there = access(w->path, F_OK) == 0;
	const char *slash = strrchr(w->path, '/');
	if (there && (settle_format(w, err) < 0 || (!w->readonly && !str_eq(w->device, "cdrom") &&
							   check_users(a, w->path, err) < 0)))
		return -1;
	if (!there && !w->size && !w->backing)
		return err_set(err, ERR_NOT_FOUND,
			"Error: --disk path=%s: Size must be specified for non existent volume '%s'",
			w->path, slash ? slash + 1 : w->path);
	if (!there && !w->format)
		w->format = "qcow2";
	if (!there && (check_full(w, err) < 0 || plan(a, w, err) < 0))
		return -1;
	return json_array_append_new(a->disks, disk_of(w)) == 0
		       ? 0
		       : err_set(err, ERR_USAGE, "--disk is not valid UTF-8");
}

int ask_disk(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_(wish_free) struct wish w = {0};
	_cleanup_parts_ struct parts p = {0};
	if (str_eq(text, "none")) {
		a->no_disk = true;
		return 0;
	}
	if (parts_of("--disk", text, "path", &p, err) < 0 || take_words(a, &p, &w, err) < 0)
		return -1;
	if (!w.path && str_eq(w.device, "cdrom")) {
		json_array_append_new(
			a->disks, json_pack("{s:s, s:s, s:s, s:s}", "cdrom", "true", "readonly",
					  "true", "bus", "sata", "format", "raw"));
		return 0;
	}
	_cleanup_free_ char *path =
		w.path ? absolute(w.path)
		       : new_path(a, str_eq(w.format, "raw") ? ".img" : ".qcow2", err);
	if (!path)
		return -1;
	w.path = path;
	return add(a, &w, err);
}

/* Old forms: the first path with the first size, and so on. */
int ask_file(struct install_ask *a, const char *text, struct err *err)
{
	if (a->file_count == DISKS_MAX)
		return err_set(err, ERR_USAGE, "more than %d disks", DISKS_MAX);
	a->files[a->file_count++] = text;
	return 0;
}

int ask_file_size(struct install_ask *a, const char *text, struct err *err)
{
	if (a->size_count == DISKS_MAX)
		return err_set(err, ERR_USAGE, "more than %d disks", DISKS_MAX);
	a->sizes[a->size_count++] = text;
	return 0;
}
