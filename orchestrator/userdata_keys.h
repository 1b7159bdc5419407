/*
 * What user-data does with the SSH host keys of the guest that boots with it. cloud-init merges ours,
 * from vendor-data, beneath it: keys of other types stand beside ours, one of our type replaces it.
 * Only a #cloud-config is looked into; what a script or MIME does, nobody knows.
 */
#ifndef ORCHESTRATOR_USERDATA_KEYS_H
#define ORCHESTRATOR_USERDATA_KEYS_H

#include <stdbool.h>
#include <stddef.h>

struct userdata_keys {
	char *private;       /* ssh_keys: ed25519_private; NULL: none */
	unsigned line;       /* where it stands */
	bool no_vendor_data; /* vendor_data: {enabled: false} */
};

/* Of a text that userdata_check() has taken. */
void userdata_keys_find(const char *text, size_t len, struct userdata_keys *out);
/* Wipes and frees. */
void userdata_keys_free(struct userdata_keys *k);

#endif
