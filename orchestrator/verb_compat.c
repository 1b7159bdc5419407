/* compat: the old names, for all of the host or for one shell. */
#include "orchestrator/verbs.h"

#include <stdio.h>

#include "orchestrator/compat/links.h"

static void tell_all(const json_t *list, const char *what)
{
	size_t i;
	json_t *path;
	json_array_foreach (list, i, path)
		printf("%s %s\n", what, json_string_value(path));
}

static int install(const struct cli *cli, struct err *err)
{
	json_t *made = NULL, *target;
	const char *link;
	if (links_install(cli_flag(cli, "force"), &made, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(made);
		return 0;
	}
	json_object_foreach (json_object_get(made, "links"), link, target)
		printf("%s -> %s\n", link, json_string_value(target));
	printf("Disks of the old names live in " OLD_IMAGES_FOLDER "\n");
	json_decref(made);
	return 0;
}

static int undo(const struct cli *cli, struct err *err)
{
	json_t *gone = NULL;
	if (links_remove(&gone, err) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(gone);
		return 0;
	}
	tell_all(json_object_get(gone, "removed"), "removed");
	tell_all(json_object_get(gone, "kept"), "still in use, or changed since:");
	json_decref(gone);
	return 0;
}

static int for_one_shell(const struct cli *cli, struct err *err)
{
	_cleanup_free_ char *folder = links_own_folder(err);
	if (!folder)
		return -1;
	_cleanup_free_ char *word = shell_word(folder);
	if (cli->json)
		cli_print_json(json_pack("{s:s}", "folder", folder));
	else
		printf("export PATH=%s:\"$PATH\"\n", word); /* fish takes that, too */
	return 0;
}

static int run_compat(const struct cli *cli, struct err *err)
{
	bool installs = cli_flag(cli, "install"), removes = cli_flag(cli, "remove");
	if (installs && removes)
		return err_set(err, ERR_USAGE, "roost compat: --install or --remove, not both");
	if (cli_flag(cli, "force") && !installs)
		return err_set(err, ERR_USAGE, "roost compat: --force goes with --install");
	return installs ? install(cli, err) : removes ? undo(cli, err) : for_one_shell(cli, err);
}

const struct verb verb_compat = {"compat", "",
	"Lets roost answer to virsh, virt-install and its other old names: by default in the shell that evaluates what it prints.",
	0, 0, false,
	{{"install", NULL, 0, "for all: links in " OLD_NAMES_FOLDER ", and " OLD_IMAGES_FOLDER},
		{"remove", NULL, 0, "undo that"},
		{"force", NULL, 0, "even where the real programs are installed"}},
	run_compat, "eval \"$(roost compat)\"", GROUP_HOST, GUESTS_ALL};
