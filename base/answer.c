#include "base/answer.h"

#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"

enum { ANSWER_MAX = 1024 * 1024 };

static int read_answer(const struct child *c, const char *const argv[], int64_t deadline,
	struct buf *out, struct err *err)
{
	for (ssize_t n = 1; n > 0 && out->len < ANSWER_MAX;) {
		if (fd_wait(c->out, POLLIN, deadline) <= 0)
			return err_set(err, ERR_TIMEOUT, "'%s %s' does not end", argv[0], argv[1]);
		buf_reserve(out, 8192);
		n = read(c->out, out->data + out->len, 8192);
		out->len += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

json_t *child_answer(
	const char *const argv[], const char *input, size_t len, int64_t ms, struct err *err)
{
	_cleanup_(child_end) struct child c = CHILD_NONE;
	_cleanup_secret_ struct buf text = {0};
	int64_t deadline = deadline_in(ms);
	int status = 0;
	if (child_start(argv, input != NULL, &c, err) < 0)
		return NULL;
	if (input && write_all(c.in, input, len) < 0) {
		err_errno(err, "cannot write to '%s %s'", argv[0], argv[1]);
		return NULL;
	}
	cleanup_close(&c.in);
	if (read_answer(&c, argv, deadline, &text, err) < 0)
		return NULL;
	_cleanup_json_ json_t *answer =
		text.len ? json_text_parse(text.data, text.len, err) : json_object();
	if (proc_reap(&c.proc, deadline, &status, err) < 0)
		return NULL;
	json_t *error = json_object_get(answer, "error");
	if (error) {
		json_to_err(error, err);
		return NULL;
	}
	if (status || !answer) {
		err_set(err, ERR_SYSTEM, "'%s %s' %s", argv[0], argv[1], proc_status_text(status));
		return NULL;
	}
	return TAKE(answer);
}
