#include "orchestrator/password.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/ask.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "orchestrator/seed_write.h"

enum { PASSWORD_MAX = 511 }; /* crypt(3)'s */

static int ask(struct buf *out, struct err *err)
{
	char typed[PASSWORD_MAX + 2]; /* one too long is told as such */
	if (!isatty(STDIN_FILENO))
		return fd_read(STDIN_FILENO, "standard input", PASSWORD_MAX + 2, out, err);
	if (ask_line("Password: ", true, typed, sizeof(typed), err) < 0)
		return -1;
	buf_str(out, typed);
	explicit_bzero(typed, sizeof(typed));
	return 0;
}

/* One line, whose end does not belong to it. */
static int take_line(const char *file, struct buf *text, struct err *err)
{
	size_t len = text->len && text->data[text->len - 1] == '\n' ? text->len - 1 : text->len;
	len -= len && text->data[len - 1] == '\r';
	if (!len)
		return err_set(err, ERR_USAGE, "password: there is none in '%s'", file);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text->data[i] < ' ' || text->data[i] == 127)
			return err_set(err, ERR_USAGE,
				"password: '%s' is not one line of text without control characters",
				file);
	if (len > PASSWORD_MAX)
		return err_set(err, ERR_USAGE, "password: it has over %d bytes", PASSWORD_MAX);
	text->len = len;
	text->data[len] = '\0';
	return 0;
}

char *password_hash_of(const char *file, const char *old, struct err *err)
{
	_cleanup_secret_ struct buf text = {0};
	buf_reserve(&text, 8192); /* no copies on the way */
	int result =
		str_eq(file, "-") ? ask(&text, err) : file_read(AT_FDCWD, file, 4096, &text, err);
	if (result < 0 || take_line(file, &text, err) < 0)
		return NULL;
	_cleanup_secret_ struct buf input = {0};
	buf_reserve(&input, 2048);
	buf_fmt(&input, "%s\n%s", old ? old : "", text.data);
	_cleanup_json_ json_t *answer = seed_ask("roost-image", "password", NULL, &input, err);
	return answer ? xstrdup(json_get_str(answer, "hash", "")) : NULL;
}
