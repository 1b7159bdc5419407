/* ssh, scp: roost-ssh with the parameters of a guest, and the user's own terminal. */
#include "orchestrator/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sock.h"
#include "orchestrator/ssh_child.h"
#include "orchestrator/ssh_entry.h"

static int run_ssh(const struct cli *cli, struct err *err)
{
	json_t *params = ssh_entry(cli, cli->operands[0], cli_value(cli, "user", NULL), NULL, err);
	_cleanup_buf_ struct buf command = {0};
	if (!params)
		return -1;
	/* joined by spaces, for the guest's shell to read: as ssh does */
	for (int i = 1; i < cli->count; i++)
		buf_fmt(&command, "%s%s", i > 1 ? " " : "", cli->operands[i]);
	json_object_set_new(
		params, "command", cli->count > 1 ? json_string(command.data) : json_null());
	if (cli_flag(cli, "tty"))
		json_object_set_new(params, "pty", json_true());
	if (cli_flag(cli, "no-tty"))
		json_object_set_new(params, "pty", json_false());
	return ssh_become("exec", params, err);
}

/* The "NAME:" of "NAME:PATH"; NULL for a local path, which may hold ':' after a '/'. */
static const char *remote_path(const char *word)
{
	const char *colon = strchr(word, ':'), *slash = strchr(word, '/');
	return colon && colon != word && (!slash || colon < slash) ? colon + 1 : NULL;
}

/* All remote words must name one guest; its name. */
static char *guest_of(const struct cli *cli, int from, int to, struct err *err)
{
	char *name = NULL;
	for (int i = from; i < to; i++) {
		const char *path = remote_path(cli->operands[i]);
		_cleanup_free_ char *this =
			path ? strndup(cli->operands[i], (size_t)(path - cli->operands[i]) - 1)
			     : NULL;
		if (!this || (name && !str_eq(name, this))) {
			err_set(err, ERR_USAGE, "scp: '%s' is not a path in the same guest",
				cli->operands[i]);
			free(name);
			return NULL;
		}
		if (!name)
			name = TAKE(this);
	}
	return name;
}

/* roost-ssh's lines become a progress line at a terminal; its last one is the answer. */
static int copy_shown(json_t *params, bool json, struct err *err)
{
	_cleanup_(child_end) struct child c = CHILD_NONE;
	_cleanup_json_ json_t *last = NULL;
	char line[65536];
	bool terminal = isatty(STDERR_FILENO) && !json;
	if (ssh_start("copy", params, &c, err) < 0)
		return -1;
	fd_set_nonblocking(c.out, 0);
	FILE *in = fdopen(TAKE_FD(c.out), "r");
	while (in && fgets(line, sizeof(line), in)) {
		json_decref(last);
		last = json_text_parse(line, strlen(line), err);
		if (json_object_get(last, "note"))
			fprintf(stderr, "roost: %s\n", json_get_str(last, "note", ""));
		else if (terminal && json_object_get(last, "file"))
			fprintf(stderr, "\r\033[K%s  %s of %s", json_get_str(last, "file", ""),
				str_size((uint64_t)json_get_int(last, "bytes", 0)),
				str_size((uint64_t)json_get_int(last, "total", 0)));
	}
	if (terminal)
		fputs("\r\033[K", stderr);
	if (in)
		fclose(in);
	child_end(&c);
	ssh_ended();
	if (json_object_get(last, "error")) {
		json_to_err(json_object_get(last, "error"), err);
		return -1;
	}
	if (!json_object_get(last, "state"))
		return err_set(err, ERR_SYSTEM, "roost-ssh ended without a word");
	if (json)
		cli_print_json(json_incref(last));
	return 0;
}

static int run_scp(const struct cli *cli, struct err *err)
{
	int last = cli->count - 1;
	bool to_guest = remote_path(cli->operands[last]) != NULL;
	if (to_guest == (remote_path(cli->operands[0]) != NULL)) {
		err_set(err, ERR_USAGE, "scp: %s",
			to_guest ? "both sides are guests" : "neither side is a guest");
		return err_hint(err, "write NAME:PATH for a path in a guest");
	}
	_cleanup_free_ char *name =
		to_guest ? guest_of(cli, last, last + 1, err) : guest_of(cli, 0, last, err);
	json_t *params = name ? ssh_entry(cli, name, NULL, NULL, err) : NULL, *local = json_array(),
	       *remote = json_array();
	if (!params) {
		json_decref(local);
		json_decref(remote);
		return -1;
	}
	for (int i = 0; i <= last; i++) {
		const char *path = remote_path(cli->operands[i]);
		json_array_append_new(
			path ? remote : local, json_string(path ? path : cli->operands[i]));
	}
	json_object_update_new(params,
		json_pack("{s:s, s:o, s:o, s:b, s:b}", "direction", to_guest ? "to" : "from",
			"local", local, "remote", remote, "recursive", cli_flag(cli, "recursive"),
			"preserve", cli_flag(cli, "preserve")));
	return copy_shown(params, cli->json, err);
}

const struct verb verb_ssh = {"ssh", "[USER@]NAME [COMMAND...]",
	"Opens a shell in a guest, or runs a command there; exits with its status, or 255.", 1, -1,
	true,
	{{"user", "USER", 'l', "who logs in; default the definition's user, else you"},
		{"tty", NULL, 't', "a terminal for the command, too"},
		{"no-tty", NULL, 'T', "none for the shell"}, SSH_ENTRY_OPTIONS},
	run_ssh, "roost ssh web1 uname -r", GROUP_ACCESS, GUESTS_RUNNING};
const struct verb verb_scp = {"scp", "FROM... TO",
	"Copies files to and from a guest; NAME:PATH is a path in it.", 2, -1, false,
	{{"recursive", NULL, 'r', "folders, too"}, {"preserve", NULL, 'p', "keep modes and times"},
		SSH_ENTRY_OPTIONS},
	run_scp, "roost scp web1.yaml web1:/tmp/", GROUP_ACCESS, GUESTS_RUNNING};
