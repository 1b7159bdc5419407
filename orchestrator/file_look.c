#include "orchestrator/file_look.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "images/image.h"
#include "images/image_info.h"
#include "images/qcow2.h"
#include "orchestrator/connect.h"
#include "orchestrator/paths.h"

/* ECMA-119, 8.4: the primary volume descriptor. */
static char *label_of(int fd)
{
	enum { AT = 16 * 2048, IDENTIFIER = 1, LABEL = 40, LABEL_LEN = 32 };
	char d[LABEL + LABEL_LEN];
	size_t len = LABEL_LEN;
	if (pread(fd, d, sizeof(d), AT) != sizeof(d) || memcmp(d + IDENTIFIER, "CD001", 5) != 0)
		return NULL;
	while (len && d[LABEL + len - 1] == ' ')
		len--;
	return strndup(d + LABEL, len);
}

int file_look(const char *path, const char *format, json_t **out, struct err *err)
{
	struct stat st;
	struct qcow2_info info = {0};
	enum image_format wanted;
	bool qcow2;
	if (image_format_parse(format, &wanted, err) < 0)
		return -1;
	_cleanup_close_ int fd = image_open(path, &st, err);
	if (fd < 0 || image_format_settle(fd, path, wanted, &qcow2, err) < 0)
		return -1;
	if (qcow2 && qcow2_read(fd, &info, err) < 0)
		return err_prefix(err, "'%s'", path);
	*out = json_pack("{s:s}", "format", qcow2 ? "qcow2" : "raw");
	if (info.backing[0])
		json_object_set_new(*out, "backing", json_string(info.backing));
	if (info.backing[0] && info.backing_format[0])
		json_object_set_new(*out, "backing-format", json_string(info.backing_format));
	_cleanup_free_ char *label = qcow2 ? NULL : label_of(fd);
	json_t *text = label ? json_string(label) : NULL; /* none of what is not UTF-8 */
	if (text)
		json_object_set_new(*out, "label", text);
	return 0;
}

int file_look_or_ask(const char *path, const char *format, json_t **out, struct err *err)
{
	bool hidden = access(path, R_OK) < 0 && errno == EACCES;
	if (!hidden || !paths_by_member())
		return file_look(path, format, out, err);
	return supervisor_call("roost-file-look",
		json_pack("{s:s, s:s?}", "path", path, "format", format), out, err);
}
