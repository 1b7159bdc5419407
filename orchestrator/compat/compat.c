#include "orchestrator/compat/compat.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct old_name old_names[] = {
	{"virsh", virsh_main, "guests and networks"},
	{"virt-install", virt_install_main,
		"a guest with an installer, or on a disk that there is"},
	{"virt-clone", virt_clone_main, "another guest of one"},
	{"virt-sysprep", virt_sysprep_main, "what makes a guest the one it is, removed"},
	{"virt-df", virt_df_main, "how full the file systems of guests are"},
	{"virt-host-validate", virt_host_validate_main, "what this host offers to guests"},
	{"virt-viewer", virt_viewer_main, "a guest's screen"},
	{"cloud-localds", cloud_localds_main, "seeds for cloud-init"},
	{0},
};

const struct old_name *old_name_find(const char *argv0)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
	const char *name = slash ? slash + 1 : argv0;
	for (const struct old_name *o = old_names; name && o->name; o++)
		if (str_eq(o->name, name))
			return o;
	return NULL;
}

/* ---- words ------------------------------------------------------------------------------------------- */

/* Before the last `behind` words. */
static void take(struct words *w, size_t behind, char *word)
{
	size_t at = w->count - behind;
	w->list = xrealloc(w->list, (w->count + 2) * sizeof(*w->list));
	memmove(w->list + at + 1, w->list + at, behind * sizeof(*w->list));
	w->list[at] = word;
	w->list[++w->count] = NULL;
}

void words_add(struct words *w, const char *word)
{
	take(w, w->texts, xstrdup(word));
}

void words_text(struct words *w, const char *text)
{
	if (!w->texts) {
		take(w, 0, xstrdup("--"));
		w->texts = 1;
	}
	take(w, 0, xstrdup(text));
	w->texts++;
}

void words_fmt(struct words *w, const char *fmt, ...)
{
	va_list args;
	char *word = NULL;
	va_start(args, fmt);
	if (vasprintf(&word, fmt, args) < 0)
		abort();
	va_end(args);
	take(w, w->texts, word);
}

void words_option(struct words *w, const char *name, const char *value)
{
	if (value)
		words_fmt(w, "--%s=%s", name, value);
}

void words_free(struct words *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->list[i]);
	free(w->list);
	*w = (struct words){0};
}

int words_ask(const struct words *w, const char *verb, json_t **answer, struct err *err)
{
	static const char *const none[] = {NULL};
	const char *const *words = w->count ? (const char *const *)w->list : none;
	return verb_ask(verb, words, answer, err) < 0 ? -1 : 0;
}

int compat_ask(const char *verb, const char *word, json_t **answer, struct err *err)
{
	_cleanup_words_ struct words w = {0};
	if (word && word[0] == '-')
		words_text(&w, word);
	else if (word)
		words_add(&w, word);
	return words_ask(&w, verb, answer, err);
}

/* ---- how libvirt says it ----------------------------------------------------------------------------- */

const char *compat_state(const char *state)
{
	static const struct {
		const char *ours, *libvirts;
	} words[] = {
		{"running", "running"},
		{"starting", "running"},
		{"migrating", "running"},
		{"unresponsive", "running"},
		{"paused", "paused"},
		{"io-error", "paused"},
		{"in shutdown", "in shutdown"},
		{"crashed", "crashed"},
		{"shut off", "shut off"},
		{"template", "shut off"},
		{"saved", "shut off"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (str_eq(words[i].ours, state))
			return words[i].libvirts;
	return "no state";
}

void compat_table(const json_t *rows, bool bare)
{
	size_t width[16] = {0}, total = 0, i, j;
	json_t *row, *cell;
	json_array_foreach (rows, i, row)
		json_array_foreach (row, j, cell)
			if ((i || !bare) && j < ARRAY_SIZE(width) &&
				json_string_length(cell) > width[j])
				width[j] = json_string_length(cell);
	size_t columns = json_array_size(json_array_get(rows, 0));
	for (j = 0; j < columns; j++)
		total += width[j] + 3;
	json_array_foreach (rows, i, row) {
		if (i == 0 && bare)
			continue;
		json_array_foreach (row, j, cell) {
			bool last = j + 1 == columns;
			printf("%s%-*s", j ? "   " : " ", last ? 0 : (int)width[j],
				json_string_value(cell));
		}
		putchar('\n');
		for (j = 0; i == 0 && j < total; j++)
			putchar('-');
		if (i == 0)
			putchar('\n');
	}
}

void compat_time(char out[32], int64_t seconds, bool zone)
{
	time_t t = seconds ? (time_t)seconds : time(NULL);
	struct tm parts;
	out[0] = '\0';
	if (localtime_r(&t, &parts))
		strftime(out, 32, zone ? "%Y-%m-%d %H:%M:%S %z" : "%Y-%m-%d %H:%M:%S", &parts);
}

int compat_end(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	if (errno == EPIPE) { /* who reads has seen enough */
		signal(SIGPIPE, SIG_DFL);
		raise(SIGPIPE);
	}
	fprintf(stderr, "error: cannot write the answer: %s\n", strerror(errno));
	return 1;
}
