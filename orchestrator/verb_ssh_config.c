/* ssh-config: guests as hosts of the user's own ssh, scp, rsync, git, ansible. */
#include "orchestrator/verbs.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/host_name.h"
#include "orchestrator/paths.h"
#include "orchestrator/record.h"
#include "orchestrator/ssh_child.h"

int guest_of_host(const char *word, struct found *out, struct err *err)
{
	struct err ignored = ERR_INIT;
	if (guest_find(word, out, err) == 0)
		return 0;
	if (err->kind != ERR_NOT_FOUND || !str_ends(word, HOST_SUFFIX))
		return -1;
	_cleanup_free_ char *name = strndup(word, strlen(word) - strlen(HOST_SUFFIX));
	return guest_find(name, out, &ignored);
}

/* ---- which guests --------------------------------------------------------------------------------- */

/* [{"name","host","user","identity","host_key"}]; what is unknown is null. */
static void add_guest(json_t *list, const struct definition *d)
{
	_cleanup_free_ char *host = str_fmt("%s" HOST_SUFFIX, d->name);
	json_array_append_new(list, json_pack("{s:s, s:s, s:s?, s:s?, s:s?}", "name", d->name,
					    "host", host, "user", ssh_user(d, NULL), "identity",
					    d->ready.identity, "host_key", d->issued.host_key));
}

static int add_named(const struct cli *cli, json_t *list, struct err *err)
{
	for (int i = 0; i < cli->count; i++) {
		struct found f;
		if (guest_of_host(cli->operands[i], &f, err) < 0)
			return -1;
		_cleanup_definition_ struct definition *d = record_read(f.name, err);
		if (!d)
			return -1;
		add_guest(list, d);
	}
	return 0;
}

/* One whose record cannot be read is left out: `list` says that it is broken. */
static int add_all(json_t *list, struct err *err)
{
	_cleanup_names_ char **names = NULL;
	if (guests_names(&names, NULL, err) < 0)
		return -1;
	for (char **name = names; names && *name; name++) {
		struct err ignored = ERR_INIT;
		_cleanup_definition_ struct definition *d = record_read(*name, &ignored);
		if (d && !d->issued.template)
			add_guest(list, d);
	}
	return 0;
}

/* ---- what is printed ------------------------------------------------------------------------------ */

/* Whatever port ssh was told, it is one machine with one key. sshd(8): a port is written "[HOST]:PORT". */
static void print_known_hosts(const json_t *guests)
{
	size_t i;
	json_t *g;
	json_array_foreach (guests, i, g) {
		const char *host = json_get_str(g, "host", ""),
			   *key = json_get_str(g, "host_key", NULL);
		if (key)
			printf("%s,[%s]:* %s\n", host, host, key);
	}
}

static void print_guests(const json_t *guests)
{
	size_t i;
	json_t *g;
	json_array_foreach (guests, i, g) {
		const char *identity = json_get_str(g, "identity", NULL);
		const char *user = json_get_str(g, "user", NULL);
		printf("Host %s\n", json_get_str(g, "host", ""));
		if (user)
			printf("\tUser %s\n", user);
		if (identity)
			printf("\tIdentityFile \"%s\"\n", identity);
		if (!json_get_str(g, "host_key", NULL))
			printf("\t# its host key is not known yet, so that ssh refuses it: `roost ssh %s` sees to that\n",
				json_get_str(g, "name", ""));
	}
}

/* As a word of ssh_config(5), where '%' begins a token. */
static char *config_word(const char *text)
{
	struct buf doubled = {0};
	for (; *text; text++)
		buf_fmt(&doubled, *text == '%' ? "%%%%" : "%c", *text);
	_cleanup_free_ char *whole = buf_steal(&doubled);
	return shell_word(whole);
}

/*
 * Where no key is known there is no trust on first use (`roost ssh` asks). The guests' keys come from their records, at each
 * connection: no file of the user's is written, and one that was made anew is known at once.
 */
static int print_common(struct err *err)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (len < 0)
		return err_errno(err, "cannot tell where roost is");
	path[len] = '\0';
	_cleanup_free_ char *roost = config_word(path);
	_cleanup_json_ json_t *identities = ssh_identities(NULL, err);
	const char *instance = paths_are_system() ? "system" : "session";
	size_t i;
	json_t *identity;
	printf("Host *" HOST_SUFFIX "\n"
	       "\tProxyCommand %s -c %s dial --fd '%%n' %%p\n"
	       "\tProxyUseFdpass yes\n"
	       "\tKnownHostsCommand %s -c %s ssh-config --known-hosts '%%n'\n"
	       "\tUserKnownHostsFile /dev/null\n"
	       "\tGlobalKnownHostsFile /dev/null\n"
	       "\tStrictHostKeyChecking yes\n",
		roost, instance, roost, instance);
	json_array_foreach (identities, i, identity)
		printf("\tIdentityFile \"%s\"\n", json_string_value(identity));
	return 0;
}

static int run_ssh_config(const struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *guests = json_array();
	if ((cli->count ? add_named(cli, guests, err) : add_all(guests, err)) < 0)
		return -1;
	if (cli->json) {
		cli_print_json(TAKE(guests));
		return 0;
	}
	if (cli_flag(cli, "known-hosts")) {
		print_known_hosts(guests);
		return 0;
	}
	printf("# guests as hosts NAME" HOST_SUFFIX
	       ": `roost ssh-config >~/.ssh/roost.config`, and at the "
	       "head of\n# ~/.ssh/config a line `Include roost.config`\n");
	print_guests(guests);
	return print_common(err);
}

const struct verb verb_ssh_config = {"ssh-config", "[NAME...]",
	"Prints a block for ~/.ssh/config, with which ssh NAME" HOST_SUFFIX
	", scp and rsync reach guests.",
	0, -1, false,
	{{"known-hosts", NULL, 0, "print the guests' host keys instead, as known_hosts has them"}},
	run_ssh_config, "roost ssh-config web1", GROUP_ACCESS, GUESTS_ALL};
