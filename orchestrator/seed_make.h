/* A guest's NoCloud seed: seed.iso in its folder, and the SSH host key issued for it. */
#ifndef ORCHESTRATOR_SEED_MAKE_H
#define ORCHESTRATOR_SEED_MAKE_H

#include "orchestrator/definition.h"

/*
 * Makes the seed and fills d->issued.host_key. `old` (may be NULL) is the definition before: its
 * host key is kept. Blocks for the children roost-ssh and roost-image: in workers only.
 */
int seed_make(int guest_dir, struct definition *d, const struct definition *old, struct err *err);
/* The instance's own client key, made when first needed: $STATE/ssh/id_ed25519; its path. */
char *instance_key_path(struct err *err);

#endif
