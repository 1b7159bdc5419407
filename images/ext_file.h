/* Single files of an ext file system: removed, emptied, read, changed. Accounts of blocks and inodes stay right. */
#ifndef IMAGES_EXT_FILE_H
#define IMAGES_EXT_FILE_H

#include "base/str.h"
#include "images/ext_volume.h"

/*
 * A name of it has been dropped: the inode loses a link, and if that was the last one it is freed, its
 * content zeroed. *bytes: how much that was.
 */
int ext_remove(struct ext_volume *v, ext2_ino_t ino, bool folder, uint64_t *bytes, struct err *err);
/* It has no name any more: the inode is freed, its content zeroed. *bytes: how much that was. */
int ext_free(struct ext_volume *v, ext2_ino_t ino, bool folder, uint64_t *bytes, struct err *err);
/* A folder has lost that many folders, each of which had a link to it. */
int ext_unlink_from(struct ext_volume *v, ext2_ino_t dir, size_t folders, struct err *err);
/* The file stays, without content. 1: it had some. */
int ext_empty(struct ext_volume *v, ext2_ino_t ino, struct err *err);
/* The file gets another content; the one of before is zeroed. */
int ext_put_text(struct ext_volume *v, ext2_ino_t ino, const char *text, struct err *err);
/* What is no regular file, or larger than `max`, is read as nothing. */
int ext_read(struct ext_volume *v, ext2_ino_t ino, size_t max, struct buf *out, struct err *err);
/* Lines that begin with one of `starts` leave a file. 1: there were some. */
int ext_drop_lines(
	struct ext_volume *v, ext2_ino_t ino, const char *const *starts, struct err *err);
/* The first line that begins with `start`, up to its second ':' becomes `now`. 1: there is one. */
int ext_change_field(
	struct ext_volume *v, ext2_ino_t ino, const char *start, const char *now, struct err *err);

#endif
