#include "images/sysprep_stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

static ssize_t read_some(int fd, void *data, size_t len, struct err *err)
{
	ssize_t n;
	do
		n = read(fd, data, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_errno(err, "cannot read what is to be copied") : n;
}

ssize_t sysprep_stream_read(void *about, void *data, size_t len, struct err *err)
{
	struct sysprep_stream *s = about;
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

static bool is_name(const char *name)
{
	return name[0] && strlen(name) <= SYSPREP_NAME_MAX && !strchr(name, '/') &&
	       !str_eq(name, ".") && !str_eq(name, "..");
}

/* A line of shadow(5) has them between colons. */
static bool is_account(const char *user, const char *hash)
{
	return user[0] && hash[0] == '$' && strlen(user) < 64 && strlen(hash) < 256 &&
	       !strpbrk(user, ":\n") && !strpbrk(hash, ":\n");
}

int sysprep_stream_next(struct sysprep_stream *s, json_t **out, struct err *err)
{
	json_t *header;
	int got = take_header(s->fd, &header, err);
	if (got <= 0)
		return got;
	const char *into = json_get_str(header, "into", NULL);
	const char *name = json_get_str(header, "name", "");
	int64_t depth = json_get_int(header, "depth", 0), size = json_get_int(header, "size", 0);
	const char *user = json_get_str(header, "user", NULL);
	bool sound =
		user   ? is_account(user, json_get_str(header, "hash", ""))
		: into ? into[0] == '/'
		       : is_name(name) && depth >= 0 && depth < SYSPREP_FILES_DEPTH && size >= 0;
	s->left = (uint64_t)size;
	*out = header;
	if (sound)
		return 1;
	err_set(err, ERR_USAGE, "'%.80s' cannot be copied: its name or depth",
		user   ? user
		: into ? into
		       : name);
	json_decref(header);
	return -1;
}
