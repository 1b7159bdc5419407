#include "orchestrator/df_text.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

enum { NAME_WIDTH = 36 };

/* As `df -h` has it: up, with one digit after the point below 10. */
static void human_size(int64_t bytes, char out[DF_CELL])
{
	static const char units[] = "KMGTPE";
	uint64_t n = (uint64_t)bytes, unit = 1;
	int power = -1;
	while (n / unit >= 1024 && power < 5) {
		unit *= 1024;
		power++;
	}
	uint64_t tenths = n / unit * 10 + (n % unit * 10 + unit - 1) / unit;
	uint64_t whole = (tenths + 9) / 10;
	if (power < 0)
		snprintf(out, DF_CELL, "%llu", (unsigned long long)n);
	else if (tenths < 100)
		snprintf(out, DF_CELL, "%llu.%llu%c", (unsigned long long)(tenths / 10),
			(unsigned long long)(tenths % 10), units[power]);
	else if (whole >= 1024 && power < 5)
		snprintf(out, DF_CELL, "1.0%c", units[power + 1]);
	else
		snprintf(out, DF_CELL, "%llu%c", (unsigned long long)whole, units[power]);
}

/* What is not known is no text. */
static void amount(const struct df_form *form, int64_t n, char out[DF_CELL])
{
	if (n < 0)
		out[0] = '\0';
	else if (form->inodes)
		snprintf(out, DF_CELL, "%lld", (long long)n);
	else if (form->human)
		human_size(n, out);
	else
		snprintf(out, DF_CELL, "%lld", (long long)(n / 1024 + (n % 1024 != 0)));
}

/* Of what anybody may use, as df has it: root's reserve is neither used nor available. */
static void percent(const struct df_form *form, int64_t used, int64_t available, char out[DF_CELL])
{
	double all = (double)used + (double)available,
	       part = all > 0 ? 100 * (double)used / all : 0;
	int whole = (int)part;
	if (used < 0 || available < 0)
		out[0] = '\0';
	else if (form->csv)
		snprintf(out, DF_CELL, "%.1f", part);
	else
		snprintf(out, DF_CELL, "%d%%", part > whole ? whole + 1 : whole);
}

void df_print_head(const struct df_form *form)
{
	const char *total = form->inodes                ? "Inodes"
			    : form->human && !form->csv ? "Size"
							: "1K-blocks";
	const char *used = form->inodes ? "IUsed" : "Used",
		   *free = form->inodes ? "IFree" : "Available",
		   *share = form->inodes ? "IUse%" : "Use%";
	if (form->csv)
		printf("VirtualMachine,Filesystem,%s,%s,%s,%s\n",
			form->human && !form->inodes ? "Size" : total, used, free, share);
	else
		printf("%-*s%10s %10s %10s %5s\n", NAME_WIDTH, "Filesystem", total, used, free,
			share);
}

/* RFC 4180: what has a comma or a quote stands in quotes. */
static void print_field(const char *text)
{
	if (!text[strcspn(text, ",\"\n")]) {
		fputs(text, stdout);
		return;
	}
	putchar('"');
	for (; *text; text++)
		printf(*text == '"' ? "\"\"" : "%c", *text);
	putchar('"');
}

/* A name that is too long has a line of its own. */
static void print_name(const char *guest, const char *device)
{
	_cleanup_free_ char *name = str_fmt("%s:%s", guest, device);
	bool long_one = strlen(name) >= NAME_WIDTH;
	printf("%-*s%s%*s", NAME_WIDTH, name, long_one ? "\n" : "", long_one ? NAME_WIDTH : 0, "");
}

void df_print_row(
	const struct df_form *form, const char *guest, const char *device, char cells[4][DF_CELL])
{
	if (form->csv) {
		print_field(guest);
		putchar(',');
		print_field(device);
		printf(",%s,%s,%s,%s\n", cells[0], cells[1], cells[2], cells[3]);
		return;
	}
	print_name(guest, device);
	printf("%10s %10s %10s %5s\n", cells[0], cells[1], cells[2], cells[3]);
}

static void print_one(const struct df_form *form, const char *guest, const json_t *one)
{
	char cells[4][DF_CELL];
	const char *type = json_get_str(one, "type", "");
	int64_t total = json_get_int(one, form->inodes ? "inodes" : "total", -1);
	int64_t used = json_get_int(one, form->inodes ? "inodes-used" : "used", -1);
	int64_t available =
		form->inodes ? (total < 0 ? -1 : total - used) : json_get_int(one, "available", -1);
	_cleanup_free_ char *device = str_fmt("/dev/%s", json_get_str(one, "device", ""));
	amount(form, total, cells[0]);
	amount(form, used, cells[1]);
	amount(form, available, cells[2]);
	percent(form, used, available, cells[3]);
	bool no_inodes = used < 0 && json_object_get(one, "used");
	for (size_t i = 0; no_inodes && !form->csv && i < ARRAY_SIZE(cells); i++)
		snprintf(cells[i], DF_CELL, "-");
	if (form->csv || used >= 0 || no_inodes) {
		df_print_row(form, guest, device, cells);
		return;
	}
	print_name(guest, device); /* it holds no files that could be counted: what it is */
	printf("%10s  %s\n", cells[0][0] ? cells[0] : "-", type);
}

void df_print_guest(const struct df_form *form, const char *guest, const json_t *list)
{
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one)
		if (json_get_str(one, "type", NULL)) /* else nobody knows what is there */
			print_one(form, guest, one);
}
