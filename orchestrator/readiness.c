#include "orchestrator/readiness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/sock.h"
#include "orchestrator/network.h"
#include "orchestrator/paths.h"
#include "orchestrator/reach.h"
#include "orchestrator/record.h"
#include "orchestrator/ssh_child.h"

enum { TOTAL_MS = 300000, LOOK_EVERY_MS = 50, ASK_MS = 500 };
enum { CONSOLE_LINES = 6, CONSOLE_TAIL = 4096 };

/* Everything a climb needs, as it is now. */
struct climb {
	const struct found *guest;
	struct readiness *r;
	struct definition *def;
	struct status status;
	struct qmp *keeper;
	int64_t deadline; /* of all */
	char detail[64];  /* of the rung just climbed */
};

typedef int rung_fn(struct climb *c, int64_t deadline, struct err *err);
static rung_fn climb_process, climb_qmp, climb_running, climb_console, climb_address;

static const struct {
	const char *name;
	int64_t ms;     /* its own deadline, if the definition names none */
	rung_fn *climb; /* NULL: by roost-ssh */
} rungs[] = {
	{"process", 10000, climb_process},
	{"qmp", 10000, climb_qmp},
	{"running", 10000, climb_running},
	{"console", 60000, climb_console},
	{"address", 240000, climb_address},
	{"tcp", 240000, NULL},
	{"banner", 240000, NULL},
	{"hostkey", 60000, NULL},
	{"login", 60000, NULL},
	{"cloud-init", 300000, NULL},
	{"probes", 120000, NULL},
};

static size_t rung_index(const char *name)
{
	size_t i = 0;
	while (i < ARRAY_SIZE(rungs) && !str_eq(rungs[i].name, name))
		i++;
	return i;
}

const char *readiness_rung(size_t i)
{
	return i < ARRAY_SIZE(rungs) ? rungs[i].name : NULL;
}

int readiness_check_rung(const char *rung, struct err *err)
{
	if (rung_index(rung) < ARRAY_SIZE(rungs))
		return 0;
	err_set(err, ERR_USAGE, "there is no rung '%s'", rung);
	return err_hint(err,
		"the rungs are process, qmp, running, console, address, tcp, banner, hostkey, login, cloud-init, probes");
}

/*
 * What the definition names for this rung holds. Our own guess does not for what the guest's system does, where the caller grants
 * more for all together: a system of some size, emulated on a busy host, takes minutes for one rung.
 */
static int64_t rung_ms(const struct climb *c, size_t i)
{
	int64_t guess = i < rung_index("address") ? 0 : c->r->timeout_ms;
	return json_get_int(c->def->ready.deadlines_ms, rungs[i].name,
		guess > rungs[i].ms ? guess : rungs[i].ms);
}

/* ---- what is told ---------------------------------------------------------------------------------- */

static void reached(struct climb *c, const char *rung, const char *detail)
{
	struct err ignored = ERR_INIT;
	int64_t ms = clock_ms() - c->status.started;
	/* what the keeper saw itself it saw first */
	ms = json_get_int(c->status.timeline, rung, ms);
	c->r->reached = rungs[rung_index(rung)].name;
	if (c->keeper && !qmp_gone(c->keeper))
		qmp_call(c->keeper, "roost-rung",
			json_pack("{s:s, s:I}", "rung", rung, "ms", (json_int_t)ms),
			deadline_in(QMP_BLOCK_MS), NULL, &ignored);
	if (c->r->tell)
		c->r->tell(rung, ms, detail);
}

static void add_evidence(struct readiness *r, const char *text)
{
	if (r->evidence_count < EVIDENCE_MAX && text[0])
		r->evidence[r->evidence_count++] = xstrdup(text);
}

/* The console's last lines say more than any error of ours. */
static void add_console(struct climb *c)
{
	char tail[CONSOLE_TAIL + 1];
	struct err ignored = ERR_INIT;
	_cleanup_close_ int dir = guest_dir_open(c->guest->name, &ignored);
	_cleanup_close_ int fd =
		dir < 0 ? -1 : openat(dir, "console.log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	off_t from = end - CONSOLE_TAIL > c->status.console_from ? end - CONSOLE_TAIL
								 : c->status.console_from;
	ssize_t n = end > from ? pread(fd, tail, CONSOLE_TAIL, from) : 0;
	char *lines[CONSOLE_LINES] = {NULL}, *save = NULL;
	size_t count = 0;
	tail[n > 0 ? n : 0] = '\0';
	for (char *line = strtok_r(tail, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save))
		lines[count++ % CONSOLE_LINES] = line;
	for (size_t i = count > CONSOLE_LINES ? count - CONSOLE_LINES : 0; i < count; i++) {
		_cleanup_free_ char *text = str_fmt("console: %s", lines[i % CONSOLE_LINES]);
		add_evidence(c->r, text);
	}
}

/* `err` becomes the one sentence: rung, time, cause. */
static int failed(struct climb *c, const char *rung, struct err *err)
{
	struct err why = *err;
	char hint[sizeof(why.hint)];
	memcpy(hint, why.hint, sizeof(hint));
	snprintf(c->r->failed_rung, sizeof(c->r->failed_rung), "%s", rung);
	if (!c->r->cause[0])
		snprintf(c->r->cause, sizeof(c->r->cause), "%.255s", why.message);
	add_console(c);
	err_set(err, why.kind, "guest '%s' did not reach '%s': %s", c->guest->name, rung,
		c->r->cause);
	return hint[0] ? err_hint(err, "%s", hint)
		       : err_hint(err, "`roost console %s` and `roost timeline %s` tell more",
				 c->guest->name, c->guest->name);
}

/* ---- the rungs below SSH ---------------------------------------------------------------------------- */

static int look(struct climb *c, struct err *err)
{
	struct status s = {0};
	if (guest_look(c->guest, &s, err) < 0)
		return -1;
	status_free(&c->status);
	c->status = s;
	if (s.number)
		return 0;
	return err_set(err, ERR_GONE, "it is %s%s%s", guest_state_name(s.state),
		s.reason[0] ? ": " : "", s.reason);
}

static int keeper_fd(const struct climb *c)
{
	return c->keeper ? qmp_fd(c->keeper) : -1;
}

/* A keeper that has died has a successor: it is told of the rungs that are yet to come. */
static void keep_connected(struct climb *c)
{
	struct err ignored = ERR_INIT;
	if (c->keeper && !qmp_gone(c->keeper))
		return;
	qmp_close(c->keeper);
	c->keeper = guest_connect(c->guest, &ignored);
}

/* Waits for anything to happen at the keeper, a short while at most: then things are looked at. */
static void wait_a_little(struct climb *c, int64_t deadline)
{
	struct err ignored = ERR_INIT;
	json_t *event;
	int64_t next = deadline_in(LOOK_EVERY_MS);
	struct pollfd p = {.fd = keeper_fd(c), .events = POLLIN};
	poll(&p, 1, deadline_left(next < deadline ? next : deadline));
	if (c->keeper) {
		qmp_pump(c->keeper, &ignored);
		while ((event = qmp_next_event(c->keeper)))
			json_decref(event);
	}
	keep_connected(c);
}

static int climb_process(struct climb *c, int64_t deadline, struct err *err)
{
	struct proc p = PROC_NONE;
	(void)deadline;
	if (proc_open_known(c->status.qemu_pid, c->status.qemu_start, &p, err) < 0)
		return err_set(err, ERR_GONE, "its QEMU has ended");
	proc_close(&p);
	return 0;
}

static int climb_qmp(struct climb *c, int64_t deadline, struct err *err)
{
	c->keeper = guest_connect(c->guest, err);
	if (!c->keeper)
		return -1;
	while (c->status.state == GUEST_STARTING || c->status.state == GUEST_UNRESPONSIVE) {
		if (!deadline_left(deadline))
			return err_set(err, ERR_TIMEOUT, "QEMU does not answer");
		wait_a_little(c, deadline);
		if (look(c, err) < 0)
			return -1;
	}
	return 0;
}

static int climb_running(struct climb *c, int64_t deadline, struct err *err)
{
	while (c->status.state != GUEST_RUNNING) {
		if (c->status.state == GUEST_PAUSED && c->status.paused_start)
			return err_set(err, ERR_REFUSED,
				"its CPUs are stopped: it was started with --paused");
		if (!deadline_left(deadline))
			return err_set(err, ERR_TIMEOUT, "it is %s%s%s",
				guest_state_name(c->status.state), c->status.reason[0] ? ": " : "",
				c->status.reason);
		wait_a_little(c, deadline);
		if (look(c, err) < 0)
			return -1;
	}
	return 0;
}

static int climb_console(struct climb *c, int64_t deadline, struct err *err)
{
	_cleanup_close_ int dir = guest_dir_open(c->guest->name, err);
	_cleanup_close_ int fd =
		dir < 0 ? -1 : openat(dir, "console.log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_errno(err, "it has no console");
	while (lseek(fd, 0, SEEK_END) <= c->status.console_from) {
		if (!deadline_left(deadline))
			return err_set(err, ERR_TIMEOUT, "it writes nothing on its serial console");
		wait_a_little(c, deadline);
		if (look(c, err) < 0)
			return -1;
	}
	return 0;
}

/*
 * Does anybody answer there, be it by refusing? An address is known long before its guest has it, and a lease may be
 * one of an earlier boot.
 */
static bool answers(const struct reach *r, int64_t deadline)
{
	struct err ignored = ERR_INIT;
	int64_t own = deadline_in(ASK_MS);
	int number = ETIMEDOUT;
	socklen_t len = sizeof(number);
	_cleanup_close_ int fd = reach_begin(r, &ignored);
	if (fd < 0 || fd_wait(fd, POLLOUT, own < deadline ? own : deadline) <= 0 ||
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &len) < 0)
		return false;
	return number == 0 || number == ECONNREFUSED;
}

static int no_address(const struct climb *c, const struct reach *r, struct err *err)
{
	struct network n;
	struct err ignored = ERR_INIT;
	if (network_load(r->network, &n, &ignored) == 0 && !network_active(&n)) {
		err_set(err, ERR_TIMEOUT, "network '%s' is not active", n.name);
		return err_hint(err, "`roost net-start %s`", n.name);
	}
	err_set(err, ERR_TIMEOUT, "nobody answers at its address %s", r->address);
	return err_hint(err,
		"does its system ask for an address by DHCP? `roost net-dhcp-leases %s` and `roost console %s` tell",
		r->network, c->guest->name);
}

static int climb_address(struct climb *c, int64_t deadline, struct err *err)
{
	struct reach r;
	for (;;) {
		struct err why = ERR_INIT;
		int found = reach_find(c->def, &c->status, SSH_PORT, &r, &why);
		if (found < 0 && why.kind != ERR_TIMEOUT) {
			*err = why;
			return -1;
		}
		if (found == 0 && (!r.network[0] || answers(&r, deadline)))
			break;
		if (!deadline_left(deadline)) {
			*err = why;
			return found < 0 ? -1 : no_address(c, &r, err);
		}
		wait_a_little(c, deadline);
		if (look(c, err) < 0)
			return -1;
	}
	if (r.network[0])
		snprintf(c->detail, sizeof(c->detail), "%s", r.address);
	return 0;
}

/* ---- the rungs of roost-ssh ------------------------------------------------------------------------- */

static json_t *climb_params(struct climb *c, size_t first, size_t last, struct err *err)
{
	json_t *params = ssh_params(c->def, &c->status, NULL, err);
	json_t *names = json_array(), *deadlines = json_object(), *probes = json_array();
	for (size_t i = first; i <= last; i++) {
		json_array_append_new(names, json_string(rungs[i].name));
		json_object_set_new(deadlines, rungs[i].name, json_integer(rung_ms(c, i)));
	}
	for (size_t i = 0; i < c->def->ready.probe_count; i++)
		json_array_append_new(probes, json_string(c->def->ready.probes[i]));
	json_t *more = json_pack("{s:o, s:o, s:o, s:i}", "rungs", names, "deadlines_ms", deadlines,
		"probes", probes, "total_ms", deadline_left(c->deadline));
	if (params)
		json_object_update(params, more);
	json_decref(more);
	return params;
}

/* A line of roost-ssh's. 1: go on; 0: the end, reached; -1: the end, failed. */
static int take_line(struct climb *c, const char *text, size_t len, struct err *err)
{
	_cleanup_json_ json_t *line = json_text_parse(text, len, err);
	const char *rung = json_get_str(line, "rung", ""), *state = json_get_str(line, "state", "");
	json_t *error = json_object_get(line, "error"), *item;
	size_t i;
	if (!line)
		return -1;
	if (error) {
		json_to_err(error, err);
		snprintf(c->r->cause, sizeof(c->r->cause), "%s",
			json_get_str(line, "cause", err->message));
		json_array_foreach (json_object_get(line, "evidence"), i, item)
			if (json_is_string(item))
				add_evidence(c->r, json_string_value(item));
		return failed(c, rung[0] ? rung : "tcp", err);
	}
	if (!json_object_get(line, "detail"))
		return str_eq(state, "reached") ? 0 : 1;
	if (str_eq(state, "reached") && rung_index(rung) < ARRAY_SIZE(rungs))
		reached(c, rung, json_get_str(line, "detail", ""));
	else if (str_eq(state, "skipped") && c->r->tell)
		c->r->tell(rung, -1, json_get_str(line, "detail", ""));
	return 1;
}

static int take_lines(struct climb *c, struct child *child, struct buf *text, struct err *err)
{
	buf_reserve(text, 8192);
	ssize_t n = read(child->out, text->data + text->len, 8192);
	if (n == 0)
		return err_set(err, ERR_SYSTEM, "roost-ssh ended without a word"),
		       failed(c, "tcp", err);
	if (n < 0)
		return 1;
	text->len += (size_t)n;
	text->data[text->len] = '\0';
	for (char *end; (end = memchr(text->data, '\n', text->len));) {
		int more = take_line(c, text->data, (size_t)(end - text->data), err);
		if (more <= 0)
			return more;
		buf_drop(text, (size_t)(end - text->data) + 1);
	}
	return 1;
}

static int climb_ssh(struct climb *c, size_t first, size_t last, struct err *err)
{
	_cleanup_(child_end) struct child child = CHILD_NONE;
	_cleanup_buf_ struct buf text = {0};
	json_t *params = climb_params(c, first, last, err);
	if (!params || ssh_start("climb", params, &child, err) < 0)
		return failed(c, rungs[first].name, err);
	for (int more = 1; more > 0;) {
		struct pollfd fds[] = {{.fd = child.out, .events = POLLIN},
			{.fd = keeper_fd(c), .events = POLLIN}};
		poll(fds, ARRAY_SIZE(fds), 1000);
		wait_a_little(c, deadline_in(0));
		if (fds[0].revents)
			more = take_lines(c, &child, &text, err);
		if (more <= 0)
			return more;
		if (look(c, err) < 0) {
			size_t at = c->r->reached ? rung_index(c->r->reached) + 1 : first;
			return failed(c, rungs[at > last ? last : at].name, err);
		}
		/* roost-ssh bounds itself; this is for one that does not */
		if (!deadline_left(c->deadline + 5000))
			return err_set(err, ERR_TIMEOUT, "roost-ssh does not end"),
			       failed(c, rungs[first].name, err);
	}
	return 0;
}

/* ---- the ladder ------------------------------------------------------------------------------------- */

static const char *best_rung(const struct definition *d)
{
	if (d->ready.rung)
		return d->ready.rung;
	if (reach_defined(d, 22) && d->issued.host_key && d->cloud_init.enabled)
		return d->ready.probe_count ? "probes" : "login";
	return d->console_count ? "console" : "running";
}

static int climb_all(struct climb *c, size_t last, struct err *err)
{
	size_t i = 0;
	for (; i <= last && rungs[i].climb; i++) {
		int64_t own = deadline_in(rung_ms(c, i));
		if (str_eq(rungs[i].name, "console") && !c->def->console_count)
			continue; /* none to speak on; the rungs above may still be climbed */
		c->detail[0] = '\0';
		if (rungs[i].climb(c, own < c->deadline ? own : c->deadline, err) < 0)
			return failed(c, rungs[i].name, err);
		reached(c, rungs[i].name, c->detail);
	}
	return i <= last ? climb_ssh(c, i, last, err) : 0;
}

int readiness_climb(const struct found *f, struct readiness *r, struct err *err)
{
	struct climb c = {.guest = f, .r = r, .def = record_read(f->name, err)};
	if (!c.def)
		return -1;
	const char *rung = r->rung ? r->rung : best_rung(c.def);
	int64_t ms = r->timeout_ms             ? r->timeout_ms
		     : c.def->ready.timeout_ms ? c.def->ready.timeout_ms
					       : TOTAL_MS;
	c.deadline = deadline_in(ms);
	int result = look(&c, err);
	if (result < 0) {
		err_set(err, ERR_REFUSED, "guest '%s' is not running", f->name);
		err_hint(err, "`roost start %s` starts it", f->name);
	} else {
		result = climb_all(&c, rung_index(rung), err);
	}
	qmp_close(c.keeper);
	status_free(&c.status);
	definition_free(c.def);
	return result;
}

void readiness_free(struct readiness *r)
{
	for (size_t i = 0; i < r->evidence_count; i++)
		free(r->evidence[i]);
	r->evidence_count = 0;
}
