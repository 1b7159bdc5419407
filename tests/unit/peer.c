#include "tests/unit/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"

int peer_new(struct peer *p)
{
	int pair[2];
	struct err err = ERR_INIT;
	assert_int_equal(sock_pair(pair, &err), 0);
	wire_init(&p->wire, pair[1]);
	return pair[0];
}

void peer_end(struct peer *p)
{
	wire_close(&p->wire);
}

size_t peer_say_some(struct peer *p, const void *data, size_t len)
{
	size_t said = 0;
	while (said < len) {
		ssize_t n = sock_send(p->wire.fd, (const char *)data + said, len - said, NULL, 0);
		if (n <= 0)
			break;
		said += (size_t)n;
	}
	return said;
}

void peer_say_bytes(struct peer *p, const void *data, size_t len)
{
	assert_int_equal(peer_say_some(p, data, len), len);
}

void peer_say(struct peer *p, const char *fmt, ...)
{
	char *text;
	va_list ap;
	va_start(ap, fmt);
	int len = vasprintf(&text, fmt, ap);
	va_end(ap);
	assert_true(len >= 0);
	peer_say_bytes(p, text, (size_t)len);
	free(text);
}

json_t *peer_hear(struct peer *p)
{
	struct err err = ERR_INIT;
	json_t *msg = NULL;
	wire_read(&p->wire, &err);
	return wire_next(&p->wire, &msg, &err) > 0 ? msg : NULL;
}

void peer_expect(struct peer *p, const char *command, char id[64])
{
	_cleanup_json_ json_t *msg = peer_hear(p);
	assert_non_null(msg);
	assert_string_equal(json_get_str(msg, "execute", ""), command);
	snprintf(id, 64, "%s", json_get_str(msg, "id", ""));
}

void peer_greet(struct peer *p)
{
	peer_say(p, "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\n");
}

size_t open_fds(void)
{
	char **names = NULL;
	size_t count = 0;
	struct err err = ERR_INIT;
	int dir = dir_open(AT_FDCWD, "/proc/self/fd", &err);
	assert_true(dir >= 0);
	assert_int_equal(dir_names(dir, &names, &count, &err), 0);
	names_free(&names);
	close(dir);
	return count;
}

/* ---- recordings ---- */

/* {"from":"qemu","msg":{...}}: the text of the message, exactly; a number may exceed int64. */
static bool take_msg(const char *text, const char *from, struct line *out)
{
	_cleanup_free_ char *begin = str_fmt("{\"from\":\"%s\",\"msg\":", from);
	static const char fds[] = ",\"fds\":";
	if (!str_starts(text, begin))
		return false;
	size_t len = strlen(text) - 1;
	const char *at = strstr(text, fds);
	if (at) {
		out->fds = strtoll(at + strlen(fds), NULL, 10);
		len = (size_t)(at - text);
	}
	out->text = strndup(text + strlen(begin), len - strlen(begin));
	return true;
}

static void take_line(const char *text, struct line *out)
{
	out->from_qemu = take_msg(text, "qemu", out);
	if (out->from_qemu || take_msg(text, "client", out))
		return;
	struct err err = ERR_INIT;
	const char *raw = NULL;
	_cleanup_json_ json_t *o = json_text_parse(text, strlen(text), &err);
	assert_non_null(o);
	assert_int_equal(json_str(o, "raw", &raw, &err), 0);
	out->text = xstrdup(raw);
	out->raw = true;
}

struct line *replies_read(const char *name, size_t *count)
{
	enum { LINES_MAX = 256, FILE_MAX = 1024 * 1024 };
	struct err err = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *path = str_fmt("tests/replies/%s.jsonl", name);
	struct line *lines = xcalloc(LINES_MAX, sizeof(*lines));
	char *save = NULL;
	if (file_read(AT_FDCWD, path, FILE_MAX, &text, &err) < 0)
		fail_msg("%s", err.message);
	*count = 0;
	strtok_r(text.data, "\n", &save); /* says which QEMU it was */
	for (char *at; (at = strtok_r(NULL, "\n", &save));) {
		assert_true(*count < LINES_MAX);
		take_line(at, &lines[(*count)++]);
	}
	assert_true(*count > 0);
	return lines;
}

void replies_free(struct line *lines, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(lines[i].text);
	free(lines);
}
