/*
 * The launch: how a QEMU is forked into its jail, and a swtpm into the same one. The jail is what
 * launch.c says, in one place.
 */
#ifndef ORCHESTRATOR_LAUNCH_H
#define ORCHESTRATOR_LAUNCH_H

#include "base/proc.h"
#include "orchestrator/definition.h"

enum { LAUNCH_FDS_MAX = 384, LAUNCH_ARGS_MAX = 512 };

/* A plan: the command line, and the open files it names by number. Filled by argv.c. */
struct launch {
	char *argv[LAUNCH_ARGS_MAX + 1]; /* owned */
	size_t argc;
	int fds[LAUNCH_FDS_MAX]; /* owned; fds[i] becomes LAUNCH_FD_FIRST + i in QEMU */
	size_t fd_count;
	int stderr_fd; /* owned: where QEMU's own words go */
	int folder_fd; /* owned: the folder it works in; -1: the root */
	uid_t uid;     /* QEMU's; 0 in it means "stay who we are" */
	bool kvm;
	bool no_network;   /* an empty network namespace of its own (root only) */
	bool dies_with_us; /* a guest does not, a helper does */
};
#define LAUNCH_FD_FIRST 3
#define LAUNCH_NONE                                                                                \
	(struct launch)                                                                            \
	{                                                                                          \
		.stderr_fd = -1, .folder_fd = -1                                                   \
	}

void launch_arg(struct launch *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As JSON text; `value` stolen. */
void launch_arg_json(struct launch *l, json_t *value);
/* Takes the fd over; returns the number it will have in QEMU. */
int launch_fd(struct launch *l, int fd);
/* Takes them all over; returns their numbers, "5:6", freed by the caller, or NULL if there are none. */
char *launch_fds(struct launch *l, int *fds, size_t *count);
/* -kernel and -initrd cannot be fdsets; a sealed memfd of QEMU's uid opens as /proc/self/fd/N. */
int launch_copy(const char *path, uid_t uid, int *out, struct err *err);
/* Forks and execs; afterwards our copies of the fds are closed, whatever happened. */
int launch_run(struct launch *l, struct proc *out, struct err *err);
void launch_free(struct launch *l);
#define _cleanup_launch_ _cleanup_(launch_free)

#endif
