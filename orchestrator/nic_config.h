/* Interfaces of a guest's definition, which it has from its next start on: added and removed from the command line. */
#ifndef ORCHESTRATOR_NIC_CONFIG_H
#define ORCHESTRATOR_NIC_CONFIG_H

#include "orchestrator/connect.h"

/* May another one be there? ERR_REFUSED if not. */
int nic_config_room(const struct found *f, struct err *err);
/* `nic` is as in guest.json. */
int nic_config_add(const struct found *f, const json_t *nic, struct err *err);
/* By its MAC address; ERR_NOT_FOUND if the definition has none such. */
int nic_config_remove(const struct found *f, const char *mac, struct err *err);
bool nic_config_has(const struct found *f, const char *mac);

#endif
