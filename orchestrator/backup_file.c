#include "orchestrator/backup_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "images/image.h"
#include "images/qcow2.h"
#include "images/tar.h"
#include "orchestrator/failpoint.h"

/* What a disk's header takes, and to which its content is aligned: as file systems have their blocks. */
enum { HEAD = 4096 };

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

int backup_make(struct backup_writer *b, const char *path, struct err *err)
{
	struct stat st;
	b->path = path;
	if (lstat(path, &st) < 0)
		return new_file_begin(&b->file, path, err);
	err_set(err, ERR_REFUSED, "'%s' exists already", path);
	return err_hint(err, "a backup never overwrites anything: choose another name");
}

static int cannot(const struct backup_writer *b, struct err *err)
{
	return err_errno(err, "cannot write '%s'", b->path);
}

static struct backup_member *add_member(struct backup_writer *b, const char *name, struct err *err)
{
	struct backup_member *m = &b->members[b->count];
	if (b->count == BACKUP_MEMBERS_MAX || strlen(name) >= sizeof(m->name)) {
		err_set(err, ERR_REFUSED, "'%s' cannot have more than %d files with short names",
			b->path, BACKUP_MEMBERS_MAX);
		return NULL;
	}
	snprintf(m->name, sizeof(m->name), "%s", name);
	b->count++;
	return m;
}

/* ---- the disks --------------------------------------------------------------------------------------- */

/* All clusters, and more than their tables take: these are 1/6500 of it with clusters of 64 KiB. */
static uint64_t room_for(uint64_t size)
{
	return round_up(size + size / 1024 + (32 << 20), HEAD);
}

int backup_add_disk(struct backup_writer *b, const char *name, uint64_t size,
	struct backup_member *out, struct err *err)
{
	struct qcow2_new what = {.size = size, .at = b->end + HEAD};
	uint64_t room = room_for(size);
	if (size > INT64_MAX / 4 || what.at + room > INT64_MAX / 2)
		return err_set(err, ERR_REFUSED, "disks of %s are too large for one file",
			str_size(b->end + size));
	struct backup_member *m = add_member(b, name, err);
	if (!m || qcow2_create_in(b->file.fd, name, &what, err) < 0)
		return -1;
	if (ftruncate(b->file.fd, (off_t)(what.at + room)) < 0)
		return cannot(b, err);
	m->at = what.at;
	m->room = room;
	b->end = what.at + room;
	*out = *m;
	return 0;
}

/* A file of ours, opened anew. */
static int open_again(int fd, int flags)
{
	char self[40];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return open(self, flags | O_CLOEXEC);
}

/* Has nobody else the file open for writing? Then the kernel gives a lease to read it. 1, 0, -1. */
static int is_ours_alone(struct backup_writer *b, struct err *err)
{
	_cleanup_close_ int read_only = open_again(b->file.fd, O_RDONLY);
	if (read_only < 0)
		return cannot(b, err);
	cleanup_close(&b->file.fd);
	bool alone = fcntl(read_only, F_SETLEASE, F_RDLCK) == 0;
	if (alone)
		fcntl(read_only, F_SETLEASE, F_UNLCK);
	b->file.fd = open_again(read_only, O_RDWR);
	return b->file.fd < 0 ? cannot(b, err) : alone;
}

/*
 * QEMU has had the file open. One that somebody in the guest had taken over could keep it so, and write into it what root
 * then believes when it restores the guest. One whose CPUs stand still keeps it, too: until they run it closes nothing
 * that was removed from its fdsets. What comes next is written into a file that it has never had: *old is the one that
 * holds the disks then; without an fd if it need not be left.
 */
static int take_back(struct backup_writer *b, struct new_file *old, struct err *err)
{
	int alone = is_ours_alone(b, err);
	if (alone)
		return alone < 0 ? -1 : 0;
	*old = b->file;
	b->file = (struct new_file)NEW_FILE_NONE;
	new_file_leave_name(old);
	return new_file_begin(&b->file, b->path, err);
}

/* The disk, and what follows it, to where the one before it ends. */
static int bring_down(struct backup_writer *b, int from, size_t disk, uint64_t to, struct err *err)
{
	struct backup_member *m = &b->members[disk];
	uint64_t gap = m->at - to;
	if (from != b->file.fd || gap) {
		if (from == b->file.fd && fallocate(from, FALLOC_FL_COLLAPSE_RANGE,
						  (off_t)(to - HEAD), (off_t)gap) == 0) {
			for (size_t i = disk + 1; i < b->count; i++)
				b->members[i].at -= gap;
		} else if (image_move(from, m->at, m->size, b->file.fd, to, err) < 0) {
			return -1;
		}
	}
	m->at = to;
	return 0;
}

static int put_at(
	const struct backup_writer *b, uint64_t at, const void *data, size_t len, struct err *err)
{
	if (lseek(b->file.fd, (off_t)at, SEEK_SET) < 0 || write_all(b->file.fd, data, len) < 0)
		return cannot(b, err);
	return 0;
}

static int settle_disk(struct backup_writer *b, int from, size_t disk, uint64_t at, struct err *err)
{
	unsigned char head[HEAD];
	struct backup_member *m = &b->members[disk];
	if (qcow2_end(from, m->at, m->room, &m->size, err) < 0)
		return -1;
	m->size = round_up(m->size, HEAD);
	if (bring_down(b, from, disk, at, err) < 0)
		return -1;
	tar_padded_header(head, HEAD, m->name, 0600, m->size);
	return put_at(b, m->at - HEAD, head, HEAD, err);
}

static int settle_disks(struct backup_writer *b, int from, struct err *err)
{
	b->end = 0;
	for (size_t i = 0; i < b->count; i++) {
		if (settle_disk(b, from, i, b->end + HEAD, err) < 0)
			return err_prefix(err, "'%s' in '%s'", b->members[i].name, b->path);
		b->end = b->members[i].at + b->members[i].size;
		failpoint("backup-settling");
	}
	return ftruncate(b->file.fd, (off_t)b->end) < 0 ? cannot(b, err) : 0;
}

int backup_settle(struct backup_writer *b, struct err *err)
{
	_cleanup_new_file_ struct new_file old = NEW_FILE_NONE;
	failpoint("backup-written");
	if (take_back(b, &old, err) < 0)
		return -1;
	int result = settle_disks(b, old.fd >= 0 ? old.fd : b->file.fd, err);
	if (old.fd >= 0) /* whoever has it open shall not take its place on the disk */
		(void)!ftruncate(old.fd, 0);
	return result;
}

/* ---- the rest ---------------------------------------------------------------------------------------- */

int backup_add(
	struct backup_writer *b, const char *name, const void *data, size_t len, struct err *err)
{
	static const char zeros[TAR_BLOCK];
	struct tar_header h;
	if (!add_member(b, name, err))
		return -1;
	tar_header_make(&h, '0', name, 0600, len);
	size_t padding = (size_t)(round_up(len, TAR_BLOCK) - len);
	if (put_at(b, b->end, &h, sizeof(h), err) < 0 ||
		put_at(b, b->end + TAR_BLOCK, data, len, err) < 0 ||
		put_at(b, b->end + TAR_BLOCK + len, zeros, padding, err) < 0)
		return -1;
	b->end += TAR_BLOCK + len + padding;
	return 0;
}

int backup_commit(struct backup_writer *b, const json_t *facts, struct err *err)
{
	static const char end[2 * TAR_BLOCK];
	_cleanup_free_ char *line = json_line(facts), *text = str_fmt("%s\n", line);
	if (backup_add(b, BACKUP_FACTS, text, strlen(text), err) < 0 ||
		put_at(b, b->end, end, sizeof(end), err) < 0)
		return -1;
	b->end += sizeof(end);
	failpoint("backup-whole");
	return new_file_commit(&b->file, false, err);
}

void backup_end(struct backup_writer *b)
{
	new_file_end(&b->file);
}
