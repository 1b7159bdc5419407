/*
 * Tests at a terminal: what is over is a line on standard output; what runs is lines below it, drawn
 * anew on standard error. Without a terminal there is a line when a test begins, and one when it is over.
 */
#include "orchestrator/smoke.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/str.h"
#include "orchestrator/guest_text.h"

static size_t drawn; /* lines on the screen that are drawn anew */

bool show_is_live(void)
{
	const char *term = getenv("TERM");
	return isatty(STDERR_FILENO) && term && !str_eq(term, "dumb");
}

static int columns(void)
{
	struct winsize size = {0};
	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

static void erase(void)
{
	if (drawn)
		fprintf(stderr, "\033[%zuA\033[J", drawn);
	drawn = 0;
}

/* Cut at the width, so that it stays one line: bytes are counted, and a character has one at least. */
static void draw(const char *text, int width)
{
	fprintf(stderr, "%.*s\n", width - 1, text);
	drawn++;
}

void show_running(const struct smoke_line *lines, size_t count, size_t done, size_t all)
{
	int width = columns();
	erase();
	for (size_t i = 0; i < count; i++) {
		const struct smoke_line *l = &lines[i];
		_cleanup_free_ char *step = l->of ? str_fmt("%u/%u ", l->step, l->of) : xstrdup("");
		_cleanup_free_ char *text =
			str_fmt("  %5.1f s  %s  %s%s", (double)l->ms / 1000, l->test, step, l->at);
		draw(text, width);
	}
	_cleanup_free_ char *text = str_fmt("  %zu of %zu tests are over", done, all);
	draw(text, width);
	fflush(stderr);
}

void show_begin(const struct test *t)
{
	if (!show_is_live())
		fprintf(stderr, "begins             %s\n", t->name);
}

/* Words of a guest's may hold escape sequences, which are not for this terminal. */
static void say_line(const char *before, const char *text, size_t len)
{
	_cleanup_free_ char *clean = text_line(text, len, 1000);
	printf("%s%s\n", before, clean);
}

void show_outcome(const struct test *t, const struct outcome *o)
{
	static const char *const words[] = {
		[VERDICT_NONE] = "",
		[VERDICT_PASSED] = "ok",
		[VERDICT_FAILED] = "FAILED",
		[VERDICT_HOST] = "ERROR",
		[VERDICT_SKIPPED] = "skipped",
	};
	size_t i;
	json_t *line;
	if (show_is_live())
		erase();
	printf("%-8s %6.1f s  %s%s", words[o->verdict], (double)o->ms / 1000, t->name,
		o->sentence ? ": " : "\n");
	if (o->sentence)
		say_line("", o->sentence, strlen(o->sentence));
	if (o->hint)
		say_line("         ", o->hint, strlen(o->hint));
	json_array_foreach (o->console, i, line)
		say_line("       | ", json_string_value(line), json_string_length(line));
	if (o->kept)
		printf("         kept: `roost console %s`; `roost smoke --clean` removes it\n",
			o->guest);
	fflush(stdout);
}

void show_end(void)
{
	erase();
}
