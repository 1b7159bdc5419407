/* The store's commands of roostd's, for members of the group, who may not write to it: each is a worker. */
#include "orchestrator/image_change.h"
#include "orchestrator/roostd.h"
#include "orchestrator/unrecorded.h"

static void tell(void *about, const char *step, int64_t done, int64_t total)
{
	worker_progress("image", about, step, done, total);
}

static int change(image_change_fn *fn, const json_t *args, json_t **ret, struct err *err)
{
	return fn(args, tell, (void *)json_get_str(args, "image", ""), ret, err);
}

int op_image_import(const json_t *args, json_t **ret, struct err *err)
{
	return change(image_import, args, ret, err);
}

int op_image_rm(const json_t *args, json_t **ret, struct err *err)
{
	return change(image_rm, args, ret, err);
}

int op_image_tag(const json_t *args, json_t **ret, struct err *err)
{
	return change(image_tag, args, ret, err);
}

int op_image_gc(const json_t *args, json_t **ret, struct err *err)
{
	return change(image_gc, args, ret, err);
}

int op_image_unrecorded(const json_t *args, json_t **ret, struct err *err)
{
	(void)args, (void)err;
	*ret = json_pack("{s:o}", "disks", unrecorded_disks());
	return 0;
}

int op_image_verify(const json_t *args, json_t **ret, struct err *err)
{
	return change(image_verify, args, ret, err);
}
