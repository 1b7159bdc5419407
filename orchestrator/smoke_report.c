/* What came out, for machines: TAP, JUnit's XML, JSON. Tests that -k left out are in none of them. */
#include "orchestrator/smoke.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/guest_text.h"

static const char *const verdict_names[] = {
	[VERDICT_NONE] = "none",
	[VERDICT_PASSED] = "passed",
	[VERDICT_FAILED] = "failed",
	[VERDICT_HOST] = "error",
	[VERDICT_SKIPPED] = "skipped",
};
static_assert(ARRAY_SIZE(verdict_names) == VERDICT_MAX, "a verdict lacks its name");

const char *verdict_name(enum verdict verdict)
{
	return verdict_names[verdict];
}

void outcome_free(struct outcome *o)
{
	free(o->sentence);
	free(o->hint);
	free(o->failed_at);
	json_decref(o->console);
	json_decref(o->steps);
	*o = (struct outcome){0};
}

struct totals smoke_totals(const struct suite *s, const struct outcome *outcomes, int64_t ms)
{
	struct totals t = {.ms = ms};
	for (size_t i = 0; i < s->test_count; i++)
		t.count[outcomes[i].verdict]++;
	t.all = s->test_count - t.count[VERDICT_NONE];
	return t;
}

/* ---- TAP -------------------------------------------------------------------------------------- */

/* After the number '#' begins a directive, and a new line ends it all. */
static void tap_text(struct buf *out, const char *text)
{
	_cleanup_free_ char *line = text_line(text, strlen(text), 4096);
	for (const char *p = line; *p; p++)
		buf_fmt(out, *p == '#' || *p == '\\' ? "\\%c" : "%c", *p);
}

/* A JSON text is a YAML text. */
static void tap_key(struct buf *out, const char *key, const char *text)
{
	_cleanup_json_ json_t *value = text ? json_string(text) : NULL;
	_cleanup_free_ char *quoted = value ? json_line(value) : NULL;
	if (quoted)
		buf_fmt(out, "  %s: %s\n", key, quoted);
}

static void tap_why(struct buf *out, const struct outcome *o)
{
	size_t i;
	json_t *line;
	buf_str(out, "  ---\n");
	tap_key(out, "message", o->sentence);
	tap_key(out, "hint", o->hint);
	tap_key(out, "at", o->failed_at);
	tap_key(out, "kept", o->kept ? o->guest : NULL);
	if (json_array_size(o->console))
		buf_str(out, "  console:\n");
	json_array_foreach (o->console, i, line) {
		_cleanup_free_ char *quoted = json_line(line);
		buf_fmt(out, "    - %s\n", quoted);
	}
	buf_str(out, "  ...\n");
}

void report_tap(const struct suite *s, const struct outcome *outcomes, struct buf *out)
{
	size_t number = 0;
	struct totals t = smoke_totals(s, outcomes, 0);
	buf_fmt(out, "TAP version 13\n1..%zu\n", t.all);
	for (size_t i = 0; i < s->test_count; i++) {
		const struct outcome *o = &outcomes[i];
		if (o->verdict == VERDICT_NONE)
			continue;
		bool good = o->verdict == VERDICT_PASSED || o->verdict == VERDICT_SKIPPED;
		buf_fmt(out, "%s %zu - ", good ? "ok" : "not ok", ++number);
		tap_text(out, s->tests[i].name);
		if (o->verdict == VERDICT_SKIPPED) {
			buf_str(out, " # SKIP ");
			tap_text(out, o->sentence);
		}
		buf_str(out, "\n");
		if (!good)
			tap_why(out, o);
	}
}

/* ---- JUnit ------------------------------------------------------------------------------------ */

static void attribute(struct buf *out, const char *name, const char *text)
{
	buf_fmt(out, " %s=\"", name);
	xml_attribute(out, text, strlen(text));
	buf_str(out, "\"");
}

static void seconds(struct buf *out, int64_t ms)
{
	buf_fmt(out, " time=\"%lld.%03lld\"", (long long)ms / 1000, (long long)ms % 1000);
}

static void junit_why(struct buf *out, const struct outcome *o)
{
	const char *element = o->verdict == VERDICT_FAILED ? "failure"
			      : o->verdict == VERDICT_HOST ? "error"
							   : "skipped";
	const char *type = o->failed_at ? o->failed_at : "host";
	buf_fmt(out, "      <%s", element);
	attribute(out, "message", o->sentence);
	if (o->verdict == VERDICT_SKIPPED) {
		buf_str(out, "/>\n");
		return;
	}
	attribute(out, "type", type);
	buf_str(out, ">");
	xml_content(out, o->sentence, strlen(o->sentence));
	if (o->hint) {
		buf_str(out, "\n");
		xml_content(out, o->hint, strlen(o->hint));
	}
	buf_fmt(out, "</%s>\n", element);
}

static void junit_console(struct buf *out, const json_t *console)
{
	size_t i;
	json_t *line;
	if (!json_array_size(console))
		return;
	buf_str(out, "      <system-out>");
	json_array_foreach (console, i, line) {
		xml_content(out, json_string_value(line), json_string_length(line));
		buf_str(out, "\n");
	}
	buf_str(out, "</system-out>\n");
}

static void junit_case(
	const struct suite *s, const struct test *t, const struct outcome *o, struct buf *out)
{
	buf_str(out, "    <testcase");
	attribute(out, "classname", s->name);
	attribute(out, "name", t->name);
	seconds(out, o->ms);
	if (o->verdict == VERDICT_PASSED) {
		buf_str(out, "/>\n");
		return;
	}
	buf_str(out, ">\n");
	junit_why(out, o);
	junit_console(out, o->console);
	buf_str(out, "    </testcase>\n");
}

static void junit_counts(struct buf *out, const struct totals *t)
{
	buf_fmt(out, " tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\"", t->all,
		t->count[VERDICT_FAILED], t->count[VERDICT_HOST], t->count[VERDICT_SKIPPED]);
	seconds(out, t->ms);
}

void report_junit(const struct suite *s, const struct outcome *outcomes, const struct totals *t,
	struct buf *out)
{
	char host[256] = "", stamp[32];
	time_t began = time(NULL) - (time_t)(t->ms / 1000);
	struct tm utc;
	gethostname(host, sizeof(host) - 1);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", gmtime_r(&began, &utc));
	buf_str(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites");
	junit_counts(out, t);
	buf_str(out, ">\n  <testsuite");
	attribute(out, "name", s->name);
	junit_counts(out, t);
	attribute(out, "timestamp", stamp);
	attribute(out, "hostname", host);
	buf_str(out, ">\n");
	for (size_t i = 0; i < s->test_count; i++)
		if (outcomes[i].verdict != VERDICT_NONE)
			junit_case(s, &s->tests[i], &outcomes[i], out);
	buf_str(out, "  </testsuite>\n</testsuites>\n");
}

/* ---- JSON ------------------------------------------------------------------------------------- */

/* A name may be any bytes of the suite's file; JSON is UTF-8. */
static json_t *utf8(const char *text)
{
	_cleanup_free_ char *clean = text_utf8(text, strlen(text));
	return json_string(clean);
}

static void set_text(json_t *o, const char *key, const char *text)
{
	if (text)
		json_object_set_new(o, key, utf8(text));
}

static json_t *json_case(const struct test *t, const struct outcome *o)
{
	json_t *c = json_pack("{s:o, s:s, s:I}", "name", utf8(t->name), "result",
		verdict_name(o->verdict), "ms", (json_int_t)o->ms);
	set_text(c, "sentence", o->sentence);
	set_text(c, "hint", o->hint);
	set_text(c, "at", o->failed_at);
	set_text(c, "kept", o->kept ? o->guest : NULL);
	if (o->console)
		json_object_set(c, "console", o->console);
	json_object_set_new(c, "steps", o->steps ? json_incref(o->steps) : json_array());
	return c;
}

json_t *report_json(const struct suite *s, const struct outcome *outcomes, const struct totals *t)
{
	json_t *tests = json_array();
	for (size_t i = 0; i < s->test_count; i++)
		if (outcomes[i].verdict != VERDICT_NONE)
			json_array_append_new(tests, json_case(&s->tests[i], &outcomes[i]));
	json_t *o = json_pack("{s:o, s:I}", "suite", utf8(s->name), "ms", (json_int_t)t->ms);
	for (enum verdict v = VERDICT_PASSED; v < VERDICT_MAX; v++)
		json_object_set_new(o, verdict_name(v), json_integer((json_int_t)t->count[v]));
	json_object_set_new(o, "tests", tests);
	return o;
}
