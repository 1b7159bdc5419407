/* virt-viewer: `roost viewer`. */
#include <stdio.h>

#include "orchestrator/compat/tool.h"

static const char usage[] =
	"Usage:\n  virt-viewer [OPTIONS] -- DOMAIN-NAME|ID|UUID\n\n"
	"  -c, --connect=URI      qemu:///system or qemu:///session\n"
	"  -w, --wait             wait for the guest to run\n"
	"  -r, --reconnect        again when it was started anew\n"
	"  -f, --full-screen      on the whole screen\n"
	"  -a, --attach           by the guest's socket: so it is done in any case\n"
	"  -v, --verbose, --id, --uuid, --domain-name, -V, --version\n";

static const struct option options[] = {{"connect", required_argument, NULL, 'c'},
	{"wait", no_argument, NULL, 'w'}, {"reconnect", no_argument, NULL, 'r'},
	{"full-screen", no_argument, NULL, 'f'}, {"attach", no_argument, NULL, 'a'},
	{"verbose", no_argument, NULL, 'v'}, {"debug", no_argument, NULL, 'v'},
	{"id", no_argument, NULL, 'a'}, {"uuid", no_argument, NULL, 'a'},
	{"domain-name", no_argument, NULL, 'a'}, {"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'}, {"zoom", required_argument, NULL, 'z'},
	{"hotkeys", required_argument, NULL, 'H'}, {"kiosk", no_argument, NULL, 'k'},
	{"kiosk-quit", required_argument, NULL, 'q'}, {"direct", no_argument, NULL, 'd'},
	{"shared", no_argument, NULL, 's'}, {"cursor", required_argument, NULL, 'C'}, {0}};

static int refuse(int letter)
{
	_cleanup_free_ char *word = tool_option_word(options, letter);
	return tool_refuse("virt-viewer", word,
		"the window is that of TigerVNC or remote-viewer, which have menus for it");
}

static int take_option(int letter, struct words *w, const char **uri, char **argv)
{
	switch (letter) {
	case 'c':
		*uri = optarg;
		break;
	case 'w':
		words_add(w, "--wait");
		break;
	case 'r':
		words_add(w, "--reconnect");
		break;
	case 'f':
		words_add(w, "--full-screen");
		break;
	case 'a': /* of what is always so, and for words that can be told apart */
	case 'v':
	case 's':
		break;
	case '?':
	case ':':
		return tool_bad_option("virt-viewer", argv, options, letter);
	default:
		return refuse(letter);
	}
	return 0;
}

int virt_viewer_main(int argc, char **argv)
{
	_cleanup_words_ struct words w = {0};
	struct err err = ERR_INIT;
	const char *uri = NULL;
	int letter;
	opterr = 0;
	while ((letter = getopt_long(argc, argv, ":c:wrfavhVz:H:kds", options, NULL)) >= 0) {
		if (letter == 'h' || letter == 'V') {
			fputs(letter == 'h' ? usage : "virt-viewer version 11.0\n", stdout);
			return compat_end(0);
		}
		if (take_option(letter, &w, &uri, argv))
			return 1;
	}
	if (argc - optind != 1) {
		fprintf(stderr, "%s%s\n", usage,
			argc == optind ? "which guest?" : "one guest at a time");
		return 1;
	}
	words_text(&w, argv[optind]);
	if (tool_connect(uri, &err) == 0 &&
		verb_call("viewer", (const char *const *)w.list, &err) >= 0)
		return compat_end(0);
	_cleanup_free_ char *why = tool_reason(&err);
	fprintf(stderr, "virt-viewer: %s\n", why);
	return 1;
}
