#include "images/ext_volume.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "images/ext_recover.h"

/* The superblock and the number in it: linux/fs/ext4/ext4.h. */
enum { SUPER_AT = 1024, MAGIC_AT = 56, SUPER_LEN = 1024 };

/* ---- what libext2fs reads and writes through -------------------------------------------------------- */

/* The one that ext2fs_open2() is just opening: a manager is told a name only. */
static struct ext_volume *opening;

static errcode_t io_open(const char *name, int flags, io_channel *out)
{
	io_channel channel = xcalloc(1, sizeof(*channel));
	(void)flags;
	channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	channel->name = xstrdup(name);
	channel->block_size = SUPER_LEN;
	channel->refcount = 1;
	channel->private_data = opening;
	extern struct struct_io_manager ext_manager;
	channel->manager = &ext_manager;
	*out = channel;
	return 0;
}

static errcode_t io_close(io_channel channel)
{
	if (--channel->refcount > 0)
		return 0;
	free(channel->name);
	free(channel);
	return 0;
}

static errcode_t io_set_blksize(io_channel channel, int size)
{
	channel->block_size = size;
	return 0;
}

/* A negative count is one of bytes. */
static int place(io_channel channel, unsigned long long block, int count, uint64_t *at, size_t *len)
{
	struct ext_volume *v = channel->private_data;
	uint64_t size = (uint64_t)channel->block_size;
	*len = count < 0 ? (size_t) - (int64_t)count : (size_t)count * size;
	if (block > v->size / size || *len > v->size - block * size)
		return err_set(
			&v->err, ERR_REFUSED, "its block %llu is beyond its partition", block);
	*at = v->at + block * size;
	return 0;
}

static errcode_t io_read64(io_channel channel, unsigned long long block, int count, void *data)
{
	struct ext_volume *v = channel->private_data;
	uint64_t at = 0;
	size_t len = 0;
	return place(channel, block, count, &at, &len) == 0 &&
			       disk_read(v->disk, data, at, len, &v->err) == 0
		       ? 0
		       : EXT2_ET_SHORT_READ;
}

static errcode_t io_write64(
	io_channel channel, unsigned long long block, int count, const void *data)
{
	struct ext_volume *v = channel->private_data;
	uint64_t at = 0;
	size_t len = 0;
	return place(channel, block, count, &at, &len) == 0 &&
			       disk_write(v->disk, data, at, len, &v->err) == 0
		       ? 0
		       : EXT2_ET_SHORT_WRITE;
}

static errcode_t io_read(io_channel channel, unsigned long block, int count, void *data)
{
	return io_read64(channel, block, count, data);
}

static errcode_t io_write(io_channel channel, unsigned long block, int count, const void *data)
{
	return io_write64(channel, block, count, data);
}

static errcode_t io_write_byte(io_channel channel, unsigned long at, int len, const void *data)
{
	struct ext_volume *v = channel->private_data;
	if (at > v->size || (uint64_t)len > v->size - at)
		return EXT2_ET_SHORT_WRITE;
	return disk_write(v->disk, data, v->at + at, (size_t)len, &v->err) == 0
		       ? 0
		       : EXT2_ET_SHORT_WRITE;
}

static errcode_t io_zero(io_channel channel, unsigned long long block, unsigned long long count)
{
	struct ext_volume *v = channel->private_data;
	uint64_t size = (uint64_t)channel->block_size;
	if (block > v->size / size || count > v->size / size - block)
		return EXT2_ET_SHORT_WRITE;
	return disk_zero(v->disk, v->at + block * size, count * size, &v->err) == 0
		       ? 0
		       : EXT2_ET_SHORT_WRITE;
}

/* All is written by ext_close(). */
static errcode_t io_flush(io_channel channel)
{
	(void)channel;
	return 0;
}

struct struct_io_manager ext_manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "a disk of roost's",
	.open = io_open,
	.close = io_close,
	.set_blksize = io_set_blksize,
	.read_blk = io_read,
	.write_blk = io_write,
	.flush = io_flush,
	.write_byte = io_write_byte,
	.read_blk64 = io_read64,
	.write_blk64 = io_write64,
	.zeroout = io_zero,
};

/* ---- the volume --------------------------------------------------------------------------------------- */

int ext_error(const struct ext_volume *v, errcode_t code, struct err *err, const char *what)
{
	if (v->err.kind)
		return err_set(err, v->err.kind, "%s: %s: %s", v->name, what, v->err.message);
	return err_set(err, ERR_REFUSED, "%s: %s: %s", v->name, what, error_message(code));
}

int ext_probe(struct cached_disk *d, uint64_t at, uint64_t size, struct err *err)
{
	uint16_t magic;
	if (size < SUPER_AT + SUPER_LEN)
		return 0;
	if (disk_read(d, &magic, at + SUPER_AT + MAGIC_AT, sizeof(magic), err) < 0)
		return -1;
	return le16toh(magic) == EXT2_SUPER_MAGIC;
}

const char *ext_type(const struct ext_volume *v)
{
	struct ext2_super_block *s = v->fs->super;
	if (ext2fs_has_feature_extents(s) || ext2fs_has_feature_64bit(s) ||
		ext2fs_has_feature_flex_bg(s) || ext2fs_has_feature_metadata_csum(s))
		return "ext4";
	return ext2fs_has_feature_journal(s) ? "ext3" : "ext2";
}

/* libext2fs lays its bitmaps out by it, and writes beyond their end where it is larger (tests/fuzz/corpus/ext). */
static bool begins_where_it_must(const struct ext_volume *v)
{
	return v->fs->super->s_first_data_block <= (v->fs->blocksize == SUPER_LEN ? 1U : 0U);
}

static int check(const struct ext_volume *v, struct err *err)
{
	struct ext2_super_block *s = v->fs->super;
	if (!begins_where_it_must(v))
		return err_set(err, ERR_REFUSED, "the %s on %s is not sound: its first block is %u",
			ext_type(v), v->name, s->s_first_data_block);
	if (s->s_state & EXT2_ERROR_FS || !(s->s_state & EXT2_VALID_FS)) {
		err_set(err, ERR_REFUSED, "the %s on %s %s", ext_type(v), v->name,
			s->s_state & EXT2_ERROR_FS ? "is marked as having errors"
						   : "was not unmounted, and has no journal");
		return err_hint(err, "start the guest, which checks it, and shut it down");
	}
	if (ext2fs_has_feature_quota(s) || ext2fs_has_feature_ea_inode(s) ||
		ext2fs_has_feature_shared_blocks(s)) {
		err_set(err, ERR_REFUSED,
			"the %s on %s has a feature that roost does not keep right: quota, ea_inode or shared_blocks",
			ext_type(v), v->name);
		return err_hint(err, "clean it with --boot: its own kernel does");
	}
	return 0;
}

static void drop(struct ext_volume *v)
{
	ext2fs_free(v->fs);
	v->fs = NULL;
}

/* As its superblock is now. */
int ext_open(struct ext_volume *v, struct err *err)
{
	opening = v;
	v->err = (struct err)ERR_INIT;
	errcode_t code = ext2fs_open2(v->name, NULL,
		EXT2_FLAG_RW | EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP | EXT2_FLAG_MASTER_SB_ONLY, 0,
		0, &ext_manager, &v->fs);
	if (code)
		return ext_error(v, code, err, "not a sound ext file system");
	if (check(v, err) == 0)
		return 0;
	drop(v);
	return -1;
}

/* The journal may hold another superblock and other groups. */
static int replay(struct ext_volume *v, struct err *err)
{
	int result = ext_replay(v, err);
	drop(v);
	return result < 0 ? -1 : ext_open(v, err);
}

int ext_begin(struct ext_volume *v, struct err *err)
{
	v->recovered = ext_is_unclean(v);
	if (v->recovered && replay(v, err) < 0)
		return -1;
	errcode_t code = ext2fs_read_bitmaps(v->fs);
	if (code)
		return ext_error(v, code, err, "its bitmaps");
	return v->recovered ? ext_settle(v, err) : 0;
}

bool ext_is_used(const struct ext_volume *v, ext2_ino_t ino)
{
	return ino >= EXT2_FIRST_INO(v->fs->super) && ino <= v->fs->super->s_inodes_count &&
	       ext2fs_test_inode_bitmap2(v->fs->inode_map, ino);
}

int ext_close(struct ext_volume *v, bool keep, struct err *err)
{
	errcode_t code = 0;
	if (!v->fs)
		return 0;
	if (keep && ext2fs_test_changed(v->fs))
		code = ext2fs_flush(v->fs);
	drop(v);
	return code ? ext_error(v, code, err, "cannot write it") : 0;
}
