#include "orchestrator/progress_bar.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

enum { QUIET_MS = 1000, REDRAW_MS = 200, LINE_MS = 10000, BAR_MAX = 40, BAR_MIN = 8 };

void progress_begin(struct progress *p, const char *what, bool quiet)
{
	*p = (struct progress){.what = what,
		.quiet = quiet,
		.terminal = isatty(STDERR_FILENO),
		.began = clock_ms(),
		.first = -1};
	p->tell_at = p->began + QUIET_MS;
}

void progress_step(struct progress *p, const char *what)
{
	if (!str_eq(p->what, what))
		p->first = -1;
	p->what = what;
}

/* The mean of the last seconds: each new measure counts as long as it took. */
static void measure(struct progress *p, int64_t done)
{
	int64_t now = clock_ms(), took = now - p->before_at;
	if (p->first < 0 || done < p->before) {
		p->first = p->before = done;
		p->before_at = now;
		p->rate = 0;
		return;
	}
	if (took < REDRAW_MS)
		return;
	double latest = (double)(done - p->before) * 1000 / (double)took;
	double weight = took < 5000 ? (double)took / 5000 : 1;
	p->rate = p->rate > 0 ? p->rate + weight * (latest - p->rate) : latest;
	p->before = done;
	p->before_at = now;
}

static int bar_width(int text)
{
	struct winsize size;
	int columns =
		ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
	int room = columns - text - 4;
	return room < BAR_MIN ? 0 : room > BAR_MAX ? BAR_MAX : room;
}

static void draw_bar(int width, int64_t done, int64_t total)
{
	int full = (int)((double)done / (double)total * width);
	fputs(" [", stderr);
	for (int i = 0; i < width; i++)
		fputc(i < full ? '#' : i == full ? '>' : ' ', stderr);
	fputc(']', stderr);
}

/* "34 %  120 MiB of 350 MiB  10 MiB/s  0:23 left" */
static void describe(const struct progress *p, int64_t done, int64_t total, struct buf *out)
{
	if (p->percent && total > 0)
		buf_fmt(out, "%3d %%", (int)((double)done * 100 / (double)total));
	else if (p->percent)
		buf_fmt(out, "%lld s", (long long)(clock_ms() - p->began) / 1000);
	else if (total > 0)
		buf_fmt(out, "%3d %%  %s of %s", (int)(done * 100 / total),
			str_size((uint64_t)done), str_size((uint64_t)total));
	else
		buf_str(out, str_size((uint64_t)done));
	if (p->rate < 1)
		return;
	if (!p->percent)
		buf_fmt(out, "  %s/s", str_size((uint64_t)p->rate));
	int64_t left = total > done ? (int64_t)((double)(total - done) / p->rate) : 0;
	if (left >= 3600 && left < 100 * 3600)
		buf_fmt(out, "  %d:%02d:%02d left", (int)(left / 3600), (int)(left / 60 % 60),
			(int)(left % 60));
	else if (left > 0 && left < 3600)
		buf_fmt(out, "  %d:%02d left", (int)(left / 60), (int)(left % 60));
}

void progress_show(struct progress *p, int64_t done, int64_t total)
{
	_cleanup_buf_ struct buf text = {0};
	measure(p, done);
	if (p->quiet || deadline_left(p->tell_at))
		return;
	p->tell_at = deadline_in(p->terminal ? REDRAW_MS : LINE_MS);
	describe(p, done, total, &text);
	if (!p->terminal) {
		fprintf(stderr, "%s: %s\n", p->what, text.data + strspn(text.data, " "));
		return;
	}
	fprintf(stderr, "\r\033[K%s ", p->what);
	int width = total > 0 ? bar_width((int)(strlen(p->what) + text.len)) : 0;
	if (width)
		draw_bar(width, done, total);
	fprintf(stderr, " %s", text.data);
	fflush(stderr);
	p->shown = true;
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
