#include "orchestrator/find_program.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

char *program_in_path(const char *program)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *folders = xstrdup(path ? path : "/usr/local/bin:/usr/bin:/bin");
	char *save = NULL;
	for (char *folder = strtok_r(folders, ":", &save); folder;
		folder = strtok_r(NULL, ":", &save)) {
		_cleanup_free_ char *file = str_fmt("%s/%s", folder, program);
		if (access(file, X_OK) == 0)
			return TAKE(file);
	}
	return NULL;
}
