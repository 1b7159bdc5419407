/* What a disk's file is, for members of the group, whose guests may have it although they cannot read it. */
#include "orchestrator/file_look.h"
#include "orchestrator/roostd.h"

int op_file_look(const json_t *args, json_t **ret, struct err *err)
{
	return file_look(
		json_get_str(args, "path", ""), json_get_str(args, "format", NULL), ret, err);
}
