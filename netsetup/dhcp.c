#include "netsetup/dhcp.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <grp.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "netsetup/confine.h"

enum {
	ROUTER_S = 1800,       /* RFC 4861's own */
	START_MS = 5000,       /* some milliseconds as a rule */
	AGAIN_MS = 50,         /* after it died, before it is started anew */
	AGAIN_MOST_MS = 10000, /* if it dies again and again */
	STEADY_MS = 2000,      /* lived so long: its death is a new one */
	LOG_MAX = 256 * 1024,
};

struct dhcp {
	struct dhcp_network network;
	int folder, log;
	struct proc proc;
	int said;        /* what it writes to its standard error */
	struct buf line; /* of that, what has no end yet */
	bool serves;
	char last[256]; /* its last line */
	int64_t started, again_at, pause;
};

const char *dnsmasq_path(void)
{
	const char *chosen = getenv("ROOST_DNSMASQ");
	return chosen && chosen[0] ? chosen : "/usr/sbin/dnsmasq";
}

/* ---- what it is told ------------------------------------------------------------------------------ */

static void add_network_options(struct buf *text, const struct dhcp_network *n)
{
	struct prefix net = *n->address;
	char address[ADDRESS_TEXT];
	uint8_t mask[4];
	for (unsigned i = 0; i < 4; i++) {
		unsigned bits = net.bits > i * 8 ? net.bits - i * 8 : 0;
		mask[i] = bits >= 8 ? 0xff : (uint8_t)(0xff00 >> bits);
		net.address[i] &= mask[i];
	}
	buf_fmt(text, "dhcp-range=%s,static,%u.%u.%u.%u,infinite\n",
		prefix_address_text(&net, address), mask[0], mask[1], mask[2], mask[3]);
	if (!n->routes)
		buf_str(text, "dhcp-option=option:router\n");
	if (n->mtu && n->mtu != 1500)
		buf_fmt(text, "dhcp-option=option:mtu,%u\n", n->mtu);
	if (!n->address6)
		return;
	net = *n->address6;
	memset(net.address + 8, 0, 8);
	buf_fmt(text, "dhcp-range=%s,ra-only,64,infinite\nenable-ra\n",
		prefix_address_text(&net, address));
	/* a lifetime of 0: no router by IPv6 */
	buf_fmt(text, "ra-param=%s,mtu:%u,60,%u\n", n->bridge, n->mtu ? n->mtu : 1500,
		n->routes6 ? ROUTER_S : 0);
}

static void add_dns_options(struct buf *text, const struct dhcp_network *n)
{
	char address[ADDRESS_TEXT];
	if (n->dns) {
		buf_fmt(text, "local=/%s/\ndomain=%s\ndomain-needed\nbogus-priv\n", n->domain,
			n->domain);
		if (n->resolv_file)
			buf_fmt(text, "resolv-file=%s\n", n->resolv_file);
		else
			buf_str(text, "no-resolv\n");
		for (size_t i = 0; i < n->server_count && !n->resolv_file; i++)
			buf_fmt(text, "server=%s\n", n->servers[i]);
		buf_fmt(text, "host-record=gateway.%s,gateway,%s", n->domain,
			prefix_address_text(n->address, address));
		if (n->address6)
			buf_fmt(text, ",%s", prefix_address_text(n->address6, address));
		buf_str(text, "\n");
		return;
	}
	buf_str(text, "port=0\ndhcp-option=option:dns-server");
	for (size_t i = 0; i < n->server_count; i++)
		if (!strchr(n->servers[i], ':'))
			buf_fmt(text, ",%s", n->servers[i]);
	buf_str(text, "\n");
}

static int write_config(const struct dhcp *d, struct err *err)
{
	const struct dhcp_network *n = &d->network;
	_cleanup_buf_ struct buf text = {0};
	buf_fmt(&text,
		"interface=%s\nexcept-interface=lo\nbind-dynamic\n"
		"no-hosts\n"
		"dhcp-authoritative\ndhcp-ignore-clid\ndhcp-no-override\nno-ping\n"
		"dhcp-hostsdir=%s/dhcp\nhostsdir=%s/dns\ndhcp-leasefile=%s/leases\n"
		"quiet-dhcp\nquiet-ra\nlog-facility=-\npid-file=\n",
		n->bridge, n->folder, n->folder, n->folder);
	/* in a user namespace there is one uid, and no group can be given up */
	if (!n->uid)
		buf_str(&text, "user=root\ngroup=\n");
	add_network_options(&text, n);
	add_dns_options(&text, n);
	if (file_replace(d->folder, "dnsmasq.conf", text.data, text.len, false, err) < 0)
		return -1;
	return 0;
}

/* ---- the process ---------------------------------------------------------------------------------- */

/*
 * dnsmasq would drop root itself, and then it would outlive us: a change of the uid takes the death signal
 * away. So that is done before, with what it needs left as ambient capabilities.
 */
static void become(uid_t uid)
{
	static const unsigned wanted[] = {CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE};
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {{0}};
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		sets[0].permitted |= 1U << wanted[i];
	sets[0].effective = sets[0].inheritable = sets[0].permitted;
	if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setgroups(0, NULL) < 0 ||
		setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0 ||
		syscall(SYS_capset, &head, sets) < 0)
		_exit(126);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, wanted[i], 0, 0) < 0)
			_exit(126);
}

/* `owner` is us: it may have ended before our death could be told. */
static _Noreturn void exec_dnsmasq(
	const struct dhcp *d, const char *config, int said, const struct proc *owner)
{
	static char *const environment[] = {"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	char *const argv[] = {"dnsmasq", "--keep-in-foreground", (char *)config, NULL};
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (d->network.uid)
		become(d->network.uid);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
		dup2(said, STDERR_FILENO) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
		!proc_alive(owner) || syscall(SYS_close_range, 3U, ~0U, 0U) < 0)
		_exit(126);
	execve(dnsmasq_path(), argv, environment);
	_exit(127);
}

/*
 * In a PID namespace of its own: dnsmasq forks for each TCP connection, and what it has forked would outlive it for
 * minutes, as long as a guest likes, with the sockets that the next one needs.
 */
static pid_t fork_alone(void)
{
	struct clone_args how = {.flags = CLONE_NEWPID, .exit_signal = SIGCHLD};
	bool had = confine_admin(true);
	pid_t pid = (pid_t)syscall(SYS_clone3, &how, sizeof(how));
	confine_admin(had);
	return pid < 0 && errno == ENOSYS ? fork() : pid; /* what containers' filters say */
}

static int spawn(struct dhcp *d, struct err *err)
{
	int ends[2];
	struct proc self = PROC_NONE;
	_cleanup_free_ char *config = str_fmt("--conf-file=%s/dnsmasq.conf", d->network.folder);
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(err, "cannot make a pipe");
	_cleanup_close_ int said = ends[0], theirs = ends[1];
	if (proc_open(getpid(), &self, err) < 0)
		return -1;
	pid_t pid = fork_alone();
	if (pid == 0)
		exec_dnsmasq(d, config, theirs, &self);
	proc_close(&self);
	if (pid < 0)
		return err_errno(err, "cannot fork dnsmasq");
	if (proc_open_child(pid, &d->proc, err) < 0)
		return -1;
	cleanup_close(&d->said);
	d->said = TAKE_FD(said);
	d->serves = false;
	d->started = clock_ms();
	d->again_at = DEADLINE_NONE;
	return 0;
}

/* It cannot write without end: what is old makes room. */
static void write_log(const struct dhcp *d, const char *line)
{
	struct stat st;
	char stamp[32];
	_cleanup_free_ char *text = str_fmt("%s %s\n", clock_stamp(stamp), line);
	if (fstat(d->log, &st) == 0 && st.st_size > LOG_MAX)
		(void)!ftruncate(d->log, 0);
	write_all(d->log, text, strlen(text));
}

/* "dnsmasq: started, version 2.90 cachesize 150" comes when all its sockets are bound. */
static void take_line(struct dhcp *d, const char *line)
{
	const char *text = strchr(line, ' ');
	text = str_starts(line, "dnsmasq") && text ? text + 1 : line;
	if (str_starts(text, "started, "))
		d->serves = true;
	snprintf(d->last, sizeof(d->last), "%s", text);
	write_log(d, line);
}

static void listen_to(struct dhcp *d)
{
	ssize_t n;
	char *end;
	do {
		buf_reserve(&d->line, 1024);
		n = read(d->said, d->line.data + d->line.len, 1024);
		if (n > 0)
			d->line.len += (size_t)n;
		while (d->line.len && (end = memchr(d->line.data, '\n', d->line.len))) {
			*end = '\0';
			take_line(d, d->line.data);
			buf_drop(&d->line, (size_t)(end - d->line.data) + 1);
		}
		if (d->line.len > 4096)
			buf_drop(&d->line, d->line.len);
	} while (n > 0);
	if (n == 0)
		cleanup_close(&d->said);
}

/* It has ended? Then when it is started anew is settled. */
static bool ended(struct dhcp *d)
{
	struct err ignored = ERR_INIT;
	int status;
	if (d->proc.pidfd < 0)
		return true;
	if (proc_alive(&d->proc))
		return false;
	bool steady = clock_ms() - d->started > STEADY_MS;
	_cleanup_free_ char *line = NULL;
	if (proc_reap(&d->proc, deadline_in(0), &status, &ignored) == 0)
		line = str_fmt("dnsmasq has ended: %s", proc_status_text(status));
	if (line)
		write_log(d, line);
	proc_close(&d->proc);
	d->serves = false;
	d->pause = steady || !d->pause ? AGAIN_MS : d->pause * 2;
	d->pause = d->pause < AGAIN_MOST_MS ? d->pause : AGAIN_MOST_MS;
	d->again_at = deadline_in(d->pause);
	return true;
}

void dhcp_look(struct dhcp *d)
{
	struct err ignored = ERR_INIT;
	if (d->said >= 0)
		listen_to(d);
	if (ended(d) && !deadline_left(d->again_at) && spawn(d, &ignored) < 0)
		d->again_at = deadline_in(AGAIN_MOST_MS);
}

size_t dhcp_poll_fds(const struct dhcp *d, struct pollfd *fds)
{
	size_t n = 0;
	if (d->said >= 0)
		fds[n++] = (struct pollfd){.fd = d->said, .events = POLLIN};
	if (d->proc.pidfd >= 0)
		fds[n++] = (struct pollfd){.fd = d->proc.pidfd, .events = POLLIN};
	return n;
}

int64_t dhcp_deadline(const struct dhcp *d)
{
	return d->proc.pidfd < 0 ? d->again_at : DEADLINE_NONE;
}

pid_t dhcp_pid(const struct dhcp *d)
{
	return d->serves ? d->proc.pid : 0;
}

static int wait_until_it_serves(struct dhcp *d, struct err *err)
{
	int64_t deadline = deadline_in(START_MS);
	while (!d->serves) {
		struct pollfd fds[2];
		size_t n = dhcp_poll_fds(d, fds);
		if (!deadline_left(deadline))
			return err_set(err, ERR_TIMEOUT,
				"dnsmasq does not say that it has started: %s", d->last);
		poll(fds, n, deadline_left(deadline));
		if (d->said >= 0)
			listen_to(d);
		if (!d->serves && ended(d))
			return err_set(err, ERR_SYSTEM, "dnsmasq does not run: %s",
				d->last[0] ? d->last : "it does not say why");
	}
	return 0;
}

/* A folder or a file that it reads, by its group, whatever the umask. */
static int lend(const struct dhcp *d, const char *name, mode_t mode, struct err *err)
{
	if (!d->network.uid || (fchownat(d->folder, name, (uid_t)-1, d->network.uid, 0) == 0 &&
				       fchmodat(d->folder, name, mode, 0) == 0))
		return 0;
	return err_errno(err, "cannot give '%s/%s' to dnsmasq", d->network.folder, name);
}

/* What it writes. */
static int give(const struct dhcp *d, const char *name, struct err *err)
{
	if (!d->network.uid || fchownat(d->folder, name, d->network.uid, (gid_t)-1, 0) == 0)
		return 0;
	return err_errno(err, "cannot give '%s/%s' to dnsmasq", d->network.folder, name);
}

static int make_folders(struct dhcp *d, struct err *err)
{
	static const char *const names[] = {"dhcp", "dns"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (dir_remove(d->folder, names[i], err) < 0)
			return -1;
		if (mkdirat(d->folder, names[i], 0750) < 0)
			return err_errno(err, "cannot make '%s/%s'", d->network.folder, names[i]);
		if (lend(d, names[i], 0750, err) < 0)
			return -1;
	}
	d->log = openat(d->folder, "log", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	/* those of a former dnsmasq stay, and may be read by it alone */
	_cleanup_close_ int leases =
		openat(d->folder, "leases", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (d->log < 0 || (leases < 0 && errno != EEXIST))
		return err_errno(err, "cannot make a file in '%s'", d->network.folder);
	return give(d, "leases", err);
}

struct dhcp *dhcp_open(const struct dhcp_network *network, struct err *err)
{
	struct dhcp *d = xcalloc(1, sizeof(*d));
	*d = (struct dhcp){.network = *network,
		.folder = dir_open(AT_FDCWD, network->folder, err),
		.log = -1,
		.said = -1,
		.proc = PROC_NONE,
		.again_at = DEADLINE_NONE};
	if (d->folder >= 0 && make_folders(d, err) == 0)
		return d;
	dhcp_close(d);
	return NULL;
}

int dhcp_start(struct dhcp *d, struct err *err)
{
	if (access(dnsmasq_path(), X_OK) < 0) {
		err_errno(err, "cannot run '%s'", dnsmasq_path());
		return err_hint(err, "`sudo apt install dnsmasq-base`, or the like");
	}
	if (write_config(d, err) < 0 || lend(d, "dnsmasq.conf", 0640, err) < 0 || spawn(d, err) < 0)
		return -1;
	return wait_until_it_serves(d, err);
}

void dhcp_close(struct dhcp *d)
{
	struct err ignored = ERR_INIT;
	int status;
	if (!d)
		return;
	if (d->proc.pidfd >= 0) {
		proc_signal(&d->proc, SIGKILL, &ignored);
		proc_reap(&d->proc, deadline_in(START_MS), &status, &ignored);
	}
	proc_close(&d->proc);
	cleanup_close(&d->said);
	cleanup_close(&d->folder);
	cleanup_close(&d->log);
	buf_free(&d->line);
	free(d);
}

/* ---- guests --------------------------------------------------------------------------------------- */

/* Written under a name that dnsmasq does not look at, and its own before it has the other one. */
static int replace(const struct dhcp *d, const char *folder, const char *name,
	const struct buf *text, struct err *err)
{
	_cleanup_free_ char *path = str_fmt("%s/%s", folder, name);
	_cleanup_free_ char *aside = str_fmt("%s/.%s", folder, name);
	_cleanup_close_ int fd =
		openat(d->folder, aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd >= 0 && lend(d, aside, 0640, err) < 0)
		return -1;
	if (fd < 0 || write_all(fd, text->data, text->len) < 0)
		return err_errno(err, "cannot write '%s/%s'", d->network.folder, aside);
	cleanup_close(&fd); /* closed under the other name it would be read twice */
	if (renameat(d->folder, aside, d->folder, path) < 0)
		return err_errno(err, "cannot write '%s/%s'", d->network.folder, path);
	return 0;
}

/* DHCP files that have changed or gone are honoured until it reads them all anew. */
static void read_anew(const struct dhcp *d)
{
	struct err ignored = ERR_INIT;
	if (d->proc.pidfd >= 0)
		proc_signal(&d->proc, SIGHUP, &ignored);
}

/*
 * dnsmasq remembers a lease without end, and answers its name. It is given up as the guest itself would do it
 * (RFC 2131, 4.4.6; options: RFC 2132), before its file changes.
 */
static void release(const struct dhcp *d, const struct mac *mac, const char *told)
{
	struct err ignored = ERR_INIT;
	struct prefix address;
	const uint8_t *server = d->network.address->address;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(67)};
	uint8_t message[300] = {[0] = 1, 1, 6, [236] = 0x63, 0x82, 0x53, 0x63, 53, 1, 7, 54, 4};
	_cleanup_free_ char *text =
		str_fmt("%.*s/32", (int)strcspn(told + MAC_TEXT, ","), told + MAC_TEXT);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || prefix_parse(text, &address, &ignored) < 0)
		return;
	memcpy(message + 12, address.address, 4);
	memcpy(message + 28, mac->bytes, sizeof(mac->bytes));
	memcpy(message + 245, server, 4);
	message[249] = 255;
	memcpy(&to.sin_addr, server, 4);
	setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, d->network.bridge,
		(socklen_t)strlen(d->network.bridge) + 1);
	sendto(fd, message, sizeof(message), 0, (struct sockaddr *)&to, sizeof(to));
}

/* What was told of that MAC; false: nothing. */
static bool read_lease(const struct dhcp *d, const char *mac, struct buf *out)
{
	struct err ignored = ERR_INIT;
	_cleanup_free_ char *path = str_fmt("dhcp/%s", mac);
	return file_read(d->folder, path, 4096, out, &ignored) == 0;
}

static void add_name(
	struct buf *text, const struct dhcp *d, const char *name, const struct prefix *p)
{
	char address[ADDRESS_TEXT];
	if (p)
		buf_fmt(text, "%s %s.%s %s\n", prefix_address_text(p, address), name,
			d->network.domain, name);
}

static int tell_lease(
	const struct dhcp *d, const struct mac *mac, const struct buf *lease, struct err *err)
{
	char name[MAC_TEXT];
	_cleanup_buf_ struct buf old = {0};
	bool there = read_lease(d, mac_text(mac, name), &old);
	if (there && str_eq(old.data, lease->data))
		return 0;
	if (old.len > MAC_TEXT)
		release(d, mac, old.data);
	if (replace(d, "dhcp", name, lease, err) < 0)
		return -1;
	if (there)
		read_anew(d);
	return 0;
}

int dhcp_add_host(struct dhcp *d, const struct dhcp_host *host, struct err *err)
{
	char mac[MAC_TEXT], address[ADDRESS_TEXT];
	_cleanup_buf_ struct buf lease = {0}, names = {0};
	_cleanup_free_ char *name = xstrdup(host->name);
	for (char *c = name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	mac_text(&host->mac, mac);
	add_name(&names, d, name, host->address);
	add_name(&names, d, name, host->address6);
	if (host->address)
		buf_fmt(&lease, "%s,%s,infinite\n", mac,
			prefix_address_text(host->address, address));
	return replace(d, "dns", mac, &names, err) < 0 ? -1
						       : tell_lease(d, &host->mac, &lease, err);
}

int dhcp_remove_host(struct dhcp *d, const struct mac *mac, struct err *err)
{
	static const char *const folders[] = {"dns", "dhcp"};
	char name[MAC_TEXT];
	_cleanup_buf_ struct buf old = {0};
	if (!read_lease(d, mac_text(mac, name), &old))
		return 0;
	if (old.len > MAC_TEXT)
		release(d, mac, old.data);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		_cleanup_free_ char *file = str_fmt("%s/%s", folders[i], name);
		if (unlinkat(d->folder, file, 0) < 0 && errno != ENOENT)
			return err_errno(err, "cannot remove '%s/%s'", d->network.folder, file);
	}
	read_anew(d);
	return 0;
}
