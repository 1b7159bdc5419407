/* The store's commands of roostd's, for members of the group, who may not write to it: each is a worker. */
#include "orchestrator/image_change.h"
#include "orchestrator/roostd.h"
#include "orchestrator/unrecorded.h"

static void tell(void *about, const char *step, int64_t done, int64_t total)
{
	worker_progress("image", about, step, done, total);
}

int op_image_change(const json_t *args, json_t **ret, struct err *err)
{
	const struct image_change *c = image_change_find(json_get_str(args, "command", ""));
	return c->change(args, tell, (void *)json_get_str(args, "image", ""), ret, err);
}

int op_image_unrecorded(const json_t *args, json_t **ret, struct err *err)
{
	(void)args, (void)err;
	*ret = json_pack("{s:o}", "disks", unrecorded_disks());
	return 0;
}
