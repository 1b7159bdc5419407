#include "images/fetch.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

static const char part_file[] = "fetch.json";

void fetch_part_read(const struct fetch_to *to, struct fetch_part *out)
{
	struct err ignored = ERR_INIT; /* then it is begun anew */
	_cleanup_json_ json_t *o = to->folder < 0 || !to->resume || !to->done
					   ? NULL
					   : json_file_read(to->folder, part_file, &ignored);
	*out = (struct fetch_part){.total = o ? json_get_int(o, "size", -1) : -1};
	snprintf(out->url, sizeof(out->url), "%s", json_get_str(o, "url", ""));
	snprintf(out->etag, sizeof(out->etag), "%s", json_get_str(o, "etag", ""));
}

int fetch_part_write(const struct fetch_to *to, const struct fetch_part *part, struct err *err)
{
	_cleanup_json_ json_t *o = json_pack("{s:s, s:s, s:I}", "url", part->url, "etag",
		part->etag, "size", (json_int_t)part->total);
	if (!o) /* what a server called its file is not UTF-8: then nobody goes on from it */
		o = json_object();
	return to->folder < 0 ? 0 : json_file_write(to->folder, part_file, o, false, err);
}
