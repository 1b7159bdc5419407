#include "orchestrator/complete.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "orchestrator/network.h"
#include "orchestrator/paths.h"
#include "orchestrator/readiness.h"
#include "orchestrator/store_open.h"
#include "orchestrator/verb.h"

/* ---- candidates ----------------------------------------------------------------------------------- */

struct offer {
	const char *typed;  /* what candidates must begin with */
	const char *before; /* "--format=": stands before each; may be NULL */
};

static void offer(const struct offer *o, const char *word, const char *end, const char *doc)
{
	if (!str_starts(word, o->typed))
		return;
	printf("%s%s%s%s%s\n", o->before ? o->before : "", word, end, doc ? "\t" : "",
		doc ? doc : "");
}

/* The names of the guests that run, "\n" around each. */
static char *running_names(void)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **ids = NULL;
	_cleanup_close_ int runs = runs_open(&ignored);
	_cleanup_buf_ struct buf names = {0};
	buf_str(&names, "\n");
	if (runs < 0 || dir_names(runs, &ids, NULL, &ignored) < 0)
		return buf_steal(&names);
	for (char **id = ids; *id; id++) {
		struct status s;
		_cleanup_free_ char *file = str_fmt("%s/status", *id);
		if (status_read(runs, file, &s, &ignored) < 0)
			continue;
		buf_fmt(&names, "%s\n", s.name);
		status_free(&s);
	}
	return buf_steal(&names);
}

static void offer_guests(const struct offer *o, enum verb_guests which, const char *end)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	_cleanup_close_ int guests = guests_open(&ignored);
	_cleanup_free_ char *running = running_names();
	if (guests < 0 || dir_names(guests, &names, NULL, &ignored) < 0)
		return;
	for (char **name = names; *name; name++) {
		_cleanup_free_ char *line = str_fmt("\n%s\n", *name);
		bool runs = strstr(running, line);
		if (which == GUESTS_ALL || runs == (which == GUESTS_RUNNING))
			offer(o, *name, end, runs ? "running" : "shut off");
	}
}

/* Of verbs of two words the first, once. */
static void offer_verbs(const struct offer *o)
{
	for (const struct verb *const *v = verbs; *v; v++) {
		_cleanup_free_ char *first = strndup((*v)->name, strcspn((*v)->name, " "));
		bool two = strchr((*v)->name, ' ');
		if (!two)
			offer(o, (*v)->name, "", (*v)->doc);
		else if (v == verbs || !verb_second(v[-1], first))
			offer(o, first, "", verb_heading((*v)->group));
	}
}

static void offer_seconds(const struct offer *o, const char *first)
{
	for (const struct verb *const *v = verbs; *v; v++)
		if (verb_second(*v, first))
			offer(o, verb_second(*v, first), "", (*v)->doc);
}

/* Those of the store. */
static void offer_images(const struct offer *o)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	_cleanup_store_ struct store s = STORE_NONE;
	if (store_open(&s, &ignored) < 0 || store_names(&s, &names, NULL, &ignored) < 0)
		return;
	for (char **name = names; *name; name++)
		offer(o, *name, "", NULL);
}

static void offer_networks(const struct offer *o)
{
	struct err ignored = ERR_INIT;
	_cleanup_names_ char **names = NULL;
	if (network_names(&names, NULL, &ignored) < 0)
		return;
	for (char **name = names; *name; name++)
		offer(o, *name, "", NULL);
}

static void offer_rungs(const struct offer *o)
{
	for (size_t i = 0; readiness_rung(i); i++)
		offer(o, readiness_rung(i), "", NULL);
}

/* "a|b|c" */
static void offer_words(const struct offer *o, const char *words)
{
	_cleanup_free_ char *copy = xstrdup(words);
	for (char *rest = copy, *word; (word = strsep(&rest, "|"));)
		offer(o, word, "", NULL);
}

/* What a row calls KIND: complete.h. */
static void offer_kind(const struct offer *o, const struct verb *v, const char *kind)
{
	if (str_eq(kind, "NAME"))
		offer_guests(o, v->guests, "");
	else if (str_eq(kind, "IMAGE-NAME"))
		offer_images(o);
	else if (str_eq(kind, "NETWORK"))
		offer_networks(o);
	else if (str_eq(kind, "COMMAND") && str_eq(v->name, "help"))
		offer_verbs(o);
	else if (str_eq(kind, "RUNG"))
		offer_rungs(o);
	else if (islower((unsigned char)kind[0]))
		offer_words(o, kind);
	if (str_eq(kind, "FROM") || str_eq(kind, "TO"))
		offer_guests(o, GUESTS_RUNNING, ":");
	if (str_eq(kind, "FROM") || str_eq(kind, "TO") || str_eq(kind, "FILE") ||
		str_eq(kind, "IMAGE") || str_eq(kind, "DIR") || str_ends(kind, "-DATA"))
		puts(":files");
}

/* ---- what stands at the cursor -------------------------------------------------------------------- */

/* The words before it, understood as roost.c's parse() does. */
struct line {
	const struct verb *verb;
	size_t operands;
	bool options_end;
	bool given[OPTIONS_MAX];
	const struct option_row *open; /* its value is at the cursor; NULL: none */
};

static const struct option_row *find_option(const struct verb *v, const char *word)
{
	size_t len = strcspn(word, "=");
	for (const struct option_row *o = v->options; o < v->options + OPTIONS_MAX && o->name;
		o++) {
		bool is_long = str_starts(word, "--") && strlen(o->name) == len - 2 &&
			       strncmp(word + 2, o->name, len - 2) == 0;
		if (is_long || (o->letter && word[1] == o->letter && !word[2]))
			return o;
	}
	return NULL;
}

static void take_word(struct line *l, const char *word)
{
	const struct verb *v = l->verb;
	if (l->open) {
		if (!str_eq(word, "=")) /* bash makes it a word of its own */
			l->open = NULL;
	} else if (!l->options_end && str_eq(word, "--")) {
		l->options_end = true;
	} else if (!l->options_end && word[0] == '-' && word[1]) {
		const struct option_row *o = find_option(v, word);
		if (o)
			l->given[o - v->options] = true;
		if (o && o->value && !strchr(word, '='))
			l->open = o;
	} else {
		l->operands++;
		l->options_end |= v->rest && (int)l->operands > v->min;
	}
}

static void offer_options(const struct offer *o, const struct line *l)
{
	for (size_t i = 0; i < OPTIONS_MAX && l->verb->options[i].name; i++) {
		_cleanup_free_ char *word = str_fmt("--%s", l->verb->options[i].name);
		const char *value = l->verb->options[i].value;
		if (!l->given[i] || (value && str_ends(value, OPTION_REPEATS)))
			offer(o, word, "", l->verb->options[i].doc);
	}
	offer(o, "--json", "", "the answer as JSON");
	offer(o, "--help", "", "tells the options, with an example");
}

/* The operand at the cursor by its name in the row, without brackets and dots. */
static char *operand_kind(const struct verb *v, size_t index)
{
	_cleanup_free_ char *copy = xstrdup(v->operands);
	_cleanup_free_ char *kind = NULL;
	for (char *rest = copy, *word; (word = strsep(&rest, " "));) {
		bool repeats = strstr(word, "...");
		char *name = str_starts(word, "[USER@]") ? word + strlen("[USER@]") : word;
		name += strspn(name, "[");
		name[strcspn(name, "].")] = '\0';
		free(kind);
		kind = xstrdup(name);
		if (index == 0)
			return TAKE(kind);
		/* the last one may stand for many: of FROM... TO nobody knows where TO begins */
		index -= repeats ? 0 : 1;
		if (repeats && !rest)
			return TAKE(kind);
		if (repeats)
			index = 0;
	}
	return xstrdup("");
}

static void complete_operand(const struct line *l, const char *typed)
{
	struct offer o = {.typed = typed};
	if (!l->options_end && typed[0] == '-') {
		const struct option_row *option = find_option(l->verb, typed);
		char *value = strchr(typed, '=');
		if (!value) {
			offer_options(&o, l);
			return;
		}
		_cleanup_free_ char *before = strndup(typed, (size_t)(value + 1 - typed));
		if (option && option->value)
			offer_kind(&(struct offer){value + 1, before}, l->verb, option->value);
		return;
	}
	_cleanup_free_ char *kind = operand_kind(l->verb, l->operands);
	offer_kind(&o, l->verb, kind);
}

/* -c WORD before the verb says whose guests are meant; how many words that is. */
static size_t take_connect(const char *const *words, size_t count)
{
	struct err ignored = ERR_INIT;
	if (count > 1 && str_starts(words[0], "--connect=")) {
		paths_connect(words[0] + strlen("--connect="), &ignored);
		return 1;
	}
	if (count < 3 || (!str_eq(words[0], "-c") && !str_eq(words[0], "--connect")))
		return 0;
	paths_connect(words[1], &ignored);
	return 2;
}

static void complete_verb(const struct offer *o)
{
	offer_verbs(o);
	if (o->typed[0] != '-')
		return;
	offer(o, "--connect", "", "system or session: whose guests are meant");
	offer(o, "--help", "", "lists the commands");
	offer(o, "--version", "", "tells roost's version");
}

void complete_words(const char *const *words, size_t count)
{
	struct line l = {0};
	size_t at = take_connect(words, count);
	if (!count)
		return;
	const char *typed = words[count - 1];
	if (at + 1 == count) {
		complete_verb(&(struct offer){.typed = typed});
		return;
	}
	if (str_eq(words[at], "-c") || str_eq(words[at], "--connect")) {
		offer_words(&(struct offer){.typed = typed}, "system|session");
		return;
	}
	if (at + 2 == count && verb_is_first(words[at])) {
		offer_seconds(&(struct offer){.typed = typed}, words[at]);
		return;
	}
	size_t used;
	l.verb = verb_of_words(words + at, count - 1 - at, &used);
	if (!l.verb)
		return;
	at += used;
	if (str_eq(l.verb->name, "help") && at + 2 == count) {
		offer_seconds(&(struct offer){.typed = typed}, words[at]);
		return;
	}
	while (at + 1 < count)
		take_word(&l, words[at++]);
	if (l.open && str_eq(typed, "="))
		typed = "";
	if (l.open)
		offer_kind(&(struct offer){.typed = typed}, l.verb, l.open->value);
	else
		complete_operand(&l, typed);
}
