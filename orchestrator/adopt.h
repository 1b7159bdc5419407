/* What libvirt has, taken over: verb_adopt.c does it, these look whether it can be done. */
#ifndef ORCHESTRATOR_ADOPT_H
#define ORCHESTRATOR_ADOPT_H

#include "orchestrator/definition.h"
#include "orchestrator/network.h"

/* A file of libvirt's and what has become of it. */
struct adopted {
	const char *file;
	json_t *answer; /* libvirt_read()'s; NULL: it could not be read, and `err` says why */
	struct definition *guest;
	struct network network;
	bool is_network, may, taken;
	/* of a guest, opened; what each is, and how many */
	int files[2];
	const char *file_names[2];
	size_t file_count;
	struct err err;
};

struct adopting {
	struct adopted *all;
	size_t count;
	json_t *machines; /* those of the installed QEMU, asked for once */
};

/* Further words to the notes of the answer, which stop nothing. */
void adopt_tell(struct adopted *a, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Can it be taken? Fills `guest` or `network`. Nothing is changed. Networks come first, for guests are on them. A
 * guest that libvirt runs, or has saved, is refused: two QEMUs on one disk would spoil it.
 */
int adopt_check_network(struct adopting *all, struct adopted *a, struct err *err);
int adopt_check_guest(struct adopting *all, struct adopted *a, struct err *err);

#endif
