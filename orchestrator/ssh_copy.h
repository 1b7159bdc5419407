/*
 * Copying files and trees. ssh_copy.c knows the local side and the rules; the other side is
 * reached by SFTP (ssh_sftp.c) or, where a server lacks it, by the scp protocol (ssh_scp.c).
 */
#ifndef ORCHESTRATOR_SSH_COPY_H
#define ORCHESTRATOR_SSH_COPY_H

#include <sys/stat.h>

#include "orchestrator/ssh_files.h"
#include "orchestrator/ssh_params.h"
#include "orchestrator/ssh_session.h"

/* Trees deeper than this are refused, in both directions. */
#define COPY_DEPTH_MAX 100

struct copy {
	struct session *session;
	const struct copy_params *params;
	char *target; /* COPY_TO: the remote path */
	struct progress progress;
};

/* The other side. */
struct far {
	const struct far_ops *ops;
	struct copy *copy;
	int depth; /* of the folder that push works in; 0 is the target */
};
struct far_ops {
	const char *protocol;
	/*
	 * Pushing. At depth 0 a name counts only if the target is a folder; else the thing becomes
	 * the target.
	 */
	int (*push_file)(
		struct far *f, const char *name, int fd, const struct stat *st, struct err *err);
	int (*push_enter)(struct far *f, const char *name, const struct stat *st, struct err *err);
	int (*push_leave)(struct far *f, const struct stat *st, struct err *err);
	/* Pulling one remote path, to be `name` in `dir`. */
	int (*pull)(struct far *f, const char *path, int dir, const char *name, struct err *err);
	void (*end)(struct far *f);
};

/* NULL with *absent set if the server has no SFTP. */
struct far *far_sftp(struct copy *c, bool *absent, struct err *err);
struct far *far_scp(struct copy *c, struct err *err);

/* Something moved: the stall deadline starts anew. */
void copy_alive(const struct copy *c);

/* Copies, reports on standard output, returns the exit status. */
int copy(const struct remote *r, const struct copy_params *p);

#endif
