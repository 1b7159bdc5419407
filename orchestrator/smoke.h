/*
 * Smoke tests: `roost smoke FILE` defines guests, starts them, tries them, and removes them, as a
 * file says. The file is YAML (or JSON):
 *
 *	name: web			# of the suite; default the file's
 *	timeout: 1h			# for the whole suite (the default)
 *	test_timeout: 10m		# for one test, its boot included
 *	step_timeout: 1m		# for one step, unless it says otherwise
 *	guests:
 *	  - name: debian		# of the test
 *	    file: debian.yaml		# a definition; and, or instead:
 *	    image: debian-12.qcow2	# a disk, the first one; cloud_init is true unless it is given
 *	    definition: {memory: 512M}	# keys of a definition; they replace those of the file
 *	    matrix:			# the guest is tried with each value, with each of the others
 *	      cpus: [1, 4]
 *	      bus: [virtio, scsi]
 *	    timeout: 5m			# instead of test_timeout
 *	    steps: [...]		# after those that all guests have
 *	steps:				# of all guests
 *	  - run: nproc
 *	    equals: ${{cpus}}
 *
 * A test is a guest with one value of each row of its matrix: debian/cpus=1/bus=virtio. In every
 * text of that guest, of its file, and of the steps, ${{cpus}} stands for the value and ${{test}} for
 * the test's name with '-' for '/' and '='. (${cpus} is the shell's, and is left to it.) A test has
 * a guest of its own: defined, started, waited for up to the rung where it is ready, tried step by
 * step until one fails, destroyed, and undefined with its disks. So that tests neither meet one
 * another nor spoil what they are made from, a disk with a `path` that may be written becomes an
 * overlay of that file, a forwarded port becomes a free one, and name, uuid and autostart are not
 * the definition's.
 *
 * Steps. Each may have `name`, which stands in reports, and `timeout`.
 *
 *	run: COMMAND			for the guest's shell, over SSH
 *	script: FILE			a local file, fed to `shell`, default sh
 *	    user: root			default: the definition's
 *	    status: 0			its exit status
 *	    equals: TEXT		its standard output, but for new lines at the end
 *	    contains: TEXT
 *	    matches: PATTERN		a POSIX extended regular expression, ^ and $ at lines
 *	    retry: 20s			again and again until it holds, for so long
 *	host: COMMAND			for a shell here, in the folder of the file that it stands in:
 *					$ROOST_GUEST is the guest's name, `roost` is this one; what
 *					it leaves running ends with the test
 *	    status, equals, contains, matches, retry	as above
 *	copy: {in: FILE, to: PATH}	a local file or folder into the guest
 *	copy: {out: PATH, to: FILE}	out of it; both may have `recursive: true`, `user`
 *	port: 80			something in the guest accepts TCP there; waits for it
 *	    address: 127.0.0.1		as seen in the guest
 *	    open: false			nothing does
 *	http: http://guest:8080/x	by way of the port that is forwarded to the guest's 8080; waits
 *	http: http://127.0.0.1:80/x	in the guest, by way of its SSH server
 *	    status: 200
 *	    equals, contains, matches	of the body
 *	console: PATTERN		the console has shown it since the last boot; waits for it
 *	    absent: true		it has not
 *	qmp: COMMAND
 *	    arguments: {...}		or a text with JSON, where it matters that "1" is a text
 *	    reply: {...}		is in the reply: objects may have more keys, lists more items
 *	    error: PATTERN		it fails, so
 *	    retry: 20s
 *	event: NAME			QMP's or roost's, seen since the start; waits for it
 *	    data: {...}			is in its data
 *	    count: 1			so often at least
 *	reboot:				and wait until it is ready again
 *	    {mode: acpi, for: RUNG}	only the ACPI button (or `agent`); another rung
 *	suspend:			resume:
 *	max_boot: 20s			the last boot took no longer until it was ready
 *	    rung: tcp			until that rung
 *
 * `reboot`, `suspend` and `resume` may stand alone: `- reboot`. Relative paths are taken from the
 * folder of the file that they stand in.
 *
 * The guests are called smoke-XXXXXX-N-NAME, and their records say whose they are: the key `runner`
 * holds PID-START-BOOT of the process. So `roost smoke --clean` finds those whose runner is dead.
 *
 *	smoke_suite.c	the file becomes a plan, or an error with its line
 *	smoke_run.c	the tests, so many at a time; each is a child that writes JSON lines to a pipe
 *	smoke_test.c	one test, from top to bottom; its steps: smoke_steps.c, smoke_ssh.c
 *	smoke_clean.c	guests are removed
 *	smoke_show.c	the terminal; smoke_report.c: TAP, JUnit, JSON
 */
#ifndef ORCHESTRATOR_SMOKE_H
#define ORCHESTRATOR_SMOKE_H

#include "base/json.h"
#include "base/str.h"
#include "orchestrator/definition.h"

/* ---- the plan: smoke_suite.c ------------------------------------------------------------------ */

enum step_kind {
	STEP_RUN,
	STEP_SCRIPT,
	STEP_HOST,
	STEP_COPY,
	STEP_PORT,
	STEP_HTTP,
	STEP_CONSOLE,
	STEP_QMP,
	STEP_EVENT,
	STEP_REBOOT,
	STEP_SUSPEND,
	STEP_RESUME,
	STEP_MAX_BOOT,
	STEP_KIND_MAX
};

struct step {
	enum step_kind kind;
	char *label; /* "run 'uname -r'", or its name: what reports call it */
	char *name;
	int64_t timeout_ms;
	int64_t retry_ms; /* 0: once */
	char *text;       /* command, script's file, pattern, QMP command, event, URL */
	char *user;       /* NULL: the definition's */
	char *shell;
	char *folder;    /* of a host command */
	unsigned status; /* exit status; HTTP status */
	char *equals;    /* NULL, as the following: not asked for */
	char *contains;
	char *matches;
	char *copy_in, *copy_out, *copy_to;
	bool recursive;
	unsigned port;
	bool open;
	char *address;
	bool absent;
	json_t *arguments;
	json_t *wanted; /* reply, data */
	char *error;
	unsigned count;
	char *rung, *mode;
	int64_t within_ms;
	bool bare; /* reboot, suspend, resume: always true */
};

struct test {
	char *name;
	struct definition *def;
	struct step *steps;
	size_t step_count;
	int64_t timeout_ms;
};

struct suite {
	char *name;
	int64_t timeout_ms;
	struct test *tests;
	size_t test_count;
};

enum { TESTS_MAX = 1000, MATRIX_MAX = 8 };

/*
 * Reads and checks all of it, the definitions and the files that it names included. An error is
 * "FILE:LINE: ..." and means that the suite is wrong.
 */
struct suite *suite_read(const char *file, struct err *err);
struct suite *suite_parse(
	const char *text, size_t len, const char *file, const char *folder, struct err *err);
void suite_free(struct suite *s);
static inline void suite_cleanup(struct suite **s)
{
	suite_free(*s);
}
#define _cleanup_suite_ _cleanup_(suite_cleanup)

/* The steps of one test, from a list of nodes, appended to `t`: smoke_step_keys.c. */
struct node;
int steps_read(struct test *t, const struct node *list, int64_t timeout_ms, struct err *err);
void step_free(struct step *s);

/* ---- what came out ---------------------------------------------------------------------------- */

enum verdict {
	VERDICT_NONE,
	VERDICT_PASSED,
	VERDICT_FAILED,
	VERDICT_HOST,    /* the host could not run it */
	VERDICT_SKIPPED, /* not run, or not to its end */
	VERDICT_MAX
};
const char *verdict_name(enum verdict verdict); /* "passed", "failed", "error", "skipped" */

struct outcome {
	enum verdict verdict;
	char *sentence;  /* NULL when it passed: rung or step, what was expected, what came */
	char *hint;      /* may be NULL */
	char *failed_at; /* "boot", or the step's label; may be NULL */
	json_t *console; /* the console's last lines; may be NULL */
	json_t *steps;   /* [{"step", "ms"}] of those that were done */
	int64_t ms;
	char guest[64]; /* "" if none was defined */
	bool kept;      /* it still runs, as asked for */
};
void outcome_free(struct outcome *o);

/* ---- one test: smoke_test.c ------------------------------------------------------------------- */

struct trial; /* smoke_steps.h */

/*
 * In a child of the runner: defines and starts the guest, climbs, does the steps, and tells on fd
 * `out` by JSON lines:
 *
 *	{"at": "boot", "rung": "tcp"}  {"at": LABEL, "step": N, "of": M}
 *	{"done": LABEL, "ms": N}
 *	{"verdict": "passed"|"failed"|"error", "sentence", "hint", "at", "console": [...]}
 *
 * The guest is left as it is.
 */
void smoke_test(const struct test *t, const char *guest, const char *runner, int out);
/* The last lines of a guest's console, as JSON texts. */
json_t *smoke_console_tail(const char *guest);

/* ---- guests are removed: smoke_clean.c -------------------------------------------------------- */

/* This process as the record's key `runner` names it. */
void runner_self(char out[80]);
/* Destroys and undefines a guest of ours; that there is none is no error. */
int smoke_remove(const char *guest, struct err *err);
/* All guests whose runner is dead. *removed: their names. */
int smoke_clean(json_t **removed, struct err *err);

/* ---- all tests: smoke_run.c ------------------------------------------------------------------- */

struct smoke_options {
	unsigned jobs;       /* 0: as many as there are CPUs */
	const char *pattern; /* NULL: all tests */
	bool fail_fast, keep_failed;
	bool quiet; /* no lines but those of a terminal: standard output is for JSON */
};

/*
 * Runs the tests whose names match; the others have VERDICT_NONE. Returns 0, or -1 when the host
 * cannot run any. *signal is the one that ended it early, or 0.
 */
int smoke_run(const struct suite *s, const struct smoke_options *how, struct outcome *outcomes,
	int *signal, struct err *err);
bool smoke_matches(const struct test *t, const char *pattern);

/* ---- telling: smoke_show.c, smoke_report.c ---------------------------------------------------- */

/* What a running test is at, for the terminal. */
struct smoke_line {
	const char *test, *at;
	unsigned step, of; /* 0: not among its steps */
	int64_t ms;
};
/* Is standard error a terminal that lines can be drawn on? */
bool show_is_live(void);
/* Draws these lines in place of those that were drawn before. */
void show_running(const struct smoke_line *lines, size_t count, size_t done, size_t all);
/* They go from the screen. */
void show_end(void);
void show_begin(const struct test *t);
void show_outcome(const struct test *t, const struct outcome *o);

struct totals {
	size_t count[VERDICT_MAX];
	size_t all;
	int64_t ms;
};
struct totals smoke_totals(const struct suite *s, const struct outcome *outcomes, int64_t ms);
void report_tap(const struct suite *s, const struct outcome *outcomes, struct buf *out);
void report_junit(const struct suite *s, const struct outcome *outcomes, const struct totals *t,
	struct buf *out);
json_t *report_json(const struct suite *s, const struct outcome *outcomes, const struct totals *t);

#endif
