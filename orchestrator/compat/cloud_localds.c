/* cloud-localds: `roost seed`, which has its options. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/compat/tool.h"

enum { SEED_MAX = 64 << 20 };

static const char usage[] =
	"Usage: cloud-localds [ options ] output user-data [meta-data]\n"
	"\n"
	"  -h, --help              show this\n"
	"  -d, --disk-format D     raw (the default) or qcow2\n"
	"  -f, --filesystem F      iso9660 (the default) or vfat\n"
	"  -H, --hostname H        the host name, where no meta-data is given\n"
	"  -i, --interfaces F      /etc/network/interfaces, where no meta-data is given\n"
	"  -m, --dsmode M          local or net, where no meta-data is given\n"
	"  -N, --network-config F  the network's configuration\n"
	"  -V, --vendor-data F     vendor-data\n"
	"  -v, --verbose           say what was written\n";

static const struct option options[] = {{"help", no_argument, NULL, 'h'},
	{"disk-format", required_argument, NULL, 'd'}, {"filesystem", required_argument, NULL, 'f'},
	{"hostname", required_argument, NULL, 'H'}, {"interfaces", required_argument, NULL, 'i'},
	{"dsmode", required_argument, NULL, 'm'}, {"network-config", required_argument, NULL, 'N'},
	{"vendor-data", required_argument, NULL, 'V'}, {"verbose", no_argument, NULL, 'v'}, {0}};

static int bad_usage(const char *why)
{
	fprintf(stderr, "%s%s\n", usage, why);
	return 1;
}

static int fail(const char *why)
{
	fprintf(stderr, "%s\n", why);
	return 1;
}

struct asked {
	const char *filesystem, *format, *interfaces, *hostname, *dsmode, *network, *vendor;
	const char *output, *user_data, *meta_data;
	bool verbose;
};

/* ---- what is there to be read ---------------------------------------------------------------------------- */

/* As cp says it, which cloud-localds runs. */
static int check_there(const char *file, const char *failed)
{
	if (!file || access(file, R_OK) == 0)
		return 0;
	fprintf(stderr, "cp: cannot %s '%s': %s\n",
		errno == ENOENT || errno == ENOTDIR ? "stat" : "open", file, strerror(errno));
	if (failed)
		fprintf(stderr, "%s\n", failed);
	else
		fprintf(stderr, "%s: failed to copy\n", file);
	return -1;
}

static int check_files(const struct asked *a)
{
	if (a->interfaces && access(a->interfaces, R_OK) < 0) {
		fprintf(stderr, "%s: not a readable file\n", a->interfaces);
		return -1;
	}
	if (check_there(a->meta_data, NULL) < 0 ||
		check_there(a->network, "failed to copy network config") < 0 ||
		check_there(a->vendor, "failed to copy vendor data") < 0)
		return -1;
	return str_eq(a->user_data, "-") ? 0 : check_there(a->user_data, NULL);
}

static int check_kind(const struct asked *a)
{
	if (str_starts(a->format, "tar"))
		return tool_refuse(
			"cloud-localds", "--disk-format", "a seed is a disk: raw or qcow2");
	if (!str_eq(a->format, "raw") && !str_eq(a->format, "qcow2"))
		return tool_refuse("cloud-localds", "--disk-format",
			"roost makes disks of the formats raw and qcow2; qemu-img convert makes others of them");
	if (str_eq(a->filesystem, "iso9660") || str_eq(a->filesystem, "vfat"))
		return 0;
	fprintf(stderr, "unknown filesystem %s\n", a->filesystem);
	return 1;
}

/* ---- the seed -------------------------------------------------------------------------------------------- */

static int make(const struct asked *a, const char *output, struct err *err)
{
	_cleanup_words_ struct words w = {0};
	words_option(&w, "filesystem", a->filesystem);
	words_option(&w, "disk-format", a->format);
	words_option(&w, "interfaces", a->interfaces);
	words_option(&w, "hostname", a->hostname);
	words_option(&w, "dsmode", a->dsmode);
	words_option(&w, "network-config", a->network);
	words_option(&w, "vendor-data", a->vendor);
	words_text(&w, output);
	words_text(&w, a->user_data);
	if (a->meta_data)
		words_text(&w, a->meta_data);
	return words_ask(&w, "seed", NULL, err);
}

/* A seed is a file, put in its place when it is whole: this one is read from there. */
static int make_to_stdout(const struct asked *a, struct err *err)
{
	const char *temporary = getenv("TMPDIR");
	_cleanup_free_ char *folder =
		str_fmt("%s/cloud-localds.XXXXXX", temporary && temporary[0] ? temporary : "/tmp");
	_cleanup_buf_ struct buf seed = {0};
	struct err ignored = ERR_INIT;
	if (!mkdtemp(folder))
		return err_errno(err, "cannot make a folder for the seed");
	_cleanup_free_ char *file = str_fmt("%s/seed", folder);
	int result = make(a, file, err) < 0 ? -1 : file_read(AT_FDCWD, file, SEED_MAX, &seed, err);
	dir_remove(AT_FDCWD, folder, &ignored);
	if (result < 0)
		return -1;
	return write_all(STDOUT_FILENO, seed.data, seed.len) < 0
		       ? err_errno(err, "cannot write the seed")
		       : 0;
}

static int run(struct asked *a)
{
	struct err err = ERR_INIT;
	if (a->meta_data && (a->interfaces || a->hostname || a->dsmode))
		return fail("metadata is incompatible with: --interfaces, --hostname, --dsmode");
	if (check_kind(a) || check_files(a) < 0)
		return 1;
	if ((str_eq(a->output, "-") ? make_to_stdout(a, &err) : make(a, a->output, &err)) < 0) {
		tool_fail_for("", &err);
		return 1;
	}
	if (a->verbose)
		fprintf(stderr, "wrote %s with filesystem=%s and diskformat=%s\n", a->output,
			a->filesystem, a->format);
	return 0;
}

/* ---- the command ----------------------------------------------------------------------------------------- */

static int take_option(int letter, struct asked *a, char **argv)
{
	switch (letter) {
	case 'd':
		a->format = optarg;
		break;
	case 'f':
		a->filesystem = str_eq(optarg, "iso") ? "iso9660" : optarg;
		break;
	case 'H':
		a->hostname = optarg;
		break;
	case 'i':
		a->interfaces = optarg;
		break;
	case 'm':
		a->dsmode = optarg;
		break;
	case 'N':
		a->network = optarg;
		break;
	case 'V':
		a->vendor = optarg;
		break;
	case 'v':
		a->verbose = true;
		break;
	default:
		tool_bad_option("cloud-localds", argv, options, letter);
		fputs(usage, stderr);
		return 1;
	}
	return 0;
}

int cloud_localds_main(int argc, char **argv)
{
	struct asked a = {.filesystem = "iso9660", .format = "raw"};
	int letter;
	opterr = 0;
	while ((letter = getopt_long(argc, argv, ":hd:f:H:i:m:N:V:v", options, NULL)) >= 0) {
		if (letter == 'h') {
			fputs(usage, stdout);
			return compat_end(0);
		}
		if (take_option(letter, &a, argv))
			return 1;
	}
	if (argc - optind < 2)
		return bad_usage("must provide output, userdata");
	if (argc - optind > 3)
		return bad_usage("confused by additional args");
	a.output = argv[optind];
	a.user_data = argv[optind + 1];
	a.meta_data = argc - optind > 2 ? argv[optind + 2] : NULL;
	return compat_end(run(&a));
}
