#include "orchestrator/running_disks.h"

#include <string.h>

#include "base/str.h"
#include "orchestrator/disk_open.h"

void running_disks_free(struct running_disks *r)
{
	for (size_t i = 0; i < r->plugged_count; i++)
		disk_free(&r->plugged[i]);
	r->plugged_count = 0;
}

static int add_plugged(struct running_disks *r, const json_t *entry, struct err *err)
{
	_cleanup_json_ json_t *asked = disk_of_plugged(entry);
	if (disk_from_json(asked, &r->plugged[r->plugged_count], err) < 0)
		return err_prefix(err, "a disk that was plugged");
	r->disks[r->count++] = r->plugged[r->plugged_count++];
	return 0;
}

int running_disks(struct guest *g, struct running_disks *out, struct err *err)
{
	struct disk_def defined[SNAPSHOT_DISKS_MAX];
	size_t i, count = snapshot_disks(g->dir, g->def, defined);
	json_t *entry;
	json_array_foreach (g->attached, i, entry) {
		if (!str_eq(json_get_str(entry, "kind", ""), "disk") ||
			json_get_bool(entry, "readonly", false) ||
			json_get_bool(entry, "unplugging", false))
			continue;
		if (out->plugged_count + count >= DISKS_MAX)
			return err_set(err, ERR_REFUSED,
				"guest '%s' has more than %d disks that it writes to", g->def->name,
				DISKS_MAX);
		if (add_plugged(out, entry, err) < 0)
			return -1;
	}
	memcpy(&out->disks[out->count], defined, count * sizeof(*defined));
	out->count += count;
	return 0;
}
