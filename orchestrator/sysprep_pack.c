#include "orchestrator/sysprep_pack.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "orchestrator/password.h"

enum { DEPTH_MAX = 32, MODE_BITS = 07777 };
#define TOTAL_MAX ((off_t)1 << 30) /* it is in memory for a while */

/* `header` stolen; NULL: a name that is not UTF-8. */
static int add_header(int out, json_t *header, const char *name, struct err *err)
{
	_cleanup_json_ json_t *owned = header;
	if (!owned)
		return err_set(err, ERR_USAGE, "the name '%s' is not UTF-8", name);
	_cleanup_free_ char *line = json_line(owned);
	if (write_all(out, line, strlen(line)) < 0 || write_all(out, "\n", 1) < 0)
		return err_errno(err, "cannot collect '%s'", name);
	return 0;
}

static int add_file(
	int out, int from, const struct stat *st, const char *name, int depth, struct err *err)
{
	if (lseek(out, 0, SEEK_CUR) > TOTAL_MAX - st->st_size)
		return err_set(err, ERR_REFUSED, "'%s': more than 1 GiB is not copied in", name);
	if (add_header(out,
		    json_pack("{s:s, s:i, s:i, s:I}", "name", name, "depth", depth, "mode",
			    (int)(st->st_mode & MODE_BITS), "size", (json_int_t)st->st_size),
		    name, err) < 0)
		return -1;
	for (off_t left = st->st_size; left > 0;) {
		ssize_t n = sendfile(out, from, NULL, (size_t)left);
		if (n < 0)
			return err_errno(err, "cannot read '%s'", name);
		if (n == 0)
			return err_set(
				err, ERR_BUSY, "'%s' became shorter while it was read", name);
		left -= n;
	}
	return 0;
}

static int add(int out, int dir, const char *path, const char *name, int depth, struct err *err);

static int add_folder(
	int out, int folder, const struct stat *st, const char *name, int depth, struct err *err)
{
	struct err ignored = ERR_INIT;
	if (depth + 1 == DEPTH_MAX)
		return err_set(err, ERR_REFUSED, "'%s' is too deep", name);
	if (add_header(out,
		    json_pack("{s:s, s:i, s:i, s:b}", "name", name, "depth", depth, "mode",
			    (int)(st->st_mode & MODE_BITS), "folder", 1),
		    name, err) < 0)
		return -1;
	int copy = dir_open(folder, ".", &ignored);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d) {
		cleanup_close(&copy);
		return err_errno(err, "cannot list '%s'", name);
	}
	int result = 0;
	for (struct dirent *e; result == 0 && (e = readdir(d));)
		if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
			result = add(out, folder, e->d_name, e->d_name, depth + 1, err);
	closedir(d);
	return result < 0 ? err_prefix(err, "%s", name) : 0;
}

static int add(int out, int dir, const char *path, const char *name, int depth, struct err *err)
{
	struct stat st;
	char target[PATH_MAX] = "";
	if (fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, "cannot look at '%s'", path);
	if (S_ISLNK(st.st_mode)) {
		if (readlinkat(dir, path, target, sizeof(target) - 1) < 0)
			return err_errno(err, "cannot read '%s'", path);
		return add_header(out,
			json_pack("{s:s, s:i, s:s}", "name", name, "depth", depth, "link", target),
			name, err);
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return err_set(err, ERR_REFUSED, "'%s' is neither a file nor a folder", path);
	_cleanup_close_ int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "cannot open '%s'", path);
	return S_ISDIR(st.st_mode) ? add_folder(out, fd, &st, name, depth, err)
				   : add_file(out, fd, &st, name, depth, err);
}

int sysprep_pack(int out, const char *what, const char **dir, struct err *err)
{
	const char *colon = strrchr(what, ':');
	char real[PATH_MAX];
	if (!colon || colon == what || colon[1] != '/')
		return err_set(err, ERR_USAGE,
			"--copy-in '%.200s' is not LOCAL:DIR, with DIR from '/' on", what);
	_cleanup_free_ char *local = str_fmt("%.*s", (int)(colon - what), what);
	/* "." has a name, too */
	if (!realpath(local, real))
		return err_errno(err, "cannot look at '%s'", local);
	const char *name = strrchr(real, '/') + 1;
	if (add_header(out, json_pack("{s:s}", "into", colon + 1), colon + 1, err) < 0 ||
		add(out, AT_FDCWD, real, name, 0, err) < 0)
		return -1;
	*dir = colon + 1;
	return 0;
}

int sysprep_pack_password(int out, const char *what, struct err *err)
{
	const char *colon = strchr(what, ':');
	if (!colon || colon == what || !colon[1])
		return err_set(err, ERR_USAGE, "--password '%.200s' is not USER:FILE", what);
	_cleanup_free_ char *user = strndup(what, (size_t)(colon - what));
	_cleanup_free_ char *hash = password_hash_of(colon + 1, NULL, err);
	return hash ? add_header(
			      out, json_pack("{s:s, s:s}", "user", user, "hash", hash), user, err)
		    : -1;
}
