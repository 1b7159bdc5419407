/*
 * The ladder. An attempt is a fresh connection that climbs from the bottom as far as it gets; a
 * rung counts as reached when an attempt stood on it for the first time. What fails is tried
 * again, for a guest that boots fails in every way there is: it refuses, it is silent, it shows
 * the image's host key before cloud-init installs ours, it has no user yet. Only three failures
 * are final at once: an unknown host key, cloud-init that ended in an error, and a signal.
 *
 * A rung's own deadline runs from the moment the rung before it was reached; the total one runs
 * from the start. The rung that was never reached is the one that failed, even if later attempts
 * failed further down (a guest that reboots).
 */
#include "orchestrator/ssh_climb.h"

#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "orchestrator/ssh_dial.h"
#include "orchestrator/ssh_report.h"
#include "orchestrator/ssh_session.h"
#include "orchestrator/ssh_watch.h"
#include "orchestrator/ssh_words.h"

enum { TELL_MS = 500, PAUSE_MIN_MS = 50, PAUSE_MAX_MS = 500, EVIDENCE_MAX = 8 };
/*
 * New sshds punish an address for every login that fails and every connection that ends without
 * one (PerSourcePenalties: 5 s and 1 s, refusing it above 15 s), so after those we wait longer.
 */
enum { PAUSE_PENALTY_MIN_MS = 1000, PAUSE_PENALTY_MAX_MS = 5000 };
/* An attempt that got its banner may take so long for key exchange and login each. */
enum { STEP_MS = 15000 };
/* An attempt that failed faster than this when the deadline came was cut short by it. */
enum { CUT_SHORT_MS = 1000 };

/* Failures of one kind in a row. */
struct evidence {
	enum rung rung;
	char *text;
	int count;
	int64_t last_ms;
};

struct climb {
	const struct remote *remote;
	const struct climb_params *params;
	int64_t start, deadline;
	enum rung current; /* the lowest one not reached yet */
	int64_t current_since;
	int64_t last_told;
	struct evidence evidence[EVIDENCE_MAX]; /* the oldest first */
	size_t evidence_count;
	enum reason why;
	struct err err;
	char *quote; /* what a failed probe wrote; the last one's */
};

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Until when we may work on the current rung. */
static int64_t rung_deadline(const struct climb *c)
{
	int64_t own = c->params->deadline_ms[c->current];
	return own ? earlier(c->deadline, c->current_since + own) : c->deadline;
}

/* ---- telling ----------------------------------------------------------------------------------- */

static void tell(struct climb *c, enum rung rung, const char *state, const char *detail)
{
	_cleanup_free_ char *shown = text_shown(detail, strlen(detail));
	report(json_pack("{s:s, s:s, s:I, s:s}", "rung", rung_name(rung), "state", state, "ms",
		(json_int_t)(clock_ms() - c->start), "detail", shown));
}

static void passed(struct climb *c, enum rung rung, const char *state, const char *detail)
{
	if (rung < c->current)
		return;
	if (c->params->wanted[rung])
		tell(c, rung, state, detail);
	c->current = rung + 1;
	while (c->current < c->params->last && c->current > RUNG_LOGIN &&
		!c->params->wanted[c->current])
		c->current++;
	c->current_since = clock_ms();
}

static void reached(struct climb *c, enum rung rung, const char *detail)
{
	passed(c, rung, "reached", detail);
}

static void note_evidence(struct climb *c, enum rung rung)
{
	struct evidence *last = c->evidence_count ? &c->evidence[c->evidence_count - 1] : NULL;
	if (!last || last->rung != rung || strcmp(last->text, c->err.message) != 0) {
		if (c->evidence_count == EVIDENCE_MAX) {
			free(c->evidence[0].text);
			memmove(c->evidence, c->evidence + 1,
				sizeof(c->evidence[0]) * (EVIDENCE_MAX - 1));
			c->evidence_count--;
		}
		last = &c->evidence[c->evidence_count++];
		*last = (struct evidence){.rung = rung, .text = xstrdup(c->err.message)};
	}
	last->count++;
	last->last_ms = clock_ms() - c->start;
}

/* An attempt ended at `rung`; c->why and c->err say how. Returns -1. */
static int failed(struct climb *c, enum rung rung)
{
	note_evidence(c, rung);
	if (clock_ms() - c->last_told >= TELL_MS) {
		_cleanup_free_ char *detail =
			c->current == rung ? xstrdup(c->err.message)
					   : str_fmt("%s: %s", rung_name(rung), c->err.message);
		tell(c, c->current, "trying", detail);
		c->last_told = clock_ms();
	}
	return -1;
}

/* ---- one attempt ------------------------------------------------------------------------------- */

/* Time for one more step of this attempt, moved to the watch. */
static int64_t step_deadline(const struct climb *c)
{
	return earlier(rung_deadline(c), deadline_in(STEP_MS));
}

/*
 * `cloud-init status --wait --long` is understood by every version; --format json is not. Its exit
 * status differs between versions, its text does not. Where there is none the shell says so.
 */
static const char cloud_command[] =
	"exec sh -c 'command -v cloud-init >/dev/null 2>&1 || { echo status: not installed; exit 0; }; "
	"exec cloud-init status --wait --long'";

static int climb_cloud_init(struct climb *c, struct session *s)
{
	_cleanup_buf_ struct buf text = {0}, detail = {0};
	int status;
	watch_move(rung_deadline(c));
	if (session_run(s, cloud_command, &text, &status, &c->why, &c->err) < 0) {
		if (watch_expired())
			FAIL(&c->why, REASON_CLOUD_RUNNING, &c->err, "cloud-init is still running");
		return -1;
	}
	enum cloud_state state = cloud_status_parse(text.data ? text.data : "", text.len, &detail);
	_cleanup_free_ char *words = str_fmt("%s%s%s", cloud_state_name(state),
		detail.len ? ": " : "", detail.len ? detail.data : "");
	switch (state) {
	case CLOUD_DONE:
	case CLOUD_DEGRADED:
		reached(c, RUNG_CLOUD_INIT, words);
		return 0;
	case CLOUD_ABSENT:
	case CLOUD_DISABLED:
		passed(c, RUNG_CLOUD_INIT, "skipped", words);
		return 0;
	case CLOUD_RUNNING:
		return FAIL(&c->why, REASON_CLOUD_RUNNING, &c->err, "cloud-init: %s", words);
	default:
		return FAIL(&c->why, REASON_CLOUD_ERROR, &c->err, "cloud-init: %s (exit status %d)",
			words, status);
	}
}

static int climb_probes(struct climb *c, struct session *s)
{
	json_t *probe;
	size_t i;
	json_array_foreach (c->params->probes, i, probe) {
		_cleanup_buf_ struct buf tail = {0};
		const char *command = json_string_value(probe);
		int status;
		watch_move(rung_deadline(c));
		if (session_run(s, command, &tail, &status, &c->why, &c->err) < 0)
			return watch_expired() ? FAIL(&c->why, REASON_PROBE, &c->err,
							 "the probe '%.200s' does not end", command)
					       : -1;
		if (status == 0)
			continue;
		free(c->quote);
		c->quote = text_shown(tail.data ? tail.data : "", tail.len);
		return FAIL(&c->why, REASON_PROBE, &c->err,
			"the probe '%.200s' ended with status %d", command, status);
	}
	_cleanup_free_ char *detail = str_fmt("%zu passed", json_array_size(c->params->probes));
	reached(c, RUNG_PROBES, detail);
	return 0;
}

/* From a logged-in session on. */
static int climb_inside(struct climb *c, struct session *s)
{
	if (c->current == RUNG_CLOUD_INIT && c->params->last >= RUNG_CLOUD_INIT &&
		climb_cloud_init(c, s) < 0)
		return failed(c, RUNG_CLOUD_INIT);
	if (c->params->last >= RUNG_PROBES && climb_probes(c, s) < 0)
		return failed(c, RUNG_PROBES);
	return 0;
}

static int climb_session(struct climb *c, int fd)
{
	_cleanup_free_ char *key = NULL, *method = NULL;
	_cleanup_session_ struct session *s =
		session_start(fd, step_deadline(c), c->remote, &c->why, &c->err);
	if (!s || session_check_host(s, c->remote, &key, &c->why, &c->err) < 0)
		return failed(c, RUNG_HOST_KEY);
	reached(c, RUNG_HOST_KEY, key);
	if (c->params->last == RUNG_HOST_KEY)
		return 0;
	watch_move(step_deadline(c));
	if (session_login(s, c->remote, &method, &c->why, &c->err) < 0)
		return failed(c, RUNG_LOGIN);
	reached(c, RUNG_LOGIN, method);
	return c->params->last == RUNG_LOGIN ? 0 : climb_inside(c, s);
}

static int attempt(struct climb *c, struct dialer *d)
{
	struct banner_text banner;
	if (dial_connect(d, rung_deadline(c), &c->why, &c->err) < 0)
		return failed(c, RUNG_TCP);
	reached(c, RUNG_TCP, "accepts connections");
	if (c->params->last == RUNG_TCP)
		return 0;
	_cleanup_close_ int fd = dial_listen(d, rung_deadline(c), &banner, &c->why, &c->err);
	if (fd < 0)
		return failed(c, RUNG_BANNER);
	reached(c, RUNG_BANNER, banner.shown);
	return c->params->last == RUNG_BANNER ? 0 : climb_session(c, TAKE_FD(fd));
}

/* ---- attempts ---------------------------------------------------------------------------------- */

static bool is_final(const struct climb *c)
{
	return c->why == REASON_KEY_UNKNOWN || c->why == REASON_CLOUD_ERROR || watch_signal();
}

/* Between attempts: longer each time, until the next rung is reached. */
static void pause_after(struct climb *c, int64_t *pause)
{
	bool penalty = c->why == REASON_LOGIN_REFUSED || c->why == REASON_KEY_MISMATCH ||
		       c->why == REASON_TURNED_AWAY;
	int64_t least = penalty ? PAUSE_PENALTY_MIN_MS : PAUSE_MIN_MS;
	int64_t most = penalty ? PAUSE_PENALTY_MAX_MS : PAUSE_MAX_MS;
	int64_t ms = *pause < least ? least : *pause > most ? most : *pause;
	/* silence was waited for already */
	if (c->why == REASON_SILENT || c->why == REASON_DRIBBLE)
		ms = PAUSE_MIN_MS;
	poll(NULL, 0, deadline_left(earlier(deadline_in(ms), rung_deadline(c))));
	*pause = ms * 3 / 2;
}

static json_t *evidence_list(const struct climb *c)
{
	json_t *list = json_array();
	for (size_t i = 0; i < c->evidence_count; i++) {
		const struct evidence *e = &c->evidence[i];
		_cleanup_free_ char *times =
			e->count > 1 ? str_fmt("%d times, last ", e->count) : NULL;
		_cleanup_free_ char *text = str_fmt("%s: %s (%safter %lld ms)", rung_name(e->rung),
			e->text, times ? times : "", (long long)e->last_ms);
		_cleanup_free_ char *shown = text_shown(text, strlen(text));
		json_array_append_new(list, json_string(shown));
	}
	if (c->quote && *c->quote) {
		_cleanup_free_ char *text = str_fmt("the probe wrote: %s", c->quote);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

static int give_up(struct climb *c)
{
	/* "gone" is for what was there; this was waited for */
	enum err_kind kind = reason_kind(c->why);
	kind = kind == ERR_GONE || kind == ERR_BUSY ? ERR_TIMEOUT : kind;
	struct err last = c->err;
	_cleanup_free_ char *shown = text_shown(last.message, strlen(last.message));
	err_set(&c->err, kind, "%s not reached after %lld ms: %s", rung_name(c->current),
		(long long)(clock_ms() - c->start), shown);
	if (last.hint[0])
		err_hint(&c->err, "%s", last.hint);
	report(json_pack("{s:o, s:s, s:s, s:o, s:s}", "error", json_from_err(&c->err), "rung",
		rung_name(c->current), "reason", reason_word(c->why), "evidence", evidence_list(c),
		"cause", reason_cause(c->why)));
	return err_exit_code(kind);
}

static void climb_end(struct climb *c)
{
	for (size_t i = 0; i < c->evidence_count; i++)
		free(c->evidence[i].text);
	free(c->quote);
}

/*
 * The same, but an attempt that the deadline cut short tells nothing: what the one before it met
 * stays the reason.
 */
static int whole_attempt(struct climb *c, struct dialer *d)
{
	enum reason why = c->why;
	struct err err = c->err;
	int64_t begin = clock_ms();
	if (attempt(c, d) == 0)
		return 0;
	if (why != REASON_NONE && !deadline_left(rung_deadline(c)) &&
		clock_ms() - begin < CUT_SHORT_MS) {
		c->why = why;
		c->err = err;
	}
	return -1;
}

int climb(const struct remote *r, const struct climb_params *p)
{
	int64_t now = clock_ms(), pause = 0;
	_cleanup_(climb_end) struct climb c = {.remote = r,
		.params = p,
		.start = now,
		.deadline = now + p->total_ms,
		.current_since = now};
	_cleanup_(dialer_end) struct dialer d = DIALER(r);
	for (;;) {
		enum rung before = c.current;
		if (whole_attempt(&c, &d) == 0)
			break;
		if (c.current > before)
			pause = 0;
		if (!is_final(&c))
			pause_after(&c, &pause);
		if (is_final(&c) || !deadline_left(rung_deadline(&c)))
			return give_up(&c);
	}
	report(json_pack("{s:s, s:s, s:I}", "state", "reached", "rung", rung_name(p->last), "ms",
		(json_int_t)(clock_ms() - c.start)));
	return 0;
}
