/*
 * qemu-img, run as a child that is held in by walls: limits on memory, CPU time and file size, no
 * network where the host allows a namespace, no privilege to be gained, nothing open but its pipes and what it
 * is given, an environment of its own. Of root's privileges it has none but to open files. It dies with us.
 *
 * Files are handed to it as node graphs in JSON (tool_node, tool_chain_node), never as names that it
 * would probe or whose backing files it would follow. Who calls has looked at the headers before.
 *
 *	struct tool_run run = {.argv = (const char *[]){"convert", "-p", "-O", "qcow2", node, to, NULL}};
 *	if (tool_run(&run, NULL, err) < 0) ...
 *
 * SIGINT, SIGTERM and SIGHUP, while it runs, kill it, and the call ends with ERR_GONE. What it was
 * writing is the caller's to remove: let it write under a name that is not the last one.
 */
#ifndef IMAGES_TOOL_H
#define IMAGES_TOOL_H

#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"
#include "images/chain.h"

enum { TOOL_FD_FIRST = 10, TOOL_FDS_MAX = 3 * CHAIN_MAX };

struct tool_run {
	const char *const *argv; /* what comes after "qemu-img"; NULL-terminated */
	uid_t uid; /* under root: whose rights it has; 0: root's, but only to open files */
	/* Exit statuses besides 0 that are answers, as bits: 1 << 1 of compare; others are errors. */
	unsigned answers;
	uint64_t memory, cpu_seconds, file_size; /* 0: 2 GiB of address space, 1 hour, no limit */
	int64_t time_ms;                         /* for all of it; 0: no limit but the next one */
	int64_t stall_ms; /* without a sign of progress; 0: 5 minutes; of commands without -p, in all */
	/* What -p tells, in hundredths of a percent; NULL: none. */
	void (*told)(void *about, const char *step, int64_t done, int64_t total);
	void *about;
	/* Files that stay open in it, at most TOOL_FDS_MAX, as TOOL_FD_FIRST and so on: for "/proc/self/fd/10" in a node. */
	const int *fds;
	size_t fd_count;
	struct buf *out;     /* its standard output, at most 16 MiB; NULL: dropped */
	const char *program; /* NULL: qemu-img where distributions put it; a test has its own */
	const char *called;  /* what errors call it; NULL: qemu-img */
};

/* Runs it to its end; `status`, which may be NULL, is its exit status. */
int tool_run(const struct tool_run *run, int *status, struct err *err);

/* A file, for a node. */
struct tool_file {
	const char *path;
	bool qcow2;   /* else raw */
	bool locked;  /* by us, as a writer: it must not try to lock it as well */
	bool follows; /* the lowest of them: what its header names, we have written there */
};
/* "json:{...}" of files, each over the next one, freed by the caller. ERR_USAGE: a path is not UTF-8. */
char *tool_files_node(const struct tool_file files[], size_t count, struct err *err);
/* The same of one file; qcow2 stands alone in it, whatever its header says. */
char *tool_node(const char *path, bool qcow2, struct err *err);
/* The same of a whole chain, or of that from its link `from` on. */
char *tool_chain_node(const struct chain *c, size_t from, struct err *err);

#endif
