/*
 * What a process uses of the host, as the kernel counts it: /proc/PID/stat and the like, which anyone
 * may read whatever the process's uid.
 */
#ifndef ORCHESTRATOR_USAGE_H
#define ORCHESTRATOR_USAGE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct cpu_time {
	int64_t user_ns, system_ns;
	int processor; /* of the host, where it ran last */
};

/* Of one thread; of the whole process, ended threads counted, if `tid` is 0. */
int cpu_time_read(pid_t pid, pid_t tid, struct cpu_time *out, struct err *err);
/* ns of all that a process has used; -1 if that cannot be told. */
int64_t cpu_time_ns(pid_t pid);
/* Bytes of RAM that it has now; -1. */
int64_t resident_bytes(pid_t pid);

#endif
