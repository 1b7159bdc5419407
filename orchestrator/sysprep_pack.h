/* What `sysprep --copy-in` takes along, read with the caller's rights: the stream of images/sysprep_files.h. */
#ifndef ORCHESTRATOR_SYSPREP_PACK_H
#define ORCHESTRATOR_SYSPREP_PACK_H

#include "base/err.h"

/* "LOCAL:DIR", a file or a folder with all that is in it: the stream, an open file, and where DIR begins. */
int sysprep_pack(const char *what, const char **dir, struct err *err);

#endif
