/*
 * Theory of operation.
 *
 * Reading. `in` is [taken messages | begun or whole messages not yet taken]. The scanner runs over
 * each byte once, keeping its state between calls, and only counts brackets outside strings: it
 * finds where an object ends and whether it is too deep before jansson, which recurses, sees any
 * of it. What cannot begin an object is junk up to the end of its line.
 *
 * Fds. A recvmsg() may return bytes of several sendmsg()s, but ends with the one that carried fds.
 * So the last byte it returned is of the message the fds belong to, if the sender puts one message
 * into such a sendmsg() - as wire_flush() does - and the fds wait for the message that holds it.
 *
 * Writing. `out` is [written | to be written]; an fd goes with the first byte of its message.
 *
 * Buffers grow with what comes and are given back when they are empty and have grown: a keeper
 * that once saw a schema of 200 KiB stays small.
 */
#include "qmp/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	READ_CHUNK = 4096,       /* room made for one recvmsg() at least */
	READ_BUDGET = 64 * 1024, /* of one wire_read() */
	KEEP_BUFFER = 16 * 1024, /* an empty buffer larger than this is freed */
	RESET = 0xff,
};

void wire_init(struct wire *w, int fd)
{
	*w = (struct wire){.fd = fd, .limit = WIRE_LINE_MAX};
}

static void close_fds(struct wire_fd *fds, size_t *count)
{
	for (size_t i = 0; i < *count; i++)
		close(fds[i].fd);
	*count = 0;
}

void wire_close(struct wire *w)
{
	cleanup_close(&w->fd);
	close_fds(w->in_fds, &w->in_fd_count);
	close_fds(w->out_fds, &w->out_fd_count);
	buf_free(&w->in);
	buf_free(&w->out);
	*w = (struct wire){.fd = -1, .eof = true, .broken = "the connection is closed"};
}

static int gone(const struct wire *w, struct err *err)
{
	return err_set(err, ERR_GONE, "%s",
		w->broken[0] ? w->broken : "the other side closed the connection");
}

/* The first reason is the one that counts. */
static int broke(struct wire *w, const char *why, struct err *err)
{
	if (!w->broken[0])
		snprintf(w->broken, sizeof(w->broken), "%s", why);
	close_fds(w->out_fds, &w->out_fd_count);
	buf_free(&w->out);
	w->written = 0;
	return gone(w, err);
}

static int broke_errno(struct wire *w, const char *what, struct err *err)
{
	char why[sizeof(w->broken)];
	if (errno == EPIPE || errno == ECONNRESET)
		return broke(w, "the other side closed the connection", err);
	snprintf(why, sizeof(why), "%s: %s", what, strerror(errno));
	return broke(w, why, err);
}

int wire_break(struct wire *w, const char *why, struct err *err)
{
	w->eof = true;
	buf_free(&w->in);
	w->taken = w->scanned = 0;
	w->state = WIRE_BETWEEN;
	return broke(w, why, err);
}

short wire_events(const struct wire *w)
{
	return (short)((w->eof ? 0 : POLLIN) | (w->out.len > w->written ? POLLOUT : 0));
}

/* ---- reading ---- */

static void drop_taken(struct wire *w)
{
	if (!w->taken)
		return;
	if (w->taken == w->in.len && w->in.cap > KEEP_BUFFER)
		buf_free(&w->in);
	else
		buf_drop(&w->in, w->taken);
	w->scanned -= w->taken;
	w->taken = 0;
}

/* One recvmsg(). *more is false when that was certainly all. */
static ssize_t receive(struct wire *w, size_t max, bool *more)
{
	int fds[SOCK_FDS_MAX];
	size_t count = SOCK_FDS_MAX - w->in_fd_count;
	buf_reserve(&w->in, READ_CHUNK);
	size_t room = w->in.cap - w->in.len - 1;
	if (room > max)
		room = max;
	ssize_t n = sock_recv(w->fd, w->in.data + w->in.len, room, fds, &count);
	if (n > 0) {
		w->in.len += (size_t)n;
		w->in.data[w->in.len] = '\0';
		w->received += (uint64_t)n;
	}
	for (size_t i = 0; i < count; i++)
		w->in_fds[w->in_fd_count++] = (struct wire_fd){.at = w->received, .fd = fds[i]};
	*more = n == (ssize_t)room || count > 0;
	return n;
}

int wire_read(struct wire *w, struct err *err)
{
	if (w->eof)
		return gone(w, err);
	drop_taken(w);
	size_t got = 0;
	for (bool more = true; more && got < READ_BUDGET;) {
		ssize_t n = receive(w, READ_BUDGET - got, &more);
		if (n > 0) {
			got += (size_t)n;
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		w->eof = true;
		if (n < 0)
			broke_errno(w, "cannot read from the other side", err);
		break;
	}
	return got ? 1 : w->eof ? gone(w, err) : 0;
}

enum span { SPAN_NONE, SPAN_VALUE, SPAN_JUNK, SPAN_DEEP };

/* One byte; tells when it ends something. */
static enum span scan_byte(struct wire *w, unsigned char c)
{
	switch (w->state) {
	case WIRE_BETWEEN:
		w->state = c == '{' ? WIRE_VALUE : WIRE_JUNK;
		w->depth = 1;
		return SPAN_NONE;
	case WIRE_JUNK:
		return c == '\n' ? SPAN_JUNK : SPAN_NONE;
	case WIRE_ESCAPE:
		w->state = WIRE_STRING;
		return SPAN_NONE;
	case WIRE_STRING:
		if (c == '\n')
			return SPAN_JUNK;
		w->state = c == '"' ? WIRE_VALUE : c == '\\' ? WIRE_ESCAPE : WIRE_STRING;
		return SPAN_NONE;
	case WIRE_VALUE:
		if (c == '"')
			w->state = WIRE_STRING;
		else if ((c == '{' || c == '[') && ++w->depth > JSON_DEPTH_MAX)
			return SPAN_DEEP;
		else if ((c == '}' || c == ']') && --w->depth == 0)
			return SPAN_VALUE;
		return SPAN_NONE;
	}
	return SPAN_NONE;
}

static bool is_space(unsigned char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Goes on to the end of the next thing, which is then in->data[taken..scanned]. */
static enum span scan(struct wire *w)
{
	enum span found = SPAN_NONE;
	while (found == SPAN_NONE && w->scanned < w->in.len) {
		unsigned char c = (unsigned char)w->in.data[w->scanned++];
		if (w->state == WIRE_BETWEEN && (c == RESET || is_space(c)))
			w->taken = w->scanned;
		else
			found = c == RESET ? SPAN_JUNK : scan_byte(w, c);
	}
	if (found != SPAN_NONE)
		w->state = WIRE_BETWEEN;
	return found;
}

static bool overflows(const char *number)
{
	errno = 0;
	(void)strtoll(number, NULL, 10);
	return errno == ERANGE;
}

/*
 * QEMU's uint64 values may exceed jansson's int64 (the size of the memory region "system" is
 * 2^64-1), which must not cost us the connection: such a number becomes a real.
 */
static void mark_reals(const char *text, size_t len, struct buf *out)
{
	bool in_string = false;
	for (size_t i = 0, step; i < len; i += step) {
		size_t number = in_string ? 0 : strspn(text + i, "0123456789+-.eE");
		bool whole = number && strcspn(text + i, ".eE") >= number;
		step = number ? number : in_string && text[i] == '\\' && i + 1 < len ? 2 : 1;
		if (text[i] == '"')
			in_string = !in_string;
		buf_add(out, text + i, step);
		if (whole && overflows(text + i))
			buf_str(out, ".0");
	}
}

static json_t *decode(const char *text, size_t len, struct err *err)
{
	json_t *value = json_text_parse(text, len, err);
	if (!value && strstr(err->message, "too big")) {
		_cleanup_buf_ struct buf reals = {0};
		mark_reals(text, len, &reals);
		value = json_text_parse(reals.data, reals.len, err);
	}
	if (value && !json_is_object(value)) {
		json_decref(value);
		err_set(err, ERR_USAGE, "not a JSON object");
		return NULL;
	}
	return value;
}

static void skip_space(struct wire *w)
{
	while (w->scanned < w->in.len && is_space((unsigned char)w->in.data[w->scanned]))
		w->scanned++;
	w->taken = w->scanned;
}

int wire_next(struct wire *w, json_t **msg, struct err *err)
{
	enum span found = scan(w);
	if (found == SPAN_DEEP) {
		char why[sizeof(w->broken)];
		snprintf(why, sizeof(why),
			"the other side sent a message nested deeper than %d levels",
			JSON_DEPTH_MAX);
		return wire_break(w, why, err);
	}
	if (w->scanned - w->taken > w->limit) {
		char why[sizeof(w->broken)];
		snprintf(why, sizeof(why), "the other side sent a message longer than %s",
			str_size(w->limit));
		return wire_break(w, why, err);
	}
	if (found == SPAN_NONE) {
		if (w->eof) {
			gone(w, err);
			return w->in.len > w->taken ? err_prefix(err, "in the middle of a message")
						    : -1;
		}
		drop_taken(w);
		return 0;
	}
	json_t *value = decode(w->in.data + w->taken, w->scanned - w->taken, err);
	skip_space(w);
	if (!value)
		return -1;
	*msg = value;
	return 1;
}

int wire_take_fd(struct wire *w)
{
	uint64_t taken = w->received - (w->in.len - w->taken);
	if (!w->in_fd_count || w->in_fds[0].at > taken)
		return -1;
	int fd = w->in_fds[0].fd;
	w->in_fd_count--;
	memmove(w->in_fds, w->in_fds + 1, w->in_fd_count * sizeof(w->in_fds[0]));
	return fd;
}

/* ---- writing ---- */

/* What can go in one sendmsg(): `count` fds of `out_fds` and so many bytes, which is returned. */
static size_t next_part(const struct wire *w, size_t *count)
{
	const char *data = w->out.data + w->written;
	size_t len = w->out.len - w->written;
	*count = 0;
	if (!w->out_fd_count)
		return len;
	uint64_t at = w->out_fds[0].at;
	if (at > w->sent)
		return (size_t)(at - w->sent);
	while (*count < w->out_fd_count && w->out_fds[*count].at == at)
		++*count;
	const char *end = memchr(data, '\n', len);
	return end ? (size_t)(end - data) + 1 : len;
}

static void forget_sent(struct wire *w, size_t bytes, size_t fd_count)
{
	for (size_t i = 0; i < fd_count; i++)
		close(w->out_fds[i].fd);
	w->out_fd_count -= fd_count;
	memmove(w->out_fds, w->out_fds + fd_count, w->out_fd_count * sizeof(w->out_fds[0]));
	w->written += bytes;
	w->sent += bytes;
	if (w->written < w->out.len)
		return;
	w->out.len = w->written = 0;
	if (w->out.cap > KEEP_BUFFER)
		buf_free(&w->out);
}

int wire_flush(struct wire *w, struct err *err)
{
	if (w->broken[0])
		return gone(w, err);
	while (w->out.len > w->written) {
		int fds[SOCK_FDS_MAX];
		size_t count;
		size_t len = next_part(w, &count);
		for (size_t i = 0; i < count; i++)
			fds[i] = w->out_fds[i].fd;
		ssize_t n = sock_send(w->fd, w->out.data + w->written, len, fds, count);
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 0;
		if (n < 0)
			return broke_errno(w, "cannot write to the other side", err);
		forget_sent(w, (size_t)n, count);
	}
	return 0;
}

/* Before anything is queued: moves the unwritten to the front when the written part is large. */
static void make_room(struct wire *w)
{
	if (w->written < KEEP_BUFFER || w->written < w->out.len / 2)
		return;
	buf_drop(&w->out, w->written);
	w->written = 0;
}

static int queued(struct wire *w, struct err *err)
{
	if (wire_flush(w, err) < 0)
		return -1;
	if (w->out.len - w->written <= WIRE_OUT_MAX)
		return 0;
	return broke(w, "the other side does not read what it is sent", err);
}

static int queue_fds(struct wire *w, const int *fds, size_t count, struct err *err)
{
	uint64_t at = w->sent + (w->out.len - w->written);
	if (count > SOCK_FDS_MAX)
		return err_set(err, ERR_USAGE,
			"%zu file descriptors in one message, %d are possible", count,
			SOCK_FDS_MAX);
	if (w->out_fd_count + count > WIRE_OUT_FDS_MAX)
		return broke(
			w, "the other side does not take the file descriptors it is sent", err);
	size_t before = w->out_fd_count;
	for (size_t i = 0; i < count; i++) {
		int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (copy < 0) {
			err_errno(err, "cannot duplicate the file descriptor %d", fds[i]);
			while (w->out_fd_count > before)
				close(w->out_fds[--w->out_fd_count].fd);
			return -1;
		}
		w->out_fds[w->out_fd_count++] = (struct wire_fd){.at = at, .fd = copy};
	}
	return 0;
}

static int add_piece(const char *piece, size_t len, void *out)
{
	buf_add(out, piece, len);
	return 0;
}

int wire_send(struct wire *w, const json_t *msg, const int *fds, size_t fd_count, struct err *err)
{
	if (w->broken[0])
		return gone(w, err);
	make_room(w);
	if (queue_fds(w, fds, fd_count, err) < 0)
		return -1;
	/* on failure half of it is in the buffer: nothing sensible can follow */
	if (json_dump_callback(msg, add_piece, &w->out, JSON_COMPACT) < 0)
		return broke(w, "a message for the other side cannot be written as JSON", err);
	buf_str(&w->out, "\n");
	return queued(w, err);
}

int wire_send_raw(struct wire *w, const void *data, size_t len, struct err *err)
{
	if (w->broken[0])
		return gone(w, err);
	make_room(w);
	buf_add(&w->out, data, len);
	return queued(w, err);
}

/* ---- errors ---- */

/* Without what a terminal might obey, and cut where no UTF-8 sequence is. */
static void copy_clean(char *out, size_t size, const char *text)
{
	size_t len = strnlen(text, size - 1);
	while (text[len] && len && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	memcpy(out, text, len);
	out[len] = '\0';
	for (unsigned char *c = (unsigned char *)out; *c; c++) {
		if (*c < ' ' || *c == 0x7f)
			*c = ' ';
		else if (c[0] == 0xc2 && c[1] < 0xa0) /* U+0080 to U+009F */
			c[0] = c[1] = ' ';
	}
}

int wire_error(const json_t *error, const char *command, struct err *err)
{
	enum { TEXT_MAX = 512 };
	char desc[TEXT_MAX], hint[TEXT_MAX];
	const char *class = json_get_str(error, "class", "");
	enum err_kind kind = err_kind_of(class);
	copy_clean(
		desc, sizeof(desc), json_get_str(error, "desc", "an error without a description"));
	copy_clean(hint, sizeof(hint), json_get_str(error, "hint", ""));
	if (kind == ERR_NONE || !str_eq(class, err_kind_name(kind)))
		return err_set(err, ERR_QEMU, "%s: %s", command, desc);
	err_set(err, kind, "%s", desc);
	return hint[0] ? err_hint(err, "%s", hint) : -1;
}
