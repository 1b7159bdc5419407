/*
 * install: a guest with a new disk, and an installer for its first run.
 *
 * The definition is that of the guest when it is installed; what is different in the first run is install.h's.
 */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "orchestrator/installing.h"
#include "orchestrator/logout.h"
#include "orchestrator/uplinks.h"
#include "orchestrator/record.h"
#include "orchestrator/run_options.h"

#define USUAL_MEMORY "2G"

/* ---- the guest -------------------------------------------------------------------------------------- */

/* FILE[,format=F][,bus=B]...: the keys are a definition's. */
static int add_disk(json_t *disks, const char *words, struct err *err)
{
	_cleanup_free_ char *copy = xstrdup(words);
	char *rest = copy, *word = strsep(&rest, ",");
	_cleanup_json_ json_t *disk = json_pack("{s:s}", "path", word);
	while (disk && (word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');
		if (!value)
			return err_set(err, ERR_USAGE, "--disk: '%s' has no value", word),
			       err_hint(err,
				       "it is FILE,format=qcow2|raw[,bus=virtio|scsi|sata|ide]");
		*value++ = '\0';
		json_object_set_new(disk, word, json_string(value));
	}
	return disk && json_array_append(disks, disk) == 0
		       ? 0
		       : err_set(err, ERR_USAGE, "--disk is not valid UTF-8");
}

static json_t *disks_of(const struct cli *cli, struct err *err)
{
	const char *size = cli_value(cli, "size", NULL);
	_cleanup_json_ json_t *disks = json_array();
	for (int i = 0; i < cli->repeated_count; i++)
		if (str_eq(cli->repeated[i].name, "disk") &&
			add_disk(disks, cli->repeated[i].value, err) < 0)
			return NULL;
	if (size)
		json_array_append_new(disks, json_pack("{s:s}", "size", size));
	if (json_array_size(disks))
		return TAKE(disks);
	err_set(err, ERR_USAGE, "install: there is no disk to install to");
	err_hint(err, "--size 20G makes one, --disk FILE,format=qcow2 takes one of yours");
	return NULL;
}

static bool wants_cloud_init(const struct cli *cli)
{
	return cli_flag(cli, "cloud-init") || cli_flag(cli, "user") || cli_flag(cli, "key") ||
	       cli_flag(cli, "password-file");
}

/* Who installs looks at it; a line of text is there anyhow. */
static int add_screen(const struct cli *cli, bool installer, json_t *o, struct err *err)
{
	const char *graphics = cli_value(cli, "graphics", installer ? "vnc" : "none");
	bool vnc = str_eq(graphics, "vnc");
	if (!vnc && !str_eq(graphics, "none"))
		return err_set(err, ERR_USAGE, "--graphics '%s' is unknown", graphics),
		       err_hint(err, "it is vnc or none");
	json_object_set_new(o, "vnc", json_string(vnc ? "true" : "false"));
	json_set_text(o, "display", vnc ? "vga" : NULL);
	return 0;
}

static struct definition *definition_of(
	const struct cli *cli, const struct installer *how, struct err *err)
{
	json_t *disks = disks_of(cli, err), *cloud = NULL;
	_cleanup_json_ json_t *o =
		disks ? json_pack("{s:s, s:o}", "name", cli->operands[0], "disks", disks) : NULL;
	if (disks && !o)
		err_set(err, ERR_USAGE, "the guest's name is not valid UTF-8");
	if (!o || add_screen(cli, how->facts, o, err) < 0 || run_interface(cli, o, err) < 0)
		return NULL;
	if (wants_cloud_init(cli) && !(cloud = run_cloud_init(cli, err)))
		return NULL;
	if (cloud)
		json_object_set_new(o, "cloud_init", cloud);
	json_set_text(o, "memory", cli_value(cli, "memory", USUAL_MEMORY));
	json_set_text(o, "vcpus", cli_value(cli, "vcpus", NULL));
	json_set_text(o, "firmware", cli_value(cli, "firmware", NULL));
	json_set_text(o, "accel", cli_value(cli, "accel", NULL));
	json_set_text(o, "tpm", cli_flag(cli, "tpm") ? "true" : NULL);
	json_set_text(o, "autostart", cli_flag(cli, "autostart") ? "true" : NULL);
	json_set_text(o, "cdrom", installer_has_medium(how) ? "none" : NULL);
	return definition_of_words(o, err);
}

/* ---- the installer ------------------------------------------------------------------------------------ */

static int from_location(const struct cli *cli, struct installer *out, struct err *err)
{
	const char *inject[REPEATED_MAX];
	size_t count = 0;
	for (int i = 0; i < cli->repeated_count; i++)
		if (str_eq(cli->repeated[i].name, "initrd-inject"))
			inject[count++] = cli->repeated[i].value;
	return installer_from_location(cli_value(cli, "location", ""),
		cli_value(cli, "extra-args", NULL), inject, count, out, err);
}

static int check_words(const struct cli *cli, struct err *err)
{
	static const char *const of_location[] = {"extra-args", "initrd-inject"};
	bool import = cli_flag(cli, "import"), cdrom = cli_flag(cli, "cdrom"),
	     location = cli_flag(cli, "location");
	int count = import + cdrom + location;
	if (count != 1) {
		err_set(err, ERR_USAGE, "install: %s of --cdrom, --location and --import is wanted",
			count ? "only one" : "one");
		return err_hint(err, "--import boots a disk that has a system already");
	}
	for (size_t i = 0; i < ARRAY_SIZE(of_location); i++)
		if (!location && cli_flag(cli, of_location[i]))
			return err_set(err, ERR_USAGE,
				       "install: --%s is for a kernel that is booted directly",
				       of_location[i]),
			       err_hint(err, "--location takes it out of a tree or an ISO image");
	if (import && cli_flag(cli, "reinstall"))
		return err_set(err, ERR_USAGE, "install: --reinstall wants an installer");
	return 0;
}

static int open_installer(const struct cli *cli, struct installer *out, struct err *err)
{
	const char *cdrom = cli_value(cli, "cdrom", NULL);
	if (check_words(cli, err) < 0)
		return -1;
	if (cdrom && installer_from_medium(cdrom, out, err) < 0)
		return -1;
	if (cli_flag(cli, "location") && from_location(cli, out, err) < 0)
		return -1;
	if (out->facts && cli_flag(cli, "noreboot"))
		json_object_set_new(out->facts, "noreboot", json_true());
	return 0;
}

/* ---- and what is seen of it ----------------------------------------------------------------------------- */

static void tell_begun(const char *name, bool installs, bool vnc)
{
	printf("Guest '%s' %s\n", name, installs ? "is being installed" : "started");
	if (vnc)
		printf("its screen: roost viewer %s, or roost screenshot %s screen.png\n", name,
			name);
	printf("its console: roost console %s\n", name);
	fflush(stdout);
}

static int tell_end(
	const struct cli *cli, const struct found *f, enum installed how, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	if (guest_look(f, &s, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:b, s:s, s:s}", "name", f->name, "installing", 0,
			"state", guest_state_name(s.state), "reason", s.reason));
	else if (how == INSTALLED_RUNS)
		printf("Guest '%s' is installed, and runs from its disk\n", f->name);
	else
		printf("Guest '%s' is %s (%s); `roost start %s` boots its disk\n", f->name,
			guest_state_name(s.state), s.reason, f->name);
	return 0;
}

/* On a terminal, where there is nothing else to see. */
static int attach_console(const char *name, struct err *err)
{
	const struct verb *console = verb_find("console");
	struct cli cli = {.verb = console, .operands = {name}, .count = 1};
	for (size_t i = 0; i < OPTIONS_MAX && console->options[i].name; i++)
		if (str_eq(console->options[i].name, "replay"))
			cli.values[i] = "";
	return console->run(&cli, err);
}

static int see(const struct cli *cli, const struct found *f, bool installs, struct err *err)
{
	const char *wait = cli_value(cli, "wait", NULL);
	_cleanup_definition_ struct definition *d = record_read(f->name, err);
	enum installed how;
	int64_t ms = 0;
	if (!d || (wait && str_parse_duration(wait, "--wait", &ms, err) < 0))
		return -1;
	if (!cli->json)
		tell_begun(f->name, installs, d->vnc.enabled);
	bool at_terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !cli->json;
	if (at_terminal && !d->vnc.enabled && !wait)
		return attach_console(f->name, err);
	if (!wait || !installs) {
		if (cli->json)
			cli_print_json(json_pack(
				"{s:s, s:b}", "name", f->name, "installing", (int)installs));
		return 0;
	}
	return installing_wait(f, deadline_in(ms), &how, err) < 0 ? -1 : tell_end(cli, f, how, err);
}

static int prepare(const struct cli *cli, const struct installer *how, struct err *err)
{
	struct found f;
	if (cli_flag(cli, "reinstall"))
		return guest_find(cli->operands[0], &f, err);
	_cleanup_definition_ struct definition *d = definition_of(cli, how, err);
	return d ? installing_define(d, err) : -1;
}

static int run_install(const struct cli *cli, struct err *err)
{
	const char *name = cli->operands[0];
	_cleanup_installer_ struct installer how = {0};
	_cleanup_json_ json_t *reply = NULL;
	struct found f;
	if (open_installer(cli, &how, err) < 0 || prepare(cli, &how, err) < 0 ||
		installing_start(name, &how, !cli_flag(cli, "reinstall"), &reply, err) < 0)
		return -1;
	if (!cli->json)
		start_tell(reply);
	if (guest_find(name, &f, err) < 0)
		return -1;
	logout_tell(&f);
	if (!cli->json)
		uplinks_tell(&f);
	return see(cli, &f, how.facts, err);
}

const struct verb verb_install = {"install", "NAME",
	"Makes a guest with a new disk, and boots an installer: an ISO image, or a kernel out of one or of a tree.",
	1, 1, false,
	{{"cdrom", "ISO", 0, "boot this image; it is ejected at the guest's first reboot"},
		{"location", "PLACE", 0,
			"boot the kernel of this ISO image or tree: PATH[,kernel=FILE,initrd=FILE]"},
		{"import", NULL, 0, "there is a system on --disk already"},
		{"extra-args", "TEXT", 'x', "the command line of --location's kernel"},
		{"initrd-inject", "FILE" OPTION_REPEATS, 0, "added to its initial RAM disk"},
		{"size", "SIZE", 0, "of a new disk, such as 20G"},
		{"disk", "FILE,format=F" OPTION_REPEATS, 0,
			"a disk of yours, qcow2 or raw; more keys of a definition may follow"},
		{"memory", "SIZE", 0, "default " USUAL_MEMORY}, {"vcpus", "N", 0, "default 1"},
		{"firmware", "bios|uefi", 0, "what boots it; default bios"},
		{"tpm", NULL, 0, "with a TPM 2.0"},
		{"graphics", "vnc|none", 0, "default vnc for an installer, else none"},
		{"accel", "ACCEL", 0, "auto, kvm or tcg"},
		{"user", "USER", 0, "the account that cloud-init makes"},
		{"key", "FILE", 0, "a public key for it"},
		{"password-file", "FILE", 0, "its password, one line"},
		{"cloud-init", "KEY=VALUE,...", 0,
			"a seed: user-data, meta-data, vendor-data, network-config, password-file, ssh-key=FILE; user, hostname"},
		{"network", "NETWORK", 0, "it is on this one, `default` for instance"},
		{"publish", "[ADDRESS:][PORT:]GUEST_PORT" OPTION_REPEATS, 0,
			"a port of the host that leads in"},
		{"restrict", NULL, 0, "the guest reaches nothing outside"},
		{"autostart", NULL, 0, "start it with the host"},
		{"noreboot", NULL, 0, "leave it off when it is installed"},
		{"reinstall", NULL, 0, "of a guest that there is: its definition stays"},
		{"wait", "TIME", 0, "until it is installed; default: not"}},
	run_install, "roost install new1 --cdrom installer.iso --size 20G", GROUP_LIFE,
	GUESTS_STOPPED};
