/*
 * The step http: one GET, from here (reach.h), or from inside the guest through its SSH server.
 *
 * A port that user networking forwards accepts whether or not anything listens in the guest, so that a
 * connection proves nothing; an HTTP answer does. HTTP 1.0 is spoken, in which an answer ends with its connection.
 */
#include "orchestrator/smoke_ssh.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sock.h"
#include "orchestrator/reach.h"
#include "orchestrator/record.h"
#include "orchestrator/guest_text.h"

enum { ATTEMPT_MS = 10000 };

struct http_answer {
	unsigned status;
	struct buf body;
};

/* ---- from here -------------------------------------------------------------------------------- */

static int dialled(const struct trial *t, unsigned port, int64_t deadline, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	struct reach r;
	if (guest_look(&t->guest, &s, err) < 0)
		return -1;
	_cleanup_definition_ struct definition *d = record_read(t->guest.name, err);
	return d && reach_find(d, &s, port, &r, err) == 0 ? reach_connect(&r, deadline, err) : -1;
}

static int ask_dialled(struct trial *t, const struct url *u, const char *request, int64_t deadline,
	struct buf *out, struct err *err)
{
	_cleanup_close_ int fd = dialled(t, u->port, deadline, err);
	if (fd < 0)
		return -1;
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
		return err_set(err, ERR_GONE, "the connection was closed at once");
	while (out->len < OUTPUT_MAX) {
		if (fd_wait(fd, POLLIN, deadline) <= 0)
			return err_set(err, ERR_TIMEOUT, "%s",
				out->len ? "an answer without an end"
					 : "a connection, but no answer");
		buf_reserve(out, 16384);
		ssize_t n = recv(fd, out->data + out->len, 16384, 0);
		if (n > 0)
			out->len += (size_t)n;
		else if (n == 0 || errno != EAGAIN)
			break; /* also a reset after all was said, as user networking has it */
	}
	return out->len ? 0 : err_set(err, ERR_GONE, "the connection was closed without an answer");
}

/* ---- from inside ------------------------------------------------------------------------------ */

static int ask_inside(struct trial *t, const struct url *u, const char *request, int64_t deadline,
	struct buf *out, struct err *err)
{
	int ends[2];
	_cleanup_answer_ struct answer a = {0};
	json_t *params = trial_params(t, NULL, err);
	if (!params)
		return -1;
	json_object_set_new(
		params, "dial", json_pack("{s:s, s:i}", "address", u->host, "port", (int)u->port));
	if (pipe2(ends, O_CLOEXEC) < 0) {
		json_decref(params);
		return err_errno(err, "cannot make a pipe");
	}
	/* open until the answer is there: a server may take the end of our words for our leaving */
	_cleanup_close_ int in = ends[0], words = ends[1];
	write_all(words, request, strlen(request));
	if (guest_exec(params, in, deadline, &a, err) < 0)
		return -1;
	*out = a.out;
	a.out = (struct buf){0};
	if (out->len)
		return 0;
	const char *said = a.err.data ? a.err.data : "";
	size_t skip = str_starts(said, "roost: ") ? 7 : 0, len = strcspn(said, "\n");
	_cleanup_free_ char *text = text_line(said + skip, len > skip ? len - skip : 0, 200);
	return err_set(
		err, ERR_GONE, "%s", text[0] ? text : "a connection closed without an answer");
}

/* ---- the answer ------------------------------------------------------------------------------- */

static int parse(const struct buf *raw, struct http_answer *out, struct err *err)
{
	unsigned status = 0;
	int used = 0;
	const char *end = memmem(raw->data, raw->len, "\r\n\r\n", 4);
	size_t gap = 4;
	if (!end) {
		end = memmem(raw->data, raw->len, "\n\n", 2);
		gap = 2;
	}
	if (sscanf(raw->data, "HTTP/%*1[0-9].%*1[0-9] %3u%n", &status, &used) != 1 || !used ||
		!end) {
		_cleanup_free_ char *text = text_line(raw->data, raw->len, 100);
		return err_set(err, ERR_QEMU, "'%s', which is no HTTP answer", text);
	}
	size_t body = (size_t)(end - raw->data) + gap;
	out->status = status;
	buf_add(&out->body, raw->data + body, raw->len - body);
	return 0;
}

static int ask(struct trial *t, const struct url *u, int64_t deadline, struct http_answer *out,
	struct err *err)
{
	_cleanup_buf_ struct buf raw = {0};
	int64_t own = deadline_in(ATTEMPT_MS);
	_cleanup_free_ char *request = str_fmt("GET %s HTTP/1.0\r\nHost: %s:%u\r\n"
					       "User-Agent: roost-smoke\r\nAccept: */*\r\n\r\n",
		u->path, u->host, u->port);
	deadline = own < deadline ? own : deadline;
	if ((u->forwarded ? ask_dialled : ask_inside)(t, u, request, deadline, &raw, err) < 0)
		return -1;
	buf_add(&raw, "", 1); /* for sscanf */
	raw.len--;
	return parse(&raw, out, err);
}

static int judge(const struct step *s, const struct http_answer *a, struct err *err)
{
	if (a->status != s->status) {
		_cleanup_free_ char *text =
			text_line(a->body.data ? a->body.data : "", a->body.len, 100);
		return err_set(err, ERR_QEMU, "expected status %u, got %u%s%s%s", s->status,
			a->status, text[0] ? " and '" : "", text, text[0] ? "'" : "");
	}
	return step_expect(s, "body", &a->body, err);
}

int step_http(struct trial *t, const struct step *s, int64_t deadline, struct err *err)
{
	int64_t until = s->retry_ms ? deadline_in(s->retry_ms) : 0;
	struct url u;
	if (url_read(s->text, &u, err) < 0)
		return -1;
	for (;;) {
		struct http_answer a = {0};
		struct err ended = ERR_INIT;
		bool answered = ask(t, &u, deadline, &a, err) == 0;
		int result = answered ? judge(s, &a, err) : -1;
		buf_free(&a.body);
		if (result == 0)
			return 0;
		bool again = answered ? until && deadline_left(until) > 0 : true;
		if (!again || !deadline_left(deadline))
			return answered ? -1
					: err_prefix(err, "expected an answer within %lld s, got",
						  (long long)s->timeout_ms / 1000);
		if (trial_pause(t, NULL, deadline, &ended) < 0)
			return -1;
	}
}
