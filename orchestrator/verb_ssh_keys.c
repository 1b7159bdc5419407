/* ssh-copy-id, keygen: keys of people's own, with libssh in place of OpenSSH's programs. */
#include "orchestrator/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ask.h"
#include "base/fs.h"
#include "orchestrator/ssh_child.h"
#include "orchestrator/ssh_entry.h"

enum {
	KEY_FILE_MAX = 65536,
	COPY_MS = 60000,
	TYPING_MS = 3600000,
	KEYGEN_MS = 30000,
	PASSPHRASE_MAX = 1024
};

/* ---- ssh-copy-id ------------------------------------------------------------------------------------ */

/* The lines of a file of public keys; comments and empty ones are passed over. */
static int take_keys(json_t *keys, const char *file, struct err *err)
{
	_cleanup_buf_ struct buf text = {0};
	size_t before = json_array_size(keys);
	if (file_read(AT_FDCWD, file, KEY_FILE_MAX, &text, err) < 0)
		return -1;
	char *rest = text.data, *line;
	while ((line = strsep(&rest, "\n"))) {
		line += strspn(line, " \t");
		line[strcspn(line, "\r")] = '\0';
		if (line[0] && line[0] != '#')
			json_array_append_new(keys, json_text(line, strlen(line)));
	}
	return json_array_size(keys) > before
		       ? 0
		       : err_set(err, ERR_USAGE, "'%s' holds no public key", file);
}

/* As ssh-copy-id reads -i: the public half of the pair that is named by either half. */
static int take_named(json_t *keys, const char *file, struct err *err)
{
	_cleanup_free_ char *public =
		str_ends(file, ".pub") ? xstrdup(file) : str_fmt("%s.pub", file);
	return take_keys(keys, public, err);
}

/* Those that ssh logs in with. */
static int take_usual(json_t *keys, struct err *err)
{
	static const char *const names[] = {"id_ed25519", "id_ecdsa", "id_rsa"};
	const char *home = getenv("HOME");
	for (size_t i = 0; home && i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = str_fmt("%s/.ssh/%s.pub", home, names[i]);
		if (access(path, R_OK) == 0 && take_keys(keys, path, err) < 0)
			return -1;
	}
	if (json_array_size(keys))
		return 0;
	err_set(err, ERR_NOT_FOUND, "you have no public key in ~/.ssh");
	return err_hint(err,
		getenv("SSH_AUTH_SOCK")
			? "`ssh-add -L >agent.pub` writes those of your agent, for `-i agent.pub`; `roost keygen` makes one"
			: "`roost keygen` makes one; -i names another");
}

static void tell_added(const char *name, const json_t *answer)
{
	int64_t added = json_get_int(answer, "added", 0);
	if (!added) {
		printf("All keys were skipped because they already exist in guest '%s'\n", name);
		return;
	}
	printf("Number of key(s) added: %d\n"
	       "Now try logging into the guest, with: \"roost ssh %s\"\n",
		(int)added, name);
}

static int run_ssh_copy_id(const struct cli *cli, struct err *err)
{
	char name[64];
	const char *file = cli_value(cli, "identity", NULL);
	_cleanup_json_ json_t *keys = json_array();
	if ((file ? take_named(keys, file, err) : take_usual(keys, err)) < 0)
		return -1;
	json_t *params = ssh_entry(cli, cli->operands[0], NULL, name, err);
	if (!params)
		return -1;
	json_object_set(params, "keys", keys);
	_cleanup_json_ json_t *answer =
		ssh_ask("authorize", params, ask_can() ? TYPING_MS : COPY_MS, err);
	if (!answer && err->kind == ERR_TIMEOUT && !err->hint[0])
		err_hint(err, "`roost wait %s` tells what it is at", name);
	if (!answer)
		return err_prefix(err, "guest '%s'", name);
	if (cli->json)
		cli_print_json(json_pack("{s:I, s:I}", "added", json_get_int(answer, "added", 0),
			"present", json_get_int(answer, "present", 0)));
	else
		tell_added(name, answer);
	return 0;
}

/* ---- keygen ----------------------------------------------------------------------------------------- */

static char *user_at_host(void)
{
	char host[256] = "localhost";
	const struct passwd *user = getpwuid(geteuid());
	gethostname(host, sizeof(host) - 1);
	return str_fmt("%s@%s", user ? user->pw_name : "user", host);
}

/* Twice, at the terminal alone; without one there is none, as there is nobody to ask. */
static int ask_passphrase(char out[PASSPHRASE_MAX], struct err *err)
{
	char again[PASSPHRASE_MAX] = "";
	out[0] = '\0';
	if (!isatty(STDIN_FILENO))
		return 0;
	if (ask_line("Enter passphrase (empty for no passphrase): ", true, out, PASSPHRASE_MAX,
		    err) < 0 ||
		ask_line("Enter same passphrase again: ", true, again, sizeof(again), err) < 0)
		return -1;
	bool same = str_eq(again, out);
	explicit_bzero(again, sizeof(again));
	return same ? 0 : err_set(err, ERR_USAGE, "the passphrases do not match");
}

/* Whole, or not at all, and never in the place of another. */
static int write_new(const char *path, const char *text, mode_t mode, struct err *err)
{
	_cleanup_free_ char *beside = str_fmt("%s.%d~", path, (int)getpid());
	_cleanup_close_ int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool written = fd >= 0 && fchmod(fd, mode) == 0 && write_all(fd, text, strlen(text)) == 0 &&
		       fsync(fd) == 0 && link(beside, path) == 0;
	if (!written)
		err_errno(err, "cannot write '%s'", path);
	if (fd >= 0)
		unlink(beside);
	return written ? 0 : -1;
}

static int write_pair(const char *file, const char *public, const json_t *pair, struct err *err)
{
	_cleanup_free_ char *line = str_fmt("%s\n", json_get_str(pair, "public", ""));
	if (write_new(file, json_get_str(pair, "private", ""), 0600, err) < 0)
		return -1;
	if (write_new(public, line, 0644, err) == 0)
		return 0;
	unlink(file);
	return -1;
}

static int refuse_to_overwrite(const char *file, struct err *err)
{
	if (faccessat(AT_FDCWD, file, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	err_set(err, ERR_REFUSED, "'%s' already exists", file);
	return err_hint(err, "a key is never overwritten: -f names another file");
}

/* ~/.ssh/id_ed25519, in a folder that is there afterwards. */
static char *usual_file(struct err *err)
{
	const char *home = getenv("HOME");
	if (!home || !home[0]) {
		err_set(err, ERR_USAGE, "there is no HOME: -f names the file");
		return NULL;
	}
	_cleanup_free_ char *folder = str_fmt("%s/.ssh", home);
	_cleanup_close_ int dir = dir_make(folder, 0700, err);
	return dir < 0 ? NULL : str_fmt("%s/id_ed25519", folder);
}

static json_t *new_pair(const char *comment, struct err *err)
{
	char passphrase[PASSPHRASE_MAX];
	json_t *pair = NULL;
	if (ask_passphrase(passphrase, err) == 0)
		pair = ssh_ask("keygen",
			json_pack("{s:s, s:s}", "comment", comment, "passphrase", passphrase),
			KEYGEN_MS, err);
	explicit_bzero(passphrase, sizeof(passphrase));
	return pair;
}

static int run_keygen(const struct cli *cli, struct err *err)
{
	const char *named = cli_value(cli, "file", NULL);
	_cleanup_free_ char *file = named ? xstrdup(named) : usual_file(err),
			    *usual_comment = user_at_host();
	const char *comment = cli_value(cli, "comment", usual_comment);
	if (!file)
		return -1;
	_cleanup_free_ char *public = str_fmt("%s.pub", file);
	if (refuse_to_overwrite(file, err) < 0 || refuse_to_overwrite(public, err) < 0)
		return -1;
	_cleanup_json_ json_t *pair = new_pair(comment, err);
	if (!pair)
		return -1;
	int written = write_pair(file, public, pair, err);
	char *private = (char *)json_get_str(pair, "private", "");
	explicit_bzero(private, strlen(private));
	if (written < 0)
		return -1;
	const char *fingerprint = json_get_str(pair, "fingerprint", "");
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s, s:s}", "private", file, "public", public,
			"fingerprint", fingerprint));
	else
		printf("Your identification has been saved in %s\n"
		       "Your public key has been saved in %s\n"
		       "The key fingerprint is:\n%s %s\n",
			file, public, fingerprint, comment);
	return 0;
}

const struct verb verb_ssh_copy_id = {"ssh-copy-id", "[USER@]NAME",
	"Lets a public key of yours into a running guest, unless it is there already.", 1, 1, false,
	{{"identity", "FILE", 'i', "the key; default ~/.ssh/id_*.pub"}, SSH_ENTRY_OPTIONS},
	run_ssh_copy_id, "roost ssh-copy-id web1", GROUP_ACCESS, GUESTS_RUNNING};
const struct verb verb_keygen = {"keygen", "",
	"Makes a pair of SSH keys (ed25519); asks at the terminal for a passphrase, which may be empty.",
	0, 0, false,
	{{"file", "FILE", 'f', "where to; default ~/.ssh/id_ed25519"},
		{"comment", "TEXT", 'C', "at the end of the public key; default USER@HOST"}},
	run_keygen, "roost keygen -f key", GROUP_ACCESS, GUESTS_ALL};
