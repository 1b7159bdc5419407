/*
 * virt-df: `roost df`, told as guestfs-tools tells it. Disks are called as its appliance calls them, in their order: the
 * guest's vda1 is sda1. Sizes for people are rounded to the nearest, shares are those of all blocks.
 */
#include <stdio.h>
#include <string.h>

#include "orchestrator/compat/tool.h"

enum { NAME_WIDTH = 36, CELL = 40 };

struct form {
	bool human, inodes, csv, uuid;
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
static void human_size(int64_t bytes, char out[CELL])
{
	static const char units[] = "KMGTPE";
	double n = (double)bytes;
	int power = -1;
	while (n >= 1024 && power < 5) {
		n /= 1024;
		power++;
	}
	if (power < 0)
		snprintf(out, CELL, "%lld", (long long)bytes);
	else if (n < 9.95)
		snprintf(out, CELL, "%.1f%c", n, units[power]);
	else
		snprintf(out, CELL, "%.0f%c", n, units[power]);
}

static void amount(const struct form *form, int64_t n, char out[CELL])
{
	if (form->human && !form->inodes)
		human_size(n, out);
	else
		snprintf(out, CELL, "%lld", (long long)(form->inodes ? n : n / 1024));
}

static void share(const struct form *form, int64_t used, int64_t total, char out[CELL])
{
	double part = total > 0 ? 100 * (double)used / (double)total : 0;
	int whole = (int)part;
	if (form->csv)
		snprintf(out, CELL, "%.1f", part);
	else
		snprintf(out, CELL, "%d%%", part > whole ? whole + 1 : whole);
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

static void print_head(const struct form *form)
{
	const char *total = form->inodes ? "Inodes" : form->human ? "Size" : "1K-blocks";
	const char *used = form->inodes ? "IUsed" : "Used",
		   *free = form->inodes ? "IFree" : "Available",
		   *part = form->inodes ? "IUse%" : "Use%";
	if (form->csv)
		printf("VirtualMachine,Filesystem,%s,%s,%s,%s\n", total, used, free, part);
	else
		printf("%-*s%10s %10s %10s %5s\n", NAME_WIDTH, "Filesystem", total, used, free,
			part);
}

static void print_field(const char *text)
{
	bool plain = !text[strcspn(text, ",\"\n")];
	if (!plain)
		putchar('"');
	for (; *text; text++)
		printf(*text == '"' ? "\"\"" : "%c", *text);
	if (!plain)
		putchar('"');
}

static void print_row(
	const struct form *form, const char *guest, const char *device, const json_t *fs)
{
	char cells[4][CELL];
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
	if (form->csv) {
		print_field(guest);
		putchar(',');
		print_field(device);
		printf(",%s,%s,%s,%s\n", cells[0], cells[1], cells[2], cells[3]);
		return;
	}
	_cleanup_free_ char *name = str_fmt("%s:%s", guest, device);
	if (strlen(name) >= NAME_WIDTH) /* then it has a line of its own */
		printf("%s\n%*s", name, NAME_WIDTH, "");
	else
		printf("%-*s", NAME_WIDTH, name);
	printf("%10s %10s %10s %5s\n", cells[0], cells[1], cells[2], cells[3]);
}

static void print_guest(const struct form *form, const json_t *guest)
{
	size_t i;
	json_t *fs;
	struct err ignored = ERR_INIT;
	_cleanup_json_ json_t *disks = NULL, *uuid = NULL;
	const char *name = json_get_str(guest, "name", "");
	compat_ask("domblklist", name, &disks, &ignored);
	if (form->uuid)
		compat_ask("domuuid", name, &uuid, &ignored);
	json_array_foreach (json_object_get(guest, "filesystems"), i, fs) {
		_cleanup_free_ char *device = appliance_name(disks, json_get_str(fs, "device", ""));
		print_row(form, json_get_str(uuid, "uuid", name), device, fs);
	}
}

/* ---- the command ---------------------------------------------------------------------------------------- */

static int fail(const char *guest, const struct err *err)
{
	_cleanup_free_ char *why = tool_reason(err);
	if (guest && err->kind == ERR_NOT_FOUND)
		fprintf(stderr,
			"libguestfs: error: no libvirt domain called ‘%s’: Domain not found: no domain with matching name '%s'\n",
			guest, guest);
	else
		fprintf(stderr, "libguestfs: error: %s\n", why);
	return -1;
}

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
		return fail(guest, &err);
	json_array_foreach (answer, i, one) {
		struct err why = ERR_INIT;
		if (!json_object_get(one, "error")) {
			json_array_append(all, one);
			continue;
		}
		json_to_err(json_object_get(one, "error"), &why);
		result = fail(NULL, &why);
	}
	return result;
}

static int take_option(int letter, struct form *form, struct words *guests, struct words *images,
	const char **uri, char **argv)
{
	switch (letter) {
	case 'a':
		words_option(images, "image", optarg);
		break;
	case 'F':
		words_option(images, "format", optarg);
		break;
	case 'c':
		*uri = optarg;
		break;
	case 'C':
		form->csv = true;
		break;
	case 'd':
		words_add(guests, optarg);
		break;
	case 'h':
		form->human = true;
		break;
	case 'i':
		form->inodes = true;
		break;
	case 'u':
		form->uuid = true;
		break;
	case '1': /* of how appliances are run, of which there is none */
	case 'P':
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

int virt_df_main(int argc, char **argv)
{
	struct form form = {0};
	_cleanup_words_ struct words guests = {0}, images = {0};
	_cleanup_json_ json_t *all = json_array();
	struct err err = ERR_INIT;
	const char *uri = NULL;
	int letter, result = 0;
	size_t i;
	json_t *guest;
	opterr = 0;
	while ((letter = getopt_long(argc, argv, ":a:c:d:hiP:vVx", options, NULL)) >= 0) {
		if (letter == 'H' || letter == 'V') {
			fputs(letter == 'H' ? usage : "virt-df 1.48.2\n", stdout);
			return compat_end(0);
		}
		if (take_option(letter, &form, &guests, &images, &uri, argv))
			return 1;
	}
	for (; optind < argc; optind++) /* its oldest form */
		words_add(&guests, argv[optind]);
	if (form.csv && form.human)
		return fprintf(stderr, "virt-df: you cannot use -h and --csv options together.\n"),
		       1;
	if (tool_connect(uri, &err) < 0)
		return fail(NULL, &err), 1;
	for (i = 0; i < guests.count; i++)
		if (look(guests.list[i], NULL, all) < 0)
			return compat_end(1);
	if (images.count && look(NULL, &images, all) < 0)
		return compat_end(1);
	if (!guests.count && !images.count)
		result = look(NULL, NULL, all);
	print_head(&form);
	json_array_foreach (all, i, guest)
		print_guest(&form, guest);
	return compat_end(result < 0 ? 1 : 0);
}
