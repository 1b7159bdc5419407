/*
 * What was plugged into a running guest since its start: disks and interfaces on the root ports.
 *
 * The list is kept in $RUN/g/ID/attached, replaced whole, so that the next keeper knows it; an entry
 * is {"kind":"disk"|"interface", "port":N, "device":ID, "nodes":[...], "sets":[...], what was asked
 * for...}. An entry whose unplug the guest has not answered yet has "unplugging":true: it still
 * takes its port, and DEVICE_DELETED, whenever it comes, removes the rest of it.
 *
 * {"kind":"medium", "drive":TARGET, "medium":PATH} tells what change-media has put into a CD-ROM drive;
 * without "medium" it is empty.
 */
#ifndef ORCHESTRATOR_ATTACHED_H
#define ORCHESTRATOR_ATTACHED_H

#include "orchestrator/guest.h"

/* Reads the list that a former keeper left; an empty one without. */
void attached_load(struct guest *g);
int attached_save(struct guest *g, struct err *err);
bool attached_port_taken(const struct guest *g, int64_t port);
/* The first root port that nothing takes. */
int attached_free_port(struct guest *g, int64_t *port, struct err *err);
/* The entry whose KEY is VALUE; borrowed; NULL. */
json_t *attached_find(struct guest *g, const char *key, const char *value);
int attached_add(struct guest *g, json_t *entry, struct err *err); /* `entry` stolen */
void attached_remove(struct guest *g, const json_t *entry);
/* device_del and DEVICE_DELETED; what lies behind the device goes, too. */
int attached_unplug(struct guest *g, json_t *entry, int64_t timeout_ms, struct err *err);
/* For guest_events.c: a device is gone, perhaps long after it was asked to go. */
void attached_on_deleted(struct guest *g, const json_t *data);
/* Is there such a device in QEMU's tree? For recovery. */
bool device_exists(struct guest *g, const char *id);

#endif
