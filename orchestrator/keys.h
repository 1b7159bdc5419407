/* Names of keys: QEMU's ("ctrl", "ret", "kp_1") and Linux's ("KEY_LEFTCTRL", "KEY_ENTER"). */
#ifndef ORCHESTRATOR_KEYS_H
#define ORCHESTRATOR_KEYS_H

#include "base/err.h"

/* QEMU's name of a key by either of its names; ERR_USAGE, with the nearest one, for none. */
const char *key_code(const char *word, struct err *err);

#endif
