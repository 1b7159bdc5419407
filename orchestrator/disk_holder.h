/* Which running guest has a file open as a disk? For saying so when it is in use. */
#ifndef ORCHESTRATOR_DISK_HOLDER_H
#define ORCHESTRATOR_DISK_HOLDER_H

#include <stdbool.h>

/* By the records and lists in $RUN, as far as we may read them; false when none of them has it. */
bool disk_holder(int fd, char name[64]);

#endif
