/*
 * The command line: one verb, one file, one const row. Parsing, `roost help`, the manual pages and
 * completion are made from the rows.
 */
#ifndef ORCHESTRATOR_VERB_H
#define ORCHESTRATOR_VERB_H

#include "base/json.h"
#include "base/str.h"
#include "orchestrator/status.h"
#include "qmp/client.h"

enum { OPTIONS_MAX = 28, REPEATED_MAX = 64, EXIT_OF_OURS = 255 };

struct option_row {
	const char *name; /* "paused": written --paused; NULL ends the list */
	/*
	 * NULL: a flag; else what its value is, "RUNG", or its words, "acpi|agent". OPTION_REPEATS at its
	 * end: it may be given more than once.
	 */
	const char *value;
	char letter; /* also -X; 0: none */
	const char *doc;
};

#define OPTION_REPEATS " ..."

struct cli;

/* Under which heading `roost help` lists a verb, in this order; headings are in verb_help.c. */
enum verb_group {
	GROUP_NONE, /* of a row that forgot it: tests/e2e/t_help.sh fails */
	GROUP_LIFE,
	GROUP_DEFINITION,
	GROUP_LOOK,
	GROUP_DEVICES,
	GROUP_ACCESS,
	GROUP_IMAGES,
	GROUP_NETWORKS,
	GROUP_TESTS,
	GROUP_HOST,
	GROUP_MAX
};

/* Which guests completion offers where an operand is NAME. */
enum verb_guests { GUESTS_ALL, GUESTS_RUNNING, GUESTS_STOPPED };

struct verb {
	const char *name; /* may be of two words: "image info" */
	const char
		*operands; /* "NAME [COMMAND...]", for the usage line and completion (complete.h) */
	const char *doc;   /* one sentence */
	int min, max;      /* how many operands; max -1: any number */
	/*
	 * Options end at the first operand after `min`: `ssh NAME ls -l`. The exit status is that of
	 * the command there, and EXIT_OF_OURS, as ssh has it, for whatever fails on our side of it.
	 */
	bool rest;
	struct option_row options[OPTIONS_MAX];
	int (*run)(const struct cli *cli, struct err *err);
	const char *example; /* a command that works as it stands; tests/e2e/t_help.sh runs it */
	enum verb_group group;
	enum verb_guests guests;
};

/* What was typed, parsed by the row. */
struct cli {
	const struct verb *verb;
	const char *operands[256];
	int count;
	const char *values[OPTIONS_MAX]; /* "" for a flag that is there, NULL for what is not */
	struct repeated {
		const char *name, *value;
	} repeated[REPEATED_MAX]; /* options that may be given more than once, as they came */
	int repeated_count;
	bool json; /* --json, known to every verb */
};

bool cli_flag(const struct cli *cli, const char *name);
/* The value of an option, or `otherwise`. */
const char *cli_value(const struct cli *cli, const char *name, const char *otherwise);

/* Prints {"return": value} unwrapped as JSON and frees it. */
void cli_print_json(json_t *value);

/*
 * Runs a verb as if it had been typed with --json and these words (NULL-terminated), and gives its answer instead
 * of printing it: how other words for the same operations are made (compat/compat.h). *answer is the caller's;
 * it may be NULL for "not wanted", and gets NULL from a verb that answers nothing. Returns what the verb does:
 * -1 with *err, or its exit code.
 */
int verb_ask(const char *verb, const char *const words[], json_t **answer, struct err *err);

/* The same as it would have been at the command line, for what is no answer: a console, an editor. */
int verb_call(const char *verb, const char *const words[], struct err *err);

/* The message without "guest 'NAME':" before it, for a line that begins with the guest. */
const char *cli_said_of(const char *guest, const struct err *err);

extern const struct verb *const verbs[]; /* in verbs.c; NULL-terminated */
const struct verb *verb_find(const char *name);
/* The verb that the words begin with, and of how many words its name is; NULL if none. */
const struct verb *verb_of_words(const char *const *words, size_t count, size_t *used);
/* The second word of a verb whose first is `first`, as "info" of "image info"; else NULL. */
const char *verb_second(const struct verb *v, const char *first);
/* Is it the first word of verbs of two? */
bool verb_is_first(const char *word);
const char *verb_heading(enum verb_group group);

#endif
