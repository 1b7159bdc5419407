/*
 * A guest's TPM 2.0: a swtpm, one per guest that has `tpm`.
 *
 * It is forked by the keeper before QEMU and held to it by a socket pair, whose other end QEMU
 * inherits: nobody else can reach it, and there is no socket in $RUN. It runs in QEMU's jail at
 * QEMU's uid, in the folder `tpm` of the guest's folder, the only one it needs and which QEMU, for
 * want of a way there, does not reach. It outlives the keeper as QEMU does and ends when QEMU closes
 * its end; one that does not, or that QEMU has never spoken to, is killed. If it dies under a living guest the guest goes on, with
 * a TPM that fails, and that is told: the event ROOST_TPM_GONE, and `dominfo`.
 */
#ifndef ORCHESTRATOR_TPM_H
#define ORCHESTRATOR_TPM_H

#include "orchestrator/argv.h"
#include "orchestrator/guest.h"

/* While still root; o->tpm becomes QEMU's end. Without `tpm` nothing to do. */
int tpm_start(struct guest *g, struct opened *o, struct err *err);
/* Finds the one of a guest that is taken over, by the status file. */
void tpm_adopt(struct guest *g);
/* Has it died? Called by guest_wait(). */
void tpm_look(struct guest *g);
/* QEMU has ended: so has it, in a moment, or it is killed. */
void tpm_end(struct guest *g);
/* QEMU 7.2 exits when it cannot reset the TPM together with the guest. */
int tpm_may_reset(const struct guest *g, struct err *err);
/* What it wrote on its standard error: the last line, or "". */
void tpm_words(const struct guest *g, char out[128]);

#endif
