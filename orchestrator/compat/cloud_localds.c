/* cloud-localds: `roost seed`, which has its options. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/compat/tool.h"

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

/* As cp says it, which cloud-localds runs. */
static int check_there(const char *file)
{
	if (str_eq(file, "-") || access(file, R_OK) == 0)
		return 0;
	fprintf(stderr, "cp: cannot %s '%s': %s\n%s: failed to copy\n",
		errno == ENOENT || errno == ENOTDIR ? "stat" : "open", file, strerror(errno), file);
	return -1;
}

static const char *long_name(int letter)
{
	for (const struct option *o = options; o->name; o++)
		if (o->val == letter)
			return o->name;
	return "";
}

/* Takes the options; 0, or the exit code plus 1 when that was all. */
static int take_options(int argc, char **argv, struct words *w, bool *verbose)
{
	int letter;
	opterr = 0;
	while ((letter = getopt_long(argc, argv, ":hd:f:H:i:m:N:V:v", options, NULL)) >= 0) {
		switch (letter) {
		case 'h':
			fputs(usage, stdout);
			return 1 + compat_end(0);
		case 'v':
			*verbose = true;
			break;
		case '?':
		case ':':
			return 1 + tool_bad_option("cloud-localds", argv, options, letter);
		case 'i':
		case 'N':
		case 'V':
			if (check_there(optarg) < 0)
				return 2;
			words_option(w, long_name(letter), optarg);
			break;
		case 'd':
			if (!str_eq(optarg, "raw") && !str_eq(optarg, "qcow2"))
				return 1 +
				       tool_refuse("cloud-localds", optarg,
					       "roost makes disks of the formats raw and qcow2");
			words_option(w, long_name(letter), optarg);
			break;
		case 'f':
			words_option(
				w, long_name(letter), str_eq(optarg, "iso") ? "iso9660" : optarg);
			break;
		default:
			words_option(w, long_name(letter), optarg);
		}
	}
	return 0;
}

int cloud_localds_main(int argc, char **argv)
{
	_cleanup_words_ struct words w = {0};
	_cleanup_json_ json_t *answer = NULL;
	struct err err = ERR_INIT;
	bool verbose = false;
	int ended = take_options(argc, argv, &w, &verbose);
	if (ended)
		return ended - 1;
	if (argc - optind < 2)
		return bad_usage("must provide output, userdata");
	if (argc - optind > 3)
		return bad_usage("confused by additional args");
	words_add(&w, "--");
	for (int i = optind; i < argc; i++) {
		if (i > optind && check_there(argv[i]) < 0)
			return 1;
		words_add(&w, argv[i]);
	}
	if (words_ask(&w, "seed", &answer, &err) < 0) {
		_cleanup_free_ char *why = tool_reason(&err);
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	if (verbose)
		fprintf(stderr, "wrote %s with filesystem=%s and diskformat=%s\n",
			json_get_str(answer, "path", ""), json_get_str(answer, "filesystem", ""),
			json_get_str(answer, "format", ""));
	return compat_end(0);
}
