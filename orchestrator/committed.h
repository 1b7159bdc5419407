/*
 * What the records know of a commit of a guest's own chain, after which its disk is another file than before.
 *
 * Of a running guest (op_blockcommit.c):
 *
 *	guest.json	a link of the disk's lineage has `commit`: its owner lets what stands on it be written into it.
 *			Root's word: only roostd sets it. From then on size and time of that file may change
 *	snapshots.json	`committed`: {that `commit`: TARGET}: it is done, the guest writes to that file now. The keeper's
 *			word, which chooses among files of which root has agreed to both
 *
 * The second is written while the CPUs stand still, when both chains show the same; so whoever is killed, the disk is
 * what the two say together. Of files below the top the header of that decides, which QEMU writes when all is done.
 *
 * Of one that does not run (op_blockcommit_off.c) a new file takes the name of that link's: its `commit` says which
 * (committed_mark_of_file()), and it is done as soon as that file is there. If files stay above those that are merged, the
 * lowest of them names that link then, and it is done as soon as it does.
 *
 * Whoever reads a record gets it so; the record itself is put right afterwards.
 */
#ifndef ORCHESTRATOR_COMMITTED_H
#define ORCHESTRATOR_COMMITTED_H

#include "orchestrator/definition.h"

/* Disks of which a commit is done are what it has made of them; of others the written file is taken as it is now. */
void committed_apply(struct definition *d);
/* The disk is what its link `i` is, over what that stands on. */
void committed_switch(struct disk_def *d, size_t i);
/*
 * The mark for a file that is to take the name of a link, and is not written to any more; freed by the caller. `above`: so
 * many files of the disk, from its top down, stay.
 */
char *committed_mark_of_file(int fd, size_t above, struct err *err);
/* Those links above the link `base`, of which so many files of the disk stay `above`, are none any more. */
void committed_forget(struct disk_def *d, size_t above, size_t base);
/* Marks that link of all disks that are the file `top`. False: there is none. */
bool committed_mark(struct definition *d, const char *top, const char *base, const char *mark);
/* What is recorded anew of the same disk has the marks of before. */
void committed_keep_marks(struct disk_def *d, const struct disk_def *was);
/* No commit is at work: takes the marks away. */
void committed_unmark(struct definition *d);
/* Has a record as it stands (record_look()) a mark? */
bool committed_is_open(const json_t *record);

/*
 * As a worker of roostd's: with args.base the records of the guest, that by which it runs, too, are marked,
 * *ret is {"mark": MARK}; without, they are put right.
 */
int op_commit_record(const json_t *args, json_t **ret, struct err *err);

#endif
