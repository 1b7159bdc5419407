/* roost: the command line. Finds the verb's row, parses by it, runs it, prints the error once; or answers to an old name. */
#include "orchestrator/compat/compat.h"
#include "orchestrator/paths.h"
#include "orchestrator/verb.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int usage_error(struct err *err, const struct verb *v)
{
	return err_hint(err, "usage: roost %s%s%s; `roost help %s` tells more", v->name,
		v->operands[0] ? " " : "", v->operands, v->name);
}

static int option_index(const struct verb *v, const char *name, size_t len)
{
	for (int i = 0; i < OPTIONS_MAX && v->options[i].name; i++)
		if (strlen(v->options[i].name) == len &&
			strncmp(v->options[i].name, name, len) == 0)
			return i;
	return -1;
}

static int unknown_option(const struct verb *v, const char *word, struct err *err)
{
	const char *names[OPTIONS_MAX + 2] = {"json"};
	char bare[64];
	for (int i = 0; i < OPTIONS_MAX && v->options[i].name; i++)
		names[i + 1] = v->options[i].name;
	snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(word + 2, "="), word + 2);
	const char *near = word[1] == '-' ? str_nearest(bare, names) : NULL;
	err_set(err, ERR_USAGE, "roost %s has no option '%s'", v->name, word);
	return near ? err_hint(err, "did you mean --%s?", near) : usage_error(err, v);
}

/* One option at argv[*at]; its value may be the next word. */
static int parse_option(
	struct cli *cli, const char *const *argv, int argc, int *at, struct err *err)
{
	const struct verb *v = cli->verb;
	const char *word = argv[*at], *value = NULL;
	int index = -1;
	if (strcmp(word, "--json") == 0) {
		cli->json = true;
		return 0;
	}
	if (word[1] == '-') {
		size_t len = strcspn(word + 2, "=");
		index = option_index(v, word + 2, len);
		value = word[2 + len] ? word + 3 + len : NULL;
	} else if (word[1] && !word[2]) {
		for (int i = 0; i < OPTIONS_MAX && v->options[i].name; i++)
			if (v->options[i].letter == word[1])
				index = i;
	}
	if (index < 0)
		return unknown_option(v, word, err);
	const struct option_row *o = &v->options[index];
	if (!o->value && value)
		return err_set(err, ERR_USAGE, "roost %s: --%s takes no value", v->name, o->name);
	if (o->value && !value) {
		if (*at + 1 >= argc)
			return err_set(err, ERR_USAGE, "roost %s: --%s needs a value, %.*s",
				v->name, o->name, (int)strcspn(o->value, " "), o->value);
		value = argv[++*at];
	}
	if (o->value && str_ends(o->value, OPTION_REPEATS)) {
		if (cli->repeated_count == REPEATED_MAX)
			return err_set(err, ERR_USAGE, "roost %s: too many options", v->name);
		cli->repeated[cli->repeated_count++] = (struct repeated){o->name, value};
	} else if (cli->values[index]) {
		return err_set(err, ERR_USAGE, "roost %s: --%s is given twice", v->name, o->name);
	}
	cli->values[index] = value ? value : "";
	return 0;
}

static int parse(struct cli *cli, int argc, const char *const *argv, struct err *err)
{
	const struct verb *v = cli->verb;
	bool options = true;
	for (int i = 0; i < argc; i++) {
		if (options && strcmp(argv[i], "--") == 0) {
			options = false;
		} else if (options && argv[i][0] == '-' && argv[i][1]) {
			if (parse_option(cli, argv, argc, &i, err) < 0)
				return -1;
		} else if ((size_t)cli->count == ARRAY_SIZE(cli->operands)) {
			return err_set(err, ERR_USAGE, "roost %s: too many words", v->name);
		} else {
			cli->operands[cli->count++] = argv[i];
			options = options && !(v->rest && cli->count > v->min);
		}
	}
	if (cli->count >= v->min && (v->max < 0 || cli->count <= v->max))
		return 0;
	err_set(err, ERR_USAGE, "roost %s: %s", v->name,
		cli->count < v->min ? "a word is missing" : "a word too many");
	return usage_error(err, v);
}

bool cli_flag(const struct cli *cli, const char *name)
{
	return cli_value(cli, name, NULL) != NULL;
}

const char *cli_value(const struct cli *cli, const char *name, const char *otherwise)
{
	int index = option_index(cli->verb, name, strlen(name));
	return index >= 0 && cli->values[index] ? cli->values[index] : otherwise;
}

static json_t **asked; /* by verb_ask(): where the answer goes instead of to standard output */

void cli_print_json(json_t *value)
{
	_cleanup_json_ json_t *owned = value ? value : json_object();
	if (asked) {
		json_decref(*asked);
		*asked = TAKE(owned);
		return;
	}
	_cleanup_free_ char *text = json_pretty(owned);
	fputs(text, stdout);
}

const char *cli_said_of(const char *guest, const struct err *err)
{
	_cleanup_free_ char *named = str_fmt("guest '%s'", guest);
	const char *rest = err->message + strlen(named);
	if (!str_starts(err->message, named) || (!str_starts(rest, ": ") && *rest != ' '))
		return err->message;
	return rest + strspn(rest, ": ");
}

static int fail(const struct cli *cli, const struct err *err)
{
	if (cli->json) {
		cli_print_json(json_pack("{s:o}", "error", json_from_err(err)));
	} else if (err->message[0]) {
		fprintf(stderr, "roost: %s\n", err->message);
		if (err->hint[0])
			fprintf(stderr, "       %s\n", err->hint);
	}
	/* `completion` takes words as they come, too, but its status is nobody else's */
	bool others = cli->verb && cli->verb->rest && !str_eq(cli->verb->name, "completion");
	return others ? EXIT_OF_OURS : err_exit_code(err->kind);
}

/* Errors are told as JSON even if they stand before the word that asks for it. */
static bool asks_for_json(const struct verb *v, int argc, char **argv)
{
	int operands = 0;
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--json") == 0)
			return true;
		if (argv[i][0] != '-' && v && v->rest && ++operands > v->min)
			return false; /* from here on it is another's command line */
	}
	return false;
}

const struct verb *verb_find(const char *name)
{
	for (const struct verb *const *v = verbs; *v; v++)
		if (strcmp((*v)->name, name) == 0)
			return *v;
	return NULL;
}

const char *verb_second(const struct verb *v, const char *first)
{
	size_t len = strlen(first);
	return strncmp(v->name, first, len) == 0 && v->name[len] == ' ' ? v->name + len + 1 : NULL;
}

bool verb_is_first(const char *word)
{
	for (const struct verb *const *v = verbs; *v; v++)
		if (verb_second(*v, word))
			return true;
	return false;
}

const struct verb *verb_of_words(const char *const *words, size_t count, size_t *used)
{
	*used = 2;
	for (const struct verb *const *v = verbs; *v && count > 1; v++) {
		const char *second = verb_second(*v, words[0]);
		if (second && str_eq(second, words[1]))
			return *v;
	}
	const struct verb *one = count && !strchr(words[0], ' ') ? verb_find(words[0]) : NULL;
	*used = one ? 1 : 0;
	return one;
}

static int run_words(struct cli *cli, const char *verb, const char *const words[], struct err *err)
{
	int count = 0;
	cli->verb = verb_find(verb);
	if (!cli->verb)
		return err_set(err, ERR_REFUSED, "this roost has no '%s'", verb);
	while (words[count])
		count++;
	return parse(cli, count, words, err) < 0 ? -1 : cli->verb->run(cli, err);
}

int verb_ask(const char *verb, const char *const words[], json_t **answer, struct err *err)
{
	struct cli cli = {.json = true};
	json_t *value = NULL;
	asked = &value;
	int result = run_words(&cli, verb, words, err);
	asked = NULL;
	if (answer && result >= 0)
		*answer = value;
	else
		json_decref(value);
	return result;
}

int verb_call(const char *verb, const char *const words[], struct err *err)
{
	struct cli cli = {0};
	return run_words(&cli, verb, words, err);
}

static int no_such_verb(const char *first, const char *second, struct err *err)
{
	bool two = second && verb_is_first(first);
	_cleanup_free_ char *word = str_fmt("%s%s%s", first, two ? " " : "", two ? second : "");
	const char *names[256];
	size_t n = 0;
	for (const struct verb *const *v = verbs; *v && n + 1 < ARRAY_SIZE(names); v++)
		names[n++] = (*v)->name;
	names[n] = NULL;
	const char *near = str_nearest(word, names);
	err_set(err, ERR_USAGE, "there is no command '%s'", word);
	return near ? err_hint(err, "did you mean `roost %s`?", near)
		    : err_hint(err, "`roost help` lists the commands");
}

/* -c WORD, --connect WORD, --connect=WORD before the verb, which is as virsh has it. */
static int take_connect(int *argc, char ***argv, const char **connect, struct err *err)
{
	char **words = *argv;
	int taken = 0;
	if (*argc > 1 && str_starts(words[1], "--connect=")) {
		*connect = words[1] + strlen("--connect=");
		taken = 1;
	} else if (*argc > 1 && (str_eq(words[1], "-c") || str_eq(words[1], "--connect"))) {
		if (*argc < 3)
			return err_set(
				err, ERR_USAGE, "%s needs a value, system or session", words[1]);
		*connect = words[2];
		taken = 2;
	}
	words[taken] = words[0];
	*argv += taken;
	*argc -= taken;
	return 0;
}

/* As in `roost list | head -n 1`: who reads has seen enough, and that is no error to tell of. */
static void end_unread(void)
{
	signal(SIGPIPE, SIG_DFL);
	raise(SIGPIPE);
}

/* Does --help stand where it is roost's? */
static bool asks_for_help(const struct verb *v, int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 && !(v->rest && i > v->min))
			return true;
	return false;
}

/* Takes the verb from the words, and leaves those after it. --help turns it into `help`. */
static int take_verb(struct cli *cli, int *argc, char ***argv, struct err *err)
{
	const char *const *words = (const char *const *)*argv;
	size_t used = 0, count = (size_t)*argc;
	const char *first = count ? words[0] : "help";
	if (str_eq(first, "--help") || str_eq(first, "-h"))
		first = "help";
	if (str_eq(first, "--version") || str_eq(first, "-V"))
		first = "version";
	bool alone = verb_is_first(first) && (count == 1 || words[1][0] == '-');
	const char *named[] = {first, count > 1 ? words[1] : NULL};
	cli->verb = alone ? NULL : verb_of_words(named, count > 1 ? 2 : 1, &used);
	*argv += count ? (cli->verb ? used : 1) : 0;
	*argc -= count ? (int)(cli->verb ? used : 1) : 0;
	cli->json = asks_for_json(cli->verb, *argc, *argv);
	if (!cli->verb && !alone)
		return no_such_verb(first, named[1], err);
	if (!alone && !asks_for_help(cli->verb, *argc, *argv))
		return parse(cli, *argc, (const char *const *)*argv, err);
	cli->operands[cli->count++] = alone ? first : cli->verb->name;
	cli->verb = verb_find("help");
	return 0;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct cli cli = {0};
	const char *connect = NULL;
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	const struct old_name *old = old_name_find(argv[0]);
	if (old)
		return old->run(argc, argv);
	if (take_connect(&argc, &argv, &connect, &err) < 0)
		return fail(&cli, &err);
	argc--, argv++;
	if (take_verb(&cli, &argc, &argv, &err) < 0)
		return fail(&cli, &err);
	if (paths_connect(connect, &err) < 0)
		return fail(&cli, &err);
	/* a verb may end with an exit code of its own, above 0, when it has printed all there is */
	int result = cli.verb->run(&cli, &err);
	if (result >= 0 && (fflush(stdout) < 0 || ferror(stdout))) {
		if (errno == EPIPE)
			end_unread();
		result = err_errno(&err, "cannot write the answer");
	}
	return result < 0 ? fail(&cli, &err) : result;
}
