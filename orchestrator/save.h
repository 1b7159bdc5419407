/*
 * What saving a guest and starting it from what was saved share: op_save.c, op_restore.c, save_file.h.
 */
#ifndef ORCHESTRATOR_SAVE_H
#define ORCHESTRATOR_SAVE_H

#include "orchestrator/disk_open.h"
#include "orchestrator/guest.h"
#include "orchestrator/launch.h"
#include "orchestrator/record.h"

/* A start that is to go on where a saved guest stood. */
struct restore {
	int stream;    /* QEMU's migration stream, from its current place to the file's end */
	json_t *facts; /* the file's: save_file.h */
	struct disk_files plugged[DISKS_MAX]; /* of facts.plugged, in its order */
	size_t plugged_count;
};

/*
 * Takes the facts and the files of the request (the stream, then the layers of each plugged disk), and
 * puts the guest's definition in place of the record's. `facts` is borrowed.
 */
int restore_prepare(struct guest *g, const json_t *facts, struct request *files, struct err *err);
/* The addresses of its definition, which may be another's by now: it may have been defined anew since it was saved. */
int restore_addresses(struct guest *g, struct err *err);
/* Adds what was plugged to QEMU's command line, and to the list in $RUN. */
int restore_argv(struct guest *g, struct launch *l, struct err *err);
/* With QEMU there and its CPUs stopped: RAM and devices out of the stream. */
int restore_load(struct guest *g, struct err *err);
/* A keeper died over it: what a QEMU that waits for RAM can still become. 1: it is loaded. */
int restore_adopt(struct guest *g, struct err *err);
void restore_free(struct guest *g);

/*
 * Saving, with the CPUs stopped and g->saving set. First RAM and devices go into `stream`, which is closed; *told,
 * owned by the caller, is what else a start from it must know. Then the client is told that, and says that the file
 * stands (op_save.c has the protocol). save_go_on() lets the guest go on, from wherever that was left.
 */
int save_send(struct guest *g, bool running, int *stream, json_t **told, struct err *err);
int save_agree(struct guest *g, int control, const json_t *told, struct err *err);
void save_go_on(struct guest *g, bool running, const char *why);
/* The migration's side of QEMU; op_save.c. */
int migration_tell_events(struct guest *g, struct err *err);
int migration_status(struct guest *g, json_t **info, struct err *err);
/*
 * Until it is completed; ERR_QEMU with QEMU's reason, ERR_REFUSED when cancelled, ERR_TIMEOUT when
 * what is sent has not moved for a minute.
 */
int migration_await(struct guest *g, const char *step, struct err *err);

#endif
