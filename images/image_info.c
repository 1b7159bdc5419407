#include "images/image_info.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "images/chain.h"
#include "images/image.h"
#include "images/qcow2.h"
#include "images/qcow2_bitmaps.h"
#include "images/qcow2_crypt.h"
#include "images/qcow2_format.h"
#include "images/qcow2_snapshots.h"

/* ---- formats -------------------------------------------------------------------------------------- */

int image_format_parse(const char *word, enum image_format *out, struct err *err)
{
	if (!word)
		*out = IMAGE_BY_CONTENT;
	else if (str_eq(word, "qcow2"))
		*out = IMAGE_QCOW2;
	else if (str_eq(word, "raw"))
		*out = IMAGE_RAW;
	else
		return err_set(err, ERR_USAGE, "the format '%s' is neither qcow2 nor raw", word);
	return 0;
}

int image_format_settle(
	int fd, const char *what, enum image_format wanted, bool *qcow2, struct err *err)
{
	if (wanted != IMAGE_BY_CONTENT) {
		*qcow2 = wanted == IMAGE_QCOW2;
		return 0;
	}
	int probed = qcow2_probe(fd, err);
	if (probed < 0 || (!probed && image_refuse_known(fd, what, err) < 0))
		return -1;
	*qcow2 = probed;
	return 0;
}

/* ---- as JSON -------------------------------------------------------------------------------------- */

static json_t *text_json(const char *text)
{
	return json_text(text, strlen(text));
}

static json_t *specific(const struct qcow2_info *q)
{
	json_t *data = json_pack("{s:s, s:s, s:i}", "compat", q->version == 2 ? "0.10" : "1.1",
		"compression-type", q->compression ? "zstd" : "zlib", "refcount-bits",
		(int)q->refcount_bits);
	if (q->version > 2) {
		bool lazy = q->compatible & QCOW2_COMPATIBLE_LAZY_REFCOUNTS;
		json_object_set_new(data, "lazy-refcounts", json_boolean(lazy));
		json_object_set_new(data, "corrupt", json_boolean(q->corrupt));
		json_object_set_new(data, "extended-l2", json_boolean(q->extended_l2));
	}
	if (q->data_file) {
		bool raw = q->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW;
		json_object_set_new(data, "data-file", text_json(q->data_file_name));
		json_object_set_new(data, "data-file-raw", json_boolean(raw));
	}
	return json_pack("{s:s, s:o}", "type", "qcow2", "data", data);
}

static void add_backing(json_t *o, const char *path, const struct qcow2_info *q)
{
	const char *slash = strrchr(path, '/');
	bool as_it_is = q->backing[0] == '/' || q->backing[strcspn(q->backing, ":/")] == ':';
	_cleanup_free_ char *full =
		as_it_is || !slash ? xstrdup(q->backing)
				   : str_fmt("%.*s%s", (int)(slash - path) + 1, path, q->backing);
	json_object_set_new(o, "backing-filename", text_json(q->backing));
	json_object_set_new(o, "full-backing-filename", text_json(full));
	if (q->backing_format[0])
		json_object_set_new(o, "backing-filename-format", text_json(q->backing_format));
}

static json_t *describe(const char *path, const struct stat *st, const struct qcow2_info *q)
{
	json_t *o = json_pack("{s:o, s:s, s:I, s:I, s:b}", "filename", text_json(path), "format",
		q ? "qcow2" : "raw", "virtual-size",
		(json_int_t)(q ? q->virtual_size : raw_virtual_size(st)), "actual-size",
		(json_int_t)st->st_blocks * 512, "dirty-flag", q && q->dirty);
	if (!q)
		return o;
	json_object_set_new(o, "cluster-size", json_integer(1 << q->cluster_bits));
	json_object_set_new(o, "format-specific", specific(q));
	if (q->encrypted)
		json_object_set_new(o, "encrypted", json_true());
	if (q->has_backing)
		add_backing(o, path, q);
	return o;
}

/* What is in tables of its own, each read only if the header tells of it. */
static int add_tables(int fd, const struct qcow2_info *q, json_t *o, struct err *err)
{
	json_t *data = json_object_get(json_object_get(o, "format-specific"), "data");
	json_t *snapshots = q->snapshots ? qcow2_snapshots(fd, q, err) : NULL;
	if (snapshots)
		json_object_set_new(o, "snapshots", snapshots);
	json_t *bitmaps = q->bitmaps ? qcow2_bitmaps(fd, q, err) : NULL;
	if (bitmaps)
		json_object_set_new(data, "bitmaps", bitmaps);
	json_t *encrypt = q->encrypted ? qcow2_encrypt(fd, q, err) : NULL;
	if (encrypt)
		json_object_set_new(data, "encrypt", encrypt);
	return (q->snapshots && !snapshots) || (q->bitmaps && !bitmaps) ||
			       (q->encrypted && !encrypt)
		       ? -1
		       : 0;
}

/* The file at `path`, told as `name`. */
static json_t *info_as(
	const char *name, const char *path, enum image_format format, struct err *err)
{
	struct stat st;
	bool qcow2;
	struct qcow2_info q;
	_cleanup_close_ int fd = image_open(path, &st, err);
	if (fd < 0 || image_format_settle(fd, path, format, &qcow2, err) < 0)
		return NULL;
	if (qcow2 && qcow2_read(fd, &q, err) < 0) {
		err_prefix(err, "'%s'", path);
		return NULL;
	}
	json_t *o = describe(name, &st, qcow2 ? &q : NULL);
	if (qcow2 && add_tables(fd, &q, o, err) < 0) {
		err_prefix(err, "'%s'", path);
		json_decref(o);
		return NULL;
	}
	return o;
}

json_t *image_info(const char *path, enum image_format format, struct err *err)
{
	return info_as(path, path, format, err);
}

json_t *image_info_chain(const char *path, enum image_format format, struct err *err)
{
	struct stat st;
	bool qcow2;
	_cleanup_(chain_free) struct chain c = {0};
	_cleanup_close_ int fd = image_open(path, &st, err);
	if (fd < 0 || image_format_settle(fd, path, format, &qcow2, err) < 0 ||
		chain_resolve(path, qcow2, &c, err) < 0)
		return NULL;
	_cleanup_json_ json_t *list = json_array();
	const char *name = path;
	for (size_t i = 0; i < c.count; i++) {
		json_t *o = info_as(
			name, c.links[i].path, c.links[i].qcow2 ? IMAGE_QCOW2 : IMAGE_RAW, err);
		if (!o)
			return NULL;
		json_array_append_new(list, o);
		name = json_get_str(o, "full-backing-filename", "");
	}
	return TAKE(list);
}

/* ---- for people ----------------------------------------------------------------------------------- */

/* What a header holds may be meant for the terminal rather than for who sits at it. */
static void print_name(const char *label, const char *name)
{
	printf("%s: ", label);
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			printf("\\x%02x", (unsigned char)*p);
		else
			putchar(*p);
}

/* "2.19 MiB": three digits and a unit that makes it less than 1000, as qemu-img has it. */
static void print_size(const char *label, uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double size = (double)bytes;
	size_t u = 0;
	for (; size >= 1000 && u + 1 < ARRAY_SIZE(units); u++)
		size /= 1024;
	printf("%s: %.3g %s", label, size, units[u]);
}

static void print_backing(const json_t *o)
{
	const char *name = json_get_str(o, "backing-filename", NULL);
	const char *full = json_get_str(o, "full-backing-filename", "");
	const char *format = json_get_str(o, "backing-filename-format", NULL);
	if (!name)
		return;
	print_name("backing file", name);
	if (!str_eq(name, full)) {
		print_name(" (actual path", full);
		putchar(')');
	}
	putchar('\n');
	if (format) {
		print_name("backing file format", format);
		putchar('\n');
	}
}

static void print_members(const json_t *whole, int indent);

static void print_value(const char *key, const json_t *value, int indent)
{
	_cleanup_free_ char *label = xstrdup(key);
	for (char *p = label; *p; p++)
		*p = *p == '-' ? ' ' : *p;
	printf("%*s", indent, "");
	if (json_is_string(value))
		print_name(label, json_string_value(value));
	else if (json_is_integer(value))
		printf("%s: %lld", label, (long long)json_integer_value(value));
	else if (json_is_boolean(value))
		printf("%s: %s", label, json_is_true(value) ? "true" : "false");
	else
		printf("%s:", label);
	putchar('\n');
	print_members(value, indent + 4);
}

/* Of an object or a list. */
static void print_members(const json_t *whole, int indent)
{
	const char *key;
	json_t *value;
	size_t i;
	json_object_foreach ((json_t *)whole, key, value)
		print_value(key, value, indent);
	json_array_foreach (whole, i, value) {
		_cleanup_free_ char *number = str_fmt("[%zu]", i);
		print_value(number, value, indent);
	}
}

static void print_specific(const json_t *data)
{
	puts("Format specific information:");
	print_members(data, 4);
}

static void print_snapshots(const json_t *list)
{
	size_t i;
	json_t *s;
	puts("Snapshots:");
	json_array_foreach ((json_t *)list, i, s) {
		printf("    ");
		print_name(json_get_str(s, "id", ""), json_get_str(s, "name", ""));
		int64_t state = json_get_int(s, "vm-state-size", 0);
		if (state)
			printf(" (with %s of memory)", str_size((uint64_t)state));
		putchar('\n');
	}
}

void image_info_print(const json_t *o)
{
	uint64_t size = (uint64_t)json_get_int(o, "virtual-size", 0);
	const json_t *data = json_object_get(json_object_get(o, "format-specific"), "data");
	print_name("image", json_get_str(o, "filename", ""));
	printf("\nfile format: %s\n", json_get_str(o, "format", ""));
	print_size("virtual size", size);
	printf(" (%llu bytes)\n", (unsigned long long)size);
	print_size("disk size", (uint64_t)json_get_int(o, "actual-size", 0));
	putchar('\n');
	if (json_get_bool(o, "encrypted", false))
		puts("encrypted: yes");
	if (data)
		printf("cluster_size: %lld\n", (long long)json_get_int(o, "cluster-size", 0));
	if (json_get_bool(o, "dirty-flag", false))
		puts("cleanly shut down: no");
	print_backing(o);
	if (json_object_get(o, "snapshots"))
		print_snapshots(json_object_get(o, "snapshots"));
	if (data)
		print_specific(data);
}
