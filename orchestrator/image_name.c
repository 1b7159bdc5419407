#include "orchestrator/image_name.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

void image_name_of(const char *path, char out[IMAGE_NAME_SIZE])
{
	static const char *const suffixes[] = {
		".qcow2", ".raw", ".img", ".disk", ".vmdk", ".vhdx", ".vhd", ".vdi"};
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

static int from_hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : (tolower((unsigned char)c) - 'a') + 10;
}

char *image_file_name(const char *url)
{
	size_t len = strcspn(url, "?#");
	const char *slash = memrchr(url, '/', len), *from = slash ? slash + 1 : url;
	_cleanup_buf_ struct buf name = {0};
	for (const char *c = from; c < url + len; c++) {
		if (c[0] == '%' && url + len - c > 2 && isxdigit((unsigned char)c[1]) &&
			isxdigit((unsigned char)c[2]) && (c[1] != '0' || c[2] != '0')) {
			char byte = (char)(from_hex(c[1]) * 16 + from_hex(c[2]));
			buf_add(&name, &byte, 1);
			c += 2;
		} else {
			buf_add(&name, c, 1);
		}
	}
	return buf_steal(&name);
}
