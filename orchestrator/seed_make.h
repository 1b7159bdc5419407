/* A guest's NoCloud seed: seed.iso in its folder, and the SSH host key issued for it. */
#ifndef ORCHESTRATOR_SEED_MAKE_H
#define ORCHESTRATOR_SEED_MAKE_H

#include "orchestrator/definition.h"

/*
 * Makes the seed; a host key that d->issued has is kept, else one is made. Blocks for the children
 * roost-ssh and roost-image: in workers only.
 */
int seed_make(int guest_dir, struct definition *d, struct err *err);
/* The instance's own client key, made when first needed: $STATE/ssh/id_ed25519; its path. */
char *instance_key_path(struct err *err);

#endif
