/*
 * roost-image: what needs libarchive, as a program of its own so that nobody else links it.
 *
 *	roost-image seed OUT	a NoCloud seed of the texts in a JSON object on standard input
 *
 * Nothing is printed on success. An error is one JSON line on standard output,
 * {"error":{"class":..., "desc":..., "hint":...}}, and the exit status of its kind.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"

#define INPUT_MAX (16UL << 20)

/* ECMA-119, 8.4: the primary volume descriptor is sector 16, its volume identifier at byte 40. */
#define VOLUME_ID_AT (16 * 2048 + 40)
static const char volume_id[] = "cidata";

/* The files of a seed, as cloud-init's NoCloud names them, which are also the keys of the input. */
static const struct {
	const char *name;
	bool needed;
} seed_files[] = {
	{"user-data", true},
	{"meta-data", true},
	{"vendor-data", false},
	{"network-config", false},
};

static int read_input(json_t **out, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	if (fd_read(STDIN_FILENO, "standard input", INPUT_MAX, &text, err) < 0)
		return -1;
	json_t *o = json_text_parse(text.data, text.len, err);
	if (!o)
		return err_prefix(err, "standard input");
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(err, ERR_USAGE, "standard input: a JSON object is wanted");
	}
	*out = o;
	return 0;
}

static int check_seed_keys(const json_t *o, struct err *err)
{
	const char *names[ARRAY_SIZE(seed_files) + 1] = {0};
	const char *key, *text = NULL;
	json_t *value;
	for (size_t i = 0; i < ARRAY_SIZE(seed_files); i++) {
		names[i] = seed_files[i].name;
		int found = seed_files[i].needed ? json_str(o, names[i], &text, err)
						 : json_str_opt(o, names[i], &text, err);
		if (found < 0)
			return -1;
	}
	json_object_foreach ((json_t *)o, key, value) {
		size_t i = 0;
		while (names[i] && !str_eq(names[i], key))
			i++;
		if (!names[i])
			return err_set(err, ERR_USAGE, "a seed has no file '%s'", key);
	}
	return 0;
}

static la_ssize_t to_buffer(struct archive *a, void *image, const void *data, size_t len)
{
	(void)a;
	buf_add(image, data, len);
	return (la_ssize_t)len;
}

static int add_file(struct archive *a, const char *name, const char *text, time_t now)
{
	struct archive_entry *e = archive_entry_new();
	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0400); /* in the guest too only root reads it */
	archive_entry_set_size(e, (la_int64_t)strlen(text));
	archive_entry_set_mtime(e, now, 0);
	bool ok = archive_write_header(a, e) == ARCHIVE_OK &&
		  archive_write_data(a, text, strlen(text)) == (la_ssize_t)strlen(text);
	archive_entry_free(e);
	return ok ? 0 : -1;
}

/*
 * The padding (300 KiB of zeroes) is for those who look for a label: busybox reads where other file
 * systems have theirs, and gives up on a disk that ends before.
 */
static int write_iso(struct archive *a, const json_t *o, struct buf *image)
{
	time_t now = time(NULL);
	if (archive_write_set_format_iso9660(a) != ARCHIVE_OK ||
		archive_write_set_options(a, "volume-id=cidata,rockridge=strict,joliet,pad") !=
			ARCHIVE_OK ||
		archive_write_set_bytes_in_last_block(a, 2048) != ARCHIVE_OK ||
		archive_write_open2(a, image, NULL, to_buffer, NULL, NULL) != ARCHIVE_OK)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(seed_files); i++) {
		const char *text = json_get_str(o, seed_files[i].name, NULL);
		if (text && add_file(a, seed_files[i].name, text, now) < 0)
			return -1;
	}
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

static int build_iso(const json_t *o, struct buf *image, struct err *err)
{
	struct archive *a = archive_write_new();
	if (!a || write_iso(a, o, image) < 0) {
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

static int make_seed(const char *out, struct err *err)
{
	_cleanup_json_ json_t *o = NULL;
	_cleanup_buf_ struct buf image = {0};
	if (read_input(&o, err) < 0 || check_seed_keys(o, err) < 0)
		return -1;
	if (keep_temporaries_beside(out, err) < 0 || build_iso(o, &image, err) < 0)
		return -1;
	return file_replace_secret(AT_FDCWD, out, image.data, image.len, true, err);
}

static const struct {
	const char *name;
	int (*run)(const char *out, struct err *err);
} commands[] = {
	{"seed", make_seed},
};

static int run(int argc, char **argv, struct err *err)
{
	for (size_t i = 0; argc == 3 && i < ARRAY_SIZE(commands); i++)
		if (str_eq(argv[1], commands[i].name))
			return commands[i].run(argv[2], err);
	return err_set(err, ERR_USAGE, "usage: roost-image seed OUT < JSON");
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	if (run(argc, argv, &err) == 0)
		return 0;
	_cleanup_json_ json_t *o = json_pack("{s:o}", "error", json_from_err(&err));
	_cleanup_free_ char *line = json_line(o);
	puts(line);
	return err_exit_code(err.kind);
}
