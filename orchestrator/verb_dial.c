/*
 * dial: a connection to a port of a guest, for programs that want one: our standard streams, or the socket itself.
 */
#include "orchestrator/verbs.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sock.h"
#include "orchestrator/connect.h"
#include "orchestrator/host_name.h"
#include "orchestrator/reach.h"
#include "orchestrator/record.h"

enum { DIAL_MS = 10000, CHUNK = 65536 };

/* ---- the streams ---------------------------------------------------------------------------------- */

/* Until `from` has said all: 0. -1: one of them broke off. */
static int copy(int from, int to)
{
	static char chunk[CHUNK];
	for (;;) {
		ssize_t n = read(from, chunk, sizeof(chunk));
		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || write_all(to, chunk, (size_t)n) < 0)
			return -1;
	}
}

/* The end of our standard input is told to the guest; the end of what the guest says is ours. */
static int become_streams(int fd, struct err *err)
{
	pid_t parent = getpid(), child = fork();
	if (child < 0)
		return err_errno(err, "cannot make a process for the other way");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent && copy(STDIN_FILENO, fd) == 0)
			shutdown(fd, SHUT_WR);
		_exit(0);
	}
	return copy(fd, STDOUT_FILENO) < 0 ? err_errno(err, "the connection broke off") : 0;
}

/* ---- the socket ----------------------------------------------------------------------------------- */

/* As ProxyUseFdpass of ssh_config(5) wants it: one byte, and the socket with it. */
static int pass_socket(int fd, struct err *err)
{
	if (sock_send(STDOUT_FILENO, "", 1, &fd, 1) == 1)
		return 0;
	err_errno(err, "cannot pass the socket over standard output");
	return err_hint(err, "`--fd` is for ssh: ProxyCommand with ProxyUseFdpass");
}

static int run_dial(const struct cli *cli, struct err *err)
{
	_cleanup_status_ struct status s = {0};
	const char *timeout = cli_value(cli, "timeout", NULL);
	int64_t ms = DIAL_MS;
	uint64_t port;
	struct reach r;
	struct found f;
	if (str_parse_u64(cli->operands[1], 1, 65535, "the port", &port, err) < 0 ||
		(timeout && str_parse_duration(timeout, "--timeout", &ms, err) < 0) ||
		guest_of_host(cli->operands[0], &f, err) < 0 || guest_look(&f, &s, err) < 0)
		return -1;
	if (!s.number) {
		err_set(err, ERR_REFUSED, "guest '%s' is not running", f.name);
		return err_hint(err, "`roost start %s` starts it", f.name);
	}
	_cleanup_definition_ struct definition *d = record_read(f.name, err);
	if (!d || reach_find(d, &s, (unsigned)port, &r, err) < 0)
		return -1;
	_cleanup_close_ int fd = reach_connect(&r, deadline_in(ms), err);
	if (fd < 0)
		return err_prefix(err, "guest '%s'", f.name);
	fd_set_nonblocking(fd, 0);
	if (cli_flag(cli, "fd"))
		return pass_socket(fd, err);
	return become_streams(fd, err);
}

const struct verb verb_dial = {"dial", "NAME PORT",
	"Connects standard input and output with a TCP port of a guest.", 2, 2, false,
	{{"fd", NULL, 0,
		 "pass the connected socket over standard output, as ssh's ProxyUseFdpass wants it"},
		{"timeout", "TIME", 0, "how long connecting may take; default 10s"}},
	run_dial, "roost dial web1 22", GROUP_ACCESS, GUESTS_RUNNING};
