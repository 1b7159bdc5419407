/*
 * net-hosts: names of guests for this host, as hosts(5) has them. Off unless it is asked for, and only whole names
 * (GUEST.NETWORK.internal): a guest may be called as somebody else's host is.
 */
#include "orchestrator/verbs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "orchestrator/network.h"
#include "orchestrator/network_address.h"

#define HOSTS_FILE "/etc/hosts"
enum { HOSTS_MAX = 4 * 1024 * 1024 };

/* [{"address","name"}], of guests that run and of those that do not. */
static json_t *names_of(const struct network *n, struct err *err)
{
	static const char *const keys[] = {"address", "address6"};
	size_t i;
	json_t *file;
	if (n->mode == NETWORK_BRIDGE) {
		err_set(err, ERR_REFUSED,
			"network '%s' is the host's bridge '%s': addresses there are not ours",
			n->name, n->bridge);
		return NULL;
	}
	_cleanup_json_ json_t *files = network_addresses(n, err);
	if (!files)
		return NULL;
	json_t *names = json_array();
	json_array_foreach (files, i, file) {
		_cleanup_free_ char *name =
			str_fmt("%s.%s", json_get_str(file, "guest", ""), n->domain);
		for (char *c = name; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		for (size_t k = 0; k < ARRAY_SIZE(keys) && !network_address_is_void(file); k++) {
			const char *address = json_get_str(file, keys[k], "");
			if (address[0])
				json_array_append_new(names,
					json_pack("{s:s, s:s}", "address", address, "name", name));
		}
	}
	return names;
}

/* ---- the block in a file -------------------------------------------------------------------------- */

static void add_block(struct buf *text, const char *network, const json_t *names)
{
	size_t i;
	json_t *one;
	if (text->len && text->data[text->len - 1] != '\n')
		buf_str(text, "\n");
	buf_fmt(text, "# begin: guests of roost's network '%s'\n", network);
	json_array_foreach (names, i, one)
		buf_fmt(text, "%s\t%s\n", json_get_str(one, "address", ""),
			json_get_str(one, "name", ""));
	buf_fmt(text, "# end: guests of roost's network '%s'\n", network);
}

/* The start of a whole line; NULL: there is none. */
static char *find_line(char *text, const char *line)
{
	for (char *at = text; (at = strstr(at, line)); at++)
		if (at == text || at[-1] == '\n')
			return at;
	return NULL;
}

static int cut_block(struct buf *text, const char *network, const char *file, struct err *err)
{
	_cleanup_free_ char *begin = str_fmt("# begin: guests of roost's network '%s'\n", network);
	_cleanup_free_ char *end = str_fmt("# end: guests of roost's network '%s'\n", network);
	char *from = text->len ? find_line(text->data, begin) : NULL;
	char *to = from ? find_line(from, end) : NULL;
	if (from && !to) {
		err_set(err, ERR_REFUSED, "'%s': the block of network '%s' begins and does not end",
			file, network);
		return err_hint(err, "mend it with an editor");
	}
	if (!from)
		return 0;
	size_t rest = text->len - (size_t)(to - text->data) - strlen(end);
	memmove(from, to + strlen(end), rest + 1);
	text->len = (size_t)(from - text->data) + rest;
	return 0;
}

/* Whole, with mode and owner as they were. */
static int write_hosts(
	const char *file, const struct buf *text, const struct stat *st, struct err *err)
{
	_cleanup_free_ char *temporary = str_fmt("%s.roost-%d", file, (int)getpid());
	_cleanup_close_ int fd =
		open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, "cannot write beside '%s'", file);
	if (write_all(fd, text->len ? text->data : "", text->len) == 0 &&
		fchown(fd, st->st_uid, st->st_gid) == 0 && fchmod(fd, st->st_mode & 07777) == 0 &&
		fsync(fd) == 0 && rename(temporary, file) == 0)
		return 0;
	bool mounted = errno == EBUSY;
	err_errno(err, "cannot replace '%s'", file);
	unlink(temporary);
	return mounted ? err_hint(err,
				 "it is a mount of its own: `roost net-hosts` prints what belongs there")
		       : -1;
}

/* `names` NULL: only the block goes. */
static int change_hosts(const char *file, const char *network, const json_t *names, struct err *err)
{
	struct stat st;
	_cleanup_buf_ struct buf text = {0};
	_cleanup_close_ int fd = open(file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (file_read_open(fd, file, HOSTS_MAX, &text, err) < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return err_errno(err, "cannot look at '%s'", file);
	_cleanup_free_ char *before = xstrdup(text.len ? text.data : "");
	if (cut_block(&text, network, file, err) < 0)
		return -1;
	if (json_array_size(names))
		add_block(&text, network, names);
	if (str_eq(before, text.len ? text.data : ""))
		return 0;
	return write_hosts(file, &text, &st, err);
}

/* ---- the verb ------------------------------------------------------------------------------------- */

/* A network that is gone may have left its block. */
static int remove_names(const struct cli *cli, const char *file, const char *word, struct err *err)
{
	if (name_check(word, "network", err) < 0 || change_hosts(file, word, NULL, err) < 0)
		return -1;
	if (cli->json)
		cli_print_json(json_object());
	else
		printf("Names of network '%s' are not in %s\n", word, file);
	return 0;
}

static int run_net_hosts(const struct cli *cli, struct err *err)
{
	struct network n;
	size_t i;
	json_t *one;
	const char *word = cli->count ? cli->operands[0] : NETWORK_DEFAULT;
	const char *file = cli_value(cli, "file", HOSTS_FILE);
	bool install = cli_flag(cli, "install"), remove = cli_flag(cli, "remove");
	if (install && remove)
		return err_set(
			err, ERR_USAGE, "net-hosts: --install and --remove exclude one another");
	if (remove)
		return remove_names(cli, file, word, err);
	if (network_find(word, &n, err) < 0)
		return -1;
	_cleanup_json_ json_t *names = names_of(&n, err);
	if (!names || (install && change_hosts(file, n.name, names, err) < 0))
		return -1;
	if (cli->json) {
		cli_print_json(TAKE(names));
		return 0;
	}
	if (install)
		printf("%zu names of network '%s' are in %s\n", json_array_size(names), n.name,
			file);
	else
		json_array_foreach (names, i, one)
			printf("%s\t%s\n", json_get_str(one, "address", ""),
				json_get_str(one, "name", ""));
	return 0;
}

const struct verb verb_net_hosts = {"net-hosts", "[NETWORK]",
	"Prints names and addresses of a network's guests for this host's /etc/hosts, or keeps them there.",
	0, 1, false,
	{{"install", NULL, 0,
		 "write them there, where systemd-resolved looks, too, in place of those of before; again when guests come and go"},
		{"remove", NULL, 0, "take them out again"},
		{"file", "FILE", 0, "that file instead of /etc/hosts"}},
	run_net_hosts, "roost net-hosts default", GROUP_NETWORKS, GUESTS_ALL};
