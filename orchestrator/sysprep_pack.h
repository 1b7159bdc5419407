/* What `sysprep --copy-in` takes along, read with the caller's rights: a stream of images/sysprep_stream.h. */
#ifndef ORCHESTRATOR_SYSPREP_PACK_H
#define ORCHESTRATOR_SYSPREP_PACK_H

#include "base/err.h"

/* "LOCAL:DIR", a file or a folder with all that is in it, behind what `out` has; and where DIR begins. */
int sysprep_pack(int out, const char *what, const char **dir, struct err *err);
/* "USER:FILE", a password in that file: its hash goes along (password.h). */
int sysprep_pack_password(int out, const char *what, struct err *err);

#endif
