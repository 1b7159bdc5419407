#include "orchestrator/usage.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"

/* Fields of /proc/PID/stat, counted as proc(5) does. */
enum { FIELD_AFTER_NAME = 3, FIELD_USER = 14, FIELD_SYSTEM = 15, FIELD_PROCESSOR = 39 };

static int64_t ticks_to_ns(int64_t ticks)
{
	return ticks * (1000000000 / sysconf(_SC_CLK_TCK));
}

int cpu_time_read(pid_t pid, pid_t tid, struct cpu_time *out, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *path = tid ? str_fmt("/proc/%d/task/%d/stat", (int)pid, (int)tid)
					: str_fmt("/proc/%d/stat", (int)pid);
	if (file_read(AT_FDCWD, path, 4096, &text, err) < 0)
		return -1;
	/* the name in brackets may hold anything */
	char *at = strrchr(text.data, ')'), *save = NULL;
	int64_t value[FIELD_PROCESSOR + 1] = {0};
	int field = FIELD_AFTER_NAME;
	for (char *word = at ? strtok_r(at + 1, " ", &save) : NULL;
		word && field <= FIELD_PROCESSOR; word = strtok_r(NULL, " ", &save))
		value[field++] = strtoll(word, NULL, 10);
	if (field <= FIELD_PROCESSOR)
		return err_set(err, ERR_SYSTEM, "'%s' is not as expected", path);
	*out = (struct cpu_time){.user_ns = ticks_to_ns(value[FIELD_USER]),
		.system_ns = ticks_to_ns(value[FIELD_SYSTEM]),
		.processor = (int)value[FIELD_PROCESSOR]};
	return 0;
}

int64_t cpu_time_ns(pid_t pid)
{
	struct err ignored = ERR_INIT;
	struct cpu_time t;
	return cpu_time_read(pid, 0, &t, &ignored) < 0 ? -1 : t.user_ns + t.system_ns;
}

int64_t resident_bytes(pid_t pid)
{
	struct err ignored = ERR_INIT;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_free_ char *path = str_fmt("/proc/%d/status", (int)pid);
	const char *line = file_read(AT_FDCWD, path, 65536, &text, &ignored) < 0
				   ? NULL
				   : strstr(text.data, "\nVmRSS:");
	return line ? strtoll(line + strlen("\nVmRSS:"), NULL, 10) * 1024 : -1;
}
