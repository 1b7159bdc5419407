/*
 * The run in which a guest is installed: what it has and its definition has not, an installer.
 *
 * The definition on disk is what the guest is to be afterwards: it boots from its disk. The caller of `roost-start` adds
 * for that one run either a medium in an empty CD-ROM drive, booted before anything else, or a kernel with its initial
 * RAM disk, or both; he has opened the files. So nothing has to be changed when the installation is over, and nothing
 * that dies meanwhile (a keeper, roostd, the host) can make an installer run a second time, over what it has installed.
 *
 * It is over at the guest's first reset, before which QEMU stops (-action reboot=shutdown):
 *
 *	from a medium	it is ejected, and the same QEMU is reset and goes on, now from the disk (op_install.c)
 *	with a kernel	QEMU ends, and roostd starts the guest anew by its definition: RECORD_AGAIN in $RUN/g/ID,
 *			which the keeper leaves there and the next roostd heeds, too, should this one have died
 *
 * or for good if `noreboot` is asked for; and at a power-off.
 */
#ifndef ORCHESTRATOR_INSTALL_H
#define ORCHESTRATOR_INSTALL_H

#include "orchestrator/argv.h"
#include "orchestrator/guest.h"

/* What came with the request, until QEMU has it. */
struct install {
	int medium, kernel, initrd; /* owned; -1: not there */
};

/*
 * Of roost-start's `install`: {"medium": PATH, "kernel": BOOL, "initrd": BOOL, "cmdline": TEXT, "noreboot": BOOL}, and
 * the files in that order. Makes the guest's definition that of this run.
 */
int install_prepare(struct guest *g, const json_t *facts, struct request *files, struct err *err);
/* Puts them among what QEMU is to hold. */
int install_open(struct guest *g, struct opened *o, struct err *err);
void install_free(struct guest *g);
/* QEMU has stopped for a reset, by that reason of SHUTDOWN, which ends the installation. False: it means something else. */
bool install_ends(struct guest *g, const char *reason);
/* For a guest that stands at its reset: without the medium it goes on. */
int op_installed(struct guest *g, struct err *err);
int recover_installed(struct guest *g, const json_t *journal, struct err *err);
/* QEMU has ended: leaves RECORD_AGAIN behind if that is so. */
void install_leave(struct guest *g);
/* ERR_REFUSED while an installer runs, for what could not be gone on with: "saved". */
int install_refuse(const struct guest *g, const char *what, struct err *err);

#endif
