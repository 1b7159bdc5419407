/*
 * From a definition to QEMU's command line. Fixed ids and addresses, so that a guest sees the same
 * machine at every start, hotplug has its places, and a migration or a fork finds the same tree.
 *
 *	pcie.0	00 host bridge		07-0e	nic0..nic7
 *		01 VGA			0f-1e	disks, in the order of the definition
 *		02 rp0..rp7: root ports, one per device plugged later
 *		03 balloon (.0), virtio-mem (.1), watchdog (.2), rp8.. (.3 to .7) where a `pci` wants one
 *		04 virtio-serial, 05 rng, 06 virtio-scsi, 1f ICH9 (SATA)
 *	pci.0	(machine pc: the chipset of 1996, no PCI Express, nothing is plugged)
 *		00 host bridge, 01 PIIX3 (IDE), 02 VGA, 03-0a nic0..nic7, 10-1f disks
 *		0f balloon (.0), virtio-mem (.1), watchdog (.2), virtio-serial (.3), rng (.4), virtio-scsi (.5)
 *
 * An interface whose definition says where it is, is there instead: pci_place.h.
 *
 * fdsets: 1 QMP's log, 2 the console's file, 3 the console's FIFO, 4.. disks, one a layer; from 1002
 * on two for each further console.
 */
#ifndef ORCHESTRATOR_ARGV_H
#define ORCHESTRATOR_ARGV_H

#include "orchestrator/disk_open.h"
#include "orchestrator/firmware_vars.h"
#include "orchestrator/launch.h"
#include "orchestrator/nic_tap.h"
#include "orchestrator/pci_place.h"

enum { SET_QMP_LOG = 1, SET_CONSOLE = 2, SET_CONSOLE_IN = 3, SET_DISKS = 4 };
/* The fdsets of console number `i`: those of further ones are far above the disks'. */
static inline int console_set(size_t i)
{
	return i ? 1000 + 2 * (int)i : SET_CONSOLE;
}

/* What the keeper has opened; argv_build() takes the fds (sets them to -1). */
struct opened {
	int qmp, qmp_log, agent; /* listener, log, listener */
	struct opened_console {
		int log, in[2];   /* file O_APPEND; FIFO read-only, read-write */
	} consoles[CONSOLES_MAX]; /* -1: not there */
	int kernel, initrd;       /* sealed memfds; -1: none */
	int tpm;                  /* connected to its swtpm; -1: none */
	struct firmware_open firmware;
	struct nic_tap nics[NICS_MAX]; /* of those on networks and bridges */
	struct disk_files disks[DISKS_MAX];
	struct disk_files
		vars; /* of UEFI, with the layers of snapshots; none: firmware.vars is it */
};
#define OPENED_NO_CONSOLES                                                                         \
	{                                                                                          \
		{-1, {-1, -1}}, {-1, {-1, -1}}, {-1, {-1, -1}},                                    \
		{                                                                                  \
			-1,                                                                        \
			{                                                                          \
				-1, -1                                                             \
			}                                                                          \
		}                                                                                  \
	}
#define OPENED_NONE                                                                                \
	(struct opened)                                                                            \
	{                                                                                          \
		.qmp = -1, .qmp_log = -1, .agent = -1, .consoles = OPENED_NO_CONSOLES,             \
		.kernel = -1, .initrd = -1, .tpm = -1, .firmware = {                               \
			.code = -1,                                                                \
			.vars = -1                                                                 \
		}                                                                                  \
	}

/* `accel` is the one chosen; `forwards` come from the status (free ports filled in). */
void argv_build(const struct definition *d, enum accel accel, bool proven, const json_t *forwards,
	struct opened *o, struct launch *l);
/* Of that disk or CD-ROM drive in the order in which the firmware tries them; 0: it does not. */
int argv_boot_index(const struct definition *d, const char *target);
/* The nodes of one disk, from the bottom up, each file in an fdset from `*set` on; takes the fds. */
void argv_add_layers(
	struct launch *l, const struct disk_def *disk, struct disk_files *files, int *set);
#define QEMU_SANDBOX "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
void opened_close(struct opened *o);
#define _cleanup_opened_ _cleanup_(opened_close)

/*
 * nic0's -netdev and -device, for hotplug as well. `forwards`: those whose "nic" is `index`; `fds` and `vhosts`: how QEMU knows
 * the open files of its tap, "5:6", or NULL.
 */
json_t *nic_netdev(const struct nic_def *n, size_t index, const json_t *forwards, const char *fds,
	const char *vhosts);
json_t *nic_device(const struct nic_def *n, size_t index);

#endif
