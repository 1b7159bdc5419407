/*
 * roost-ssh: all that roost does over SSH, in a program of its own, because libssh blocks without
 * an fd to poll and costs a millisecond to link (DESIGN.md 1 and 3).
 *
 *	roost-ssh [--params-fd N] keygen|pubkey|scan|climb|exec|copy|authorize
 *
 * One JSON object of parameters is read to the end of standard input, or of fd N (the usual one is
 * 3; `exec` demands it, for its standard input is the user's). So no secret stands in argv.
 * An unknown key, or a value of the wrong type, is an error before anything is done.
 *
 * Answers are JSON lines on standard output. An error is {"error":{"class","desc","hint"}}, the
 * class one of base/err.h, the exit status that of err_exit_code(). `exec` is different, see there.
 *
 *
 * keygen        {"type": TYPE, "comment": TEXT, "passphrase": TEXT}          or {}
 *	A fresh pair, of ed25519 unless the type is "ssh-rsa" or "ecdsa-sha2-nistp256" (384, 521), for a
 *	guest's host key, roost's own login or a user's:
 *	{"private": PEM that OpenSSH reads, "public": "ssh-ed25519 AAAA... COMMENT",
 *	 "fingerprint": "SHA256:..."}
 *
 * pubkey        {"private": PEM}
 *	{"public": "TYPE BASE64"}, its other half
 *
 * The others share these parameters:
 *	address      text    literal IPv4 or IPv6 (%scope allowed). A name is refused.
 *	port         number  default 22
 *	network      text    one of ours, whose holder dials (reach.h); default: we do
 *	instance     text    "system" or "session": whose network that is (paths.h)
 *	host_key     text    "TYPE BASE64 [COMMENT]", the key issued to the guest. The server's must be
 *	                     the same blob. null: no server is accepted, unless:
 *	trust        "first" with host_key null: accept any key; `climb` tells which one
 *	guest        text    what people call it, in questions and hints
 *	user         text
 *	identities   [text]  private keys, tried in this order: PEM texts ("-----BEGIN ...") or paths.
 *	                     One that needs a passphrase is skipped and named if the login is refused.
 *	agent        bool    after them, the keys of SSH_AUTH_SOCK; default true
 *	ask          bool    after them, if there is a terminal: passphrases, and what the server asks
 *	                     (keyboard-interactive, password), three times each; default false
 *	connect_ms   number  scan, exec, copy, authorize: from connect() to being logged in; default 15000
 *
 *
 * scan          which host key a server shows; nobody logs in
 *	{"host_key": "TYPE BASE64", "fingerprint": "SHA256:..."}   or an error
 *
 * climb         the readiness ladder, rungs tcp, banner, hostkey, login, cloud-init, probes
 *	rungs        [text]  which of them to report and wait for. Those up to login that lie below the
 *	                     last one are climbed in any case; cloud-init and probes only if named.
 *	probes       [text]  commands for the login shell of `user`; all must exit with 0
 *	deadlines_ms {rung: number}  for one rung, from the rung before it; default: the total's
 *	total_ms     number  default 300000
 *
 *	{"rung": R, "state": "reached", "ms": N, "detail": TEXT}    once per rung named; ms since start.
 *	     detail: banner: its text; hostkey: "TYPE BASE64"; login: the key accepted;
 *	     cloud-init: "done", "degraded: ..."
 *	{"rung": "cloud-init", "state": "skipped", ...}             not installed, or disabled
 *	{"rung": R, "state": "trying", "ms": N, "detail": TEXT}     at most every 500 ms: why not yet
 *	{"state": "reached", "rung": LAST, "ms": N}                 the end, exit status 0; or:
 *	{"error": {...}, "rung": FAILED, "reason": WORD, "evidence": [TEXT...], "cause": TEXT}
 *	     reason: one of ssh_report.c: connection-refused, no-answer, silent, closed, dribble,
 *	     turned-away, not-ssh, host-key-mismatch, login-refused, cloud-init-error, probe-failed, ...
 *	     evidence: what attempts met, oldest first, and the output of a failed probe
 *
 * exec          a command or a shell, with our standard streams
 *	command      text    null: the login shell
 *	pty          true | false | "auto" (default: for a shell at a terminal)
 *	env          {name: text}  servers accept only what they are configured to
 *	term         text    default: our TERM
 *	dial         {"address": A, "port": N, "probe": bool}  instead of a command: our standard streams
 *	             become a TCP connection that the guest's SSH server makes, as ssh -W has it. With
 *	             `probe` it is closed at once. Exit status 0, or 1 if it cannot be made.
 *
 *	The exit status is the command's; 128+n if signal n ended it there, or us here; 255 for a
 *	failure of ours, told on standard error as "roost: ...". At a terminal "~." at the start of a
 *	line disconnects. Without a pty, SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on, then end us.
 *
 * copy          files and trees
 *	direction    "to" | "from" (the guest)
 *	local        text or [text]  what to copy, or ["to where"]
 *	remote       text or [text]  "to where", or what to copy. Relative to the user's home.
 *	recursive    bool    folders too. Symbolic links inside a tree are left out, with a note.
 *	preserve     bool    permission bits and times (never setuid)
 *	stall_ms     number  no byte for so long ends it; default 30000
 *
 *	Into a target that is a folder things go under their own names, else they become the target.
 *	SFTP, or scp where the server has none. A file from the guest is written under a temporary name
 *	in the same folder and renamed when it is whole; the first error ends the copy and names the file.
 *	{"file": NAME, "bytes": N, "total": N}     of this file, at most every 200 ms
 *	{"note": TEXT}
 *	{"state": "copied", "files": N, "bytes": N, "protocol": "sftp"|"scp"}   the end; or an error
 *
 * authorize     public keys into the user's authorized_keys
 *	keys         [text]  lines "TYPE BASE64 [COMMENT]"; one that is there already is not added again
 *
 *	{"state": "authorized", "added": N, "present": N}   or an error
 *
 *
 * Files: ssh_session.c, ssh_login.c, ssh_keys.c, ssh_exec.c and ssh_sftp.c use libssh, in blocking calls that
 * ssh_watch.c bounds; ssh_dial.c connects; ssh_climb.c and ssh_copy.c (with ssh_files.c, ssh_scp.c)
 * are the long sub-commands; ssh_params.c and ssh_words.c read what comes in.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"
#include "orchestrator/ssh_authorize.h"
#include "orchestrator/ssh_climb.h"
#include "orchestrator/ssh_copy.h"
#include "orchestrator/ssh_exec.h"
#include "orchestrator/ssh_params.h"
#include "orchestrator/ssh_report.h"
#include "orchestrator/ssh_session.h"
#include "orchestrator/ssh_watch.h"

static const char stuck_line[] = "{\"error\":{\"class\":\"timeout\",\"desc\":\"a call into libssh "
				 "did not come back\",\"hint\":\"does the SSH agent hang?\"}}\n";
static const char stuck_text[] = "roost: a call into libssh did not come back\n";

static int run_keygen(json_t *params)
{
	struct err err = ERR_INIT;
	struct key_pair pair = {0};
	struct keygen_params p;
	if (keygen_params(params, &p, &err) < 0 ||
		keys_generate(p.type, p.comment, p.passphrase, &pair, &err) < 0)
		return report_error(&err);
	report(json_pack("{s:s, s:s, s:s}", "private", pair.private_pem, "public", pair.public_text,
		"fingerprint", pair.fingerprint));
	if (p.passphrase) /* jansson's copy, of which nobody else has need */
		explicit_bzero((char *)p.passphrase, strlen(p.passphrase));
	explicit_bzero(pair.private_pem, strlen(pair.private_pem));
	free(pair.private_pem);
	free(pair.public_text);
	free(pair.fingerprint);
	return 0;
}

static int run_pubkey(json_t *params)
{
	struct err err = ERR_INIT;
	const char *private;
	if (pubkey_params(params, &private, &err) < 0)
		return report_error(&err);
	_cleanup_free_ char *public = key_public(private, &err);
	if (!public)
		return report_error(&err);
	report(json_pack("{s:s}", "public", public));
	return 0;
}

static int run_scan(json_t *params)
{
	struct err err = ERR_INIT;
	struct remote remote;
	enum reason why;
	_cleanup_free_ char *key = NULL, *fingerprint = NULL;
	if (scan_params(params, &remote, &err) < 0)
		return report_error(&err);
	watch_init(false);
	watch_last_words(STDOUT_FILENO, stuck_line, err_exit_code(ERR_TIMEOUT));
	if (session_scan(&remote, &key, &fingerprint, &why, &err) < 0)
		return report_error(&err);
	report(json_pack("{s:s, s:s}", "host_key", key, "fingerprint", fingerprint));
	return 0;
}

static int run_climb(json_t *params)
{
	struct err err = ERR_INIT;
	struct remote remote;
	struct climb_params p;
	if (climb_params(params, &remote, &p, &err) < 0)
		return report_error(&err);
	watch_init(false);
	watch_last_words(STDOUT_FILENO, stuck_line, err_exit_code(ERR_TIMEOUT));
	return climb(&remote, &p);
}

static int run_exec(json_t *params)
{
	struct err err = ERR_INIT;
	struct remote remote;
	struct exec_params p;
	if (exec_params(params, &remote, &p, &err) < 0) {
		fprintf(stderr, "roost: %s\n", err.message);
		return EXEC_FAILED;
	}
	watch_init(false);
	watch_last_words(STDERR_FILENO, stuck_text, EXEC_FAILED);
	return exec(&remote, &p);
}

static int run_copy(json_t *params)
{
	struct err err = ERR_INIT;
	struct remote remote;
	struct copy_params p;
	if (copy_params(params, &remote, &p, &err) < 0)
		return report_error(&err);
	watch_init(true);
	watch_last_words(STDOUT_FILENO, stuck_line, err_exit_code(ERR_TIMEOUT));
	return copy(&remote, &p);
}

static int run_authorize(json_t *params)
{
	struct err err = ERR_INIT;
	struct remote remote;
	struct authorize_params p;
	if (authorize_params(params, &remote, &p, &err) < 0)
		return report_error(&err);
	watch_init(false);
	watch_last_words(STDOUT_FILENO, stuck_line, err_exit_code(ERR_TIMEOUT));
	return authorize(&remote, &p);
}

static const struct command {
	const char *name;
	int (*run)(json_t *params);
	bool quiet; /* errors are text on standard error, and the status is EXEC_FAILED */
} commands[] = {
	{"keygen", run_keygen, false},
	{"pubkey", run_pubkey, false},
	{"scan", run_scan, false},
	{"climb", run_climb, false},
	{"exec", run_exec, true},
	{"copy", run_copy, false},
	{"authorize", run_authorize, false},
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (str_eq(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int usage(void)
{
	fputs("usage: roost-ssh [--params-fd N] keygen|pubkey|scan|climb|exec|copy|authorize\n"
	      "Run by roost; the parameters are a JSON object on standard input or fd N.\n",
		stderr);
	return err_exit_code(ERR_USAGE);
}

static json_t *read_params(const struct command *c, int fd, struct err *err)
{
	if (c->quiet && fd == STDIN_FILENO) {
		err_set(err, ERR_USAGE, "exec needs --params-fd: standard input is the user's");
		return NULL;
	}
	json_t *params = params_read(fd, err);
	if (fd != STDIN_FILENO)
		close(fd);
	return params;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	uint64_t fd = STDIN_FILENO;
	int next = 1;
	if (argc > 2 && strcmp(argv[1], "--params-fd") == 0) {
		if (str_parse_u64(argv[2], 0, 1023, "--params-fd", &fd, &err) < 0)
			return usage();
		next = 3;
	}
	const struct command *c = next == argc - 1 ? find_command(argv[next]) : NULL;
	if (!c)
		return usage();
	signal(SIGPIPE, SIG_IGN); /* libssh writes to sockets without MSG_NOSIGNAL */
	_cleanup_json_ json_t *params = read_params(c, (int)fd, &err);
	if (!params && c->quiet) {
		fprintf(stderr, "roost: %s\n", err.message);
		return EXEC_FAILED;
	}
	return params ? c->run(params) : report_error(&err);
}
