/*
 * The lines that virsh reads when no command is given. At a terminal libedit edits them, remembers them, and
 * completes commands, their options and the names of guests and networks with the tabulator.
 *
 * libedit (editline/readline.h has its functions) is loaded here and by nobody else, so that no other command pays for
 * being linked with it; where it is not installed, the terminal's own line is read.
 */
#include "orchestrator/compat/virsh.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef char *complete_fn(const char *text, int state);

static struct {
	char *(*readline)(const char *prompt);
	int (*add_history)(const char *line);
	char **line_buffer;
	complete_fn **completion;
} edit;

/* ---- completion ---------------------------------------------------------------------------------------------- */

static void add(struct words *w, const char *word, const char *begins)
{
	if (str_starts(word, begins))
		words_add(w, word);
}

static void add_commands(struct words *w, const char *text)
{
	for (size_t i = 0; virsh_row(i); i++)
		add(w, virsh_row(i)->name, text);
}

static void add_options(struct words *w, const struct virsh_command *c, const char *text)
{
	for (int i = 0; i < VIRSH_OPTIONS_MAX && c->options[i].name; i++) {
		_cleanup_free_ char *option = str_fmt("--%s", c->options[i].name);
		add(w, option, text);
	}
}

static void add_names(struct words *w, const char *verb, const char *text)
{
	struct err none = ERR_INIT;
	_cleanup_json_ json_t *list = NULL;
	size_t i;
	json_t *o;
	verb_ask(verb, (const char *const[]){"--all", NULL}, &list, &none);
	json_array_foreach (list, i, o)
		add(w, json_get_str(o, "name", ""), text);
}

/* What may stand where `text` does, by the words before it. */
static void add_all(struct words *w, const char *line, const char *text)
{
	const char *from = strrchr(line, ';');
	from = from ? from + 1 : line;
	from += strspn(from, " ");
	size_t len = strcspn(from, " ");
	_cleanup_free_ char *name = str_fmt("%.*s", (int)len, from);
	if (!from[len] || str_eq(name, "help")) {
		add_commands(w, text);
		return;
	}
	const struct virsh_command *c = virsh_find(name);
	if (c && text[0] == '-')
		add_options(w, c, text);
	else if (c && c->options[0].name)
		add_names(w, str_eq(c->options[0].name, "network") ? "net-list" : "list", text);
}

/* Called with 0, 1, ... until there is no more; what it gives is freed by libedit. */
static char *complete(const char *text, int state)
{
	static struct words found;
	if (state == 0) {
		words_free(&found);
		add_all(&found, *edit.line_buffer ? *edit.line_buffer : "", text);
	}
	return state >= 0 && (size_t)state < found.count ? strdup(found.list[state]) : NULL;
}

/* ---- lines --------------------------------------------------------------------------------------------------- */

static bool load(void)
{
	static bool tried;
	if (tried || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return edit.readline;
	tried = true;
	void *library = dlopen("libedit.so.2", RTLD_NOW | RTLD_LOCAL); /* Debian's name */
	if (!library)
		library = dlopen("libedit.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return false;
	/* POSIX has functions as such pointers */
	*(void **)&edit.add_history = dlsym(library, "add_history");
	*(void **)&edit.line_buffer = dlsym(library, "rl_line_buffer");
	*(void **)&edit.completion = dlsym(library, "rl_completion_entry_function");
	if (edit.add_history && edit.line_buffer && edit.completion)
		*(void **)&edit.readline = dlsym(library, "readline");
	if (edit.readline)
		*edit.completion = complete;
	return edit.readline;
}

char *virsh_line(const char *prompt)
{
	char *line = NULL;
	size_t room = 0;
	fflush(stdout);
	if (load()) {
		line = edit.readline(prompt);
		if (line && line[strspn(line, " ")])
			edit.add_history(line);
		return line;
	}
	fputs(prompt, stdout);
	fflush(stdout);
	if (getline(&line, &room, stdin) >= 0)
		return line;
	free(line);
	return NULL;
}
