/*
 * Where a guest sees its interfaces: their places on PCI, which their names in the guest are made of
 * (enp1s0, ens3).
 *
 * An interface without `pci` is in order, in a slot of the root bus (argv.h). With it, it is where another
 * program had put it: "01:00.0" is behind the first root port, which leads to bus 1; "00:08.0" in a slot of
 * the root bus. Machines q35 have 13 root ports at most, of which the first eight also take what is plugged
 * later; machines pc (i440FX) have the root bus only, where 00:02.0 is free without a display.
 */
#ifndef ORCHESTRATOR_PCI_PLACE_H
#define ORCHESTRATOR_PCI_PLACE_H

#include "orchestrator/definition.h"

enum { ROOT_PORTS = 8, ROOT_PORTS_MAX = 13 };

struct pci_place {
	unsigned bus, slot; /* the function is 0 */
};

/* "01:00.0"; the reason is the message, what would do the hint. */
int pci_place_parse(const char *text, struct pci_place *out, struct err *err);
/* Of interface number `index`, whether asked for or not. */
struct pci_place pci_place(const struct definition *d, size_t index);
/* Can it be there, and is nobody else? */
int pci_place_check(const struct definition *d, size_t index, struct err *err);
/* Has an interface of the definition that root port, rp0 and so on? */
bool pci_port_taken(const struct definition *d, int64_t port);

/* Machine `pc`, an i440FX: no PCI Express. NULL is q35. */
bool pci_old(const char *machine);
/* Where a virtio disk is, by its number in the definition. */
unsigned pci_disk_slot(const char *machine, size_t index);

#endif
