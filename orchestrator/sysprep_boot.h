/*
 * The other way of sysprep: the guest is booted, alone, and its own shell does it, over SSH. It has its
 * hardware, but no way out: of its network only the host's connection to its port 22 is there. Its writable
 * disks are new tops, so until these become the guest's nothing has happened to it. It ends with us.
 */
#ifndef ORCHESTRATOR_SYSPREP_BOOT_H
#define ORCHESTRATOR_SYSPREP_BOOT_H

#include "orchestrator/disk_server.h"
#include "orchestrator/snapshot_off.h"

/* Has somebody a login there? */
bool sysprep_can_boot(const struct definition *d);
/*
 * `record` has a new top for each writable disk but the UEFI variables, which get theirs here. `args` are those
 * of roost-sysprep: before anything is removed root runs the scripts, and after it the files are copied in; *copied
 * tells how many. Afterwards its QEMU stands still, and holds the disks until disk_server_end().
 */
int sysprep_boot(struct off *o, const json_t *args, struct disk_server *s, uint64_t *copied,
	struct err *err);
/* What came along to be copied in: images/sysprep_stream.h; -1: nothing. */
int sysprep_files_stream(const json_t *args);

#endif
