/* virsh's command line: words into a row's options, and lines into words. */
#include "orchestrator/compat/virsh.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* An older name, which libvirt's virsh takes and does not tell of. */
static bool is_older(const struct virsh_command *c, const char *name, size_t len)
{
	static const char kilobytes[] = "kilobytes";
	return (str_eq(c->name, "setmem") || str_eq(c->name, "setmaxmem")) &&
	       len == sizeof(kilobytes) - 1 && strncmp(name, kilobytes, len) == 0;
}

static int option_of(const struct virsh_command *c, const char *name, size_t len)
{
	if (is_older(c, name, len))
		return option_of(c, "size", sizeof("size") - 1);
	for (int i = 0; i < VIRSH_OPTIONS_MAX && c->options[i].name; i++)
		if (strlen(c->options[i].name) == len &&
			strncmp(c->options[i].name, name, len) == 0)
			return i;
	return -1;
}

static int no_option(const struct virsh_command *c, const char *word, size_t len)
{
	const char *names[VIRSH_OPTIONS_MAX + 1] = {0};
	_cleanup_free_ char *bare = str_fmt("%.*s", (int)len, word);
	const char *refusal = virsh_option_refusal(c->name, bare);
	if (refusal)
		return virsh_error("%s has no --%s here: %s", c->name, bare, refusal);
	for (int j = 0; j < VIRSH_OPTIONS_MAX && c->options[j].name; j++)
		names[j] = c->options[j].name;
	const char *near = str_nearest(bare, names);
	virsh_error("command '%s' doesn't support option --%s", c->name, bare);
	return near ? virsh_error("did you mean --%s?", near) : -1;
}

static bool is_many(enum virsh_kind kind)
{
	return kind == V_MANY || kind == V_REST || kind == V_WORDS;
}

/* --NAME, --NAME=VALUE, --NAME VALUE at words[*at]. */
static int take_option(struct virsh *v, const char *const *words, size_t count, size_t *at)
{
	const char *word = words[*at] + 2, *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	int i = option_of(v->command, word, len);
	if (i < 0)
		return no_option(v->command, word, len);
	const struct virsh_option *o = &v->command->options[i];
	if (v->values[i] || (is_many(o->kind) && v->many_count))
		return virsh_error("option --%s already seen", o->name);
	if (o->kind == V_FLAG) {
		if (equals)
			return virsh_error("invalid '=' after option --%s", o->name);
		v->values[i] = "";
		return 0;
	}
	if (!equals && *at + 1 >= count)
		return virsh_error("expected syntax: --%s <%s>", o->name,
			o->kind == V_NEED_INT || o->kind == V_INT || o->kind == V_NAMED_INT
				? "number"
				: "string");
	v->values[i] = equals ? equals + 1 : words[++*at];
	if (is_many(o->kind))
		v->many[v->many_count++] = v->values[i];
	return 0;
}

/* A bare word: the first option that takes one and has none. */
static int take_bare(struct virsh *v, const char *word)
{
	for (int i = 0; i < VIRSH_OPTIONS_MAX && v->command->options[i].name; i++) {
		enum virsh_kind kind = v->command->options[i].kind;
		if (kind == V_FLAG || kind == V_NAMED || kind == V_NAMED_INT ||
			(v->values[i] && !is_many(kind)))
			continue;
		v->values[i] = word;
		if (is_many(kind) && v->many_count == VIRSH_WORDS_MAX)
			return virsh_error("too many words");
		if (is_many(kind))
			v->many[v->many_count++] = word;
		return 0;
	}
	return virsh_error("unexpected data '%s'", word);
}

static int lacking(const struct virsh *v)
{
	int result = 0;
	for (int i = 0; i < VIRSH_OPTIONS_MAX && v->command->options[i].name; i++) {
		const struct virsh_option *o = &v->command->options[i];
		bool needed = o->kind == V_NEED || o->kind == V_NEED_INT || o->kind == V_WORDS;
		if (v->values[i] || !needed)
			continue;
		result = virsh_error(o->kind != V_NEED_INT ? "command '%s' requires <%s> option"
							   : "command '%s' requires --%s option",
			v->command->name, o->name);
	}
	return result;
}

static int no_command(const char *name)
{
	const char *names[512] = {0}, *refusal = virsh_refusal(name);
	if (refusal)
		return virsh_error("%s", refusal);
	for (size_t i = 0; i + 1 < ARRAY_SIZE(names) && virsh_row(i); i++)
		names[i] = virsh_row(i)->name;
	const char *near = str_nearest(name, names);
	virsh_error("unknown command: '%s'", name);
	return near ? virsh_error("did you mean '%s'?", near) : -1;
}

int virsh_parse(struct virsh *v, const char *const *words, size_t count)
{
	bool options = true;
	v->command = virsh_find(words[0]);
	if (!v->command)
		return no_command(words[0]);
	for (size_t i = 1; i < count; i++) {
		bool option = options && words[i][0] == '-' && words[i][1] == '-';
		if (option && !words[i][2])
			options = false;
		else if (option && str_eq(words[i], "--help")) {
			*v = (struct virsh){
				.command = virsh_find("help"), .quiet = v->quiet, .uri = v->uri};
			v->values[0] = words[0];
			return 0;
		} else if ((option ? take_option(v, words, count, &i) : take_bare(v, words[i])) < 0)
			return -1;
	}
	return lacking(v);
}

/* One word from **line, with its quotes taken off. */
static int word_of(const char **line, struct buf *word)
{
	const char *p = *line;
	char quote = 0;
	for (; *p; p++) {
		if (!quote && (isspace((unsigned char)*p) || *p == ';'))
			break;
		if (quote ? *p == quote : *p == '\'' || *p == '"') {
			quote = quote ? 0 : *p;
			continue;
		}
		if (*p == '\\' && quote != '\'') {
			p++;
			if (!*p)
				return virsh_error("dangling \\");
		}
		buf_add(word, p, 1);
	}
	*line = p;
	return quote ? virsh_error("missing \"") : 0;
}

int virsh_split(const char **line, struct words *words)
{
	const char *p = *line;
	for (;;) {
		p += strspn(p, " \t\r");
		if (*p == '#')
			p += strcspn(p, "\n");
		if (!*p || *p == ';' || *p == '\n') {
			*line = *p ? p + 1 : p;
			return 0;
		}
		_cleanup_buf_ struct buf word = {0};
		buf_str(&word, "");
		if (word_of(&p, &word) < 0)
			return -1;
		words_add(words, word.data);
	}
}
