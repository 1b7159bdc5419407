/*
 * All tests: so many at a time, each in a child.
 *
 * A slot holds a test while its process runs, and then a second process that removes the guest. So
 * whatever ends the first one (its verdict, its time, ^C, a fault of ours), the same code cleans up
 * behind it. Each child leads a process group of its own: ^C at the terminal reaches the runner
 * alone, and a test is killed together with the programs that it started.
 */
#include "orchestrator/smoke.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/signals.h"
#include "base/sock.h"
#include "orchestrator/connect.h"
#include "orchestrator/paths.h"
#include "orchestrator/guest_text.h"

enum {
	JOBS_PER_CPU = 4,
	DRAW_MS = 200,
	LINE_MAX_BYTES = 1024 * 1024,
	REAP_MS = 5000,
	OVERHEAD = 64 * 1024 * 1024, /* of a QEMU, beside the guest's memory */
};

struct slot {
	const struct test *test; /* NULL: free */
	struct outcome *outcome;
	bool cleaning; /* its second process */
	bool late;     /* killed, as its time was over */
	struct child child;
	struct buf text; /* what of its lines has come */
	int64_t began, deadline;
	char at[96];
	unsigned step, of;
};

struct runner {
	const struct suite *suite;
	const struct smoke_options *how;
	struct outcome *outcomes;
	char self[80], prefix[16];
	struct slot *slots;
	size_t jobs, next, done, all;
	uint64_t memory; /* that guests may have together */
	int signals;     /* signalfd */
	int signal;
	const char *stopped; /* why no further test begins; NULL */
	bool out_of_time;    /* that is why: who ran then has failed */
	bool live;
	bool said_accel;
};

bool smoke_matches(const struct test *t, const char *pattern)
{
	_cleanup_free_ char *anywhere = str_fmt("*%s*", pattern ? pattern : "");
	return fnmatch(anywhere, t->name, 0) == 0;
}

/* ---- what the host can bear ------------------------------------------------------------------- */

static size_t cpus(void)
{
	cpu_set_t set;
	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (size_t)CPU_COUNT(&set) : 1;
}

/* Bytes that the kernel thinks can be had without swapping. */
static uint64_t free_memory(void)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	unsigned long long kib = 0;
	if (file_read(AT_FDCWD, "/proc/meminfo", 65536, &text, &ignored) < 0)
		return UINT64_MAX;
	const char *line = strstr(text.data, "MemAvailable:");
	return line && sscanf(line, "MemAvailable: %llu", &kib) == 1 ? (uint64_t)kib * 1024
								     : UINT64_MAX;
}

static size_t jobs_of(const struct smoke_options *how)
{
	size_t count = cpus();
	if (!how->jobs)
		return count;
	if (how->jobs <= count * JOBS_PER_CPU)
		return how->jobs;
	fprintf(stderr, "roost: -j %u is more than %zu CPUs bear: %zu tests at a time\n", how->jobs,
		count, count * JOBS_PER_CPU);
	return count * JOBS_PER_CPU;
}

static int check_host(struct err *err)
{
	if (access(qemu_path(), X_OK) < 0) {
		err_errno(err, "cannot run QEMU, '%s'", qemu_path());
		return err_hint(err, "install the package qemu-system-x86, or set ROOST_QEMU");
	}
	struct qmp *q = supervisor_connect(err);
	qmp_close(q);
	return q ? 0 : -1;
}

/* ---- processes -------------------------------------------------------------------------------- */

static void guest_name(const struct runner *r, const struct slot *s, char out[64])
{
	size_t number = (size_t)(s->test - r->suite->tests) + 1;
	snprintf(out, 64, "%s-%zu-%s", r->prefix, number, s->test->name);
	out[strcspn(out, "/")] = '\0';
}

static void remove_guest(const char *guest, int out)
{
	struct err err = ERR_INIT;
	if (smoke_remove(guest, &err) == 0)
		return;
	_cleanup_free_ char *clean = text_utf8(err.message, strlen(err.message));
	_cleanup_json_ json_t *line = json_pack("{s:s}", "left", clean);
	_cleanup_free_ char *text = json_line(line), *whole = str_fmt("%s\n", text);
	write_all(out, whole, strlen(whole));
}

static _Noreturn void child_main(
	const struct runner *r, const struct slot *s, pid_t parent, int out)
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	setpgid(0, 0);
	/* a test must not outlive a runner that is killed; what is being removed may go on */
	if (!s->cleaning && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
		_exit(1);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (s->cleaning)
		remove_guest(s->outcome->guest, out);
	else
		smoke_test(s->test, s->outcome->guest, r->self, out);
	_exit(0);
}

static int start_child(struct runner *r, struct slot *s, struct err *err)
{
	int ends[2];
	pid_t parent = getpid();
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	_cleanup_close_ int in = ends[0], out = ends[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "cannot fork");
	if (pid == 0)
		child_main(r, s, parent, out);
	setpgid(pid, pid);
	s->child = CHILD_NONE;
	s->child.proc = (struct proc){.pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0)};
	fd_set_nonblocking(in, 1);
	s->child.out = TAKE_FD(in);
	return 0;
}

/* Together with what it started; it is not reaped yet, so that the number is still its own. */
static void kill_child(struct slot *s)
{
	if (s->child.proc.pid > 0)
		kill(-s->child.proc.pid, SIGKILL);
}

/* ---- outcomes --------------------------------------------------------------------------------- */

static void conclude(struct slot *s, enum verdict verdict, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void conclude(struct slot *s, enum verdict verdict, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	free(s->outcome->sentence);
	s->outcome->verdict = verdict;
	s->outcome->sentence = text_utf8(text, strlen(text));
	if (verdict == VERDICT_SKIPPED || s->outcome->console)
		return;
	s->outcome->failed_at = xstrdup(s->at);
	s->outcome->console = smoke_console_tail(s->outcome->guest);
}

static void stop_all(struct runner *r, const char *why)
{
	if (r->stopped)
		return;
	r->stopped = why;
	for (size_t i = 0; i < r->jobs; i++)
		if (r->slots[i].test && !r->slots[i].cleaning)
			kill_child(&r->slots[i]);
}

static enum verdict verdict_of(const char *word)
{
	for (enum verdict v = VERDICT_PASSED; v < VERDICT_MAX; v++)
		if (str_eq(word, verdict_name(v)))
			return v;
	return VERDICT_HOST;
}

static void take_verdict(struct slot *s, const json_t *line)
{
	struct outcome *o = s->outcome;
	o->verdict = verdict_of(json_get_str(line, "verdict", ""));
	o->sentence = xstrdup(json_get_str(line, "sentence", NULL));
	o->hint = xstrdup(json_get_str(line, "hint", NULL));
	o->failed_at = xstrdup(json_get_str(line, "at", NULL));
	o->console = json_incref(json_object_get(line, "console"));
}

static void say_accel(struct runner *r, const char *said)
{
	if (!r->said_accel && !r->how->quiet && said[0])
		fprintf(stderr, "roost: %s\n", said);
	r->said_accel = r->said_accel || said[0];
}

/* A line of a child's. */
static void take_line(struct runner *r, struct slot *s, const char *text, size_t len)
{
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *line = json_text_parse(text, len, &ignored);
	const char *at = json_get_str(line, "at", NULL), *rung = json_get_str(line, "rung", NULL),
		   *left = json_get_str(line, "left", NULL);
	if (json_object_get(line, "verdict")) {
		take_verdict(s, line);
	} else if (json_object_get(line, "done")) {
		json_array_append_new(s->outcome->steps,
			json_pack("{s:s, s:I}", "step", json_get_str(line, "done", ""), "ms",
				(json_int_t)json_get_int(line, "ms", 0)));
	} else if (left) {
		if (s->outcome->verdict == VERDICT_PASSED)
			conclude(s, VERDICT_HOST, "it passed, but %s", left);
		free(s->outcome->hint);
		s->outcome->hint = xstrdup(left);
	} else if (at) {
		snprintf(s->at, sizeof(s->at), "%.60s%s%.30s", at, rung ? ": " : "",
			rung ? rung : "");
		s->step = (unsigned)json_get_int(line, "step", 0);
		s->of = (unsigned)json_get_int(line, "of", 0);
	}
	say_accel(r, json_get_str(line, "accel", ""));
}

static void take_lines(struct runner *r, struct slot *s)
{
	for (char *end; s->text.len && (end = memchr(s->text.data, '\n', s->text.len));) {
		take_line(r, s, s->text.data, (size_t)(end - s->text.data));
		buf_drop(&s->text, (size_t)(end - s->text.data) + 1);
	}
}

/* ---- a test's life ---------------------------------------------------------------------------- */

static uint64_t needs(const struct test *t)
{
	return t->def->memory + OVERHEAD;
}

static void finish(struct runner *r, struct slot *s)
{
	r->done++;
	if (!r->how->quiet && s->outcome->verdict != VERDICT_SKIPPED)
		show_outcome(s->test, s->outcome);
	s->test = NULL;
}

static void begin(struct runner *r, struct slot *s, struct outcome *outcome, const struct test *t)
{
	struct err err = ERR_INIT;
	*s = (struct slot){.test = t, .outcome = outcome, .child = CHILD_NONE, .at = "define"};
	s->began = clock_ms();
	s->deadline = deadline_in(t->timeout_ms);
	outcome->steps = json_array();
	guest_name(r, s, outcome->guest);
	if (!r->how->quiet)
		show_begin(t);
	if (start_child(r, s, &err) == 0)
		return;
	conclude(s, VERDICT_HOST, "%s", err.message);
	finish(r, s);
}

/* Its process is over without a word on how it came out. */
static void conclude_silence(struct runner *r, struct slot *s, int status)
{
	if (s->late)
		conclude(s, VERDICT_FAILED, "the test's %lld s were over during %s",
			(long long)s->test->timeout_ms / 1000, s->at);
	else if (r->out_of_time)
		conclude(s, VERDICT_FAILED, "the suite's %lld s were over during %s",
			(long long)r->suite->timeout_ms / 1000, s->at);
	else if (r->stopped)
		conclude(s, VERDICT_SKIPPED, "ended during %s: %s", s->at, r->stopped);
	else
		conclude(s, VERDICT_HOST, "the test's process %s during %s",
			proc_status_text(status), s->at);
}

/* The end of its lines: of the test, then of the removal. */
static void child_ended(struct runner *r, struct slot *s)
{
	struct err err = ERR_INIT;
	struct outcome *o = s->outcome;
	int status = 0;
	kill_child(s); /* what it left running, too */
	proc_reap(&s->child.proc, deadline_in(REAP_MS), &status, &err);
	child_end(&s->child);
	buf_free(&s->text);
	if (s->cleaning) {
		finish(r, s);
		return;
	}
	if (o->verdict == VERDICT_NONE)
		conclude_silence(r, s, status);
	o->ms = clock_ms() - s->began;
	if (o->verdict == VERDICT_FAILED && r->how->fail_fast)
		stop_all(r, "another test failed");
	o->kept = o->verdict == VERDICT_FAILED && r->how->keep_failed;
	s->cleaning = true;
	snprintf(s->at, sizeof(s->at), "%s", "removing it");
	s->step = s->of = 0;
	if (o->kept) {
		finish(r, s);
	} else if (start_child(r, s, &err) < 0) {
		conclude(s, VERDICT_HOST, "its guest is left: %s", err.message);
		finish(r, s);
	}
}

static void take_output(struct runner *r, struct slot *s)
{
	buf_reserve(&s->text, 65536);
	ssize_t n = read(s->child.out, s->text.data + s->text.len, 65536);
	if (n > 0) {
		s->text.len += (size_t)n;
		take_lines(r, s);
	}
	if (n == 0 || s->text.len > LINE_MAX_BYTES)
		child_ended(r, s);
}

/* ---- the loop --------------------------------------------------------------------------------- */

static struct slot *free_slot(struct runner *r, uint64_t *reserved, size_t *running)
{
	struct slot *found = NULL;
	*reserved = *running = 0;
	for (size_t i = 0; i < r->jobs; i++) {
		struct slot *s = &r->slots[i];
		if (!s->test && !found)
			found = s;
		if (s->test) {
			*reserved += needs(s->test);
			++*running;
		}
	}
	return found;
}

/* Begins what there is room for. False when nothing runs and nothing is left to begin. */
static bool begin_some(struct runner *r)
{
	for (;; r->next++) {
		uint64_t reserved;
		size_t running;
		struct slot *s = free_slot(r, &reserved, &running);
		if (r->next == r->suite->test_count)
			return running;
		const struct test *t = &r->suite->tests[r->next];
		struct outcome *o = &r->outcomes[r->next];
		if (!smoke_matches(t, r->how->pattern))
			continue;
		if (r->stopped) {
			o->verdict = VERDICT_SKIPPED;
			o->sentence = str_fmt("not begun: %s", r->stopped);
			r->done++;
			continue;
		}
		if (!s || (running && reserved + needs(t) > r->memory))
			return true;
		if (needs(t) <= r->memory) {
			begin(r, s, o, t);
			continue;
		}
		*s = (struct slot){.test = t, .outcome = o, .child = CHILD_NONE};
		conclude(s, VERDICT_HOST, "it needs %s of memory, and the host has %s free",
			str_size(needs(t)), str_size(r->memory));
		finish(r, s);
	}
}

static void take_signal(struct runner *r)
{
	int signal = signals_take(r->signals);
	if (!signal || r->signal)
		return;
	r->signal = signal;
	fprintf(stderr, "roost: %s: the guests of the tests are removed\n", strsignal(r->signal));
	stop_all(r, "interrupted");
}

/* Kills what is late; how long until the next one will be. */
static int64_t watch_times(struct runner *r, int64_t suite_deadline)
{
	int64_t next = deadline_in(r->live ? DRAW_MS : 60000);
	if (!deadline_left(suite_deadline)) {
		r->out_of_time = !r->stopped || r->out_of_time;
		stop_all(r, "the suite's time was over");
	} else if (suite_deadline < next) {
		next = suite_deadline;
	}
	for (size_t i = 0; i < r->jobs; i++) {
		struct slot *s = &r->slots[i];
		if (!s->test || s->cleaning || s->late)
			continue;
		if (!deadline_left(s->deadline)) {
			s->late = true;
			kill_child(s);
		} else if (s->deadline < next) {
			next = s->deadline;
		}
	}
	return next;
}

static void draw(const struct runner *r)
{
	_cleanup_free_ struct smoke_line *lines = xcalloc(r->jobs, sizeof(*lines));
	size_t count = 0;
	for (size_t i = 0; i < r->jobs; i++) {
		const struct slot *s = &r->slots[i];
		if (s->test)
			lines[count++] = (struct smoke_line){
				s->test->name, s->at, s->step, s->of, clock_ms() - s->began};
	}
	show_running(lines, count, r->done, r->all);
}

static void run_all(struct runner *r)
{
	int64_t deadline = deadline_in(r->suite->timeout_ms);
	_cleanup_free_ struct pollfd *fds = xcalloc(r->jobs + 1, sizeof(*fds));
	while (begin_some(r)) {
		if (r->live)
			draw(r);
		for (size_t i = 0; i < r->jobs; i++)
			fds[i] =
				(struct pollfd){.fd = r->slots[i].test ? r->slots[i].child.out : -1,
					.events = POLLIN};
		fds[r->jobs] = (struct pollfd){.fd = r->signals, .events = POLLIN};
		poll(fds, r->jobs + 1, deadline_left(watch_times(r, deadline)));
		if (fds[r->jobs].revents)
			take_signal(r);
		for (size_t i = 0; i < r->jobs; i++)
			if (fds[i].revents && fds[i].fd >= 0)
				take_output(r, &r->slots[i]);
	}
	if (r->live)
		show_end();
}

int smoke_run(const struct suite *s, const struct smoke_options *how, struct outcome *outcomes,
	int *signal, struct err *err)
{
	char id[13];
	sigset_t before;
	struct runner r = {.suite = s, .how = how, .outcomes = outcomes};
	if (check_host(err) < 0)
		return -1;
	id_new(id);
	snprintf(r.prefix, sizeof(r.prefix), "smoke-%.6s", id);
	runner_self(r.self);
	r.jobs = jobs_of(how);
	r.memory = free_memory();
	r.live = show_is_live();
	for (size_t i = 0; i < s->test_count; i++)
		r.all += smoke_matches(&s->tests[i], how->pattern);
	_cleanup_close_ int signals = signals_catch(&before, err);
	if (signals < 0)
		return -1;
	r.signals = signals;
	r.slots = xcalloc(r.jobs, sizeof(*r.slots));
	run_all(&r);
	free(r.slots);
	sigprocmask(SIG_SETMASK, &before, NULL);
	*signal = r.signal;
	return 0;
}
