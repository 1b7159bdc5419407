#include "orchestrator/image_name.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

void image_name_of(const char *path, char out[IMAGE_NAME_SIZE])
{
	static const char *const suffixes[] = {".qcow2", ".raw", ".img", ".disk"};
	const char *slash = strrchr(path, '/');
	size_t len = 0;
	snprintf(out, IMAGE_NAME_SIZE, "%s", slash ? slash + 1 : path);
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
		if (str_ends(out, suffixes[i]))
			out[strlen(out) - strlen(suffixes[i])] = '\0';
	for (const char *p = out; *p; p++) {
		unsigned char c = (unsigned char)*p;
		bool good = c < 128 && (isalnum(c) || strchr("-_.", c));
		if (len || (good && isalnum(c)))
			out[len++] = good && !(c == '.' && p[1] == '.') ? *p : '-';
	}
	out[len] = '\0';
}
