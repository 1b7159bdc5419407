#include "images/sysprep_files.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "images/ext_write.h"

struct stream {
	int fd;
	uint64_t left; /* of the file that is just read */
};

static ssize_t read_some(int fd, void *data, size_t len, struct err *err)
{
	ssize_t n;
	do
		n = read(fd, data, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_errno(err, "cannot read what is to be copied") : n;
}

static ssize_t take_content(void *about, void *data, size_t len, struct err *err)
{
	struct stream *s = about;
	if (len > s->left)
		len = (size_t)s->left;
	if (!len)
		return 0;
	ssize_t n = read_some(s->fd, data, len, err);
	if (n == 0)
		return err_set(err, ERR_USAGE, "what is to be copied ends early");
	s->left -= n > 0 ? (uint64_t)n : 0;
	return n;
}

/* The next header; 0: there is none. */
static int take_header(int fd, json_t **out, struct err *err)
{
	char line[SYSPREP_HEADER_MAX];
	for (size_t len = 0; len < sizeof(line); len++) {
		ssize_t n = read_some(fd, line + len, 1, err);
		if (n < 0 || (n == 0 && !len))
			return n < 0 ? -1 : 0;
		if (n == 0)
			break;
		if (line[len] == '\n') {
			*out = json_text_parse(line, len, err);
			return *out ? 1 : -1;
		}
	}
	return err_set(err, ERR_USAGE, "what is to be copied is no stream of files");
}

static int put(struct ext_volume *v, ext2_ino_t dirs[], struct stream *s, const json_t *header,
	struct err *err)
{
	const char *name = json_get_str(header, "name", "");
	int64_t depth = json_get_int(header, "depth", 0);
	const char *link = json_get_str(header, "link", NULL);
	mode_t mode = (mode_t)json_get_int(header, "mode", 0600);
	if (depth < 0 || depth >= SYSPREP_FILES_DEPTH || !dirs[depth] || !name[0] ||
		strlen(name) > EXT2_NAME_LEN || strchr(name, '/') || str_eq(name, ".") ||
		str_eq(name, ".."))
		return err_set(err, ERR_USAGE, "'%.80s' cannot be copied: its name or depth", name);
	if (json_get_bool(header, "folder", false))
		return ext_put_folder(v, dirs[depth], name, mode, &dirs[depth + 1], err);
	if (link)
		return ext_put_link(v, dirs[depth], name, link, err);
	s->left = (uint64_t)json_get_int(header, "size", 0);
	return ext_put_file(v, dirs[depth], name, mode, take_content, s, err);
}

int sysprep_files_put(
	struct ext_tree *t, int stream, const char *folder, uint64_t *count, struct err *err)
{
	struct ext_volume *v = NULL;
	struct ext2_inode inode;
	struct stream s = {.fd = stream};
	ext2_ino_t dirs[SYSPREP_FILES_DEPTH + 1] = {tree_find(t, folder, &v)};
	json_t *header;
	int got;
	if (!dirs[0] || ext2fs_read_inode(v->fs, dirs[0], &inode) || !LINUX_S_ISDIR(inode.i_mode))
		return err_set(err, ERR_NOT_FOUND, "there is no folder '%.200s' in it", folder);
	while ((got = take_header(stream, &header, err)) > 0) {
		_cleanup_json_ json_t *owned = header;
		if (put(v, dirs, &s, owned, err) < 0)
			return err_prefix(err, "copying into '%.200s'", folder);
		++*count;
	}
	return got;
}
