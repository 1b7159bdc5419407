#include "images/ext_write.h"

#include <string.h>
#include <time.h>

#include "images/ext_file.h"

enum { CHUNK = 65536, MODE_BITS = 07777 };

static int fail(const struct ext_volume *v, errcode_t code, const char *name, struct err *err)
{
	ext_error(v, code, err, "cannot write");
	return err_prefix(err, "'%s'", name);
}

/* 1: what has that name is of the wanted kind, and stays; 0: nothing has it any more. */
static int make_room(struct ext_volume *v, ext2_ino_t dir, const char *name, bool folder,
	ext2_ino_t *out, struct err *err)
{
	struct ext2_inode inode;
	ext2_ino_t ino;
	uint64_t bytes = 0;
	if (ext2fs_lookup(v->fs, dir, name, (int)strlen(name), NULL, &ino))
		return 0;
	errcode_t code = ext2fs_read_inode(v->fs, ino, &inode);
	if (code)
		return fail(v, code, name, err);
	bool is_folder = LINUX_S_ISDIR(inode.i_mode);
	if (is_folder && folder) {
		*out = ino;
		return 1;
	}
	if (is_folder || folder)
		return err_set(
			err, ERR_REFUSED, "'%s' is %s folder there", name, is_folder ? "a" : "no");
	code = ext2fs_unlink(v->fs, dir, name, ino, 0);
	return code ? fail(v, code, name, err) : ext_remove(v, ino, false, &bytes, err);
}

/* A folder that is full gets another block. */
static errcode_t add_name(
	struct ext_volume *v, ext2_ino_t dir, const char *name, ext2_ino_t ino, int type)
{
	errcode_t code = ext2fs_link(v->fs, dir, name, ino, type);
	if (code != EXT2_ET_DIR_NO_SPACE)
		return code;
	code = ext2fs_expand_dir(v->fs, dir);
	return code ? code : ext2fs_link(v->fs, dir, name, ino, type);
}

static errcode_t new_file(
	struct ext_volume *v, ext2_ino_t dir, const char *name, mode_t mode, ext2_ino_t *ino)
{
	__u32 now = (__u32)time(NULL);
	struct ext2_inode inode = {.i_mode = (__u16)(LINUX_S_IFREG | (mode & MODE_BITS)),
		.i_links_count = 1,
		.i_atime = now,
		.i_ctime = now,
		.i_mtime = now};
	errcode_t code = ext2fs_new_inode(v->fs, dir, LINUX_S_IFREG, NULL, ino);
	if (code)
		return code;
	ext2fs_inode_alloc_stats2(v->fs, *ino, 1, 0);
	if (ext2fs_has_feature_extents(v->fs->super)) {
		ext2_extent_handle_t handle;
		code = ext2fs_extent_open2(v->fs, *ino, &inode, &handle);
		if (code)
			return code;
		ext2fs_extent_free(handle);
	}
	code = ext2fs_write_new_inode(v->fs, *ino, &inode);
	return code ? code : add_name(v, dir, name, *ino, EXT2_FT_REG_FILE);
}

static int fill(struct ext_volume *v, ext2_file_t file, const char *name, ext_source_fn *source,
	void *about, struct err *err)
{
	char data[CHUNK];
	ssize_t got;
	while ((got = source(about, data, sizeof(data), err)) > 0)
		for (unsigned done = 0, put = 0; done < (unsigned)got; done += put) {
			errcode_t code =
				ext2fs_file_write(file, data + done, (unsigned)got - done, &put);
			if (code || !put)
				return fail(v, code ? code : EXT2_ET_SHORT_WRITE, name, err);
		}
	return got < 0 ? -1 : 0;
}

int ext_put_file(struct ext_volume *v, ext2_ino_t dir, const char *name, mode_t mode,
	ext_source_fn *source, void *about, struct err *err)
{
	ext2_ino_t ino = 0;
	ext2_file_t file;
	if (make_room(v, dir, name, false, &ino, err) < 0)
		return -1;
	errcode_t code = new_file(v, dir, name, mode, &ino);
	if (!code)
		code = ext2fs_file_open(v->fs, ino, EXT2_FILE_WRITE, &file);
	if (code)
		return fail(v, code, name, err);
	int result = fill(v, file, name, source, about, err);
	code = ext2fs_file_close(file);
	return result < 0 ? -1 : code ? fail(v, code, name, err) : 0;
}

int ext_put_link(
	struct ext_volume *v, ext2_ino_t dir, const char *name, const char *target, struct err *err)
{
	ext2_ino_t ino;
	if (make_room(v, dir, name, false, &ino, err) < 0)
		return -1;
	errcode_t code = ext2fs_symlink(v->fs, dir, 0, name, target);
	if (code == EXT2_ET_DIR_NO_SPACE) {
		code = ext2fs_expand_dir(v->fs, dir);
		if (!code)
			code = ext2fs_symlink(v->fs, dir, 0, name, target);
	}
	return code ? fail(v, code, name, err) : 0;
}

int ext_put_folder(struct ext_volume *v, ext2_ino_t dir, const char *name, mode_t mode,
	ext2_ino_t *out, struct err *err)
{
	struct ext2_inode inode;
	int there = make_room(v, dir, name, true, out, err);
	if (there)
		return there < 0 ? -1 : 0;
	errcode_t code = ext2fs_mkdir(v->fs, dir, 0, name);
	if (code == EXT2_ET_DIR_NO_SPACE) {
		code = ext2fs_expand_dir(v->fs, dir);
		if (!code)
			code = ext2fs_mkdir(v->fs, dir, 0, name);
	}
	if (!code)
		code = ext2fs_lookup(v->fs, dir, name, (int)strlen(name), NULL, out);
	if (!code)
		code = ext2fs_read_inode(v->fs, *out, &inode);
	if (code)
		return fail(v, code, name, err);
	inode.i_mode = (__u16)(LINUX_S_IFDIR | (mode & MODE_BITS));
	code = ext2fs_write_inode(v->fs, *out, &inode);
	return code ? fail(v, code, name, err) : 0;
}
