#include "images/ext_file.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

enum { LINES_FILE_MAX = 1 << 20 };

/* ---- zeroing ------------------------------------------------------------------------------------------- */

/* Blocks in a row, which are zeroed at once. */
struct run {
	struct ext_volume *v;
	blk64_t first, count;
	uint64_t bytes;
	errcode_t code;
};

static void run_end(struct run *r)
{
	if (r->count && !r->code)
		r->code = io_channel_zeroout(r->v->fs->io, r->first, r->count);
	r->bytes += r->count * r->v->fs->blocksize;
	r->count = 0;
}

static int run_add(
	ext2_filsys fs, blk64_t *block, e2_blkcnt_t which, blk64_t from, int offset, void *about)
{
	struct run *r = about;
	(void)which, (void)from, (void)offset;
	/* a file that claims what no file can have: libext2fs frees what of it can be freed */
	if (*block < fs->super->s_first_data_block || *block >= ext2fs_blocks_count(fs->super))
		return 0;
	if (r->count && *block == r->first + r->count) {
		r->count++;
		return 0;
	}
	run_end(r);
	r->first = *block;
	r->count = 1;
	return r->code ? BLOCK_ABORT : 0;
}

static int zero(struct ext_volume *v, ext2_ino_t ino, uint64_t *bytes, struct err *err)
{
	struct run r = {.v = v};
	errcode_t code = ext2fs_block_iterate3(
		v->fs, ino, BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY, NULL, run_add, &r);
	run_end(&r);
	*bytes += r.bytes;
	if (code || r.code)
		return ext_error(v, code ? code : r.code, err, "cannot zero a file");
	return 0;
}

/* ---- removing ------------------------------------------------------------------------------------------ */

/* Of the inode nothing stays either: small files lie in it. */
static errcode_t wipe_inode(struct ext_volume *v, ext2_ino_t ino)
{
	int size = EXT2_INODE_SIZE(v->fs->super);
	_cleanup_free_ struct ext2_inode *none = xcalloc(1, (size_t)size);
	none->i_dtime = (__u32)time(NULL);
	return ext2fs_write_inode_full(v->fs, ino, none, size);
}

static errcode_t free_inode(struct ext_volume *v, ext2_ino_t ino, bool folder)
{
	struct ext2_inode inode;
	errcode_t code = ext2fs_free_ext_attr(v->fs, ino, NULL);
	if (!code)
		code = ext2fs_read_inode(v->fs, ino, &inode);
	if (!code && ext2fs_inode_has_valid_blocks2(v->fs, &inode))
		code = ext2fs_punch(v->fs, ino, &inode, NULL, 0, ~0ULL);
	if (!code)
		code = wipe_inode(v, ino);
	if (!code)
		ext2fs_inode_alloc_stats2(v->fs, ino, -1, folder);
	return code;
}

int ext_free(struct ext_volume *v, ext2_ino_t ino, bool folder, uint64_t *bytes, struct err *err)
{
	struct ext2_inode inode;
	errcode_t code = ext2fs_read_inode(v->fs, ino, &inode);
	if (code)
		return ext_error(v, code, err, "an inode");
	bool content = LINUX_S_ISREG(inode.i_mode) && ext2fs_inode_has_valid_blocks2(v->fs, &inode);
	if (content && zero(v, ino, bytes, err) < 0)
		return -1;
	code = free_inode(v, ino, folder);
	return code ? ext_error(v, code, err, "cannot remove a file") : 0;
}

int ext_remove(struct ext_volume *v, ext2_ino_t ino, bool folder, uint64_t *bytes, struct err *err)
{
	struct ext2_inode inode;
	if (ino < EXT2_FIRST_INO(v->fs->super) || ino > v->fs->super->s_inodes_count)
		return err_set(
			err, ERR_REFUSED, "%s: a folder names an inode that is no file's", v->name);
	errcode_t code = ext2fs_read_inode(v->fs, ino, &inode);
	if (code)
		return ext_error(v, code, err, "an inode");
	if (LINUX_S_ISDIR(inode.i_mode) != folder ||
		!ext2fs_test_inode_bitmap2(v->fs->inode_map, ino) || !inode.i_links_count)
		return err_set(
			err, ERR_REFUSED, "%s: inode %u is not what its folder says", v->name, ino);
	if (!folder && inode.i_links_count > 1) {
		inode.i_links_count--;
		code = ext2fs_write_inode(v->fs, ino, &inode);
		return code ? ext_error(v, code, err, "an inode") : 0;
	}
	return ext_free(v, ino, folder, bytes, err);
}

int ext_unlink_from(struct ext_volume *v, ext2_ino_t dir, size_t folders, struct err *err)
{
	struct ext2_inode inode;
	errcode_t code = ext2fs_read_inode(v->fs, dir, &inode);
	/* 1 is a folder of which there are more than could be counted (dir_nlink) */
	if (!code && inode.i_links_count > folders + 1) {
		inode.i_links_count = (__u16)(inode.i_links_count - folders);
		code = ext2fs_write_inode(v->fs, dir, &inode);
	}
	return code ? ext_error(v, code, err, "a folder's inode") : 0;
}

/* ---- content ------------------------------------------------------------------------------------------- */

int ext_read(struct ext_volume *v, ext2_ino_t ino, size_t max, struct buf *out, struct err *err)
{
	struct ext2_inode inode;
	ext2_file_t file;
	unsigned got = 0;
	errcode_t code = ext2fs_read_inode(v->fs, ino, &inode);
	if (code)
		return ext_error(v, code, err, "an inode");
	if (!LINUX_S_ISREG(inode.i_mode) || EXT2_I_SIZE(&inode) > max)
		return 0;
	code = ext2fs_file_open(v->fs, ino, 0, &file);
	if (code)
		return ext_error(v, code, err, "cannot open a file");
	buf_reserve(out, (size_t)EXT2_I_SIZE(&inode) + 1);
	code = ext2fs_file_read(file, out->data + out->len, (unsigned)EXT2_I_SIZE(&inode), &got);
	ext2fs_file_close(file);
	if (code)
		return ext_error(v, code, err, "cannot read a file");
	out->len += got;
	out->data[out->len] = '\0';
	return 1;
}

/* A file so small that it lies in its inode. */
static errcode_t rewrite_inline(
	struct ext_volume *v, ext2_ino_t ino, struct ext2_inode *inode, const struct buf *text)
{
	size_t was = (size_t)EXT2_I_SIZE(inode);
	if (was > (size_t)EXT2_INODE_SIZE(v->fs->super))
		return EXT2_ET_INODE_CORRUPTED;
	_cleanup_free_ char *none = xcalloc(1, was + 1);
	errcode_t code = ext2fs_inline_data_set(v->fs, ino, NULL, none, was);
	if (!code)
		code = ext2fs_inline_data_set(
			v->fs, ino, NULL, text->len ? text->data : none, text->len);
	if (!code)
		code = ext2fs_read_inode(v->fs, ino, inode);
	if (!code)
		code = ext2fs_inode_size_set(v->fs, inode, (ext2_off64_t)text->len);
	return code ? code : ext2fs_write_inode(v->fs, ino, inode);
}

static errcode_t rewrite(struct ext_volume *v, ext2_ino_t ino, const struct buf *text)
{
	struct ext2_inode inode;
	ext2_file_t file;
	unsigned put = 0;
	errcode_t code = ext2fs_read_inode(v->fs, ino, &inode);
	if (!code && inode.i_flags & EXT4_INLINE_DATA_FL)
		return rewrite_inline(v, ino, &inode, text);
	if (!code)
		code = ext2fs_file_open(v->fs, ino, EXT2_FILE_WRITE, &file);
	if (code)
		return code;
	code = text->len ? ext2fs_file_write(file, text->data, (unsigned)text->len, &put) : 0;
	if (!code)
		code = ext2fs_file_set_size2(file, (ext2_off64_t)text->len);
	errcode_t closing = ext2fs_file_close(file);
	return code ? code : closing;
}

int ext_empty(struct ext_volume *v, ext2_ino_t ino, struct err *err)
{
	struct ext2_inode inode;
	uint64_t bytes = 0;
	errcode_t code = ext2fs_read_inode(v->fs, ino, &inode);
	if (code)
		return ext_error(v, code, err, "an inode");
	if (!LINUX_S_ISREG(inode.i_mode) || !EXT2_I_SIZE(&inode))
		return 0;
	if (ext2fs_inode_has_valid_blocks2(v->fs, &inode) && zero(v, ino, &bytes, err) < 0)
		return -1;
	code = rewrite(v, ino, &(struct buf){0});
	return code ? ext_error(v, code, err, "cannot empty a file") : 1;
}

int ext_put_text(struct ext_volume *v, ext2_ino_t ino, const char *text, struct err *err)
{
	const struct buf content = {.data = (char *)text, .len = strlen(text)};
	if (ext_empty(v, ino, err) < 0)
		return -1;
	errcode_t code = rewrite(v, ino, &content);
	return code ? ext_error(v, code, err, "cannot write a file") : 0;
}

static bool begins(const char *line, const char *const *starts)
{
	line += strspn(line, " \t");
	for (; *starts; starts++)
		if (str_starts(line, *starts))
			return true;
	return false;
}

int ext_drop_lines(struct ext_volume *v, ext2_ino_t ino, const char *const *starts, struct err *err)
{
	_cleanup_buf_ struct buf was = {0}, kept = {0};
	int there = ext_read(v, ino, LINES_FILE_MAX, &was, err);
	if (there <= 0)
		return there;
	for (const char *line = was.data, *end; line < was.data + was.len; line = end) {
		end = memchr(line, '\n', (size_t)(was.data + was.len - line));
		end = end ? end + 1 : was.data + was.len;
		if (!begins(line, starts))
			buf_add(&kept, line, (size_t)(end - line));
	}
	if (kept.len == was.len)
		return 0;
	errcode_t code = rewrite(v, ino, &kept);
	return code ? ext_error(v, code, err, "cannot change a file") : 1;
}

int ext_change_field(
	struct ext_volume *v, ext2_ino_t ino, const char *start, const char *now, struct err *err)
{
	_cleanup_buf_ struct buf was = {0}, text = {0};
	int there = ext_read(v, ino, LINES_FILE_MAX, &was, err);
	char *line = there > 0 ? was.data : NULL;
	while (line && !str_starts(line, start))
		line = (line = strchr(line, '\n')) ? line + 1 : NULL;
	const char *rest = line ? strchr(line + strlen(start), ':') : NULL;
	if (!rest || memchr(line, '\n', (size_t)(rest - line)))
		return there < 0 ? -1 : 0;
	buf_add(&text, was.data, (size_t)(line - was.data));
	buf_str(&text, now);
	buf_add(&text, rest + 1, (size_t)(was.data + was.len - (rest + 1)));
	errcode_t code = rewrite(v, ino, &text);
	return code ? ext_error(v, code, err, "cannot change a file") : 1;
}
