#include "images/sysprep_tar.h"

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "images/sysprep_stream.h"
#include "images/tar.h"

enum { BLOCK = TAR_BLOCK, COPY_MAX = 64 * 1024 };

static int put(int out, const void *data, size_t len, struct err *err)
{
	return write_all(out, data, len) < 0 ? err_errno(err, "cannot collect what is to be copied")
					     : 0;
}

/* To the block's end. */
static int fill(int out, uint64_t size, struct err *err)
{
	static const char zeroes[BLOCK];
	return put(out, zeroes, (size_t)(BLOCK - size % BLOCK) % BLOCK, err);
}

/* With GNU's magic, as its entries 'L' and 'K' want it. */
static int put_header(int out, char type, const char *name, const char *link, unsigned mode,
	uint64_t size, struct err *err)
{
	struct tar_header h;
	tar_header_make(&h, type, name, mode, size);
	memcpy(h.magic, "ustar ", sizeof(h.magic));
	memcpy(h.version, " ", sizeof(h.version));
	memcpy(h.link, link, strnlen(link, sizeof(h.link)));
	tar_header_seal(&h);
	return put(out, &h, sizeof(h), err);
}

/* A name of more than a header holds comes before it. */
static int put_long(int out, char type, const char *name, struct err *err)
{
	const struct tar_header *h = NULL;
	size_t len = strlen(name) + 1;
	if (len <= sizeof(h->name))
		return 0;
	return put_header(out, type, "././@LongLink", "", 0, len, err) < 0 ||
			       put(out, name, len, err) < 0
		       ? -1
		       : fill(out, len, err);
}

static int put_content(int out, struct sysprep_stream *s, struct err *err)
{
	_cleanup_free_ char *data = xcalloc(1, COPY_MAX);
	uint64_t size = s->left;
	ssize_t n;
	while ((n = sysprep_stream_read(s, data, COPY_MAX, err)) > 0)
		if (put(out, data, (size_t)n, err) < 0)
			return -1;
	return n < 0 ? -1 : fill(out, size, err);
}

static int put_entry(
	int out, struct sysprep_stream *s, const json_t *header, const char *path, struct err *err)
{
	const char *link = json_get_str(header, "link", "");
	bool folder = json_get_bool(header, "folder", false);
	char type = folder ? '5' : link[0] ? '2' : '0';
	unsigned mode = link[0] ? 0777 : (unsigned)json_get_int(header, "mode", 0600);
	if (put_long(out, 'K', link, err) < 0 || put_long(out, 'L', path, err) < 0 ||
		put_header(out, type, path, link, mode, s->left, err) < 0)
		return -1;
	return type == '0' ? put_content(out, s, err) : 0;
}

/* paths[0] is the folder that was named, without its '/', paths[n+1] the last one of depth n. */
static int take(int out, struct sysprep_stream *s, const json_t *header,
	char *paths[SYSPREP_FILES_DEPTH + 1], struct err *err)
{
	int64_t depth = json_get_int(header, "depth", 0);
	const char *name = json_get_str(header, "name", "");
	if (!paths[depth])
		return err_set(err, ERR_USAGE, "'%.80s' cannot be copied: its depth", name);
	_cleanup_free_ char *path =
		str_fmt("%s%s%s", paths[depth], paths[depth][0] ? "/" : "", name);
	if (put_entry(out, s, header, path, err) < 0)
		return err_prefix(err, "copying '%.200s'", path);
	if (json_get_bool(header, "folder", false)) {
		free(paths[depth + 1]);
		paths[depth + 1] = TAKE(path);
	}
	return 0;
}

static void forget(char *paths[SYSPREP_FILES_DEPTH + 1])
{
	for (size_t i = 0; i <= SYSPREP_FILES_DEPTH; i++) {
		free(paths[i]);
		paths[i] = NULL;
	}
}

static void enter(const char *folder, char *paths[SYSPREP_FILES_DEPTH + 1])
{
	forget(paths);
	paths[0] = xstrdup(folder + strspn(folder, "/"));
	for (size_t len = strlen(paths[0]); len && paths[0][len - 1] == '/';)
		paths[0][--len] = '\0';
}

int sysprep_tar(int stream, int out, uint64_t *count, struct err *err)
{
	static const char end[2 * BLOCK];
	struct sysprep_stream s = {.fd = stream};
	char *paths[SYSPREP_FILES_DEPTH + 1] = {0};
	json_t *header;
	int got;
	while ((got = sysprep_stream_next(&s, &header, err)) > 0) {
		_cleanup_json_ json_t *owned = header;
		const char *into = json_get_str(header, "into", NULL);
		if (json_object_get(header, "user")) {
			err_set(err, ERR_REFUSED,
				"passwords are set in ext2, ext3 and ext4 alone, offline");
			err_hint(err,
				"--run-command with `chpasswd -e` sets one in a guest that is booted for it");
			break;
		}
		if (into)
			enter(into, paths);
		else if (take(out, &s, header, paths, err) < 0)
			break;
		*count += !into;
	}
	forget(paths);
	return got ? -1 : put(out, end, sizeof(end), err);
}
