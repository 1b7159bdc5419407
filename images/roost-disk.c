/*
 * roost-disk: reads disks natively, as a program of its own: it alone links zlib and libzstd, and what
 * it reads is nobody's friend.
 *
 *	roost-disk COMMAND FORMAT...
 *
 * One FORMAT, "qcow2" or "raw", per layer from the top to the bottom; the layers are the open files 3,
 * 4, and so on (images/disk_ask.h starts it so). Commands:
 *
 *	map	{"start", "length", "depth", "present", "zero", "data", "compressed", "offset"} per
 *		extent, as `qemu-img map --output=json` prints them
 *	check	nothing, if all that the tables of a qcow2 layer name is in its file
 *	df	what images/disk_usage.h tells, per partition
 *
 * One JSON object per line on standard output. An error is the last line, {"error":{...}}, and the exit
 * status of its kind.
 */
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"
#include "images/disk_usage.h"
#include "images/volume.h"

enum { FIRST_LAYER = 3, NOBODY = 65534 };

/*
 * Everything that is needed is open. From here on nothing else can be opened, no connection made, and
 * root's files and processes are out of reach. Where the system allows one of these not, the others
 * hold.
 */
static void stand_alone(size_t layers)
{
	struct rlimit files = {FIRST_LAYER + layers, FIRST_LAYER + layers};
	setrlimit(RLIMIT_NOFILE, &files);
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
				      setresuid(NOBODY, NOBODY, NOBODY) < 0))
		return;
}

static const char *word(bool value)
{
	return value ? "true" : "false";
}

static void print_extent(const struct volume_extent *e)
{
	printf("{\"start\":%" PRIu64 ",\"length\":%" PRIu64
	       ",\"depth\":%zu,\"present\":%s,\"zero\":%s,\"data\":%s,\"compressed\":%s",
		e->start, e->length, e->depth, word(e->present), word(e->zero), word(e->data),
		word(e->compressed));
	if (e->has_offset)
		printf(",\"offset\":%" PRIu64, e->offset);
	puts("}");
}

static int run_map(struct volume *v, struct err *err)
{
	struct volume_extent e = {0};
	if (volume_size(v) == 0) /* as qemu-img has it */
		print_extent(&e);
	for (uint64_t at = 0; at < volume_size(v); at += e.length) {
		if (volume_extent_at(v, at, &e, err) < 0)
			return -1;
		print_extent(&e);
		if (ferror(stdout))
			return err_errno(err, "cannot write the answer");
	}
	return 0;
}

static int run_check(struct volume *v, struct err *err)
{
	struct volume_extent e;
	for (uint64_t at = 0; at < volume_size(v); at += e.length)
		if (volume_extent_at(v, at, &e, err) < 0)
			return -1;
	return 0;
}

static int read_volume(void *about, void *data, uint64_t at, size_t len, struct err *err)
{
	return volume_read(about, at, data, len, err);
}

static int run_df(struct volume *v, struct err *err)
{
	_cleanup_json_ json_t *list = disk_usage(read_volume, v, volume_size(v), err);
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one) {
		_cleanup_free_ char *line = json_line(one);
		puts(line);
	}
	return list ? 0 : -1;
}

static const struct {
	const char *name;
	int (*run)(struct volume *v, struct err *err);
} commands[] = {
	{"map", run_map},
	{"check", run_check},
	{"df", run_df},
};

static int run(int argc, char **argv, struct err *err)
{
	struct volume_layer layers[VOLUME_LAYERS_MAX];
	size_t count = 0;
	for (; argc > 2 && count < VOLUME_LAYERS_MAX && argv[2 + count]; count++) {
		const char *format = argv[2 + count];
		if (!str_eq(format, "qcow2") && !str_eq(format, "raw"))
			return err_set(
				err, ERR_USAGE, "the format '%s' is neither qcow2 nor raw", format);
		layers[count] = (struct volume_layer){
			.fd = FIRST_LAYER + (int)count, .qcow2 = str_eq(format, "qcow2")};
	}
	stand_alone(count);
	for (size_t i = 0; count && i < ARRAY_SIZE(commands); i++) {
		if (!str_eq(argv[1], commands[i].name))
			continue;
		struct volume *v = volume_open(layers, count, err);
		int result = v ? commands[i].run(v, err) : -1;
		volume_close(v);
		return result;
	}
	return err_set(err, ERR_USAGE, "usage: roost-disk map|check|df qcow2|raw...");
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	if (run(argc, argv, &err) == 0)
		return fflush(stdout) == 0 ? 0 : err_exit_code(ERR_SYSTEM);
	_cleanup_json_ json_t *o = json_pack("{s:o}", "error", json_from_err(&err));
	_cleanup_free_ char *line = json_line(o);
	puts(line);
	return err_exit_code(err.kind);
}
