/*
 * net-exec: a command inside a network: there its bridge, guards and addresses are what `ip`, `nft`, tcpdump see.
 *
 * Only the network is another one: files, processes and the terminal are the caller's. In a user's own instance the
 * command is root in the network's user namespace, so that it may look; it owns no more files than the user.
 */
#include "orchestrator/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/proc.h"
#include "orchestrator/network.h"
#include "orchestrator/paths.h"

static int find_holder(const struct network *n, struct proc *out, struct err *err)
{
	_cleanup_free_ char *path = network_run_path(n, "holder", err);
	if (!path)
		return -1;
	_cleanup_json_ json_t *holder =
		network_active(n) ? json_file_read(AT_FDCWD, path, err) : NULL;
	if (holder && proc_open_known((pid_t)json_get_int(holder, "pid", 0),
			      (uint64_t)json_get_int(holder, "start", 0), out, err) == 0)
		return 0;
	err_set(err, ERR_REFUSED, "network '%s' is not active", n->name);
	return err_hint(err, "`roost net-start %s` starts it", n->name);
}

static int enter(const struct network *n, struct err *err)
{
	struct proc holder = PROC_NONE;
	if (n->mode == NETWORK_BRIDGE) /* that is where we are */
		return 0;
	if (geteuid() && paths_are_system()) {
		err_set(err, ERR_REFUSED, "network '%s' is root's: only root may work inside",
			n->name);
		return err_hint(err, "`sudo roost net-exec %s ...`", n->name);
	}
	if (find_holder(n, &holder, err) < 0)
		return -1;
	int result = setns(holder.pidfd, geteuid() ? CLONE_NEWUSER | CLONE_NEWNET : CLONE_NEWNET);
	if (result < 0)
		err_errno(err, "cannot enter network '%s'", n->name);
	proc_close(&holder);
	return result;
}

static int run_exec(const struct cli *cli, struct err *err)
{
	struct network n;
	char *words[ARRAY_SIZE(cli->operands) + 1] = {0};
	if (network_find(cli->operands[0], &n, err) < 0 || enter(&n, err) < 0)
		return -1;
	for (int i = 1; i < cli->count; i++)
		words[i - 1] = xstrdup(cli->operands[i]);
	if (!words[0]) {
		const char *shell = getenv("SHELL");
		words[0] = xstrdup(shell && shell[0] ? shell : "/bin/sh");
	}
	execvp(words[0], words);
	return err_errno(err, "cannot run '%s'", words[0]);
}

const struct verb verb_net_exec = {"net-exec", "NETWORK [COMMAND...]",
	"Runs a command inside a network, such as ip or tcpdump; without one, a shell.", 1, -1,
	true, {{0}}, run_exec, "roost net-exec default ip address", GROUP_NETWORKS, GUESTS_ALL};
