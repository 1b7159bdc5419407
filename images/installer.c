#include "images/installer.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

enum { BLOCK = 64 << 10, INJECT_MAX = 256 << 20 };

static void archive_cleanup(struct archive **a)
{
	archive_read_free(*a);
}

static int broken(struct archive *a, struct err *err)
{
	const char *why = a ? archive_error_string(a) : NULL;
	return err_set(err, ERR_REFUSED, "it cannot be read as an ISO 9660 image: %s",
		why ? why : "out of memory");
}

/* From its beginning. */
static struct archive *open_iso(int iso, struct err *err)
{
	struct archive *a = archive_read_new();
	if (lseek(iso, 0, SEEK_SET) == 0 && a &&
		archive_read_support_format_iso9660(a) == ARCHIVE_OK &&
		archive_read_open_fd(a, iso, BLOCK) == ARCHIVE_OK)
		return a;
	broken(a, err);
	archive_read_free(a);
	return NULL;
}

/* Its path without "./"; NULL: the end, or *err. Names of plain ISO 9660 may be in capitals. */
static const char *next_file(struct archive *a, struct archive_entry **e, struct err *err)
{
	for (;;) {
		int got = archive_read_next_header(a, e);
		const char *path = got == ARCHIVE_EOF ? NULL : archive_entry_pathname(*e);
		if (got == ARCHIVE_EOF)
			return NULL;
		if (got < ARCHIVE_WARN) {
			broken(a, err);
			return NULL;
		}
		if (path && archive_entry_filetype(*e) == AE_IFREG)
			return str_starts(path, "./") ? path + 2 : path;
	}
}

/* The number of the first pair both of whose files are there, or the count of them all. */
static int look(int iso, size_t *pair, struct err *err)
{
	_cleanup_(archive_cleanup) struct archive *a = open_iso(iso, err);
	_cleanup_free_ unsigned char *have = xcalloc(installer_pair_count, 1);
	struct archive_entry *e;
	const char *path;
	if (!a)
		return -1;
	while ((path = next_file(a, &e, err))) {
		for (size_t i = 0; i < installer_pair_count; i++) {
			have[i] |= strcasecmp(path, installer_pairs[i].kernel) == 0;
			have[i] |=
				(unsigned char)((strcasecmp(path, installer_pairs[i].initrd) == 0)
						<< 1);
		}
	}
	for (*pair = 0; *pair < installer_pair_count && have[*pair] != 3;)
		(*pair)++;
	return err->kind ? -1 : 0;
}

static int copy_out(struct archive *a, const char *path, int to, struct err *err)
{
	const void *data;
	size_t len;
	la_int64_t at;
	int got;
	while ((got = archive_read_data_block(a, &data, &len, &at)) == ARCHIVE_OK)
		if (pwrite(to, data, len, (off_t)at) != (ssize_t)len)
			return err_errno(err, "cannot keep '%s'", path);
	return got == ARCHIVE_EOF ? 0 : broken(a, err);
}

static int take_both(
	int iso, const struct installer_pair *p, int kernel_out, int initrd_out, struct err *err)
{
	_cleanup_(archive_cleanup) struct archive *a = open_iso(iso, err);
	struct archive_entry *e;
	const char *path;
	bool kernel = false, initrd = false;
	if (!a)
		return -1;
	while (!(kernel && initrd) && (path = next_file(a, &e, err))) {
		bool is_kernel = !kernel && strcasecmp(path, p->kernel) == 0;
		if (!is_kernel && (initrd || strcasecmp(path, p->initrd) != 0))
			continue;
		if (copy_out(a, path, is_kernel ? kernel_out : initrd_out, err) < 0)
			return -1;
		*(is_kernel ? &kernel : &initrd) = true;
	}
	if (err->kind)
		return -1;
	return kernel && initrd ? 0
				: err_set(err, ERR_NOT_FOUND, "it has no '%s'",
					  kernel ? p->initrd : p->kernel);
}

int installer_extract(int iso, const char *kernel, const char *initrd, int kernel_out,
	int initrd_out, char *found[2], struct err *err)
{
	struct installer_pair p = {kernel, initrd};
	size_t known;
	if (!kernel || !initrd) {
		if (look(iso, &known, err) < 0)
			return -1;
		if (known == installer_pair_count) {
			err_set(err, ERR_NOT_FOUND, "no installer's kernel is known in it");
			return err_hint(err, "name them: --location ISO,kernel=PATH,initrd=PATH");
		}
		p = installer_pairs[known];
	}
	if (take_both(iso, &p, kernel_out, initrd_out, err) < 0)
		return -1;
	found[0] = xstrdup(p.kernel);
	found[1] = xstrdup(p.initrd);
	return 0;
}

/* ---- into an initial RAM disk ------------------------------------------------------------------------ */

static la_ssize_t append(struct archive *a, void *fd, const void *data, size_t len)
{
	(void)a;
	return write_all(*(const int *)fd, data, len) < 0 ? -1 : (la_ssize_t)len;
}

static int add_file(struct archive *a, const char *name, int file, struct err *err)
{
	struct stat st;
	_cleanup_buf_ struct buf text = {0};
	int copy = dup(file);
	if (fstat(file, &st) < 0 || file_read_open(copy, name, INJECT_MAX, &text, err) < 0)
		return -1;
	struct archive_entry *e = archive_entry_new();
	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, st.st_mode & 0777);
	archive_entry_set_size(e, (la_int64_t)text.len);
	bool ok = archive_write_header(a, e) == ARCHIVE_OK &&
		  archive_write_data(a, text.data, text.len) == (la_ssize_t)text.len;
	archive_entry_free(e);
	return ok ? 0
		  : err_set(err, ERR_SYSTEM, "cannot add '%s': %s", name, archive_error_string(a));
}

int installer_inject(
	int initrd, const int files[], const char *const names[], size_t count, struct err *err)
{
	static const char zeros[4];
	off_t end = lseek(initrd, 0, SEEK_END);
	/* an archive begins where 4 divides */
	if (end < 0 || write_all(initrd, zeros, (size_t)(-end & 3)) < 0)
		return err_errno(err, "cannot add to the initial RAM disk");
	struct archive *a = archive_write_new();
	int result =
		archive_write_set_format_cpio_newc(a) != ARCHIVE_OK ||
				archive_write_open(a, &initrd, NULL, append, NULL) != ARCHIVE_OK
			? -1
			: 0;
	for (size_t i = 0; i < count && result == 0; i++)
		result = add_file(a, names[i], files[i], err);
	if (result == 0 && archive_write_close(a) != ARCHIVE_OK)
		result = -1;
	if (result < 0 && !err->kind)
		err_set(err, ERR_SYSTEM, "libarchive cannot make the archive: %s",
			archive_error_string(a));
	archive_write_free(a);
	return result;
}
