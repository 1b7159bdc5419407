#include "orchestrator/ssh_report.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "orchestrator/ssh_words.h"

static const struct {
	const char *word;
	enum err_kind kind;
	const char *cause;
} reasons[] = {
	[REASON_NONE] = {"none", ERR_NONE, ""},
	[REASON_REFUSED] = {"connection-refused", ERR_GONE,
		"nothing listens on that port: the SSH server is not installed, has not started yet or "
		"has ended, or a firewall in the guest rejects us"},
	[REASON_UNREACHABLE] = {"unreachable", ERR_GONE,
		"no path to the guest: its address is not configured (yet), its network card is down, "
		"or the host's network is"},
	[REASON_UNANSWERED] = {"no-answer", ERR_TIMEOUT,
		"nothing answers at that address: the guest has not brought up its network, has "
		"another address, hangs, or a firewall drops our packets"},
	[REASON_SILENT] = {"silent", ERR_TIMEOUT,
		"the port accepts but nobody speaks: a forwarded port is open before the guest listens, "
		"or the SSH server hangs"},
	[REASON_CLOSED] = {"closed", ERR_GONE,
		"the port accepts and closes: a forwarded port to a guest that does not listen, or an "
		"SSH server that fails at once (no host keys, no memory, a bad configuration)"},
	[REASON_DRIBBLE] = {"dribble", ERR_TIMEOUT,
		"the banner arrives a byte at a time: the guest is starved of CPU, or this is no SSH "
		"server but a trap for scanners"},
	[REASON_TURNED_AWAY] = {"turned-away", ERR_BUSY,
		"the SSH server takes no connection from us for now (PerSourcePenalties or MaxStartups)"},
	[REASON_NOT_SSH] = {"not-ssh", ERR_REFUSED,
		"something else than an SSH server listens on that port"},
	[REASON_KEY_EXCHANGE] = {"key-exchange", ERR_QEMU,
		"the SSH server gave its banner, but no key exchange came about: it failed in the "
		"middle, or it knows no algorithm that we do"},
	[REASON_KEY_UNKNOWN] = {"host-key-unknown", ERR_REFUSED,
		"no host key was issued for this guest, so nothing proves that it is the one"},
	[REASON_KEY_MISMATCH] = {"host-key-mismatch", ERR_REFUSED,
		"the guest has not installed the host key that its seed carries (cloud-init failed, the "
		"image was not made clean, or a user-data of its own has another key: "
		"cloud_init.host_key names that), or another machine answers at its address"},
	[REASON_LOGIN_REFUSED] = {"login-refused", ERR_REFUSED,
		"the user does not exist in the guest, or its authorized_keys does not hold our key "
		"(cloud-init has not run, or failed), or the server forbids this login"},
	[REASON_LOST] = {"connection-lost", ERR_GONE,
		"the connection ended in the middle: the guest reboots, its SSH server restarts, or "
		"the network went away"},
	[REASON_SLOW] = {"slow", ERR_TIMEOUT,
		"the guest answers too slowly: starved of CPU, swapping, or hanging"},
	[REASON_NO_COMMAND] = {"no-command", ERR_QEMU,
		"we are logged in, but the server runs no command for us: a forced command, no shell, or "
		"no process left"},
	[REASON_CLOUD_RUNNING] = {"cloud-init-running", ERR_TIMEOUT,
		"cloud-init is still at work: packages to install, a download, or a user script that "
		"does not end"},
	[REASON_CLOUD_ERROR] = {"cloud-init-error", ERR_QEMU,
		"cloud-init reports errors; /var/log/cloud-init.log in the guest has the whole story"},
	[REASON_PROBE] = {"probe-failed", ERR_QEMU, "a probe did not succeed in the guest"},
};
static_assert(ARRAY_SIZE(reasons) == REASON_MAX, "a reason lacks its row");

const char *reason_word(enum reason why)
{
	return reasons[why].word;
}

const char *reason_cause(enum reason why)
{
	return reasons[why].cause;
}

enum err_kind reason_kind(enum reason why)
{
	return reasons[why].kind;
}

void report(json_t *line)
{
	_cleanup_free_ char *compact = json_line(line);
	_cleanup_free_ char *text = str_fmt("%s\n", compact ? compact : "{}");
	json_decref(line);
	if (write_all(STDOUT_FILENO, text, strlen(text)) < 0)
		_exit(err_exit_code(ERR_GONE));
}

int report_error(const struct err *err)
{
	struct err plain = *err; /* names of files may be no UTF-8 */
	_cleanup_free_ char *shown = text_shown(err->message, strlen(err->message));
	snprintf(plain.message, sizeof(plain.message), "%s", shown);
	report(json_pack("{s:o}", "error", json_from_err(&plain)));
	return err_exit_code(err->kind);
}
