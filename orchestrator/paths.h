/*
 * Where things are (DESIGN.md 4).
 *
 *		the system instance	a session instance, a user's own
 *	$STATE	/var/lib/roost		$XDG_DATA_HOME/roost, ~/.local/share/roost
 *	$RUN	/run/roost		$STATE/run/BOOT-ID
 *
 * ROOST_STATE and ROOST_RUN override both. Without a home and an override it is an error that says
 * so. All strings are worked out once and live as long as the process.
 */
#ifndef ORCHESTRATOR_PATHS_H
#define ORCHESTRATOR_PATHS_H

#include <stdbool.h>

#include "base/err.h"

/*
 * Root's programs work in the system instance, others in the session one. `roost` may choose before
 * it looks at any path: `word` is "system" or "session" (or libvirt's qemu:///system, ...session);
 * NULL is the system instance for root and for members of the group `roost`, else the session one.
 * Membership shows by what one may read, not by asking who is in the group: that takes long.
 */
int paths_connect(const char *word, struct err *err);
bool paths_are_system(void);
/* On that one, and not as root: what is done here is a member's of its group, what is asked of roostd root's. */
bool paths_by_member(void);
/*
 * $STATE/guests of the instance that was not chosen, if there is one and we may read it; freed by
 * the caller. *word is what `-c` wants for it.
 */
char *paths_of_other_guests(const char **word);

const char *paths_state(struct err *err);
const char *paths_run(struct err *err);

/* Folders, as fds: $STATE/guests, one guest's in it, $RUN/g, one guest's in it. */
int guests_open(struct err *err);
int guest_dir_open(const char *name, struct err *err);
/* Whose folder that is; freed by the caller. NULL: no guest's. */
char *guest_dir_name(int dir);
int runs_open(struct err *err);
int run_dir_open(const char *id, struct err *err);
/* The guests' names, sorted, as dir_names() gives them; none where no guest was ever defined. */
int guests_names(char ***names, size_t *count, struct err *err);
/* "$RUN/g/ID/FILE": sockets need paths. Freed by the caller. */
char *run_path(const char *id, const char *file, struct err *err);
char *supervisor_socket(struct err *err);

/* "~/.cache/roost/NAME" of who calls, whichever instance he uses; freed by the caller. */
char *paths_cache(const char *name, struct err *err);

/* A program of ours: ../libexec/roost/PROGRAM beside the folder of the running one's. */
const char *libexec_path(const char *program);
/* swtpm, or what ROOST_SWTPM names. */
const char *swtpm_path(void);
/* qemu-system-x86_64, or what ROOST_QEMU names. */
const char *qemu_path(void);

#endif
