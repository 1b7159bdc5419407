/*
 * virt-sysprep: `roost sysprep`, which has its operations by their names. What its other options put into the guest lies in
 * a folder of ours until it is copied in. An image of no guest is for that moment the disk of one.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "images/image_info.h"
#include "images/sysprep_ops.h"
#include "orchestrator/compat/sysprep_stage.h"
#include "orchestrator/compat/tool.h"
#include "orchestrator/image_stands.h"

static const char error[] = "virt-sysprep: error: ";

static const char usage[] =
	"virt-sysprep: reset or unconfigure a virtual machine so clones can be made\n"
	" virt-sysprep [--options] -d domname\n"
	" virt-sysprep [--options] -a disk.img [-a disk.img ...]\n"
	"Options:\n"
	"  -c|--connect uri            qemu:///system or qemu:///session\n"
	"  --format raw|qcow2          of the images that follow; auto: by their content\n"
	"  -n|--dry-run                change nothing\n"
	"  --operations list, --enable list, --list-operations\n"
	"  --hostname name, --timezone zone, --root-password selector, --password user:selector\n"
	"  --ssh-inject root[:file:key.pub|:string:key]\n"
	"  --firstboot script, --firstboot-command command\n"
	"  --copy-in local:folder, --upload file:dest, --write file:content, --mkdir dir\n"
	"  --delete pattern\n"
	"  --run script, --run-command command\n"
	"  -q|--quiet, -V|--version\n";

static const struct option options[] = {{"add", required_argument, NULL, 'a'},
	{"color", no_argument, NULL, '0'}, {"colors", no_argument, NULL, '0'},
	{"colours", no_argument, NULL, '0'}, {"connect", required_argument, NULL, 'c'},
	{"copy-in", required_argument, NULL, 'I'}, {"delete", required_argument, NULL, 'D'},
	{"domain", required_argument, NULL, 'd'}, {"dry-run", no_argument, NULL, 'n'},
	{"dryrun", no_argument, NULL, 'n'}, {"enable", required_argument, NULL, 'E'},
	{"firstboot", required_argument, NULL, 'B'},
	{"firstboot-command", required_argument, NULL, 'C'},
	{"format", required_argument, NULL, 'F'}, {"help", no_argument, NULL, 'H'},
	{"hostname", required_argument, NULL, 'h'}, {"list-operations", no_argument, NULL, 'L'},
	{"mkdir", required_argument, NULL, 'M'}, {"no-network", no_argument, NULL, '0'},
	{"no-selinux-relabel", no_argument, NULL, '0'}, {"operation", required_argument, NULL, 'O'},
	{"operations", required_argument, NULL, 'O'}, {"password", required_argument, NULL, 'P'},
	{"quiet", no_argument, NULL, 'q'}, {"root-password", required_argument, NULL, 'p'},
	{"run", required_argument, NULL, 'R'}, {"run-command", required_argument, NULL, 'X'},
	{"ssh-inject", required_argument, NULL, 'S'}, {"timezone", required_argument, NULL, 'T'},
	{"upload", required_argument, NULL, 'U'}, {"verbose", no_argument, NULL, '0'},
	{"version", no_argument, NULL, 'V'}, {"wrap", optional_argument, NULL, '0'},
	{"write", required_argument, NULL, 'W'},
	/* refused: */
	{"append-line", required_argument, NULL, 'r'}, {"chmod", required_argument, NULL, 'r'},
	{"commands-from-file", required_argument, NULL, 'r'},
	{"copy", required_argument, NULL, 'r'}, {"echo-keys", no_argument, NULL, 'r'},
	{"edit", required_argument, NULL, 'r'}, {"firstboot-install", required_argument, NULL, 'r'},
	{"install", required_argument, NULL, 'r'},
	{"keep-user-accounts", required_argument, NULL, 'r'}, {"key", required_argument, NULL, 'r'},
	{"keys-from-stdin", no_argument, NULL, 'r'}, {"link", required_argument, NULL, 'r'},
	{"mount-options", required_argument, NULL, 'r'}, {"move", required_argument, NULL, 'r'},
	{"network", no_argument, NULL, 'r'}, {"no-logfile", no_argument, NULL, 'r'},
	{"password-crypto", required_argument, NULL, 'r'},
	{"remove-user-accounts", required_argument, NULL, 'r'},
	{"script", required_argument, NULL, 'r'}, {"scriptdir", required_argument, NULL, 'r'},
	{"scrub", required_argument, NULL, 'r'}, {"selinux-relabel", no_argument, NULL, 'r'},
	{"touch", required_argument, NULL, 'r'}, {"sm-attach", required_argument, NULL, 'r'},
	{"sm-credentials", required_argument, NULL, 'r'}, {"sm-register", no_argument, NULL, 'r'},
	{"sm-remove", no_argument, NULL, 'r'}, {"sm-unregister", no_argument, NULL, 'r'},
	{"truncate", required_argument, NULL, 'r'},
	{"truncate-recursive", required_argument, NULL, 'r'},
	{"uninstall", required_argument, NULL, 'r'}, {"update", no_argument, NULL, 'r'}, {0}};

/* Of those that are refused: what does it, where it is not a line of --run-command. */
static const struct {
	const char *option, *why;
} refused[] = {
	{"commands-from-file", "give them as options"},
	{"echo-keys", "encrypted disks are not opened: boot it with --run-command"},
	{"firstboot-install", "--firstboot-command runs what installs"},
	{"install", "it needs the network: install while the guest runs"},
	{"keep-user-accounts", "accounts are never removed"},
	{"key", "encrypted disks are not opened: boot it with --run-command"},
	{"keys-from-stdin", "encrypted disks are not opened: boot it with --run-command"},
	{"mount-options", "nothing is mounted"},
	{"network", "the guest is alone while it is cleaned"},
	{"no-logfile", "no log is written into the guest"},
	{"password-crypto", "passwords are hashed with SHA-512"},
	{"script", "--run runs one, in the guest"},
	{"scriptdir", "--run runs one, in the guest"},
	{"scrub", "--delete: what is removed is zeroed"},
	{"uninstall", "do it while the guest runs"},
	{"update", "it needs the network: update while the guest runs"},
};

struct asked {
	const char *uri, *guest, *format;
	bool quiet, lists;
	sysprep_set operations;
	struct words words;           /* of `roost sysprep` */
	struct words images, formats; /* side by side; "": by content */
	struct stage stage;
};

static int fail(const struct asked *a, const struct err *err)
{
	if (a->guest && tool_lacks_guest(a->guest, err))
		tool_fail_guest("virt-sysprep: error: libguestfs error: ", a->guest, err);
	else
		tool_fail_for(error, err);
	return 1;
}

/* ---- an image of no guest -------------------------------------------------------------------------------- */

/* Whoever else has it, or stands on it, would be surprised. */
static int check_image(const char *path, bool qcow2, struct err *err)
{
	struct stat st;
	_cleanup_free_ char *real = realpath(path, NULL);
	if (!real || stat(real, &st) < 0 || access(real, R_OK | W_OK) < 0)
		return err_errno(err, "cannot change '%s'", path);
	const struct chain_link link = {
		.path = real, .qcow2 = qcow2, .inode = st.st_ino, .device = st.st_dev};
	return image_check_changeable(&link, true, NULL, NULL, err);
}

static int add_image(json_t *disks, const char *path, const char *format, struct err *err)
{
	bool qcow2;
	enum image_format wanted;
	char real[PATH_MAX];
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_errno(err, "cannot open '%s'", path);
	if (image_format_parse(format[0] ? format : NULL, &wanted, err) < 0 ||
		image_format_settle(fd, path, wanted, &qcow2, err) < 0 ||
		check_image(path, qcow2, err) < 0)
		return -1;
	json_array_append_new(disks, json_pack("{s:s*, s:s}", "path", realpath(path, real),
					     "format", qcow2 ? "qcow2" : "raw"));
	return 0;
}

static const char images_name[] = "virt-sysprep-", images_title[] = "images of virt-sysprep -a";

/* Those of a virt-sysprep that was killed; their disks stay, and so they are as they were. */
static void sweep_images(void)
{
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *list = NULL;
	struct err ignored = ERR_INIT;
	size_t i;
	json_t *guest;
	words_add(&w, "--all");
	words_add(&w, "--title");
	words_ask(&w, "list", &list, &ignored);
	json_array_foreach (list, i, guest) {
		const char *name = json_get_str(guest, "name", "");
		if (str_starts(name, images_name) &&
			str_eq(json_get_str(guest, "title", ""), images_title) &&
			kill(atoi(name + strlen(images_name)), 0) < 0 && errno == ESRCH)
			compat_ask("undefine", name, NULL, &ignored);
	}
}

/* A guest of these disks, `name`, which nobody starts. */
static int define_images(struct asked *a, const char *name, struct err *err)
{
	_cleanup_json_ json_t *guest = json_pack("{s:s, s:s, s:[], s:[]}", "name", name, "title",
		images_title, "disks", "interfaces");
	for (size_t i = 0; i < a->images.count; i++)
		if (add_image(json_object_get(guest, "disks"), a->images.list[i],
			    a->formats.list[i], err) < 0)
			return -1;
	_cleanup_free_ char *file = stage_file(&a->stage, "guest.json", err);
	if (!file || json_file_write(AT_FDCWD, file, guest, false, err) < 0)
		return -1;
	return compat_ask("define", file, NULL, err);
}

/* ---- the command ----------------------------------------------------------------------------------------- */

static void stamp(const struct asked *a, int64_t since)
{
	if (!a->quiet)
		printf("[%6.1f] ", (double)(clock_ms() - since) / 1000);
}

static int clean(struct asked *a, const char *guest, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL, *found = NULL;
	int64_t since = clock_ms();
	size_t i;
	json_t *op;
	if (compat_ask("domstate", guest, &found, err) < 0)
		return -1;
	stamp(a, since);
	if (!a->quiet)
		puts("Examining the guest ...");
	fflush(stdout);
	words_add(&a->words, guest);
	if (words_ask(&a->words, "sysprep", &answer, err) < 0)
		return -1;
	json_array_foreach (json_object_get(answer, "operations"), i, op) {
		stamp(a, since);
		if (!a->quiet)
			printf("Performing \"%s\" ...\n", json_get_str(op, "name", ""));
	}
	return 0;
}

static int clean_images(struct asked *a, struct err *err)
{
	_cleanup_free_ char *name = str_fmt("%s%d", images_name, (int)getpid());
	struct err ignored = ERR_INIT;
	sweep_images();
	if (define_images(a, name, err) < 0)
		return -1;
	int result = clean(a, name, err);
	compat_ask("undefine", name, NULL, &ignored); /* its disks stay, where they are */
	return result;
}

static int run(struct asked *a)
{
	struct err err = ERR_INIT;
	static const char *const list[] = {"--list-operations", NULL};
	if (a->lists)
		return verb_call("sysprep", list, &err) < 0 ? fail(a, &err) : 0;
	if (!a->guest == !a->images.count) {
		tool_fail(error,
			a->guest
				? "you cannot give -a and -d options together.  Read virt-sysprep(1) man page for further information."
				: "you must give either -a or -d options.  Read virt-sysprep(1) man page for further information.");
		return 1;
	}
	if (tool_connect(a->uri, &err) < 0 || stage_check(&a->stage, a->operations, &err) < 0)
		return fail(a, &err);
	stage_words(&a->stage, &a->words);
	int result = a->guest ? clean(a, a->guest, &err) : clean_images(a, &err);
	return result < 0 ? fail(a, &err) : 0;
}

/* ---- options --------------------------------------------------------------------------------------------- */

static int refuse(int which)
{
	const char *why = "--run-command runs a line in the guest";
	_cleanup_free_ char *word = str_fmt("--%s", options[which].name);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (str_eq(refused[i].option, options[which].name))
			why = refused[i].why;
	return tool_refuse("virt-sysprep", word, why);
}

static int choose_operations(struct asked *a, const char *list)
{
	struct err err = ERR_INIT;
	a->operations = 0;
	if (sysprep_choose(&a->operations, list, &err) < 0)
		return fail(a, &err);
	words_option(&a->words, "operations", list);
	return 0;
}

/* What `roost sysprep` has by the same name. */
static const char *same_name(int letter)
{
	return letter == 'R'   ? "run"
	       : letter == 'X' ? "run-command"
	       : letter == 'I' ? "copy-in"
	       : letter == 'D' ? "delete"
			       : NULL;
}

static int take_staged(struct asked *a, int letter)
{
	struct err err = ERR_INIT;
	return stage_take(&a->stage, letter, optarg, &err) < 0 ? fail(a, &err) : 0;
}

static int take_option(int letter, int which, struct asked *a, char **argv)
{
	switch (letter) {
	case 'a':
		words_add(&a->images, optarg);
		words_add(&a->formats, a->format ? a->format : "");
		break;
	case 'c':
		a->uri = optarg;
		break;
	case 'd':
		if (a->guest)
			return tool_fail(error, "--domain option can only be given once"), 1;
		a->guest = optarg;
		break;
	case 'F':
		a->format = str_eq(optarg, "auto") ? NULL : optarg;
		break;
	case 'n':
		words_add(&a->words, "--dry-run");
		break;
	case 'E':
	case 'O':
		return choose_operations(a, optarg);
	case 'R':
	case 'X':
	case 'I':
	case 'D':
		words_option(&a->words, same_name(letter), optarg);
		break;
	case 'L':
		a->lists = true;
		break;
	case 'q':
		a->quiet = true;
		break;
	case '0': /* of an appliance, of which there is none; and there is no network in any case */
	case 'v':
	case 'x':
		break;
	case 'r':
		return refuse(which);
	case '?':
	case ':':
		return tool_bad_option("virt-sysprep", argv, options, letter);
	default:
		return take_staged(a, letter);
	}
	return 0;
}

static void asked_end(struct asked *a)
{
	words_free(&a->words);
	words_free(&a->images);
	words_free(&a->formats);
	stage_end(&a->stage);
}

int virt_sysprep_main(int argc, char **argv)
{
	_cleanup_(asked_end) struct asked a = {.operations = sysprep_usual()};
	int letter, which = 0, result = 0;
	opterr = 0;
	while (!result &&
		(letter = getopt_long(argc, argv, ":a:c:d:nqvVx", options, &which)) >= 0) {
		if (letter == 'H' || letter == 'V') {
			fputs(letter == 'H' ? usage : "virt-sysprep 1.48.2\n", stdout);
			return compat_end(0);
		}
		result = take_option(letter, which, &a, argv);
	}
	if (!result && optind < argc) {
		fprintf(stderr, "Extra parameter on the command line: ‘%s’.\n", argv[optind]);
		result = 1;
	}
	return compat_end(result ? result : run(&a));
}
