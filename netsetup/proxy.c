#include "netsetup/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/proc.h"

enum { SOCKET_FD = 3, ALIVE_FD = 4, FREE_FD = 5, NOBODY = 65534 };

/*
 * Root becomes nobody. In a user's own namespace there is none to become (EINVAL, EPERM); what is left to lose there
 * are the capabilities.
 */
static int drop_rights(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
	if ((setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		    setresuid(NOBODY, NOBODY, NOBODY) < 0) &&
		errno != EINVAL && errno != EPERM)
		return -1;
	if (syscall(SYS_capset, &header, none) < 0)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* Both to where they belong, whichever of the two numbers they have now; nothing else stays open. */
static int keep_files(struct proxy *p)
{
	int alive = fcntl(p->alive, F_DUPFD, FREE_FD);
	if (alive < 0 || (p->socket != SOCKET_FD && dup2(p->socket, SOCKET_FD) < 0) ||
		dup2(alive, ALIVE_FD) < 0 || syscall(SYS_close_range, FREE_FD, ~0U, 0U) < 0)
		return -1;
	p->socket = SOCKET_FD;
	p->alive = ALIVE_FD;
	return 0;
}

static _Noreturn void serve(struct proxy p)
{
	sigset_t none;
	sigemptyset(&none);
	if (keep_files(&p) < 0)
		_exit(1);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, "roost-proxy");
	proc_allow_many_files();
	if (drop_rights() < 0)
		_exit(1);
	(p.udp ? proxy_udp : proxy_tcp)(&p);
	_exit(1);
}

pid_t proxy_start(const struct proxy *p, struct err *err)
{
	int one = 1;
	/* from the first datagram on, which may be there before the child runs; of the two the one that fits */
	if (p->udp) {
		setsockopt(p->socket, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
		setsockopt(p->socket, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
	}
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "cannot start a proxy");
	if (pid == 0)
		serve(*p);
	return pid;
}
