/* What is known of a guest's disks: where they lie, how large they are, what was read and written. */
#ifndef ORCHESTRATOR_LOOK_BLOCK_H
#define ORCHESTRATOR_LOOK_BLOCK_H

#include "orchestrator/look.h"

/* [{"target":"vda", "source":"/srv/data.raw"}, ...]: the definition's, then what was plugged. */
json_t *look_disks(const struct look *l, struct err *err);
/* The one whose target or source is `word`; borrowed. */
json_t *look_disk(const struct look *l, const json_t *disks, const char *word, struct err *err);

/*
 * Adds to each disk, in bytes: "capacity" (what the guest sees), "allocation" (what the file takes on
 * the host), "physical" (the file's length, in whole sectors as QEMU counts). Of a guest that runs
 * QEMU tells them, of the files that it holds open; of one that does not the files themselves. A drive
 * without medium gets none.
 */
int look_disk_sizes(struct look *l, json_t *disks, struct err *err);

/* Adds the counters of a running guest's disks by virsh's names: "rd_req", "rd_bytes", ... */
int look_disk_counters(struct look *l, json_t *disks, struct err *err);
/* Those names, in the order in which they are told. */
struct disk_counter {
	const char *name, *qemus,
		*text;     /* "rd_req", "rd_operations", "number of read operations" */
	const char *stats; /* in domstats: "rd.reqs" */
};
enum { DISK_COUNTERS = 8 };
extern const struct disk_counter disk_counters[DISK_COUNTERS];

#endif
