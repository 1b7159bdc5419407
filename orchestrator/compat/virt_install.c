/* virt-install's options: a row for each, with what it says or why it is not there. */
#include "orchestrator/compat/virt_install.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/compat/tool.h"
#include "orchestrator/paths.h"

enum { ROW = 256 };

/* ---- the options --------------------------------------------------------------------------------------- */

struct row {
	const char *name;
	char letter;
	int argument; /* getopt's */
	enum text text;
	ask_fn *ask;
	const char *as;      /* what a flag of old times says to `ask` */
	const char *refused; /* why it is not here */
};

#define TEXT(name, letter, text)                                                                   \
	{                                                                                          \
		name, letter, required_argument, text, NULL, NULL, NULL                            \
	}
#define FLAG(name, letter, text)                                                                   \
	{                                                                                          \
		name, letter, no_argument, text, NULL, NULL, NULL                                  \
	}
#define GUEST(name, letter, ask)                                                                   \
	{                                                                                          \
		name, letter, required_argument, TEXT_NONE, ask, NULL, NULL                        \
	}
#define OLD_FLAG(name, letter, ask, as)                                                            \
	{                                                                                          \
		name, letter, no_argument, TEXT_NONE, ask, as, NULL                                \
	}
#define NO_MORE(name, letter)                                                                      \
	{                                                                                          \
		name, letter, no_argument, TEXT_NONE, NULL, NULL, NULL                             \
	}
#define REFUSED(name, why)                                                                         \
	{                                                                                          \
		name, 0, optional_argument, TEXT_NONE, NULL, NULL, why                             \
	}

static const char tuning[] = "roost does not tune where and how fast a guest runs";

static const struct row rows[] = {
	TEXT("name", 'n', TEXT_NAME),
	TEXT("connect", 0, TEXT_CONNECT),
	TEXT("uuid", 'u', TEXT_UUID),
	TEXT("cdrom", 'c', TEXT_CDROM),
	TEXT("location", 'l', TEXT_LOCATION),
	FLAG("import", 0, TEXT_IMPORT),
	FLAG("pxe", 0, TEXT_PXE),
	FLAG("livecd", 0, TEXT_LIVECD),
	TEXT("reinstall", 0, TEXT_REINSTALL),
	TEXT("extra-args", 'x', TEXT_EXTRA),
	TEXT("initrd-inject", 0, TEXT_NONE),
	FLAG("noautoconsole", 0, TEXT_NOAUTOCONSOLE),
	TEXT("autoconsole", 0, TEXT_AUTOCONSOLE),
	{"wait", 0, optional_argument, TEXT_WAIT, NULL, NULL, NULL},
	FLAG("noreboot", 0, TEXT_NOREBOOT),
	FLAG("autostart", 0, TEXT_AUTOSTART),
	FLAG("transient", 0, TEXT_TRANSIENT),
	FLAG("dry-run", 0, TEXT_DRY_RUN),
	{"print-xml", 0, optional_argument, TEXT_PRINT_XML, NULL, NULL, NULL},
	TEXT("print-step", 0, TEXT_PRINT_XML),
	FLAG("quiet", 'q', TEXT_QUIET),
	NO_MORE("debug", 'd'),
	FLAG("help", 'h', TEXT_HELP),
	FLAG("version", 0, TEXT_VERSION),
	TEXT("os-type", 0, TEXT_OS_TYPE),
	GUEST("memory", 0, ask_memory),
	GUEST("ram", 'r', ask_memory),
	GUEST("vcpus", 0, ask_vcpus),
	GUEST("cpu", 0, ask_cpu),
	GUEST("metadata", 0, ask_metadata),
	GUEST("description", 0, ask_description),
	GUEST("disk", 0, ask_disk),
	GUEST("network", 'w', ask_network),
	GUEST("graphics", 0, ask_graphics),
	GUEST("video", 0, ask_video),
	GUEST("console", 0, ask_console),
	GUEST("serial", 0, ask_serial),
	GUEST("channel", 0, ask_channel),
	GUEST("rng", 0, ask_rng),
	GUEST("tpm", 0, ask_tpm),
	GUEST("watchdog", 0, ask_watchdog),
	GUEST("memballoon", 0, ask_memballoon),
	GUEST("panic", 0, ask_panic),
	GUEST("input", 0, ask_input),
	GUEST("controller", 0, ask_controller),
	{"sound", 0, optional_argument, TEXT_NONE, ask_sound, NULL, NULL},
	GUEST("boot", 0, ask_boot),
	GUEST("events", 0, ask_events),
	GUEST("features", 0, ask_features),
	GUEST("clock", 0, ask_clock),
	GUEST("pm", 0, ask_pm),
	GUEST("qemu-commandline", 0, ask_qemu),
	{"cloud-init", 0, optional_argument, TEXT_NONE, ask_cloud_init, NULL, NULL},
	GUEST("check", 0, ask_check),
	GUEST("virt-type", 0, ask_virt_type),
	GUEST("arch", 0, ask_arch),
	GUEST("machine", 0, ask_machine),
	GUEST("os-variant", 0, ask_osinfo),
	GUEST("osinfo", 0, ask_osinfo),
	/* virtinst takes these still, and scripts have them */
	GUEST("file", 'f', ask_file),
	GUEST("file-size", 's', ask_file_size),
	OLD_FLAG("nodisks", 0, ask_disk, "none"),
	OLD_FLAG("nonetworks", 0, ask_network, "none"),
	GUEST("bridge", 'b', ask_bridge),
	OLD_FLAG("nographics", 0, ask_graphics, "none"),
	OLD_FLAG("vnc", 0, ask_graphics, "vnc"),
	NO_MORE("hvm", 'v'),
	NO_MORE("accelerate", 0),
	NO_MORE("check-cpu", 0),
	FLAG("prompt", 0, TEXT_PROMPT),
	FLAG("force", 0, TEXT_FORCE),
	REFUSED("mac", "--network NETWORK,mac=ADDRESS has it"),
	REFUSED("vncport", "VNC listens on a unix socket alone: `roost viewer` leads there"),
	REFUSED("vnclisten", "VNC listens on a unix socket alone: `roost viewer` leads there"),
	REFUSED("keymap", "the viewer has its own"),
	REFUSED("sdl", "there is --graphics vnc"),
	REFUSED("nonsparse", "--disk SIZE,sparse=no has it"),
	REFUSED("noapic", "every guest has an APIC"),
	REFUSED("noacpi", "every guest has ACPI"),
	REFUSED("cpuset", tuning),
	REFUSED("unattended",
		"roost has no installer's scripts: add a preseed or kickstart file of yours with --initrd-inject"),
	REFUSED("install", "--location PATH,kernel=FILE,initrd=FILE has a kernel, --import none"),
	REFUSED("hostdev", "devices of the host are not passed through yet"),
	REFUSED("host-device", "devices of the host are not passed through yet"),
	REFUSED("filesystem", "folders of the host are not shared with guests yet"),
	REFUSED("destroy-on-exit", "`virsh destroy` ends a guest"),
	REFUSED("xml", "`roost edit` changes a definition, `virsh define` takes XML"),
	REFUSED("parallel", "there is --serial pty"),
	REFUSED("smartcard", "there is none"),
	REFUSED("redirdev", "roost's guests have no USB"),
	REFUSED("audio", "there is no sound"),
	REFUSED("shmem", "memory is not shared with guests"),
	REFUSED("memdev", "--memory SIZE,maxmemory=SIZE lets a guest's memory grow"),
	REFUSED("vsock", "there is the guest agent, and `roost ssh`"),
	REFUSED("iommu", "devices of the host are not passed through yet"),
	REFUSED("iothreads", tuning),
	REFUSED("cputune", tuning),
	REFUSED("numatune", tuning),
	REFUSED("memtune", tuning),
	REFUSED("blkiotune", tuning),
	REFUSED("memorybacking", tuning),
	REFUSED("resource", tuning),
	REFUSED("seclabel", "each guest's QEMU runs as a user of its own, which sees no file"),
	REFUSED("security", "each guest's QEMU runs as a user of its own, which sees no file"),
	REFUSED("keywrap", "it is for other processors"),
	REFUSED("sysinfo", "guests are told of no maker"),
	REFUSED("launchSecurity", "memory is not encrypted"),
	REFUSED("launchsecurity", "memory is not encrypted"),
	REFUSED("idmap", "it is for containers"),
	REFUSED("init", "it is for containers"),
	REFUSED("container", "roost runs virtual machines"),
	REFUSED("paravirt", "it is for Xen"),
};

static const char letters[] = ":n:u:c:l:x:qdhr:w:f:s:b:v";
static const char usage_line[] =
	"usage: virt-install --name NAME --memory MB STORAGE INSTALL [options]\n";

/* ---- what is misused ------------------------------------------------------------------------------------ */

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
			printf("  --%s%s\n", rows[i].name,
				rows[i].argument == required_argument   ? " ..."
				: rows[i].argument == optional_argument ? " [...]"
									: "");
	return 0;
}

/* ---- parsing -------------------------------------------------------------------------------------------------- */

static bool is_number(const char *text)
{
	char *end;
	errno = 0;
	strtol(text, &end, 10);
	return text[0] && !*end && !errno;
}

/* 0, or the exit code. */
static int take(struct command *c, const struct row *row, const char *value)
{
	if (row->refused)
		return misused("", "--", row->name),
		       tool_refuse("virt-install", row->name, row->refused), 2;
	if (row->text == TEXT_WAIT && value && !is_number(value)) {
		_cleanup_free_ char *quoted = str_fmt("'%s'", value);
		return misused("argument --wait: invalid int value: ", quoted, "");
	}
	if (row->text == TEXT_EXTRA)
		buf_fmt(&c->extra, "%s%s", c->extra.len ? " " : "", value);
	if (row->text)
		c->texts[row->text] = value ? value : "";
	else if (str_eq(row->name, "initrd-inject") && c->inject_count < INJECT_MAX)
		c->inject[c->inject_count++] = value;
	else if (row->ask && c->used_count < USED_MAX)
		c->used[c->used_count++] = (struct used){row->ask, row->as ? row->as
								   : value ? value
									   : ""};
	else if (row->ask || row->argument == required_argument)
		return misused("too many options of the kind --", row->name, "");
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
	for (int letter; (letter = getopt_long(argc, argv, letters, options, NULL)) != -1;) {
		const struct row *row = row_of(letter == ':' ? optopt : letter);
		if (!row)
			return unknown_option(argv[optind - 1]);
		if (letter == ':')
			return misused("argument --", row->name, ": expected one argument");
		/* argparse takes the next word as well */
		if (row->argument == optional_argument && !row->refused && !optarg &&
			optind < argc && argv[optind][0] != '-')
			optarg = argv[optind++];
		/* of "--wait -1" it knows that this is a number */
		if (row->text == TEXT_WAIT && !optarg && optind < argc && is_number(argv[optind]))
			optarg = argv[optind++];
		int result = take(c, row, optarg);
		if (result)
			return result;
	}
	return optind < argc ? unknown_option(argv[optind]) : 0;
}

/* ---- the command ---------------------------------------------------------------------------------------------- */

static void warn_of_old(struct install_ask *a, struct command *c)
{
	const char *wait = c->texts[TEXT_WAIT];
	if (c->texts[TEXT_PROMPT])
		warn(a, "--prompt mode is no longer supported.");
	if (c->texts[TEXT_OS_TYPE])
		warn(a, "--os-type is deprecated and does nothing. Please stop using it.");
	if (wait && wait[0] && strtol(wait, NULL, 10) == 0) {
		warn(a, "Treating --wait 0 as --noautoconsole");
		c->texts[TEXT_WAIT] = NULL;
		c->texts[TEXT_NOAUTOCONSOLE] = "";
	}
	if (c->texts[TEXT_FORCE])
		a->check_use = a->check_size = a->check_mac = false;
}

static int run(struct install_ask *a, struct command *c)
{
	struct err err = ERR_INIT;
	const char *step = c->texts[TEXT_PRINT_XML];
	warn_of_old(a, c);
	if (tool_connect(c->texts[TEXT_CONNECT], &err) < 0)
		return install_fail(&err);
	a->session = !paths_are_system();
	if (guest_of_command(a, c, &err) < 0)
		return install_fail(&err);
	if (!step && !c->texts[TEXT_DRY_RUN])
		return install(a, c);
	if (!a->reinstall && guest_check_files(a, &err) < 0)
		return install_fail(&err);
	if (step)
		return print_xml(a, step);
	tell(a, "Dry run completed successfully\n");
	return 0;
}

static bool asks_for_list(const struct command *c)
{
	for (size_t i = 0; i < c->used_count; i++)
		if (c->used[i].ask == ask_osinfo && str_eq(c->used[i].value, "list"))
			return true;
	return false;
}

static void ask_free(struct install_ask *a)
{
	json_decref(a->definition);
	json_decref(a->disks);
	json_decref(a->nics);
	installer_close(&a->how);
	char *const secrets[] = {a->root_password, a->vnc_password};
	for (size_t i = 0; i < ARRAY_SIZE(secrets); i++) {
		if (secrets[i])
			explicit_bzero(secrets[i], strlen(secrets[i]));
		free(secrets[i]);
	}
	for (size_t i = 0; i < a->made_count; i++) {
		free(a->made[i].path);
		free(a->made[i].backing);
		free(a->made[i].backing_format);
	}
}

int virt_install_main(int argc, char **argv)
{
	struct command c = {0};
	int result = parse(&c, argc, argv);
	struct install_ask a = {.definition = json_object(),
		.disks = json_array(),
		.nics = json_array(),
		.check_use = true,
		.check_size = true,
		.check_mac = true,
		.vnc = true,
		.quiet = c.texts[TEXT_QUIET] || c.texts[TEXT_PRINT_XML]};
	if (result == 0 && c.texts[TEXT_HELP])
		result = help();
	else if (result == 0 && c.texts[TEXT_VERSION])
		puts("4.1.0");
	else if (result == 0 && asks_for_list(&c))
		result = os_list();
	else if (result == 0)
		result = run(&a, &c);
	ask_free(&a);
	buf_free(&c.extra);
	return compat_end(result);
}
