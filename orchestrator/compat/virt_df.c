/*
 * virt-df: `roost df`, told as guestfs-tools tells it. Disks are called as its appliance calls them, in their order: the
 * guest's vda1 is sda1. Sizes for people are rounded to the nearest, shares are those of all blocks.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/compat/tool.h"
#include "orchestrator/df_text.h"

struct asked {
	struct df_form form;
	const char *uri;
	const char *format; /* of the images that follow; NULL: by their content */
	bool format_given;
	bool uuid;
	struct words guests, images; /* images: as `roost df` takes them */
};

static const char usage[] =
	"virt-df: display free space on virtual filesystems\n"
	"Usage:\n  virt-df [--options]              of all guests\n"
	"  virt-df [--options] -d domname   of this one; may be given more than once\n"
	"Options:\n"
	"  -c|--connect uri     qemu:///system or qemu:///session\n"
	"  -a|--add image       of an image that no guest writes to; --format[=raw|qcow2]\n"
	"  --csv                comma-separated values\n"
	"  -h|--human-readable  sizes for people\n"
	"  -i|--inodes          inodes\n"
	"  --uuid               UUIDs instead of names\n"
	"  -V|--version\n";

static const struct option options[] = {{"add", required_argument, NULL, 'a'},
	{"blocksize", optional_argument, NULL, 'B'}, {"connect", required_argument, NULL, 'c'},
	{"csv", no_argument, NULL, 'C'}, {"domain", required_argument, NULL, 'd'},
	{"format", optional_argument, NULL, 'F'}, {"help", no_argument, NULL, 'H'},
	{"human-readable", no_argument, NULL, 'h'}, {"inodes", no_argument, NULL, 'i'},
	{"one-per-guest", no_argument, NULL, '1'}, {"uuid", no_argument, NULL, 'u'},
	{"verbose", no_argument, NULL, 'v'}, {"version", no_argument, NULL, 'V'}, {0}};

/* ---- numbers -------------------------------------------------------------------------------------------- */

/* To the nearest, with a digit after the point below 10: 4.0M, 110M. */
static void human_size(int64_t bytes, char out[DF_CELL])
{
	static const char units[] = "KMGTPE";
	double n = (double)bytes;
	int power = -1;
	while (n >= 1024 && power < 5) {
		n /= 1024;
		power++;
	}
	if (power < 0)
		snprintf(out, DF_CELL, "%lld", (long long)bytes);
	else if (n < 9.95)
		snprintf(out, DF_CELL, "%.1f%c", n, units[power]);
	else
		snprintf(out, DF_CELL, "%.0f%c", n, units[power]);
}

static void amount(const struct df_form *form, int64_t n, char out[DF_CELL])
{
	if (form->human && !form->inodes)
		human_size(n, out);
	else
		snprintf(out, DF_CELL, "%lld", (long long)(form->inodes ? n : n / 1024));
}

static void share(const struct df_form *form, int64_t used, int64_t total, char out[DF_CELL])
{
	double part = total > 0 ? 100 * (double)used / (double)total : 0;
	int whole = (int)part;
	if (form->csv)
		snprintf(out, DF_CELL, "%.1f", part);
	else
		snprintf(out, DF_CELL, "%d%%", part > whole ? whole + 1 : whole);
}

/* ---- devices -------------------------------------------------------------------------------------------- */

/* "sda", ..., "sdz", "sdaa": the disk's place among those with a file. */
static void disk_name(size_t index, char out[16])
{
	if (index < 26)
		snprintf(out, 16, "sd%c", (char)('a' + (int)index));
	else
		snprintf(out, 16, "sd%c%c", (char)('a' + (int)(index / 26) - 1),
			(char)('a' + (int)(index % 26)));
}

/* What the guest calls vda1 is sda1 there; a logical volume has its own name. Freed by the caller. */
static char *appliance_name(const json_t *disks, const char *device)
{
	size_t i, index = 0;
	json_t *disk;
	json_array_foreach (disks, i, disk) {
		const char *target = json_get_str(disk, "target", "");
		if (!json_get_str(disk, "source", NULL))
			continue;
		size_t len = strlen(target);
		const char *rest = device + len;
		if (str_starts(device, target) && !rest[strspn(rest, "0123456789")]) {
			char name[16];
			disk_name(index, name);
			return str_fmt("/dev/%s%s", name, rest);
		}
		index++;
	}
	return str_fmt("/dev/%s", device);
}

/* ---- rows ----------------------------------------------------------------------------------------------- */

static void print_row(
	const struct df_form *form, const char *guest, const char *device, const json_t *fs)
{
	char cells[4][DF_CELL];
	int64_t total = json_get_int(fs, form->inodes ? "inodes" : "total", -1),
		used = json_get_int(fs, form->inodes ? "inodes-used" : "used", -1),
		available = form->inodes ? total - used : json_get_int(fs, "available", -1);
	if (total < 0 ||
		used < 0) /* nothing that could be mounted, such as swap; or it has no inodes */
		return;
	amount(form, total, cells[0]);
	amount(form, used, cells[1]);
	amount(form, available, cells[2]);
	share(form, used, total, cells[3]);
	df_print_row(form, guest, device, cells);
}

static void print_guest(const struct asked *a, const json_t *guest)
{
	size_t i;
	json_t *fs;
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *disks = NULL, *uuid = NULL;
	const char *name = json_get_str(guest, "name", "");
	compat_ask("domblklist", name, &disks, &ignored);
	if (a->uuid)
		compat_ask("domuuid", name, &uuid, &ignored);
	json_array_foreach (json_object_get(guest, "filesystems"), i, fs) {
		_cleanup_free_ char *device = appliance_name(disks, json_get_str(fs, "device", ""));
		print_row(&a->form, json_get_str(uuid, "uuid", name), device, fs);
	}
}

/* ---- the command ---------------------------------------------------------------------------------------- */

static const char error[] = "libguestfs: error: ";

/* Of one, or with NULL of all; what cannot be looked into is told, and hides no other. */
static int look(const char *guest, const struct words *images, json_t *all)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *answer = NULL;
	size_t i;
	json_t *one;
	int result = 0;
	if ((images ? words_ask(images, "df", &answer, &err)
		    : compat_ask("df", guest, &answer, &err)) < 0)
		return guest ? tool_fail_guest(error, guest, &err) : tool_fail_for(error, &err);
	json_array_foreach (answer, i, one) {
		struct err why = ERR_INIT;
		if (!json_object_get(one, "error")) {
			json_array_append(all, one);
			continue;
		}
		json_to_err(json_object_get(one, "error"), &why);
		result = tool_fail_for(error, &why);
	}
	return result;
}

/* All images are one machine's, and `roost df` is told one format for them. */
static int take_format(struct asked *a, const char *format)
{
	if (a->images.count && !str_eq(format, a->format))
		return tool_refuse(
			"virt-df", "--format", "one for all images; look at each by itself");
	a->format = format;
	a->format_given = true;
	return 0;
}

static int take_image(struct asked *a, const char *path)
{
	if (access(path, F_OK) < 0)
		return tool_fail("virt-df: ", "access: %s: %m", path), 1;
	if (!a->images.count)
		words_option(&a->images, "format", a->format);
	words_option(&a->images, "image", path);
	a->format_given = false;
	return 0;
}

/* A file that is there, or a guest. */
static int take_operand(struct asked *a, const char *word)
{
	if (access(word, F_OK) == 0)
		return take_image(a, word);
	words_add(&a->guests, word);
	return 0;
}

static int take_option(int letter, struct asked *a, char **argv)
{
	switch (letter) {
	case 'a':
		return take_image(a, optarg);
	case 'F':
		return take_format(a, optarg);
	case 'c':
		a->uri = optarg;
		break;
	case 'C':
		a->form.csv = true;
		break;
	case 'd':
		words_add(&a->guests, optarg);
		break;
	case 'h':
		a->form.human = true;
		break;
	case 'i':
		a->form.inodes = true;
		break;
	case 'u':
		a->uuid = true;
		break;
	case '1': /* of how appliances are run, of which there is none */
		break;
	case 'P':
		if (optarg[strspn(optarg, "0123456789")] || !optarg[0])
			return tool_fail("virt-df: ", "-P: '%s' is no number of threads", optarg),
			       1;
		break;
	case 'v':
	case 'x':
		break;
	case 'B':
		return tool_refuse(
			"virt-df", argv[optind - 1], "sectors of 512 bytes are all that is read");
	default:
		return tool_bad_option("virt-df", argv, options, letter);
	}
	return 0;
}

/* Looks into what was asked for, all of it unless something was named, and prints that. */
static int tell(struct asked *a)
{
	_cleanup_json_ json_t *all = json_array();
	struct err err = ERR_INIT;
	int result = 0;
	size_t i;
	json_t *guest;
	if (tool_connect(a->uri, &err) < 0)
		return tool_fail_for(error, &err);
	for (i = 0; i < a->guests.count; i++)
		if (look(a->guests.list[i], NULL, all) < 0)
			return -1;
	if (a->images.count && look(NULL, &a->images, all) < 0)
		return -1;
	if (!a->guests.count && !a->images.count)
		result = look(NULL, NULL, all);
	df_print_head(&a->form);
	json_array_foreach (all, i, guest)
		print_guest(a, guest);
	return result;
}

int virt_df_main(int argc, char **argv)
{
	struct asked a = {0};
	int letter, result = 0;
	opterr = 0;
	while (!result &&
		(letter = getopt_long(argc, argv, ":a:c:d:hiP:vVx", options, NULL)) >= 0) {
		if (letter == 'H' || letter == 'V') {
			fputs(letter == 'H' ? usage : "virt-df 1.48.2\n", stdout);
			return compat_end(0);
		}
		result = take_option(letter, &a, argv);
	}
	for (; !result && optind < argc; optind++) /* its oldest form */
		result = take_operand(&a, argv[optind]);
	if (!result && a.format_given) {
		fprintf(stderr, "virt-df: --format parameter must appear before -a parameter\n");
		result = 1;
	}
	if (!result && a.form.csv && a.form.human) {
		fprintf(stderr, "virt-df: you cannot use -h and --csv options together.\n");
		result = 1;
	}
	result = result ? result : compat_end(tell(&a) < 0 ? 1 : 0);
	words_free(&a.guests);
	words_free(&a.images);
	return result;
}
