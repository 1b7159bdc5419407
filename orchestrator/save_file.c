#include "orchestrator/save_file.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32.h"
#include "base/fs.h"
#include "base/str.h"

enum { ALIGN = 4096, TEXT_MAX = 4 * 1024 * 1024, BLOCK = 256 * 1024 };
static const char magic[16] = "roost-save 1\n";

struct __attribute__((packed)) head {
	char magic[16];
	uint64_t offset, text_len;
	uint32_t text_crc;
};

/* ---- writing ---------------------------------------------------------------------------------------- */

int save_begin(struct save_writer *w, const char *path, size_t room, struct err *err)
{
	if (new_file_begin(&w->file, path, err) < 0)
		return -1;
	w->offset = (sizeof(struct head) + room + ALIGN - 1) / ALIGN * ALIGN;
	return lseek(w->file.fd, (off_t)w->offset, SEEK_SET) < 0
		       ? err_errno(err, "cannot write '%s'", path)
		       : 0;
}

int save_add(struct save_writer *w, const void *data, size_t len, struct err *err)
{
	if (write_all(w->file.fd, data, len) < 0)
		return err_errno(err, "cannot write '%s'", w->file.name);
	w->crc = crc32_add(w->crc, data, len);
	w->length += len;
	return 0;
}

static int write_head(struct save_writer *w, const json_t *facts, struct err *err)
{
	_cleanup_free_ char *text = json_line(facts);
	size_t len = strlen(text);
	struct head head = {.offset = htole64(w->offset),
		.text_len = htole64(len),
		.text_crc = htole32(crc32_add(0, text, len))};
	memcpy(head.magic, magic, sizeof(magic));
	if (sizeof(head) + len > w->offset)
		return err_set(err, ERR_SYSTEM,
			"cannot write '%s': %zu bytes of facts are too many", w->file.name, len);
	if (lseek(w->file.fd, 0, SEEK_SET) < 0 || write_all(w->file.fd, &head, sizeof(head)) < 0 ||
		write_all(w->file.fd, text, len) < 0)
		return err_errno(err, "cannot write '%s'", w->file.name);
	return 0;
}

int save_commit(struct save_writer *w, json_t *facts, struct err *err)
{
	json_object_set_new(facts, "length", json_integer((json_int_t)w->length));
	json_object_set_new(facts, "crc32", json_integer(w->crc));
	return write_head(w, facts, err) < 0 ? -1 : new_file_commit(&w->file, true, err);
}

void save_end(struct save_writer *w)
{
	new_file_end(&w->file);
}

/* ---- reading ---------------------------------------------------------------------------------------- */

static int damaged(const char *path, const char *what, struct err *err)
{
	return err_set(err, ERR_REFUSED, "'%s' is damaged: %s", path, what);
}

static json_t *read_facts(
	int fd, const char *path, uint64_t file_size, uint64_t *offset, struct err *err)
{
	struct head head;
	if (pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
		memcmp(head.magic, magic, sizeof("roost-save")) != 0) {
		err_set(err, ERR_USAGE, "'%s' is no file that `roost save` has written", path);
		return NULL;
	}
	uint64_t len = le64toh(head.text_len), at = le64toh(head.offset);
	if (memcmp(head.magic, magic, sizeof(magic)) != 0) {
		err_set(err, ERR_REFUSED, "'%s' has a version that this roost does not know", path);
		return NULL;
	}
	if (len > TEXT_MAX || at % ALIGN || at < sizeof(head) + len || at > file_size) {
		damaged(path, "its head", err);
		return NULL;
	}
	_cleanup_buf_ struct buf text = {0};
	buf_reserve(&text, len);
	if (pread(fd, text.data, len, sizeof(head)) != (ssize_t)len ||
		crc32_add(0, text.data, len) != le32toh(head.text_crc)) {
		damaged(path, "the checksum of its head", err);
		return NULL;
	}
	*offset = at;
	json_t *facts = json_text_parse(text.data, len, err);
	if (facts && !json_is_object(facts)) {
		json_decref(facts);
		facts = NULL;
		damaged(path, "its facts", err);
	}
	return facts;
}

static int check_stream(int fd, const char *path, uint64_t offset, uint64_t file_size,
	const json_t *facts, struct err *err)
{
	uint64_t length = (uint64_t)json_get_int(facts, "length", 0);
	_cleanup_free_ char *block = xcalloc(1, BLOCK);
	uint32_t crc = 0;
	ssize_t n;
	if (file_size != offset + length)
		return err_set(err, ERR_REFUSED, "'%s' is %s: %llu bytes, not %llu", path,
			file_size < offset + length ? "truncated" : "damaged",
			(unsigned long long)file_size, (unsigned long long)(offset + length));
	if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
		return err_errno(err, "cannot read '%s'", path);
	while ((n = read(fd, block, BLOCK)) > 0)
		crc = crc32_add(crc, block, (size_t)n);
	if (n < 0 || lseek(fd, (off_t)offset, SEEK_SET) < 0)
		return err_errno(err, "cannot read '%s'", path);
	if (crc != (uint32_t)json_get_int(facts, "crc32", 0))
		return damaged(path, "the checksum of its RAM", err);
	return 0;
}

int save_open(const char *path, uid_t owner, json_t **facts, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC |
						    (owner == (uid_t)-1 ? 0 : O_NOFOLLOW));
	struct stat st;
	uint64_t offset = 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "cannot open '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_USAGE, "'%s' is not a regular file", path);
	if (owner != (uid_t)-1 && st.st_uid != owner)
		return err_set(err, ERR_REFUSED, "'%s' belongs to uid %u, not to uid %u", path,
			(unsigned)st.st_uid, (unsigned)owner);
	_cleanup_json_ json_t *found = read_facts(fd, path, (uint64_t)st.st_size, &offset, err);
	if (!found || check_stream(fd, path, offset, (uint64_t)st.st_size, found, err) < 0)
		return -1;
	*facts = TAKE(found);
	return TAKE_FD(fd);
}
