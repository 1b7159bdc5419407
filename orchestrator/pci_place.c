#include "orchestrator/pci_place.h"

#include <stdio.h>

#include "base/str.h"

/* Slots of the root bus, as argv.h has them. */
enum { NICS_OF_Q35 = 0x07, DISKS_OF_Q35 = 0x0f, LAST_OF_Q35 = 0x1e };
enum { VGA_OF_PC = 0x02, NICS_OF_PC = 0x03, LAST_OF_PC = 0x0e, DISKS_OF_PC = 0x10 };

bool pci_old(const char *machine)
{
	return str_eq(machine, "pc") || (machine && str_starts(machine, "pc-i440fx-"));
}

unsigned pci_disk_slot(const char *machine, size_t index)
{
	return (unsigned)index + (pci_old(machine) ? DISKS_OF_PC : DISKS_OF_Q35);
}

int pci_place_parse(const char *text, struct pci_place *out, struct err *err)
{
	unsigned bus, slot, function;
	char end;
	if (sscanf(text, "%2x:%2x.%1x%c", &bus, &slot, &function, &end) == 3 && !function &&
		slot < 0x20 && bus < 0x100 && (!bus || !slot)) {
		*out = (struct pci_place){bus, slot};
		return 0;
	}
	err_set(err, ERR_USAGE, "'%.20s' is not a place on PCI", text);
	return err_hint(err,
		"write BUS:SLOT.0 in hexadecimal digits: 01:00.0 behind the first root port, 00:08.0 on the root bus");
}

struct pci_place pci_place(const struct definition *d, size_t index)
{
	struct err ignored = ERR_INIT;
	struct pci_place at = {
		0, (unsigned)index + (pci_old(d->machine) ? NICS_OF_PC : NICS_OF_Q35)};
	if (d->nics[index].pci[0])
		pci_place_parse(d->nics[index].pci, &at, &ignored);
	return at;
}

bool pci_port_taken(const struct definition *d, int64_t port)
{
	for (size_t i = 0; i < d->nic_count; i++)
		if ((int64_t)pci_place(d, i).bus == port + 1)
			return true;
	return false;
}

static int check_range(const struct definition *d, struct pci_place at, struct err *err)
{
	bool old = pci_old(d->machine);
	unsigned first = old ? NICS_OF_PC : NICS_OF_Q35, last = old ? LAST_OF_PC : LAST_OF_Q35;
	if (at.bus && old) {
		err_set(err, ERR_USAGE, "a machine '%s' has one PCI bus, number 00", d->machine);
		return err_hint(err, "write 00:%02x.0 to 00:%02x.0", first, last);
	}
	if (at.bus > ROOT_PORTS_MAX)
		return err_set(err, ERR_USAGE,
			"there are %d root ports at most, which lead to buses 01 to %02x",
			ROOT_PORTS_MAX, ROOT_PORTS_MAX);
	if (at.bus || (at.slot >= first && at.slot <= last))
		return 0;
	if (old && at.slot == VGA_OF_PC && !definition_has_display(d))
		return 0;
	if (old && at.slot == VGA_OF_PC)
		return err_set(err, ERR_USAGE, "00:02.0 is the place of the display");
	return err_set(err, ERR_USAGE, "on the root bus slots %02x to %02x are for interfaces",
		first, last);
}

int pci_place_check(const struct definition *d, size_t index, struct err *err)
{
	const struct pci_place at = pci_place(d, index);
	if (check_range(d, at, err) < 0)
		return -1;
	for (size_t i = 0; i < index; i++) {
		const struct pci_place other = pci_place(d, i);
		if (other.bus == at.bus && other.slot == at.slot)
			return err_set(err, ERR_USAGE, "nic%zu is at %02x:%02x.0, too", i, at.bus,
				at.slot);
	}
	for (size_t i = 0; i < d->disk_count; i++)
		if (d->disks[i].bus == BUS_VIRTIO && !at.bus &&
			pci_disk_slot(d->machine, i) == at.slot)
			return err_set(err, ERR_USAGE, "disk number %zu is at 00:%02x.0, too",
				i + 1, at.slot);
	return 0;
}
