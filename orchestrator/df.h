/*
 * How full a guest's file systems are: a list of what images/disk_usage.h tells, with
 *
 *	device		as Linux in the guest calls it, without "/dev/": "vda1"
 *	disk		the disk's target, of a guest that does not run
 *	mounted		where it is mounted, of a guest that runs
 */
#ifndef ORCHESTRATOR_DF_H
#define ORCHESTRATOR_DF_H

#include "orchestrator/definition.h"

/*
 * Of a guest that does not run: its disks are opened for reading with the rights of this process, each as a
 * start would open it, and read by roost-disk. ERR_BUSY when somebody writes to one.
 */
json_t *df_stopped(const struct definition *d, struct err *err);
/*
 * Of an image file that is no guest's, with what it stands on, as the disk `target`; `format` "raw", "qcow2" or NULL: by its
 * content, if it stands alone. ERR_BUSY when somebody writes to it.
 */
json_t *df_file(const char *path, const char *format, const char *target, struct err *err);
/* May this process open all of them? For who may not, roostd does it: op_df.c. */
bool df_may_open(const struct definition *d);

#endif
