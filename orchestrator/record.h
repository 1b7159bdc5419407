/*
 * A guest's record: $STATE/guests/NAME/guest.json, {"roost":1, ...definition..., "issued":{...}}.
 *
 * Under root the record is root's: the folder belongs to the keeper's uid, so a record that
 * somebody else owns is not believed. It is changed by roostd alone, and replaced whole.
 */
#ifndef ORCHESTRATOR_RECORD_H
#define ORCHESTRATOR_RECORD_H

#include "orchestrator/definition.h"

#define RECORD_VERSION 1
/* In the guest's folder, too: what `managedsave` has written, from which the next start goes on. */
#define SAVE_MANAGED "managed.save"
/*
 * In the guest's folder in $RUN, {"name", "fallback-tcg"}: its end was its installation's, and it is to be started
 * again. install.h
 */
#define RECORD_AGAIN "again"
/* There, too: what it ran with, once it has ended. */
#define RECORD_RAN "ran.json"

/*
 * The record in an open folder as it stands, nothing of it checked but whose it is: ours or root's. The
 * folder is its keeper's: what is looked at is what is read, whatever takes its name meanwhile.
 */
json_t *record_look(int dir, struct err *err);
/* ERR_NOT_FOUND: no such guest. ERR_REFUSED with "broken: ..." when the record cannot be believed. */
struct definition *record_read(const char *name, struct err *err);
int record_write(int guest_dir, const struct definition *d, struct err *err);
/* The same in a folder that is about to be flushed. */
int record_write_new(int guest_dir, const struct definition *d, struct err *err);
/* The record of a guest that is about to be called `to`: good in a folder of either name. */
int record_write_renaming(
	int guest_dir, const struct definition *d, const char *to, struct err *err);
/*
 * What a running guest was started with, its seed included, kept in $RUN/g/ID/guest.json: its
 * record may have been changed for the next start since.
 */
int record_keep_running(int run, const struct definition *d, struct err *err);
struct definition *record_read_running(int run, struct err *err);
/* The seed is a disk like others, which the definition does not name: the last one. */
int record_add_seed(struct definition *d, struct err *err);
/* A quick look for `list`: there, ours, not empty, ends as a record ends; and is it a template's? */
bool record_looks_sound(int guests_dir, const char *name, bool *template);
/* The same for `list --autostart`: of a record that cannot be read it is not known, so no. */
bool record_autostarts(int guests_dir, const char *name);
/* In the folder of a guest that was undefined while it runs: op_undefine.c. */
#define RECORD_UNDEFINED "undefined"
/* Is it marked so? It is no more once it has ended. `guests_dir` as above. */
bool record_is_transient(int guests_dir, const char *name);

#endif
