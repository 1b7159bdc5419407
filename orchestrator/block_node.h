/*
 * QEMU's block nodes as they are, whatever was put under or over a disk since it was plugged: asked of
 * QEMU each time, never remembered.
 */
#ifndef ORCHESTRATOR_BLOCK_NODE_H
#define ORCHESTRATOR_BLOCK_NODE_H

#include "orchestrator/guest.h"

/*
 * The node on which the device of a disk stands, by the disk's target: its active layer. "vars" are the
 * UEFI variables. Freed by the caller; NULL with *err.
 */
char *block_top_node(struct guest *g, const char *target, struct err *err);
/* The same and all below it, from the top down: an array of names. Owned by the caller. */
json_t *block_chain(struct guest *g, const char *target, struct err *err);
/* How many bytes a node shows. */
int block_node_size(struct guest *g, const char *node, uint64_t *out, struct err *err);
/*
 * A qcow2 of the guest's folder, open for reading and writing, as two nodes: PREFIX "top" over PREFIX "file". It
 * stands on the node `below`; NULL: on nothing yet.
 */
int block_add_layer(struct guest *g, const struct disk_def *d, int fd, const char *prefix,
	const char *below, struct err *err);
/* One that nothing stands on, with its file's node and fdset. */
void block_remove_node(struct guest *g, const char *node);
/* Removes all nodes and fdsets whose names begin with `prefix`: those over others first. */
void block_remove_nodes(struct guest *g, const char *prefix);

#endif
