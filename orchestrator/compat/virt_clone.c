/*
 * virt-clone: `roost clone`. Disks that are files of the user's own are copied to files beside them, under the names that
 * virtinst gives; disks in the guest's folder become bases of both, which takes no time. A guest that is shutting down is
 * waited for.
 */
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "orchestrator/another.h"
#include "orchestrator/compat/storage.h"
#include "orchestrator/compat/tool.h"
#include "orchestrator/connect.h"
#include "orchestrator/image_stands.h"
#include "orchestrator/libvirt_ask.h"
#include "orchestrator/record.h"

enum { OFF_MS = 300000, LOOK_AGAIN_MS = 100, NAMES_TRIED = 100000, SUFFIX_MAX = 7 };

static const char usage[] =
	"usage: virt-clone --original [NAME] ...\n"
	"  --connect URI  -o, --original NAME  -n, --name NAME  --auto-clone  -f, --file FILE\n"
	"  --skip-copy TARGET  --preserve-data  --reflink  --nonsparse\n"
	"  -m, --mac MAC  -u, --uuid UUID  --replace  --check CHECK  --print-xml\n"
	"  -q, --quiet  -d, --debug  --version\n";

static const struct option options[] = {{"auto-clone", no_argument, NULL, 'A'},
	{"check", required_argument, NULL, 'C'}, {"connect", required_argument, NULL, 'c'},
	{"debug", no_argument, NULL, 'd'}, {"file", required_argument, NULL, 'f'},
	{"force-copy", required_argument, NULL, 'F'}, {"help", no_argument, NULL, 'h'},
	{"mac", required_argument, NULL, 'm'}, {"name", required_argument, NULL, 'n'},
	{"nonsparse", no_argument, NULL, 'N'}, {"nvram", required_argument, NULL, 'v'},
	{"original", required_argument, NULL, 'o'}, {"original-xml", required_argument, NULL, 'X'},
	{"preserve-data", no_argument, NULL, 'p'}, {"print-xml", no_argument, NULL, 'P'},
	{"quiet", no_argument, NULL, 'q'}, {"reflink", no_argument, NULL, 'l'},
	{"replace", no_argument, NULL, 'R'}, {"skip-copy", required_argument, NULL, 's'},
	{"uuid", required_argument, NULL, 'u'}, {"version", no_argument, NULL, 'V'}, {0}};

struct asked {
	const char *uri, *original, *uuid;
	char *name;
	bool auto_clone, quiet, preserve, reflink, nonsparse, replace, print_xml, shares_in_use;
	struct words macs, given, shared; /* MACs, files, targets, as they were typed */
	struct words files;               /* of each disk that is copied to a file */
	struct words shown;               /* names of disks, without folders */
};

#define fail(...) tool_fail("ERROR    ", __VA_ARGS__)

static int fail_for(const struct err *err)
{
	return tool_fail_for("ERROR    ", err);
}

/* ---- the two guests --------------------------------------------------------------------------------------- */

static bool exists(const char *name)
{
	struct err ignored = ERR_INIT;
	return compat_ask("domstate", name, NULL, &ignored) == 0;
}

/* Off, or shutting down: then it will be. */
static int wait_until_off(const struct asked *a)
{
	int64_t deadline = deadline_in(OFF_MS);
	for (;;) {
		struct err err = ERR_INIT;
		_cleanup_json_ json_t *answer = NULL;
		if (compat_ask("domstate", a->original, &answer, &err) < 0)
			return err.kind == ERR_NOT_FOUND
				       ? fail("Domain '%s' was not found.", a->original)
				       : fail_for(&err);
		const char *state = compat_state(json_get_str(answer, "state", ""));
		if (str_eq(state, "shut off"))
			return 0;
		if (!str_eq(state, "in shutdown") || !deadline_left(deadline))
			return fail("Domain to clone must be shutoff.");
		poll(NULL, 0, LOOK_AGAIN_MS); /* the status file tells without a word */
	}
}

/* "vm-clone" of vm, or "vm-clone1" and so on; of vm-clone "vm-clone1", too. */
static char *free_name(const char *original)
{
	_cleanup_free_ char *base = xstrdup(original);
	char *end = strstr(base, "-clone"), *next;
	while (end && (next = strstr(end + 1, "-clone")))
		end = next;
	const char *number = end ? end + strlen("-clone") : "";
	bool is_clone = end && !number[strspn(number, "123456789")];
	int first = is_clone ? atoi(number) + 1 : 0;
	if (is_clone)
		*end = '\0';
	for (int n = first; n < NAMES_TRIED; n++) {
		_cleanup_free_ char *name =
			n ? str_fmt("%s-clone%d", base, n) : str_fmt("%s-clone", base);
		if (!exists(name))
			return TAKE(name);
	}
	return NULL;
}

static int choose_name(struct asked *a)
{
	if (!a->name && !a->auto_clone)
		return fail(
			"A name is required for the new virtual machine, use '--name NEW_VM_NAME' to specify one.");
	if (a->name && str_eq(a->name, a->original))
		return fail(
			"Invalid name for new guest: '%s' is the guest that is cloned.", a->name);
	struct err err = ERR_INIT;
	if (a->name && name_check(a->name, "Invalid name for new guest", &err) < 0)
		return fail_for(&err);
	if (a->name && !a->replace && exists(a->name))
		return fail(
			"Invalid name for new guest: Guest name '%s' is already in use.", a->name);
	if (!a->name)
		a->name = free_name(a->original);
	return a->name ? 0 : fail("there are too many clones of '%s'", a->original);
}

static int not_removed(const char *name, const struct err *err)
{
	_cleanup_free_ char *why = tool_reason(err);
	return fail("Could not remove old vm '%s': %s", name, why);
}

static int rename_guest(const char *from, const char *to, struct err *err)
{
	return verb_ask("domrename", (const char *const[]){from, to, NULL}, NULL, err);
}

/* Ends it, and gives it another name, `*aside`, until the clone is there; it stays NULL if there is none. */
static int set_aside(const char *name, char **aside)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *state = NULL;
	_cleanup_free_ char *other = str_fmt("replaced-%d", (int)getpid());
	if (compat_ask("domstate", name, &state, &err) < 0)
		return 0;
	if ((!str_eq(compat_state(json_get_str(state, "state", "")), "shut off") &&
		    compat_ask("destroy", name, NULL, &err) < 0) ||
		rename_guest(name, other, &err) < 0)
		return not_removed(name, &err);
	*aside = TAKE(other);
	return 0;
}

/* Its disks stay, and where they are is told. */
static int remove_old(const char *name, const char *aside)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *answer = NULL, *disks = NULL;
	size_t i;
	json_t *path;
	if (compat_ask("domblklist", aside, &disks, &err) < 0 ||
		compat_ask("undefine", aside, &answer, &err) < 0)
		return not_removed(name, &err);
	_cleanup_json_ json_t *kept = storage_users_own(disks);
	json_array_extend(kept, json_object_get(answer, "kept"));
	json_array_foreach (kept, i, path)
		fprintf(stderr, "kept: %s\n", json_string_value(path));
	return 0;
}

/* ---- the disks ---------------------------------------------------------------------------------------------- */

/* The first of BASE.qcow2, BASE-1.qcow2 and so on that is not there. */
static char *free_file(const char *folder, const char *base, const char *suffix)
{
	for (int n = 0; n < NAMES_TRIED; n++) {
		_cleanup_free_ char *file = n ? str_fmt("%s/%s-%d%s", folder, base, n, suffix)
					      : str_fmt("%s/%s%s", folder, base, suffix);
		if (access(file, F_OK) < 0)
			return TAKE(file);
	}
	return NULL;
}

/* As virtinst: "vm.qcow2" of a guest vm becomes "NAME.qcow2", another one "other-clone.qcow2". */
static char *beside(const struct asked *a, const char *path)
{
	_cleanup_free_ char *folder = xstrdup(path), *copy = xstrdup(path);
	char *base = basename(copy), *dot = strrchr(base, '.');
	_cleanup_free_ char *suffix = xstrdup(dot && strlen(dot + 1) <= SUFFIX_MAX ? dot : "");
	base[strlen(base) - strlen(suffix)] = '\0';
	_cleanup_free_ char *name =
		str_eq(base, a->original) ? xstrdup(a->name) : str_fmt("%s-clone", base);
	return free_file(dirname(folder), name, suffix);
}

/* Of one that lies in the guest's folder, while another one does not. */
static char *among_images(const struct asked *a, const struct disk_def *d)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *folder = storage_folder(&ignored);
	_cleanup_free_ char *name = str_fmt("%s-%s", a->name, d->target);
	return folder ? free_file(folder, name, ".qcow2") : NULL;
}

static bool has(const struct words *w, const char *word)
{
	for (size_t i = 0; i < w->count; i++)
		if (str_eq(w->list[i], word))
			return true;
	return false;
}

static bool is_copied(const struct asked *a, const struct disk_def *d)
{
	return !d->cdrom && !d->readonly && !has(&a->shared, d->target);
}

/* Whose disk is there already? */
static int check_not_in_use(const struct asked *a, const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return fail("Could not use path '%s' for cloning: %m", path);
	_cleanup_free_ char *copy = xstrdup(path);
	const struct chain_link link = {.path = copy, .inode = st.st_ino, .device = st.st_dev};
	_cleanup_free_ char *guest = image_disk_of(&link, NULL);
	return !guest || a->shares_in_use
		       ? 0
		       : fail("Disk %s is already in use by other guests ['%s']. (Use --check path_in_use=off or --check all=off to override)",
				 path, guest);
}

static int choose_file(struct asked *a, const struct disk_def *d)
{
	const char *given = a->files.count < a->given.count ? a->given.list[a->files.count] : NULL;
	_cleanup_free_ char *file = given                           ? xstrdup(given)
				    : !a->auto_clone || a->preserve ? NULL
				    : d->source == DISK_PATH        ? beside(a, d->path)
								    : among_images(a, d);
	if (!file)
		return fail("The clone's disk '%s' has no file: name one with --file", d->target);
	if (a->preserve && check_not_in_use(a, file) < 0)
		return -1;
	words_add(&a->files, file);
	words_add(&a->shown, basename(file));
	return 0;
}

/* Is a file named, or a disk copied that is the user's own? Then all are copied to files. */
static int choose_files(struct asked *a, const struct definition *d)
{
	bool own = a->given.count > 0 || a->preserve || a->nonsparse;
	for (size_t i = 0; i < d->disk_count; i++)
		own = own || (is_copied(a, &d->disks[i]) && d->disks[i].source == DISK_PATH);
	for (size_t i = 0; i < d->disk_count; i++) {
		if (!is_copied(a, &d->disks[i]))
			continue;
		if (own && choose_file(a, &d->disks[i]) < 0)
			return -1;
		if (!own)
			words_fmt(&a->shown, "%s.qcow2", a->name);
	}
	if (a->given.count > a->files.count)
		return fail("'%s' has %zu disks to copy, %zu files are named", a->original,
			a->files.count, a->given.count);
	return 0;
}

/* ---- the command -------------------------------------------------------------------------------------------- */

static void tell_made(const struct asked *a)
{
	for (size_t i = 0; !a->preserve && i < a->shown.count; i++) {
		_cleanup_free_ char *what = str_fmt("Allocating '%s'", a->shown.list[i]);
		printf("%-60s|    0 B  00:00 ... \n", what);
	}
	printf("\nClone '%s' created successfully.\n", a->name);
}

static int make_clone(const struct asked *a)
{
	_cleanup_words_ struct words w = {0};
	struct err err = ERR_INIT;
	for (size_t i = 0; i < a->files.count; i++)
		words_option(&w, "file", a->files.list[i]);
	for (size_t i = 0; i < a->macs.count; i++)
		words_option(&w, "mac", a->macs.list[i]);
	for (size_t i = 0; i < a->shared.count; i++)
		words_option(&w, "share", a->shared.list[i]);
	if (a->preserve)
		words_add(&w, "--as-is");
	else if (a->reflink && a->files.count)
		words_add(&w, "--reflink");
	else if (a->nonsparse)
		words_add(&w, "--preallocate");
	words_option(&w, "uuid", a->uuid);
	words_add(&w, a->original);
	words_add(&w, a->name);
	_cleanup_free_ char *aside = NULL;
	if (a->replace && set_aside(a->name, &aside) < 0)
		return -1;
	if (words_ask(&w, "clone", NULL, &err) < 0) {
		struct err none = ERR_INIT;
		if (aside)
			rename_guest(aside, a->name, &none);
		return fail_for(&err);
	}
	if (aside && remove_old(a->name, aside) < 0)
		return -1;
	if (!a->quiet)
		tell_made(a);
	return 0;
}

static char *absolute(const char *path)
{
	_cleanup_free_ char *here = path[0] == '/' ? NULL : get_current_dir_name();
	return here ? str_fmt("%s/%s", here, path) : xstrdup(path);
}

/* What it would be, or NULL. */
static struct definition *clone_of(
	const struct asked *a, const struct definition *d, struct err *err)
{
	_cleanup_json_ json_t *json = definition_to_json(d);
	size_t file = 0;
	definition_make_another(json, a->name);
	if (a->uuid)
		json_object_set_new(json, "uuid", json_string(a->uuid));
	for (size_t i = 0; i < a->macs.count; i++)
		json_object_set_new(json_array_get(json_object_get(json, "interfaces"), i), "mac",
			json_string(a->macs.list[i]));
	struct definition *clone = definition_from_json(json, err);
	for (size_t i = 0; clone && i < clone->disk_count; i++) {
		struct disk_def *disk = &clone->disks[i];
		if (!is_copied(a, &d->disks[i]) || file == a->files.count)
			continue;
		free(disk->path);
		disk->path = absolute(a->files.list[file++]);
		disk->source = DISK_PATH;
		disk->format = d->disks[i].format;
	}
	for (size_t i = 0; clone && i < clone->nic_count; i++)
		if (!clone->nics[i].mac[0])
			mac_new(clone->nics[i].mac);
	return clone;
}

static int print_clone(const struct definition *clone)
{
	struct err err = ERR_INIT;
	_cleanup_free_ char *xml = libvirt_domain_xml(clone, &err);
	return xml ? (fputs(xml, stdout), 0) : fail_for(&err);
}

static int run(struct asked *a)
{
	struct err err = ERR_INIT;
	struct found f;
	if (!a->auto_clone && !a->given.count)
		return fail(
			"Either --auto-clone or --file is required, use '--auto-clone or --file' and try again.");
	if (!a->original)
		return fail(
			"An original machine name is required, use '--original src_name' and try again.");
	if (tool_connect(a->uri, &err) < 0)
		return fail_for(&err);
	if (wait_until_off(a) < 0)
		return -1;
	_cleanup_definition_ struct definition *d =
		guest_find(a->original, &f, &err) < 0 ? NULL : record_read(f.name, &err);
	if (!d)
		return fail_for(&err);
	a->original = d->name;
	if (choose_name(a) < 0 || choose_files(a, d) < 0)
		return -1;
	/* also where it is not printed: what was mistyped is found before anything is replaced */
	_cleanup_definition_ struct definition *clone = clone_of(a, d, &err);
	if (!clone)
		return fail_for(&err);
	return a->print_xml ? print_clone(clone) : make_clone(a);
}

/* ---- options ------------------------------------------------------------------------------------------------ */

static const char *why_not(int letter)
{
	switch (letter) {
	case 'F':
		return "a clone has what its original only reads, too; `cp` it, then `virsh change-media`";
	case 'v':
		return "the clone's UEFI variables are copied into its folder";
	default: /* --original-xml */
		return "`virsh define FILE` first, then --original";
	}
}

/* "path_in_use=off,all=off" */
static int take_check(struct asked *a, const char *value)
{
	_cleanup_free_ char *copy = xstrdup(value);
	char *rest = copy, *one;
	while ((one = strsep(&rest, ","))) {
		char *is = strchr(one, '=');
		bool off = is && str_eq(is, "=off");
		if (is)
			*is = '\0';
		if (str_eq(one, "path_in_use") || str_eq(one, "all"))
			a->shares_in_use = off;
		else if (off && str_eq(one, "path_exists"))
			return tool_refuse("virt-clone", "--check path_exists=off",
				"a file is never overwritten; --preserve-data takes it as it is");
		else if (off && str_eq(one, "mac_in_use"))
			return tool_refuse("virt-clone", "--check mac_in_use=off",
				"no two guests of a network have one MAC address");
		else if (!str_eq(one, "path_exists") && !str_eq(one, "mac_in_use") &&
			 !str_eq(one, "disk_size"))
			return fail("Unknown --check options: ['%s']", one), 1;
	}
	return 0;
}

static int take_option(int letter, struct asked *a, char **argv)
{
	_cleanup_free_ char *word = NULL;
	switch (letter) {
	case 'A':
		a->auto_clone = true;
		break;
	case 'C':
		return take_check(a, optarg);
	case 'c':
		a->uri = optarg;
		break;
	case 'd':
		break;
	case 'f':
		words_add(&a->given, optarg);
		break;
	case 'l':
		a->reflink = true;
		break;
	case 'm':
		if (!str_eq(optarg, "RANDOM")) /* as without it */
			words_add(&a->macs, optarg);
		break;
	case 'N':
		a->nonsparse = true;
		break;
	case 'n':
		free(a->name);
		a->name = xstrdup(optarg);
		break;
	case 'o':
		a->original = optarg;
		break;
	case 'P':
		a->print_xml = true;
		break;
	case 'p':
		a->preserve = true;
		break;
	case 'q':
		a->quiet = true;
		break;
	case 'R':
		a->replace = true;
		break;
	case 's':
		words_add(&a->shared, optarg);
		break;
	case 'u':
		a->uuid = optarg;
		break;
	case 'F':
	case 'v':
	case 'X':
		word = tool_option_word(options, letter);
		return tool_refuse("virt-clone", word, why_not(letter));
	default: /* as argparse has it: 2 */
		fputs(usage, stderr);
		tool_bad_option("virt-clone: error", argv, options, letter);
		return 2;
	}
	return 0;
}

static void asked_end(struct asked *a)
{
	free(a->name);
	words_free(&a->macs);
	words_free(&a->given);
	words_free(&a->shared);
	words_free(&a->files);
	words_free(&a->shown);
}

int virt_clone_main(int argc, char **argv)
{
	_cleanup_(asked_end) struct asked a = {0};
	int letter, result = 0;
	opterr = 0;
	while (!result &&
		(letter = getopt_long(argc, argv, ":df:hm:n:o:qu:", options, NULL)) >= 0) {
		if (letter == 'h' || letter == 'V') {
			fputs(letter == 'h' ? usage : "4.1.0\n", stdout);
			return compat_end(0);
		}
		result = take_option(letter, &a, argv);
	}
	if (!result && optind < argc) {
		fprintf(stderr, "%svirt-clone: error: unrecognized arguments: %s\n", usage,
			argv[optind]);
		result = 2;
	}
	return result ? result : compat_end(run(&a) < 0 ? 1 : 0);
}
