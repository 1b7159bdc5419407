/*
 * virsh: a command line of its own shape (virsh_parse.c), one const row per command, and what its commands share.
 *
 * Its rules, from virsh's manual and facts-virsh.md: options may be given as --name VALUE, --name=VALUE, or by their
 * place among those that take one; a usage error prints no blank line, an answer or a failure is followed by one on
 * standard output; -q leaves out that line, heads of tables and messages of success; the exit code is 0 or 1.
 */
#ifndef ORCHESTRATOR_COMPAT_VIRSH_H
#define ORCHESTRATOR_COMPAT_VIRSH_H

#include "orchestrator/compat/compat.h"
#include "orchestrator/connect.h"

/* What scripts ask for is which virsh this behaves like. */
#define LIBVIRT_VERSION "9.0.0"

enum virsh_kind {
	V_FLAG,
	V_NEED,     /* must be there: <name>; by place, too */
	V_NEED_INT, /* the same, a number: --name */
	V_TEXT,     /* may be there; by place, too */
	V_INT,
	V_NAMED, /* by its name alone */
	V_NAMED_INT,
	V_MANY,  /* all words that are left; the last option of its row */
	V_REST,  /* the same, whose name is no option in libvirt's help */
	V_WORDS, /* the same, at least one */
};

enum { VIRSH_OPTIONS_MAX = 24, VIRSH_WORDS_MAX = 64 };

struct virsh_option {
	const char *name;
	enum virsh_kind kind;
};

/* Rows that are the same for all commands about a guest, or a network. */
#define V_DOMAIN                                                                                   \
	{                                                                                          \
		"domain", V_NEED                                                                   \
	}
#define V_NETWORK                                                                                  \
	{                                                                                          \
		"network", V_NEED                                                                  \
	}
#define V_CURRENT                                                                                  \
	{"config", V_FLAG}, {"live", V_FLAG},                                                      \
	{                                                                                          \
		"current", V_FLAG                                                                  \
	}

struct virsh {
	const struct virsh_command *command;
	const char
		*values[VIRSH_OPTIONS_MAX]; /* "" for a flag that is there, NULL for what is not */
	const char *many[VIRSH_WORDS_MAX];  /* of V_MANY */
	size_t many_count;
	bool quiet;    /* -q */
	bool readonly; /* -r */
	bool interactive;
	bool timing;        /* -t */
	const char *escape; /* -e: what ends a console, "^A" or a character; NULL: ^] */
	const char *uri;
};

struct virsh_command {
	const char *name;
	struct virsh_option options[VIRSH_OPTIONS_MAX];
	int (*run)(struct virsh *v); /* 0, or -1 when its errors have been printed */
	const char *doc;
	/* what a failure begins with, "start" as in "Failed to start domain 'x'"; NULL: nothing */
	const char *doing;
	/* it changes something, which --readonly forbids */
	bool changes;
};

/* All rows, by group; each list ends with a row without a name. */
extern const struct virsh_command virsh_life[], virsh_lists[], virsh_looks[], virsh_sizes[],
	virsh_disks[], virsh_nics[], virsh_snapshots[], virsh_misc[], virsh_agents[],
	virsh_guestinfos[], virsh_networks[], virsh_net_updates[], virsh_hosts[], virsh_events[],
	virsh_others[];
/* Is the word in a list, its words with spaces between and perhaps a * at the end of each? */
bool virsh_is_among(const char *list, const char *word);
/* `help`, of the <command> if that is told. virsh_help.c */
int virsh_help(const struct virsh *v);
/* What libvirt has and roost has not, with the sentence that says what to use; NULL if it is unknown. */
const char *virsh_refusal(const char *command);
/* The same of an option of a command that is there. */
const char *virsh_option_refusal(const char *command, const char *option);
const struct virsh_command *virsh_find(const char *name);
/* The row `i` of all of them, in order; NULL behind the last one. */
const struct virsh_command *virsh_row(size_t i);

/* ---- virsh_parse.c ------------------------------------------------------------------------------------ */

/* Words of one command, the first its name, into *v. -1: a usage error, printed. */
int virsh_parse(struct virsh *v, const char *const *words, size_t count);
/*
 * A line as a shell would take it (quotes, backslash, comment), up to a ';' or its end. Words are put behind each
 * other in `words`, copies; *line is moved behind it. -1: a quote without its end, printed.
 */
int virsh_split(const char **line, struct words *words);

/* The next line of standard input, freed by the caller; NULL: it has ended. virsh_lines.c */
char *virsh_line(const char *prompt);

/* ---- for the commands --------------------------------------------------------------------------------- */

bool virsh_flag(const struct virsh *v, const char *name);
/* The value, or NULL. */
const char *virsh_text(const struct virsh *v, const char *name);
/* -1, printed, if it is no number in that range; *out stays as it is if the option is not there. */
int virsh_number(const struct virsh *v, const char *name, int64_t min, int64_t max, int64_t *out);
/* Bytes; a number without a suffix has `unit`. As virsh_number() else. */
int virsh_scaled(const struct virsh *v, const char *name, uint64_t unit, uint64_t *out);
/* "error: ..." on standard error; -1. */
int virsh_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The message of a success, which -q leaves out. */
void virsh_say(const struct virsh *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One that is the only line: virsh's blank line ends it. */
void virsh_say_last(struct virsh *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A roost error as the reason of "Failed to DOING domain 'NAME'", which stands before it; -1. */
int virsh_failed(const struct virsh *v, const char *name, const struct err *err);
/* The same without a line before it. */
int virsh_reason(const struct err *err);

/* The guest of <domain>; -1, printed, if there is none. */
int virsh_domain(const struct virsh *v, struct found *f);
/* The same, and it must be running. */
int virsh_running(const struct virsh *v, struct found *f);
/* The same, with the line `failed` (or NULL) before the reason. */
int virsh_awake(const struct virsh *v, struct found *f, const char *failed);
/* A command to its agent and its "return"; `args` stolen. Fails as virsh_awake() does. */
int virsh_agent_ask(const struct found *f, const char *command, json_t *args, json_t **answer,
	const char *failed);
/* Why an agent does not answer, in libvirt's words; -1. */
int virsh_agent_failed(const struct err *err);
/* Was it undefined, and goes on until it ends? */
bool virsh_transient(const struct found *f);
/* Its disks: `domblklist --json`. */
int virsh_disks_of(const struct found *f, json_t **list);
/* Are the networks that it is on active? -1, printed, if one is not. */
int virsh_networks_active(const struct virsh *v, const struct found *f);
/* The network of <network>: its `net-info --json`. */
int virsh_network(const struct virsh *v, json_t **facts);
/* Runs a verb; its failure is printed as virsh_failed() does. `name` is the guest's or NULL. */
int virsh_ask(const struct virsh *v, const char *name, const struct words *w, const char *verb,
	json_t **answer);
/* The same when nothing is wanted but its success: then the message is said, with the guest's name for '%s'. */
int virsh_do(struct virsh *v, const struct found *f, const struct words *w, const char *verb,
	const char *said);
/* "KEY VALUE" with the key padded to `width`. */
void virsh_fact(int width, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void virsh_table(const struct virsh *v, const json_t *rows);
/* A set of CPUs as a list, "0-3,5". virsh_guestinfo.c */
char *virsh_cpu_list(const bool *in, size_t count);
/* The same as it is printed: that list, or a letter for each, "y" or "-". */
void virsh_print_cpus(const bool *in, size_t count, bool as_list);
/* Has the guest, by its agent, use so many of its CPUs; -1, printed. */
int virsh_guest_use_vcpus(const struct found *f, int64_t count);

#endif
