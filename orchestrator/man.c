#include "orchestrator/man.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* ---- mdoc ----------------------------------------------------------------------------------------- */

/* The compiler's day, "Nov 25 2026", which SOURCE_DATE_EPOCH makes reproducible. */
static void print_day(void)
{
	static const char *const months[] = {"January", "February", "March", "April", "May", "June",
		"July", "August", "September", "October", "November", "December"};
	const char *day = __DATE__;
	for (size_t i = 0; i < ARRAY_SIZE(months); i++)
		if (strncmp(day, months[i], 3) == 0)
			printf(".Dd %s %d, %s\n", months[i], atoi(day + 4), day + 7);
}

/* One character that roff would read in its own way; in `literal` text also what it makes prettier. */
static void add_char(struct buf *b, char c, bool literal)
{
	static const struct {
		char c;
		bool always;
		const char *as;
	} escapes[] = {{'\\', true, "\\e"}, {'^', true, "\\(ha"}, {'~', true, "\\(ti"},
		{'"', true, "\\(dq"}, {'-', false, "\\-"}, {'\'', false, "\\(aq"},
		{'`', false, "\\(ga"}};
	for (size_t i = 0; i < ARRAY_SIZE(escapes); i++) {
		if (c == escapes[i].c && (literal || escapes[i].always)) {
			buf_str(b, escapes[i].as);
			return;
		}
	}
	buf_add(b, &c, 1);
}

/* `what` is a phrase, or a sentence that is made one. */
void man_head(int section, const char *name, const char *what)
{
	_cleanup_buf_ struct buf upper = {0}, phrase = {0};
	for (const char *p = name; *p; p++)
		buf_fmt(&upper, "%c", toupper((unsigned char)*p));
	for (const char *p = what; *p && !str_eq(p, "."); p++)
		add_char(&phrase, *p, true);
	if (islower((unsigned char)what[1]))
		phrase.data[0] = (char)tolower((unsigned char)what[0]);
	print_day();
	printf(".Dt %s %d\n.Os roost %s\n.Sh NAME\n.Nm %s\n.Nd %s\n", upper.data, section,
		ROOST_VERSION, name, phrase.data);
}

void man_word(const char *word)
{
	_cleanup_buf_ struct buf b = {0};
	for (; *word; word++)
		add_char(&b, *word, true);
	printf("\"%s\"", b.data ? b.data : "");
}

/* Puts a word on the line, or on the next one where this one is full or a sentence has ended. */
static void place(struct buf *line, const struct buf *word, bool sentence_ended)
{
	enum { WIDTH = 76 };
	if (line->len && (sentence_ended || line->len + word->len >= WIDTH)) {
		puts(line->data);
		buf_drop(line, line->len);
	}
	if (!line->len && (word->data[0] == '.' || word->data[0] == '\''))
		buf_str(line, "\\&"); /* it would be a macro */
	buf_fmt(line, "%s%s", line->len && !str_eq(line->data, "\\&") ? " " : "", word->data);
}

void man_text(const char *text)
{
	_cleanup_buf_ struct buf line = {0};
	bool bold = false, ended = false;
	while (*(text += strspn(text, " \n"))) {
		_cleanup_buf_ struct buf word = {0};
		size_t len = strcspn(text, " \n");
		ended = ended && isupper((unsigned char)text[text[0] == '`']);
		for (size_t i = 0; i < len; i++) {
			if (text[i] == '`')
				buf_str(&word, (bold = !bold) ? "\\fB" : "\\fP");
			else
				add_char(&word, text[i], bold);
		}
		place(&line, &word, ended);
		ended = !bold && strchr(".?!", text[len - 1]);
		text += len;
	}
	if (line.len)
		puts(line.data);
}

void man_literal(const char *text)
{
	_cleanup_buf_ struct buf b = {0};
	for (const char *p = text; *p; p++) {
		if ((p == text || p[-1] == '\n') && (*p == '.' || *p == '\''))
			buf_str(&b, "\\&");
		add_char(&b, *p, *p != '\n');
	}
	printf(".Bd -literal -offset indent\n%s%s.Ed\n", b.data ? b.data : "",
		str_ends(text, "\n") ? "" : "\n");
}

/* ---- a verb --------------------------------------------------------------------------------------- */

static void option(const struct option_row *o)
{
	printf(".It ");
	if (o->letter)
		printf("Fl %c , ", o->letter);
	printf("Fl Fl %s", o->name);
	if (o->value) {
		printf(" Ar ");
		man_word(o->value);
	}
	putchar('\n');
	man_text(o->doc);
}

static void options(const struct verb *v)
{
	if (!v->options[0].name)
		return;
	puts(".Bl -tag -width Ds");
	for (const struct option_row *o = v->options; o < v->options + OPTIONS_MAX && o->name; o++)
		option(o);
	puts(".El");
}

/* What a verb says of itself below its heading. */
void man_verb(const struct verb *v)
{
	man_text(v->doc);
	options(v);
	puts(".Pp\nExample:");
	man_literal(v->example);
}

static void verb_page(const struct verb *v)
{
	_cleanup_free_ char *name = str_fmt("roost-%s", v->name);
	for (char *blank = name; (blank = strchr(blank, ' '));)
		*blank = '-';
	man_head(1, name, v->doc);
	printf(".Sh SYNOPSIS\n.Nm roost %s\n", v->name);
	if (v->options[0].name)
		puts(".Op Ar options");
	if (v->operands[0]) {
		printf(".Ar ");
		man_word(v->operands);
		putchar('\n');
	}
	puts(".Sh DESCRIPTION");
	man_verb(v);
	puts(".Sh SEE ALSO\n.Xr roost 1");
}

/* ---- any page ------------------------------------------------------------------------------------- */

int man_page(const char *page, struct err *err)
{
	const char *name = str_starts(page, "roost-") ? page + strlen("roost-") : page;
	_cleanup_free_ char *word = xstrdup(name);
	if (str_ends(word, ".1"))
		word[strlen(word) - 2] = '\0';
	const struct verb *v = verb_find(word);
	char *dash = strchr(word, '-');
	if (!v && dash) { /* roost-image-info.1 is of `image info` */
		*dash = ' ';
		v = verb_find(word);
	}
	if (str_eq(word, "roost"))
		man_roost();
	else if (str_eq(name, "definition") || str_eq(name, "definition.5"))
		man_definition();
	else if (str_eq(name, "qmp.7"))
		return man_qmp(err);
	else if (v)
		verb_page(v);
	else
		return err_set(err, ERR_NOT_FOUND, "there is no manual page '%s'", page),
		       err_hint(err, "there are roost.1, roost-COMMAND.1, roost-definition.5 and "
				     "roost-qmp.7");
	return 0;
}
