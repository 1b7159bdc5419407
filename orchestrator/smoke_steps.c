#include "orchestrator/smoke_steps.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "orchestrator/paths.h"

enum {
	LOOK_EVERY_MS = 100,
	CONSOLE_MAX = 4 * 1024 * 1024, /* as much as a console's log keeps */
	EVENTS_MAX = 4 * 1024 * 1024,
};

/* ---- waiting ---------------------------------------------------------------------------------- */

int trial_pause(struct trial *t, struct qmp *keeper, int64_t deadline, struct err *err)
{
	struct err ignored = ERR_INIT;
	_cleanup_status_ struct status s = {0};
	json_t *event;
	int64_t next = deadline_in(LOOK_EVERY_MS);
	bool there = keeper && !qmp_gone(keeper);
	struct pollfd p = {.fd = there ? qmp_fd(keeper) : -1, .events = POLLIN};
	poll(&p, 1, deadline_left(next < deadline ? next : deadline));
	if (there)
		qmp_pump(keeper, &ignored);
	while (there && (event = qmp_next_event(keeper)))
		json_decref(event);
	if (guest_look(&t->guest, &s, err) < 0)
		return -1;
	if (s.number)
		return 0;
	return err_set(err, ERR_GONE, "the guest is %s%s%s", guest_state_name(s.state),
		s.reason[0] ? ": " : "", s.reason);
}

/* ---- the console ------------------------------------------------------------------------------ */

static int open_log(const struct trial *t, const char *name, struct err *err)
{
	struct stat folder;
	_cleanup_close_ int dir = guest_dir_open(t->guest.name, err);
	if (dir < 0)
		return -1;
	if (fstat(dir, &folder) < 0)
		return err_errno(err, "its folder");
	return file_open_owned(dir, name, O_RDONLY, folder.st_uid, err);
}

static off_t log_end(const struct trial *t, const char *name)
{
	struct err ignored = ERR_INIT;
	_cleanup_close_ int fd = open_log(t, name, &ignored);
	off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	return end > 0 ? end : 0;
}

/* What a log has from `from` on, but for the holes that keep it bounded. */
static int read_log(const struct trial *t, const char *name, off_t from, size_t max,
	struct buf *out, struct err *err)
{
	_cleanup_close_ int fd = open_log(t, name, err);
	if (fd < 0)
		return -1;
	off_t end = lseek(fd, 0, SEEK_END);
	if (end - from > (off_t)max)
		from = end - (off_t)max;
	off_t data = lseek(fd, from, SEEK_DATA);
	for (off_t at = data > from ? data : from; at < end;) {
		buf_reserve(out, 65536);
		ssize_t n = pread(fd, out->data + out->len, 65536, at);
		if (n <= 0)
			break;
		out->len += (size_t)n;
		at += n;
	}
	return 0;
}

/* Lines end as on a terminal: the carriage returns go, so that $ is where one sees the end. */
static void drop_returns(struct buf *b)
{
	size_t kept = 0;
	for (size_t i = 0; i < b->len; i++)
		if (b->data[i] != '\r')
			b->data[kept++] = b->data[i];
	b->len = kept;
}

static int step_console(struct trial *t, const struct step *s, int64_t deadline, struct err *err)
{
	struct err ignored = ERR_INIT; /* what it wrote is there when it runs no more */
	_cleanup_qmp_ struct qmp *keeper = guest_connect(&t->guest, &ignored);
	for (;;) {
		_cleanup_buf_ struct buf text = {0};
		if (read_log(t, "console.log", t->console_from, CONSOLE_MAX, &text, err) < 0)
			return -1;
		drop_returns(&text);
		bool found = pattern_found(s->text, text.data ? text.data : "", text.len);
		if (found && s->absent)
			return err_set(err, ERR_QEMU,
				"expected no '%.200s' on the console, and it is there", s->text);
		if (found || s->absent)
			return 0;
		if (!deadline_left(deadline))
			return err_set(err, ERR_TIMEOUT,
				"expected '%.200s' on the console, got %zu bytes without it within %lld s",
				s->text, text.len, (long long)s->timeout_ms / 1000);
		if (trial_pause(t, keeper, deadline, err) < 0)
			return err_prefix(err, "expected '%.200s' on the console", s->text);
	}
}

/* ---- events ----------------------------------------------------------------------------------- */

static unsigned count_events(const struct step *s, const struct buf *text, json_t **last)
{
	struct err ignored = ERR_INIT;
	unsigned count = 0;
	const char *line = text->data, *end = line + text->len;
	for (const char *stop; line && line < end; line = stop + 1) {
		stop = memchr(line, '\n', (size_t)(end - line));
		if (!stop)
			break; /* it is being written */
		_cleanup_json_ json_t *event =
			json_text_parse(line, (size_t)(stop - line), &ignored);
		if (!str_eq(json_get_str(event, "event", ""), s->text))
			continue;
		json_decref(*last);
		*last = json_incref(json_object_get(event, "data"));
		count += !s->wanted || json_holds(s->wanted, *last, "data", &ignored) == 0;
	}
	return count;
}

static int no_event(const struct step *s, unsigned count, const json_t *last, struct err *err)
{
	if (s->wanted && last && !count)
		return json_holds(s->wanted, last, "its data", err);
	return err_set(err, ERR_TIMEOUT,
		"expected the event %u times within %lld s, got it %u times", s->count,
		(long long)s->timeout_ms / 1000, count);
}

static int step_event(struct trial *t, const struct step *s, int64_t deadline, struct err *err)
{
	struct err ignored = ERR_INIT; /* what it wrote is there when it runs no more */
	_cleanup_qmp_ struct qmp *keeper = guest_connect(&t->guest, &ignored);
	for (;;) {
		_cleanup_buf_ struct buf text = {0};
		_cleanup_json_ json_t *last = NULL;
		if (read_log(t, "events.jsonl", 0, EVENTS_MAX, &text, err) < 0)
			return -1;
		unsigned count = count_events(s, &text, &last);
		if (count >= s->count)
			return 0;
		if (!deadline_left(deadline))
			return no_event(s, count, last, err);
		if (trial_pause(t, keeper, deadline, err) < 0)
			return err_prefix(err, "expected the event");
	}
}

/* ---- QMP -------------------------------------------------------------------------------------- */

static int ask_once(struct trial *t, const struct step *s, int64_t deadline, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	_cleanup_qmp_ struct qmp *keeper = guest_connect(&t->guest, err);
	json_t *args = s->arguments ? json_deep_copy(s->arguments) : NULL;
	if (!keeper) {
		json_decref(args);
		return -1;
	}
	if (qmp_call(keeper, s->text, args, deadline, &reply, err) < 0) {
		if (s->error && pattern_found(s->error, err->message, strlen(err->message)))
			return 0;
		return s->error ? err_prefix(err, "expected an error that matches '%.100s', got",
					  s->error)
				: err_prefix(err, "expected a reply, got");
	}
	if (s->error) {
		_cleanup_free_ char *text = json_line(reply);
		return err_set(err, ERR_QEMU,
			"expected an error that matches '%.100s', got the reply %.200s", s->error,
			text ? text : "");
	}
	return s->wanted ? json_holds(s->wanted, reply, "reply", err) : 0;
}

static int step_qmp(struct trial *t, const struct step *s, int64_t deadline, struct err *err)
{
	int64_t until = s->retry_ms ? deadline_in(s->retry_ms) : 0;
	for (;;) {
		struct err ended = ERR_INIT;
		if (ask_once(t, s, deadline, err) == 0)
			return 0;
		if (!until || !deadline_left(until) || !deadline_left(deadline))
			return -1;
		if (trial_pause(t, NULL, deadline, &ended) < 0)
			return -1;
	}
}

/* ---- power ------------------------------------------------------------------------------------ */

static int call_keeper(
	struct trial *t, const char *command, json_t *args, int64_t deadline, struct err *err)
{
	_cleanup_qmp_ struct qmp *keeper = guest_connect(&t->guest, err);
	if (keeper)
		return qmp_call(keeper, command, args, deadline, NULL, err);
	json_decref(args);
	return -1;
}

static int step_reboot(struct trial *t, const struct step *s, int64_t deadline, struct err *err)
{
	off_t from = log_end(t, "console.log");
	json_t *args = json_pack("{s:i}", "timeout-ms", deadline_left(deadline));
	if (s->mode)
		json_object_set_new(args, "mode", json_string(s->mode));
	if (call_keeper(t, "roost-reboot", args, deadline, err) < 0)
		return err_prefix(err, "expected the guest to reboot");
	t->console_from = from;
	return smoke_climb(t, s->rung, deadline, NULL, err);
}

/* QEMU is asked, not believed: what its CPUs do is what counts. */
static int stop_or_go(struct trial *t, bool stop, int64_t deadline, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	_cleanup_qmp_ struct qmp *keeper = guest_connect(&t->guest, err);
	const char *wanted = stop ? "paused" : "running";
	if (!keeper || qmp_call(keeper, "query-status", NULL, deadline, &reply, err) < 0)
		return -1;
	const char *before = json_get_str(reply, "status", "?");
	if (!str_eq(before, stop ? "running" : "paused"))
		return err_set(err, ERR_REFUSED, "expected a guest that is %s, got one that is %s",
			stop ? "running" : "paused", before);
	if (qmp_call(keeper, stop ? "stop" : "cont", NULL, deadline, NULL, err) < 0)
		return -1;
	json_decref(TAKE(reply));
	if (qmp_call(keeper, "query-status", NULL, deadline, &reply, err) < 0)
		return -1;
	const char *after = json_get_str(reply, "status", "?");
	if (str_eq(after, wanted))
		return 0;
	return err_set(err, ERR_QEMU, "expected the guest to be %s then, got '%s'", wanted, after);
}

static int step_max_boot(const struct trial *t, const struct step *s, struct err *err)
{
	const char *rung = s->rung ? s->rung : t->reached;
	int64_t ms = json_get_int(t->boot, rung, -1);
	if (ms < 0)
		return err_set(err, ERR_QEMU,
			"expected '%s' within %.2f s, and it was not climbed to", rung,
			(double)s->within_ms / 1000);
	if (ms <= s->within_ms)
		return 0;
	return err_set(err, ERR_TIMEOUT,
		"expected '%s' within %.2f s of the start, got it after %.2f s", rung,
		(double)s->within_ms / 1000, (double)ms / 1000);
}

/* ---- all of them ------------------------------------------------------------------------------ */

int smoke_step(struct trial *t, const struct step *s, struct err *err)
{
	int64_t deadline = deadline_in(s->timeout_ms);
	switch (s->kind) {
	case STEP_RUN:
	case STEP_SCRIPT:
	case STEP_HOST:
		return step_run(t, s, deadline, err);
	case STEP_COPY:
		return step_copy(t, s, deadline, err);
	case STEP_PORT:
		return step_port(t, s, deadline, err);
	case STEP_HTTP:
		return step_http(t, s, deadline, err);
	case STEP_CONSOLE:
		return step_console(t, s, deadline, err);
	case STEP_QMP:
		return step_qmp(t, s, deadline, err);
	case STEP_EVENT:
		return step_event(t, s, deadline, err);
	case STEP_REBOOT:
		return step_reboot(t, s, deadline, err);
	case STEP_SUSPEND:
		return stop_or_go(t, true, deadline, err);
	case STEP_RESUME:
		return stop_or_go(t, false, deadline, err);
	case STEP_MAX_BOOT:
		return step_max_boot(t, s, err);
	case STEP_KIND_MAX:
		break;
	}
	return err_set(err, ERR_USAGE, "there is no such step");
}
