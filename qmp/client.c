#include "qmp/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"

enum {
	EVENTS_BYTES_MAX = 8 * 1024 * 1024,
	PUMP_ROUNDS = 64, /* of at most 64 KiB, so that a flood cannot hold the caller for ever */
	CAPABILITIES = 0, /* the call number of our own qmp_capabilities */
	STOOD_STILL_MS = 200, /* nobody who is only busy wakes so late */
};

/* A command on its way. It ends when its reply is taken, or comes and is not wanted. */
struct call {
	TAILQ_ENTRY(call) link;
	uint64_t number;
	char *command;
	int64_t since;
	json_t *held; /* the message, until the peer is ready for it */
	int held_fds[SOCK_FDS_MAX];
	size_t held_fd_count;
	json_t *reply; /* came, not yet taken */
	bool forgotten;
};

struct event {
	TAILQ_ENTRY(event) link;
	json_t *value;
	size_t size;
};

/*
 * GREETING: the peer has said nothing yet; commands are held.
 * NEGOTIATING: it has; our commands are on their way behind qmp_capabilities.
 * READY: it has answered that.
 * GONE: no command can be sent; replies that came and events can still be taken.
 */
enum qmp_state { QMP_STATE_GREETING, QMP_STATE_NEGOTIATING, QMP_STATE_READY, QMP_STATE_GONE };

struct qmp {
	struct wire wire;
	enum qmp_state state;
	char prefix[17]; /* of our ids */
	uint64_t last;   /* the number of the newest call */
	json_t *greeting;
	TAILQ_HEAD(, call) calls; /* oldest first */
	TAILQ_HEAD(, event) events;
	size_t event_count, event_bytes;
	uint64_t strays;
	struct err why; /* it has gone */
};

/* ---- events ---- */

static json_t *pop_event(struct qmp *q)
{
	struct event *e = TAILQ_FIRST(&q->events);
	if (!e)
		return NULL;
	json_t *value = e->value;
	TAILQ_REMOVE(&q->events, e, link);
	q->event_count--;
	q->event_bytes -= e->size;
	free(e);
	return value;
}

static void push_event(struct qmp *q, json_t *value, size_t size)
{
	struct event *e = xcalloc(1, sizeof(*e));
	e->value = value;
	e->size = size;
	TAILQ_INSERT_TAIL(&q->events, e, link);
	q->event_count++;
	q->event_bytes += size;
	while (q->event_count > QMP_EVENTS_MAX ||
		(q->event_bytes > EVENTS_BYTES_MAX && q->event_count > 1)) {
		json_decref(pop_event(q));
		q->strays++;
	}
}

json_t *qmp_next_event(struct qmp *q)
{
	return pop_event(q);
}

/* ---- calls ---- */

static void call_drop_held(struct call *c)
{
	for (size_t i = 0; i < c->held_fd_count; i++)
		close(c->held_fds[i]);
	c->held_fd_count = 0;
	json_decref(TAKE(c->held));
}

static void call_free(struct qmp *q, struct call *c)
{
	TAILQ_REMOVE(&q->calls, c, link);
	call_drop_held(c);
	json_decref(c->reply);
	free(c->command);
	free(c);
}

static struct call *call_find(const struct qmp *q, uint64_t number)
{
	struct call *c;
	TAILQ_FOREACH(c, &q->calls, link)
	if (c->number == number)
		return c;
	return NULL;
}

static struct call *call_new(struct qmp *q, uint64_t number, const char *command)
{
	struct call *c = xcalloc(1, sizeof(*c));
	c->number = number;
	c->command = xstrdup(command);
	c->since = clock_ms();
	TAILQ_INSERT_TAIL(&q->calls, c, link);
	return c;
}

/* The peer has gone, or cannot be talked to. Only the first reason counts. */
static int lose(struct qmp *q, const struct err *why)
{
	if (q->state == QMP_STATE_GONE)
		return -1;
	q->state = QMP_STATE_GONE;
	q->why = *why;
	struct call *c, *next;
	for (c = TAILQ_FIRST(&q->calls); c; c = next) {
		next = TAILQ_NEXT(c, link);
		call_drop_held(c);
		if (c->forgotten)
			call_free(q, c);
	}
	struct err unused;
	wire_break(&q->wire, why->message, &unused);
	json_t *reason = json_string(why->message);
	if (!reason)
		reason = json_string("an error whose text is not valid UTF-8");
	push_event(
		q, json_pack("{s:s, s:{s:o}}", "event", "QMP_GONE", "data", "reason", reason), 0);
	return -1;
}

static json_t *message_new(const struct qmp *q, uint64_t number, const char *command, json_t *args)
{
	char id[sizeof(q->prefix) + 24];
	snprintf(id, sizeof(id), "%s-%llu", q->prefix, (unsigned long long)number);
	json_t *msg = json_pack("{s:s, s:s}", "execute", command, "id", id);
	if (args)
		json_object_set_new(msg, "arguments", args);
	return msg;
}

/* Which of our calls a reply answers; NULL when it is not ours. */
static struct call *call_of(const struct qmp *q, const json_t *reply)
{
	const char *id = json_get_str(reply, "id", "");
	size_t len = strlen(q->prefix);
	uint64_t number;
	struct err err;
	if (strncmp(id, q->prefix, len) != 0 || id[len] != '-' ||
		str_parse_u64(id + len + 1, 0, q->last, "id", &number, &err) < 0)
		return NULL;
	return call_find(q, number);
}

/* ---- what comes in ---- */

static int negotiate(struct qmp *q, struct err *err)
{
	q->state = QMP_STATE_NEGOTIATING;
	_cleanup_json_ json_t *msg = message_new(q, CAPABILITIES, "qmp_capabilities", NULL);
	return wire_send(&q->wire, msg, NULL, 0, err);
}

/* It is ready for us: negotiate (if that was not done at once), and send what was held behind it. */
static int greet(struct qmp *q, json_t *greeting, struct err *err)
{
	q->greeting = json_incref(greeting);
	if (q->state == QMP_STATE_GREETING && negotiate(q, err) < 0)
		return -1;
	struct call *c;
	TAILQ_FOREACH(c, &q->calls, link)
	{
		if (!c->held)
			continue;
		if (wire_send(&q->wire, c->held, c->held_fds, c->held_fd_count, err) < 0)
			return -1;
		call_drop_held(c);
	}
	return 0;
}

static int negotiated(struct qmp *q, struct call *c, const json_t *msg, struct err *err)
{
	const json_t *error = json_object_get(msg, "error");
	call_free(q, c);
	if (error)
		return wire_error(error, "qmp_capabilities", err);
	q->state = QMP_STATE_READY;
	return 0;
}

/* The first word of a peer is a greeting, or it is none of ours. */
static int first_word(struct qmp *q, const json_t *msg, struct err *err)
{
	json_t *greeting = json_object_get(msg, "QMP");
	const json_t *error = json_object_get(msg, "error");
	if (json_is_object(greeting))
		return greet(q, greeting, err);
	if (error)
		return wire_error(error, "greeting", err);
	return err_set(err, ERR_GONE, "the other side does not speak QMP: no greeting came");
}

/* Sorts one message; steals it. -1 when this peer cannot be talked to. */
static int sort(struct qmp *q, json_t *stolen, size_t size, struct err *err)
{
	_cleanup_json_ json_t *msg = stolen;
	if (json_is_string(json_object_get(msg, "event"))) {
		push_event(q, TAKE(msg), size);
		return 0;
	}
	if (!q->greeting)
		return first_word(q, msg, err);
	struct call *c = call_of(q, msg);
	if (!c || c->reply || (!json_object_get(msg, "return") && !json_object_get(msg, "error"))) {
		q->strays++;
		return 0;
	}
	if (c->number == CAPABILITIES)
		return negotiated(q, c, msg, err);
	json_object_del(msg, "id");
	if (c->forgotten)
		call_free(q, c);
	else
		c->reply = TAKE(msg);
	return 0;
}

/* Takes all whole messages. 0 when there is none left, -1 when nothing more will come. */
static int drain(struct qmp *q, struct err *err)
{
	for (;;) {
		json_t *msg;
		size_t before = q->wire.taken;
		int found = wire_next(&q->wire, &msg, err);
		if (found < 0 && err->kind == ERR_USAGE) {
			err_prefix(err, "the other side sent a message that is");
			err->kind = ERR_GONE;
		}
		if (found <= 0)
			return found;
		if (sort(q, msg, q->wire.taken - before, err) < 0)
			return -1;
	}
}

int qmp_pump(struct qmp *q, struct err *err)
{
	struct err unused;
	if (q->state != QMP_STATE_GONE)
		wire_flush(&q->wire, &unused); /* what is wrong with it, reading tells too */
	for (int round = 0, more = 1; q->state != QMP_STATE_GONE && more > 0; round++) {
		more = round < PUMP_ROUNDS ? wire_read(&q->wire, err) : 0;
		if (drain(q, err) < 0)
			lose(q, err);
	}
	if (q->state != QMP_STATE_GONE)
		return 0;
	*err = q->why;
	return -1;
}

/* ---- opening and closing ---- */

static void new_prefix(char *out, size_t size)
{
	uint64_t random;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (uint64_t)clock_us() ^ ((uint64_t)getpid() << 40);
	snprintf(out, size, "%016llx", (unsigned long long)random);
}

struct qmp *qmp_start(int fd)
{
	struct qmp *q = xcalloc(1, sizeof(*q));
	wire_init(&q->wire, fd);
	TAILQ_INIT(&q->calls);
	TAILQ_INIT(&q->events);
	new_prefix(q->prefix, sizeof(q->prefix));
	call_new(q, CAPABILITIES, "qmp_capabilities");
	return q;
}

struct qmp *qmp_start_eager(int fd)
{
	struct err err = ERR_INIT;
	struct qmp *q = qmp_start(fd);
	if (negotiate(q, &err) < 0)
		lose(q, &err);
	return q;
}

void qmp_close(struct qmp *q)
{
	if (!q)
		return;
	while (!TAILQ_EMPTY(&q->calls))
		call_free(q, TAILQ_FIRST(&q->calls));
	while (!TAILQ_EMPTY(&q->events))
		json_decref(pop_event(q));
	json_decref(q->greeting);
	wire_close(&q->wire);
	free(q);
}

/*
 * Pumps once there is something to do: 1, 0 when the deadline passed, -1 when the peer has gone. We may have slept far longer than
 * we wanted to, for the host stood still: so did the other side, whose time then begins anew.
 */
static int wait_and_pump(struct qmp *q, int64_t *deadline, struct err *err)
{
	int left = deadline_left(*deadline);
	int64_t since = clock_ms();
	int ready = fd_wait(q->wire.fd, qmp_events(q), *deadline);
	if (ready < 0)
		return err_errno(err, "cannot wait for the other side");
	if (ready == 0 && left > 0 && clock_ms() - since > left + STOOD_STILL_MS)
		*deadline = deadline_in(left);
	else if (ready == 0)
		return 0;
	return qmp_pump(q, err) < 0 ? -1 : 1;
}

struct qmp *qmp_open(int fd, int64_t deadline, struct err *err)
{
	_cleanup_qmp_ struct qmp *q = qmp_start(fd);
	while (!qmp_ready(q)) {
		int done = wait_and_pump(q, &deadline, err);
		if (done < 0)
			return NULL;
		if (done == 0) {
			err_set(err, ERR_TIMEOUT, "%s came in time",
				q->greeting ? "no answer to qmp_capabilities" : "no greeting");
			err_hint(err,
				"a QEMU monitor greets one client at a time; is another connected?");
			return NULL;
		}
	}
	return TAKE(q);
}

struct qmp *qmp_connect(const char *path, int64_t deadline, struct err *err)
{
	int fd = sock_connect(path, deadline, err);
	if (fd < 0)
		return NULL;
	struct qmp *q = qmp_open(fd, deadline, err);
	if (!q)
		err_prefix(err, "'%s'", path);
	return q;
}

int qmp_fd(const struct qmp *q)
{
	return q->wire.fd;
}

short qmp_events(const struct qmp *q)
{
	return wire_events(&q->wire);
}

bool qmp_ready(const struct qmp *q)
{
	return q->state == QMP_STATE_READY;
}

bool qmp_gone(const struct qmp *q)
{
	return q->state == QMP_STATE_GONE;
}

const json_t *qmp_greeting(const struct qmp *q)
{
	return q->greeting;
}

uint64_t qmp_strays(const struct qmp *q)
{
	return q->strays;
}

/* ---- sending and taking ---- */

static int hold(struct call *c, json_t *msg, const int *fds, size_t fd_count, struct err *err)
{
	if (fd_count > SOCK_FDS_MAX)
		return err_set(err, ERR_USAGE,
			"%zu file descriptors in one message, %d are possible", fd_count,
			SOCK_FDS_MAX);
	for (size_t i = 0; i < fd_count; i++) {
		int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			return err_errno(err, "cannot duplicate the file descriptor %d", fds[i]);
		c->held_fds[c->held_fd_count++] = copy;
	}
	c->held = json_incref(msg);
	return 0;
}

uint64_t qmp_send(struct qmp *q, const char *command, json_t *args, const int *fds, size_t fd_count,
	struct err *err)
{
	_cleanup_json_ json_t *msg = message_new(q, q->last + 1, command, args);
	if (q->state == QMP_STATE_GONE) {
		*err = q->why;
		err_prefix(err, "%s", command);
		return 0;
	}
	struct call *c = call_new(q, ++q->last, command);
	int sent = q->state == QMP_STATE_GREETING ? hold(c, msg, fds, fd_count, err)
						  : wire_send(&q->wire, msg, fds, fd_count, err);
	if (sent == 0)
		return c->number;
	err_prefix(err, "%s", command);
	call_free(q, c);
	return 0;
}

/* 1: the reply is there; 0: not yet; -1: it will never come, and the call is gone. */
static int find_reply(struct qmp *q, uint64_t call, struct call **out, struct err *err)
{
	struct call *c = call_find(q, call);
	if (!c || c->forgotten)
		return err_set(err, ERR_USAGE, "there is no call %llu", (unsigned long long)call);
	*out = c;
	if (c->reply)
		return 1;
	if (q->state != QMP_STATE_GONE)
		return 0;
	*err = q->why;
	err_prefix(err, "%s", c->command);
	call_free(q, c);
	return -1;
}

int qmp_take_raw_reply(struct qmp *q, uint64_t call, json_t **reply, struct err *err)
{
	struct call *c;
	int found = find_reply(q, call, &c, err);
	if (found <= 0)
		return found;
	*reply = TAKE(c->reply);
	call_free(q, c);
	return 1;
}

int qmp_take_reply(struct qmp *q, uint64_t call, json_t **reply, struct err *err)
{
	struct call *c;
	int found = find_reply(q, call, &c, err);
	if (found <= 0)
		return found;
	const json_t *error = json_object_get(c->reply, "error");
	if (error)
		found = wire_error(error, c->command, err);
	else
		*reply = json_incref(json_object_get(c->reply, "return"));
	call_free(q, c);
	return found;
}

void qmp_forget(struct qmp *q, uint64_t call)
{
	struct call *c = call_find(q, call);
	if (!c)
		return;
	if (c->reply || c->held || q->state == QMP_STATE_GONE)
		call_free(q, c);
	else
		c->forgotten = true;
}

int64_t qmp_oldest_call(const struct qmp *q)
{
	const struct call *c;
	TAILQ_FOREACH(c, &q->calls, link)
	if (!c->reply)
		return c->since;
	return 0;
}

int qmp_take_fd(struct qmp *q)
{
	return wire_take_fd(&q->wire);
}

/* ---- for those who only wait ---- */

json_t *qmp_wait_event(struct qmp *q, const char *name, int64_t deadline, struct err *err)
{
	for (;;) {
		json_t *e;
		while ((e = qmp_next_event(q))) {
			if (!name || str_eq(json_get_str(e, "event", NULL), name))
				return e;
			json_decref(e);
		}
		if (q->state == QMP_STATE_GONE) {
			*err = q->why;
			return NULL;
		}
		int done = wait_and_pump(q, &deadline, err);
		if (done == 0) {
			err_set(err, ERR_TIMEOUT, "the event %s did not come in time",
				name ? name : "that was waited for");
			return NULL;
		}
		if (done < 0 && q->state != QMP_STATE_GONE)
			return NULL;
	}
}

int qmp_call_fds(struct qmp *q, const char *command, json_t *args, const int *fds, size_t fd_count,
	int64_t deadline, json_t **reply, struct err *err)
{
	int64_t since = clock_ms();
	uint64_t call = qmp_send(q, command, args, fds, fd_count, err);
	if (!call)
		return -1;
	for (;;) {
		_cleanup_json_ json_t *value = NULL;
		int found = qmp_take_reply(q, call, &value, err);
		if (found < 0)
			return -1;
		if (found > 0) {
			if (reply)
				*reply = TAKE(value);
			return 0;
		}
		int done = wait_and_pump(q, &deadline, err);
		if (done == 0)
			err_set(err, ERR_TIMEOUT, "%s: no answer within %lld ms", command,
				(long long)(clock_ms() - since));
		if (done == 0 || (done < 0 && q->state != QMP_STATE_GONE)) {
			qmp_forget(q, call);
			return -1;
		}
	}
}

int qmp_call(struct qmp *q, const char *command, json_t *args, int64_t deadline, json_t **reply,
	struct err *err)
{
	return qmp_call_fds(q, command, args, NULL, 0, deadline, reply, err);
}
