/*
 * What must be known of the installed QEMU before a guest runs: its versioned machine type. Asked
 * of QEMU itself, and kept in $STATE/qemu.json by the identity of its binary.
 */
#ifndef ORCHESTRATOR_QEMU_CAPS_H
#define ORCHESTRATOR_QEMU_CAPS_H

#include "base/err.h"

/* "q35" becomes "pc-q35-7.2"; a name that is no alias stays. ERR_USAGE if QEMU knows no such machine. */
int qemu_machine(const char *wanted, char out[64], struct err *err);

#endif
