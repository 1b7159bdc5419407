/*
 * What virt-sysprep's options put into a guest: files in a folder of ours, of which `roost sysprep` copies in what there
 * is, and passwords, which it sets.
 */
#ifndef ORCHESTRATOR_COMPAT_SYSPREP_STAGE_H
#define ORCHESTRATOR_COMPAT_SYSPREP_STAGE_H

#include "images/sysprep_ops.h"
#include "orchestrator/compat/compat.h"

struct stage {
	char *folder;            /* made when it is needed; goes with all that is in it */
	struct words copies;     /* "LOCAL:FOLDER" */
	struct words passwords;  /* "USER:FILE" */
	unsigned count, scripts; /* of files, of scripts for the first boot */
	bool injects;
};

/*
 * An option by its letter: h hostname, T timezone, p and P passwords, S ssh-inject, B and C firstboot, U upload, W write,
 * M mkdir. ERR_USAGE, or ERR_REFUSED for what cannot be done so.
 */
int stage_take(struct stage *s, int letter, const char *value, struct err *err);
/* Is nothing of it in the way of what stays in the guest? */
int stage_check(const struct stage *s, sysprep_set operations, struct err *err);
/* --copy-in and --password for `roost sysprep`. */
void stage_words(const struct stage *s, struct words *w);
/* The path of a file in the folder; freed by the caller. */
char *stage_file(struct stage *s, const char *name, struct err *err);
void stage_end(struct stage *s);

#endif
