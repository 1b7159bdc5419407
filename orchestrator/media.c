#include "orchestrator/media.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"

void media_apply(struct definition *d, const json_t *plugged)
{
	size_t i;
	json_t *entry;
	json_array_foreach (plugged, i, entry) {
		if (!str_eq(json_get_str(entry, "kind", ""), "medium"))
			continue;
		struct disk_def *disk = definition_disk(d, json_get_str(entry, "drive", ""));
		const char *medium = json_get_str(entry, "medium", NULL);
		if (!disk || !disk->cdrom)
			continue;
		free(disk->path);
		disk->path = medium ? xstrdup(medium) : NULL;
	}
}
