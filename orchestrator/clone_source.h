/*
 * The disks of a guest that others are to be cloned of: looked at, and made bases (bases.h). For workers of
 * roostd, under bases_lock().
 *
 * What the original wrote to gets a new, empty layer on top, in its own record (snapshots.h), before what lies
 * below becomes a base: so nobody writes to a base at any moment. A top that was never written to is none: what
 * lies below it is what counts. A guest that runs has got its new tops from its keeper (op_snapshot_live.c).
 */
#ifndef ORCHESTRATOR_CLONE_SOURCE_H
#define ORCHESTRATOR_CLONE_SOURCE_H

#include "orchestrator/disk_open.h"

/* A disk of the original, and which of its layers the clone stands on. */
struct part {
	struct disk_files files; /* from the top down, opened for reading */
	char *names[CHAIN_MAX];  /* of those in the guest's folder; the last one is its bottom */
	size_t own;              /* so many are */
	size_t first;            /* the first that has been written to; `own`: none has */
	uint64_t size;
	bool linked; /* it is one of those that are not copied */
};

struct cloning {
	struct definition *from; /* its disks' lineages become the clone's */
	int dir;                 /* its folder */
	json_t *record;          /* of its snapshots */
	json_t *before;          /* the same before it was changed; NULL: it was not */
	const json_t *layers;    /* of a running one: what it writes to no more, by its disks */
	/* What the caller sets: */
	bool full;    /* its disks are to be copied, those of the user's own, too */
	bool as_is;   /* the files of cloning_put_into() are there already, and stay as they are */
	bool reflink; /* these files share their blocks with the original's, where that can be */
	bool preallocate; /* copies get all their room at once */
	const json_t
		*shared; /* targets of disks of the user's own that are the clone's, too; or NULL */
	struct part parts[DISKS_MAX];
	struct part vars; /* `own` 0: they have no layers */
	/* Of a full clone: its copied disks, in their order, are these new, empty files of the caller's; counted. */
	int into[DISKS_MAX];
	size_t into_count;
};

/*
 * What there is. `layers` is set by the caller, as roost-freeze-disks has told, or NULL for a guest that does not
 * run. ERR_REFUSED: it has been saved, or has a disk that cannot be shared.
 */
int cloning_begin(struct cloning *c, const char *name, struct err *err);
/* What it wrote to is written to no more, by the record of its snapshots. */
int cloning_put_on_tops(struct cloning *c, struct err *err);
/* The same of a template that is none any more: where its top is a base. */
int cloning_put_on_frozen(struct cloning *c, struct err *err);
/* All below the tops become bases; from->disks stand on them by their lineages. */
int cloning_freeze(struct cloning *c, struct err *err);
/* For full clones: from->disks become disks that stand alone, of the same size. */
int cloning_stand_alone(struct cloning *c, struct err *err);
/*
 * After that: they become files at these paths, which the caller has made and opened with his own rights: `fds`. ERR_USAGE
 * if they are not as many as there are disks to copy, or are not these files, new and empty; with `as_is`: of the
 * formats of those.
 */
int cloning_put_into(struct cloning *c, const json_t *paths, const json_t *fds, struct err *err);
/* Nobody stands on the bases yet: the original is as it was. */
void cloning_undo(struct cloning *c, bool locked);
void cloning_end(struct cloning *c);

#endif
