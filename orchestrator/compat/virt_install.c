/*
 * virt-install's options, and what is said from the first word to the last. Where virtinst would wait for ever, as with an
 * installer's screen on a server without a viewer, it is told how one looks, and that is all.
 */
#include "orchestrator/compat/virt_install.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "orchestrator/compat/tool.h"
#include "orchestrator/installing.h"
#include "orchestrator/network.h"
#include "orchestrator/paths.h"
#include "orchestrator/run_options.h"

enum { USED_MAX = 128, INJECT_MAX = 32, ROW = 256 };

/* ---- the options --------------------------------------------------------------------------------------- */

/* Of options that are one text or a flag (""): the last one counts. */
enum text {
	TEXT_NONE,
	TEXT_NAME,
	TEXT_CONNECT,
	TEXT_UUID,
	TEXT_CDROM,
	TEXT_LOCATION,
	TEXT_IMPORT,
	TEXT_EXTRA,
	TEXT_NOAUTOCONSOLE,
	TEXT_AUTOCONSOLE,
	TEXT_WAIT,
	TEXT_NOREBOOT,
	TEXT_AUTOSTART,
	TEXT_DRY_RUN,
	TEXT_QUIET,
	TEXT_HELP,
	TEXT_VERSION,
	TEXT_OS_TYPE,
	TEXT_MAX
};

struct row {
	const char *name;
	char letter;
	int argument; /* getopt's */
	enum text text;
	int (*ask)(struct install_ask *a, const char *text, struct err *err);
	const char *refused; /* why it is not here */
};

static const struct row rows[] = {
	{"name", 'n', required_argument, TEXT_NAME, NULL, NULL},
	{"connect", 0, required_argument, TEXT_CONNECT, NULL, NULL},
	{"uuid", 0, required_argument, TEXT_UUID, NULL, NULL},
	{"cdrom", 'c', required_argument, TEXT_CDROM, NULL, NULL},
	{"location", 'l', required_argument, TEXT_LOCATION, NULL, NULL},
	{"import", 0, no_argument, TEXT_IMPORT, NULL, NULL},
	{"extra-args", 'x', required_argument, TEXT_EXTRA, NULL, NULL},
	{"initrd-inject", 0, required_argument, TEXT_NONE, NULL, NULL},
	{"noautoconsole", 0, no_argument, TEXT_NOAUTOCONSOLE, NULL, NULL},
	{"autoconsole", 0, required_argument, TEXT_AUTOCONSOLE, NULL, NULL},
	{"wait", 0, optional_argument, TEXT_WAIT, NULL, NULL},
	{"noreboot", 0, no_argument, TEXT_NOREBOOT, NULL, NULL},
	{"autostart", 0, no_argument, TEXT_AUTOSTART, NULL, NULL},
	{"dry-run", 0, no_argument, TEXT_DRY_RUN, NULL, NULL},
	{"quiet", 'q', no_argument, TEXT_QUIET, NULL, NULL},
	{"debug", 'd', no_argument, TEXT_NONE, NULL, NULL},
	{"help", 'h', no_argument, TEXT_HELP, NULL, NULL},
	{"version", 0, no_argument, TEXT_VERSION, NULL, NULL},
	{"os-type", 0, required_argument, TEXT_OS_TYPE, NULL, NULL},
	{"memory", 'r', required_argument, TEXT_NONE, ask_memory, NULL},
	{"ram", 0, required_argument, TEXT_NONE, ask_memory, NULL},
	{"vcpus", 0, required_argument, TEXT_NONE, ask_vcpus, NULL},
	{"cpu", 0, required_argument, TEXT_NONE, ask_cpu, NULL},
	{"disk", 0, required_argument, TEXT_NONE, ask_disk, NULL},
	{"network", 'w', required_argument, TEXT_NONE, ask_network, NULL},
	{"graphics", 0, required_argument, TEXT_NONE, ask_graphics, NULL},
	{"video", 0, required_argument, TEXT_NONE, ask_video, NULL},
	{"console", 0, required_argument, TEXT_NONE, ask_console, NULL},
	{"serial", 0, required_argument, TEXT_NONE, ask_serial, NULL},
	{"channel", 0, required_argument, TEXT_NONE, ask_channel, NULL},
	{"rng", 0, required_argument, TEXT_NONE, ask_rng, NULL},
	{"tpm", 0, required_argument, TEXT_NONE, ask_tpm, NULL},
	{"boot", 0, required_argument, TEXT_NONE, ask_boot, NULL},
	{"cloud-init", 0, optional_argument, TEXT_NONE, ask_cloud_init, NULL},
	{"check", 0, required_argument, TEXT_NONE, ask_check, NULL},
	{"virt-type", 0, required_argument, TEXT_NONE, ask_virt_type, NULL},
	{"os-variant", 0, required_argument, TEXT_NONE, ask_osinfo, NULL},
	{"osinfo", 0, required_argument, TEXT_NONE, ask_osinfo, NULL},
	{"unattended", 0, optional_argument, TEXT_NONE, NULL,
		"roost has no installer's scripts: add a preseed or kickstart file of yours with --initrd-inject"},
	{"hostdev", 0, required_argument, TEXT_NONE, NULL,
		"devices of the host are not passed through yet"},
	{"host-device", 0, required_argument, TEXT_NONE, NULL,
		"devices of the host are not passed through yet"},
	{"pxe", 0, no_argument, TEXT_NONE, NULL, "--boot network boots from there"},
	{"print-xml", 0, optional_argument, TEXT_NONE, NULL,
		"install the guest, and `virsh dumpxml` prints its XML"},
	{"filesystem", 0, required_argument, TEXT_NONE, NULL,
		"folders of the host are not shared with guests yet"},
};

static const char usage_line[] =
	"usage: virt-install --name NAME --memory MB STORAGE INSTALL [options]\n";

/* An option that acts on the guest, as it came. */
struct used {
	const struct row *row;
	const char *value;
};

struct command {
	const char *texts[TEXT_MAX]; /* NULL: not there */
	struct used used[USED_MAX];
	size_t used_count;
	const char *inject[INJECT_MAX];
	size_t inject_count;
};

/* ---- what is said ------------------------------------------------------------------------------------------ */

void warn(const char *fmt, ...)
{
	va_list args;
	fflush(stdout);
	fputs("WARNING  ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

static int fail(const struct err *err)
{
	fflush(stdout);
	fprintf(stderr, "ERROR    %s\n", err->message);
	if (err->hint[0])
		fprintf(stderr, "         %s\n", err->hint);
	return 1;
}

static int fail_late(const struct install_ask *a, const struct err *err)
{
	fail(err);
	fprintf(stderr,
		"Domain installation does not appear to have been successful.\n"
		"If it was, you can restart your domain by running:\n"
		"  virsh --connect qemu:///%s start %s\n"
		"otherwise, please restart your installation.\n",
		a->session ? "session" : "system", a->name);
	return 1;
}

/* argparse's form. */
static int misused(const char *what, const char *word, const char *more)
{
	fflush(stdout);
	fprintf(stderr, "%svirt-install: error: %s%s%s\n", usage_line, what, word, more);
	return 2;
}

static int unknown_option(const char *word)
{
	const char *names[ARRAY_SIZE(rows) + 1] = {0};
	char bare[64];
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		names[i] = rows[i].name;
	snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(word + 2, "="), word + 2);
	const char *near = str_starts(word, "--") ? str_nearest(bare, names) : NULL;
	_cleanup_free_ char *more = near ? str_fmt(" (did you mean --%s?)", near) : xstrdup("");
	return misused("unrecognized arguments: ", word, more);
}

static int help(void)
{
	fputs(usage_line, stdout);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!rows[i].refused)
			printf("  --%s%s\n", rows[i].name, rows[i].argument ? " ..." : "");
	return 0;
}

/* ---- parsing -------------------------------------------------------------------------------------------------- */

static int take(struct command *c, const struct row *row, const char *value)
{
	if (row->refused)
		return misused("", "--", row->name),
		       tool_refuse("virt-install", row->name, row->refused), 2;
	if (row->text)
		c->texts[row->text] = value ? value : "";
	else if (str_eq(row->name, "initrd-inject") && c->inject_count < INJECT_MAX)
		c->inject[c->inject_count++] = value;
	else if (row->ask && c->used_count < USED_MAX)
		c->used[c->used_count++] = (struct used){row, value ? value : ""};
	return 0;
}

static const struct row *row_of(int letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (letter == ROW + (int)i || (rows[i].letter && rows[i].letter == letter))
			return &rows[i];
	return NULL;
}

/* 0, or the exit code. */
static int parse(struct command *c, int argc, char **argv)
{
	struct option options[ARRAY_SIZE(rows) + 1] = {0};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		options[i] = (struct option){rows[i].name, rows[i].argument, NULL, ROW + (int)i};
	opterr = 0;
	optind = 0;
	for (int letter;
		(letter = getopt_long(argc, argv, ":n:r:c:l:x:w:qdh", options, NULL)) != -1;) {
		const struct row *row = row_of(letter == ':' ? optopt : letter);
		if (!row)
			return unknown_option(argv[optind - 1]);
		if (letter == ':')
			return misused("argument --", row->name, ": expected one argument");
		/* argparse takes the next word as well */
		if (row->argument == optional_argument && !optarg && optind < argc &&
			argv[optind][0] != '-' && !str_eq(row->name, "unattended"))
			optarg = argv[optind++];
		/* of "--wait -1" it knows that this is a number */
		if (row->text == TEXT_WAIT && !optarg && optind < argc &&
			str_eq(argv[optind], "-1"))
			optarg = argv[optind++];
		int result = take(c, row, optarg);
		if (result)
			return result;
	}
	return optind < argc ? unknown_option(argv[optind]) : 0;
}

/* ---- the guest ------------------------------------------------------------------------------------------------ */

int ask_osinfo(struct install_ask *a, const char *text, struct err *err)
{
	_cleanup_parts_ struct parts p;
	uint64_t memory = 0;
	if (parts_of("--osinfo", text, "short-id", &p, err) < 0)
		return -1;
	const char *id = parts_take(&p, "short-id"), *name = parts_take(&p, "name");
	parts_take(&p, "detect"), parts_take(&p, "require");
	if (parts_end(&p, err) < 0)
		return -1;
	id = id ? id : name;
	if (!id || str_eq(id, "detect") || str_eq(id, "none"))
		return 0;
	if (!os_find(id, &memory)) {
		warn("Unknown OS name '%s'. Its usual hardware is not known, and virtio is taken.",
			id);
		return 0;
	}
	if (str_eq(id, "generic"))
		warn("Using --osinfo generic, VM performance may suffer. Specify an accurate OS for optimal results.");
	const char *has = json_get_str(a->definition, "memory", NULL);
	if (!has && memory) {
		_cleanup_free_ char *size = str_fmt("%lluM", (unsigned long long)(memory >> 20));
		json_set_text(a->definition, "memory", size);
	} else if (has && strtoull(has, NULL, 10) < memory >> 20) {
		warn("Requested memory %llu MiB is less than the recommended %llu MiB for OS %s",
			strtoull(has, NULL, 10), (unsigned long long)(memory >> 20), id);
	}
	return 0;
}

static bool exists(const char *name)
{
	struct found f;
	struct err ignored = ERR_INIT;
	return guest_find(name, &f, &ignored) == 0;
}

static int settle_name(struct install_ask *a, const char *told, struct err *err)
{
	static char usual[16];
	for (unsigned n = 1; !told && (n == 1 || exists(usual)); n++)
		snprintf(usual, sizeof(usual), "vm%u", n);
	if (!told)
		printf("Using default --name %s\n", usual);
	a->name = told ? told : usual;
	if (strchr(a->name, ' '))
		return err_set(
			err, ERR_USAGE, "Guest name '%s' can not contain ' ' character.", a->name);
	if (strchr(a->name, '/'))
		return err_set(err, ERR_USAGE, "XML error: name %s cannot contain '/'", a->name);
	return name_check(a->name, "guest", err);
}

static int open_installer(struct install_ask *a, const struct command *c, struct err *err)
{
	const char *cdrom = c->texts[TEXT_CDROM], *location = c->texts[TEXT_LOCATION];
	bool import = c->texts[TEXT_IMPORT];
	a->import = import;
	if (!cdrom && !location && !import) {
		for (size_t i = 0; i < c->used_count; i++)
			if (c->used[i].row->ask == ask_boot ||
				c->used[i].row->ask == ask_cloud_init)
				a->import = true;
		if (!a->import)
			return err_set(err, ERR_USAGE,
				"An install method must be specified\n(--location URL, --cdrom CD/ISO, --pxe, --import, --boot hd|cdrom|...)");
	}
	if (!!cdrom + !!location + import > 1)
		return err_set(err, ERR_USAGE, "Only one install method can be used");
	if ((c->texts[TEXT_EXTRA] || c->inject_count) && !location)
		return err_set(err, ERR_USAGE, "%s only work if specified with --location.",
			c->inject_count ? "--initrd-inject" : "--extra-args");
	if (cdrom && access(cdrom, F_OK) < 0)
		return err_set(err, ERR_NOT_FOUND,
			"Validating install media '%s' failed: Must specify storage creation parameters for non-existent path '%s'.",
			cdrom, cdrom);
	if (cdrom && installer_from_medium(cdrom, &a->how, err) < 0)
		return -1;
	if (location && installer_from_location(location, c->texts[TEXT_EXTRA], c->inject,
				c->inject_count, &a->how, err) < 0)
		return -1;
	if (a->how.facts && c->texts[TEXT_NOREBOOT])
		json_object_set_new(a->how.facts, "noreboot", json_true());
	return 0;
}

static bool was_used(const struct command *c,
	int (*ask)(struct install_ask *a, const char *text, struct err *err))
{
	for (size_t i = 0; i < c->used_count; i++)
		if (c->used[i].row->ask == ask)
			return true;
	return false;
}

static int ask_all(struct install_ask *a, const struct command *c, struct err *err)
{
	for (int os = 0; os < 2; os++) /* what is known of the system fills what was not said */
		for (size_t i = 0; i < c->used_count; i++)
			if ((c->used[i].row->ask == ask_osinfo) == os &&
				c->used[i].row->ask(a, c->used[i].value, err) < 0)
				return -1;
	if (!was_used(c, ask_disk))
		return err_set(err, ERR_USAGE,
			"--disk storage must be specified (override with --disk none)");
	if (!json_object_get(a->definition, "memory"))
		return err_set(err, ERR_USAGE, "--memory amount in MiB is required");
	if (!was_used(c, ask_network))
		return ask_network(a, a->session ? "user" : "network=default", err);
	return 0;
}

/* The definition, as far as it is not said by single options. */
static void complete(struct install_ask *a, const struct command *c)
{
	json_t *o = a->definition;
	json_set_text(o, "name", a->name);
	json_set_text(o, "uuid", c->texts[TEXT_UUID]);
	json_set_text(o, "vnc", a->vnc ? "true" : "false");
	json_set_text(o, "display", a->vnc ? "vga" : NULL);
	json_set_text(o, "autostart", c->texts[TEXT_AUTOSTART] ? "true" : NULL);
	json_set_text(o, "cdrom", installer_has_medium(&a->how) ? "none" : NULL);
	if (!a->no_disk)
		json_object_set(o, "disks", a->disks);
	json_object_set(o, "interfaces", a->nics);
}

static int check_networks(const struct install_ask *a, struct err *err)
{
	size_t i;
	json_t *nic;
	json_array_foreach (a->nics, i, nic) {
		struct network n;
		const char *name = json_get_str(nic, "network", NULL);
		if (!name)
			continue;
		if (network_load(name, &n, err) < 0)
			return err->kind != ERR_NOT_FOUND
				       ? -1
				       : err_set(err, ERR_NOT_FOUND,
						 "Network not found: no network with matching name '%s'",
						 name);
		if (!network_active(&n)) {
			err_set(err, ERR_REFUSED,
				"Requested operation is not valid: network '%s' is not active",
				name);
			return err_hint(err, "virsh net-start %s", name);
		}
	}
	return 0;
}

/* ---- from its start to the end of the installation ----------------------------------------------------------------- */

static int create(struct install_ask *a, struct err *err)
{
	_cleanup_json_ json_t *reply = NULL;
	if (exists(a->name))
		return err_set(err, ERR_REFUSED, "Guest name '%s' is already in use.", a->name);
	if (check_networks(a, err) < 0 || disks_make(a, err) < 0)
		return -1;
	_cleanup_definition_ struct definition *d = definition_of_words(a->definition, err);
	printf("%-60s|    0 B  00:00     \n", "Creating domain...");
	if (!d || installing_define(d, err) < 0 ||
		installing_start(a->name, &a->how, true, &reply, err) < 0)
		return -1;
	const char *said = json_get_str(reply, "accel-said", "");
	if (said[0])
		warn("%s", said);
	return 0;
}

static int wait_for_end(const struct install_ask *a, const char *minutes)
{
	struct err err = ERR_INIT;
	struct found f;
	enum installed how;
	long limit = minutes[0] ? strtol(minutes, NULL, 10) : -1;
	puts("\nDomain is still running. Installation may be in progress.");
	puts("Waiting for the installation to complete.");
	fflush(stdout);
	int64_t deadline = limit < 0 ? DEADLINE_NONE : deadline_in((int64_t)limit * 60000);
	if (guest_find(a->name, &f, &err) < 0)
		return fail(&err);
	if (installing_wait(&f, deadline, &how, &err) < 0) {
		if (err.kind != ERR_TIMEOUT)
			return fail(&err);
		puts("Installation has exceeded specified time limit. Exiting application.");
		return 1;
	}
	puts("Domain creation completed.");
	if (how == INSTALLED_OFF)
		printf("You can restart your domain by running:\n  virsh --connect qemu:///%s start %s\n",
			a->session ? "session" : "system", a->name);
	return 0;
}

/* Its screen or its console, where there is somebody to see it. */
static int show(const struct install_ask *a, const struct command *c)
{
	struct err err = ERR_INIT;
	const char *mode = c->texts[TEXT_AUTOCONSOLE], *display = getenv("DISPLAY");
	const char *instance = a->session ? "session" : "system";
	bool text = str_eq(mode, "text") || (!a->vnc && !str_eq(mode, "graphical"));
	if (c->texts[TEXT_NOAUTOCONSOLE] || str_eq(mode, "none") ||
		str_eq(c->texts[TEXT_WAIT], "0"))
		return 0;
	if (text && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
		printf("Running text console command: virsh --connect qemu:///%s console %s\n",
			instance, a->name);
		fflush(stdout);
		return verb_call("console", (const char *const[]){a->name, "--replay", NULL},
			       &err) < 0
			       ? fail(&err)
			       : 0;
	}
	if (!text && display && display[0] &&
		verb_call("viewer", (const char *const[]){a->name, NULL}, &err) >= 0)
		return 0;
	warn("There is no %s to show it on: look at it with `virsh --connect qemu:///%s console %s`%s%s%s",
		text ? "terminal" : "display", instance, a->name, text ? "" : ", `roost viewer ",
		text ? "" : a->name, text ? "" : "`, or `roost screenshot`");
	return 0;
}

static int follow(const struct install_ask *a, const struct command *c)
{
	const char *wait = c->texts[TEXT_WAIT];
	bool waits = wait && !str_eq(wait, "0");
	fflush(stdout);
	if (!a->how.facts) {
		int shown = show(a, c);
		puts("Domain creation completed.");
		return shown;
	}
	int shown = waits ? 0 : show(a, c);
	if (waits)
		return wait_for_end(a, wait);
	if (shown == 0) {
		puts("\nDomain is still running. Installation may be in progress.");
		puts("You can reconnect to the console to complete the installation process.");
	}
	return shown;
}

static int install(struct install_ask *a, const struct command *c)
{
	struct err err = ERR_INIT;
	if (c->texts[TEXT_OS_TYPE])
		warn("--os-type is deprecated and does nothing. Please stop using it.");
	if (settle_name(a, c->texts[TEXT_NAME], &err) < 0 || ask_all(a, c, &err) < 0 ||
		open_installer(a, c, &err) < 0)
		return fail(&err);
	complete(a, c);
	if (c->texts[TEXT_DRY_RUN]) {
		puts("Dry run completed successfully");
		return 0;
	}
	puts("\nStarting install...");
	if (create(a, &err) < 0) {
		disks_take_back(a);
		return fail_late(a, &err);
	}
	return follow(a, c);
}

static void ask_free(struct install_ask *a)
{
	json_decref(a->definition);
	json_decref(a->disks);
	json_decref(a->nics);
	installer_close(&a->how);
	for (size_t i = 0; i < a->made_count; i++) {
		free(a->made[i].path);
		free(a->made[i].backing);
		free(a->made[i].backing_format);
	}
}

int virt_install_main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct command c = {0};
	int result = parse(&c, argc, argv);
	if (result)
		return compat_end(result);
	if (c.texts[TEXT_HELP])
		return compat_end(help());
	if (c.texts[TEXT_VERSION]) {
		puts("4.1.0");
		return compat_end(0);
	}
	if (tool_connect(c.texts[TEXT_CONNECT], &err) < 0)
		return compat_end(fail(&err));
	struct install_ask a = {.definition = json_object(),
		.disks = json_array(),
		.nics = json_array(),
		.check_use = true,
		.vnc = true,
		.session = !paths_are_system()};
	result = install(&a, &c);
	ask_free(&a);
	return compat_end(result);
}
