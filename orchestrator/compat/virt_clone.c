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
#include <unistd.h>

#include "base/clock.h"
#include "orchestrator/compat/tool.h"

enum { OFF_MS = 300000, LOOK_AGAIN_MS = 100, NAMES_TRIED = 1000, SUFFIX_MAX = 7 };

static const char usage[] =
	"usage: virt-clone --original [NAME] ...\n"
	"  --connect URI  -o, --original NAME  -n, --name NAME  --auto-clone  -f, --file FILE\n"
	"  -m, --mac MAC  -u, --uuid UUID  -q, --quiet  --version\n";

static const struct option options[] = {{"auto-clone", no_argument, NULL, 'A'},
	{"check", required_argument, NULL, 'r'}, {"connect", required_argument, NULL, 'c'},
	{"debug", no_argument, NULL, 'd'}, {"file", required_argument, NULL, 'f'},
	{"force-copy", required_argument, NULL, 'r'}, {"help", no_argument, NULL, 'h'},
	{"mac", required_argument, NULL, 'm'}, {"name", required_argument, NULL, 'n'},
	{"nonsparse", no_argument, NULL, 'r'}, {"nvram", required_argument, NULL, 'r'},
	{"original", required_argument, NULL, 'o'}, {"original-xml", required_argument, NULL, 'r'},
	{"preserve-data", no_argument, NULL, 'r'}, {"print-xml", no_argument, NULL, 'r'},
	{"quiet", no_argument, NULL, 'q'}, {"reflink", no_argument, NULL, 'r'},
	{"replace", no_argument, NULL, 'r'}, {"skip-copy", required_argument, NULL, 'r'},
	{"uuid", required_argument, NULL, 'u'}, {"version", no_argument, NULL, 'V'}, {0}};

struct asked {
	const char *uri, *original, *uuid;
	char *name;
	bool auto_clone, quiet;
	struct words macs, files; /* files: as given, or chosen */
	struct words shown;       /* names of disks, without folders */
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

static int choose_name(struct asked *a)
{
	if (a->name && exists(a->name))
		return fail(
			"Invalid name for new guest: Guest name '%s' is already in use.", a->name);
	for (int n = 0; !a->name && n < NAMES_TRIED; n++) {
		_cleanup_free_ char *name = n ? str_fmt("%s-clone%d", a->original, n)
					      : str_fmt("%s-clone", a->original);
		if (!exists(name))
			a->name = TAKE(name);
	}
	return a->name ? 0 : fail("there are too many clones of '%s'", a->original);
}

/* ---- the disks ---------------------------------------------------------------------------------------------- */

/* As virtinst: "vm.qcow2" of a guest vm becomes "NAME.qcow2", another one "other-clone.qcow2", or -clone1 and so on. */
static char *beside(const struct asked *a, const char *path)
{
	_cleanup_free_ char *folder = xstrdup(path), *copy = xstrdup(path);
	char *base = basename(copy), *dot = strrchr(base, '.');
	_cleanup_free_ char *suffix =
		xstrdup(dot && dot != base && strlen(dot + 1) <= SUFFIX_MAX ? dot : "");
	base[strlen(base) - strlen(suffix)] = '\0';
	const char *in = dirname(folder);
	if (str_eq(base, a->original)) {
		_cleanup_free_ char *file = str_fmt("%s/%s%s", in, a->name, suffix);
		if (access(file, F_OK) < 0)
			return TAKE(file);
	}
	for (int n = 0; n < NAMES_TRIED; n++) {
		_cleanup_free_ char *file = n ? str_fmt("%s/%s-clone%d%s", in, base, n, suffix)
					      : str_fmt("%s/%s-clone%s", in, base, suffix);
		if (access(file, F_OK) < 0)
			return TAKE(file);
	}
	return NULL;
}

static bool is_copied(const json_t *disk)
{
	return !json_get_bool(disk, "cdrom", false) && !json_get_bool(disk, "readonly", false);
}

/* Any disk of the user's own? Then all are copied to files. */
static int choose_files(struct asked *a)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *definition = NULL;
	size_t i;
	json_t *disk;
	bool own = a->files.count > 0;
	if (compat_ask("dumpyaml", a->original, &definition, &err) < 0)
		return fail_for(&err);
	const json_t *disks = json_object_get(definition, "disks");
	json_array_foreach (disks, i, disk)
		own = own || (is_copied(disk) && json_get_str(disk, "path", NULL));
	json_array_foreach (disks, i, disk) {
		if (!is_copied(disk))
			continue;
		const char *path = json_get_str(disk, "path", NULL);
		_cleanup_free_ char *file = NULL;
		if (own && a->auto_clone && !path)
			return fail(
				"The disk '%s' lies in the guest's folder, another one does not: name the files with --file.",
				json_get_str(disk, "target", ""));
		if (own && a->auto_clone && !(file = beside(a, path)))
			return fail("there is no name left beside '%s'", path);
		if (file)
			words_add(&a->files, file);
		if (!own)
			words_fmt(&a->shown, "%s.qcow2", a->name);
	}
	for (i = 0; i < a->files.count; i++) {
		_cleanup_free_ char *copy = xstrdup(a->files.list[i]);
		words_add(&a->shown, basename(copy));
	}
	return 0;
}

/* ---- the command -------------------------------------------------------------------------------------------- */

static int make_clone(const struct asked *a)
{
	_cleanup_words_ struct words w = {0};
	struct err err = ERR_INIT;
	for (size_t i = 0; i < a->files.count; i++)
		words_option(&w, "file", a->files.list[i]);
	for (size_t i = 0; i < a->macs.count; i++)
		words_option(&w, "mac", a->macs.list[i]);
	words_option(&w, "uuid", a->uuid);
	words_add(&w, a->original);
	words_add(&w, a->name);
	if (words_ask(&w, "clone", NULL, &err) < 0)
		return fail_for(&err);
	for (size_t i = 0; !a->quiet && i < a->shown.count; i++) {
		_cleanup_free_ char *what = str_fmt("Allocating '%s'", a->shown.list[i]);
		printf("%-60s|    0 B  00:00 ... \n", what);
	}
	if (!a->quiet)
		printf("\nClone '%s' created successfully.\n", a->name);
	return 0;
}

static int run(struct asked *a)
{
	struct err err = ERR_INIT;
	if (!a->original)
		return fail(
			"An original machine name is required, use '--original src_guest' and try again.");
	if (tool_connect(a->uri, &err) < 0)
		return fail_for(&err);
	if (wait_until_off(a) < 0)
		return -1;
	if (!a->auto_clone && !a->files.count)
		return fail(
			"Either --auto-clone or --file is required, use '--auto-clone or --file' and try again.");
	if (a->files.count)
		a->auto_clone = false;
	return choose_name(a) < 0 || choose_files(a) < 0 ? -1 : make_clone(a);
}

/* The option itself, where its value is the last word. */
static int refuse(char **argv)
{
	int at = optind - 1;
	while (at > 1 && argv[at][0] != '-')
		at--;
	return tool_refuse("virt-clone", argv[at],
		"a clone is whole and sparse, and what is there is never overwritten");
}

static int take_option(int letter, struct asked *a, char **argv)
{
	switch (letter) {
	case 'A':
		a->auto_clone = true;
		break;
	case 'c':
		a->uri = optarg;
		break;
	case 'd':
		break;
	case 'f':
		words_add(&a->files, optarg);
		break;
	case 'm':
		if (!str_eq(optarg, "RANDOM")) /* as without it */
			words_add(&a->macs, optarg);
		break;
	case 'n':
		free(a->name);
		a->name = xstrdup(optarg);
		break;
	case 'o':
		a->original = optarg;
		break;
	case 'q':
		a->quiet = true;
		break;
	case 'u':
		a->uuid = optarg;
		break;
	case 'r':
		return refuse(argv);
	default: /* as argparse has it: 2 */
		fputs(usage, stderr);
		tool_bad_option("virt-clone: error", argv, options, letter);
		return 2;
	}
	return 0;
}

int virt_clone_main(int argc, char **argv)
{
	struct asked a = {0};
	int letter, result = 0;
	opterr = 0;
	while (!result &&
		(letter = getopt_long(argc, argv, ":c:df:hm:n:o:qu:", options, NULL)) >= 0) {
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
	result = result ? result : compat_end(run(&a) < 0 ? 1 : 0);
	free(a.name);
	words_free(&a.macs);
	words_free(&a.files);
	words_free(&a.shown);
	return result;
}
