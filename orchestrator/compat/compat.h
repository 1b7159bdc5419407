/*
 * The old names: virsh, virt-install and the others, for scripts, fingers and textbooks that know them.
 *
 * Each is a translation and nothing else: what was typed becomes the words of one of roost's own verbs,
 * verb_ask() runs it, and its JSON answer is printed as libvirt's tool of that name prints it: columns, words,
 * streams, blank lines, exit codes (shared/facts-virsh.md has them literally, measured from libvirt 9.0.0,
 * virtinst 4.1.0, guestfs-tools 1.48.2). An option that has no translation is refused by its name.
 *
 * `roost compat --install` links the names; the program finds out by argv[0] as which it was called.
 */
#ifndef ORCHESTRATOR_COMPAT_COMPAT_H
#define ORCHESTRATOR_COMPAT_COMPAT_H

#include "orchestrator/verb.h"

struct old_name {
	const char *name;
	int (*run)(int argc,
		char **argv); /* returns the exit code; standard output is flushed by it */
	const char *doc;
};

/* Ends with a row without a name. */
extern const struct old_name old_names[];
/* As which it was called; NULL: as roost. */
const struct old_name *old_name_find(const char *argv0);

int virsh_main(int argc, char **argv);
int virt_clone_main(int argc, char **argv);
int virt_install_main(int argc, char **argv);
int virt_sysprep_main(int argc, char **argv);
int virt_df_main(int argc, char **argv);
int virt_host_validate_main(int argc, char **argv);
int virt_viewer_main(int argc, char **argv);
int cloud_localds_main(int argc, char **argv);

/* ---- the words for a verb, and its answer ---------------------------------------------------------- */

/* Words for verb_ask(); each is a copy. All zero is an empty list; any other ends with a NULL. */
struct words {
	char **list;
	size_t count;
	size_t texts; /* how many at its end are "--" and what words_text() has added */
};
void words_add(struct words *w, const char *word);
/* What somebody has typed, and no option is, whatever it begins with: behind "--", and all that words_add() adds. */
void words_text(struct words *w, const char *text);
void words_fmt(struct words *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* --NAME VALUE, unless the value is NULL. */
void words_option(struct words *w, const char *name, const char *value);
void words_free(struct words *w);
#define _cleanup_words_ _cleanup_(words_free)

/* verb_ask() with these words; 0 or -1: an exit code of the verb's own is no failure. */
int words_ask(const struct words *w, const char *verb, json_t **answer, struct err *err);
/* The same with one word that is no option, or none if it is NULL. */
int compat_ask(const char *verb, const char *word, json_t **answer, struct err *err);

/* ---- how libvirt says it ----------------------------------------------------------------------------- */

/* One of libvirt's eight words for a state, from roost's word for it. */
const char *compat_state(const char *state);
/*
 * The table of its tools: ' ', cells as wide as the widest with 3 spaces between, the last one as it is; below the
 * head a rule. `rows` as table.h has them, the head first; if `bare` there is none, and the others are as wide as they are.
 */
void compat_table(const json_t *rows, bool bare);
/* "2026-11-23 08:06:59", local time, with its zone " +0000" if asked; 0 is now. */
void compat_time(char out[32], int64_t seconds, bool zone);
/* What was printed is written; the exit code: `code`, or 1 if it cannot be. */
int compat_end(int code);

#endif
