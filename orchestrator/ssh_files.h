/*
 * The local side of a copy: files that come in are written beside their name and renamed when they
 * are whole; names and links that the other side chose lead nowhere; progress is reported. No
 * libssh here.
 */
#ifndef ORCHESTRATOR_SSH_FILES_H
#define ORCHESTRATOR_SSH_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"

/* What is copied now and what was, for the lines that roost-ssh.c describes. */
struct progress {
	char *file; /* as shown */
	uint64_t bytes, total;
	uint64_t files_done, bytes_done;
	int64_t last_told;
};
void progress_begin(struct progress *p, const char *file, uint64_t total);
void progress_add(struct progress *p, uint64_t bytes);
void progress_end(struct progress *p);
/* {"note":TEXT}: something that was left out. */
void progress_note(const char *file, const char *text);

/* What a file is to become. */
struct file_facts {
	mode_t mode;      /* permission bits */
	bool keep;        /* set mode and times exactly; else only the mode, less the umask */
	int64_t modified; /* seconds; with `keep` */
	int64_t accessed;
};

/* A file on its way in. */
struct incoming {
	int dir, fd; /* `dir` is borrowed */
	char temporary[64];
	char *name;
};
#define INCOMING_NONE                                                                              \
	(struct incoming)                                                                          \
	{                                                                                          \
		.dir = -1, .fd = -1                                                                \
	}
/* `name` may be the user's own path, or a name that peer_name_check() accepted. */
int incoming_open(struct incoming *in, int dir, const char *name, struct err *err);
int incoming_write(struct incoming *in, const void *data, size_t len, struct err *err);
int incoming_finish(struct incoming *in, const struct file_facts *facts, struct err *err);
/* Removes what is not finished. For _cleanup_(incoming_drop). */
void incoming_drop(struct incoming *in);

/* Makes the folder, or takes the one that is there, but no link to one. Returns it, opened. */
int folder_enter(int dir, const char *name, bool *made, struct err *err);
/* After its content has come. One that was there before stays as it was, unless `keep`. */
void folder_finish(int fd, bool made, const struct file_facts *facts);

/* Opens a file or folder that goes out. */
int outgoing_open(int dir, const char *name, struct stat *st, struct err *err);

#endif
