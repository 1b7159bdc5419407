/*
 * How full a guest's file systems are: a list of what images/disk_usage.h tells, with
 *
 *	device		as Linux in the guest calls it, without "/dev/": "vda1"
 *	disk		the disk's target, where its disks were read
 *	mounted		where it is mounted, where the guest was asked
 */
#ifndef ORCHESTRATOR_DF_H
#define ORCHESTRATOR_DF_H

#include "orchestrator/definition.h"

/*
 * Its disks are opened for reading with the rights of this process, each as a start would open it, and read by roost-disk.
 * ERR_BUSY when somebody writes to one; but if the guest `runs` it may, and what it has not written yet is not counted.
 */
json_t *df_disks(const struct definition *d, bool runs, struct err *err);
/*
 * Of an image file that is no guest's, with what it stands on, as the disk `target`; `format` "raw", "qcow2" or NULL: by its
 * content, if it stands alone. ERR_BUSY when somebody writes to it.
 */
json_t *df_file(const char *path, const char *format, const char *target, struct err *err);
/* May this process open all of them? For who may not, roostd does it: op_df.c. */
bool df_may_open(const struct definition *d);

#endif
