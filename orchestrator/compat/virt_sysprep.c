/* virt-sysprep: `roost sysprep`, which has its operations by their names. */
#include <stdio.h>

#include "base/clock.h"
#include "orchestrator/compat/tool.h"

static const char usage[] =
	"virt-sysprep: reset or unconfigure a virtual machine so clones can be made\n"
	" virt-sysprep [--options] -d domname\n"
	"Options:\n"
	"  -c|--connect uri            qemu:///system or qemu:///session\n"
	"  --operations list, --enable list, --list-operations\n"
	"  --run script, --run-command command, --copy-in local:folder\n"
	"  -q|--quiet, -V|--version\n";

static const struct option options[] = {{"add", required_argument, NULL, 'a'},
	{"connect", required_argument, NULL, 'c'}, {"copy-in", required_argument, NULL, 'I'},
	{"domain", required_argument, NULL, 'd'}, {"dry-run", no_argument, NULL, 'n'},
	{"enable", required_argument, NULL, 'E'}, {"format", required_argument, NULL, 'F'},
	{"firstboot", required_argument, NULL, 'C'},
	{"firstboot-command", required_argument, NULL, 'C'}, {"help", no_argument, NULL, 'H'},
	{"hostname", required_argument, NULL, 'C'}, {"install", required_argument, NULL, 'C'},
	{"list-operations", no_argument, NULL, 'L'},
	{"mount-options", required_argument, NULL, 'F'}, {"network", no_argument, NULL, 'N'},
	{"no-network", no_argument, NULL, '0'}, {"operation", required_argument, NULL, 'O'},
	{"operations", required_argument, NULL, 'O'}, {"password", required_argument, NULL, 'C'},
	{"quiet", no_argument, NULL, 'q'}, {"root-password", required_argument, NULL, 'C'},
	{"run", required_argument, NULL, 'R'}, {"run-command", required_argument, NULL, 'X'},
	{"ssh-inject", required_argument, NULL, 'C'}, {"verbose", no_argument, NULL, 'v'},
	{"version", no_argument, NULL, 'V'}, {0}};

struct asked {
	const char *uri, *guest;
	bool quiet, lists;
	struct words words;
};

static int refuse(int letter, char **argv)
{
	const char *why =
		letter == 'N'   ? "the guest is alone while it is cleaned"
		: letter == 'n' ? "--list-operations tells what would be done"
		: letter == 'C'
			? "a cloud-init seed does that at the next boot; --run-command runs a line in it"
			: "roost cleans the disks of guests: -d names one";
	_cleanup_free_ char *word = xstrdup(argv[optind - 1]);
	for (int i = optind - 1; i > 0 && word[0] != '-'; i--) {
		free(word);
		word = xstrdup(argv[i - 1]);
	}
	return tool_refuse("virt-sysprep", word, why);
}

static int take_option(int letter, struct asked *a, char **argv)
{
	switch (letter) {
	case 'c':
		a->uri = optarg;
		break;
	case 'd':
		a->guest = optarg;
		break;
	case 'E':
		words_option(&a->words, "enable", optarg);
		break;
	case 'O':
		words_option(&a->words, "operations", optarg);
		break;
	case 'R':
		words_option(&a->words, "run", optarg);
		break;
	case 'X':
		words_option(&a->words, "run-command", optarg);
		break;
	case 'I':
		words_option(&a->words, "copy-in", optarg);
		break;
	case 'L':
		a->lists = true;
		break;
	case 'q':
		a->quiet = true;
		break;
	case '0': /* so it is in any case */
	case 'v': /* of an appliance, of which there is none */
	case 'x':
		break;
	case '?':
	case ':':
		return tool_bad_option("virt-sysprep", argv, options, letter);
	default:
		return refuse(letter, argv);
	}
	return 0;
}

static int fail(const struct asked *a, const struct err *err)
{
	if (a->guest && err->kind == ERR_NOT_FOUND)
		tool_fail_guest("virt-sysprep: error: libguestfs error: ", a->guest, err);
	else
		tool_fail_for("virt-sysprep: error: ", err);
	return compat_end(1);
}

static void stamp(const struct asked *a, int64_t since)
{
	if (!a->quiet)
		printf("[%6.1f] ", (double)(clock_ms() - since) / 1000);
}

static int clean(struct asked *a)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *answer = NULL, *found = NULL;
	int64_t since = clock_ms();
	size_t i;
	json_t *op;
	if (compat_ask("domstate", a->guest, &found, &err) < 0)
		return fail(a, &err);
	stamp(a, since);
	if (!a->quiet)
		puts("Examining the guest ...");
	fflush(stdout);
	words_add(&a->words, a->guest);
	if (words_ask(&a->words, "sysprep", &answer, &err) < 0)
		return fail(a, &err);
	json_array_foreach (json_object_get(answer, "operations"), i, op) {
		stamp(a, since);
		if (!a->quiet)
			printf("Performing \"%s\" ...\n", json_get_str(op, "name", ""));
	}
	return compat_end(0);
}

static int run(struct asked *a)
{
	struct err err = ERR_INIT;
	static const char *const list[] = {"--list-operations", NULL};
	if (a->lists)
		return verb_call("sysprep", list, &err) < 0 ? fail(a, &err) : compat_end(0);
	if (!a->guest) {
		fprintf(stderr,
			"virt-sysprep: error: you must give either -a or -d options. Read virt-sysprep(1) man page for further information.\n");
		return 1;
	}
	return tool_connect(a->uri, &err) < 0 ? fail(a, &err) : clean(a);
}

int virt_sysprep_main(int argc, char **argv)
{
	struct asked a = {0};
	int letter, result = 0;
	opterr = 0;
	while (!result && (letter = getopt_long(argc, argv, ":a:c:d:nqvVx", options, NULL)) >= 0) {
		if (letter == 'H' || letter == 'V') {
			fputs(letter == 'H' ? usage : "virt-sysprep 1.48.2\n", stdout);
			return compat_end(0);
		}
		result = take_option(letter, &a, argv);
	}
	if (!result && optind < argc) {
		fprintf(stderr, "virt-sysprep: extra argument '%s'\n", argv[optind]);
		result = 1;
	}
	result = result ? result : run(&a);
	words_free(&a.words);
	return result;
}
