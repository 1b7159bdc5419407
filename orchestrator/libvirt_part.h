/* The parts of reading libvirt's XML, one file each. For the files of libvirt_xml.h. */
#ifndef ORCHESTRATOR_LIBVIRT_PART_H
#define ORCHESTRATOR_LIBVIRT_PART_H

#include "orchestrator/libvirt_node.h"

void libvirt_read_domain(struct reading *r, xmlNode *domain);
void libvirt_read_network(struct reading *r, xmlNode *network);
/* One <host> of its <dhcp>, alone, as net-update has it: {"mac", "name", "address"}, each if it is there. */
void libvirt_read_host(struct reading *r, xmlNode *host);

/* <devices>: libvirt_devices.c; of them <disk> and <interface> in files of their own. */
void libvirt_read_devices(struct reading *r, xmlNode *domain);
void libvirt_read_disks(struct reading *r, xmlNode *devices);
void libvirt_read_nics(struct reading *r, xmlNode *devices, bool old);
/* Is the machine i440FX, without PCI Express? */
bool libvirt_machine_is_old(const xmlNode *domain);

/*
 * Where the guest sees what is at this <address>. libvirt counts its controllers, and the guest's firmware counts
 * buses as it meets the bridges: behind one that leads to two buses the numbers differ. 1: there is no such
 * address; -1: it hangs on something that roost has not.
 */
struct libvirt_pci {
	unsigned bus, slot;
};
int libvirt_pci(const xmlNode *devices, const xmlNode *address, bool old, struct libvirt_pci *out);

/* <boot order> of all devices, or <boot dev>: in `boot`. */
void libvirt_read_boot(struct reading *r, xmlNode *domain);

static inline void put(json_t *o, const char *key, const char *text)
{
	if (text)
		json_object_set_new(o, key, json_string(text));
}

#endif
