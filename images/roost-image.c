/*
 * roost-image: what needs libarchive and libcrypt, as a program of its own so that nobody else links
 * them.
 *
 *	roost-image seed OUT	a NoCloud seed of what seed_request() (seed.h) says on standard input
 *	roost-image password	of two lines, a hash that may be its already, or none, and a password:
 *				{"hash": "$6$..."}
 *
 *	roost-image installer [KERNEL INITRD]	of the ISO image that is open as TOOL_FD_FIRST (tool.h) both files,
 *				those or the known ones, into the two after it: {"kernel": PATH, "initrd": PATH}
 *	roost-image inject NAME...	appends the files that are open after TOOL_FD_FIRST, an initial RAM disk, to it
 *
 * Nothing else is printed on success. An error is one JSON line on standard output,
 * {"error":{"class":..., "desc":..., "hint":...}}, and the exit status of its kind.
 *
 * A seed is not flushed to the disk, as little as genisoimage's is: a caller who needs that
 * does it, with the rest of his.
 */
#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "images/installer.h"
#include "images/qcow2.h"
#include "images/seed_password.h"
#include "images/seed_vfat.h"
#include "images/tool.h"

#define INPUT_MAX ((size_t)VFAT_CONTENT_MAX)

/* ECMA-119, 8.4: the primary volume descriptor is sector 16, its volume identifier at byte 40. */
#define VOLUME_ID_AT (16 * 2048 + 40)
static const char volume_id[] = "cidata";

/*
 * For those who look for a label: busybox reads where other file systems have theirs, and gives up on a disk
 * that ends before. genisoimage has as much.
 */
enum { ISO_PADDING = 300 << 10 };

/* The files of a seed, as cloud-init's NoCloud names them, in the order of the input. */
static const struct {
	const char *name, *alias; /* alias: on vfat */
	bool needed;
} seed_files[] = {
	{"user-data", "USER-D~1   ", true},
	{"meta-data", "META-D~1   ", true},
	{"vendor-data", "VENDOR~1   ", false},
	{"network-config", "NETWOR~1   ", false},
};
static_assert(ARRAY_SIZE(seed_files) <= VFAT_FILES_MAX, "more files than vfat_image() takes");

struct content {
	struct vfat_file files[ARRAY_SIZE(seed_files)];
	size_t count, size; /* size: in all */
};

/* ---- what is asked ------------------------------------------------------------------------------- */

/* Its JSON line is taken out; what is left in `text` are the contents. */
static int read_input(struct buf *text, json_t **out, struct err *err)
{
	buf_reserve(text, 64 * 1024); /* a secret: no copies on the way */
	if (fd_read(STDIN_FILENO, "standard input", INPUT_MAX, text, err) < 0)
		return -1;
	const char *end = memchr(text->data, '\n', text->len);
	size_t len = end ? (size_t)(end - text->data) : text->len;
	json_t *o = json_text_parse(text->data, len, err);
	if (!o)
		return err_prefix(err, "standard input");
	buf_drop(text, end ? len + 1 : len);
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(err, ERR_USAGE, "standard input: a JSON object is wanted");
	}
	*out = o;
	return 0;
}

static int check_keys(const json_t *o, struct err *err)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)o, key, value) {
		bool known = str_eq(key, "filesystem") || str_eq(key, "format");
		for (size_t i = 0; i < ARRAY_SIZE(seed_files); i++)
			known = known || str_eq(seed_files[i].name, key);
		if (!known)
			return err_set(err, ERR_USAGE, "a seed has no file '%s'", key);
	}
	return 0;
}

/* The contents stay where they are, in `text`. */
static int take_files(const json_t *o, const struct buf *text, struct content *c, struct err *err)
{
	size_t at = 0;
	for (size_t i = 0; i < ARRAY_SIZE(seed_files); i++) {
		const char *name = seed_files[i].name;
		int64_t len = -1;
		if (seed_files[i].needed ? json_int(o, name, &len, err) < 0
					 : json_int_opt(o, name, &len, err) < 0)
			return -1;
		if (!json_object_get(o, name))
			continue;
		if (len < 0 || (size_t)len > text->len - at)
			return err_set(err, ERR_USAGE, "standard input: it ends within '%s'", name);
		c->files[c->count++] =
			(struct vfat_file){name, seed_files[i].alias, text->data + at, (size_t)len};
		at += (size_t)len;
	}
	c->size = at;
	return at == text->len
		       ? 0
		       : err_set(err, ERR_USAGE, "standard input: there is more than its files");
}

/* ---- ISO 9660 ------------------------------------------------------------------------------------ */

static la_ssize_t to_buffer(struct archive *a, void *image, const void *data, size_t len)
{
	(void)a;
	buf_add(image, data, len);
	return (la_ssize_t)len;
}

static int add_file(struct archive *a, const struct vfat_file *f, time_t now)
{
	struct archive_entry *e = archive_entry_new();
	archive_entry_set_pathname(e, f->name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0400); /* in the guest too only root reads it */
	archive_entry_set_size(e, (la_int64_t)f->len);
	archive_entry_set_mtime(e, now, 0);
	bool ok = archive_write_header(a, e) == ARCHIVE_OK &&
		  archive_write_data(a, f->data, f->len) == (la_ssize_t)f->len;
	archive_entry_free(e);
	return ok ? 0 : -1;
}

static int write_iso(struct archive *a, const struct content *c, struct buf *image)
{
	time_t now = time(NULL);
	if (archive_write_set_format_iso9660(a) != ARCHIVE_OK ||
		archive_write_set_options(a, "volume-id=cidata,rockridge=strict,joliet,!pad") !=
			ARCHIVE_OK ||
		archive_write_set_bytes_in_last_block(a, 2048) != ARCHIVE_OK ||
		archive_write_open2(a, image, NULL, to_buffer, NULL, NULL) != ARCHIVE_OK)
		return -1;
	for (size_t i = 0; i < c->count; i++)
		if (add_file(a, &c->files[i], now) < 0)
			return -1;
	return archive_write_close(a) == ARCHIVE_OK ? 0 : -1;
}

/*
 * libarchive collects the files' content in an unlinked temporary file. It holds a private key, so
 * it goes where the image goes, not to a /tmp that may be another disk.
 */
static int keep_temporaries_beside(const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *folder =
		slash ? str_fmt("%.*s", (int)(slash - path + 1), path) : xstrdup(".");
	if (access(folder, W_OK | X_OK) < 0)
		return err_errno(err, "cannot write into the folder '%s'", folder);
	setenv("TMPDIR", folder, 1);
	return 0;
}

static int build_iso(const struct content *c, struct buf *image, struct err *err)
{
	buf_reserve(image, c->size + (96 << 10));
	struct archive *a = archive_write_new();
	if (!a || write_iso(a, c, image) < 0) {
		err_set(err, ERR_SYSTEM, "libarchive cannot make the ISO image: %s",
			a && archive_error_string(a) ? archive_error_string(a) : "out of memory");
		archive_write_free(a);
		return -1;
	}
	archive_write_free(a);
	/* libarchive writes the label in capitals there, as the standard says; old cloud-init wants
	 * it as genisoimage writes it */
	memcpy(image->data + VOLUME_ID_AT, volume_id, strlen(volume_id));
	return 0;
}

/* ---- the image ----------------------------------------------------------------------------------- */

/* `image` is what is to be written; its size may be more, by zeroes. */
static int build(const json_t *o, const char *out, const struct buf *text, struct buf *image,
	size_t *size, struct err *err)
{
	struct content c = {0};
	const char *filesystem = json_get_str(o, "filesystem", "");
	bool vfat = str_eq(filesystem, "vfat");
	if (check_keys(o, err) < 0 || take_files(o, text, &c, err) < 0)
		return -1;
	if (vfat)
		vfat_image(c.files, c.count, volume_id, time(NULL), image);
	else if (!str_eq(filesystem, "iso9660"))
		return err_set(err, ERR_USAGE, "no file system '%s'", filesystem);
	else if (keep_temporaries_beside(out, err) < 0 || build_iso(&c, image, err) < 0)
		return -1;
	*size = image->len + (vfat ? 0 : ISO_PADDING);
	while (image->len && !image->data[image->len - 1])
		image->len--;
	return 0;
}

/* Zeroes at its end are a hole. */
static int write_raw(int fd, const struct buf *image, size_t size)
{
	return write_all(fd, image->data, image->len) < 0 || ftruncate(fd, (off_t)size) < 0 ? -1
											    : 0;
}

static int write_qcow2(const char *name, const struct buf *image, size_t size, struct err *err)
{
	_cleanup_close_ int raw = memfd_create("seed", MFD_CLOEXEC);
	if (raw < 0 || write_raw(raw, image, size) < 0)
		return err_errno(err, "cannot keep the image in memory");
	return qcow2_copy(AT_FDCWD, name, raw, false, err);
}

static int write_image(
	const char *name, const char *format, const struct buf *image, size_t size, struct err *err)
{
	if (str_eq(format, "qcow2"))
		return write_qcow2(name, image, size, err);
	if (!str_eq(format, "raw"))
		return err_set(err, ERR_USAGE, "no image format '%s'", format);
	_cleanup_close_ int fd =
		open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || write_raw(fd, image, size) < 0)
		return err_errno(err, "cannot write '%s'", name);
	return 0;
}

/* An error is told by the name that the caller knows. */
static int told_as(struct err *err, const char *temporary, const char *out)
{
	char *at = strstr(err->message, temporary);
	size_t keep = strlen(out), cut = strlen(temporary);
	if (at)
		memmove(at + keep, at + cut, strlen(at + cut) + 1);
	return -1;
}

/* Under another name first: what is there stays until the new one is whole. */
static int replace(
	const char *out, const char *format, const struct buf *image, size_t size, struct err *err)
{
	_cleanup_free_ char *temporary = str_fmt("%s.new.%d", out, (int)getpid());
	unlink(temporary);
	int result = write_image(temporary, format, image, size, err);
	if (result == 0 && rename(temporary, out) < 0)
		result = err_errno(err, "cannot write '%s'", out);
	if (result == 0)
		return 0;
	unlink(temporary);
	return told_as(err, temporary, out);
}

static int make_seed(char **words, struct err *err)
{
	const char *out = words[0];
	_cleanup_json_ json_t *o = NULL;
	_cleanup_secret_ struct buf text = {0}, image = {0};
	size_t size = 0;
	umask(077); /* secrets */
	if (read_input(&text, &o, err) < 0 || build(o, out, &text, &image, &size, err) < 0)
		return -1;
	return replace(out, json_get_str(o, "format", ""), &image, size, err);
}

static int hash_password(char **words, struct err *err)
{
	enum { PASSWORD_MAX = 4096 };
	_cleanup_secret_ struct buf text = {0};
	(void)words;
	buf_reserve(&text, 2 * PASSWORD_MAX);
	if (fd_read(STDIN_FILENO, "standard input", PASSWORD_MAX, &text, err) < 0)
		return -1;
	char *password = text.data + strcspn(text.data, "\n");
	if (*password)
		*password++ = '\0';
	_cleanup_free_ char *hash = seed_hash_password(password, text.data, err);
	if (!hash)
		return -1;
	_cleanup_json_ json_t *o = json_pack("{s:s}", "hash", hash);
	_cleanup_free_ char *line = json_line(o);
	puts(line);
	return 0;
}

static int take_installer(char **words, struct err *err)
{
	char *found[2];
	if (words[0] && !words[1])
		return err_set(err, ERR_USAGE, "a kernel without its initial RAM disk");
	if (installer_extract(TOOL_FD_FIRST, words[0], words[0] ? words[1] : NULL,
		    TOOL_FD_FIRST + 1, TOOL_FD_FIRST + 2, found, err) < 0)
		return -1;
	_cleanup_json_ json_t *o = json_pack("{s:s, s:s}", "kernel", found[0], "initrd", found[1]);
	_cleanup_free_ char *line = json_line(o);
	puts(line ? line : "{}");
	free(found[0]);
	free(found[1]);
	return 0;
}

static int inject(char **words, struct err *err)
{
	int files[TOOL_FDS_MAX];
	size_t count = 0;
	for (; count < ARRAY_SIZE(files) && words[count]; count++)
		files[count] = TOOL_FD_FIRST + 1 + (int)count;
	return installer_inject(TOOL_FD_FIRST, files, (const char *const *)words, count, err);
}

static const struct {
	const char *name;
	int min, max;
	int (*run)(char **words, struct err *err);
} commands[] = {
	{"seed", 1, 1, make_seed},
	{"password", 0, 0, hash_password},
	{"installer", 0, 2, take_installer},
	{"inject", 1, TOOL_FDS_MAX - 1, inject},
};

static int run(int argc, char **argv, struct err *err)
{
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++)
		if (str_eq(argv[1], commands[i].name) && argc >= 2 + commands[i].min &&
			argc <= 2 + commands[i].max)
			return commands[i].run(argv + 2, err);
	return err_set(err, ERR_USAGE,
		"usage: roost-image seed OUT < REQUEST, password < PASSWORD, installer, or inject");
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	setenv("TZ", "UTC0", 1); /* a seed's dates are the same wherever it is made */
	if (run(argc, argv, &err) == 0)
		return 0;
	_cleanup_json_ json_t *o = json_pack("{s:o}", "error", json_from_err(&err));
	_cleanup_free_ char *line = json_line(o);
	puts(line);
	return err_exit_code(err.kind);
}
