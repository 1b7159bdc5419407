/* smoke: guests are defined, started, tried and removed, as a file says (smoke.h). */
#include "orchestrator/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "orchestrator/smoke.h"

enum { EXIT_FAILED = 1, EXIT_HOST = 3, JOBS_LIMIT = 1000 };

/* Where reports go: opened before anything is started, so that a name that is wrong costs nothing. */
struct reports {
	int tap, junit; /* -1: not wanted */
};

static void close_reports(struct reports *r)
{
	cleanup_close(&r->tap);
	cleanup_close(&r->junit);
}

static int open_report(const struct cli *cli, const char *option, int *out, struct err *err)
{
	const char *file = cli_value(cli, option, NULL);
	if (!file)
		return 0;
	*out = str_eq(file, "-") ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
				 : open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (*out >= 0)
		return 0;
	err_errno(err, "--%s: cannot write '%s'", option, file);
	err->kind = ERR_USAGE;
	return -1;
}

static int write_report(int fd, const struct buf *text, const char *option, struct err *err)
{
	if (fd < 0 || write_all(fd, text->data, text->len) == 0)
		return 0;
	return err_errno(err, "--%s: cannot write the report", option);
}

static int write_reports(const struct reports *r, const struct suite *s,
	const struct outcome *outcomes, const struct totals *t, struct err *err)
{
	_cleanup_buf_ struct buf tap = {0}, junit = {0};
	report_tap(s, outcomes, &tap);
	report_junit(s, outcomes, t, &junit);
	return write_report(r->tap, &tap, "tap", err) < 0 ||
			       write_report(r->junit, &junit, "junit", err) < 0
		       ? -1
		       : 0;
}

/* Not a kind of error that other verbs have: 3 is for all that the host lacks. */
static int host_could_not(const struct cli *cli, const struct err *err)
{
	if (cli->json) {
		cli_print_json(json_pack("{s:o}", "error", json_from_err(err)));
	} else {
		fprintf(stderr, "roost: %s\n", err->message);
		if (err->hint[0])
			fprintf(stderr, "       %s\n", err->hint);
	}
	return EXIT_HOST;
}

static void tell_totals(const struct totals *t)
{
	printf("%zu passed, %zu failed", t->count[VERDICT_PASSED], t->count[VERDICT_FAILED]);
	if (t->count[VERDICT_HOST])
		printf(", %zu that the host could not run", t->count[VERDICT_HOST]);
	if (t->count[VERDICT_SKIPPED])
		printf(", %zu skipped", t->count[VERDICT_SKIPPED]);
	printf(", in %.1f s\n", (double)t->ms / 1000);
}

static int exit_code(const struct totals *t, int signal)
{
	if (signal)
		return 128 + signal;
	if (t->count[VERDICT_FAILED])
		return EXIT_FAILED;
	if (t->count[VERDICT_HOST])
		return EXIT_HOST;
	return t->count[VERDICT_SKIPPED] ? EXIT_FAILED : 0;
}

static int run_suite(const struct cli *cli, const struct suite *s, const struct smoke_options *how,
	struct outcome *outcomes, struct err *err)
{
	_cleanup_(close_reports) struct reports reports = {-1, -1};
	int signal = 0;
	int64_t began = clock_ms();
	if (open_report(cli, "tap", &reports.tap, err) < 0 ||
		open_report(cli, "junit", &reports.junit, err) < 0)
		return -1;
	if (smoke_run(s, how, outcomes, &signal, err) < 0)
		return host_could_not(cli, err);
	struct totals t = smoke_totals(s, outcomes, clock_ms() - began);
	if (cli->json)
		cli_print_json(report_json(s, outcomes, &t));
	else if (!how->quiet)
		tell_totals(&t);
	fflush(stdout);
	if (write_reports(&reports, s, outcomes, &t, err) < 0)
		return host_could_not(cli, err);
	return exit_code(&t, signal);
}

static int clean(const struct cli *cli, struct err *err)
{
	json_t *removed = NULL, *name;
	size_t i;
	if (smoke_clean(&removed, err) < 0)
		return host_could_not(cli, err);
	if (cli->json) {
		cli_print_json(json_pack("{s:o}", "removed", removed));
		return 0;
	}
	json_array_foreach (removed, i, name)
		printf("Guest '%s' removed\n", json_string_value(name));
	json_decref(removed);
	return 0;
}

/* How many the pattern takes; none is an error, for then nothing would be tested. */
static int check_pattern(const struct suite *s, const char *pattern, struct err *err)
{
	for (size_t i = 0; i < s->test_count; i++)
		if (smoke_matches(&s->tests[i], pattern))
			return 0;
	err_set(err, ERR_USAGE, "no test has a name with '%s' in it", pattern);
	return err_hint(err, "`roost smoke --list` shows the names");
}

static int list(const struct cli *cli, const struct suite *s, const char *pattern)
{
	json_t *names = json_array();
	for (size_t i = 0; i < s->test_count; i++) {
		if (!smoke_matches(&s->tests[i], pattern))
			continue;
		if (!cli->json)
			puts(s->tests[i].name);
		json_array_append_new(names, json_string(s->tests[i].name));
	}
	if (cli->json)
		cli_print_json(json_incref(names));
	json_decref(names);
	return 0;
}

static int run_smoke(const struct cli *cli, struct err *err)
{
	const char *jobs = cli_value(cli, "jobs", NULL), *tap = cli_value(cli, "tap", ""),
		   *junit = cli_value(cli, "junit", "");
	uint64_t count = 0;
	if (cli_flag(cli, "clean"))
		return cli->count ? err_set(err, ERR_USAGE, "roost smoke --clean takes no file")
				  : clean(cli, err);
	if (!cli->count)
		return err_set(err, ERR_USAGE, "roost smoke: a file is missing");
	if (jobs && str_parse_u64(jobs, 1, JOBS_LIMIT, "--jobs", &count, err) < 0)
		return -1;
	if (str_eq(tap, "-") + str_eq(junit, "-") + cli->json > 1)
		return err_set(err, ERR_USAGE,
			"only one of --json, --tap - and --junit - can have the standard output");
	struct smoke_options how = {.jobs = (unsigned)count,
		.pattern = cli_value(cli, "match", NULL),
		.fail_fast = cli_flag(cli, "fail-fast"),
		.keep_failed = cli_flag(cli, "keep-failed"),
		.quiet = cli->json || str_eq(tap, "-") || str_eq(junit, "-")};
	_cleanup_suite_ struct suite *s = suite_read(cli->operands[0], err);
	if (!s)
		return err->kind = ERR_USAGE, -1;
	if (check_pattern(s, how.pattern, err) < 0)
		return -1;
	if (cli_flag(cli, "list"))
		return list(cli, s, how.pattern);
	struct outcome *outcomes = xcalloc(s->test_count, sizeof(*outcomes));
	int result = run_suite(cli, s, &how, outcomes, err);
	for (size_t i = 0; i < s->test_count; i++)
		outcome_free(&outcomes[i]);
	free(outcomes);
	return result;
}

const struct verb verb_smoke = {"smoke", "FILE",
	"Tests guests as a file says: each is defined, started, tried, and removed.", 0, 1, false,
	{{"jobs", "N", 'j', "so many at a time; default: one for each CPU"},
		{"match", "PATTERN", 'k',
			"only tests with that in their names; *, ? and [] as in files'"},
		{"fail-fast", NULL, 0, "end with the first test that fails"},
		{"keep-failed", NULL, 0, "leave the guests of tests that fail as they are"},
		{"tap", "FILE", 0, "a report as TAP ('-': standard output)"},
		{"junit", "FILE", 0, "a report as JUnit's XML"},
		{"list", NULL, 0, "only check the file, and list its tests"},
		{"clean", NULL, 0, "remove the guests of runners that were killed"}},
	run_smoke, "roost smoke smoke.yaml -j 4 --junit smoke.xml", GROUP_TESTS, GUESTS_ALL};
