/*
 * The table of internal snapshots, section "Snapshots" of the format: entry after entry of varying
 * length, each read with one bounded pread. roost makes no such snapshots, it only tells of them.
 */
#include "images/qcow2_snapshots.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "images/qcow2_format.h"

enum {
	EXTRA_MAX = 1024, /* QEMU's limits */
	ID_TOLD = 127,    /* qemu-img tells no more bytes of them */
	NAME_TOLD = 255,
	SNAPSHOTS_MAX = 4096, /* QEMU would read 65536, which take 100 MiB to tell of */
};

struct entry {
	uint64_t l1_table_offset;
	uint32_t l1_size;
	uint16_t id_size, name_size;
	uint32_t date_sec, date_nsec;
	uint64_t vm_clock_nsec;
	uint32_t vm_state_size, extra_size;
};
static_assert(sizeof(struct entry) == 40, "an entry's fixed part");

/* What follows it, as far as it is there. */
struct extra {
	uint64_t vm_state_size, disk_size, icount;
};

static int read_exactly(int fd, void *out, size_t len, uint64_t offset, struct err *err)
{
	ssize_t n = pread(fd, out, len, (off_t)offset);
	if (n < 0)
		return err_errno(err, "cannot read the snapshot table");
	if ((size_t)n < len)
		return err_set(err, ERR_USAGE, "qcow2: the snapshot table is cut off at %" PRIu64,
			offset + (uint64_t)n);
	return 0;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static json_t *entry_json(
	const struct entry *e, const struct extra *x, const char *id, const char *name)
{
	uint64_t clock = be64toh(e->vm_clock_nsec);
	uint64_t state = be32toh(e->extra_size) >= sizeof(x->vm_state_size)
				 ? be64toh(x->vm_state_size)
				 : be32toh(e->vm_state_size);
	return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "id",
		json_text(id, least(be16toh(e->id_size), ID_TOLD)), "name",
		json_text(name, least(be16toh(e->name_size), NAME_TOLD)), "vm-state-size",
		(json_int_t)state, "date-sec", (json_int_t)be32toh(e->date_sec), "date-nsec",
		(json_int_t)be32toh(e->date_nsec), "vm-clock-sec", (json_int_t)(clock / 1000000000),
		"vm-clock-nsec", (json_int_t)(clock % 1000000000));
}

/* One entry at *at, which is moved behind it. */
static json_t *read_entry(int fd, uint64_t *at, struct err *err)
{
	struct entry e;
	struct extra x = {0};
	char id[ID_TOLD], name[NAME_TOLD];
	if (read_exactly(fd, &e, sizeof(e), *at, err) < 0)
		return NULL;
	size_t extra = be32toh(e.extra_size), id_size = be16toh(e.id_size);
	size_t name_size = be16toh(e.name_size);
	uint64_t names = *at + sizeof(e) + extra;
	if (extra > EXTRA_MAX) {
		err_set(err, ERR_USAGE, "qcow2: a snapshot with %zu bytes of extra data", extra);
		return NULL;
	}
	if (read_exactly(fd, &x, least(extra, sizeof(x)), *at + sizeof(e), err) < 0 ||
		read_exactly(fd, id, least(id_size, sizeof(id)), names, err) < 0 ||
		read_exactly(fd, name, least(name_size, sizeof(name)), names + id_size, err) < 0)
		return NULL;
	*at = (names + id_size + name_size + 7) & ~7ULL;
	json_t *o = entry_json(&e, &x, id, name);
	if (extra >= sizeof(x) && x.icount != UINT64_MAX)
		json_object_set_new(o, "icount", json_integer((json_int_t)be64toh(x.icount)));
	return o;
}

json_t *qcow2_snapshots(int fd, const struct qcow2_info *info, struct err *err)
{
	_cleanup_json_ json_t *list = json_array();
	uint64_t at = info->snapshots_offset;
	if (info->snapshots > SNAPSHOTS_MAX) {
		err_set(err, ERR_REFUSED,
			"qcow2: it has %" PRIu32 " snapshots: more than %d are not told",
			info->snapshots, SNAPSHOTS_MAX);
		err_hint(err, "look with qemu-img snapshot -l");
		return NULL;
	}
	for (uint32_t i = 0; i < info->snapshots; i++) {
		json_t *o = read_entry(fd, &at, err);
		if (!o)
			return NULL;
		json_array_append_new(list, o);
	}
	return TAKE(list);
}
