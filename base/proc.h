/*
 * Processes: known by pidfd and start time, never by a bare number; children that are killed and
 * waited for when their scope ends.
 */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

/* A process that cannot be mistaken for another: `start` is field 22 of /proc/PID/stat. */
struct proc {
	pid_t pid;
	uint64_t start; /* clock ticks since boot */
	int pidfd;      /* readable when the process ends; -1 in an empty one */
};
#define PROC_NONE                                                                                  \
	(struct proc)                                                                              \
	{                                                                                          \
		.pidfd = -1                                                                        \
	}

/* The process that has this pid now. */
int proc_open(pid_t pid, struct proc *out, struct err *err);
/* The same, but only if it started at `start`; ERR_GONE otherwise. */
int proc_open_known(pid_t pid, uint64_t start, struct proc *out, struct err *err);
/* Our own child, which may have ended already: that is for proc_reap(). On failure it is killed. */
int proc_open_child(pid_t pid, struct proc *out, struct err *err);
bool proc_alive(const struct proc *p);
/* Is it there, and still that one? */
bool proc_lives(pid_t pid, uint64_t start);
/* By SIGSTOP or a tracer: it does nothing until it is told to go on. */
bool proc_stopped(pid_t pid);
/* Sends a signal through the pidfd. ERR_GONE if it ended, ERR_REFUSED if not permitted. */
int proc_signal(const struct proc *p, int signal, struct err *err);
/* Our own child only: waits until `deadline`, reaps, stores waitpid's status. */
int proc_reap(struct proc *p, int64_t deadline, int *status, struct err *err);
void proc_close(struct proc *p);
/* The real uid that it has; (uid_t)-1 if it has ended. */
uid_t proc_uid(pid_t pid);

/* As many open files as this process may have: the usual limit is meant for shells. */
void proc_allow_many_files(void);

/* "exited with status 1", "killed by signal 9 (Killed)". Lives until the next call. */
const char *proc_status_text(int status);

/*
 * A child program with its standard output on a pipe and our own standard error. argv[0] is the
 * program's path. The child's environment is ours; all its fds but 0-2 are closed.
 */
struct child {
	struct proc proc;
	int out; /* reading end of its standard output, non-blocking */
	int in;  /* writing end of its standard input, -1 if that is /dev/null */
};
#define CHILD_NONE                                                                                 \
	(struct child)                                                                             \
	{                                                                                          \
		.proc = {.pidfd = -1}, .out = -1, .in = -1                                         \
	}
int child_start(const char *const argv[], bool with_stdin, struct child *out, struct err *err);
/* The same with this open file as its standard input. */
int child_start_on(const char *const argv[], int in, struct child *out, struct err *err);
/* Appends what it has said since. True when it has said all it will say, or more than `max` bytes. */
bool child_read(const struct child *c, struct buf *out, size_t max);
/* Kills and waits. For _cleanup_(child_end). */
void child_end(struct child *c);

/* The boot's id, from /proc/sys/kernel/random/boot_id: 36 characters, kept for the process's life. */
const char *boot_id(void);

#endif
