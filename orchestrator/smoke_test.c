/* One test: from a definition to a verdict. In a process of its own, which the runner may kill. */
#include "orchestrator/smoke.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "orchestrator/paths.h"
#include "orchestrator/readiness.h"
#include "orchestrator/record.h"
#include "orchestrator/smoke_steps.h"
#include "orchestrator/guest_text.h"

enum { TAIL_LINES = 10, TAIL_BYTES = 4096 };

/* ---- telling ---------------------------------------------------------------------------------- */

static int told_to = -1; /* the runner's pipe, for readiness's callback, which is given nothing */

static void tell(json_t *line)
{
	_cleanup_json_ json_t *owned = line;
	_cleanup_free_ char *text = json_line(owned);
	_cleanup_free_ char *whole = str_fmt("%s\n", text ? text : "{}");
	write_all(told_to, whole, strlen(whole));
}

static void tell_rung(const char *rung, int64_t ms, const char *detail)
{
	(void)detail;
	if (ms >= 0)
		tell(json_pack("{s:s, s:s}", "at", "boot", "rung", rung));
}

static json_t *utf8(const char *text)
{
	_cleanup_free_ char *clean = text_utf8(text, strlen(text));
	return json_string(clean);
}

json_t *smoke_console_tail(const char *guest)
{
	char tail[TAIL_BYTES];
	struct err ignored = ERR_INIT;
	json_t *lines = json_array();
	_cleanup_close_ int dir = guest_dir_open(guest, &ignored);
	_cleanup_close_ int fd =
		dir < 0 ? -1 : openat(dir, "console.log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	off_t from = end > TAIL_BYTES ? end - TAIL_BYTES : 0;
	ssize_t n = end > 0 ? pread(fd, tail, TAIL_BYTES, from) : 0;
	size_t len = n > 0 ? (size_t)n : 0;
	for (size_t i = 0; i < len;) {
		size_t rest = len - i;
		const char *new_line = memchr(tail + i, '\n', rest);
		size_t line = new_line ? (size_t)(new_line - tail) - i : rest, shown = line;
		while (shown && strchr("\r", tail[i + shown - 1]))
			shown--;
		_cleanup_free_ char *clean = text_utf8(tail + i, shown);
		if (shown)
			json_array_append_new(lines, json_string(clean));
		if (json_array_size(lines) > TAIL_LINES)
			json_array_remove(lines, 0);
		i += line + 1;
	}
	return lines;
}

static void tell_verdict(const struct trial *t, enum verdict verdict, const char *at,
	json_t *evidence, const struct err *err)
{
	json_t *line = json_pack("{s:s, s:s}", "verdict", verdict_name(verdict), "at", at);
	json_object_set_new(line, "sentence", utf8(err->message));
	if (err->hint[0])
		json_object_set_new(line, "hint", utf8(err->hint));
	json_object_set_new(line, "console",
		evidence ? json_incref(evidence) : smoke_console_tail(t->guest.name));
	tell(line);
}

/* ---- the guest -------------------------------------------------------------------------------- */

static int define(struct trial *t, const char *guest, const char *runner, struct err *err)
{
	struct err none = ERR_INIT;
	/* to define one that is there is to change it */
	if (guest_find(guest, &t->guest, &none) == 0)
		return err_set(err, ERR_BUSY, "there is a guest '%s' already", guest);
	json_t *definition = definition_to_json(t->test->def);
	json_object_set_new(definition, "name", json_string(guest));
	json_object_set_new(definition, "runner", json_string(runner));
	if (supervisor_call(
		    "roost-define", json_pack("{s:o}", "definition", definition), NULL, err) < 0 ||
		guest_find(guest, &t->guest, err) < 0)
		return -1;
	t->def = record_read(guest, err);
	return t->def ? 0 : -1;
}

static int start(const char *guest, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	if (supervisor_start(guest, false, &reply, err) < 0)
		return -1;
	tell(json_pack("{s:s}", "accel", json_get_str(reply, "accel-said", "")));
	return 0;
}

/*
 * A guest that was not even started: is the host to blame? Not for what the suite asks for (a machine
 * that this QEMU does not know), but for what it lacks: KVM, memory, a roostd that answers.
 */
static enum verdict verdict_of(const struct err *err)
{
	if (err->kind == ERR_QEMU)
		return strstr(err->message, "Cannot allocate memory") ? VERDICT_HOST
								      : VERDICT_FAILED;
	return err->kind == ERR_USAGE || err->kind == ERR_NOT_FOUND ? VERDICT_FAILED : VERDICT_HOST;
}

/* What the climb found; its own evidence knows more than the console's tail. */
int smoke_climb(
	struct trial *t, const char *rung, int64_t deadline, json_t **evidence, struct err *err)
{
	struct readiness r = {.rung = rung, .tell = tell_rung};
	struct status s = {0};
	int64_t own = t->def->ready.timeout_ms, left = deadline_left(deadline);
	r.timeout_ms = own && own < left ? own : left ? left : 1;
	int result = readiness_climb(&t->guest, &r, err);
	if (result < 0 && r.evidence_count && evidence) {
		*evidence = json_array();
		for (size_t i = 0; i < r.evidence_count; i++)
			json_array_append_new(*evidence, utf8(r.evidence[i]));
	}
	if (result == 0 && guest_look(&t->guest, &s, err) == 0) {
		json_decref(t->boot);
		t->boot = json_incref(s.timeline);
		t->reached = r.reached;
		status_free(&s);
	}
	readiness_free(&r);
	return result;
}

static int do_steps(struct trial *t, struct err *err)
{
	for (size_t i = 0; i < t->test->step_count; i++) {
		const struct step *s = &t->test->steps[i];
		int64_t began = clock_ms();
		tell(json_pack("{s:s, s:i, s:i}", "at", s->label, "step", (int)i + 1, "of",
			(int)t->test->step_count));
		if (smoke_step(t, s, err) < 0) {
			err_prefix(err, "step %zu, %s", i + 1, s->label);
			tell_verdict(t, VERDICT_FAILED, s->label, NULL, err);
			return -1;
		}
		tell(json_pack(
			"{s:s, s:I}", "done", s->label, "ms", (json_int_t)(clock_ms() - began)));
	}
	return 0;
}

void smoke_test(const struct test *test, const char *guest, const char *runner, int out)
{
	struct err err = ERR_INIT;
	/* the runner ends a test that takes too long; a boot still finds the time to say why */
	int64_t boot = deadline_in(test->timeout_ms - test->timeout_ms / 20);
	struct trial t = {.test = test, .out = out};
	_cleanup_json_ json_t *evidence = NULL;
	told_to = out;
	snprintf(t.guest.name, sizeof(t.guest.name), "%s", guest);
	if (define(&t, guest, runner, &err) < 0) {
		err_prefix(&err, "define");
		tell_verdict(&t, verdict_of(&err), "define", NULL, &err);
	} else if (start(guest, &err) < 0) {
		err_prefix(&err, "start");
		tell_verdict(&t, verdict_of(&err), "start", NULL, &err);
	} else if (smoke_climb(&t, NULL, boot, &evidence, &err) < 0) {
		err_prefix(&err, "boot");
		tell_verdict(&t, VERDICT_FAILED, "boot", evidence, &err);
	} else if (do_steps(&t, &err) == 0) {
		tell(json_pack("{s:s}", "verdict", verdict_name(VERDICT_PASSED)));
	}
	json_decref(t.boot);
	definition_free(t.def);
}
