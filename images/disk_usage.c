#include "images/disk_usage.h"

#include "images/filesystem.h"

static void set_text(json_t *o, const char *key, const char *value)
{
	if (value && value[0])
		json_object_set_new(o, key, json_string(value));
}

static void set_number(json_t *o, const char *key, uint64_t value)
{
	json_object_set_new(o, key, json_integer((json_int_t)value));
}

static void add_filesystem(json_t *o, const struct filesystem *f)
{
	set_text(o, "type", f->type);
	set_text(o, "label", f->label);
	set_text(o, "uuid", f->uuid);
	if (f->block)
		set_number(o, "block-size", f->block);
	if (f->has_total)
		set_number(o, "total", f->total);
	if (f->has_used) {
		set_number(o, "used", f->used);
		set_number(o, "available", f->available);
	}
	if (f->has_inodes) {
		set_number(o, "inodes", f->inodes);
		set_number(o, "inodes-used", f->inodes_used);
	}
	if (f->approximate)
		json_object_set_new(o, "approximate", json_true());
	if (f->unclean)
		json_object_set_new(o, "unclean", json_true());
}

static json_t *told(
	partition_read_fn *read, void *about, uint64_t at, uint64_t size, struct err *err)
{
	struct filesystem f;
	if (filesystem_read(read, about, at, size, &f, err) < 0)
		return NULL;
	json_t *o = json_object();
	set_number(o, "start", at);
	set_number(o, "length", size);
	add_filesystem(o, &f);
	return o;
}

static json_t *told_partition(partition_read_fn *read, void *about, const struct partition *p,
	enum partition_table table, struct err *err)
{
	json_t *o = told(read, about, p->at, p->size, err);
	if (!o)
		return NULL;
	set_number(o, "number", p->number);
	set_text(o, "purpose", partition_purpose(p, table));
	set_text(o, "name", p->name);
	return o;
}

json_t *disk_usage(partition_read_fn *read, void *about, uint64_t size, struct err *err)
{
	struct partitions p;
	if (partitions_read(read, about, size, &p, err) < 0)
		return NULL;
	if (p.table == TABLE_GPT && !p.count) {
		err_set(err, ERR_USAGE, "its GPT is damaged, the copy at its end as well");
		err_hint(err, "`sgdisk --verify` tells more, in the guest");
		return NULL;
	}
	_cleanup_json_ json_t *list = json_array();
	for (size_t i = 0; i < p.count; i++) {
		json_t *one = told_partition(read, about, &p.all[i], p.table, err);
		if (!one) {
			err_prefix(err, "partition %u", p.all[i].number);
			return NULL;
		}
		json_array_append_new(list, one);
	}
	if (!p.count) {
		json_t *whole = told(read, about, 0, size, err);
		if (!whole)
			return NULL;
		json_array_append_new(list, whole);
	}
	return TAKE(list);
}
