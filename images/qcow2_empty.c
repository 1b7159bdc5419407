#include <errno.h>
#include <unistd.h>

#include "images/qcow2.h"

int qcow2_is_empty(int fd, const struct qcow2_info *info, struct err *err)
{
	uint64_t entries[4096];
	uint64_t left = (uint64_t)info->l1_entries * sizeof(entries[0]), at = info->l1_offset;
	if (info->snapshots)
		return 0;
	while (left) {
		size_t want = left < sizeof(entries) ? (size_t)left : sizeof(entries);
		ssize_t n = pread(fd, entries, want, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || n % (ssize_t)sizeof(entries[0]))
			return n < 0 ? err_errno(err, "cannot read the L1 table")
				     : err_set(err, ERR_USAGE, "the L1 table ends too early");
		for (size_t i = 0; i < (size_t)n / sizeof(entries[0]); i++)
			if (entries[i])
				return 0;
		left -= (uint64_t)n;
		at += (uint64_t)n;
	}
	return 1;
}
